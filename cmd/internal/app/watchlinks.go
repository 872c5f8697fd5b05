package app

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"intact/scanner"
	"intact/scanner/entry"
	"intact/scanner/policy"
	"intact/scanner/watch"
)

// A file with several names has events at the name that was used alone; what it
// holds, and how many names it has, changed at all of them.

// maxLinked bounds the names that are known, and those seen in one look.
const maxLinked = 50_000

// searchShare is how much longer than a search took the next one waits.
const searchShare = 20

// linked is a file with several names.
type linked struct {
	names    map[entry.Path]bool // those that are known
	now      linkStamp
	searched uint32 // how many names it had when the others were looked for
}

// linkStamp changes with whatever happens to a file.
type linkStamp struct {
	nlink        uint32
	size         int64
	mtime, ctime entry.Time
}

func stampOf(e *entry.Entry) linkStamp { return linkStamp{e.Nlink, e.Size, e.Mtime, e.Ctime} }

// linkSeen is a name that a look saw.
type linkSeen struct {
	path entry.Path
	of   fileID
	linkStamp
}

// linkBook knows, within one boot, hot files with several names. Between looks it is the loop's
// alone; while one runs it is read, and seen collects.
type linkBook struct {
	by   map[fileID]*linked
	at   map[entry.Path]fileID
	wait time.Time // before it nothing is searched

	mu   sync.Mutex
	seen []linkSeen // guarded by mu
}

func newLinkBook() *linkBook {
	return &linkBook{by: map[fileID]*linked{}, at: map[entry.Path]fileID{}}
}

// Entry implements scanner.Observer.
func (b *linkBook) Entry(_ int, dir entry.Path, e *entry.Entry) {
	if e.Kind == entry.Dir || e.Nlink < 2 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) < maxLinked {
		b.seen = append(b.seen, linkSeen{dir.Join(e.Name), fileID{e.Device, e.Inode}, stampOf(e)})
	}
}

// settle takes what a look at parts saw. It returns the other names of what changed
// there: nobody looked at them. whole says that the look was at everything hot, so
// that names which are not known now lie elsewhere.
func (b *linkBook) settle(parts *entry.Parts, whole bool) (others []entry.Path) {
	seen := b.seen
	b.seen = nil
	met := make(map[entry.Path]fileID, len(seen))
	for _, s := range seen {
		if parts.Hold(s.path) {
			met[s.path] = s.of
		}
	}
	stirred := map[fileID]bool{}
	for p, of := range b.at {
		if now, still := met[p]; parts.Hold(p) && (!still || now != of) {
			stirred[of] = true
			delete(b.at, p)
			delete(b.by[of].names, p)
		}
	}
	for _, s := range seen {
		l := b.by[s.of]
		if _, mine := met[s.path]; !mine || l == nil && len(b.at) >= maxLinked {
			continue
		}
		if l == nil {
			l = &linked{names: map[entry.Path]bool{}}
			b.by[s.of] = l
		}
		if l.now != s.linkStamp {
			stirred[s.of] = true
			l.now = s.linkStamp
		}
		l.names[s.path] = true
		b.at[s.path] = s.of
		if whole {
			l.searched = l.now.nlink
		}
	}
	for of := range stirred {
		l := b.by[of]
		for p := range l.names {
			if _, looked := met[p]; !looked {
				others = append(others, p)
			}
		}
		if len(l.names) == 0 {
			delete(b.by, of)
		}
	}
	return others
}

// wanted reports whether names of some file are not known and may be hot.
func (b *linkBook) wanted() bool {
	for _, l := range b.by {
		if l.missing() {
			return true
		}
	}
	return false
}

func (l *linked) missing() bool { return len(l.names) < int(l.now.nlink) && l.searched != l.now.nlink }

// found takes the names that a search saw, and returns all names of files that had
// some missing: what happened at those was not known to concern the others.
func (b *linkBook) found() (others []entry.Path) {
	for _, s := range b.seen {
		if l := b.by[s.of]; l != nil && l.missing() && !l.names[s.path] {
			others = append(others, s.path)
		}
	}
	for _, l := range b.by {
		if l.missing() {
			others = slices.AppendSeq(others, maps.Keys(l.names))
			l.searched = l.now.nlink // the rest is not hot
		}
	}
	b.seen = nil
	return others
}

// elsewhere returns the known names of files that have others which are not hot:
// nobody tells what is done by those.
func (b *linkBook) elsewhere() (names []entry.Path) {
	for _, l := range b.by {
		if len(l.names) < int(l.now.nlink) {
			names = slices.AppendSeq(names, maps.Keys(l.names))
		}
	}
	return names
}

// linksSettled has the other names of what a look saw looked at.
func (w *watching) linksSettled(l *look) {
	whole := slices.ContainsFunc(l.hints, func(h watch.Hint) bool { return h.Deep && h.Dir == "/" })
	w.hint(w.links.settle(l.parts, whole))
}

func (w *watching) hint(places []entry.Path) {
	var b watch.Batch
	for _, p := range places {
		b.Hints = append(b.Hints, watch.Hint{Dir: p.Dir(), Names: [][]byte{[]byte(p.Base())}})
	}
	if len(b.Hints) > 0 {
		w.w.Again(b)
	}
}

// searchLinks looks for the names of files that got one more than is known, now and
// then: it lists everything hot.
func (w *watching) searchLinks(ctx context.Context) error {
	if time.Now().Before(w.links.wait) || !w.links.wanted() {
		return nil
	}
	begin := time.Now()
	defer func() { w.links.wait = time.Now().Add(searchShare * time.Since(begin)) }()
	s, err := open(w.env)
	if err != nil {
		return err
	}
	defer s.close()
	s.steady = true
	gen, aliases := w.gen, w.aliases
	sc, err := w.inForce(ctx, s)
	w.gen, w.aliases = gen, aliases // that others are in force is for a look to notice
	if err != nil {
		return err
	}
	bare, err := s.scope(bareOf(sc.base), bareOf(sc.present), sc.all, false)
	if err != nil {
		return err
	}
	hot := hotPlaces{session: s, eff: sc.eff}
	hot.below("/")
	opt := s.scanOptions(bare)
	opt.Limit = hot.list
	w.notify.reads(opt.Progress)
	_, err = scanner.Run(ctx, s.root, bare.eff, opt, nil, nothing{}, w.links)
	if err != nil {
		w.links.seen = nil
		return err
	}
	w.hint(w.links.found())
	return nil
}

// bareOf is a policy that selects the same and compares next to nothing, so that a
// scan opens no file.
func bareOf(p *policy.Policy) *policy.Policy {
	if p == nil {
		return nil
	}
	bare := *p
	bare.Rules = slices.Clone(p.Rules)
	set, _ := policy.GroupSet("presence")
	for i := range bare.Rules {
		bare.Rules[i].Set = set
	}
	return &bare
}

// nothing is a scanner.Sink that keeps nothing.
type nothing struct{}

func (nothing) Dir(int, *entry.Block) error { return nil }
func (nothing) Gap(int, scanner.Gap) error  { return nil }
