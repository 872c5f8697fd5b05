package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"intact/benchmarks/floor"
)

// The rows of the floor, in order, before all others.
const (
	floorCallsID = "floor-calls"
	floorHashID  = "floor-hash"
	floorID      = "floor"
)

// coldThreads is how many threads keep a disk busy: the reads that wait count
// there, not the cores.
const coldThreads = 16

func (t *target) floorThreads(cold bool) int {
	if cold {
		return coldThreads
	}
	return runtime.NumCPU()
}

// floorRows returns the empty rows. With cold caches the floor is reading
// alone: hashing hides behind the disk.
func floorRows(threads int, cold bool) []row {
	calls := fmt.Sprintf("*floor: system calls, %d threads*", threads)
	if cold {
		return []row{{id: floorID, label: calls}}
	}
	return []row{
		{id: floorCallsID, label: calls},
		{id: floorHashID, label: "*floor: hashing*"},
		{id: floorID, label: "*floor*"},
	}
}

// floor measures the floor of t once, in a process of its own, and adds it to
// both phases of the rows. Only a failure of the harness itself is an error.
func (m meter) floor(ctx context.Context, t target, dir string, rows []row, phases int, log io.Writer) error {
	if rows[0].phases[initPhase].over() {
		return nil
	}
	if err := fresh(dir); err != nil {
		return err
	}
	argv := []string{m.self, "floor", "-threads", strconv.Itoa(t.floorThreads(m.cold))}
	if m.cold {
		argv = append(argv, "-cold")
	}
	// With -cold it drops the caches itself: the listing comes before.
	m.cold = false
	got, err := m.floorOnce(ctx, command{name: floorID, argv: append(argv, t.path), dir: dir})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		fmt.Fprintf(log, " FAILED: %v", err)
	}
	for i := range rows {
		for p := range phases {
			x := &rows[i].phases[p]
			if err != nil {
				x.failure = err.Error()
				continue
			}
			x.runs = append(x.runs, got[rows[i].id])
		}
	}
	if err == nil {
		fmt.Fprintf(log, " %s s", seconds(got[floorID].wall))
	}
	return nil
}

// floorOnce runs c and returns the samples by the id of their row.
func (m meter) floorOnce(ctx context.Context, c command) (map[string]sample, error) {
	whole, err := m.run(ctx, c)
	if err != nil {
		return nil, err
	}
	if whole.timeout {
		return nil, fmt.Errorf("the floor took more than %s s", seconds(whole.wall))
	}
	b, err := os.ReadFile(c.output())
	if err != nil {
		return nil, fmt.Errorf("read the floor: %w", err)
	}
	var r floor.Result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("read the floor: %w", err)
	}
	return floorSamples(r, whole.noise)
}

func floorSamples(r floor.Result, noise time.Duration) (map[string]sample, error) {
	// Files that come and go in /usr are no reason to give up, a tree that
	// was not read is.
	if r.Errors > r.Files/100 {
		return nil, fmt.Errorf("the floor is not that of the tree: %d of %d files could not be read", r.Errors, r.Files+r.Errors)
	}
	calls := sample{wall: r.Calls.Wall, cpu: r.Calls.CPU, noise: noise}
	hash := sample{wall: r.Hash.Wall, cpu: r.Hash.CPU, noise: noise}
	both := sample{wall: calls.wall + hash.wall, cpu: calls.cpu + hash.cpu, noise: noise}
	return map[string]sample{floorCallsID: calls, floorHashID: hash, floorID: both}, nil
}

// runFloor is the subcommand: it prints one floor.Result as JSON.
func runFloor(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("bench floor", flag.ContinueOnError)
	f.SetOutput(stderr)
	threads := f.Int("threads", runtime.NumCPU(), "`threads` that read")
	cold := f.Bool("cold", false, "drop the caches before reading (needs root), do not hash")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil || f.NArg() != 1 {
		fmt.Fprintln(stderr, "usage: bench floor [-threads N] [-cold] FOLDER")
		return 2
	}
	o := floor.Options{Threads: *threads, Hashers: runtime.NumCPU()}
	if *cold {
		o.Hashers, o.Before = 0, dropCaches
	}
	r, err := floor.Measure(filepath.Clean(f.Arg(0)), o)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}
