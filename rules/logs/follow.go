package logs

import (
	"cmp"
	"slices"

	"intact/baseline/ledger"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/journal"
)

// Known is what was known of a log before this look.
type Known struct {
	Name    string
	Inode   uint64
	Born    entry.Time
	Length  int64
	Content digest.Digest // of Length bytes
}

// Seen is a log as it is now.
type Seen struct {
	Name    string
	Inode   uint64
	Born    entry.Time
	Length  int64
	Content digest.Digest
	Keeps   bool // it begins with what was known under its name
}

// Begins says whether what s holds begins with what is known as k; unpacked says
// that what s holds packed is meant.
type Begins func(s *Seen, k *Known, unpacked bool) bool

// Fate says what became of what was known under one name.
type Fate struct {
	To      string // where it is now; "" where there is nothing to be found, or it is nowhere
	Lost    bool   // it is nowhere, and that is not in order
	Dropped bool   // it is nowhere: it was the oldest, and the others moved on
}

// Family is a log with its generations.
type Family struct {
	Head    string
	Known   []Known
	Seen    []Seen
	Fates   map[string]Fate // by the name it was known under
	Fresh   map[string]bool // generations that no look met before, where rotation puts such, or that repeat what is known
	Missing []int64         // numbers that are passed over, between the log and where its content went
	Rotated int64           // generations that came in
}

// maxProbes bounds how many contents of one family are read again.
const maxProbes = 64

// Families groups what is known and seen in one directory. A generation whose
// log is neither known nor seen is a log of its own. They come in the order of
// their names.
func Families(known []Known, seen []Seen) []*Family {
	there := map[string]bool{}
	for i := range known {
		there[known[i].Name] = true
	}
	for i := range seen {
		there[seen[i].Name] = true
	}
	by := map[string]*Family{}
	of := func(file string) *Family {
		stem := parse(file).stem
		if !there[stem] {
			stem = file
		}
		// A log that is itself a generation of another belongs to that one.
		for up := parse(stem).stem; up != stem && there[up]; up = parse(stem).stem {
			if stem == file {
				break
			}
			stem = up
		}
		if by[stem] == nil {
			by[stem] = &Family{Head: stem, Fates: map[string]Fate{}, Fresh: map[string]bool{}}
		}
		return by[stem]
	}
	for i := range known {
		f := of(known[i].Name)
		f.Known = append(f.Known, known[i])
	}
	for i := range seen {
		f := of(seen[i].Name)
		f.Seen = append(f.Seen, seen[i])
	}
	var list []*Family
	for _, f := range by {
		slices.SortFunc(f.Known, func(a, b Known) int { return f.order(a.Name, b.Name) })
		slices.SortFunc(f.Seen, func(a, b Seen) int { return f.order(a.Name, b.Name) })
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *Family) int { return cmp.Compare(a.Head, b.Head) })
	return list
}

// order puts the newest first: the log, its numbers, its dates.
func (f *Family) order(a, b string) int {
	if a == b {
		return 0
	}
	if a == f.Head || b == f.Head {
		if a == f.Head {
			return -1
		}
		return 1
	}
	x, y := parse(a), parse(b)
	return cmp.Or(cmp.Compare(x.kind, y.kind), cmp.Compare(x.rank, y.rank), cmp.Compare(a, b))
}

// Follow finds everything that is known among what is seen. What rotation moves
// keeps its order, so nothing is looked for before what is newer was found.
func (f *Family) Follow(begins Begins) {
	probes := 0
	probe := func(s *Seen, k *Known) bool {
		if probes++; probes > maxProbes {
			return false
		}
		pack := parse(s.Name).pack && s.Name != f.Head && !(parse(k.Name).pack && k.Name != f.Head)
		return (pack || s.Length >= k.Length) && begins(s, k, pack)
	}
	at, older, taken := -1, -1, map[int]bool{} // older: the first place of what was a generation already
	var lost []int
	for i := range f.Known {
		k := &f.Known[i]
		if k.Length == 0 {
			f.Fates[k.Name] = Fate{}
			continue
		}
		to := f.place(k, at, probe)
		if to < 0 {
			lost = append(lost, i)
			continue
		}
		at, taken[to] = to, true
		f.Fates[k.Name] = Fate{To: f.Seen[to].Name}
		if k.Name != f.Head && older < 0 {
			older = to
		}
	}
	f.enter(taken, older)
	f.again(taken, probe)
	f.fall(lost)
	f.empty()
	f.count()
}

// place returns where k is, behind the place after; -1: nowhere. Generations may
// have the same content: where the file itself went goes first.
func (f *Family) place(k *Known, after int, probe func(*Seen, *Known) bool) int {
	var rest []int
	stands, equal := -1, -1
	for i := after + 1; i < len(f.Seen); i++ {
		s := &f.Seen[i]
		itself := s.Inode == k.Inode && s.Born == k.Born
		keeps := s.Name == k.Name && s.Keeps
		same := s.Length == k.Length && s.Content == k.Content
		switch {
		case itself && (keeps || same):
			return i
		case keeps:
			stands = i
		case same && equal < 0:
			equal = i
		case s.Name == k.Name: // it was compared
		case itself:
			rest = append([]int{i}, rest...) // the likeliest
		default:
			rest = append(rest, i)
		}
	}
	if stands >= 0 {
		return stands
	}
	if equal >= 0 {
		return equal
	}
	for _, i := range rest {
		if probe(&f.Seen[i], k) {
			return i
		}
	}
	return -1
}

