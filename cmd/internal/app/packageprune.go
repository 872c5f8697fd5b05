package app

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"intact/baseline"
	"intact/rules"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
)

// manifestBounds are the bounds of manifests that are kept though nothing needs them
// now: how old one may be, and how many and how long all of them.
type manifestBounds struct {
	age   time.Duration
	count int
	bytes int64
}

// What a check keeps.
const (
	keptManifestAge   = 90 * 24 * time.Hour
	keptManifestCount = 20_000
	keptManifestBytes = 1 << 30
)

// maxManifestsSeen bounds the manifests that one check looks at; the next one
// sees what is left.
const maxManifestsSeen = 1 << 18

// storedManifest is a manifest as the folder has it.
type storedManifest struct {
	name    string
	size    int64
	written time.Time
}

// prunePackages removes manifests that nothing needs: of packages in versions
// that are neither installed nor in the baseline, that no transaction in the inbox
// and no pending set names. Such go when they are too old and no
// kept generation knows them either, and the oldest of them where all manifests
// together are too many or too long. It is called under the lock. Whatever cannot be
// told, nothing goes.
func (c *check) prunePackages(ctx context.Context, most manifestBounds) {
	d, err := c.openKept(baseline.PackagesDir)
	if err != nil {
		return
	}
	defer d.Close()
	now := c.env.Now()
	all, left := storedManifests(d, now)
	due := func(m storedManifest) bool { return now.Sub(m.written) >= most.age }
	within := func() bool { return left.count <= most.count && left.bytes <= most.bytes }
	if within() && !slices.ContainsFunc(all, due) {
		return
	}
	n := &manifestNeeds{check: c, dir: d, packages: map[bookKey]bool{}, archives: map[string]bool{}}
	free, err := n.free(ctx, all, func(m storedManifest) bool { return due(m) || !within() })
	if err != nil || len(free) == 0 {
		return
	}
	var former map[bookKey]bool
	if slices.ContainsFunc(free, due) {
		if former, err = n.former(ctx); err != nil {
			return
		}
	}
	for _, m := range free { // the oldest first
		switch {
		case within() && !due(m):
			return
		case within() && former[n.key(m.name)]:
			// It is looked at again when it would be due as one that is new.
			d.touch(m.name, now)
			continue
		}
		d.remove(m.name)
		left.count--
		left.bytes -= m.size
	}
}

// manifestTotal is how much there is.
type manifestTotal struct {
	count int
	bytes int64
}

// storedManifests lists the manifests that no hook can be busy with, the oldest
// first. What is dated in the future is older than all others.
func storedManifests(d *keptDir, now time.Time) (list []storedManifest, all manifestTotal) {
	_ = d.each(func(name string) bool {
		if strings.HasSuffix(name, ".tmp") || !stateFile.MatchString(baseline.PackagesDir+"/"+name) {
			return true
		}
		st, err := d.stat(name)
		if err != nil || !st.regular {
			return true
		}
		all.count++
		all.bytes += st.size
		if st.old(now) {
			if st.written.After(now) {
				st.written = time.Time{}
			}
			list = append(list, storedManifest{name, st.size, st.written})
		}
		return len(list) < maxManifestsSeen
	})
	slices.SortFunc(list, func(a, b storedManifest) int {
		return cmp.Or(a.written.Compare(b.written), strings.Compare(a.name, b.name))
	})
	return list, all
}

// manifestNeeds knows what manifests are needed for.
type manifestNeeds struct {
	*check
	dir      *keptDir
	packages map[bookKey]bool
	archives map[string]bool // SHA-256 in hex, as names begin
}

