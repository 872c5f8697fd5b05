package updates

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/expect"
	"intact/scanner/entry"
)

// Explainer implements rules.Explainer. It is for one goroutine.
type Explainer struct {
	updates []Update
	host    Host
	seed    maphash.Seed
	holds   []holds // sorted by sum
	held    []held  // sorted by path
	names   map[string]int
	failed  map[int]error // updates whose source could not be read
}

// holds says that an update may hold a path, by a digest of where it is on the
// host. Sixteen bytes a path: a whole system fits.
type holds struct {
	sum    uint64
	update uint32
}

type held struct {
	path   entry.Path // on the host
	update int
}

// New returns an explainer by updates. A source that cannot be read explains
// nothing, see Failed.
func New(ctx context.Context, updates []Update, h Host) (*Explainer, error) {
	x := &Explainer{updates: updates, host: h, seed: maphash.MakeSeed(), names: map[string]int{}, failed: map[int]error{}}
	for i := range updates {
		u := &updates[i]
		if u.kind() == "dpkg" {
			x.names[file(u, false)], x.names[file(u, true)] = i, i
		}
		if u.Source != nil {
			for p, err := range u.Source.Paths() {
				if err != nil {
					x.failed[i] = err
					break
				}
				x.index(p, i)
			}
		}
		if u.Held != nil {
			for p := range u.Held {
				x.held = append(x.held, held{x.Place(p, u.Old.Name), i})
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	placed := map[entry.Path]Override{}
	for p, o := range h.Overrides {
		placed[x.Place(p, "")] = o
	}
	x.host.Overrides = placed
	slices.SortFunc(x.holds, func(a, b holds) int { return cmp.Or(cmp.Compare(a.sum, b.sum), cmp.Compare(a.update, b.update)) })
	slices.SortFunc(x.held, func(a, b held) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.update, b.update)) })
	return x, nil
}

// Failed returns the updates of which a source could not be read, by their
// titles.
func (x *Explainer) Failed() map[string]error {
	out := map[string]error{}
	for i, err := range x.failed {
		out[x.updates[i].Title()] = err
	}
	return out
}

func (x *Explainer) index(p entry.Path, update int) {
	at := x.Place(p, x.updates[update].New.Name)
	x.holds = append(x.holds, holds{maphash.String(x.seed, string(at)), uint32(update)})
}

// Place is where on the host the file is that a package lists.
func (x *Explainer) Place(p entry.Path, pkg string) entry.Path {
	if d, ok := x.host.Diverted[p]; ok && d.By != pkg {
		p = d.To
	}
	for dir := p.Dir(); ; dir = dir.Dir() {
		if to, ok := x.host.Links[dir]; ok {
			return entry.Path(string(to) + string(p[len(dir):]))
		}
		if dir == "/" {
			return p
		}
	}
}

// spellings are the paths under which a package may list what is at p.
func (x *Explainer) spellings(p entry.Path, pkg string) []entry.Path {
	list := []entry.Path{p}
	for from, to := range x.host.Links {
		if p.Under(to) && p != to {
			list = append(list, entry.Path(string(from)+string(p[len(to):])))
		}
	}
	for from, d := range x.host.Diverted {
		if d.By != pkg && slices.Contains(list, d.To) {
			list = append(list, from)
		}
	}
	return slices.DeleteFunc(list, func(s entry.Path) bool { return x.Place(s, pkg) != p })
}

// Holder calls do for each update that holds p, with what it says of it. An
// update whose source fails holds nothing.
func (x *Explainer) Holder(p entry.Path, do func(u *Update, s *Said) bool) {
	sum := maphash.String(x.seed, string(p))
	from, _ := slices.BinarySearchFunc(x.holds, sum, func(h holds, sum uint64) int { return cmp.Compare(h.sum, sum) })
	for ; from < len(x.holds) && x.holds[from].sum == sum; from++ {
		i := int(x.holds[from].update)
		u := &x.updates[i]
		for _, name := range x.spellings(p, u.New.Name) {
			s, ok, err := u.Source.Lookup(name)
			if err != nil {
				x.failed[i] = err
			}
			if ok && err == nil && x.failed[i] == nil && !do(u, &s) {
				return
			}
		}
	}
}

