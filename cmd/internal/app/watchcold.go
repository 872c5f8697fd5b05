package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"intact/scanner/entry"
	"intact/scanner/policy"
)

const (
	coldYields = 5 // times that a look at a cold place gives way to hot ones
	coldTries  = 3 // times that it may fail
)

// errGoesBefore ends a look at cold places: something hot is to be looked at.
var errGoesBefore = errors.New("a hot place goes before")

// isFlat reports whether only the entries themselves are looked at.
func (l *look) isFlat() bool { return l != nil && l.flat }

// words say what a reader should know of what led to a look.
func (l *look) words() (out []string) {
	if len(l.cold) > 0 {
		out = append(out, "found by verifying again: no event told of it")
	}
	if l.dropped {
		out = append(out, "who did it is not known everywhere: too much happened at a time")
	}
	return out
}

// setPolicy lets what is hot, and what is verified again, be read anew.
func (w *watching) setPolicy(p *policy.Effective) {
	w.w.SetPolicy(p)
	w.again.again()
}

// cold looks at what a re-verification saw. A hot batch goes before: it waits for
// one buffer at most, unless there were many already. What cannot be looked at is
// told by the next pass.
func (w *watching) cold(ctx context.Context, p places) error {
	yields, tries := 0, 0
	for {
		run, stop := context.WithCancelCause(ctx)
		done := make(chan error, 1)
		go func() { done <- guarded("look", func() error { return w.coldLooks(run, p) }) }()
		batches := w.w.Batches()
		if yields == coldYields {
			batches = nil
		}
		var err error
		select {
		case err = <-done:
			stop(nil)
		case b := <-batches:
			yields++
			stop(errGoesBefore)
			<-done
			var wait time.Duration
			if wait, err = w.tryBatch(ctx, b); err == nil {
				sleep(ctx, wait)
				continue
			}
		}
		switch {
		case err == nil:
			return nil
		case trust(err), ctx.Err() != nil:
			return err
		}
		w.env.TellError(fmt.Errorf("a look at what was verified again failed: %w", err))
		if tries++; tries == coldTries {
			w.again.untold()
			return nil
		}
		if !sleep(ctx, retryLook*time.Duration(tries)) {
			return context.Cause(ctx)
		}
	}
}

func (w *watching) coldLooks(ctx context.Context, p places) error {
	for _, one := range []struct {
		at    []entry.Path
		flat  bool
		twice string
	}{{p.flat, true, ""}, {p.deep, false, ""}, {p.views, true, "100%"}} {
		if len(one.at) == 0 {
			continue
		}
		if err := w.look(ctx, &look{cold: one.at, flat: one.flat}, one.twice); err != nil {
			return err
		}
	}
	return nil
}
