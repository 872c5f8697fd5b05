package app

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/derived"
	"intact/rules/packages"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/updates"
	"intact/scanner/entry"
)

// chained is implemented by sources that know the archive they came from. A
// package without one is as old as it likes: it is not accepted without a person.
type chained interface{ Chain() manifest.Chain }

// upgrades weighs which upgrades of packages are accepted without a person. Each
// is taken whole or not at all.
type upgrades struct {
	by    map[string]*upgrade // by the title of the update, as explanations name it
	seen  map[string]string   // index rows of the baseline: date by key
	now   time.Time
	under *baseline.Delegation // nil: nobody governs
	order []string
	rowOf map[string]*upgrade // by the key of the package's row
	holds *updates.Explainer  // of those that are not held from the beginning
}

type upgrade struct {
	updates.Update
	chain manifest.Chain
	index string // key of its index row
	held  string // why it stays pending, "" if it does not

	// again says that the baseline has the version. Only what was made from it
	// waits then, like a cache that the proposal of the upgrade did not have.
	again   bool
	waits   bool // something that it explains waits
	follows bool // and goes along
}

// hold keeps the first reason.
func (u *upgrade) hold(format string, args ...any) {
	if u.held == "" {
		u.held = fmt.Sprintf(format, args...)
	}
}

// newUpgrades judges updates by themselves. seen are the rows of the kind
// rowIndex, h says where packages put their files.
func newUpgrades(ctx context.Context, list []updates.Update, seen []diff.Row, now time.Time, h updates.Host, under *baseline.Delegation) (w *upgrades, err error) {
	w = &upgrades{by: map[string]*upgrade{}, seen: map[string]string{}, now: now, under: under, rowOf: map[string]*upgrade{}}
	for _, r := range seen {
		w.seen[string(r.Key)] = words(r.Value)["date"]
	}
	var open []updates.Update
	for i := range list {
		u := &upgrade{Update: list[i]}
		name := u.Title()
		if old := w.by[name]; old != nil {
			// Explanations cannot tell them apart, as of two architectures.
			old.hold("another package has the same name and versions")
			continue
		}
		w.by[name] = u
		w.rowOf[plainKey(&u.New)] = u
		w.order = append(w.order, name)
		if w.judge(u); u.held == "" {
			open = append(open, u.Update)
		}
	}
	slices.Sort(w.order)
	w.holds, err = updates.New(ctx, open, updates.Host{Links: h.Links, Diverted: h.Diverted})
	return w, err
}

// judge holds an upgrade that is none, or that nobody vouches for.
func (w *upgrades) judge(u *upgrade) {
	switch {
	case u.Old.Name == "":
		u.hold("the baseline does not have it")
	case u.Gone():
		u.hold("it was removed")
	case u.Level != rules.Signed || u.ID == "" || u.Source == nil:
		u.hold("no signature vouches for it")
	case u.New.Kind != "dpkg" || u.Old.Kind != u.New.Kind || u.Old.Name != u.New.Name || u.Old.Arch != u.New.Arch:
		u.hold("only packages of dpkg come with an index that says how new they are")
	case !deb.ValidVersion(u.Old.Version) || !deb.ValidVersion(u.New.Version) || deb.Compare(u.New.Version, u.Old.Version) < 0:
		u.hold("its version is not higher")
	case u.Old == u.New:
		u.again = true
		fallthrough
	case deb.Compare(u.New.Version, u.Old.Version) > 0:
		if why := beyondUpgrade(u.Old, u.New); why != "" && !u.again {
			u.hold("%s", why) // no archive signs that
		}
		w.index(u)
	default:
		u.hold("its version is not higher")
	}
}

// beyondUpgrade says what the row of a package tells besides a newer version, as that
// somebody put it on hold; "" if it tells nothing else.
func beyondUpgrade(old, now pkgdb.Package) string {
	if f := movedFinding(diff.RowChange{}, old, now); f.Rule != "pkg.upgraded" {
		return f.Reasons[0]
	}
	return ""
}

// index holds the date of the package's index against the newest that packages
// of this archive were accepted from.
func (w *upgrades) index(u *upgrade) {
	c, ok := u.Source.(chained)
	if ok {
		u.chain = c.Chain()
	}
	if !ok || u.chain.Date.IsZero() || u.chain.Key == "" {
		u.hold("no signed index says how new it is")
		return
	}
	u.index = strings.Join([]string{u.chain.Origin, u.chain.Suite, u.chain.Codename, u.chain.Key}, "\x00")
	text, known := w.seen[u.index]
	last, err := time.Parse(time.RFC3339, text)
	switch {
	case u.chain.Date.After(w.now.Add(24 * time.Hour)):
		u.hold("its index is dated in the future")
	case known && err != nil:
		u.hold("the baseline does not say which index was the last one")
	case known && !u.again && u.chain.Date.Before(last):
		u.hold("its index is older than one that was seen before: it may be a replay")
	case w.under == nil:
	case !w.under.CoversPackage(u.New.Name):
		u.hold("the delegation does not cover it")
	case !w.under.CoversSuite(u.chain.Suite, u.chain.Codename):
		u.hold("the delegation does not cover the suite %s", report.Escape(cmp.Or(u.chain.Suite, u.chain.Codename, "without a name")))
	}
}

