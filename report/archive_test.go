package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func store(t *testing.T, a *Archive, id string) Stored { return storeAt(t, a, id, time.Now()) }

func storeAt(t *testing.T, a *Archive, id string, started time.Time) Stored {
	t.Helper()
	at, err := a.Next(context.Background(), started, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := a.Create(at, KindCheck)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	h := header()
	h.ID, h.Seq, h.Prev, h.Checkpoint, h.Started = id, at.Seq, at.Prev, at.Checkpoint, started.UTC()
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
	if at, err := a.Next(context.Background(), time.Now(), nil); at.Seq != 2 || at.Prev != fmt.Sprintf("sha256:%x", sha256.Sum256(body)) || err != nil {
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
	if h, err := list[1].Header(); err != nil || h.Checkpoint.Seq != 6 {
		t.Errorf("checkpoint %v, %v", h.Checkpoint, err)
	}
	if des, _ := os.ReadDir(a.dir); len(des) != 4 {
		t.Errorf("left: %v", des)
	}
}

// first is the number of the first report of an archive.
func first(t *testing.T, a *Archive) uint64 {
	t.Helper()
	list, err := a.List()
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	return list[0].Seq
}

// What is old is told by what is signed, and a clock that was set makes nothing
// old.
func TestArchiveRetentionByAge(t *testing.T) {
	a := OpenArchive(t.TempDir(), 0, 8)
	now := time.Now()
	for i := range 9 {
		storeAt(t, a, fmt.Sprint(i), now)
		now = now.Add(23 * time.Hour)
	}
	old := now.Add(-20 * 365 * 24 * time.Hour)
	list, _ := a.List()
	for _, s := range list {
		if err := os.Chtimes(s.Path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the clock jumps, and stays there
		storeAt(t, a, "jump", now.Add(50*365*24*time.Hour))
	}
	if n := first(t, a); n > 2 {
		t.Errorf("after a jump the first is %d", n)
	}
	storeAt(t, a, "back", now)
	for range 3 {
		now = now.Add(24 * time.Hour)
		storeAt(t, a, "on", now)
	}
	if n := first(t, a); n != 5 {
		t.Errorf("by age: the first is %d", n)
	}
	list, _ = a.List()
	if h, err := list[len(list)-1].Header(); err != nil || h.Checkpoint.Seq != 4 {
		t.Errorf("checkpoint %v, %v", h.Checkpoint, err)
	}
}

// A report that is not what was written is no reason to delete others.
func TestArchiveRetentionOfEdited(t *testing.T) {
	grow := func(name string) error { return os.Truncate(name, 1<<30) }
	forge := func(name string) error { // signed by nobody: all before it is to go
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(name, bytes.Replace(b, []byte(`"checkpoint":{"seq":1,`), []byte(`"checkpoint":{"seq":4,`), 1), 0o600)
	}
	for _, c := range []struct {
		name string
		seq  uint64
		do   func(string) error
	}{
		{"newest-grown", 5, grow}, {"middle-grown", 4, grow}, {"first-grown", 2, grow}, {"removed", 4, os.Remove},
		{"emptied", 3, func(n string) error { return os.Truncate(n, 0) }}, {"newest-forged", 5, forge},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := chained(t, 5, 4)
			if n := first(t, a); n != 2 {
				t.Fatalf("the first is %d", n)
			}
			if err := c.do(filepath.Join(a.dir, fileName(c.seq, KindCheck))); err != nil {
				t.Fatal(err)
			}
			a.bytes, a.count = 1<<29, 3
			at, err := a.Next(context.Background(), time.Now(), judgeSealed)
			if err != nil || at.Kept == nil || at.Pruned != 0 || at.Checkpoint.Seq > 1 {
				t.Errorf("%+v, %v", at, err)
			}
		})
	}
	a := chained(t, 5, 4)
	if at, err := a.Next(context.Background(), time.Now(), judgeSealed); err != nil || at.Kept != nil || at.Pruned != 1 || at.Checkpoint.Seq != 2 {
		t.Errorf("whole: %+v, %v", at, err)
	}
}

// Names that somebody made up do not end the numbers, and no report is too
// large to be passed over.
func TestArchiveMadeUp(t *testing.T) {
	a := chained(t, 2, 9)
	for _, n := range []string{"9223372036854775807", "4611686018427387904", "4611686018427387903"} {
		if err := os.WriteFile(filepath.Join(a.dir, n+"-check.jsonl"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(a.dir, "0000000007-\x1b[31m.jsonl"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := a.Next(context.Background(), time.Now(), judgeSealed)
	if err != nil || at.Seq != 3 || at.Prev == "" {
		t.Errorf("%+v, %v", at, err)
	}
	if err := os.Truncate(filepath.Join(a.dir, fileName(2, KindCheck)), 3<<40); err != nil {
		t.Skip(err) // a file system that has no such files
	}
	at, err = a.Next(context.Background(), time.Now(), judgeSealed)
	if err != nil || at.Seq != 3 || at.Prev != "" {
		t.Errorf("too large: %+v, %v", at, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.Next(ctx, time.Now(), judgeSealed); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// Nobody writes to what lies where the signature is to be.
func TestDraftPutsSignature(t *testing.T) {
	a := OpenArchive(t.TempDir(), 0, 0)
	d, err := a.Create(Place{Seq: 1}, KindCheck)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	name := filepath.Join(a.dir, draftName(fileName(1, KindCheck)+sigSuffix))
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := d.Commit([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := s.Signature(); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}

// Reports of a watcher, which come every few minutes, push no others out.
func TestArchiveRetentionOfWatch(t *testing.T) {
	a := OpenArchive(t.TempDir(), 3, 0)
	var k kept
	for range 2 {
		k.add(Stored{Kind: KindCheck})
	}
	for range 3*watchShare - 1 {
		k.add(Stored{Kind: KindWatch})
	}
	if k.full(a) {
		t.Errorf("%+v is too many", k)
	}
	k.add(Stored{Kind: KindWatch})
	if !k.full(a) {
		t.Errorf("%+v is not", k)
	}
	k.watch = 0
	if k.add(Stored{Kind: KindCheck}); !k.full(a) {
		t.Errorf("%+v is not", k)
	}
}
