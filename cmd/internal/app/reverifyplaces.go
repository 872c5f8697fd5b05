package app

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/scanner"
	"intact/scanner/entry"
)

const (
	morePlaces = 256     // places of one look
	maxSeen    = 1 << 18 // differences that are remembered, eight bytes each and more
	mostDrawn  = 1024    // files of one piece that are read past the page cache
)

// places are those where a re-verification saw something else than the baseline
// has: a look there is what tells.
type places struct {
	flat  []entry.Path // of which only the entry itself differs
	deep  []entry.Path // that are looked at with all that lies below
	views []entry.Path // files whose disk holds something else than the page cache
}

func (p *places) size() int { return len(p.flat) + len(p.deep) + len(p.views) }

// collector takes the differences of one piece. It is the spool of the comparison
// and, with one worker, used by one goroutine at a time.
type collector struct {
	places
	ctx   context.Context
	r     *reverifier
	apart func(entry.Path) bool
	clean bool // all of it was verified, or is told
	room  []byte
}

// Add implements baseline.Spool.
func (c *collector) Add(_ int, ch *diff.Change) error {
	if c.apart(ch.Path) {
		return nil
	}
	c.room = diff.AppendChange(c.room[:0], ch)
	if ch.Kind == diff.Unverified {
		c.clean = false
	}
	if dir := ch.Path.Dir(); (ch.OldSet.Log || ch.NewSet.Log) && dir != "/" {
		return c.put(&c.deep, dir, c.room) // where a log went is seen from all that lie there
	}
	if ch.Kind == diff.Changed && ch.Old != nil && ch.New != nil && ch.Old.Kind == ch.New.Kind {
		return c.put(&c.flat, ch.Path, c.room)
	}
	return c.put(&c.deep, ch.Path, c.room)
}

// put notes a place for what is different there, unless a look was told so before.
func (c *collector) put(list *[]entry.Path, p entry.Path, what []byte) error {
	sum := maphash.Bytes(c.r.seed, what)
	if _, told := c.r.seen[sum]; told {
		return nil
	}
	if len(c.r.seen) < maxSeen {
		c.r.seen[sum] = struct{}{}
	}
	*list = append(*list, p)
	if c.size() >= morePlaces {
		return c.flush()
	}
	return nil
}

// flush gives what there is to the watcher and waits until it is taken.
func (c *collector) flush() error {
	if c.size() == 0 {
		return nil
	}
	slices.Sort(c.deep)
	c.deep = slices.Compact(c.deep)
	select {
	case c.r.out <- c.places:
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
	c.places = places{}
	return nil
}

// pieceSink compares the directories of a piece and draws from their files.
type pieceSink struct {
	*baseline.Comparer
	c      *collector
	wanted map[entry.Path]bool
	gen    *baseline.Generation
	known  known
	share  int       // percent of the files
	before time.Time // files that changed later may be being written
	sample []drawnFile
}

type drawnFile struct {
	path entry.Path
	seen *entry.Entry
}

// Dir implements scanner.Sink.
func (s *pieceSink) Dir(w int, b *entry.Block) error {
	if !s.wanted[b.Dir] {
		if _, stored := s.gen.Dir(b.Dir.Key(), 0); stored {
			return nil // on the way: only the names that lead on were looked at
		}
	}
	for i := range b.Entries {
		e := &b.Entries[i]
		if len(s.sample) < mostDrawn && e.Kind == entry.File && e.Have&entry.Content != 0 && e.Size > 0 && e.Hashed == e.Size &&
			rand.IntN(100) < s.share && s.rests(e.Ctime) && s.rests(e.Mtime) {
			s.sample = append(s.sample, drawnFile{b.Dir.Join(e.Name), e.Clone()})
		}
	}
	return s.Comparer.Dir(w, b)
}

func (s *pieceSink) rests(t entry.Time) bool { return time.Unix(t.Sec, int64(t.Nsec)).Before(s.before) }

// Gap implements scanner.Sink. What passes is tried again in the next pass.
func (s *pieceSink) Gap(w int, g scanner.Gap) error {
	if s.c.apart(g.Path) {
		return nil
	}
	if !s.known.has(g.Path) {
		s.c.clean = false
		if !g.Reason.Passing() && !s.gen.Covers(g.Path) {
			if err := s.c.put(&s.c.flat, g.Path, []byte(string(g.Path)+"\x00"+string(g.Reason))); err != nil {
				return err
			}
		}
	}
	return s.Comparer.Gap(w, g)
}

// pastCache reads the sample past the page cache.
func (s *pieceSink) pastCache(ctx context.Context, twice *scanner.Twice) error {
	for _, f := range s.sample {
		disk, err := again(ctx, twice, f.path, f.seen)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if otherView(disk, f.seen.Digest, err) {
			what := append([]byte(string(f.path)+"\x00"), disk[:]...)
			if err := s.c.put(&s.c.views, f.path, what); err != nil {
				return err
			}
		}
	}
	return nil
}