// Explain implements rules.Explainer: the strongest word of those that account
// for all of c.
func (x *Explainer) Explain(ctx context.Context, c *diff.Change) (best rules.Explanation, ok bool) {
	if c.Lost != 0 || c.Gained != 0 {
		return best, false
	}
	take := func(e rules.Explanation) {
		if !ok || e.Rank() > best.Rank() {
			best, ok = e, true
		}
	}
	switch c.Kind {
	case diff.Removed:
		x.gone(c.Path, func(u *Update) {
			e := u.Explanation(Kind)
			if e.Level == rules.Signed && (c.Path.Under("/etc") || x.wasConffile(u, c.Path)) {
				e.Level = rules.Attributed // package managers leave configuration behind
			}
			take(e)
		})
		if !ok {
			x.state(ctx, c, take)
		}
		return best, ok
	case diff.Added, diff.Changed, diff.Replaced, diff.Renamed:
	default:
		return best, false
	}
	if c.New == nil {
		return best, false
	}
	left := map[*Update]bool{}
	if c.Kind == diff.Renamed {
		x.gone(c.From, func(u *Update) { left[u] = true })
		saved(c, left, take)
	}
	may := func(u *Update) bool { return c.Kind != diff.Renamed || left[u] }
	x.Holder(c.Path, func(u *Update, s *Said) bool {
		if may(u) && x.accounts(ctx, s, c) {
			take(x.weighed(u, s, c))
		}
		return true
	})
	if !ok && c.Kind != diff.Renamed {
		x.beside(ctx, c, take)
	}
	if !ok && c.Kind != diff.Renamed {
		x.state(ctx, c, take)
	}
	return best, ok
}

// doubtful is what u says where the host does not say for sure what a package
// means by a path or by a name.
func (x *Explainer) doubtful(u *Update, s *Said) rules.Explanation {
	e := u.Explanation(Kind)
	other := func(name string) bool { return name != "" && name != "root" }
	if e.Level == rules.Signed && (x.host.Doubted || !x.host.Named && (other(s.User) || other(s.Group))) {
		e.Level = rules.Attributed
	}
	return e
}

// weighed is what u says of a change that it accounts for. A signature vouches for
// what the package brings, not for a way back from what an administrator chose and
// the baseline accepted: an edited configuration, another mode in a package that
// did not move.
func (x *Explainer) weighed(u *Update, s *Said, c *diff.Change) rules.Explanation {
	e := x.doubtful(u, s)
	if e.Level != rules.Signed {
		return e
	}
	const bytes = entry.Content | entry.Size | entry.Mtime | entry.Ctime | entry.Inode
	switch {
	case u.Old.Version == u.New.Version && (c.Kind != diff.Changed || c.Attrs&^bytes != 0 || s.Conffile),
		s.Conffile && c.Old != nil && c.Attrs&(entry.Content|entry.Type) != 0 && !x.shipped(u, c):
		e.Level = rules.Attributed
	}
	return e
}

// shipped reports whether what c replaced is what the old version brought.
func (x *Explainer) shipped(u *Update, c *diff.Change) bool {
	if u.Was == nil || c.Old.Have&entry.Content == 0 {
		return false
	}
	for _, name := range x.spellings(c.Path, u.Old.Name) {
		if s, ok, err := u.Was.Lookup(name); ok && err == nil {
			return s.Known && c.Old.Kind == s.Kind && s.BLAKE3 == c.Old.Digest
		}
	}
	return false
}

// wasConffile reports whether the old version had p as a configuration file, as far
// as that is known.
func (x *Explainer) wasConffile(u *Update, p entry.Path) bool {
	if u.Was == nil {
		return false
	}
	for _, name := range x.spellings(p, u.Old.Name) {
		if s, ok, err := u.Was.Lookup(name); err != nil || ok && s.Conffile {
			return true
		}
	}
	return false
}