// free returns those of list that would be looked at and that nothing needs.
func (n *manifestNeeds) free(ctx context.Context, list []storedManifest, look func(storedManifest) bool) (free []storedManifest, err error) {
	if err := n.present(ctx); err != nil {
		return nil, err
	}
	for _, m := range list {
		archive, _, _ := strings.Cut(m.name, "-")
		if look(m) && !n.archives[archive] && !n.packages[n.key(m.name)] {
			free = append(free, m)
		}
	}
	if len(free) == 0 {
		return nil, nil
	}
	if err := n.pending(ctx); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(free, func(m storedManifest) bool {
		archive, _, _ := strings.Cut(m.name, "-")
		return n.archives[archive]
	}), ctx.Err()
}

// key is what a manifest says it is about; one that cannot be read is about
// nothing.
func (n *manifestNeeds) key(name string) bookKey {
	f, err := n.dir.Open(name)
	if err != nil {
		return bookKey{}
	}
	defer f.Close()
	h, err := manifest.ReadHead(f)
	if err != nil {
		return bookKey{}
	}
	return bookKey{h.Package, h.Architecture, h.Version}
}

// present finds what is installed, what the baseline knows, and what hooks saw.
func (n *manifestNeeds) present(ctx context.Context) error {
	installed := n.installed
	if installed == nil {
		var err error
		if installed, err = pkgdb.Installed(ctx, packageRoot{n.root}); err != nil && !errors.Is(err, pkgdb.ErrNoDatabase) {
			return err
		}
	}
	for i := range installed {
		n.packages[keyOfPackage(&installed[i])] = true
	}
	if err := n.known(n.gen, n.packages); err != nil {
		return err
	}
	list, _, err := n.transactions()
	for _, t := range list {
		for _, p := range t.Packages {
			archive, _, _ := strings.Cut(p.Manifest, "-")
			n.archives[archive] = true
		}
	}
	return err
}

func keyOfPackage(p *pkgdb.Package) bookKey { return bookKey{p.Name, p.Arch, p.Version} }

// known adds the packages of a generation.
func (n *manifestNeeds) known(g *baseline.Generation, to map[bookKey]bool) error {
	rows, err := g.Rows(rowPackage)
	if err != nil {
		return err
	}
	for _, r := range rows {
		p, err := packageOf(string(r.Key), r.Value)
		if err != nil {
			return err
		}
		to[keyOfPackage(&p)] = true
	}
	return nil
}

// pending finds what explains a change that waits. A set that is damaged is one
// that nobody can accept.
func (n *manifestNeeds) pending(ctx context.Context) error {
	sums, err := n.store.PendingSets()
	if err != nil {
		return err
	}
	for _, sum := range sums {
		if err := n.explainedBy(ctx, sum); err != nil && !errors.Is(err, baseline.ErrDamaged) && !errors.Is(err, baseline.ErrForeign) && !errors.Is(err, baseline.ErrNoPending) {
			return err
		}
	}
	return ctx.Err()
}

func (n *manifestNeeds) explainedBy(ctx context.Context, sum digest.Digest) error {
	set, err := n.store.OpenPending(sum)
	if err != nil {
		return err
	}
	defer set.Close()
	note := func(b []byte) {
		if b == nil {
			return
		}
		if x, err := rules.DecodeExplanation(b); err == nil {
			n.archives[strings.TrimPrefix(x.ID, "sha256:")] = true
		}
	}
	for e, err := range set.Encoded() {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		note(e.Explained)
	}
	rows, err := set.Rows()
	for _, r := range rows {
		note(r.Explained)
	}
	return err
}

// former finds the packages of the generations before the present one that are
// kept. One that cannot be opened knows none.
func (n *manifestNeeds) former(ctx context.Context) (map[bookKey]bool, error) {
	list, err := n.store.List()
	if err != nil {
		return nil, err
	}
	known := map[bookKey]bool{}
	for _, in := range list {
		if !in.Present || in.Generation == n.gen.Statement().Generation {
			continue
		}
		g, err := n.store.Open(ctx, in.Generation)
		if err != nil {
			continue
		}
		_ = n.known(g, known) // what cannot be read knows nothing
		g.Close()
	}
	return known, ctx.Err()
}
