package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// gateOptions are the flags of the gate.
type gateOptions struct {
	base   string
	runs   int
	limit  float64
	scale  int
	work   string
	source string // the checkout that is judged
	meter  meter
}

func parseGate(args []string, stderr io.Writer) (o gateOptions, err error) {
	f := flag.NewFlagSet("bench gate", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.base, "base", "", "`commit` to compare with (default: where this branch left main, on main the commit before)")
	f.IntVar(&o.runs, "runs", 7, "rounds; both binaries run init and check once in each")
	f.Float64Var(&o.limit, "limit", 10, "`percent` by which the median CPU time may be higher")
	f.IntVar(&o.scale, "scale", 1, "divide the tree by `N`, for a quick trial")
	f.StringVar(&o.work, "work", filepath.Join(os.TempDir(), "intact-bench"), "`folder` for the tree (kept), sources and state (replaced)")
	f.DurationVar(&o.meter.timeout, "timeout", 5*time.Minute, "longest `time` of one run")
	f.DurationVar(&o.meter.idleWait, "idle-wait", 5*time.Second, "longest `time` to wait for a quiet machine before a run")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.runs < 1 || o.scale < 1 || o.limit < 0 || o.meter.timeout <= 0 {
		return o, errors.New("no arguments but flags; -runs, -scale and -timeout must be positive, -limit not negative")
	}
	if o.work, err = absolute(o.work); err != nil {
		return o, err
	}
	o.source, err = os.Getwd()
	return o, err
}

// runGate is the subcommand. Its status is 1 too where it could not judge.
func runGate(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseGate(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "gate:", err)
		return 2
	}
	lines, err := o.measure(ctx, stderr)
	switch {
	case ctx.Err() != nil:
		return 130
	case err != nil:
		fmt.Fprintln(stderr, "gate:", err)
		return 1
	}
	failed := false
	fmt.Fprintf(stdout, "| small, CPU s | %.12s | this checkout | ratio | limit | |\n|---|--:|--:|--:|--:|---|\n", o.base)
	for _, l := range lines {
		word := "passed"
		if l.over() {
			word, failed = "**failed**", true
		}
		fmt.Fprintf(stdout, "| %s | %s | %s | %.3f | %.3f | %s |\n", l.phase, seconds(l.base), seconds(l.ours), l.ratio(), l.limit, word)
	}
	if failed {
		fmt.Fprintln(stderr, "gate: more CPU time than the base allows")
		return 1
	}
	return 0
}

// gateLine compares one phase: medians of the CPU time, which other work on
// the machine hardly touches.
type gateLine struct {
	phase      string
	base, ours time.Duration
	limit      float64 // the highest ratio that passes
}

func (l gateLine) ratio() float64 { return float64(l.ours) / float64(l.base) }

func (l gateLine) over() bool { return l.ratio() > l.limit }

// gateLines judges two rows. A run that failed or was killed is an error.
func gateLines(base, ours *row, percent float64) (lines []gateLine, err error) {
	for p := range phaseCount {
		for _, t := range []*row{base, ours} {
			x := &t.phases[p]
			if x.failure != "" || x.timedOut() || median(x.runs, cpuOf) <= 0 {
				return nil, fmt.Errorf("%s of %s was not measured: %s", phaseName(p), t.label, x.failure)
			}
		}
		lines = append(lines, gateLine{phase: phaseName(p), limit: 1 + percent/100,
			base: median(base.phases[p].runs, cpuOf), ours: median(ours.phases[p].runs, cpuOf)})
	}
	return lines, nil
}

// measure builds both binaries and runs them in turn. It sets o.base to the
// full name of the commit.
func (o *gateOptions) measure(ctx context.Context, log io.Writer) ([]gateLine, error) {
	dir := filepath.Join(o.work, "gate")
	if err := fresh(dir); err != nil {
		return nil, err
	}
	var err error
	if o.base, err = baseCommit(ctx, o.base); err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "base")
	if err := export(ctx, o.base, source); err != nil {
		return nil, err
	}
	var tools [2]tool
	rows := [2]row{{label: "the base"}, {label: "this checkout"}}
	t, err := openTarget(ctx, "small", o.work, o.scale)
	if err != nil {
		return nil, err
	}
	for i, from := range []string{source, o.source} {
		binary := filepath.Join(dir, [...]string{"base.bin", "ours.bin"}[i])
		if err := build(ctx, from, binary); err != nil {
			return nil, fmt.Errorf("%s: %w", rows[i].label, err)
		}
		tools[i] = own(binary, filepath.Join(o.work, "run", [...]string{"gate-base", "gate-ours"}[i]), t.path)
	}
	if err := t.warmUp(ctx, false); err != nil {
		return nil, fmt.Errorf("read tree %q: %w", t.path, err)
	}
	for round := range o.runs {
		for k := range tools {
			i := (round + k) % len(tools) // nobody is always the first
			fmt.Fprintf(log, "gate: round %d of %d: %s", round+1, o.runs, rows[i].label)
			err := o.meter.round(ctx, tools[i], &rows[i], phaseCount, log)
			if fmt.Fprintln(log); err != nil {
				return nil, err
			}
		}
	}
	return gateLines(&rows[0], &rows[1], o.limit)
}

// baseCommit resolves name. Without one it is where HEAD left main; where that
// is HEAD itself, the commit before.
func baseCommit(ctx context.Context, name string) (string, error) {
	if name != "" {
		return git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	}
	head, err := git(ctx, "rev-parse", "--verify", "HEAD")
	if err != nil {
		return "", err
	}
	for _, main := range []string{"main", "origin/main", "origin/HEAD"} {
		// One that does not exist is no error, the next one may.
		if fork, err := git(ctx, "merge-base", "HEAD", main); err == nil && fork != head {
			return fork, nil
		}
	}
	return git(ctx, "rev-parse", "--verify", "--quiet", "HEAD~1")
}

// export writes the files of a commit to dir.
func export(ctx context.Context, commit, dir string) error {
	if err := fresh(dir); err != nil {
		return err
	}
	archive := dir + ".tar"
	if _, err := git(ctx, "archive", "--format=tar", "--output="+archive, commit); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "tar", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack %s: %w: %q", commit, err, out)
	}
	return nil
}

// build makes both binaries alike, whatever the caller's settings.
func build(ctx context.Context, source, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "./cmd/intact")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %q", err, out)
	}
	return nil
}
