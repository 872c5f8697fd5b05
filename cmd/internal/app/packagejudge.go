package app

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"

	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/packages"
	"intact/scanner"
	"intact/scanner/entry"
)

// packageBatch is how many changes the package database is asked about in one
// pass: what is known of that many is in memory at a time.
const packageBatch = 25_000

// contentAttrs tell that a file may hold other bytes.
const contentAttrs = entry.Content | entry.Size | entry.Type

// packageJudge judges changes by packages. It reads the changes by itself, some
// way ahead of those that it judges. It is for one goroutine; nil judges nothing.
type packageJudge struct {
	*sayings
	x     *scanner.Examiner
	next  func() (*diff.Change, error, bool) // ahead
	stop  func()
	known []saying // of the changes that come next
	told  *pathSet // what it found something about
}

// newPackageJudge returns nil where the set is not asked for, or nothing changed.
func (c *check) newPackageJudge(ctx context.Context) (*packageJudge, error) {
	if !c.sets[packages.Name] || c.result.Counts().All() == 0 {
		return nil, nil
	}
	y, err := c.newSayings(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := c.gen.Rows(rowPackage)
	if err != nil {
		return nil, err
	}
	y.kept = versionsOf(rows)
	j := &packageJudge{sayings: y, x: scanner.NewExaminer(c.root, c.rate()), told: newPathSet()}
	j.next, j.stop = iter.Pull2(c.result.Changes())
	return j, nil
}

// versionsOf reads the versions in rows about packages: words, of which one is
// version="…".
func versionsOf(rows []diff.Row) map[string]string {
	out := map[string]string{}
	for _, r := range rows {
		_, v, ok := strings.Cut(" "+string(r.Value), " version=")
		if !ok {
			continue
		}
		quoted, err := strconv.QuotedPrefix(v)
		if err != nil {
			continue
		}
		if v, err = strconv.Unquote(quoted); err == nil {
			out[string(r.Key)] = v
		}
	}
	return out
}

// fill asks about the changes that come next.
func (j *packageJudge) fill(ctx context.Context) error {
	var list []seen
	for len(list) < packageBatch {
		c, err, ok := j.next()
		if !ok {
			break
		}
		if err != nil {
			return err
		}
		if packages.Asked(c) {
			list = append(list, seen{c.Path, c.New})
		}
	}
	var err error
	j.known, err = j.ask(ctx, list)
	return err
}

// judge is to be called with each change in order. What a signature explains is
// not judged.
func (j *packageJudge) judge(ctx context.Context, c *diff.Change, said *rules.Explanation) (f rules.Finding, ok bool, err error) {
	if j == nil || !packages.Asked(c) {
		return f, false, nil
	}
	if len(j.known) == 0 {
		if err := j.fill(ctx); err != nil {
			return f, false, err
		}
	}
	if len(j.known) == 0 {
		return f, false, errSighting
	}
	w := j.known[0]
	j.known = j.known[1:]
	if said != nil && said.Level == rules.Signed {
		return f, false, nil
	}
	if c.Kind != diff.Changed || c.Attrs&contentAttrs != 0 {
		j.settle(ctx, j.x, seen{c.Path, c.New}, &w)
	}
	if f, ok = packages.Change(c, &w.Words); ok {
		prose(&f)
		j.told.add(c.Path)
	}
	return f, ok, ctx.Err()
}

// prose makes the reasons fit to be printed: they name packages.
func prose(f *rules.Finding) {
	for i := range f.Reasons {
		f.Reasons[i] = report.Prose(f.Reasons[i])
	}
}

// byPackages is what a check keeps of the set packages.
type byPackages struct {
	vouch        *vouch       // nil: only what changed is held against packages
	packaged     *pathSet     // changes that packages had something to say of
	packageNotes []string     // what could not be judged
	kept         *diff.Sorter // findings, which come behind those of the sets before
}

// close returns what something was found about, and what could not be judged.
func (j *packageJudge) close() (told *pathSet, notes []string) {
	if j == nil {
		return nil, nil
	}
	j.stop()
	return j.told, j.notes()
}

// keepPackages makes the place for findings; what it returns frees it.
func (c *check) keepPackages() (done func()) {
	c.kept = diff.NewSorter(c.tempDir(), keptMemory, compareKept)
	return func() { c.kept.Close() } // it has no name any more
}

// observers watch the scan for the files that matter: all of them are held against
// packages, and not only those that changed, where this set alone was asked for.
func (c *check) observers() []scanner.Observer {
	if c.watch != nil {
		return []scanner.Observer{c.watch.links}
	}
	if len(c.o.Only) != 1 || c.o.Only[0] != packages.Name {
		return nil
	}
	c.vouch = &vouch{}
	return []scanner.Observer{c.vouch}
}

// emitPackages tells what packages say of changes and, where that was asked for, of
// the files that matter as they stand.
func (c *check) emitPackages(ctx context.Context) error {
	if c.vouch != nil {
		list, notes, err := c.vouch.findings(ctx, c.session, true)
		if err != nil {
			return err
		}
		for _, f := range list {
			if c.packaged.holds(entry.Path(f.Subject.Path)) {
				continue // said of the change
			}
			prose(&f)
			if err := c.keepFinding(&f); err != nil {
				return err
			}
		}
		for _, n := range notes {
			if !slices.Contains(c.packageNotes, n) {
				c.remark(n)
			}
		}
	}
	for b, err := range diff.Merge(c.kept) {
		if err != nil {
			return err
		}
		f, err := parseKept(b)
		if err != nil {
			return err
		}
		if err := c.paper.w.Finding(f); err != nil {
			return err
		}
	}
	return nil
}
