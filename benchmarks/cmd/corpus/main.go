// Command corpus writes one synthetic tree:
//
//	corpus [-seed N] [-count N] [-size BYTES] KIND FOLDER
//
// It exits 0 when the tree is there, 1 when it could not be written, 2 on a
// usage error.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"intact/benchmarks/corpus"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("corpus", flag.ContinueOnError)
	seed := flags.Uint64("seed", corpus.DefaultSeed, "`seed` of names, sizes and contents")
	count := flags.Int("count", 0, "`files` to write; of deep, levels (0: the shape's default)")
	size := flags.Int64("size", 0, "`bytes` a file, for big and one only (0: the shape's default)")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: corpus [flags] KIND FOLDER\nKIND is one of %v\n", corpus.Kinds())
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 2 {
		flags.Usage()
		return 2
	}
	spec, err := corpus.Default(corpus.Kind(flags.Arg(0)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		return 2
	}
	spec.Seed = *seed
	if *count > 0 {
		spec.Count = *count
	}
	if *size > 0 && spec.FileSize > 0 {
		spec.FileSize = *size
	}
	// Modes are part of what is compared: they must not depend on the caller.
	syscall.Umask(0o022)
	start := time.Now()
	t, reused, err := corpus.Ensure(ctx, flags.Arg(1), spec)
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		return 1
	}
	how := fmt.Sprintf("written in %.1f s", time.Since(start).Seconds())
	if reused {
		how = "already there"
	}
	fmt.Printf("%q: %v, %s\n", flags.Arg(1), t, how)
	return 0
}
