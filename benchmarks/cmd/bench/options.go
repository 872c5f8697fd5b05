package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"intact/benchmarks/corpus"
)

// options are the flags.
type options struct {
	trees    []string
	cold     []string // trees measured once more with cold caches
	changed  []string // shapes for the scenario of changed files
	peers    []string
	aides    []string
	runs     int
	slowRuns int // of slow peers
	scale    int
	work     string
	binary   string
	results  string
	initOnly bool
	floor    bool
	allCold  bool // every tree is cold
	meter    meter
	command  string // for the report: flags without local paths
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	names := make([]string, 0, len(corpus.Kinds()))
	for _, k := range corpus.Kinds() {
		names = append(names, string(k))
	}
	trees := f.String("trees", "small,usr,tiny,big,one,wide,deep", "comma list of `trees`: usr "+strings.Join(names, " ")+", or absolute paths; or none")
	cold := f.String("cold-trees", coldDefault(os.Geteuid()), "comma list of `trees` that are measured once more with cold caches, without slow peers (needs root); or none")
	changed := f.String("changed", "small", "comma list of `trees` (small tiny huge wide) for the scenario of 100,000 changed files; or none")
	peers := f.String("peers", "all", "comma list of `peers`: "+strings.Join(peerIDs(), " ")+", all or none")
	aides := f.String("aide", "aide", "comma list of AIDE `binaries`, to measure several versions")
	f.IntVar(&o.runs, "runs", 3, "rounds; every tool runs once in each")
	f.IntVar(&o.slowRuns, "slow-runs", 1, "rounds in which slow peers take part: "+strings.Join(slowPeers(), " "))
	f.IntVar(&o.scale, "scale", 1, "divide the synthetic trees by `N`, for a quick trial")
	f.StringVar(&o.work, "work", filepath.Join(os.TempDir(), "intact-bench"), "`folder` for trees (kept) and state (replaced)")
	f.StringVar(&o.binary, "intact", "bin/intact", "our `binary`")
	f.StringVar(&o.results, "results", "benchmarks/results", "`folder` that gets a copy of the report, none if empty")
	f.BoolVar(&o.initOnly, "init-only", false, "do not measure check")
	f.BoolVar(&o.floor, "floor", true, "measure the floor too")
	f.BoolVar(&o.allCold, "cold", false, "measure -trees with cold caches (needs root)")
	f.DurationVar(&o.meter.timeout, "peer-timeout", 2*time.Minute, "longest `time` of one run; one that takes longer is killed and shown as more than that")
	f.DurationVar(&o.meter.idleWait, "idle-wait", 5*time.Second, "longest `time` to wait for a quiet machine before a run")
	f.DurationVar(&o.meter.rest, "rest", 62*time.Second, "`time` between the change of 100,000 files and the check that finds them: older than a minute, as most of a day's changes")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.trees, o.cold, o.changed, o.aides = list(*trees), list(*cold), list(*changed), list(*aides)
	if o.peers = list(*peers); *peers == "all" {
		o.peers = peerIDs()
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("argument %q: want flags only", f.Arg(0))
	}
	o.command = "bench"
	f.Visit(func(x *flag.Flag) {
		if !slices.Contains([]string{"work", "intact", "results", "aide"}, x.Name) {
			o.command += " -" + x.Name + "=" + x.Value.String()
		}
	})
	if o.work, err = absolute(o.work); err != nil {
		return o, err
	}
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return o, err
	}
	return o, o.valid()
}

func (o *options) valid() error {
	for _, p := range o.peers {
		if !slices.Contains(peerIDs(), p) {
			return fmt.Errorf("peer %q: want %s", p, strings.Join(peerIDs(), ", "))
		}
	}
	for _, c := range o.changed {
		if !slices.Contains(changeable(), corpus.Kind(c)) {
			return fmt.Errorf("changed files in tree %q: want one of %v", c, changeable())
		}
	}
	if o.runs < 1 || o.slowRuns < 0 || o.scale < 1 || o.meter.timeout <= 0 {
		return errors.New("-runs, -scale and -peer-timeout must be positive, -slow-runs not negative")
	}
	return nil
}

// coldDefault leaves cold runs out for those who cannot drop caches.
func coldDefault(uid int) string {
	if uid != 0 {
		return "none"
	}
	return "small"
}

// list splits a comma list; "none" and nothing at all are empty.
func list(s string) []string {
	if s == "" || s == "none" {
		return nil
	}
	return strings.Split(s, ",")
}

// absolute is for folders whose names are written into configurations of
// peers and into shell commands.
func absolute(folder string) (string, error) {
	abs, err := filepath.Abs(folder)
	if err == nil && !plainPath.MatchString(abs) {
		err = fmt.Errorf("work folder %q: only letters, digits and ./_- are allowed in its path", abs)
	}
	return abs, err
}
