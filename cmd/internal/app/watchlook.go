package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"intact/scanner/digest"
)

// look looks at places and reports what is new there, a share of the files past
// the page cache too.
func (w *watching) look(ctx context.Context, l *look, twice string) error {
	w.again.pacer.hold() // this goes before
	defer w.again.pacer.release()
	s, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	none := time.Duration(0)
	defer w.keep.Rest()
	l.gaps, l.links, l.mass, l.pulse, l.logs, l.coverage = w.gaps, w.links, w.mass, w.notify.pulse, &w.logs, w.again.coverage()
	c := &check{session: s, keep: &w.keep, gaps: &gapList{}, o: CheckOptions{Only: watchSets, Wait: &none, SecondLook: twice, Output: w.o.Output}, watch: l}
	if err := c.options(); err != nil {
		return err
	}
	if s.cfgErr != nil {
		s.remark(fmt.Sprintf("the configuration cannot be read, the baseline's policy is in force alone: %v", s.cfgErr))
	}
	state := w.state()
	s.remark(slices.Concat(state, l.words())...)
	if !c.await(ctx) {
		return context.Cause(ctx)
	}
	w.links.seen = nil
	_, err = c.run(ctx)
	if errors.Is(err, errNothingHot) {
		return nil
	}
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w.logs.keep(c.logs, c.paper.head.Started)
	w.linksSettled(c.watch)
	if c.saved != (digest.Digest{}) {
		if w.mine != (digest.Digest{}) && w.mine != c.saved {
			if err := s.store.DropPending(w.mine); err != nil {
				s.env.warn("%v", err)
			}
		}
		if len(c.mass.found) > 0 {
			w.mass.Told(c.mass.verdict)
		}
		w.mine, w.told = c.saved, fmt.Sprint(state)
	}
	// Something was accepted meanwhile, or a path of the policy leads elsewhere.
	if n := c.gen.Statement().Generation; n != w.gen || !slices.Equal(c.scope.all, w.aliases) {
		w.gen, w.aliases = n, c.scope.all
		w.setPolicy(c.scope.eff)
	}
	return nil
}
