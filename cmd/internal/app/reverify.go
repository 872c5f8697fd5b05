package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"intact/baseline"
	"intact/baseline/statement"
	"intact/cmd/internal/config"
	"intact/report"
	"intact/rules"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

const (
	handOf      = 64 // turns whose directories are looked up at once: the others need no memory
	pieceOf     = 64 // directories that are held against the baseline at once
	reopenAfter = 15 * time.Minute
	reopenRetry = time.Minute
)

// reverifier holds all of the baseline against the disk again and again, a few
// directories at a time. What it sees is a reason for a look of the watcher and
// evidence of nothing, like an event.
//
//	ages → passOrder → pacer → pieces of directories → places that differ → look
type reverifier struct {
	env   *Env
	pacer pacer
	out   chan places
	wrong chan struct{} // the baseline cannot be used: a look is to tell
	renew chan struct{} // configuration or baseline are others now

	// Of run alone, and of the one worker of its scans.
	gen    *baseline.Generation
	opened time.Time
	eff    *policy.Effective
	own    func(dir entry.Path, name []byte) bool
	known  known
	host   string
	temp   string
	seed   maphash.Seed
	seen   map[uint64]struct{} // differences that a look was told, under seed
	drift  string              // mounts and links that a look was told
	hand   map[int][]entry.Path

	mu     sync.Mutex // guards the rest
	set    config.Reverify
	st     *statement.Statement
	ages   *baseline.Ages
	table  *coverTable
	notes  []string
	at, of int  // turns of this pass
	forget bool // what a look was told: it failed
}

func newReverifier(e *Env) *reverifier {
	return &reverifier{env: e, out: make(chan places), wrong: make(chan struct{}, 1), renew: make(chan struct{}, 1), seed: maphash.MakeSeed()}
}

// again lets everything be read anew before the next turn.
func (r *reverifier) again() {
	select {
	case r.renew <- struct{}{}:
	default:
	}
}

// untold takes back that looks were told of differences.
func (r *reverifier) untold() {
	r.mu.Lock()
	r.forget = true
	r.mu.Unlock()
}

// run goes on until ctx ends.
func (r *reverifier) run(ctx context.Context) {
	scanner.Idle()
	defer r.shut()
	for first := true; ctx.Err() == nil; first = false {
		var err error
		if !first || r.gen == nil {
			err = guarded("verify again", func() error { return r.reopen(ctx) })
		}
		if err == nil && r.set.Every > 0 {
			err = guarded("verify again", func() error { return r.pass(ctx) })
		}
		if ctx.Err() != nil {
			return
		}
		wait := make(<-chan time.Time)
		switch {
		case err != nil && trust(err):
			select {
			case r.wrong <- struct{}{}:
			default:
			}
			fallthrough
		case err != nil:
			r.say(fmt.Sprintf("nothing is verified again: %v", err))
			wait = time.After(reopenRetry)
		case r.set.Every > 0:
			continue
		}
		select {
		case <-ctx.Done():
		case <-r.renew:
		case <-wait:
		}
	}
}

func (r *reverifier) say(notes ...string) {
	r.mu.Lock()
	r.notes = notes
	r.mu.Unlock()
}

func (r *reverifier) shut() {
	if r.gen != nil {
		_ = r.gen.Close() // it was only read
		r.gen = nil
	}
}

// pass verifies every directory once, unless something else counts meanwhile.
func (r *reverifier) pass(ctx context.Context) (err error) {
	r.mu.Lock()
	order := passOrder(r.ages, &r.table.buckets, r.set.Every, r.env.Now())
	r.at, r.of = 0, len(order)
	r.mu.Unlock()
	if len(order) == 0 {
		sleep(ctx, r.set.Every)
		return nil
	}
	st := r.st.Digest()
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	other := false
	r.pacer.pass(run, r.set.Every, order, func(i int) bool {
		select {
		case <-r.renew:
			other = true
		default:
		}
		if other || time.Since(r.opened) > reopenAfter {
			every := r.set
			if err = r.reopen(ctx); err != nil || r.st.Digest() != st || r.set != every {
				return false
			}
			other = false
		}
		if i%handOf == 0 {
			if err = r.draw(order[i:min(i+handOf, len(order))]); err != nil {
				return false
			}
		}
		if err = r.piece(run, order[i].bucket); err != nil {
			return false
		}
		r.mu.Lock()
		r.at = i + 1
		r.mu.Unlock()
		return true
	})
	return err
}

// draw looks up which directories the next turns are about.
func (r *reverifier) draw(turns []turn) error {
	r.hand = map[int][]entry.Path{}
	for _, t := range turns {
		r.hand[t.bucket] = nil
	}
	var last entry.Path
	for d, err := range r.gen.StoredDirs() {
		if err != nil {
			return err
		}
		if d.Dir == last {
			continue // another part
		}
		last = d.Dir
		b := r.ages.DirBucket(d.Dir)
		if list, ok := r.hand[b]; ok {
			r.hand[b] = append(list, d.Dir)
		}
	}
	return nil
}

