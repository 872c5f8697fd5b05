package app

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// manyBatches is a number of changes that fills the queue of judged several
// times over.
const manyBatches = 20 * batchSteps

// changedCheck is a check behind its scan, with so many changes.
func changedCheck(t *testing.T, n int) *check {
	t.Helper()
	c := benchCheck(t, t.TempDir())
	spool := spooled(t, c, n)
	t.Cleanup(func() {
		spool.Close()
		c.paper.abort()
		c.gen.Close()
		c.close()
	})
	var err error
	if c.result, err = spool.Finish(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// Each change comes in order, and its findings right behind it.
func TestJudgedOrder(t *testing.T) {
	c := changedCheck(t, manyBatches)
	for _, on := range []bool{true, false} {
		c.sets["integrity"] = on
		var last *diff.Change
		changes, findings := 0, 0
		err := c.judged(context.Background(), func(s *step) error {
			if s.change == nil {
				findings++
				if s.finding.Diff != last {
					t.Fatal("a finding is not behind its change")
				}
				return nil
			}
			if changes++; last != nil && bytes.Compare(last.Path.Key(), s.change.Path.Key()) >= 0 {
				t.Fatalf("%q is behind %q", s.change.Path, last.Path)
			}
			last = s.change
			return nil
		})
		want := 0
		if on {
			want = manyBatches
		}
		if err != nil || changes != manyBatches || findings != want {
			t.Errorf("integrity %v: %d changes, %d findings, %v", on, changes, findings, err)
		}
	}
}

// However judging ends, its goroutine ends with it: the bubble waits for it,
// and fails where it never does.
func TestJudgedEnds(t *testing.T) {
	c := changedCheck(t, manyBatches)
	full := &pathError{syscall.ENOSPC}
	for _, tc := range []struct {
		name string
		at   int // the step that goes wrong
		do   func(cancel func()) error
		want error
	}{
		{"first", 1, func(func()) error { return full }, full},
		{"middle", manyBatches, func(func()) error { return full }, full},
		{"last", 2 * manyBatches, func(func()) error { return full }, full},
		{"cancelled", batchSteps + 3, func(cancel func()) error { cancel(); return nil }, context.Canceled},
		{"cancelled-and-full", batchSteps + 3, func(cancel func()) error { cancel(); return full }, full},
		{"never", -1, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				n := 0
				err := c.judged(ctx, func(*step) error {
					if n++; n == tc.at {
						return tc.do(cancel)
					}
					return nil
				})
				if !errors.Is(err, tc.want) {
					t.Errorf("got %v after %d steps, want %v", err, n, tc.want)
				}
				if tc.want == nil && n != 2*manyBatches {
					t.Errorf("%d steps", n)
				}
				if tc.want == full && n != tc.at {
					t.Errorf("goes on for %d steps after an error", n-tc.at)
				}
			})
		})
	}
}

type pathError struct{ err error }

func (e *pathError) Error() string { return e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// A bug in a rule ends the check and not the process.
func TestJudgedPanics(t *testing.T) {
	c := changedCheck(t, manyBatches)
	c.scope.eff = nil // floor looks into it
	err := c.judged(context.Background(), func(*step) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("got %v", err)
	}
}

// A check that is interrupted while it judges exits 130, leaves no pending set
// and says so in its report.
func TestJudgeInterrupted(t *testing.T) {
	c := changedCheck(t, manyBatches)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := c.judge(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("judge: %v", err)
	}
	out, err := c.broken(ctx, err)
	if err != nil || out.Exit() != ExitInterrupted {
		t.Errorf("exit %d, %v", out.Exit(), err)
	}
	if d, err := c.lastPending(); err != nil || d != c.saved || c.saved != (digest.Digest{}) {
		t.Errorf("pending set %s, %v", d, err)
	}
}

// What cannot be written to the report is the error of the check.
func TestJudgeCannotWrite(t *testing.T) {
	c := changedCheck(t, manyBatches)
	if err := c.paper.draft.Close(); err != nil {
		t.Fatal(err)
	}
	err := c.judge(context.Background())
	if err == nil || !strings.Contains(err.Error(), "write report") {
		t.Errorf("got %v", err)
	}
}

// Few changes with much in them do not wait in large batches.
func TestJudgingBytes(t *testing.T) {
	j := &judging{full: make(chan []step, 100), free: make(chan []step), done: context.Background().Done()}
	big := &diff.Change{Kind: diff.Changed, Path: "/x", New: &entry.Entry{ACL: make([]byte, 64<<10), Xattr: []entry.Xattr{{Name: make([]byte, 200)}}}, Links: []entry.Path{"/y"}}
	seq := func(yield func(*diff.Change, error) bool) {
		for range 40 {
			if !yield(big, nil) {
				return
			}
		}
	}
	for ch := range j.changes(context.Background(), seq) {
		if err := j.finding(rules.Finding{Diff: ch}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(j.full); n < 10 {
		t.Errorf("40 changes of 64 KiB go out in %d batches", n)
	}
}
