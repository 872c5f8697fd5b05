package app

import (
	"context"
	"fmt"
	"iter"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/integrity"
	"intact/rules/packages"
	"intact/scanner/entry"
)

// What a batch of steps holds, and how many batches are on their way: the
// memory of judging does not grow with the number of changes.
const (
	batchSteps = 128
	batchBytes = 256 << 10
	batchQueue = 2
)

// manyChanges is from where on it pays to set up the collector for them.
const manyChanges = 1000

// step is one change, or one finding of the change before it.
type step struct {
	change    *diff.Change // nil: a finding
	explained *rules.Explanation
	finding   rules.Finding
}

// judging decodes and judges the changes of a check in a goroutine of its own,
// in batches, while what was judged is written down by another.
//
//	tape → change → findings  →  batches  →  history, pending set, report
type judging struct {
	full, free chan []step
	steps      []step
	bytes      int
	explain    *explaining
	said       *rules.Explanation // of the change that was passed on last
	pkg        *packageJudge      // nil judges nothing
	sha256     string             // of what it brought
	done       <-chan struct{}
	cause      func() error
}

// judged gives do each change in key order, and behind it its findings if the
// rule set is asked for. It returns when nothing of it runs any more.
func (c *check) judged(ctx context.Context, do func(*step) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j := &judging{explain: c.explain, full: make(chan []step, batchQueue), free: make(chan []step, batchQueue+2), done: ctx.Done(),
		cause: func() error { return context.Cause(ctx) }}
	var failed error
	go func() {
		defer close(j.full)
		defer func() {
			if p := recover(); p != nil {
				failed = fmt.Errorf("internal error: %v", p)
			}
		}()
		failed = c.produce(ctx, j)
	}()
	var err error
	for steps := range j.full {
		for i := range steps {
			if err == nil {
				err = do(&steps[i])
			}
		}
		if err != nil {
			cancel() // and wait until it is seen
			continue
		}
		j.free <- steps // has room for all that there are
	}
	if err == nil && failed != nil {
		err = fmt.Errorf("judge integrity: %w", failed)
	}
	return err
}

// produce fills batches with the changes and what the rules say of them.
func (c *check) produce(ctx context.Context, j *judging) (err error) {
	if j.pkg, err = c.newPackageJudge(ctx); err != nil {
		return err
	}
	defer func() { c.packaged, c.packageNotes = j.pkg.close() }()
	changes := j.changes(ctx, c.result.Changes())
	if c.sets["integrity"] {
		in := rules.Input{Changes: changes, Rows: c.rows, Explain: c.explain, Floor: c.scope.floors()}
		if err := integrity.New(integrity.Options{Log: c.logs.lostWords}).Judge(ctx, in, j.finding); err != nil {
			return err
		}
	} else {
		for _, err := range changes {
			if err != nil {
				return err
			}
		}
	}
	return j.send()
}

// changes passes changes on and puts each in the batch with what explains it.
func (j *judging) changes(ctx context.Context, seq iter.Seq2[*diff.Change, error]) iter.Seq2[*diff.Change, error] {
	return func(yield func(*diff.Change, error) bool) {
		for ch, err := range seq {
			if err == nil {
				j.said = j.explain.of(ctx, ch)
				j.sha256 = j.explain.sha256(ch)
				err = j.add(step{change: ch, explained: j.said}, weight(ch))
			}
			if !yield(ch, err) || err != nil {
				return
			}
			f, ok, err := j.pkg.judge(ctx, ch, j.said)
			if err == nil && ok {
				err = j.finding(f)
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// finding puts a finding of the change that was passed on last in the batch.
func (j *judging) finding(f rules.Finding) error {
	f.Explain(j.said)
	f.SHA256 = j.sha256
	return j.add(step{finding: f}, 0)
}

// add puts a step in the batch, which goes out when it is full.
func (j *judging) add(s step, bytes int) error {
	j.steps = append(j.steps, s)
	j.bytes += bytes
	if len(j.steps) < batchSteps && j.bytes < batchBytes {
		return nil
	}
	return j.send()
}

func (j *judging) send() error {
	select {
	case j.full <- j.steps:
	case <-j.done:
		return j.cause()
	}
	j.bytes = 0
	select {
	case used := <-j.free:
		j.steps = used[:0]
	default:
		j.steps = make([]step, 0, batchSteps)
	}
	return nil
}

// weight is about how many bytes of c are not the same for every change.
func weight(c *diff.Change) int {
	n := len(c.Path) + len(c.From) + len(c.LinkOf) + len(c.Reason)
	for _, l := range c.Links {
		n += len(l)
	}
	for _, e := range [...]*entry.Entry{c.Old, c.New} {
		if e == nil {
			continue
		}
		n += len(e.Target) + len(e.ACL) + len(e.DefACL) + len(e.Caps) + len(e.Label)
		for _, x := range e.Xattr {
			n += len(x.Name)
		}
	}
	return n
}

// tell is the one look at all changes: each gets its history, goes into the
// pending set and marks what a quick check must not trust; its findings go into
// the report. The pending set is complete before the report that names it is.
func (c *check) tell(ctx context.Context) error {
	w, err := c.newPending()
	if err != nil {
		return err
	}
	if w != nil {
		defer w.Abort()
	}
	if c.watch != nil {
		if err := c.watch.carryFrom(c.pending.set); err != nil {
			c.historyLost(err)
		}
		defer c.watch.carry.stop()
	}
	n := 0
	var encoded []byte
	err = c.judged(ctx, func(s *step) error {
		if s.change == nil && s.finding.Set == packages.Name {
			return c.keepFinding(&s.finding)
		}
		if s.change == nil {
			return c.emit(s.finding)
		}
		if err := c.emitBeside(s.change.Path); err != nil {
			return err
		}
		n++
		encoded = diff.AppendChange(encoded[:0], s.change)
		if c.seen, c.seenBefore = c.pending.change(s.change, encoded); !c.seenBefore {
			c.seen = c.paper.head.Started
		}
		c.quick.doubt(s.change)
		c.facts.see(s.change, s.explained)
		if w == nil {
			return nil
		}
		if c.watch != nil {
			if err := c.watch.carryTo(w, s.change.Path.Key()); err != nil {
				return err
			}
			c.watch.saw(s.change, c.seenBefore)
		}
		if s.explained != nil {
			if err := w.Explain(s.explained.Append(nil)); err != nil {
				return err
			}
		}
		return w.AddEncoded(encoded, c.seen)
	})
	c.remark(c.packageNotes...)
	if err == nil {
		err = c.emitBeside("")
	}
	if err == nil {
		err = c.judgeFacts()
	}
	if err != nil || w == nil {
		return err
	}
	if c.watch != nil {
		return c.commitLook(ctx, w)
	}
	rows := c.pendingRows(c.paper.head.Started)
	if n+len(rows) == 0 {
		return nil
	}
	for _, r := range rows {
		if r.Explained != nil {
			if err := w.Explain(r.Explained); err != nil {
				return err
			}
		}
		if err := w.AddRow(r.RowChange, r.FirstSeen); err != nil {
			return err
		}
	}
	c.saved, err = w.Commit(ctx)
	return err
}

// newPending starts the pending set of this run, nil where there is to be none.
func (c *check) newPending() (*baseline.PendingWriter, error) {
	if c.o.NoState || c.o.Baseline != "" || c.partial() && c.update == nil && c.watch == nil {
		return nil, nil
	}
	return c.store.NewPending(baseline.PendingHeader{
		Generation: c.gen.Statement().Generation, Root: c.gen.Root(), Report: c.paper.head.ID, Created: c.paper.head.Started,
	})
}
