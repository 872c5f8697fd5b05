package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"intact/scanner/entry"
)

func keepStore(t *testing.T, n int) (*Store, tree) {
	t.Helper()
	s, m := newStore(t), small()
	for i := range n {
		m.file(entry.Path(fmt.Sprintf("/d%02d/f%d", i%40, i)), i)
	}
	commit(t, s, m)
	return s, m
}

func keptBy(t *testing.T, k *Keeper, s *Store) *Generation {
	t.Helper()
	g, err := k.Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestKeeper(t *testing.T) {
	s, m := keepStore(t, 300)
	var k Keeper
	defer k.Close()
	g := keptBy(t, &k, s)
	if err := g.Close(); err != nil || keptBy(t, &k, s) != g {
		t.Fatal("it is opened anew")
	}
	k.Rest()
	for p, want := range m {
		if got, _, ok := g.Lookup(p); !ok || entry.Differ(got, &want, entry.All) != 0 {
			t.Errorf("%q: %v", p, got)
		}
	}
	for _, p := range []entry.Path{"/no", "/d00/f", "/d00/f0/x", "/zz/zz"} {
		if _, _, ok := g.Lookup(p); ok || g.Covers(p) {
			t.Errorf("%q is there", p)
		}
	}
	if !g.Covers("/d00") || g.Err() != nil {
		t.Error(g.Err())
	}
	n := 0
	for _, err := range g.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n < 40 {
		t.Errorf("%d directories", n)
	}

	m.file("/new", 7)
	commit(t, s, m)
	next := keptBy(t, &k, s)
	if _, _, ok := next.Lookup("/new"); !ok || next == g {
		t.Error("the next generation is not seen")
	}
	name := s.dbPath(2)
	if err := os.Rename(name, name+".old"); err != nil {
		t.Fatal(err)
	}
	rewrite(t, name, slurp(t, name+".old"))
	if keptBy(t, &k, s) == next {
		t.Error("another file is taken for the one that was verified")
	}
	bad := slurp(t, name)
	bad[len(bad)/2] ^= 1
	rewrite(t, name, bad)
	if g, err := k.Open(context.Background(), s); !errors.Is(err, ErrDamaged) {
		t.Errorf("what was written into the file counts: %v %v", g, err)
	}
	rewrite(t, name, slurp(t, name+".old"))
	keptBy(t, &k, s)
	text := slurp(t, s.statementPath(2))
	rewrite(t, s.statementPath(2), bytes.Replace(text, []byte("reason"), []byte("Reason"), 1))
	if _, err := k.Open(context.Background(), s); err == nil {
		t.Error("what was written into the statement counts")
	}
}

// No byte of what is held can change without being noticed when it is used, even
// by who hides it from the times of the file.
func TestKeeperEveryFlip(t *testing.T) {
	s, _ := keepStore(t, 60)
	var k Keeper
	defer k.Close()
	g := keptBy(t, &k, s)
	all := func() (out []string, err error) {
		g.fault.Store(nil)
		for b, err := range g.Entries() {
			if err != nil {
				return nil, err
			}
			for i := range b.Entries {
				p := b.Dir.Join(b.Entries[i].Name)
				e, _, ok := g.Lookup(p)
				out = append(out, fmt.Sprintf("%q %v %+v", p, ok, e))
			}
		}
		_, gone, _ := g.Lookup("/d00/none")
		return append(out, fmt.Sprint(gone)), g.Err()
	}
	want, err := all()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.dbPath(1), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.dbPath(1), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	good, noticed, harmless := slurp(t, s.dbPath(1)), 0, 0
	for at := 0; at < len(good); at += 41 {
		page := good[at/smallPage*smallPage:]
		// Elsewhere bbolt may be led in circles, which ends the process: not in silence either.
		if native.Uint16(page[8:]) != leafPage || at%smallPage < pageHead+int(native.Uint16(page[10:]))*elemSize {
			continue
		}
		put := func(b byte) {
			if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		put(good[at] ^ byte(1+at%255))
		got, err := all()
		put(good[at])
		switch {
		case err != nil:
			noticed++
		case slices.Equal(got, want):
			harmless++ // nobody reads it
		default:
			t.Fatalf("byte %d changes what is read", at)
		}
		if g.dead {
			t.Fatal("the map is dead")
		}
	}
	if noticed < 50 {
		t.Errorf("%d noticed, %d harmless", noticed, harmless)
	}
	if got, err := all(); err != nil || !slices.Equal(got, want) {
		t.Errorf("put back: %v", err)
	}
}
