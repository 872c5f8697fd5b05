package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/packages"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/pgp"
	"intact/rules/updates"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// maxUpdates bounds the packages that explain at one check.
const maxUpdates = 1 << 12

// maxAlike bounds the manifests of one package in one version that are opened.
const maxAlike = 8

// updating knows the packages that are in another version than in the baseline.
// It keeps the manifests open that say what they hold.
type updating struct {
	list   []updates.Update
	byRow  map[string]int // place in list, by the key of the package's row
	opened []*os.File
}

func (u *updating) close() {
	if u == nil {
		return
	}
	for _, f := range u.opened {
		f.Close()
	}
}

// newUpdating finds what is recorded of each package that is another than the
// baseline knows, and of those that came lately: what is put right again in a
// package that was accepted is as its package has it.
func (c *check) newUpdating(ctx context.Context) (*updating, error) {
	u := &updating{byRow: map[string]int{}}
	if c.o.Baseline != "" {
		return u, nil // an export comes from elsewhere: nothing was recorded for it here
	}
	seen := c.transacted()
	moved := slices.Clone(c.moved)
	for i := range c.installed {
		p := &c.installed[i]
		kept := *p
		kept.Body = digest.Digest{} // no row has it
		if key := plainKey(p); seen.came[keyOfPackage(p)] != "" && c.before[key] == kept {
			moved = append(moved, packageMove{Old: *p, New: *p, row: diff.RowChange{Key: []byte(key)}})
		}
	}
	if len(moved) == 0 {
		return u, nil
	}
	known, err := c.library(ctx)
	if err != nil {
		return u, err
	}
	if err := known.prove(ctx, booksOf(moved)); err != nil {
		return u, err
	}
	if n := known.note(); n != "" && !c.sets[packages.Name] { // else that tells of them
		c.remark(n)
	}
	rpms, err := c.rpmsMoved(ctx, moved)
	if err != nil {
		return u, err
	}
	for i := range moved {
		m := &moved[i]
		if len(u.list) == maxUpdates {
			c.remark(fmt.Sprintf("over %d packages are in another version: what is beyond explains nothing", maxUpdates))
			break
		}
		key := string(m.row.Key)
		one := updates.Update{Old: m.Old, New: m.New, Level: rules.Attributed}
		seen.learn(&one)
		c.learnRPM(&one, rpms)
		if k := keyOfPackage(&m.New); m.New.Kind == "dpkg" && !one.Gone() {
			names := slices.Concat(known.names[k], known.weak[k])
			for _, name := range names[:min(len(names), maxAlike)] {
				c.learn(ctx, u, &one, known, name, k)
			}
			c.learnOld(u, &one, known)
		}
		if m.Old.Name != "" {
			one.Held = c.heldBy(m.Old)
		}
		u.byRow[key] = len(u.list)
		u.list = append(u.list, one)
	}
	return u, ctx.Err()
}

// booksOf are the packages before and now.
func booksOf(moved []packageMove) map[bookKey]bool {
	keys := map[bookKey]bool{}
	for i := range moved {
		for _, p := range [...]*pkgdb.Package{&moved[i].Old, &moved[i].New} {
			if p.Kind == "dpkg" {
				keys[bookKey{p.Name, p.Arch, p.Version}] = true
			}
		}
	}
	return keys
}

// plainKey is the key of the row of a package of which there is one version.
func plainKey(p *pkgdb.Package) string { return p.Kind + " " + p.Name + ":" + p.Arch }

// lowered is how far a signature counts: only a version that is not below the
// baseline's is ever vouched for. Of a package that was removed and not purged the
// baseline knows a version, and no file.
func lowered(u *updates.Update, level string) string {
	if level == rules.Signed && (!packages.There(u.Old) || packages.Compare(u.New, u.Old) < 0) {
		return rules.Attributed
	}
	return level
}

