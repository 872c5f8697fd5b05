package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/derived"
	"intact/rules/packages"
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
	order []string
}

type upgrade struct {
	updates.Update
	chain manifest.Chain
	index string              // key of its index row
	had   map[entry.Path]bool // paths of Old, nil: not known
	held  string              // why it stays pending, "" if it does not
}

// hold keeps the first reason.
func (u *upgrade) hold(format string, args ...any) {
	if u.held == "" {
		u.held = fmt.Sprintf(format, args...)
	}
}

// newUpgrades judges updates by themselves. seen are the rows of the kind
// rowIndex.
func newUpgrades(list []updates.Update, seen []diff.Row, now time.Time) *upgrades {
	w := &upgrades{by: map[string]*upgrade{}, seen: map[string]string{}, now: now}
	for _, r := range seen {
		w.seen[string(r.Key)] = words(r.Value)["date"]
	}
	for i := range list {
		u := &upgrade{Update: list[i]}
		name := u.Title()
		if old := w.by[name]; old != nil {
			// Explanations cannot tell them apart, as of two architectures.
			old.hold("another package has the same name and versions")
			continue
		}
		if u.Held != nil {
			u.had = map[entry.Path]bool{}
			for p := range u.Held {
				u.had[p] = true
			}
		}
		w.by[name] = u
		w.order = append(w.order, name)
		switch {
		case u.Old.Name == "":
			u.hold("the baseline does not have it")
		case u.New.Name == "":
			u.hold("it was removed")
		case u.Level != rules.Signed || u.ID == "" || u.Source == nil:
			u.hold("no signature vouches for it")
		case u.New.Kind != "dpkg" || u.Old.Kind != u.New.Kind || u.Old.Name != u.New.Name || u.Old.Arch != u.New.Arch:
			u.hold("only packages of dpkg come with an index that says how new they are")
		case !deb.ValidVersion(u.Old.Version) || !deb.ValidVersion(u.New.Version) || deb.Compare(u.New.Version, u.Old.Version) <= 0:
			u.hold("its version is not higher")
		default:
			w.index(u)
		}
	}
	slices.Sort(w.order)
	return w
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
	case known && u.chain.Date.Before(last):
		u.hold("its index is older than one that was seen before: it may be a replay")
	}
}

// weigh takes a pending change with what explains it.
func (w *upgrades) weigh(c *diff.Change, said *rules.Explanation) error {
	if fromPackage(said) {
		u := w.by[said.Source]
		switch {
		case u == nil:
			return nil
		case said.Level != rules.Signed && said.Kind != updates.Kind:
			return nil // it stays pending by itself: the package does not hold it
		case said.Level != rules.Signed:
			u.hold("%s is not as the package has it", report.Escape(string(c.Path)))
		case said.ID != u.ID:
			u.hold("%s is explained by another package of that name", report.Escape(string(c.Path)))
		default:
			if why := exceptional(c); why != "" {
				u.hold("%s %s", report.Escape(string(c.Path)), why)
			}
		}
		return nil
	}
	if c.Folded || said.Rank() == signedRank {
		return nil
	}
	for _, u := range w.by {
		for _, p := range []entry.Path{c.Path, c.From} {
			if mine, err := u.holds(c, p); err != nil {
				return err
			} else if mine {
				u.hold("%s is not explained", report.Escape(string(p)))
			}
		}
	}
	return nil
}

// fromPackage reports whether a package explains a change, or what follows from
// packages.
func fromPackage(said *rules.Explanation) bool {
	return said != nil && (said.Kind == updates.Kind || said.Kind == updates.KindState || said.Kind == derived.Kind)
}

// holds reports whether a path belongs to the package, before or after.
func (u *upgrade) holds(c *diff.Change, p entry.Path) (bool, error) {
	if p == "" || u.held != "" {
		return false, nil
	}
	spelled := []entry.Path{p}
	if rest, ok := strings.CutPrefix(string(p), "/usr"); ok && strings.HasPrefix(rest, "/") {
		spelled = append(spelled, entry.Path(rest)) // by its name before /usr was merged
	}
	for _, p := range spelled {
		if c.Old != nil && c.Old.Kind != entry.Dir && u.had[p] {
			return true, nil
		}
		if u.Source == nil {
			continue
		}
		said, ok, err := u.Source.Lookup(p)
		if err != nil {
			return false, fmt.Errorf("package %s: %w", u.New.Name, err)
		}
		if ok && said.Kind != entry.Dir {
			return true, nil
		}
	}
	return false, nil
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
		return w.count() == len(w.by) // it follows from all of them
	}
	return u != nil && u.held == "" && u.ID == said.ID
}

// takesRow reports whether the row of an installed package goes along.
func (w *upgrades) takesRow(key []byte) bool {
	for _, u := range w.by {
		if u.held == "" && string(key) == u.New.Kind+" "+u.New.Name+":"+u.New.Arch {
			return true
		}
	}
	return false
}

// rows are the newest indexes that are seen by what is taken.
func (w *upgrades) rows() (list []diff.RowChange) {
	newest := map[string]time.Time{}
	for _, u := range w.by {
		if u.held == "" && u.chain.Date.After(newest[u.index]) {
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
		if u.held == "" {
			n++
		}
	}
	return n
}

// stays says which upgrades wait for a person, and why.
func (w *upgrades) stays() (list []string) {
	for _, name := range w.order {
		if u := w.by[name]; u.held != "" {
			list = append(list, fmt.Sprintf("accept: signed: %s stays pending: %s", report.Escape(name), u.held))
		}
	}
	return list
}
