package app

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"
	"sync"

	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/integrity"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

const (
	maxSample     = 100_000 // files asked for by number: they are kept in memory
	sampleMemory  = 4 << 20 // bytes of the sample in memory; the rest is on disk
	lookWorkers   = 4
	maxTwoViews   = 10_000 // findings; the last one counts the rest
	lookQueue     = 64
	certain       = math.MaxUint64 // every draw is at or below it
	sampleHead    = digest.Size
	percentDigits = 6
)

// share is how many files are looked at twice: a number of them, or each with
// a chance.
type share struct {
	files  int64
	chance uint64 // of 2^64; 0: by number
}

// parseShare reads "N" or "P%", P with up to six digits behind the point.
func parseShare(s string) (sh share, err error) {
	bad := fmt.Errorf("want a share as 1%% or 0.5%%, or a number of files up to %d, not %q", maxSample, s)
	p, isShare := strings.CutSuffix(s, "%")
	whole, rest, point := strings.Cut(p, ".")
	if strings.Trim(whole+rest, "0123456789") != "" || whole == "" || point && (rest == "" || len(rest) > percentDigits) || point && !isShare {
		return sh, bad
	}
	v, err := strconv.ParseFloat(p, 64)
	switch {
	case err != nil || v <= 0:
		return sh, bad
	case !isShare && v <= maxSample:
		return share{files: int64(v)}, nil
	case isShare && v == 100:
		return share{chance: certain}, nil
	case isShare && v < 100:
		return share{chance: uint64(v / 100 * (1 << 63) * 2)}, nil
	}
	return sh, bad
}

// secondLook draws a sample of the files of a scan, in memory that does not
// grow with their number, and looks at them again.
type secondLook struct {
	share  share
	mu     sync.Mutex
	random *bufio.Reader       // guarded by mu
	seen   int64               // guarded by mu: files that could be drawn
	drawn  int64               // guarded by mu: put into sorter
	spare  []byte              // guarded by mu: one of all, should none be drawn
	kept   [][]byte            // guarded by mu: by number
	sorter *diff.Sorter        // guarded by mu: the sample by path
	always map[entry.Path]bool // differed before: no chance decides about these

	out      report.SecondLook
	oneView  int64 // of those that could not be looked at
	moved    int64
	findings []rules.Finding // in the order of the tree
	told     int             // of them
}

// newSecondLook returns nil where no second look was asked for.
func (c *check) newSecondLook() (*secondLook, error) {
	if c.o.SecondLook == "" {
		return nil, nil
	}
	if c.o.Quick || !c.sets["integrity"] {
		return nil, usageError("--second-look wants files that were read and the rule set integrity: not with --quick, nor without that set")
	}
	sh, err := parseShare(c.o.SecondLook)
	if err != nil {
		return nil, usageError("--second-look: %w", err)
	}
	random := c.env.Random
	if random == nil {
		random = rand.Reader
	}
	l := &secondLook{share: sh, random: bufio.NewReader(random), sorter: diff.NewSorter(c.tempDir(), sampleMemory, compareSample)}
	l.always, err = c.differed()
	return l, err
}

// through returns sink with l in front of it.
func (l *secondLook) through(sink scanner.Sink) scanner.Sink {
	if l == nil {
		return sink
	}
	return &lookSink{sink, l}
}

func (l *secondLook) close() {
	if l != nil {
		l.sorter.Close() // it has no name any more
	}
}

// A record of the sample is the digest, facts, and the key of the path.
func appendSample(b []byte, dir entry.Path, e *entry.Entry) []byte {
	b = appendFacts(append(b, e.Digest[:]...), e)
	return dir.Join(e.Name).AppendKey(b)
}

func sampleKey(b []byte) []byte { return b[sampleHead+factsSize:] }

func compareSample(a, b []byte) int { return bytes.Compare(sampleKey(a), sampleKey(b)) }

func parseSample(b []byte) (p entry.Path, e *entry.Entry, err error) {
	var f seenFacts
	key, err := f.read(b[sampleHead:])
	if err != nil {
		return "", nil, err
	}
	if p, _, err = entry.ParseKey(key); err != nil {
		return "", nil, errSighting
	}
	e = f.entry()
	copy(e.Digest[:], b)
	return p, e, nil
}

// lookSink draws from the files that pass.
type lookSink struct {
	scanner.Sink
	look *secondLook
}

// Dir implements scanner.Sink.
func (s *lookSink) Dir(w int, b *entry.Block) error {
	for i := range b.Entries {
		e := &b.Entries[i]
		// Of a log, what is behind the old prefix was not digested.
		if e.Kind == entry.File && e.Have&entry.Content != 0 && e.Size > 0 && e.Hashed == e.Size {
			if err := s.look.draw(b.Dir, e); err != nil {
				return err
			}
		}
	}
	return s.Sink.Dir(w, b)
}

// number draws from all numbers; where there is no chance to be had everything
// is drawn.
func (l *secondLook) number() (n uint64, ok bool) {
	var b [8]byte
	_, err := io.ReadFull(l.random, b[:])
	return binary.LittleEndian.Uint64(b[:]), err == nil
}

