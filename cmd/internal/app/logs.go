package app

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"sync"

	"intact/baseline/diff"
	"intact/baseline/ledger"
	"intact/report"
	"intact/rules"
	"intact/rules/logs"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/unpack"
)

// logBook follows the logs of a check: what the newest entry of the ledger
// says, what the scan saw, and what came of holding one against the other.
//
//	ledger, baseline ─┐
//	scan: Known, Saw ─┴→ follow, a directory at a time → quiet, events, the next entry
type logBook struct {
	last *ledger.Entry // nil: there is none that can be used
	old  map[entry.Path]*ledger.Log

	files map[journalPlace]int64 // how much is known of journals

	mu   sync.Mutex
	seen map[entry.Path][]seenLog // by directory; guarded by mu
	n    int                      // guarded by mu
	over int64                    // logs beyond ledger.MaxLogs; guarded by mu

	quiet   map[entry.Path][]*entry.Entry // content that rotation accounts for; what has the attributes that a generation may have
	words   map[entry.Path]logLoss        // what a log lost since the last look
	events  []rules.Finding
	told    int
	next    []ledger.Log
	rotated int64

	previous digest.Digest // what the next entry names
	number   uint64        // of that
	restart  bool
	out      *report.Logs // of the entry that was written, or that a watcher names
	wrote    bool         // a watcher wrote it
}

// logLoss says what a log lost: see integrity.Options.Log.
type logLoss struct {
	words string
	grave bool
}

// seenLog is one log as the scan read it.
type seenLog struct {
	name         string
	inode        uint64
	device       uint64
	born         entry.Time
	size         int64
	whole, sum   digest.Digest
	hashed       int64          // with sum: what is compared with the baseline
	known        *digest.Digest // of as many bytes as the ledger knows
	mtime, ctime entry.Time
	journal      *scanner.JournalLook // nil: no journal, by its name
}

func newLogBook() *logBook {
	return &logBook{old: map[entry.Path]*ledger.Log{}, files: map[journalPlace]int64{}, seen: map[entry.Path][]seenLog{}, quiet: map[entry.Path][]*entry.Entry{}, words: map[entry.Path]logLoss{}}
}

// Known implements scanner.Logs.
func (b *logBook) Known(dir entry.Path, name []byte) (int64, bool) {
	l := b.old[dir.Join(name)]
	if l == nil || l.Gone {
		return 0, false
	}
	return l.Length, true
}

// Saw implements scanner.Logs.
func (b *logBook) Saw(_ int, dir entry.Path, l *scanner.LogLook) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == ledger.MaxLogs {
		b.over++
		return
	}
	b.n++
	e := l.Entry
	b.seen[dir] = append(b.seen[dir], seenLog{string(e.Name), e.Inode, e.Device, e.Btime, l.Size, l.Whole, e.Digest, e.Hashed, l.Known, e.Mtime, e.Ctime, l.Journal})
}

// What may be read again of logs to follow rotation, in bytes: what the scan read
// of them so many times, and a base. Who fills a folder with generations does not
// make a check last for ever.
const (
	rereadTimes = 4
	rereadBase  = 1 << 30
)

