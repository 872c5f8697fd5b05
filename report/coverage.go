package report

import (
	"fmt"
	"time"
)

// Coverage says how long ago what the baseline holds was last held against it, by
// a check or by the re-verification of a watcher.
type Coverage struct {
	// Every is how many seconds a watcher may take for all of it; 0: it does not
	// verify again what nothing happens to.
	Every int64
	Roots []CoveredRoot // in the order of their paths
}

// CoveredRoot is what a path of the policy covers, without what a longer one
// covers.
type CoveredRoot struct {
	Path    string
	Entries int64     // of the baseline
	Day     int64     // of these: verified within 24 hours before the report
	Oldest  time.Time // since when at the latest one of them was not verified; zero: never
}

func (v *Coverage) fields(c *coder) {
	c.number("every_seconds", &v.Every)
	elements(c, "roots", &v.Roots, func(r *CoveredRoot) {
		c.open()
		c.text("path", &r.Path)
		c.number("entries", &r.Entries)
		c.number("day", &r.Day)
		c.time("oldest", &r.Oldest)
		c.close()
	})
}

// oldest returns the root with the least time, nil where there is none.
func (v *Coverage) oldest() (old *CoveredRoot) {
	for i := range v.Roots {
		if r := &v.Roots[i]; old == nil || r.Oldest.Before(old.Oldest) {
			old = r
		}
	}
	return old
}

// coverage says it in one line.
func (t *text) coverage(v *Coverage) string {
	var all, day int64
	for _, r := range v.Roots {
		all, day = all+r.Entries, day+r.Day
	}
	s := "nothing is covered"
	if old := v.oldest(); old != nil {
		s = fmt.Sprintf("%s of %s verified within a day", group(day), plural(all, "path"))
		if old.Oldest.IsZero() {
			s += fmt.Sprintf(", some of %s never", Escape(old.Path))
		} else {
			s += fmt.Sprintf(", the oldest, of %s, %s", Escape(old.Path), t.when(old.Oldest, false))
		}
	}
	if v.Every == 0 {
		return s + "; a watcher does not verify again"
	}
	return s + "; verified again by a watcher every " + (time.Duration(v.Every) * time.Second).String()
}