// piece verifies the directories of one bucket.
func (r *reverifier) piece(ctx context.Context, bucket int) error {
	begin, clean := r.env.Now(), true
	r.mu.Lock()
	if r.forget {
		r.seen, r.drift, r.forget = map[uint64]struct{}{}, "", false
	}
	r.mu.Unlock()
	for dirs := range slices.Chunk(r.hand[bucket], pieceOf) {
		ok, err := r.verify(ctx, dirs)
		if err != nil {
			return err
		}
		clean = clean && ok
	}
	if clean {
		r.mu.Lock()
		r.ages.Verify(bucket, begin)
		r.mu.Unlock()
	}
	return nil
}

// verify holds dirs against the baseline. It reports whether all that is there was
// seen: what differs is the watcher's to look at.
func (r *reverifier) verify(ctx context.Context, dirs []entry.Path) (clean bool, err error) {
	root, err := dirfd.Open(r.host)
	if err != nil {
		return false, err
	}
	defer root.Close()
	hangs := apart(root.Mounts())
	dirs = slices.DeleteFunc(slices.Clone(dirs), hangs)
	c := &collector{ctx: ctx, r: r, apart: hangs, clean: true}
	found, _, hidden, err := mountDrift(ctx, r.gen, root, &scope{eff: r.eff, mounts: mountRows(root, r.eff)})
	if err != nil {
		return false, err
	}
	c.moved(found, hidden)
	if len(dirs) > 0 {
		if err := r.compare(ctx, root, dirs, hidden, c); err != nil {
			return false, err
		}
	}
	return c.clean, c.flush()
}

// compare scans dirs and compares them.
func (r *reverifier) compare(ctx context.Context, root *dirfd.Root, dirs []entry.Path, hidden map[entry.Path]scanner.Reason, c *collector) error {
	sink := &pieceSink{Comparer: r.gen.Compare(c, 1), c: c, gen: r.gen, known: r.known, share: r.set.PastCache,
		before: r.env.Now().Add(-settled), wanted: map[entry.Path]bool{}}
	for _, d := range dirs {
		sink.wanted[d] = true
	}
	o := scanner.Options{Workers: 1, TempDir: r.temp, Hidden: hidden, Limit: dirs, Shallow: true, Pace: r.pacer.pace, Idle: true, Own: r.own}
	if _, err := scanner.Run(ctx, root, r.eff, o, r.gen, sink); err != nil {
		return err
	}
	if _, err := sink.FinishIn(ctx, dirs); err != nil {
		return err
	}
	return sink.pastCache(ctx, scanner.NewTwicePaced(root, r.pacer.pace))
}

// moved notes the mounts that are not as in the baseline, once. What they hide is
// counted; what they bring is for a check to read.
func (c *collector) moved(found []rules.Finding, hidden map[entry.Path]scanner.Reason) {
	var b strings.Builder
	for i := range found {
		f := &found[i]
		fmt.Fprintf(&b, "%s\x00%s\x00%v\x00", f.Rule, f.Subject.Path, f.Attributes)
	}
	if b.String() == c.r.drift {
		return
	}
	c.r.drift = b.String()
	for i := range found {
		p := entry.Path(found[i].Subject.Path)
		if _, hides := hidden[p]; hides {
			c.deep = append(c.deep, p)
		} else {
			c.flat = append(c.flat, p)
		}
	}
}

// coverage is what reports say, nil while nothing is known.
func (r *reverifier) coverage() *report.Coverage {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.table == nil {
		return nil
	}
	return r.table.coverage(r.ages, r.set.Every, r.env.Now())
}

// words are the notes of a heartbeat.
func (r *reverifier) words() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.notes)
	switch {
	case r.table == nil:
	case r.set.Every == 0:
		out = append(out, "re-verification is off: what gives no events is found by checks alone")
	default:
		out = append(out, fmt.Sprintf("re-verification: %d of %d turns of this pass, which takes %s", r.at, r.of, r.set.Every))
	}
	return out
}

// save joins the ages with those of the state folder, whose lock s holds. Where
// they cannot be written there must be none.
func (r *reverifier) save(s *session) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := s.store.Latest()
	if err != nil || r.st == nil || n != r.st.Generation {
		return err
	}
	stored, err := s.store.Ages(r.st)
	if err != nil {
		stored = baseline.NewAges()
		stored.Salt = r.ages.Salt
	}
	next := *stored
	if !next.Join(r.ages) {
		return nil // made anew: reopen reads it
	}
	next.Forget(r.env.Now())
	r.ages.Join(&next)
	if err == nil && next == *stored {
		return nil
	}
	return s.putAges(&next, r.st)
}

// otherView reports whether reading past the page cache gave something else, or
// failed where the page cache did not.
func otherView(disk, cached digest.Digest, err error) bool {
	if errors.Is(err, scanner.ErrOneView) || errors.Is(err, scanner.ErrMoved) {
		return false
	}
	return cmp.Or(err != nil, disk != cached)
}