// learn takes what a manifest says into one, unless it knows as much.
func (c *check) learn(ctx context.Context, u *updating, one *updates.Update, known *books, name string, k bookKey) {
	fail := func(why string) {
		c.remark(fmt.Sprintf("what is recorded of package %s %s explains nothing: %s", report.Escape(k.name), report.Escape(k.version), report.Prose(why)))
	}
	m, f, err := known.verify(name, k)
	if err != nil {
		fail(err.Error())
		return
	}
	h := &m.Head
	if h.Level == manifest.None {
		f.Close()
		fail(h.Reason)
		return
	}
	level, by, verified := rules.Local, "", ""
	if h.Level == manifest.Signed {
		level, by, verified = c.signedBy(ctx, one, known, name, m)
		if level == "" {
			f.Close()
			return
		}
	}
	now := rules.Explanation{Level: level}
	if one.Source != nil && (&rules.Explanation{Level: one.Level}).Rank() >= now.Rank() {
		f.Close()
		return
	}
	u.opened = append(u.opened, f)
	one.Level, one.By, one.ID, one.Source = level, by, h.Archive.String(), updates.Deb(m)
	one.Verified, one.Key = verified, h.Chain.Key // which is none where nothing shows it
	if one.When == "" && !h.Chain.Verified.IsZero() {
		one.When = h.Chain.Verified.UTC().Format(time.RFC3339)
	}
}

// learnOld finds what the version of the baseline held, by a signed manifest.
func (c *check) learnOld(u *updating, one *updates.Update, known *books) {
	k := bookKey{one.Old.Name, one.Old.Arch, one.Old.Version}
	for _, name := range known.names[k][:min(len(known.names[k]), maxAlike)] {
		m, f, err := known.verify(name, k)
		if err != nil {
			continue // what nobody knows vouches for nothing
		}
		if m.Head.Level == manifest.Signed && one.Was == nil && known.proven[name] != nil {
			one.Was = updates.Deb(m)
			u.opened = append(u.opened, f)
			continue
		}
		f.Close()
	}
}

// pinnedRing is keyring where none that can be read pins no key.
func (s *session) pinnedRing() *pgp.Keyring {
	if s.debRing == nil {
		var err error
		if s.debRing, err = s.keyring(); err != nil {
			s.remark("packages: no signature of an archive counts: " + report.Prose(err.Error()))
			s.debRing = &pgp.Keyring{}
		}
	}
	return s.debRing
}

// contentOf implements updates.Host.Read: the content is read again, and counts
// if it is the one that the scan saw.
func (c *check) contentOf(_ context.Context, p entry.Path, seen *entry.Entry, limit int64) ([]byte, bool) {
	if seen.Kind != entry.File || seen.Have&entry.Content == 0 || seen.Size > limit || seen.Hashed != seen.Size {
		return nil, false
	}
	f, err := c.root.OpenFile(p)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	return b, err == nil && int64(len(b)) <= limit && digest.Sum(b) == seen.Digest
}

// vouchedFile returns the content of a small file that is just as the baseline
// has it.
func (c *check) vouchedFile(p entry.Path) ([]byte, bool) {
	e, _, ok := c.gen.Lookup(p)
	if !ok {
		return nil, false
	}
	return c.contentOf(context.Background(), p, e, maxPart)
}

// vouchedLink reports whether packages may place files through the link at from,
// which leads to the folder to now and is e in the baseline: a link that somebody
// made since would carry what a package holds to where it works otherwise. Where the
// baseline does not have it, it is one of a merged /usr or none.
func vouchedLink(from, to entry.Path, e *entry.Entry, has bool) bool {
	if !has {
		return to == "/usr"+from
	}
	if e.Kind != entry.Symlink || e.Have&entry.Target == 0 {
		return false
	}
	target := string(e.Target)
	if !strings.HasPrefix(target, "/") {
		target = string(from.Dir()) + "/" + target
	}
	p, err := entry.NewPath(target)
	return err == nil && p == to
}

