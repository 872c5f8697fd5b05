package app

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/integrity"
	"intact/rules/mass"
	"intact/scanner"
	"intact/scanner/entry"
)

// massSense is the sense of a run for mass encryption.
type massSense struct {
	verdict mass.Verdict
	found   []rules.Finding // one or none
	told    int             // of them
}

// senseMass looks at the content of what changed, before anything is told. A look of a
// watcher counts what is new in it together with the looks of the last minute;
// a check counts everything that differs from the baseline, whenever it came.
func (c *check) senseMass(ctx context.Context) error {
	if !c.sets["integrity"] || c.update != nil {
		return nil
	}
	burst, now, known := mass.NewBurst(0), c.env.Now(), &pendingJudge{stop: func() {}}
	if c.watch != nil {
		burst = c.watch.mass
		known = c.pending.afresh()
	} else if c.result.Counts().All() < mass.MinFiles {
		return nil
	}
	defer known.stop()
	twice := scanner.NewTwice(c.root, 0)
	if c.explain != nil {
		twice = c.explain.contents.twice // with the limit of the scan
	}
	s := sampling{by: twice.Sampler(), buf: make([]byte, mass.BufferSize)}
	defer s.by.Close()
	var encoded []byte
	for ch, err := range c.result.Changes() {
		if err != nil {
			return err
		}
		if c.watch != nil {
			c.watch.pulse.did()
		}
		if known.set != nil { // what was told is no news, over restarts too
			encoded = diff.AppendChange(encoded[:0], ch)
			if _, before := known.change(ch, encoded); before {
				continue
			}
		}
		cand, ok := mass.CandidateOf(ch)
		if !ok || cand.At != "" && !s.encrypted(ctx, &cand, ch.New) {
			continue
		}
		if c.explain.of(ctx, ch).Rank() >= signedRank {
			continue // it is as somebody signed it
		}
		burst.Add(&cand, now)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if v, tell := burst.Judge(now); tell {
		c.mass.verdict = v
		c.mass.found = []rules.Finding{integrity.MassEncryption(&v, c.watch != nil)}
	}
	return nil
}

// sampling reads parts of files again.
type sampling struct {
	by  *scanner.Sampler
	buf []byte
}

// encrypted is mass.Candidate.Encrypted of a file that a scan has seen. What moved
// meanwhile or cannot be read is not judged: whoever writes to it gives a watcher
// the next look. A bug in it is no judgement.
func (s *sampling) encrypted(ctx context.Context, cand *mass.Candidate, seen *entry.Entry) (is bool) {
	defer func() {
		if r := recover(); r != nil {
			is = false
		}
	}()
	err := s.by.Sample(ctx, cand.At, seen, func(read func([]byte, int64) error) (err error) {
		is, err = cand.Encrypted(s.buf, read)
		return err
	})
	return is && err == nil
}

// afresh reads the changes that waited from the beginning.
func (p *pendingJudge) afresh() *pendingJudge {
	n := &pendingJudge{set: p.set, stop: func() {}}
	if n.set != nil {
		n.rewind()
	}
	return n
}

// emitMass emits the finding where it belongs in the order of the tree, as emitViews.
func (c *check) emitMass(p entry.Path) error {
	m := &c.mass
	for ; m.told < len(m.found); m.told++ {
		f := m.found[m.told]
		if p != "" && bytes.Compare(entry.Path(f.Subject.Path).Key(), p.Key()) > 0 {
			return nil
		}
		if c.watch != nil {
			c.watch.news++
		}
		if err := c.emit(f); err != nil {
			return err
		}
	}
	return nil
}

// massKey begins the key of a pending row about mass encryption; the directory
// follows.
const massKey = integrity.RuleMass + "\x00"

// massDir is the directory of such a row.
func massDir(r *diff.RowChange) (entry.Path, bool) {
	dir, ok := strings.CutPrefix(string(r.Key), massKey)
	return entry.Path(dir), ok && r.Kind == rowFinding
}

// massSince returns when a mass encryption was first told: for a check, of which the
// watcher may have told with another directory in common. A look tells only what
// is to be told.
func (c *check) massSince(at entry.Path) (since time.Time, known bool) {
	if c.watch != nil {
		return since, false
	}
	for id, t := range c.pending.rows {
		kind, rest, _ := strings.Cut(id, "\x00")
		dir, ok := massDir(&diff.RowChange{Kind: kind, Key: []byte(strings.TrimSuffix(rest, "\x00"))})
		if ok && (dir == at || dir.Under(at) || at.Under(dir)) && (!known || t.Before(since)) {
			since, known = t, true
		}
	}
	return since, known
}

// massRows are the rows of what a look tells, besides those that wait.
func (c *check) massRows(waiting []baseline.PendingRow, now time.Time) (out []baseline.PendingRow) {
	for _, f := range c.mass.found {
		r := diff.RowChange{Kind: rowFinding, Key: findingKey(&f)}
		if !slices.ContainsFunc(waiting, func(w baseline.PendingRow) bool { return rowID(w.RowChange) == rowID(r) }) {
			out = append(out, baseline.PendingRow{RowChange: r, FirstSeen: now})
		}
	}
	return out
}

// encrypting are the directories in which a report tells of mass encryption.
type encrypting []entry.Path

func (a *accept) findMass() error {
	list, err := a.set.Rows()
	for i := range list {
		if dir, ok := massDir(&list[i].RowChange); ok {
			a.mass = append(a.mass, dir)
		}
	}
	return err
}

// raise makes a finding about a change there critical: nobody accepts by the dozen
// what an encryptor left.
func (e encrypting) raise(f *rules.Finding) {
	for _, dir := range e {
		for _, p := range []string{f.Subject.Path, f.From} {
			if p != "" && f.Severity < rules.Critical && f.Diff.Kind != diff.Unverified && (entry.Path(p) == dir || entry.Path(p).Under(dir)) {
				f.Severity = rules.Critical
				f.Reasons = append(slices.Clip(f.Reasons), fmt.Sprintf("the report tells of mass encryption at or below %q", string(dir)))
			}
		}
	}
}
