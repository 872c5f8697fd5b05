package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"intact/benchmarks/corpus"
)

// target is one tree to measure on.
type target struct {
	name   string
	path   string
	totals corpus.Totals
	warm   bool // its contents fit in memory and were read once
}

// plainPath holds for paths that every peer's configuration and a shell take
// as they are.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._-]*$`)

// openTarget makes or finds the tree called name: a corpus kind, usr, or an
// absolute path. work is where corpora are kept.
func openTarget(ctx context.Context, name, work string, scale int) (target, error) {
	t := target{name: name, path: name}
	switch {
	case slices.Contains(corpus.Kinds(), corpus.Kind(name)):
		spec, err := corpus.Default(corpus.Kind(name))
		if err != nil {
			return t, err
		}
		t.path = filepath.Join(work, "trees", name)
		if scale > 1 {
			t.path += "-" + strconv.Itoa(scale)
		}
		if _, _, err := corpus.Ensure(ctx, t.path, spec.Scaled(scale)); err != nil {
			return t, err
		}
		unix.Sync() // or the first runs share the disk with our own write-back
	case name == "usr":
		t.path = "/usr"
	case !filepath.IsAbs(name):
		return t, fmt.Errorf("tree %q: want usr, an absolute path or one of %v", name, corpus.Kinds())
	}
	if !plainPath.MatchString(t.path) {
		return t, fmt.Errorf("tree %q: only letters, digits and ./_- are allowed in its path", t.path)
	}
	t.path = filepath.Clean(t.path)
	if rel, err := filepath.Rel(t.path, work); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return t, fmt.Errorf("tree %q holds the work folder: it would change while it is measured", t.path)
	}
	return t, nil
}

// warmUp counts the tree and, unless cold, reads all of it, so that the first
// tool does not pay for filling the page cache.
func (t *target) warmUp(ctx context.Context, cold bool) error {
	buf := make([]byte, 1<<20)
	t.totals = corpus.Totals{}
	err := filepath.WalkDir(t.path, func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return nil // unreadable for us: the tools meet the same
		}
		if d.IsDir() {
			t.totals.Dirs++
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		t.totals.Files++
		t.totals.Bytes += info.Size()
		if !cold {
			readAll(ctx, p, buf)
		}
		return nil
	})
	t.warm = !cold && t.totals.Bytes < memory("MemAvailable:")+memory("Cached:")
	return err
}

// readAll reads a file and drops it; errors do not matter to a warm-up.
func readAll(ctx context.Context, name string, buf []byte) {
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	for ctx.Err() == nil {
		if _, err := f.Read(buf); err != nil {
			return
		}
	}
}

// batch is how many files find | xargs gives one process: few enough that two
// processes share a tree of few files.
func (t *target) batch() int { return max(1, min(500, t.totals.Files/4)) }

// large reports whether the tree holds few files that are long.
func (t *target) large() bool {
	return t.totals.Files > 0 && t.totals.Bytes/int64(t.totals.Files) >= 1<<20
}

// memory returns a field of /proc/meminfo in bytes, 0 if unknown.
func memory(field string) int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return n * 1024
		}
	}
	return 0
}

// cpuModel returns the name of the first processor.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<16))
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown processor"
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown kernel"
	}
	cut := func(b []byte) string { return string(b[:max(0, bytes.IndexByte(b, 0))]) }
	return cut(u.Sysname[:]) + " " + cut(u.Release[:])
}

// fileSystem returns the type of the file system that holds path, from the
// longest mount point above it.
func fileSystem(path string) string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "unknown file system"
	}
	return fileSystemIn(string(b), path)
}

func fileSystemIn(mountinfo, path string) string {
	best, kind := -1, "unknown file system"
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 1 {
			continue
		}
		at := strings.TrimSuffix(l[4], "/")
		// A later line of the same mount point lies over the earlier one.
		if (path == at || strings.HasPrefix(path, at+"/")) && len(at) >= best {
			best, kind = len(at), r[0]
		}
	}
	return kind
}