// weigh takes a pending change with what explains it.
func (w *upgrades) weigh(c *diff.Change, said *rules.Explanation) {
	if fromPackage(said) {
		u := w.by[said.Source]
		if u == nil {
			return
		}
		u.waits = true
		switch {
		case said.Level != rules.Signed && said.Kind != updates.Kind:
			// it stays pending by itself: the package does not hold it
		case said.Level != rules.Signed:
			u.hold("%s is not as the package has it", report.Escape(string(c.Path)))
		case said.ID != u.ID:
			u.hold("%s is explained by another package of that name", report.Escape(string(c.Path)))
		default:
			if why := exceptional(c); why != "" {
				u.hold("%s %s", report.Escape(string(c.Path)), why)
			}
			u.follows = u.follows || said.Kind == derived.Kind
		}
		return
	}
	if c.Folded || said.Rank() == signedRank {
		return
	}
	for _, p := range []entry.Path{c.Path, c.From} {
		if p == "" {
			continue
		}
		w.holds.Involved(p, func(u *updates.Update, held bool) {
			if !held || c.Old != nil && c.Old.Kind != entry.Dir {
				w.by[u.Title()].hold("%s is not explained", report.Escape(string(p)))
			}
		})
	}
}

// weighed holds what could not be read to its end.
func (w *upgrades) weighed() {
	for name, err := range w.holds.Failed() {
		w.by[name].hold("what is recorded of it cannot be read: %s", report.Prose(err.Error()))
	}
}

// fromPackage reports whether a package explains a change, or what follows from
// packages.
func fromPackage(said *rules.Explanation) bool {
	return said != nil && (said.Kind == updates.Kind || said.Kind == updates.KindState || said.Kind == derived.Kind)
}

// exceptional says why a person must see a change though a signature explains
// it, "" where that is not so.
func exceptional(c *diff.Change) string {
	if c.Kind == diff.Unverified || c.Lost != 0 {
		return "could not be verified"
	}
	e := c.New
	if e == nil {
		return ""
	}
	fresh := c.Old == nil || c.From != ""
	old := c.Old
	if old == nil {
		old = &entry.Entry{}
	}
	switch {
	case e.Kind == entry.File && e.Have&entry.Mode == 0:
		return "has a mode that is not known"
	case e.Kind == entry.File && e.Mode&0o6000&^old.Mode != 0, e.Kind == entry.File && fresh && e.Mode&0o6000 != 0:
		return "is newly setuid or setgid"
	case e.Have&entry.Caps != 0 && len(e.Caps) > 0 && (fresh || string(old.Caps) != string(e.Caps)):
		return "has new capabilities"
	case fresh && e.Kind != entry.Dir && packages.InUnits(c.Path):
		return "is a new unit, or enables one"
	case packages.ClassOf(c.Path, e) == packages.Key:
		return "lets somebody in"
	}
	return ""
}

// takes reports whether what explains a change is accepted without a person.
func (w *upgrades) takes(said *rules.Explanation) bool {
	if !fromPackage(said) || said.Level != rules.Signed {
		return false
	}
	u := w.by[said.Source]
	if u == nil && said.Kind == updates.KindState {
		return w.all() // it follows from all of them
	}
	return u != nil && u.held == "" && u.ID == said.ID && (!u.again || said.Kind == derived.Kind)
}

// takesRow reports whether the row of an installed package goes along.
func (w *upgrades) takesRow(key []byte) bool {
	u := w.rowOf[string(key)]
	return u != nil && u.held == "" && !u.again
}

// rows are the newest indexes that are seen by what is taken.
func (w *upgrades) rows() (list []diff.RowChange) {
	newest := map[string]time.Time{}
	for _, u := range w.by {
		if u.held == "" && !u.again && u.chain.Date.After(newest[u.index]) {
			newest[u.index] = u.chain.Date
		}
	}
	for _, key := range slices.Sorted(maps.Keys(newest)) {
		now := "date=" + newest[key].UTC().Format(time.RFC3339)
		r := diff.RowChange{Kind: rowIndex, Key: []byte(key), New: []byte(now)}
		if old, known := w.seen[key]; known {
			r.Old = []byte("date=" + old)
		}
		if string(r.Old) != now {
			list = append(list, r)
		}
	}
	return list
}

// count returns how many upgrades are taken.
func (w *upgrades) count() (n int) {
	for _, u := range w.by {
		if u.held == "" && !u.again {
			n++
		}
	}
	return n
}

// all reports whether no upgrade waits.
func (w *upgrades) all() bool {
	for _, u := range w.by {
		if u.held != "" && !u.again {
			return false
		}
	}
	return true
}

// some reports whether there is anything to take.
func (w *upgrades) some() bool {
	for _, u := range w.by {
		if u.held == "" && (!u.again || u.follows) {
			return true
		}
	}
	return false
}

// stays says which upgrades wait for a person, and why.
func (w *upgrades) stays() (list []string) {
	for _, name := range w.order {
		if u := w.by[name]; u.held != "" && (!u.again || u.waits) {
			list = append(list, fmt.Sprintf("accept: signed: %s stays pending: %s", report.Escape(name), u.held))
		}
	}
	return list
}
