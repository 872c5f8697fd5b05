package app

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/scanner"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// VerifyOptions of Verify.
type VerifyOptions struct {
	Paths      []string // "-": a list on stdin
	Null       bool     // the list is separated by NUL, not by newline
	PIDs       []int    // processes
	AllRunning bool     // all processes and kernel modules
	KnownGood  []string // files with digests
	KnownBad   []string
	Baseline   string // an export in the place of the state folder's baseline
	ExpectRoot string // the root that the baseline must have
	Format     string // text or json
}

// Verify tells of each path, and of what runs, all that is known here: is it as
// accepted, whose is it, is it known elsewhere. It writes nothing to the state
// folder and takes no lock.
func Verify(ctx context.Context, e *Env, o VerifyOptions) (Outcome, error) {
	s, err := open(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	v := &verify{session: s, o: o, counts: map[verdict]int64{}, out: Done()}
	if err := v.options(); err != nil {
		return Outcome{}, err
	}
	if s.cfgErr != nil {
		e.warn("%v", s.cfgErr)
		v.out.Add(ExitUsage)
	}
	s.lower()
	if err := v.openBaseline(ctx); err != nil {
		return Outcome{}, err
	}
	if v.gen != nil {
		defer v.gen.Close()
	}
	rate := e.MaxRate
	if rate == 0 {
		rate = s.cfg.MaxRate
	}
	v.examiner = scanner.NewExaminer(s.root, rate)
	v.w = bufio.NewWriterSize(e.Stdout, 64<<10)
	if err := v.run(ctx); err != nil {
		if ctx.Err() != nil {
			v.out.Add(ExitInterrupted)
			return v.out, v.w.Flush()
		}
		return v.out, errors.Join(err, v.w.Flush())
	}
	return v.out, errors.Join(v.tellEnd(), v.w.Flush())
}

// verify is one run of Verify.
type verify struct {
	*session
	o        VerifyOptions
	out      Outcome
	gen      *baseline.Generation                   // nil: none, or not to be trusted
	bad      bool                                   // there is one that is not to be trusted
	eff      *policy.Effective                      // of gen
	own      func(dir entry.Path, name []byte) bool // see ownFiles
	examiner *scanner.Examiner
	lists    []list
	w        *bufio.Writer

	counts  map[verdict]int64
	asked   int64 // paths and processes that were named
	running census
}

func (v *verify) options() error {
	if len(v.o.Paths) == 0 && len(v.o.PIDs) == 0 && !v.o.AllRunning {
		return usageError("verify needs a path, --pid or --all-running")
	}
	if f := v.o.Format; f != "" && f != "text" && f != "json" {
		return usageError("--format: want text or json, not %q", f)
	}
	if (len(v.o.PIDs) > 0 || v.o.AllRunning) && !v.root.Live() {
		return usageError("--pid and --all-running are about this host, not about the root %q: nothing runs in an image", v.env.Root)
	}
	dashes := 0
	for _, p := range v.o.Paths {
		if p == "-" {
			dashes++
		}
	}
	if dashes > 1 {
		return usageError("the list on stdin can be read once")
	}
	if v.o.Null && dashes == 0 {
		return usageError("--null is about the list on stdin: give - as a path")
	}
	if v.o.ExpectRoot != "" {
		if _, err := readPin(v.o.ExpectRoot); err != nil {
			return usageError("--expect-root: %w", err)
		}
	}
	return v.openLists()
}

// openBaseline opens what paths are held against. Without a baseline the other
// evidence must do; with one that is not to be trusted too, and the exit code
// says so.
func (v *verify) openBaseline(ctx context.Context) (err error) {
	if v.o.Baseline != "" {
		if v.gen, err = baseline.OpenExport(ctx, os.TempDir(), v.o.Baseline); errors.Is(err, fs.ErrNotExist) {
			return usageError("--baseline: %w", err)
		}
	} else {
		v.gen, err = v.store.Open(ctx, 0)
	}
	if err == nil {
		if err = v.usable(ctx); err != nil {
			v.gen.Close()
			v.gen = nil
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, baseline.ErrNoBaseline) && v.o.ExpectRoot == "":
		v.env.warn("no baseline: what follows goes by hash lists and package databases alone")
		return nil
	case trust(err):
		v.env.warn("%v: what follows goes by hash lists and package databases alone", err)
		v.bad = true
		v.out.Add(ExitTrust)
		return nil
	}
	return err
}

// vouched makes sure that the baseline is the one that is meant.
func (v *verify) vouched(ctx context.Context) error {
	if err := v.pinned(v.gen, v.o.ExpectRoot); err != nil {
		return err
	}
	if v.o.Baseline == "" {
		return v.notRolledBack(ctx, v.gen.Statement())
	}
	_, self, note, err := v.judgeExport(v.gen, v.o.Baseline, &v.out)
	if note = cmp.Or(self, note); note != "" {
		v.env.warn("%s", note)
	}
	return err
}

// usable makes sure of a baseline and puts its policy in force.
func (v *verify) usable(ctx context.Context) error {
	if err := v.vouched(ctx); err != nil {
		return err
	}
	p, err := policy.ParseCanonical(v.gen.Policy())
	if err != nil {
		return fmt.Errorf("%w: policy: %w", baseline.ErrDamaged, err)
	}
	rows, err := v.gen.Rows(rowAlias)
	if err != nil {
		return err
	}
	sc, err := v.scope(p, nil, aliasesOf(rows), false)
	if err != nil {
		return err
	}
	v.eff, v.own = sc.eff, sc.own
	return nil
}

// batchSize is how many paths are looked at before package databases and hash
// lists are read for all of them: it bounds memory.
const batchSize = 4096

func (v *verify) run(ctx context.Context) error {
	var batch []*subject
	flush := func() error {
		if err := v.conclude(ctx, batch); err != nil {
			return err
		}
		batch = nil
		return v.w.Flush()
	}
	for name, err := range v.names() {
		if err != nil {
			return err
		}
		s, err := v.path(ctx, name)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		if batch = append(batch, s); len(batch) == batchSize {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(batch) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	if len(v.o.PIDs) > 0 || v.o.AllRunning {
		list, err := v.processes(ctx)
		if err != nil {
			return err
		}
		for len(list) > 0 {
			batch = list[:min(batchSize, len(list))]
			list = list[len(batch):]
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if v.asked == 0 {
		return usageError("no path was given: the list on stdin is empty")
	}
	if v.gen != nil {
		return v.gen.Err()
	}
	return nil
}

// names yields the paths of the command line and of the list on stdin.
func (v *verify) names() func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		for _, p := range v.o.Paths {
			if p != "-" {
				if !yield(p, nil) {
					return
				}
				continue
			}
			for name, err := range readNames(v.env.Stdin, v.o.Null) {
				if !yield(name, err) || err != nil {
					return
				}
			}
		}
	}
}

// path looks at one path. A path that is nowhere is told at once and gives
// nothing.
func (v *verify) path(ctx context.Context, name string) (*subject, error) {
	v.asked++
	ps, err := v.paths([]string{name})
	if err != nil {
		v.env.warn("%v", err)
		v.out.Add(ExitUsage)
		return nil, nil
	}
	s := &subject{path: ps[0]}
	s.look, err = v.examiner.Path(ctx, s.path, v.prefix)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, unix.ENOENT):
		if !v.missing(s) {
			v.env.warn("path %q does not exist, on the disk or in the baseline", name)
			v.out.Add(ExitUsage)
			return nil, nil
		}
		return s, nil
	case err != nil:
		return nil, err
	}
	s.real = s.look.Path
	v.compare(s)
	return s, nil
}

// missing looks a path that is not there up in the baseline, also where its
// folder leads today.
func (v *verify) missing(s *subject) bool {
	s.real = s.path
	if v.gen == nil {
		return false
	}
	for _, p := range []entry.Path{s.path, v.free(s.path)} {
		if old, set, ok := v.gen.Lookup(p); ok {
			s.real, s.old, s.set, s.base = p, old, set, baseRemoved
			return true
		}
	}
	return false
}

// free resolves the links above p, as far as there is something.
func (v *verify) free(p entry.Path) entry.Path {
	dir, _, _, err := v.root.Resolve(p.Dir())
	if err != nil || p == "/" {
		return p
	}
	return dir.Join([]byte(p.Base()))
}

// prefix is how many bytes of a log the baseline knows, -1 for anything else.
func (v *verify) prefix(p entry.Path) int64 {
	if v.gen == nil {
		return -1
	}
	if old, set, ok := v.gen.Lookup(p); ok && set.Log && old.Have&entry.Content != 0 {
		return old.Hashed
	}
	return -1
}

// maxName bounds one name of the list on stdin: PATH_MAX, and a little more.
const maxName = 64 << 10

// readNames yields the names of a list that ends each with a newline, or with
// NUL. Empty ones are passed over.
func readNames(r interface{ Read([]byte) (int, error) }, null bool) func(func(string, error) bool) {
	end := byte('\n')
	if null {
		end = 0
	}
	return func(yield func(string, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(make([]byte, 4096), maxName)
		s.Split(func(data []byte, eof bool) (int, []byte, error) {
			if i := bytes.IndexByte(data, end); i >= 0 {
				return i + 1, data[:i], nil
			}
			if eof && len(data) > 0 {
				return len(data), data, nil
			}
			return 0, nil, nil
		})
		n := 0
		for s.Scan() {
			if n++; len(s.Bytes()) > 0 && !yield(s.Text(), nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield("", usageError("stdin: name %d: %w", n+1, err))
		}
	}
}