// gone calls do for each update that took p away: Old held it, and no package
// holds it now, by itself or by the database. dpkg lists a configuration file that
// became obsolete further on: who removed that was not dpkg.
func (x *Explainer) gone(p entry.Path, do func(*Update)) {
	from, _ := slices.BinarySearchFunc(x.held, p, func(h held, p entry.Path) int { return cmp.Compare(h.path, p) })
	if from == len(x.held) || x.held[from].path != p {
		return
	}
	kept := false
	x.Holder(p, func(*Update, *Said) bool { kept = true; return false })
	kept = kept || x.host.Listed != nil && x.host.Listed(p)
	for ; !kept && from < len(x.held) && x.held[from].path == p; from++ {
		i := x.held[from].update
		u := &x.updates[i]
		if (u.Source != nil || u.Gone()) && x.failed[i] == nil {
			do(u)
		}
	}
}

// accounts reports whether what a package says is all that c shows.
func (x *Explainer) accounts(ctx context.Context, s *Said, c *diff.Change) bool {
	if s.Ghost || s.Kind == entry.Dir && c.Old != nil && c.Old.Kind == entry.Dir {
		return false // package managers leave folders that are there as they are
	}
	e := *c.New
	l := expect.Line{Path: c.Path, Kind: s.Kind, Mode: s.Mode, UID: s.UID, GID: s.GID, Size: s.Size, SHA256: s.SHA256, BLAKE3: s.BLAKE3, Known: s.Known, Target: []byte(s.Target)}
	user, group := s.User, s.Group
	if o, ok := x.host.Overrides[c.Path]; ok && s.Kind != entry.Symlink {
		l.Mode, user, group = o.Mode, o.User, o.Group
	}
	if user != "" && named(user, e.UID, x.host.User) {
		l.UID = e.UID
	} else if user != "" {
		l.UID = ^e.UID
	}
	if group != "" && named(group, e.GID, x.host.Group) {
		l.GID = e.GID
	} else if group != "" {
		l.GID = ^e.GID
	}
	if s.Conffile && c.Old != nil && c.Old.Kind == e.Kind && c.Kind != diff.Renamed {
		keep(&l, c)
	}
	d := *c
	d.New = &e
	x.caps(s, &d)
	return l.Accounts(ctx, &d, x.host.Contents)
}

// named reports whether a name is that of an id; root is so everywhere.
func named(name string, id uint32, nameOf func(uint32) string) bool {
	return name == "root" && id == 0 || name != "root" && nameOf != nil && nameOf(id) == name
}

// keep takes from the host what a package manager leaves as it was.
func keep(l *expect.Line, c *diff.Change) {
	if c.Attrs&entry.Mode == 0 {
		l.Mode = c.New.Mode
	}
	if c.Attrs&entry.UID == 0 {
		l.UID = c.New.UID
	}
	if c.Attrs&entry.GID == 0 {
		l.GID = c.New.GID
	}
}

// PlainCaps spells capabilities of a package as entry.Text does: older versions of
// libcap write "= cap_net_raw+ep".
func PlainCaps(s string) string {
	return strings.ReplaceAll(strings.TrimPrefix(s, "= "), "+", "=")
}

// caps takes capabilities out of d.New that are the package's, or that the
// baseline has at the path of a package that does not speak of them.
func (x *Explainer) caps(s *Said, d *diff.Change) {
	e := d.New
	if e.Have&entry.Caps == 0 {
		return
	}
	if s.HasCaps {
		has, _ := entry.Text(entry.Caps, e)
		if PlainCaps(s.Caps) == has {
			d.Attrs &^= entry.Caps
			e.Caps = nil
		}
		return
	}
	if d.Attrs&entry.Caps == 0 && d.Old != nil && d.Old.Kind == e.Kind && d.Kind != diff.Renamed {
		e.Caps = nil // what the baseline has is accepted at this path
	}
}

// Below returns a function that reports whether the package of update i holds a
// path, or something below it.
func (x *Explainer) Below(i int) func(entry.Path) bool {
	var all map[uint64]bool
	return func(p entry.Path) bool {
		u := &x.updates[i]
		if u.Source == nil || x.failed[i] != nil {
			return false
		}
		if all == nil {
			all = map[uint64]bool{}
			for at, err := range u.Source.Paths() {
				if err != nil {
					x.failed[i] = err
					return false
				}
				for at = x.Place(at, u.New.Name); ; at = at.Dir() {
					sum := maphash.String(x.seed, string(at))
					if all[sum] {
						break
					}
					if all[sum] = true; at == "/" {
						break
					}
				}
			}
		}
		return all[maphash.String(x.seed, string(p))]
	}
}
