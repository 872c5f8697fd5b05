package app

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"intact/baseline"
	"intact/cmd/internal/config"
	"intact/scanner/entry"
)

// reopen verifies the baseline and reads what counts.
func (r *reverifier) reopen(ctx context.Context) error {
	s, err := open(r.env)
	if err != nil {
		return err
	}
	defer s.close()
	s.steady = true
	c := &check{session: s, gaps: &gapList{}}
	if err := c.options(); err != nil {
		return err
	}
	if err := c.open(ctx); err != nil {
		return err
	}
	return r.use(s, c)
}

// use goes on with the baseline that c has opened, and closes it when it is through
// with it.
func (r *reverifier) use(s *session, c *check) error {
	r.shut()
	r.gen, r.opened, r.eff, r.own, r.host, r.temp = c.gen, time.Now(), c.scope.eff, c.scope.own, s.root.HostPath(), s.store.Dir()
	rows, err := c.gen.Rows(rowGap)
	if err != nil {
		return err
	}
	r.known = known{}
	for _, row := range rows {
		if p, _, err := entry.ParseKey(row.Key); err == nil {
			r.known[p] = true
		}
	}
	var notes []string
	set, err := c.reverify()
	if err != nil {
		return err
	}
	less, err := c.reverifyLess()
	if err != nil {
		return err
	}
	if less != "" {
		notes = append(notes, less)
	}
	ages, err := s.store.Ages(c.gen.Statement())
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			notes = append(notes, err.Error()+": everything is to be verified again")
		}
		ages = baseline.NewAges()
	}
	ages.Forget(r.env.Now())
	r.say(notes...)
	return r.take(c, set, ages, err == nil)
}

// take puts what was read in force. Of another generation, or of one made anew, the
// share of each root is read too. Ages that could not be read are none while
// there are some in memory.
func (r *reverifier) take(c *check, set config.Reverify, ages *baseline.Ages, read bool) error {
	st := c.gen.Statement()
	same := r.st != nil && r.st.Digest() == st.Digest() && (!read || r.ages.Salt == ages.Salt)
	table := r.table
	if !same {
		r.seen = map[uint64]struct{}{}
		var err error
		if table, err = newCoverTable(c.gen, ages, c.scope.eff.Roots(), c.root.Mounts()); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set, r.st, r.table = set, st, table
	if !same {
		r.ages = ages
	} else if read {
		r.ages.Join(ages)
	}
	return nil
}