// followLogs holds the logs that the scan saw against what was known of them.
// Directories that the scan saw a part of only are left out.
func (c *check) followLogs(ctx context.Context, rate int64) error {
	b := c.logs
	dirs := map[entry.Path]map[string]*ledger.Log{}
	for dir := range b.seen {
		dirs[dir] = map[string]*ledger.Log{}
	}
	for p, l := range b.old {
		dir := p.Dir()
		if dirs[dir] == nil {
			dirs[dir] = map[string]*ledger.Log{}
		}
		dirs[dir][p.Base()] = l
	}
	gaps := known{}
	for _, g := range c.gaps.sorted() {
		gaps[g.Path] = true
	}
	f := &logFollower{check: c, ctx: ctx, twice: scanner.NewTwice(c.root, rate), gaps: gaps, decide: c.scope.eff.Decider(), sets: c.scope.eff.Sets()}
	f.budget = rereadBase
	for _, list := range b.seen {
		for i := range list {
			f.budget += rereadTimes * list[i].size
		}
	}
	order := slices.Collect(maps.Keys(dirs))
	slices.SortFunc(order, func(x, y entry.Path) int { return bytes.Compare(x.Key(), y.Key()) })
	for _, dir := range order {
		if c.watch != nil || c.seesWhole(dir) {
			f.dir(dir, dirs[dir])
		} else {
			f.part(dir, dirs[dir])
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if f.budget < 0 {
		c.remark("logs of this host would have to be read again too often: generations that were not are not followed")
	}
	sortLogs(b.next)
	slices.SortStableFunc(b.events, func(x, y rules.Finding) int {
		return bytes.Compare(entry.Path(x.Subject.Path).Key(), entry.Path(y.Subject.Path).Key())
	})
	return nil
}

// seesWhole reports whether the scan looked at everything in dir.
func (c *check) seesWhole(dir entry.Path) bool {
	return len(c.limit) == 0 || slices.ContainsFunc(c.limit, func(p entry.Path) bool { return dir == p || dir.Under(p) })
}

// baseLogs returns the logs that the baseline has in dir, with content.
func (c *check) baseLogs(dir entry.Path) map[string]*entry.Entry {
	out := map[string]*entry.Entry{}
	key := dir.Key()
	for part := uint32(0); ; part++ {
		p, ok := c.gen.Dir(key, part)
		if !ok {
			return out
		}
		b, err := p.Unpack(dir, part, c.gen.Sets())
		if err != nil {
			return out // damage is told where the directory is compared
		}
		for i := range b.Entries {
			e := &b.Entries[i]
			if e.Kind == entry.File && e.Have&entry.Content != 0 && c.gen.Sets()[e.Set].Log {
				out[string(e.Name)] = e.Clone()
			}
		}
	}
}

// quietLog takes from a change what rotation accounts for, all of it where
// nothing else differs.
func (c *check) quietLog(d *diff.Change) {
	like, quiet := c.logs.quiet[d.Path]
	if !quiet {
		return
	}
	if d.Kind == diff.Changed && d.OldSet.Log {
		if kin := entry.XattrAttr | entry.Flags; d.Attrs&kin != 0 {
			d.Attrs &^= kin &^ entry.Differ(journalKin(d.Old), journalKin(d.New), kin)
		}
	}
	switch {
	case d.Kind == diff.Added && d.New != nil && d.New.Kind == entry.File && d.NewSet.Log:
		mask := d.NewSet.For(entry.File) &^ entry.Content
		if slices.ContainsFunc(like, func(e *entry.Entry) bool {
			return entry.Differ(journalKin(e), journalKin(d.New), mask) == 0 && entry.Lost(e, d.New, mask) == 0
		}) {
			d.Kind = 0
			c.counts.Verified++
		}
	case d.Kind == diff.Removed && d.OldSet.Log:
		d.Kind = 0
	case d.Kind == diff.Changed && d.OldSet.Log && d.Old.Kind == entry.File && d.New.Kind == entry.File:
		if d.Attrs &^= entry.Content; d.Attrs|d.Lost|d.Gained == 0 {
			d.Kind = 0
			c.counts.Verified++
		}
	}
}

// rewrite is what drops differences that are not to be reported, nil where
// there is no such thing.
func (c *check) rewrite() func(*diff.Change) error {
	leave := c.leaveOut()
	if len(c.logs.quiet) == 0 {
		return leave
	}
	return func(d *diff.Change) error {
		c.quietLog(d)
		if leave == nil || d.Kind == 0 {
			return nil
		}
		return leave(d)
	}
}

// emitBeside emits the findings about files that are no changes, in the order of
// those that are: see emitViews, emitLogs and emitMass.
func (c *check) emitBeside(p entry.Path) error {
	if err := c.emitLogs(p); err != nil {
		return err
	}
	if err := c.emitMass(p); err != nil {
		return err
	}
	return c.emitViews(p)
}

// lostWords is integrity.Options.Log.
func (b *logBook) lostWords(path string) (words string, grave bool) {
	if b == nil {
		return "", false
	}
	l := b.words[entry.Path(path)]
	return l.words, l.grave
}

// emitted returns how many findings were no changes.
func (b *logBook) emitted() int {
	if b == nil {
		return 0
	}
	return b.told
}

// outcome is what the trailer says of the ledger, nil where nothing was written.
func (b *logBook) outcome() *report.Logs {
	if b == nil {
		return nil
	}
	return b.out
}

// emitLogs emits the findings about logs that are no changes up to and with
// path p; all of them where p is "".
func (c *check) emitLogs(p entry.Path) error {
	b := c.logs
	if b == nil || !c.sets["integrity"] {
		return nil
	}
	for ; b.told < len(b.events); b.told++ {
		f := b.events[b.told]
		if p != "" && bytes.Compare(entry.Path(f.Subject.Path).Key(), p.Key()) > 0 {
			return nil
		}
		if err := c.emit(f); err != nil {
			return err
		}
	}
	return nil
}

// begins reports whether what the scan read of a log begins with what is known.
// What cannot be read again proves nothing.
func (f *logFollower) begins(p entry.Path, s *seenLog, k *logs.Known, packed bool) bool {
	if f.budget -= s.size + k.Length; f.budget < 0 {
		return false
	}
	seen := &entry.Entry{Size: s.size, Digest: s.whole}
	holds := false
	err := f.twice.Stream(f.ctx, p, seen, func(r io.Reader) error {
		if packed {
			_, format := unpack.ByName(p.Base())
			u, err := unpack.NewReader(r, format, unpack.Limits{Output: k.Length + 1})
			if err != nil {
				return err
			}
			defer u.Close()
			r = u
		}
		h := digest.New()
		h.Reset(k.Length)
		n, err := io.CopyN(h, r, k.Length)
		holds = n == k.Length && h.Sum() == k.Content
		if holds {
			err = nil
		}
		return err
	})
	return err == nil && holds
}
