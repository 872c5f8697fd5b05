package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"intact/benchmarks/corpus"
)

// The rows of the scenario of changed files, which are steps of our tool.
const (
	stepInit = iota
	stepClean
	stepChanged
	stepAccept
)

// The ids of those rows. A step takes the clean check as its measure.
const (
	stepInitID    = "step-init"
	stepCleanID   = "step-clean"
	stepChangedID = "step-changed"
	stepAcceptID  = "step-accept"
)

// changedFiles is how many files of a full-size tree are changed.
const changedFiles = 100_000

// changeable are the shapes that the scenario takes.
func changeable() []corpus.Kind {
	return []corpus.Kind{corpus.Small, corpus.Tiny, corpus.Huge, corpus.Wide}
}

// changed adds the section of the scenario: init, a clean check, then some files
// are rewritten, a check that finds them, and accept. It works on a copy of the
// tree, so that the others are measured on what the corpus says.
func (r *report) changed(ctx context.Context, o options, name string, log io.Writer) error {
	fmt.Fprintf(log, "bench: preparing a copy of %s\n", name)
	t, err := openCopy(ctx, name, o.work, o.scale)
	if err != nil {
		return err
	}
	if err := t.warmUp(ctx, false); err != nil {
		return fmt.Errorf("read tree %q: %w", t.path, err)
	}
	count := max(1, changedFiles/o.scale)
	r.sections = append(r.sections, section{name: name, totals: t.totals, fileSystem: fileSystem(t.path), warm: t.warm, changed: count})
	s := &r.sections[len(r.sections)-1]
	s.rows = []row{
		{id: stepInitID, label: "init"},
		{id: stepCleanID, label: "check, nothing changed"},
		{id: stepChangedID, label: fmt.Sprintf("check, %d files changed", count)},
		{id: stepAcceptID, label: fmt.Sprintf("accept of %d changes", count)},
	}
	k := own(o.binary, filepath.Join(o.work, "run", ownID), t.path)
	for round := range o.runs {
		fmt.Fprintf(log, "bench: %s with changed files, round %d of %d:", name, round+1, o.runs)
		err := o.meter.steps(ctx, k, s.rows, count, log)
		if fmt.Fprintln(log); err != nil {
			return err
		}
	}
	return nil
}

// steps runs the scenario once. A step that fails ends the round.
func (m meter) steps(ctx context.Context, k tool, rows []row, count int, log io.Writer) error {
	if err := fresh(k.dir); err != nil {
		return err
	}
	step := func(i int) *series { return &rows[i].phases[initPhase] }
	if !m.init(ctx, k, step(stepInit), log) || !m.phase(ctx, step(stepClean), k.command("check", k.check), log) {
		return ctx.Err()
	}
	if err := rewrite(ctx, k.tree, count); err != nil {
		return err
	}
	unix.Sync() // or the check shares the disk with our own write-back
	// A nightly check finds what happened in the day: files that somebody may still
	// be writing are looked at more carefully.
	select {
	case <-time.After(m.rest):
	case <-ctx.Done():
		return ctx.Err()
	}
	found := k.command("changed", k.check)
	found.exit = 1
	if !m.phase(ctx, step(stepChanged), found, log) {
		return ctx.Err()
	}
	accept := k.command("accept", k.accept)
	if !m.phase(ctx, step(stepAccept), accept, log) {
		return ctx.Err()
	}
	// A check that found something else would end with 1 too.
	if n, err := acceptedChanges(accept.output()); err != nil || n != count {
		step(stepAccept).failure = fmt.Sprintf("accepted %d changes, not %d (%v)", n, count, err)
	}
	return nil
}

// acceptedChanges reads how many changes an accept says it took.
func acceptedChanges(file string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read what accept said: %w", err)
	}
	m := regexp.MustCompile(`(?m)^accepted ([0-9,]+) changes? `).FindSubmatch(b)
	if m == nil {
		return 0, errors.New("accept does not say how many")
	}
	return strconv.Atoi(strings.ReplaceAll(string(m[1]), ",", ""))
}

// openCopy makes or finds the copy of a synthetic tree whose contents change
// from run to run. Names and sizes stay those of the corpus.
func openCopy(ctx context.Context, name, work string, scale int) (target, error) {
	t := target{name: name, path: filepath.Join(work, "trees", name+"-changed")}
	if scale > 1 {
		t.path += "-" + strconv.Itoa(scale)
	}
	spec, err := corpus.Default(corpus.Kind(name))
	if err != nil {
		return t, err
	}
	if _, _, err := corpus.Ensure(ctx, t.path, spec.Scaled(scale)); err != nil {
		return t, err
	}
	unix.Sync()
	return t, nil
}

// rewrite inverts the contents of count files below top in place, spread evenly
// over all that are not empty: every byte differs, no length does.
func rewrite(ctx context.Context, top string, count int) error {
	total := 0
	if err := contents(ctx, top, func(string) error { total++; return nil }); err != nil {
		return fmt.Errorf("count files to change: %w", err)
	}
	if count > total {
		return fmt.Errorf("change %d files: the tree has %d that are not empty", count, total)
	}
	i := 0
	err := contents(ctx, top, func(name string) error {
		i++
		if i*count/total == (i-1)*count/total {
			return nil
		}
		return invert(name)
	})
	if err != nil {
		return fmt.Errorf("change files: %w", err)
	}
	return nil
}

// contents calls do for every file that has a content, but the corpus's marker.
func contents(ctx context.Context, top string, do func(name string) error) error {
	return filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || !d.Type().IsRegular() || d.Name() == corpus.Marker {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		return do(name)
	})
}

func invert(name string) (err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	for i := range b {
		b[i] = ^b[i]
	}
	_, err = f.WriteAt(b, 0)
	return err
}