func (l *secondLook) draw(dir entry.Path, e *entry.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.always) > 0 && l.always[dir.Join(e.Name)] {
		return l.sorter.Add(func(dst []byte) []byte { return appendSample(dst, dir, e) })
	}
	l.seen++
	n, ok := l.number()
	if l.share.files > 0 {
		// Algorithm R: the i-th file takes a place with the chance files/i.
		switch at := n % uint64(l.seen); {
		case int64(len(l.kept)) < l.share.files:
			l.kept = append(l.kept, appendSample(nil, dir, e))
		case at < uint64(l.share.files):
			l.kept[at] = appendSample(l.kept[at][:0], dir, e)
		}
		return nil
	}
	if ok && n > l.share.chance {
		if l.drawn == 0 && n%uint64(l.seen) == 0 {
			l.spare = appendSample(l.spare[:0], dir, e)
		}
		return nil
	}
	l.drawn++
	return l.sorter.Add(func(dst []byte) []byte { return appendSample(dst, dir, e) })
}

// settle puts what was kept for the end into the sorter.
func (l *secondLook) settle() error {
	if l.share.files == 0 && l.drawn == 0 && l.spare != nil {
		l.kept = [][]byte{l.spare}
	}
	for _, k := range l.kept {
		if err := l.sorter.Add(func(dst []byte) []byte { return append(dst, k...) }); err != nil {
			return err
		}
	}
	l.kept = nil
	return nil
}

// lookTask is a file of the sample and what the scan found of it.
type lookTask struct {
	path entry.Path
	seen *entry.Entry
}

type lookAnswer struct {
	lookTask
	disk digest.Digest
	err  error
}

// feed gives out the sample until it ends or ctx does.
func (c *check) feed(ctx context.Context, stop context.CancelCauseFunc, tasks chan<- lookTask) {
	defer close(tasks)
	defer func() {
		if r := recover(); r != nil {
			stop(fmt.Errorf("internal error: %v", r))
		}
	}()
	for b, err := range c.unchanged(diff.Merge(c.look.sorter)) {
		var t lookTask
		if err == nil {
			t.path, t.seen, err = parseSample(b)
		}
		if err != nil {
			stop(err)
			return
		}
		select {
		case tasks <- t:
		case <-ctx.Done():
			return
		}
	}
}

// lookAgain looks at the sample of a scan a second time, without those files
// whose content was found changed.
func (c *check) lookAgain(ctx context.Context, opt scanner.Options) error {
	l := c.look
	if l == nil {
		return nil
	}
	if err := l.settle(); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	twice := scanner.NewTwice(c.root, opt.MaxRate)
	tasks, answers := make(chan lookTask, lookQueue), make(chan lookAnswer, lookQueue)
	go c.feed(ctx, stop, tasks)
	var wg sync.WaitGroup
	for range lookWorkers {
		wg.Go(func() {
			for t := range tasks {
				disk, err := again(ctx, twice, t.path, t.seen)
				answers <- lookAnswer{t, disk, err}
			}
		})
	}
	go func() {
		wg.Wait()
		close(answers)
	}()
	for a := range answers {
		if l.take(a.path, a.seen.Digest, a.disk, a.err) && ctx.Err() == nil {
			c.gaps.add(scanner.Gap{Path: a.path, Reason: scanner.ReasonIO, Detail: "past the page cache: " + a.err.Error(), Attrs: entry.Content})
		}
	}
	l.inOrder()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// again is LookAgain; a bug in it is no look.
func again(ctx context.Context, t *scanner.Twice, p entry.Path, seen *entry.Entry) (d digest.Digest, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	return t.LookAgain(ctx, p, seen)
}

// unchanged passes on the records of a sample whose content no change is about.
// Both are in the order of the tree.
func (c *check) unchanged(sample iter.Seq2[[]byte, error]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		next, stop := iter.Pull2(c.result.Changes())
		defer stop()
		var key []byte // of the change that was read last
		more, content := true, false
		for b, err := range sample {
			for err == nil && more && (key == nil || bytes.Compare(key, sampleKey(b)) < 0) {
				var ch *diff.Change
				if ch, err, more = next(); more && err == nil {
					key = ch.Path.AppendKey(key[:0])
					content = ch.Kind != diff.Changed && ch.Kind != diff.Replaced || ch.Attrs&(entry.Content|entry.Type) != 0
				}
			}
			if err == nil && more && content && bytes.Equal(key, sampleKey(b)) {
				continue
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// take counts one look. It reports whether the file should have been readable
// and was not: where file systems have checksums, that is what a disk shows that
// was written past them.
func (l *secondLook) take(p entry.Path, cached, disk digest.Digest, err error) (gap bool) {
	switch {
	case errors.Is(err, scanner.ErrOneView):
		l.out.Impossible++
		l.oneView++
	case errors.Is(err, scanner.ErrMoved):
		l.out.Impossible++
		l.moved++
	case err != nil:
		l.out.Impossible++
		return true
	case disk == cached:
		l.out.Files++
	default:
		l.out.Files++
		l.out.Differing++
		if len(l.findings) < maxTwoViews {
			l.findings = append(l.findings, integrity.TwoViews(p, cached.String(), disk.String()))
		}
	}
	return false
}
