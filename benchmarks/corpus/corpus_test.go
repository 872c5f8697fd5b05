package corpus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func spec(t *testing.T, k Kind, count int) Spec {
	t.Helper()
	s, err := Default(k)
	if err != nil {
		t.Fatal(err)
	}
	s.Count = count
	if k.sized() {
		s.FileSize = poolSize + 100_003 // more than one stretch
	}
	return s
}

// fingerprint covers every name, type and byte below dir but the marker.
func fingerprint(t *testing.T, dir string) (string, Totals) {
	t.Helper()
	h := sha256.New()
	var sum Totals
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir || d.Name() == Marker {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			sum.Dirs++
			fmt.Fprintf(h, "%q dir\n", rel)
			return nil
		}
		b, err := os.ReadFile(p)
		sum.Files++
		sum.Bytes += int64(len(b))
		fmt.Fprintf(h, "%q %x\n", rel, sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), sum
}

// The fingerprints are pinned: published figures name a corpus by shape, count
// and seed alone. A deliberate change goes with a new Revision.
func TestDeterminism(t *testing.T) {
	for _, c := range []struct {
		kind  Kind
		count int
		want  string
	}{
		{Small, 300, "897194e9bbd19e75"},
		{Tiny, 300, "af4970deb188263f"},
		{Huge, 300, "af4970deb188263f"}, // tiny, but for the count,
		{Big, 2, "92b0b45a99286bd5"},
		{One, 1, "ab5550e2865212f7"},
		{Wide, 300, "75ea18e21588366c"},
		{Deep, 60, "20900e9aad0a86c4"},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			s := spec(t, c.kind, c.count)
			for range 2 {
				dir := t.TempDir()
				got, reused, err := Ensure(t.Context(), dir, s)
				if err != nil || reused {
					t.Fatalf("Ensure: %v, reused %v", err, reused)
				}
				print, sum := fingerprint(t, dir)
				if print != c.want {
					t.Errorf("fingerprint %s, want %s", print, c.want)
				}
				if got != sum || got.Files != c.count {
					t.Errorf("totals %v, on disk %v", got, sum)
				}
			}
			dir := t.TempDir()
			s.Seed++
			if _, _, err := Ensure(t.Context(), dir, s); err != nil {
				t.Fatal(err)
			}
			if print, _ := fingerprint(t, dir); print == c.want {
				t.Error("another seed gave the same tree")
			}
		})
	}
}

func TestShapeOfSmall(t *testing.T) {
	s := spec(t, Small, 50_000)
	var files, dirs, empty, below, bytes int
	for d := range plan(s) {
		dirs++
		rnd := stream(s.Seed, d.index)
		var f filePlan
		for i := range d.files {
			f.next(s, rnd, i)
			files++
			bytes += int(f.size)
			if f.size == 0 {
				empty++
			}
			if f.size < sizeMedian {
				below++
			}
		}
	}
	for _, c := range []struct {
		what      string
		got       float64
		low, high float64
	}{
		{"files a directory", float64(files) / float64(dirs), 8.5, 9.5},
		{"share of empty files", float64(empty) / float64(files), 0.018, 0.022},
		{"share below the median", float64(below) / float64(files), 0.50, 0.52},
		{"mean size", float64(bytes) / float64(files), 13_500, 16_500},
	} {
		if c.got < c.low || c.got > c.high {
			t.Errorf("%s: %g, want %g to %g", c.what, c.got, c.low, c.high)
		}
	}
}

func TestEnsureKeepsAndReplaces(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	ten, five := spec(t, Tiny, 10), spec(t, Tiny, 5)
	for i, c := range []struct {
		spec   Spec
		reused bool
	}{{ten, false}, {ten, true}, {five, false}, {ten, false}} {
		got, reused, err := Ensure(t.Context(), dir, c.spec)
		if err != nil || reused != c.reused || got.Files != c.spec.Count {
			t.Errorf("step %d: %v, reused %v, %v", i, got, reused, err)
		}
		if _, sum := fingerprint(t, dir); sum != got {
			t.Errorf("step %d: totals %v, on disk %v", i, got, sum)
		}
	}
}

func TestEnsureRefusesForeignFolders(t *testing.T) {
	for name, file := range map[string]string{"no marker": "precious", "foreign marker": Marker} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			own := filepath.Join(dir, file)
			if err := os.WriteFile(own, []byte("mine"), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, _, err := Ensure(t.Context(), dir, spec(t, Tiny, 3)); !errors.Is(err, ErrForeign) {
				t.Errorf("got %v, want ErrForeign", err)
			}
			if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
				t.Errorf("folder was touched: %v, %v", list, err)
			}
			if b, err := os.ReadFile(own); err != nil || string(b) != "mine" {
				t.Errorf("file was touched: %q, %v", b, err)
			}
		})
	}
}

func TestInterruptedTreeIsNotReused(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	s := spec(t, Small, 50)
	if _, _, err := Ensure(ctx, dir, s); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	if _, reused, err := Ensure(t.Context(), dir, s); err != nil || reused {
		t.Errorf("second Ensure: reused %v, %v", reused, err)
	}
}

func TestBadSpec(t *testing.T) {
	if _, err := Default("vast"); err == nil {
		t.Error("an unknown kind was accepted")
	}
	for _, s := range []Spec{{}, {Revision: Revision, Kind: Small}, {Revision: Revision + 1, Kind: Tiny, Count: 1}} {
		dir := filepath.Join(t.TempDir(), "x")
		if _, _, err := Ensure(t.Context(), dir, s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%+v left a folder", s)
		}
	}
}
