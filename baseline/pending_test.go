package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/scanner/digest"
)

// explains is what explains one of the changes of savePending.
func explains(c *diff.Change) []byte {
	if c.Path == "/etc/passwd" {
		return []byte("why\x00")
	}
	return nil
}

func savePending(t *testing.T, s *Store, report string) digest.Digest {
	t.Helper()
	now := small()
	now.file("/etc/passwd", 99)
	now.file("/etc/n\new", 1)
	now.remove("/usr/bin/ls")
	m, _, _ := compare(t, open(t, s), now)
	seen := time.Unix(5, 7).UTC()
	h := PendingHeader{Generation: 1, Root: open(t, s).Root(), Report: report, Created: testNote.Created}
	d, err := s.SavePending(context.Background(), h, func(yield func(PendingChange, error) bool) {
		for _, c := range m.sorted() {
			if !yield(PendingChange{Change: c, FirstSeen: seen, Explained: explains(c)}, nil) {
				return
			}
		}
	}, []PendingRow{{diff.RowChange{Kind: "mount", Key: []byte("/x"), New: []byte{}}, seen, []byte("why")}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPendingRoundTrip(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	d := savePending(t, s, "r1")
	p, err := s.OpenPending(d)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Header.Report != "r1" || p.Header.Generation != 1 || p.Header.Created != testNote.Created {
		t.Fatalf("header %+v", p.Header)
	}
	var list []*diff.Change
	for c, err := range p.Changes() {
		if err != nil || !c.FirstSeen.Equal(time.Unix(5, 7)) {
			t.Fatalf("%v %v", c.FirstSeen, err)
		}
		if string(c.Explained) != string(explains(c.Change)) || (c.Explained == nil) != (explains(c.Change) == nil) {
			t.Errorf("%s: explained by %q", c.Path, c.Explained)
		}
		list = append(list, c.Change)
	}
	equalLines(t, (&memSpool{list: list}).lines(), []string{"added /etc/n\new", "changed /etc/passwd", "removed /usr/bin/ls"})
	rows, err := p.Rows()
	want := []PendingRow{{diff.RowChange{Kind: "mount", Key: []byte("/x"), New: []byte{}}, time.Unix(5, 7).UTC(), []byte("why")}}
	if err != nil || !reflect.DeepEqual(rows, want) {
		t.Fatalf("rows %+v %v", rows, err)
	}
	// What waited can be taken over.
	if _, err := open(t, s).Apply(context.Background(), s, seqOf(list), nil, testNote); err != nil {
		t.Fatal(err)
	}
}

// An explanation that no change follows is not passed over.
func TestPendingExplainsNothing(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	for _, twice := range []bool{false, true} {
		w, err := s.NewPending(PendingHeader{Generation: 1, Root: open(t, s).Root(), Report: "r", Created: testNote.Created})
		if err != nil {
			t.Fatal(err)
		}
		w.Explain([]byte("why"))
		if twice {
			w.Explain([]byte("and why"))
			w.Add(&diff.Change{Kind: diff.Removed, Path: "/x"}, time.Time{})
		}
		d, err := w.Commit(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.OpenPending(d)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		var last error
		for _, err := range p.Encoded() {
			last = err
		}
		if !errors.Is(last, ErrDamaged) {
			t.Errorf("twice %v: %v", twice, last)
		}
	}
}

// A set of the format before, in which no row is explained, is read.
func TestPendingOlder(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	b := slurp(t, s.path(pendingDir, savePending(t, s, "r").String()))
	b = bytes.Replace(b, []byte(pendingMagic), []byte(pendingOlder), 1)
	d := digest.Sum(b)
	if err := os.WriteFile(s.path(pendingDir, d.String()), b, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := s.OpenPending(d)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if rows, err := p.Rows(); err != nil || len(rows) != 1 {
		t.Error(rows, err)
	}
}

func TestPendingRefused(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	d := savePending(t, s, "r")
	name := s.path(pendingDir, d.String())
	good := slurp(t, name)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		rewrite(t, name, bad)
		if _, err := s.OpenPending(d); !errors.Is(err, ErrDamaged) {
			t.Fatalf("flipped byte %d: %v", i, err)
		}
		// Under its own digest it must be refused or readable, never a panic.
		readPending(t, s, bad)
	}
	for _, n := range []int{0, 1, len(pendingMagic), len(good) / 2, len(good) - 1} {
		rewrite(t, name, good[:n])
		if _, err := s.OpenPending(d); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if readPending(t, s, good[:n]) == nil {
			t.Fatalf("cut at %d is read to its end", n)
		}
	}
	rewrite(t, name, good)
	if _, err := s.OpenPending(digest.Digest{}); !errors.Is(err, ErrNoPending) {
		t.Errorf("no such set: %v", err)
	}
	rewrite(t, s.path(hostFile), Host{ID: "0123456789abcdef0123456789abcdef", Epoch: 1}.text())
	if _, err := s.OpenPending(d); !errors.Is(err, ErrForeign) {
		t.Errorf("another host: %v", err)
	}
}

// readPending reads b as a set named by its own digest, to the end.
func readPending(t *testing.T, s *Store, b []byte) error {
	t.Helper()
	d := digest.Sum(b)
	rewrite(t, s.path(pendingDir, d.String()), b)
	defer os.Remove(s.path(pendingDir, d.String()))
	p, err := s.OpenPending(d)
	if err != nil {
		return err
	}
	defer p.Close()
	for _, e := range p.Changes() {
		if e != nil {
			err = e
		}
	}
	if _, e := p.Rows(); e != nil {
		err = e
	}
	return err
}

func TestPendingChangedWhileRead(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	d := savePending(t, s, "r")
	p, err := s.OpenPending(d)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	f, err := os.OpenFile(s.path(pendingDir, d.String()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{'7'}, int64(bytes.IndexByte(slurp(t, f.Name()), 'r'))+200); err != nil {
		t.Fatal(err)
	}
	err = nil
	for _, e := range p.Changes() {
		err = e
	}
	if !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
}

// TestPendingPrunedBySize: a few large sets count as many.
func TestPendingPrunedBySize(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	plant := func(id byte, size int64) {
		t.Helper()
		name := s.path(pendingDir, digest.Digest{id}.String())
		at := time.Unix(int64(1000-int(id)), 0) // the higher the older
		if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, size), os.Chtimes(name, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() (ids []byte) {
		for id := byte(1); id < 9; id++ {
			if _, err := os.Stat(s.path(pendingDir, digest.Digest{id}.String())); err == nil {
				ids = append(ids, id)
			}
		}
		return ids
	}
	plant(1, maxPending/2)
	plant(2, maxPending/4)
	plant(3, maxPending/4)
	plant(4, 1)
	savePending(t, s, "r")
	if got := kept(); !slices.Equal(got, []byte{1, 2}) {
		t.Errorf("kept %v, want the newest that fit with the new one", got)
	}
	plant(8, 2*maxPending)
	s.prunePending(digest.Digest{8})
	if got := kept(); !slices.Equal(got, []byte{8}) {
		t.Errorf("kept %v, want the one just written alone", got)
	}
}

func TestPendingPruned(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	var last digest.Digest
	for i := range keepPending + 5 {
		last = savePending(t, s, fmt.Sprint(i))
	}
	list, err := os.ReadDir(s.path(pendingDir))
	if err != nil || len(list) != keepPending {
		t.Fatalf("%d sets are kept: %v", len(list), err)
	}
	if p, err := s.OpenPending(last); err != nil {
		t.Error(err)
	} else {
		p.Close()
	}
}
