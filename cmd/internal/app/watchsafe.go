package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"intact/scanner/watch"
)

// errWatchFault is a panic while the watcher did something.
var errWatchFault = errors.New("a fault of intact itself")

// guarded does something whose panic is an error: a bug in one look does not end
// the others.
func guarded(what string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %w: %v", what, errWatchFault, p)
		}
	}()
	return do()
}

// tryBatch looks at the places of a batch. One that fails waits: what it was about
// stays in the state of the watcher until a look has worked. It returns how long
// the next look waits: others get the lock meanwhile.
func (w *watching) tryBatch(ctx context.Context, b watch.Batch) (time.Duration, error) {
	begin, was := time.Now(), w.failing
	w.failing = "" // what this look reports holds if it works
	err := guarded("look", func() error { return w.batch(ctx, b) })
	switch {
	case err == nil:
		return min(max(lookPause, time.Since(begin)), lookRest), nil
	case trust(err) || ctx.Err() != nil:
		return 0, err
	}
	w.w.Again(b)
	if w.failing = err.Error(); w.failing != was {
		w.env.TellError(fmt.Errorf("a look failed, it is tried again: %w", err))
	}
	return retryLook, nil
}

// verify reads the baseline whole again, now and then: between, what it keeps open is
// held against what it was.
func (w *watching) verify(ctx context.Context) error {
	s, err := open(w.env)
	if err != nil {
		return err
	}
	defer s.close()
	defer w.keep.Rest()
	_ = w.keep.Close() // what cannot be closed is not used again
	_, err = w.keep.Open(ctx, s.store)
	return err
}

func (w *watching) failed(ctx context.Context, err error) (Outcome, error) {
	if ctx.Err() != nil {
		return w.stopped(ctx)
	}
	w.beat("stopped: " + err.Error())
	return Outcome{}, err
}

// stopped ends the run as it was asked to.
func (w *watching) stopped(ctx context.Context) (Outcome, error) {
	w.notify.say("STOPPING=1")
	why := "stopped by a signal"
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		why = "stopped: " + cause.Error()
	}
	w.beat(why)
	return Done(ExitInterrupted), nil
}
