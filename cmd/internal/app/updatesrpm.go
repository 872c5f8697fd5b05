package app

import (
	"context"
	"fmt"
	"io"
	"time"

	"intact/baseline"
	"intact/report"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/transaction"
	"intact/rules/updates"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// maxLists bounds the lists of packages of rpm that one run stores, in bytes.
const maxLists = 256 << 20

// maxFormers bounds what one run remembers of packages of rpm, in bytes.
const maxFormers = 128 << 20

// rpmMoves is what is known of the packages of rpm that are in another version.
type rpmMoves struct {
	now        map[pkgdb.Package]*updates.RPM // what the headers of the new ones say
	came, went map[pkgdb.Package]pkgdb.Record // of new ones, of old ones that went for good
	left       int                            // bytes that may be read of what is remembered
}

// rpmsMoved asks the database of rpm and the history of dnf about the packages
// among moved.
func (c *check) rpmsMoved(ctx context.Context, moved []packageMove) (*rpmMoves, error) {
	r := &rpmMoves{left: maxFormers, now: map[pkgdb.Package]*updates.RPM{}}
	want, asked := map[pkgdb.Package]bool{}, []pkgdb.Package{}
	for i := range moved {
		want[moved[i].New] = moved[i].New.Kind == "rpm"
		for _, p := range [...]pkgdb.Package{moved[i].Old, moved[i].New} {
			if p.Kind == "rpm" {
				asked = append(asked, p)
			}
		}
	}
	if len(asked) == 0 {
		return r, nil
	}
	list, err := updates.RPMs(ctx, packageRoot{c.root}, pkgdb.Trust{RPM: c.rpmKeys(), At: c.env.Now()}, func(p pkgdb.Package) bool { return want[p] })
	if err != nil && ctx.Err() == nil {
		c.remark("what packages of rpm hold explains nothing: " + report.Prose(err.Error()))
	}
	for i := range list {
		r.now[list[i].New] = &list[i]
	}
	c.tellUnsigned(list)
	if r.came, r.went, err = pkgdb.Recorded(ctx, packageRoot{c.root}, asked); err != nil && ctx.Err() == nil {
		c.remark("no transaction is named: " + report.Prose(err.Error()))
	}
	return r, context.Cause(ctx)
}

// maxWhys bounds the notes on why packages of rpm are not signed.
const maxWhys = 8

// tellUnsigned notes why packages are not signed: one note for each reason, with the
// first package that it is true of.
func (c *check) tellUnsigned(list []updates.RPM) {
	var whys []string
	first, more := map[string]*updates.RPM{}, map[string]int{}
	for i := range list {
		x := &list[i]
		if first[x.Why] == nil && x.Why != "" {
			first[x.Why] = x
			whys = append(whys, x.Why)
		}
		more[x.Why]++
	}
	for i, why := range whys {
		if i == maxWhys {
			c.remark(fmt.Sprintf("packages of rpm are not signed for %d reasons more", len(whys)-i))
			break
		}
		others := " is"
		if n := more[why] - 1; n > 0 {
			others = fmt.Sprintf(" and %d more are", n)
		}
		x := first[why]
		c.remark(fmt.Sprintf("package %s %s%s not signed: %s", report.Escape(x.New.Name), report.Escape(x.New.Version), others, report.Prose(why)))
	}
}

// learnRPM takes what is known of a package of rpm into one. The history of dnf
// decides about no level but that of the row of a package that is gone: nobody
// signed it.
func (c *check) learnRPM(one *updates.Update, r *rpmMoves) {
	old, now := one.Old, one.New
	if x := r.now[now]; x != nil {
		*one = x.Update
		one.Old = old
		one.Level = lowered(one, x.Level)
	}
	if now.Kind == "rpm" {
		one.Record = r.came[now].By
	} else if gone, ok := r.went[old]; ok && now.Name == "" {
		one.Record, one.When = gone.By, gone.When.Format(time.RFC3339)
	}
	if old.Kind == "rpm" && now.Name != "" && old != now {
		one.Was = c.formerOf(old, &r.left)
	}
}

// knowsRPMs reports whether the baseline has packages of rpm, which the database
// is held against.
func (c *check) knowsRPMs() bool {
	if c.o.Baseline != "" {
		return false
	}
	for _, p := range c.before {
		if p.Kind == "rpm" {
			return true
		}
	}
	return false
}

// openedRoot is a root that notes which files were opened, by where they are.
type openedRoot struct {
	packageRoot
	opened map[entry.Path]bool
}

// Open implements pkgdb.Root.
func (r openedRoot) Open(p entry.Path) (io.ReadCloser, error) {
	f, err := r.packageRoot.Open(p)
	if err != nil {
		return f, err
	}
	dir := p.Dir()
	if to, ok, err := r.Real(dir); ok && err == nil {
		dir = to
	}
	r.opened[dir.Join([]byte(p.Base()))] = true
	return f, nil
}

// rpmVouched implements updates.Host.Vouched, by one reading of the database.
func (c *check) rpmVouched(ctx context.Context, p entry.Path) bool {
	if !c.knowsRPMs() {
		return false
	}
	if c.rpmVouches == nil {
		known := map[pkgdb.Package]bool{}
		for _, p := range c.before {
			known[p] = true
		}
		root := openedRoot{packageRoot{c.root}, map[entry.Path]bool{}}
		t := pkgdb.Trust{RPM: c.rpmKeys(), At: c.env.Now()}
		ok, why, err := t.RPMState(ctx, root, func(p pkgdb.Package) bool { return known[p] })
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			why = err.Error()
		}
		if c.rpmVouches = root.opened; !ok || err != nil {
			c.rpmVouches = map[entry.Path]bool{}
			c.remark("nothing explains the database of rpm: " + report.Prose(why))
		}
	}
	return c.rpmVouches[p]
}

