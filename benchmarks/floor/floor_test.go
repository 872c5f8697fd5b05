package floor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"intact/benchmarks/corpus"
)

// plant writes files of the given sizes; the directories come with them.
func plant(t *testing.T, top string, sizes map[string]int) {
	t.Helper()
	for name, size := range sizes {
		name = filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMeasure(t *testing.T) {
	top := t.TempDir()
	plant(t, top, map[string]int{
		"empty": 0, "a/one": 1, "a/b/page": 4096, "a/b/long": readSize + 1, "a/b/exact": 2 * readSize,
		"a/..b": 3, "a/.hidden/f": 5, "c/ä\nb\xff": 7,
	})
	if err := os.Symlink("nowhere", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	// Opening it would wait for a writer for ever.
	if err := unix.Mkfifo(filepath.Join(top, "a", "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(top, "a/one"), filepath.Join(top, "c/again")); err != nil {
		t.Fatal(err)
	}
	want := Result{Dirs: 5, Files: 9, Others: 4 + 2, Bytes: 1 + 4096 + readSize + 1 + 2*readSize + 3 + 5 + 7 + 1}
	for _, threads := range []int{1, 2, 7} {
		asked := 0
		got, err := Measure(top, Options{Threads: threads, Hashers: 2, Before: func() error { asked++; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if got.Calls.Wall <= 0 || got.Hash.Wall <= 0 || asked != 1 {
			t.Errorf("%d threads: calls %v, hashing %v, asked %d times", threads, got.Calls, got.Hash, asked)
		}
		want.Threads, want.Calls, want.Hash = threads, got.Calls, got.Hash
		if got != want {
			t.Errorf("%d threads:\n got %+v\nwant %+v", threads, got, want)
		}
	}
}

func TestMeasureWithoutHashing(t *testing.T) {
	top := t.TempDir()
	plant(t, top, map[string]int{"f": 10})
	got, err := Measure(top, Options{Threads: 16})
	if err != nil || got.Files != 1 || got.Calls.Wall <= 0 || got.Hash != (Cost{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMeasureRefuses(t *testing.T) {
	top, stop := t.TempDir(), errors.New("stop")
	plant(t, top, map[string]int{"file": 1})
	for name, c := range map[string]struct {
		top string
		o   Options
	}{
		"nothing there": {top + "/none", Options{Threads: 1}},
		"a file":        {top + "/file", Options{Threads: 1}},
		"no thread":     {top, Options{}},
		"hashers":       {top, Options{Threads: 1, Hashers: -1}},
		"before":        {top, Options{Threads: 1, Before: func() error { return stop }}},
	} {
		if got, err := Measure(c.top, c.o); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// Paths get longer than the kernel takes, and every file is still read.
func TestMeasureDeep(t *testing.T) {
	top := filepath.Join(t.TempDir(), "deep")
	s, err := corpus.Default(corpus.Deep)
	if err != nil {
		t.Fatal(err)
	}
	made, _, err := corpus.Ensure(t.Context(), top, s)
	if err != nil {
		t.Fatal(err)
	}
	marker, err := os.Stat(filepath.Join(top, corpus.Marker))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Measure(top, Options{Threads: 2})
	if err != nil || got.Errors > 0 || got.Files != made.Files+1 || got.Dirs != made.Dirs+1 || got.Bytes != made.Bytes+marker.Size() {
		t.Errorf("got %+v, %v; want %v and the marker", got, err, made)
	}
}

func TestNewWork(t *testing.T) {
	const piece, take = pieceSize, takeBytes
	for name, c := range map[string]struct {
		sizes  []int64
		pieces []int64
		ends   []int
	}{
		"nothing":     {nil, nil, nil},
		"empty files": {[]int64{0, 0}, nil, nil},
		"small ones":  {[]int64{1, 0, 2, 3}, []int64{1, 2, 3}, []int{3}},
		"one long":    {[]int64{2*piece + 1}, []int64{piece, piece, 1}, []int{1, 2, 3}},
		"full takes":  {[]int64{take - 1, 1, take, 5, 6}, []int64{take - 1, 1, take, 5, 6}, []int{2, 3, 5}},
	} {
		w := newWork(c.sizes)
		if !slices.Equal(w.pieces, c.pieces) || !slices.Equal(w.ends, c.ends) {
			t.Errorf("%s: pieces %v ending at %v, want %v at %v", name, w.pieces, w.ends, c.pieces, c.ends)
		}
		var want int64
		for _, s := range c.sizes {
			want += s
		}
		w.hash(3)
		if got := w.hashed.Load(); got != want {
			t.Errorf("%s: hashed %d bytes, want %d", name, got, want)
		}
	}
}

// What is gone when the clock runs is counted, not passed over.
func TestMeasureCountsErrors(t *testing.T) {
	top := t.TempDir()
	plant(t, top, map[string]int{"stays/f": 1, "gone/f": 1})
	got, err := Measure(top, Options{Threads: 1, Before: func() error { return os.RemoveAll(filepath.Join(top, "gone")) }})
	if err != nil || got.Errors != 1 || got.Files != 1 || got.Dirs != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
}
