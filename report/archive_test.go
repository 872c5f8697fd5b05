package report

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func store(t *testing.T, a *Archive, id string) Stored {
	t.Helper()
	at, err := a.Next(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d, err := a.Create(at, KindCheck)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	h := header()
	h.ID, h.Seq, h.Prev, h.Checkpoint = id, at.Seq, at.Prev, at.Checkpoint
	w := NewWriter(d)
	w.Header(h)
	if err := w.Trailer(trailer(Clean, 0, Counts{})); err != nil {
		t.Fatal(err)
	}
	if err := Text(io.Discard, d, TextOptions{}); err != nil {
		t.Errorf("text of a draft: %v", err)
	}
	s, err := d.Commit([]byte("signature of " + id))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestArchive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "reports")
	a := OpenArchive(dir, 0, 0)
	if _, err := a.Last(); !errors.Is(err, ErrNoReport) {
		t.Errorf("last of nothing: %v", err)
	}
	first := store(t, a, "aaaa-1")
	if filepath.Base(first.Path) != "0000000001-check.jsonl" {
		t.Errorf("path %s", first.Path)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", fi.Mode(), err)
	}
	if fi, err := os.Stat(first.Path); err != nil || fi.Mode().Perm() != 0o600 || fi.Size() != first.Size {
		t.Errorf("file: %v, %v", fi.Mode(), err)
	}
	body, _ := os.ReadFile(first.Path)
	if at, err := a.Next(time.Now()); at.Seq != 2 || at.Prev != fmt.Sprintf("sha256:%x", sha256.Sum256(body)) || err != nil {
		t.Errorf("next: %v, %v", at, err)
	}
	store(t, a, "aaaa-2")
	store(t, a, "bbbb-3")
	for _, c := range []struct {
		ref string
		seq uint64
		err error
	}{
		{"", 3, nil}, {"2", 2, nil}, {"aaaa-1", 1, nil}, {"bbbb", 3, nil}, {"bbb", 0, ErrNoReport},
		{"aaaa", 0, ErrAmbiguous}, {"4", 0, ErrNoReport}, {"../x", 0, ErrNoReport},
	} {
		s, err := a.Get(c.ref)
		if s.Seq != c.seq || !errors.Is(err, c.err) {
			t.Errorf("get %q: %d, %v; want %d, %v", c.ref, s.Seq, err, c.seq, c.err)
		}
	}
}

func TestArchivePassesOverStrangers(t *testing.T) {
	dir := t.TempDir()
	a := OpenArchive(dir, 0, 0)
	want := store(t, a, "x")
	for _, n := range []string{"0000000000-check.jsonl", "9-check.jsonl", "0000000009-check.json", "-check.jsonl", "0000000007-check.jsonl.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "0000000008-check.jsonl")); err != nil {
		t.Fatal(err)
	}
	list, err := a.List()
	if err != nil || len(list) != 1 || list[0] != want {
		t.Errorf("got %v, %v", list, err)
	}
	if _, err := (Stored{Path: filepath.Join(dir, "0000000008-check.jsonl")}).Open(); err == nil {
		t.Error("a link was followed")
	}
}

func TestArchiveDrafts(t *testing.T) {
	dir := t.TempDir()
	a := OpenArchive(dir, 0, 0)
	if _, err := a.Create(Place{Seq: 1}, KindCheck); err != nil { // as if killed here
		t.Fatal(err)
	}
	if list, _ := a.List(); len(list) != 0 {
		t.Errorf("a draft is listed: %v", list)
	}
	d, err := a.Create(Place{Seq: 1}, KindInit)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Abort(); err != nil {
		t.Error(err)
	}
	if des, _ := os.ReadDir(dir); len(des) != 0 {
		t.Errorf("left behind: %v", des)
	}
	store(t, a, "x")
	d, err = a.Create(Place{Seq: 1}, KindInit)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	if _, err := d.Commit(nil); !errors.Is(err, ErrSeqTaken) {
		t.Errorf("number taken twice: %v", err)
	}
}

func TestArchiveRetention(t *testing.T) {
	a := OpenArchive(t.TempDir(), 0, 0)
	a.count = 3
	var size int64
	for i := range 6 {
		size = store(t, a, fmt.Sprint(i)).Size
	}
	list, _ := a.List()
	if len(list) != 3 || list[0].Seq != 4 {
		t.Errorf("by count: %v", list)
	}
	a.bytes = 2*size + size/2
	store(t, a, "x")
	if list, _ = a.List(); len(list) != 3 || list[2].Seq != 7 {
		t.Errorf("by size: %v", list)
	}
	a.bytes = 1
	store(t, a, "y")
	if list, _ = a.List(); len(list) != 2 || list[1].Seq != 8 {
		t.Errorf("the newest and the one before: %v", list)
	}
	a.bytes, a.age = 1<<30, time.Hour
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(list[0].Path, old, old); err != nil {
		t.Fatal(err)
	}
	store(t, a, "z")
	if list, _ = a.List(); len(list) != 2 || list[0].Seq != 8 {
		t.Errorf("by age: %v", list)
	}
	if h, err := list[1].Header(); err != nil || h.Checkpoint.Seq != 7 {
		t.Errorf("checkpoint %v, %v", h.Checkpoint, err)
	}
	if des, _ := os.ReadDir(a.dir); len(des) != 4 {
		t.Errorf("left: %v", des)
	}
}