// keepRPMLists stores the lists of files of the packages of rpm among installed,
// for when they have another version: the database keeps none of what is gone.
// It is called under the lock. What cannot be kept explains no removal later.
func (s *session) keepRPMLists(ctx context.Context, installed []pkgdb.Package) error {
	want := map[digest.Digest]bool{}
	for i := range installed {
		if p := &installed[i]; p.Kind == "rpm" && p.List != (digest.Digest{}) {
			want[p.List] = true
		}
	}
	if len(want) == 0 {
		return s.keepFormers(ctx, installed)
	}
	d, err := s.makeKept(baseline.InboxDir)
	if err != nil {
		s.remark("what packages of rpm take away will not be explained: " + report.Prose(err.Error()))
		return nil
	}
	defer d.Close()
	for sum := range want {
		if st, err := d.stat(sum.String()); err == nil && st.regular {
			delete(want, sum)
		}
	}
	if len(want) == 0 {
		return s.keepFormers(ctx, installed)
	}
	left, beyond := maxLists, 0
	err = pkgdb.RPMLists(ctx, packageRoot{s.root}, func(sum digest.Digest, list []byte) error {
		switch {
		case !want[sum]:
			return nil
		case len(list) > transaction.MaxListBytes || len(list) > left:
			beyond++
			return nil
		}
		left -= len(list)
		delete(want, sum)
		return d.put(sum.String(), list)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		s.remark("what packages of rpm take away will not be explained: " + report.Prose(err.Error()))
	} else if beyond > 0 {
		s.remark(fmt.Sprintf("what %d packages of rpm take away will not be explained: their lists are too long", beyond))
	}
	return s.keepFormers(ctx, installed)
}

// keepFormers remembers of the packages of rpm among installed what tells later
// whether a configuration file was edited. It is called under the lock. The
// database is gone through once for each set of packages: an empty file stands for
// that.
func (s *session) keepFormers(ctx context.Context, installed []pkgdb.Package) error {
	all := s.setOfRPMs(installed)
	if all == (digest.Digest{}) {
		return nil
	}
	d, err := s.makeKept(baseline.InboxDir)
	if err != nil {
		s.remark("configuration files of packages of rpm will be attributed at most: " + report.Prose(err.Error()))
		return nil
	}
	defer d.Close()
	has := func(sum digest.Digest) bool {
		st, err := d.stat(sum.String())
		return err == nil && st.regular
	}
	if has(all) {
		return nil
	}
	want := map[digest.Digest]bool{}
	for i := range installed {
		if p := &installed[i]; p.Kind == "rpm" && !has(p.Stanza) {
			want[p.Stanza] = true
		}
	}
	left, beyond := maxFormers, 0
	t := pkgdb.Trust{RPM: s.rpmKeys(), At: s.env.Now()}
	err = t.Formers(ctx, packageRoot{s.root}, func(p pkgdb.Package) bool { return want[p.Stanza] }, func(p pkgdb.Package, former []byte) error {
		if len(former) > left {
			beyond++
			return nil
		}
		left -= len(former)
		delete(want, p.Stanza)
		return d.put(p.Stanza.String(), former)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		s.remark("configuration files of packages of rpm will be attributed at most: " + report.Prose(err.Error()))
		return nil
	}
	if beyond > 0 {
		s.remark(fmt.Sprintf("configuration files of %d packages of rpm will be attributed at most: they are too large", beyond))
	}
	return d.put(all.String(), nil)
}

// setOfRPMs names the packages of rpm that are installed, all together, and how
// many keys are pinned; zero where there are no packages.
func (s *session) setOfRPMs(installed []pkgdb.Package) digest.Digest {
	h, n := digest.New(), 0
	fmt.Fprint(h, s.rpmKeys().Len(), " ")
	for i := range installed {
		if p := &installed[i]; p.Kind == "rpm" {
			h.Write(p.Stanza[:])
			n++
		}
	}
	if n == 0 {
		return digest.Digest{}
	}
	return h.Sum()
}

// formerOf returns what the version of the baseline held, nil where that is not
// known or no pinned key vouches for it. left is what may still be read, in bytes.
func (c *check) formerOf(old pkgdb.Package, left *int) updates.Source {
	d, err := c.openKept(baseline.InboxDir)
	if err != nil {
		return nil
	}
	defer d.Close()
	f, err := d.Open(old.Stanza.String())
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(min(pkgdb.MaxFormer, *left))+1))
	if *left -= len(b); err != nil || *left < 0 {
		return nil
	}
	was, err := updates.FormerRPM(pkgdb.Trust{RPM: c.rpmKeys(), At: c.env.Now()}, b, old.Stanza)
	if err != nil {
		c.remark(fmt.Sprintf("what is remembered of package %s %s says nothing: %s", report.Escape(old.Name), report.Escape(old.Version), report.Prose(err.Error())))
		return nil
	}
	return was
}

// namedLists are the files of the inbox that a row of the baseline names, or a
// package that is installed now: lists, and what is remembered of packages.
func (c *check) namedLists() (map[string]bool, error) {
	rows, err := c.gen.Rows(rowPackage)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{c.setOfRPMs(c.installed).String(): true}
	name := func(p *pkgdb.Package) {
		named[p.List.String()] = true
		if p.Kind == "rpm" {
			named[p.Stanza.String()] = true
		}
	}
	for _, r := range rows {
		p, err := packageOf(string(r.Key), r.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", baseline.ErrDamaged, err)
		}
		name(&p)
	}
	for i := range c.installed {
		name(&c.installed[i])
	}
	return named, nil
}