// enter tells the generations that came in since: those that stand before all
// that were generations already. Where there were none, they end where the
// content of the log went.
func (f *Family) enter(taken map[int]bool, older int) {
	var first *Known
	for i := range f.Known {
		if f.Known[i].Name == f.Head {
			first = &f.Known[i]
		}
	}
	if first == nil {
		return
	}
	if older < 0 {
		older = len(f.Seen)
		if to := f.Fates[first.Name].To; first.Length > 0 {
			older = 0 // a log whose content is nowhere was not rotated
			for i := range f.Seen {
				if f.Seen[i].Name == to {
					older = i + 1
				}
			}
		}
	}
	for i := range older {
		s := &f.Seen[i]
		if s.Name == f.Head {
			continue
		}
		if !taken[i] {
			if f.knows(s.Name, s.Keeps) {
				continue
			}
			f.Fresh[s.Name] = true
		}
		f.Rotated++
	}
}

// again tells generations that repeat what is known: of several with the same
// content one alone was found for each. That the log itself has the name of a
// generation now says how many came in, whatever they hold.
func (f *Family) again(taken map[int]bool, probe func(*Seen, *Known) bool) {
	rank := int64(0)
	for i := range f.Seen {
		s := &f.Seen[i]
		if s.Name == f.Head {
			continue
		}
		rank++
		for j := range f.Known {
			k := &f.Known[j]
			if k.Name == f.Head && k.Inode == s.Inode && k.Born == s.Born && (s.Length >= k.Length) {
				f.Rotated = max(f.Rotated, rank)
			}
			if k.Length > 0 && !taken[i] && !s.Keeps && !f.Fresh[s.Name] && (s.Length == k.Length && s.Content == k.Content || probe(s, k)) {
				f.Fresh[s.Name] = true
			}
		}
	}
}

// knows reports whether an empty generation is where it was.
func (f *Family) knows(file string, keeps bool) bool {
	return keeps && slices.ContainsFunc(f.Known, func(k Known) bool { return k.Name == file && k.Length == 0 })
}

// fall judges what was not found: the oldest generations go, one for each that
// came in. Anything else is lost.
func (f *Family) fall(lost []int) {
	room := f.Rotated
	tail := len(f.Known)
	for _, i := range slices.Backward(lost) {
		k := &f.Known[i]
		for tail--; tail > i && f.Known[tail].Length == 0; tail-- {
		}
		drop := tail == i && room > 0 && k.Name != f.Head
		if drop {
			room--
		} else {
			room = 0
		}
		f.Fates[k.Name] = Fate{Lost: !drop, Dropped: drop}
	}
}

// empty judges the logs that held nothing and are no longer under their name:
// rotation takes them along, and nothing else does.
func (f *Family) empty() {
	for i := range f.Known {
		k := &f.Known[i]
		if k.Length > 0 || f.Rotated > 0 {
			continue
		}
		if !slices.ContainsFunc(f.Seen, func(s Seen) bool { return s.Name == k.Name || s.Inode == k.Inode && s.Born == k.Born }) {
			f.Fates[k.Name] = Fate{Lost: true}
		}
	}
}

// count looks for numbers that are passed over among the generations that came
// in.
func (f *Family) count() {
	if f.Rotated == 0 {
		return
	}
	there, start, last := map[int64]bool{}, int64(1), int64(0)
	to := f.Fates[f.Head].To
	note := func(file string) {
		n := parse(file)
		if n.kind != numbered || file == f.Head {
			return
		}
		start = min(start, n.rank)
	}
	for i := range f.Known {
		note(f.Known[i].Name)
	}
	for i := range f.Seen {
		s := &f.Seen[i]
		note(s.Name)
		if n := parse(s.Name); n.kind == numbered && s.Name != f.Head {
			there[n.rank] = true
			if s.Name == to {
				last = n.rank
			}
		}
	}
	for n := start; n < last && len(f.Missing) < 10; n++ {
		if !there[n] {
			f.Missing = append(f.Missing, n)
		}
	}
}

// Kin reports whether two names in one directory may be of one log and its
// generations, or are both of the journal.
func Kin(a, b string) bool {
	if journal.Named(a) || journal.Named(b) {
		return journal.Named(a) && journal.Named(b)
	}
	return root(a) == root(b)
}

// root takes all that rotation may have put there off a name.
func root(file string) string {
	for up := parse(file).stem; up != file; up = parse(file).stem {
		file = up
	}
	return file
}

// minRotations is how many rotations must have been seen before their rate says
// something.
const minRotations = 3

// Pace adds what a look at second now met to what is known of how often a log
// is rotated. hasty: at less than half of the shortest time that was ever seen.
func Pace(c ledger.Cadence, rotated, now int64) (next ledger.Cadence, hasty bool) {
	if rotated == 0 {
		return c, false
	}
	next = ledger.Cadence{Rotations: c.Rotations + rotated, Last: max(now, 0), Least: c.Least}
	if c.Last > 0 && now > c.Last {
		each := (now - c.Last) / rotated
		hasty = c.Rotations >= minRotations && c.Least > 0 && each < c.Least/2
		if each > 0 && (c.Least == 0 || each < c.Least) {
			next.Least = each
		}
	}
	return next, hasty
}

// Identity reports whether a log, by the name of its head, tells who logged in
// and what the kernel audited: what an intruder clears first.
func Identity(path string) bool {
	base := path[len(entry.Path(path).Dir()):]
	for len(base) > 0 && base[0] == '/' {
		base = base[1:]
	}
	for range 2 {
		switch base {
		case "auth.log", "secure", "authlog", "wtmp", "btmp", "utmp", "lastlog", "faillog", "tallylog", "sulog", "sudo.log", "audit.log", "wtmp.db", "lastlog2.db":
			return true
		}
		base = parse(base).stem
	}
	return false
}
