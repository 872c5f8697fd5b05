package app

import (
	"context"
	"fmt"
	"io"

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

// rpmsMoved returns what the headers of the packages of rpm among moved say.
func (c *check) rpmsMoved(ctx context.Context, moved []packageMove) ([]updates.RPM, error) {
	want := map[pkgdb.Package]bool{}
	for i := range moved {
		if moved[i].New.Kind == "rpm" {
			want[moved[i].New] = true
		}
	}
	if len(want) == 0 {
		return nil, nil
	}
	list, err := updates.RPMs(ctx, packageRoot{c.root}, pkgdb.Trust{RPM: c.rpmKeys(), At: c.env.Now()}, func(p pkgdb.Package) bool { return want[p] })
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		c.remark("what packages of rpm hold explains nothing: " + report.Prose(err.Error()))
	}
	return list, nil
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
		return nil
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
		return nil
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
	return nil
}

// namedLists are the lists of files that a row of the baseline names, or a
// package that is installed now, by their names in the inbox.
func (c *check) namedLists() (map[string]bool, error) {
	rows, err := c.gen.Rows(rowPackage)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, r := range rows {
		p, err := packageOf(string(r.Key), r.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", baseline.ErrDamaged, err)
		}
		named[p.List.String()] = true
	}
	for i := range c.installed {
		named[c.installed[i].List.String()] = true
	}
	return named, nil
}
