package app

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/pkgdb"
	"intact/rules/updates"
	"intact/scanner/entry"
)

// manyFiles is a package with the files of some of spooled's folders. It counts how
// often it is asked.
type manyFiles struct {
	oneFile
	from, to int // numbers of files
	asked    *int
}

func (m manyFiles) path(i int) entry.Path {
	return entry.Path(fmt.Sprintf("/srv/www/site-%04d/file-%06d.conf", i/25, i))
}

func (m manyFiles) Lookup(p entry.Path) (updates.Said, bool, error) {
	*m.asked++
	var site, i int
	n, err := fmt.Sscanf(string(p), "/srv/www/site-%d/file-%d.conf", &site, &i)
	return updates.Said{Kind: entry.File}, err == nil && n == 2 && i >= m.from && i < m.to, nil
}

func (m manyFiles) Paths() iter.Seq2[entry.Path, error] {
	return func(yield func(entry.Path, error) bool) {
		for i := m.from; i < m.to; i++ {
			if !yield(m.path(i), nil) {
				return
			}
		}
	}
}

// manyUpdates are n upgrades with per files each.
func manyUpdates(n, per int, asked *int) (list []updates.Update) {
	for i := range n {
		p := pkgdb.Package{Kind: "dpkg", Name: fmt.Sprintf("p%04d", i), Arch: "amd64", Version: "1", Status: "installed"}
		u := updates.Update{Old: p, New: p, Level: rules.Signed, ID: fmt.Sprintf("sha256:%d", i),
			Source: manyFiles{oneFile{"", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}, i * per, (i + 1) * per, asked}}
		u.New.Version = "2"
		list = append(list, u)
	}
	return list
}

// everySecond explains the files with even numbers, by the packages that hold them.
type everySecond struct{ list []updates.Update }

func (e everySecond) Explain(_ context.Context, c *diff.Change) (x rules.Explanation, ok bool) {
	var site, i int
	if _, err := fmt.Sscanf(string(c.Path), "/srv/www/site-%d/file-%d.conf", &site, &i); err != nil || i%2 == 1 {
		return x, false
	}
	per := e.list[0].Source.(manyFiles).to
	if i/per >= len(e.list) {
		return x, false
	}
	return e.list[i/per].Explanation(updates.Kind), true
}

// A path is looked up where it may be, not in each package.
func TestWeighLooksUpOnce(t *testing.T) {
	const n, per = 300, 10
	asked := 0
	list := manyUpdates(n, per, &asked)
	w, err := newUpgrades(t.Context(), list, nil, time.Now(), updates.Host{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const changes = 10 * n * per // a tenth of them of packages
	for i := range changes {
		w.weigh(&diff.Change{Kind: diff.Changed, Path: manyFiles{}.path(i)}, nil)
	}
	w.weighed()
	if w.count() != 0 || len(w.stays()) != n {
		t.Errorf("%d taken, %d held", w.count(), len(w.stays()))
	}
	if asked > 2*n*per {
		t.Errorf("asked %d times for %d paths of packages", asked, n*per)
	}
}

// BenchmarkWeigh is what accept: signed does with as many changes as
// BenchmarkExplained, half of them explained by 400 packages.
func BenchmarkWeigh(b *testing.B) {
	const n, packages = 5 * benchChanges, 400
	c := benchCheck(b, b.TempDir())
	defer c.close()
	defer c.gen.Close()
	asked := 0
	list := manyUpdates(packages, n/packages, &asked)
	c.explain = &explaining{contents: &contents{}, by: []rules.Explainer{everySecond{list}}}
	spool := spooled(b, c, n)
	defer spool.Close()
	var err error
	if c.result, err = spool.Finish(b.Context(), nil); err == nil {
		if err = c.judge(b.Context()); err == nil {
			err = c.finish(b.Context())
		}
	}
	if got := c.paper.w.Tally().Explained; err != nil || got != n/2 {
		b.Fatalf("%d explained, %v", got, err)
	}
	for b.Loop() {
		a := &accept{session: c.session, o: AcceptOptions{Explained: true, Report: c.paper.head.ID}, gen: c.gen}
		_, sum, err := a.find(b.Context())
		if err == nil {
			a.set, err = a.store.OpenPending(sum)
		}
		if err == nil {
			err = a.believed(b.Context())
		}
		if err == nil {
			err = a.weigh(b.Context(), list, updates.Host{}, nil)
		}
		if err != nil || a.auto.count() != 0 {
			b.Fatalf("%d taken, %v", a.auto.count(), err)
		}
		for _, u := range a.auto.by {
			u.held = "" // as if what is not explained were of nobody
		}
		var taken int
		if err = a.choose(b.Context()); err == nil {
			taken, err = a.count()
		}
		if err != nil || taken != n/2 {
			b.Fatalf("%d taken, %v", taken, err)
		}
		a.set.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/change")
}
