// Command bench measures intact beside other file-integrity tools on the same
// trees and prints a Markdown report. See benchmarks/README.md.
//
// It exits 0 when every run that was started ended as expected, 1 when one
// failed or the report could not be written, 2 on a usage error, 130 when
// interrupted (what was measured until then is printed, not saved).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Modes are part of what is compared: they must not depend on the caller.
	syscall.Umask(0o022)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags.
type options struct {
	trees    []string
	peers    []string
	aides    []string
	runs     int
	scale    int
	work     string
	binary   string
	results  string
	initOnly bool
	meter    meter
	command  string // for the report: flags without local paths
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	trees := f.String("trees", "small,usr,tiny,big", "comma list of `trees`: small usr tiny big wide deep, or absolute paths")
	peers := f.String("peers", "all", "comma list of `peers`: "+strings.Join(peerIDs(), " ")+", all or none")
	aides := f.String("aide", "aide", "comma list of AIDE `binaries`, to measure several versions")
	f.IntVar(&o.runs, "runs", 3, "rounds; every tool runs once in each")
	f.IntVar(&o.scale, "scale", 1, "divide the synthetic trees by `N`, for a quick trial")
	f.StringVar(&o.work, "work", filepath.Join(os.TempDir(), "intact-bench"), "`folder` for trees (kept) and state (replaced)")
	f.StringVar(&o.binary, "intact", "bin/intact", "our `binary`")
	f.StringVar(&o.results, "results", "benchmarks/results", "`folder` that gets a copy of the report, none if empty")
	f.BoolVar(&o.initOnly, "init-only", false, "do not measure check")
	f.BoolVar(&o.meter.cold, "cold", false, "drop the caches before each run (needs root)")
	f.DurationVar(&o.meter.timeout, "peer-timeout", 10*time.Minute, "longest `time` of one run; one that takes longer is killed and shown as more than that")
	f.DurationVar(&o.meter.idleWait, "idle-wait", 20*time.Second, "longest `time` to wait for a quiet machine before a run")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.trees, o.aides = strings.Split(*trees, ","), strings.Split(*aides, ",")
	switch *peers {
	case "all":
		o.peers = peerIDs()
	case "none", "":
	default:
		o.peers = strings.Split(*peers, ",")
	}
	for _, p := range o.peers {
		if !slices.Contains(peerIDs(), p) {
			return o, fmt.Errorf("peer %q: want %s", p, strings.Join(peerIDs(), ", "))
		}
	}
	if f.NArg() > 0 || o.runs < 1 || o.scale < 1 || o.meter.timeout <= 0 {
		return o, errors.New("no arguments but flags; -runs, -scale and -peer-timeout must be positive")
	}
	o.command = "bench"
	f.Visit(func(x *flag.Flag) {
		if !slices.Contains([]string{"work", "intact", "results", "aide"}, x.Name) {
			o.command += " -" + x.Name + "=" + x.Value.String()
		}
	})
	for _, p := range []*string{&o.work, &o.binary} {
		if *p, err = filepath.Abs(*p); err != nil {
			return o, err
		}
	}
	if !plainPath.MatchString(o.work) {
		return o, fmt.Errorf("work folder %q: only letters, digits and ./_- are allowed in its path", o.work)
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	r, err := measure(ctx, o, stderr)
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	if ctx.Err() != nil {
		r.notes = append(r.notes, "Interrupted: incomplete.")
	}
	if err := r.markdown(stdout); err != nil {
		fmt.Fprintln(stderr, "bench: print report:", err)
		return 1
	}
	if ctx.Err() != nil {
		return 130
	}
	if o.results != "" {
		name, err := r.save(o.results)
		if err != nil {
			fmt.Fprintln(stderr, "bench:", err)
			return 1
		}
		fmt.Fprintln(stderr, "bench: saved", name)
	}
	if r.failed() {
		fmt.Fprintln(stderr, "bench: a run failed, see the report")
		return 1
	}
	return 0
}

// measure always returns a report; after an error it holds what was measured.
func measure(ctx context.Context, o options, log io.Writer) (*report, error) {
	r := &report{
		date: time.Now(), commit: commit(ctx), command: o.command, phases: phaseCount,
		cold: o.meter.cold, scale: o.scale,
		local: strings.NewReplacer(o.work, "WORK", o.binary, "bin/intact"),
		machine: fmt.Sprintf("Machine: %d cores (%s), %.1f GiB memory, %s; built with %s.",
			runtime.NumCPU(), cpuModel(), float64(memory("MemTotal:"))/(1<<30), kernelRelease(), runtime.Version()),
	}
	if o.initOnly {
		r.phases = 1
	}
	if os.Geteuid() != 0 {
		r.notes = append(r.notes, "Not run as root: unreadable files are left out by every tool.")
	}
	if _, err := os.Stat(o.binary); err != nil {
		r.notes = append(r.notes, "MISSING: our own binary, bin/intact. Run make build.")
	}
	if _, missing := peers(o.peers, o.aides, o.work, "/", 1); len(missing) > 0 {
		r.notes = append(r.notes, "MISSING peers, not measured: "+strings.Join(missing, ", ")+".")
	}
	for _, n := range r.notes {
		fmt.Fprintln(log, "bench:", n)
	}
	for _, name := range o.trees {
		if err := r.tree(ctx, o, name, log); err != nil {
			return r, err
		}
	}
	return r, nil
}

// tree adds the section of one tree, in interleaved rounds.
func (r *report) tree(ctx context.Context, o options, name string, log io.Writer) error {
	fmt.Fprintf(log, "bench: preparing %s\n", name)
	t, err := openTarget(ctx, name, o.work, o.scale)
	if err != nil {
		return err
	}
	if err := t.warmUp(ctx, o.meter.cold); err != nil {
		return fmt.Errorf("read tree %q: %w", t.path, err)
	}
	fmt.Fprintf(log, "bench: %s: %v\n", name, t.totals)
	tools, _ := peers(o.peers, o.aides, o.work, t.path, t.batch())
	if _, err := os.Stat(o.binary); err == nil {
		tools = append([]tool{own(o.binary, filepath.Join(o.work, "run", ownID), t.path)}, tools...)
	}
	r.sections = append(r.sections, section{name: name, totals: t.totals, fileSystem: fileSystem(t.path), warm: t.warm})
	s := &r.sections[len(r.sections)-1]
	for _, k := range tools {
		s.rows = append(s.rows, row{id: k.id, label: k.label})
	}
	for round := range o.runs {
		for i, k := range tools {
			fmt.Fprintf(log, "bench: %s, round %d of %d: %s", name, round+1, o.runs, k.id)
			err := o.meter.round(ctx, k, &s.rows[i], r.phases, log)
			fmt.Fprintln(log)
			if err != nil {
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
	if err := os.RemoveAll(k.dir); err != nil {
		return fmt.Errorf("clear state: %w", err)
	}
	if err := os.MkdirAll(k.dir, 0o755); err != nil {
		return fmt.Errorf("make state: %w", err)
	}
	if k.setup != nil {
		if err := k.setup(); err != nil {
			first.failure = err.Error()
			fmt.Fprintf(log, " FAILED: %v", err)
			return nil
		}
	}
	s, ok := m.phase(ctx, k, first, k.init, "init", log)
	if ok && k.adopt != nil {
		if err := k.adopt(); err != nil {
			first.failure, ok = err.Error(), false
		}
	}
	if ok {
		var err error
		if s.baseline, err = diskSize(k.baseline); err != nil {
			first.failure, ok = err.Error(), false
		}
	}
	if ok {
		first.runs[len(first.runs)-1] = s
	}
	// A check that was killed is not tried again: its outcome is known and
	// took all of the limit.
	if ok && phases > 1 && !second.over() {
		m.phase(ctx, k, second, k.check, "check", log)
	}
	return ctx.Err()
}

// phase adds one run to x; ok says that its baseline or verdict is there.
func (m meter) phase(ctx context.Context, k tool, x *series, argv []string, name string, log io.Writer) (s sample, ok bool) {
	s, err := m.run(ctx, argv, k.dir, filepath.Join(k.dir, name+".out"))
	switch {
	case ctx.Err() != nil:
		return s, false
	case err != nil:
		x.failure = err.Error()
		fmt.Fprintf(log, " %s FAILED: %v", name, err)
		return s, false
	}
	x.runs = append(x.runs, s)
	sign := ""
	if s.timeout {
		sign = ">"
	}
	fmt.Fprintf(log, " %s %s%s s", name, sign, seconds(s.wall))
	return s, !s.timeout
}

func (r *report) failed() bool {
	for _, s := range r.sections {
		for _, t := range s.rows {
			for _, p := range t.phases {
				if p.failure != "" {
					return true
				}
			}
		}
	}
	return false
}

// save writes the report to a new file in dir and returns its name. An earlier
// result of the same day and commit is never replaced.
func (r *report) save(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make results folder: %w", err)
	}
	base := r.date.UTC().Format("2006-01-02") + "-" + r.commit
	if r.scale > 1 {
		base += fmt.Sprintf("-scale%d", r.scale)
	}
	for n := 1; ; n++ {
		name := filepath.Join(dir, base+".md")
		if n > 1 {
			name = filepath.Join(dir, fmt.Sprintf("%s-%d.md", base, n))
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("save report: %w", err)
		}
		if err := errors.Join(r.markdown(f), f.Close()); err != nil {
			return "", fmt.Errorf("save report: %w", err)
		}
		return name, nil
	}
}

// commit names the checkout of the current folder, with "-dirty" where it
// differs from that commit in more than results, "uncommitted" where there is
// none.
func commit(ctx context.Context) string {
	git := func(args ...string) (string, error) {
		// A checkout that belongs to someone else is still named.
		out, err := exec.CommandContext(ctx, "git", append([]string{"-c", "safe.directory=*"}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	name, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "uncommitted"
	}
	if out, err := git("status", "--porcelain", "--", ":(top)", ":(top,exclude)benchmarks/results"); err != nil || out != "" {
		name += "-dirty"
	}
	return name
}
