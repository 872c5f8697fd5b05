// Command bench measures intact beside other file-integrity tools on the same
// trees and prints a Markdown report. See benchmarks/README.md.
//
//	bench [flags]          measure and print; -h lists the flags
//	bench gate [flags]     compare the CPU time of this checkout with a base's
//	bench floor [flags] D  measure the floor of one tree, for bench itself
//
// It exits 0 when every run of ours ended as expected, 1 when one failed, the
// gate was not passed or the report could not be written, 2 on a usage error,
// 130 when interrupted (what was measured until then is printed, not saved). A
// peer that fails is shown and is no failure of the bench.
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Modes are part of what is compared: they must not depend on the caller.
	syscall.Umask(0o022)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "floor":
			return runFloor(args[1:], stdout, stderr)
		case "gate":
			return runGate(ctx, args[1:], stdout, stderr)
		}
	}
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	return runBench(ctx, o, stdout, stderr)
}

func runBench(ctx context.Context, o options, stdout, stderr io.Writer) int {
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
		fmt.Fprintln(stderr, "bench: a run of ours failed, see the report")
		return 1
	}
	return 0
}
