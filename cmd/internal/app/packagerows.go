package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/packages"
	"intact/rules/pkgdb"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// rowPackage is the kind of the rows about packages. Key: "dpkg NAME:ARCH" or
// "rpm NAME:ARCH", behind it "#" and the version where rpm has several; value:
// words, see packageValue.
const rowPackage = "package"

// packageMove is a package that is another than the baseline knows. What there
// is none of is zero.
type packageMove struct {
	Old, New pkgdb.Package
	row      diff.RowChange
}

// holding is what a check knows of packages.
type holding struct {
	pkgs    []rules.Finding
	moves   []packageMove
	rowSaid map[string][]byte // what explains rows, by rowID

	moved      []packageMove            // all of moves, in a check of some paths too
	before     map[string]pkgdb.Package // of the baseline, by the keys of their rows
	installed  []pkgdb.Package
	statusSeen digest.Digest       // of the status of dpkg that installed comes from
	rpmVouches map[entry.Path]bool // files of rpm's database, see rpmVouched; nil until asked for
	updating   *updating
}

func packageValue(p *pkgdb.Package) []byte {
	return fmt.Appendf(nil, "version=%q status=%s stanza=%s list=%s", p.Version, p.Status, p.Stanza, p.List)
}

// packageOf reads a row.
func packageOf(key string, value []byte) (p pkgdb.Package, err error) {
	var rest string
	p.Kind, rest, _ = strings.Cut(key, " ")
	if p.Kind == "rpm" {
		rest, _, _ = strings.Cut(rest, "#")
	}
	p.Name, p.Arch, _ = strings.Cut(rest, ":")
	w := words(value)
	p.Status = w["status"]
	p.Version, err = strconv.Unquote(w["version"])
	if err == nil {
		p.Stanza, err = digest.Parse(w["stanza"])
	}
	if err == nil {
		p.List, err = digest.Parse(w["list"])
	}
	if err == nil && (p.Name == "" || p.Kind != "dpkg" && p.Kind != "rpm" || !bytes.Equal(packageValue(&p), value)) {
		err = errors.New("not in its one spelling")
	}
	if err != nil {
		return p, fmt.Errorf("row of package %q: %w", key, err)
	}
	return p, nil
}

// packageKeys names the rows of what is installed now. Of what rpm has in several
// versions each has a row, and keeps the one that it has in was.
func packageKeys(list []pkgdb.Package, was map[string][]byte) map[string]*pkgdb.Package {
	several := map[string]int{}
	plain := func(p *pkgdb.Package) string { return p.Kind + " " + p.Name + ":" + p.Arch }
	for i := range list {
		several[plain(&list[i])]++
	}
	keys := make(map[string]*pkgdb.Package, len(list))
	for i := range list {
		p := &list[i]
		key := plain(p)
		longer := key + "#" + p.Version
		old, err := packageOf(key, was[key])
		same := err == nil && old.Version == p.Version
		if was[longer] != nil || several[key] > 1 && !same {
			key = longer
		}
		keys[key] = p
	}
	return keys
}

// packageRows are the rows of a new baseline. What cannot be read is remarked.
func (s *session) packageRows(ctx context.Context) (rows []diff.Row, err error) {
	list, err := pkgdb.Installed(ctx, s.packagesIn())
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		if !errors.Is(err, pkgdb.ErrNoDatabase) {
			s.remark("this baseline knows no packages, and no check will tell of theirs: " + report.Prose(err.Error()))
		}
		return nil, nil
	}
	if err := s.keepRPMLists(ctx, list); err != nil {
		return nil, err
	}
	keys := packageKeys(list, nil)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		rows = append(rows, diff.Row{Kind: rowPackage, Key: []byte(key), Value: packageValue(keys[key])})
	}
	return rows, nil
}

// carriedPackages are the rows of the generation that is adopted: another policy
// accepts no package. One without any learns what is installed now.
func (s *session) carriedPackages(ctx context.Context, from *baseline.Generation) ([]diff.Row, error) {
	if from != nil {
		if rows, err := from.Rows(rowPackage); err != nil || len(rows) > 0 {
			return rows, err
		}
	}
	return s.packageRows(ctx)
}

// holdPackages holds what is installed against the rows of the baseline. A check
// of some paths does not ask.
func (c *check) holdPackages(ctx context.Context) error {
	if !c.sets[packages.Name] && !c.sets["integrity"] {
		return nil
	}
	silent := !c.sets[packages.Name] || len(c.limit) > 0 && c.update == nil // it only explains
	rows, err := c.gen.Rows(rowPackage)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		if of, err := c.gen.Rows(rowOrigin); silent || err != nil || len(of) != 1 || string(of[0].Value) != originConfig {
			return err // one of named paths never knows any
		}
	}
	list, wrong := pkgdb.Installed(ctx, statusRoot{c.packagesIn(), &c.statusSeen, dpkgStatus})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(rows) == 0 {
		if len(list) > 0 {
			c.remark("the baseline knows no packages: changes of them are told once intact policy adopt brought them into it")
		}
		return nil
	}
	if wrong == nil && len(list) == 0 {
		wrong = errors.New("the database is empty")
	}
	if wrong != nil && silent {
		return nil
	}
	if wrong != nil {
		f := packages.Unreadable(len(rows), wrong)
		f.Reasons[0] = report.Prose(f.Reasons[0])
		c.pkgs = append(c.pkgs, f)
		return nil
	}
	was := byKey(rows)
	keys := packageKeys(list, was)
	c.installed, c.before = list, map[string]pkgdb.Package{}
	for key := range was {
		if keys[key] == nil {
			keys[key] = nil
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		m := packageMove{row: diff.RowChange{Kind: rowPackage, Key: []byte(key), Old: was[key]}}
		if m.row.Old != nil {
			if m.Old, err = packageOf(key, m.row.Old); err != nil {
				return fmt.Errorf("%w: %w", baseline.ErrDamaged, err)
			}
			c.before[key] = m.Old
		}
		if p := keys[key]; p != nil {
			m.New, m.row.New = *p, packageValue(p)
		}
		if !bytes.Equal(m.row.Old, m.row.New) {
			c.moved = append(c.moved, m)
		}
		if !silent && !bytes.Equal(m.row.Old, m.row.New) {
			c.moves = append(c.moves, m)
			c.rows = append(c.rows, m.row)
		}
	}
	return nil
}

