package app

import (
	"context"
	"fmt"

	"intact/report"
	"intact/scanner/digest"
)

// beat stores a report that found nothing: it says that the watcher is there, or
// that it goes.
func (w *watching) beat(why string) {
	ctx, stop := context.WithTimeout(context.Background(), lookPatience)
	defer stop()
	if err := guarded("report", func() error { return w.writeBeat(ctx, why) }); err != nil {
		w.env.TellError(fmt.Errorf("heartbeat: %w", err))
	}
}

func (w *watching) writeBeat(ctx context.Context, why string) error {
	state := w.state()
	w.told = fmt.Sprint(state)
	s, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	infos, err := s.store.List()
	if err != nil {
		return err
	}
	p, err := s.begin(ctx, report.KindWatch, report.ScopePartial, false)
	if err != nil {
		return err
	}
	defer p.abort()
	if n := len(infos); n > 0 && infos[n-1].Statement != nil {
		p.baseline(infos[n-1].Statement, infos[n-1].Signed)
		p.knows(infos[n-1].Statement)
	}
	if err := p.w.Header(p.head); err != nil {
		return err
	}
	s.remark(append(w.again.words(), w.source())...)
	if err := p.note(append(s.remarked, state...)); err != nil {
		return err
	}
	if err := w.again.save(s); err != nil {
		return err
	}
	t := report.Trailer{Verdict: report.Clean, Reason: why, Exits: []int{}, Complete: len(state) == 0, Coverage: w.again.coverage()}
	if d, err := s.lastPending(); err == nil && d != (digest.Digest{}) {
		t.Pending = d.Named()
	}
	if t.Logs, err = w.beatLogs(ctx, s, p); err != nil {
		return err
	}
	if err = p.end(t, Output{Silent: true}); err == nil {
		w.logs.saved(t.Logs)
	}
	return err
}
