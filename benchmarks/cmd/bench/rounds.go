package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// measure always returns a report; after an error it holds what was measured.
func measure(ctx context.Context, o options, log io.Writer) (*report, error) {
	r := &report{
		date: time.Now(), commit: commit(ctx), command: o.command, phases: phaseCount, scale: o.scale,
		local: strings.NewReplacer(o.work, "WORK", o.binary, "bin/intact"),
		machine: fmt.Sprintf("Machine: %d cores (%s), %.1f GiB memory, %s; built with %s.",
			runtime.NumCPU(), cpuModel(), float64(memory("MemTotal:"))/(1<<30), kernelRelease(), runtime.Version()),
	}
	var err error
	if o.meter.self, err = os.Executable(); err != nil {
		return r, fmt.Errorf("find own program: %w", err)
	}
	if o.initOnly {
		r.phases = 1
	}
	r.notes = notes(o)
	for _, n := range r.notes {
		fmt.Fprintln(log, "bench:", n)
	}
	for _, name := range o.trees {
		if err := r.tree(ctx, o, name, o.allCold, log); err != nil {
			return r, err
		}
	}
	for _, name := range o.changed {
		if err := r.changed(ctx, o, name, log); err != nil {
			return r, err
		}
	}
	// Last, so that whatever follows does not have to fill the caches again.
	quick := o
	quick.slowRuns = 0
	for _, name := range o.cold {
		if err := r.tree(ctx, quick, name, true, log); err != nil {
			return r, err
		}
	}
	return r, nil
}

// notes say what is missing from this run.
func notes(o options) (n []string) {
	if os.Geteuid() != 0 {
		n = append(n, "Not run as root: unreadable files are left out by every tool, nothing was measured cold.")
	}
	if _, err := os.Stat(o.binary); err != nil {
		n = append(n, "MISSING: our own binary, bin/intact. Run make build.")
	}
	if _, missing := peers(o.peers, o.aides, o.work, &target{path: "/"}); len(missing) > 0 {
		n = append(n, "MISSING peers, not measured: "+strings.Join(missing, ", ")+".")
	}
	return n
}

// tree adds the section of one tree, in interleaved rounds.
func (r *report) tree(ctx context.Context, o options, name string, cold bool, log io.Writer) error {
	fmt.Fprintf(log, "bench: preparing %s\n", name)
	t, err := openTarget(ctx, name, o.work, o.scale)
	if err != nil {
		return err
	}
	if err := t.warmUp(ctx, cold); err != nil {
		return fmt.Errorf("read tree %q: %w", t.path, err)
	}
	fmt.Fprintf(log, "bench: %s: %v\n", name, t.totals)
	o.meter.cold = cold
	tools, _ := peers(o.peers, o.aides, o.work, &t)
	if _, err := os.Stat(o.binary); err == nil {
		tools = append([]tool{own(o.binary, filepath.Join(o.work, "run", ownID), t.path)}, tools...)
	}
	r.sections = append(r.sections, section{name: name, totals: t.totals, fileSystem: fileSystem(t.path), cold: cold, warm: t.warm})
	s := &r.sections[len(r.sections)-1]
	if o.floor {
		s.rows = floorRows(t.floorThreads(cold), cold)
	}
	floors := len(s.rows)
	for _, k := range tools {
		s.rows = append(s.rows, row{id: k.id, label: k.label, peer: k.id != ownID})
	}
	for round := range o.runs {
		progress := fmt.Sprintf("bench: %s, round %d of %d: ", name, round+1, o.runs)
		if o.floor {
			fmt.Fprint(log, progress, floorID)
			err := o.meter.floor(ctx, t, filepath.Join(o.work, "run", floorID), s.rows[:floors], r.phases, log)
			if fmt.Fprintln(log); err != nil {
				return err
			}
		}
		for i, k := range tools {
			if k.slow && round >= o.slowRuns {
				continue
			}
			fmt.Fprint(log, progress, k.id)
			err := o.meter.round(ctx, k, &s.rows[floors+i], r.phases, log)
			if fmt.Fprintln(log); err != nil {
				return err
			}
		}
	}
	return nil
}

// round runs one tool once: a fresh state, init and, where phases says so,
// check. Only a failure of the harness itself is an error.
func (m meter) round(ctx context.Context, k tool, t *row, phases int, log io.Writer) error {
	first, second := &t.phases[initPhase], &t.phases[checkPhase]
	if first.over() {
		return nil
	}
	if err := fresh(k.dir); err != nil {
		return err
	}
	if k.setup != nil {
		if err := k.setup(); err != nil {
			first.failure = err.Error()
			fmt.Fprintf(log, " FAILED: %v", err)
			return nil
		}
	}
	ok := m.init(ctx, k, first, log)
	// A check that was killed is not tried again: its outcome is known and
	// took all of the limit.
	if ok && phases > 1 && !second.over() {
		m.phase(ctx, second, k.command("check", k.check), log)
	}
	return ctx.Err()
}

// init adds one run to x, with the size of the baseline that it left.
func (m meter) init(ctx context.Context, k tool, x *series, log io.Writer) (ok bool) {
	if ok = m.phase(ctx, x, k.command("init", k.init), log); !ok {
		return false
	}
	if k.adopt != nil {
		if err := k.adopt(); err != nil {
			x.failure = err.Error()
			return false
		}
	}
	size, err := diskSize(k.baseline)
	if err != nil {
		x.failure = err.Error()
		return false
	}
	x.runs[len(x.runs)-1].baseline = size
	return true
}

// phase adds one run to x; ok says that its baseline or verdict is there.
func (m meter) phase(ctx context.Context, x *series, c command, log io.Writer) (ok bool) {
	s, err := m.run(ctx, c)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		x.failure = err.Error()
		fmt.Fprintf(log, " %s FAILED: %v", c.name, err)
		return false
	}
	x.runs = append(x.runs, s)
	sign := ""
	if s.timeout {
		sign = ">"
	}
	fmt.Fprintf(log, " %s %s%s s", c.name, sign, seconds(s.wall))
	return !s.timeout
}

// fresh makes dir an empty folder.
func fresh(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear state: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make state: %w", err)
	}
	return nil
}

// failed reports whether a run of ours failed.
func (r *report) failed() bool {
	for _, s := range r.sections {
		for _, t := range s.rows {
			for _, p := range t.phases {
				if p.failure != "" && !t.peer {
					return true
				}
			}
		}
	}
	return false
}