// packageHost is what the root says of itself.
func (c *check) packageHost(ctx context.Context, u *updating) (updates.Host, error) {
	h := updates.Host{User: c.users.User, Group: c.users.Group, Read: c.contentOf,
		Diverted: map[entry.Path]updates.Diversion{}, Overrides: map[entry.Path]updates.Override{}}
	h.Was = func(p entry.Path) (*entry.Entry, bool) { e, _, ok := c.gen.Lookup(p); return e, ok }
	h.Doubted = c.doubted("/var/lib/dpkg/diversions") || c.doubted("/var/lib/dpkg/statoverride")
	if h.Doubted {
		c.remark("the diversions or overrides of dpkg are not as the baseline has them: packages explain nothing as signed")
	}
	var err error
	if h.Links, err = pkgdb.Links(packageRoot{c.root}); err != nil {
		return h, err
	}
	maps.DeleteFunc(h.Links, func(from, to entry.Path) bool {
		e, _, ok := c.gen.Lookup(from)
		return !vouchedLink(from, to, e, ok)
	})
	_, users := c.vouchedFile("/etc/passwd")
	_, groups := c.vouchedFile("/etc/group")
	h.Named = users && groups
	if b, ok := c.vouchedFile("/var/lib/dpkg/diversions"); ok {
		lines := strings.Split(string(b), "\n")
		for i := 0; i+2 < len(lines); i += 3 {
			h.Diverted[entry.Path(lines[i])] = updates.Diversion{To: entry.Path(lines[i+1]), By: lines[i+2]}
		}
	}
	if b, ok := c.vouchedFile("/var/lib/dpkg/statoverride"); ok {
		for line := range strings.Lines(string(b)) {
			var o updates.Override
			var path string
			if n, _ := fmt.Sscanf(line, "%s %s %o %s", &o.User, &o.Group, &o.Mode, &path); n == 4 {
				h.Overrides[entry.Path(path)] = o
			}
		}
	}
	settled := updates.Settled(slices.Collect(maps.Values(c.before)), c.installed, u.list)
	h.Settled = func(d digest.Digest) bool { return settled && d != (digest.Digest{}) && d == c.statusSeen }
	h.SettledBefore = func(d digest.Digest) bool { return settled && c.settledBefore(ctx, d, u) }
	h.Vouched = c.rpmVouched
	return h, nil
}

// heldBy returns the paths of a package's old list, if one is kept that is the
// one of the baseline.
func (c *check) heldBy(old pkgdb.Package) iter.Seq[entry.Path] {
	if old.List == (digest.Digest{}) {
		return nil
	}
	l, err := c.fileList(old.List)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.remark(fmt.Sprintf("what package %s %s had explains nothing: %s", report.Escape(old.Name), report.Escape(old.Version), report.Prose(err.Error())))
		}
		return nil
	}
	return slices.Values(l.Paths())
}

// packageExplainer explains files, and the rows of the packages.
type packageExplainer struct {
	*updates.Explainer
	*updating
	world *derivedWorld
	ctx   context.Context // of the check, within which it is asked
}

// ExplainPackage implements PackageExplainer: by what explains its files, and no
// better than attributed where one of them is not the package's. That one went is
// explained where a record of the package manager has it: that the database does
// not have it any more is what is to be explained.
func (p packageExplainer) ExplainPackage(old, now pkgdb.Package) (rules.Explanation, bool) {
	for i := range p.list {
		if u := &p.list[i]; u.Old == old && u.New == now && (u.Source != nil || u.Gone() && u.Record != "") {
			e := u.Explanation(updates.Kind)
			if e.Level == rules.Signed && !p.world.whole(p.ctx, u) {
				e.Level = rules.Attributed
			}
			return e, true
		}
	}
	return rules.Explanation{}, false
}

// explainByPackages lets packages explain that are another than the baseline knows.
func (c *check) explainByPackages(ctx context.Context, e *explaining) (err error) {
	if c.updating, err = c.newUpdating(ctx); err != nil || len(c.updating.list) == 0 && !c.knowsRPMs() {
		return err
	}
	host, err := c.packageHost(ctx, c.updating)
	if err != nil {
		c.remark("packages explain nothing: " + report.Prose(err.Error()))
		return nil
	}
	host.Contents = e.contents
	owned := &ownerIndex{c: c}
	host.Listed = func(p entry.Path) bool { // until the contrary is known
		pkg, known := owned.owner(ctx, p)
		return pkg != "" || !known
	}
	x, err := updates.New(ctx, c.updating.list, host)
	if err != nil {
		return err
	}
	owned.place = x.Place
	for name, err := range x.Failed() {
		c.remark(fmt.Sprintf("what is recorded of package %s explains nothing: %s", report.Escape(name), report.Prose(err.Error())))
	}
	w := &derivedWorld{c: c, packages: x, owned: owned, x: scanner.NewExaminer(c.root, c.rate())}
	e.by = append(e.by, packageExplainer{x, c.updating, w, ctx})
	if len(c.limit) == 0 {
		e.by = append(e.by, w.explainer(c.updating.list))
	}
	c.upgrades, c.placing = append(c.upgrades, c.updating.list...), host
	return nil
}
