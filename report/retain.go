package report

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// maxStep is the share of the days that are kept for which the time between two
// reports counts at most: a clock that was set makes no report old.
const maxStep = 8

// retain decides what of list is deleted. It goes by nothing but what is signed,
// and by files that are what the report behind them names. Where one is not, all
// are kept: they are evidence.
func (a *Archive) retain(ctx context.Context, p *Place, list []Stored, now time.Time, judge Judge) error {
	for _, s := range slices.Backward(list) {
		if h, _, err := s.sealed(ctx, judge); err == nil {
			p.Checkpoint = h.Checkpoint
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if !a.full(list, now) {
		return nil
	}
	first, prev, err := a.cut(ctx, list, now, judge)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		p.Kept = err
	} else if first > 0 {
		p.Checkpoint, p.Pruned = Checkpoint{list[first].Seq - 1, prev}, first
	}
	return nil
}

// full reports whether there can be something to delete.
func (a *Archive) full(list []Stored, now time.Time) bool {
	var total int64
	for _, s := range list {
		total += s.Size
	}
	var n kept
	for _, s := range list {
		n.add(s)
	}
	if len(list) < 2 || n.full(a) || total > a.bytes {
		return len(list) >= 2
	}
	h, err := list[0].Header()
	return err == nil && now.Sub(h.Started) > a.age
}

// kept counts reports: those of a watcher, which come every few minutes, and the
// others.
type kept struct{ watch, other int }

func (k *kept) add(s Stored) {
	if s.Kind == KindWatch {
		k.watch++
	} else {
		k.other++
	}
}

func (k *kept) full(a *Archive) bool { return k.other >= a.count || k.watch >= watchShare*a.count }

// cut returns the index of the first report that is kept and what it names as
// the one before it. It is an error if one of list is not what was written.
func (a *Archive) cut(ctx context.Context, list []Stored, now time.Time, judge Judge) (first int, prev string, err error) {
	var total int64
	var age time.Duration
	var later Header
	var n kept
	last, over := len(list)-1, false
	for i, s := range slices.Backward(list) {
		h, sum, err := s.sealed(ctx, judge)
		if err == nil && i < last && sum != later.Prev {
			err = fmt.Errorf("%w: report %d was written behind another", ErrEdited, later.Seq)
		}
		if err != nil {
			return 0, "", fmt.Errorf("report %d: %w", s.Seq, err)
		}
		total += s.Size
		if i < last {
			now = later.Started
		}
		age += min(max(now.Sub(h.Started), 0), a.age/maxStep)
		n.add(s)
		over = over || i < last && (n.full(a) || total > a.bytes || age > a.age)
		if !over {
			first, prev = i, h.Prev
		}
		later = h
	}
	return first, prev, nil
}