// PackageExplainer is a rules.Explainer that explains rows of packages too.
type PackageExplainer interface {
	ExplainPackage(old, now pkgdb.Package) (rules.Explanation, bool)
}

// explainPackage returns the strongest explanation of a package that moved, nil
// where there is none. Only a newer version is ever vouched for.
func (c *check) explainPackage(m *packageMove) (best *rules.Explanation) {
	if c.explain == nil {
		return nil
	}
	for _, by := range c.explain.by {
		p, ok := by.(PackageExplainer)
		if !ok {
			continue
		}
		if x, ok := p.ExplainPackage(m.Old, m.New); ok && x.Rank() > best.Rank() {
			best = &x
		}
	}
	return best
}

// judgePackages makes the findings, one a package, and keeps what explains the
// rows for the pending set.
func (c *check) judgePackages() {
	c.rowSaid = map[string][]byte{}
	swapped := map[int]pkgdb.Package{}
	if len(c.moves) > 1 {
		pairs := make([]packages.Move, len(c.moves))
		for i, m := range c.moves {
			pairs[i] = packages.Move{Old: m.Old, New: m.New}
		}
		swapped = packages.Replaced(pairs)
	}
	for i := range c.moves {
		m := &c.moves[i]
		f := movedFinding(m.row, m.Old, m.New)
		if went, ok := swapped[i]; ok {
			f = swappedFinding(&f, went, m.Old, m.New)
		}
		x := c.explainPackage(m)
		if x != nil && x.Level == rules.Signed && f.Rule != "pkg.upgraded" {
			x.Level = rules.Attributed
		}
		if f.Explain(x); x != nil {
			c.rowSaid[rowID(m.row)] = x.Append(nil)
		}
		c.pkgs = append(c.pkgs, f)
	}
}

// movedFinding tells of a row that is another.
func movedFinding(r diff.RowChange, old, now pkgdb.Package) rules.Finding {
	_, name, _ := strings.Cut(string(r.Key), " ")
	f := packages.Moved(name, old, now)
	for i := range f.Reasons {
		f.Reasons[i] = report.Prose(f.Reasons[i])
	}
	return f
}

// swappedFinding tells what f does of a package that took the place of a higher
// version.
func swappedFinding(f *rules.Finding, went, old, now pkgdb.Package) rules.Finding {
	x := packages.Swapped(f.Subject.Name, went, packages.Move{Old: old, New: now})
	x.Reasons[0] = report.Prose(x.Reasons[0])
	return x
}

// shownPackages tells the rows of packages among rows that come from elsewhere, by
// their keys and as a check tells them; those that cannot be read are left out.
func shownPackages(rows []diff.RowChange) map[string]rules.Finding {
	out := map[string]rules.Finding{}
	var pairs []packages.Move
	var keys []string
	for _, r := range rows {
		if r.Kind != rowPackage {
			continue
		}
		if was, is, err := movedPackage(r); err == nil {
			out[string(r.Key)] = movedFinding(r, was, is)
			pairs, keys = append(pairs, packages.Move{Old: was, New: is}), append(keys, string(r.Key))
		}
	}
	for i, went := range packages.Replaced(pairs) {
		f := out[keys[i]]
		out[keys[i]] = swappedFinding(&f, went, pairs[i].Old, pairs[i].New)
	}
	return out
}

// movedPackage reads a row that comes from elsewhere.
func movedPackage(r diff.RowChange) (was, is pkgdb.Package, err error) {
	if r.Old != nil {
		was, err = packageOf(string(r.Key), r.Old)
	}
	if err == nil && r.New != nil {
		is, err = packageOf(string(r.Key), r.New)
	}
	return was, is, err
}

// packageNames makes sure that the patterns of --package are some.
func packageNames(patterns []string) error {
	for _, g := range patterns {
		if _, err := path.Match(g, ""); err != nil || g == "" {
			return usageError("accept: --package: %q is no pattern of names", g)
		}
	}
	return nil
}

// takesPackage reports whether a pending row about a package is selected: by what
// explained it at the check, by its name with its architecture or without, or
// with all.
func (a *accept) takesPackage(r baseline.PendingRow) (bool, error) {
	switch {
	case a.reviewed != nil:
		return a.reviewed.rows[rowID(r.RowChange)], nil
	case a.o.All:
		return true, nil
	case a.byLevel():
		if r.Explained == nil {
			return false, nil
		}
		x, err := rules.DecodeExplanation(r.Explained)
		if err != nil {
			return false, fmt.Errorf("accept: %w: %w", baseline.ErrDamaged, err)
		}
		return a.stillCounts(*x) && a.wants(x), nil
	}
	_, full, _ := strings.Cut(string(r.Key), " ")
	full, _, _ = strings.Cut(full, "#")
	name, _, _ := strings.Cut(full, ":")
	for _, g := range a.o.Packages {
		for _, n := range [...]string{name, full} {
			if ok, _ := path.Match(g, n); ok {
				return true, nil
			}
		}
	}
	return false, nil
}
