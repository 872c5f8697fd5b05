// Command watch measures intact watch, or holds it against a check behind random
// changes. See benchmarks/README.md.
//
//	watch soak [flags]     random changes from several writers, then both must agree
//	watch latency [flags]  how long a report takes
//	watch burst [flags]    how long very many new files take
//	watch idle [flags]     what watching costs while nothing happens
//
// What it found goes to stdout as Markdown. It exits 0 when all is well, 1 when the
// watcher was wrong or a goal was not reached, 2 on a usage error, 130 when
// interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"intact/benchmarks/watching"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options of all that it does; each uses some.
type options struct {
	host  watching.Host
	soak  watching.SoakOptions
	last  time.Duration
	rate  int
	files int
	dirs  int
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(stderr, "watch: want soak, latency, burst or idle")
		return 2
	}
	does := map[string]func(context.Context, *options, io.Writer, io.Writer) (bool, error){"soak": soak, "latency": latency, "burst": burst, "idle": idle}
	do := does[args[0]]
	if do == nil {
		fmt.Fprintf(stderr, "watch: %q: want soak, latency, burst or idle\n", args[0])
		return 2
	}
	var o options
	f := flag.NewFlagSet("watch "+args[0], flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.host.Intact, "intact", "bin/intact", "the binary")
	f.StringVar(&o.host.Backend, "backend", "", "of intact watch")
	work := f.String("work", "", "folder to make the trees in; a new one below the temporary folder if empty")
	f.DurationVar(&o.last, "for", 10*time.Minute, "how long: soak, latency, idle")
	f.Uint64Var(&o.soak.Seed, "seed", 1, "soak: of the random changes")
	f.IntVar(&o.soak.Writers, "writers", 4, "soak")
	f.DurationVar(&o.soak.Pace, "pace", 0, "soak: pause between two changes of a writer")
	f.BoolVar(&o.soak.Bind, "bind", os.Geteuid() == 0, "soak: bind mounts too")
	f.BoolVar(&o.soak.Hard, "hard", true, "soak: hard links too")
	f.DurationVar(&o.soak.Beside, "beside", 20*time.Second, "soak: a check runs so often, the second is accepted, behind the third the watcher is killed; 0: never")
	f.IntVar(&o.rate, "rate", 100, "latency: changes a second")
	f.IntVar(&o.files, "files", 100_000, "burst")
	f.IntVar(&o.dirs, "dirs", 0, "burst, idle: directories; 0: 100, 50000")
	switch err := f.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil || f.NArg() > 0:
		fmt.Fprintln(stderr, "watch: wrong usage")
		return 2
	}
	return measure(ctx, do, &o, *work, stdout, stderr)
}

func measure(ctx context.Context, do func(context.Context, *options, io.Writer, io.Writer) (bool, error), o *options, work string, stdout, stderr io.Writer) int {
	dir, err := os.MkdirTemp(work, "intact-watch-")
	if err != nil {
		fmt.Fprintln(stderr, "watch:", err)
		return 1
	}
	o.host.Dir = dir
	ok, err := do(ctx, o, stdout, stderr)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "watch: interrupted")
		os.RemoveAll(dir)
		return 130
	case err != nil || !ok:
		fmt.Fprintf(stderr, "watch: failed, %s is left as it was: %v\n", dir, err)
		return 1
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(stderr, "watch:", err)
	}
	return 0
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func soak(ctx context.Context, o *options, stdout, stderr io.Writer) (bool, error) {
	o.soak.For = o.last
	o.soak.Log = func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	r, err := watching.Soak(ctx, &o.host, o.soak)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(stdout, "| soak | |\n|---|---|\n| time, writers, seed | %v, %d, %d |\n| changes made | %d |\n| reports, of them degraded | %d, %d |\n| findings told | %d |\n",
		o.soak.For, o.soak.Writers, o.soak.Seed, r.Changes, r.Reports, r.Degraded, r.Findings)
	fmt.Fprintf(stdout, "| checks beside, and one accept | %d |\n", r.Checks)
	fmt.Fprintf(stdout, "| quiet behind the last change | %.1f s |\n| watcher: CPU, most memory | %.0f s, %.0f MiB |\n| paths that differ at the end | %d |\n| of them not as a check finds them | %d |\n",
		r.Settled.Seconds(), r.CPU.Seconds(), mib(r.Memory), r.Pending, len(r.Wrong))
	for _, w := range r.Wrong[:min(len(r.Wrong), 50)] {
		fmt.Fprintln(stderr, w)
	}
	return len(r.Wrong) == 0, nil
}

func latency(ctx context.Context, o *options, stdout, _ io.Writer) (bool, error) {
	r, err := watching.Latency(ctx, &o.host, o.rate, o.last)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(stdout, "| changes, a second | reports | median s | p99 s | most s | CPU s of the watcher |\n|---|---|---|---|---|---|\n| %d, %d | %d | %.2f | %.2f | %.2f | %.1f |\n",
		r.Changes, o.rate, r.Reports, r.Median.Seconds(), r.P99.Seconds(), r.Most.Seconds(), r.CPU.Seconds())
	return r.P99 < time.Second, nil
}

func burst(ctx context.Context, o *options, stdout, _ io.Writer) (bool, error) {
	if o.dirs == 0 {
		o.dirs = 100
	}
	r, err := watching.Burst(ctx, &o.host, o.files, o.dirs)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(stdout, "| files in directories | made in s | all reported in s | events lost | CPU s of the watcher | most MiB |\n|---|---|---|---|---|---|\n| %d in %d | %.1f | %.1f | %v | %.1f | %.0f |\n",
		r.Files, r.Dirs, r.Made.Seconds(), r.Found.Seconds(), r.Degraded, r.CPU.Seconds(), mib(r.Memory))
	return r.Found < 30*time.Second, nil
}

func idle(ctx context.Context, o *options, stdout, _ io.Writer) (bool, error) {
	if o.dirs == 0 {
		o.dirs = 50_000
	}
	r, err := watching.Idle(ctx, &o.host, o.dirs, o.last)
	if err != nil {
		return false, err
	}
	share := 100 * r.CPU.Seconds() / r.For.Seconds()
	fmt.Fprintf(stdout, "| directories | ready in s | CPU %% | over s | MiB | most MiB |\n|---|---|---|---|---|---|\n| %d | %.1f | %.2f | %.0f | %.0f | %.0f |\n",
		r.Dirs, r.Ready.Seconds(), share, r.For.Seconds(), mib(r.Memory), mib(r.Most))
	return share < 1 && r.Most < 100<<20, nil
}
