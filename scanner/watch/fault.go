package watch

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errFault stands for a panic, which was told as a loss.
var errFault = errors.New("watch: " + string(ReasonFault))

// guard does something whose panic is a loss: what it was about is looked at as a
// whole. open says that watches may be missing until all are made anew.
func (w *Watcher) guard(open bool, do func()) {
	defer func() {
		if p := recover(); p != nil {
			w.settle.change(func() {
				w.settle.losses.add(Loss{Path: "/", Reason: ReasonFault, Detail: fmt.Sprint(p), Open: open})
				w.settle.hints.addDeep("/")
			})
			w.mu.Lock()
			w.faulty = w.faulty || open
			w.mu.Unlock()
		}
	}()
	do()
}

// guardAlways is guard for what goes on until ctx ends.
func (w *Watcher) guardAlways(ctx context.Context, do func()) {
	for {
		w.guard(false, do)
		select {
		case <-ctx.Done():
			return
		case <-time.After(rebuildEvery):
		}
	}
}
