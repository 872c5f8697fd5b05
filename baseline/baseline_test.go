package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"intact/baseline/statement"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

func TestRoundTrip(t *testing.T) {
	s := newStore(t)
	if _, err := s.Open(context.Background(), 0); !errors.Is(err, ErrNoBaseline) {
		t.Fatalf("open of an empty store: %v", err)
	}
	model := small()
	st := commit(t, s, model, scanner.Gap{Path: "/root/x", Reason: "b"}, scanner.Gap{Path: "/root/x", Reason: "a"})
	g := open(t, s)
	if st.Entries != int64(len(model)) || st.Generation != 1 || g.Root() != st.Root {
		t.Fatalf("statement %s", st.Text())
	}
	if !bytes.Equal(g.Policy(), testPolicy) || !slices.Equal(g.Sets(), testSets) {
		t.Fatal("policy or sets differ")
	}
	rows, err := g.Rows(KindGap)
	if err != nil || len(rows) != 1 || string(rows[0].Key) != "\x00root\x00x" || string(rows[0].Value) != "a" {
		t.Fatalf("gaps %v %v", rows, err)
	}
	n := 0
	for b, err := range g.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Entries {
			n++
			want := model[b.Dir.Join(e.Name)]
			if string(e.Name) != string(want.Name) || entry.Differ(&e, &want, entry.All|entry.Btime) != 0 {
				t.Errorf("%q: got %+v, want %+v", b.Dir.Join(e.Name), e, want)
			}
		}
	}
	if n != len(model) {
		t.Fatalf("%d entries, want %d", n, len(model))
	}
	for p, want := range model {
		got, set, ok := g.Lookup(p)
		if !ok || set != testSets[want.Set] || entry.Differ(got, &want, entry.All) != 0 {
			t.Errorf("lookup of %q: %v %v", p, got, ok)
		}
	}
	for _, p := range []entry.Path{"/no", "/etc/passwd/x", "/empty/x", "/usr/bin/zz"} {
		if _, _, ok := g.Lookup(p); ok {
			t.Errorf("lookup of %q found something", p)
		}
	}
	if v, ok := g.Dir(entry.Path("/etc").Key(), 0); !ok || v.Verify() != nil {
		t.Error("Prior does not find /etc")
	}
	if _, ok := g.Dir(entry.Path("/empty").Key(), 0); ok {
		t.Error("an empty directory is stored")
	}
}

func TestRootIndependentOfOrder(t *testing.T) {
	a, b := newStore(t), newStore(t)
	if x, y := commit(t, a, small()), commit(t, b, small()); x.Root != y.Root {
		t.Fatal("two builds of one tree differ in their root")
	}
}

func TestGenerationsFollow(t *testing.T) {
	s := newStore(t)
	first := commit(t, s, small())
	second := commit(t, s, small())
	if second.Generation != 2 || second.Previous != first.Digest() || second.Root != first.Root {
		t.Fatalf("second statement:\n%s", second.Text())
	}
	infos, err := s.List()
	if err != nil || len(infos) != 2 || infos[0].Err != nil || infos[1].Err != nil || !infos[0].Present {
		t.Fatalf("%+v %v", infos, err)
	}
	if bad, err := s.Verify(context.Background(), 1); err != nil || len(bad) > 0 {
		t.Fatalf("verify: %v %v", bad, err)
	}
	os.Remove(s.statementPath(1))
	if _, err := s.Open(context.Background(), 2); !errors.Is(err, ErrDamaged) {
		t.Fatalf("open with a broken chain: %v", err)
	}
	if bad, _ := s.Verify(context.Background(), 2); len(bad) == 0 {
		t.Fatal("verify does not see the broken chain")
	}
}

// TestFirstFormat: what a development version wrote is not read, and not called
// damaged either.
func TestFirstFormat(t *testing.T) {
	s := newStore(t)
	w, err := newFileWriter(s.tempName(), largeFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range [][2]string{{metaFormat, firstFormat}, {metaPolicy, string(testPolicy)}, {metaSets, string(encodeSets(testSets))}} {
		if err := w.put(bucketMeta, []byte(m[0]), []byte(m[1])); err != nil {
			t.Fatal(err)
		}
	}
	out, err := w.finish(context.Background())
	if err == nil {
		_, err = s.publish(context.Background(), out, digest.Sum(testPolicy), testNote, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Open(context.Background(), 0)
	refused := func(what string, err error) {
		if !errors.Is(err, ErrFormat) || !errors.Is(err, ErrForeign) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "run intact init") {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("generation", err)
	commit(t, s, small())
	open(t, s)
	text := bytes.Replace(exported(t, s), []byte(fileFormat), []byte(firstFormat), 1)
	_, err = ReadExport(context.Background(), bytes.NewReader(text), ExportSink{})
	refused("export", err)
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, s *Store)
		want  error
	}{
		{"file-gone", func(t *testing.T, s *Store) { os.Remove(s.dbPath(2)) }, ErrDamaged},
		{"file-empty", func(t *testing.T, s *Store) { rewrite(t, s.dbPath(2), nil) }, ErrDamaged},
		{"file-cut", func(t *testing.T, s *Store) { b := slurp(t, s.dbPath(2)); rewrite(t, s.dbPath(2), b[:len(b)/2]) }, ErrDamaged},
		{"file-longer", func(t *testing.T, s *Store) { rewrite(t, s.dbPath(2), append(slurp(t, s.dbPath(2)), 0)) }, ErrDamaged},
		{"file-swapped", func(t *testing.T, s *Store) { rewrite(t, s.dbPath(2), slurp(t, s.dbPath(1))) }, ErrDamaged},
		{"file-is-folder", func(t *testing.T, s *Store) { os.Remove(s.dbPath(2)); os.Mkdir(s.dbPath(2), 0o700) }, ErrDamaged},
		{"file-is-link", func(t *testing.T, s *Store) {
			os.Rename(s.dbPath(2), s.dbPath(2)+"x")
			os.Symlink(s.dbPath(2)+"x", s.dbPath(2))
		}, ErrDamaged},
		{"statement-swapped", func(t *testing.T, s *Store) { rewrite(t, s.statementPath(2), slurp(t, s.statementPath(1))) }, ErrDamaged},
		{"statement-empty", func(t *testing.T, s *Store) { rewrite(t, s.statementPath(2), nil) }, ErrDamaged},
		{"both-swapped", func(t *testing.T, s *Store) {
			rewrite(t, s.statementPath(2), slurp(t, s.statementPath(1)))
			rewrite(t, s.dbPath(2), slurp(t, s.dbPath(1)))
		}, ErrDamaged},
		{"host-gone", func(t *testing.T, s *Store) { os.Remove(s.path(hostFile)) }, ErrDamaged},
		{"host-other", func(t *testing.T, s *Store) {
			rewrite(t, s.path(hostFile), Host{ID: "0123456789abcdef0123456789abcdef", Epoch: 1}.text())
		}, ErrForeign},
		{"host-garbage", func(t *testing.T, s *Store) { rewrite(t, s.path(hostFile), []byte("x")) }, ErrDamaged},
		{"statements-gone", func(t *testing.T, s *Store) { os.Remove(s.statementPath(1)); os.Remove(s.statementPath(2)) }, ErrDamaged},
		{"all-gone", func(t *testing.T, s *Store) { os.RemoveAll(s.path(baselineDir)) }, ErrNoBaseline},
		{"other-policy", func(t *testing.T, s *Store) {
			edit(t, s, func(st *statement.Statement) { st.Policy[0]++ })
		}, ErrDamaged},
		{"other-root", func(t *testing.T, s *Store) { edit(t, s, func(st *statement.Statement) { st.Root[0]++ }) }, ErrDamaged},
		{"other-count", func(t *testing.T, s *Store) { edit(t, s, func(st *statement.Statement) { st.Entries++ }) }, ErrDamaged},
		{"other-number", func(t *testing.T, s *Store) { edit(t, s, func(st *statement.Statement) { st.Generation = 3 }) }, ErrDamaged},
		{"other-previous", func(t *testing.T, s *Store) { edit(t, s, func(st *statement.Statement) { st.Previous[3]++ }) }, ErrDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			commit(t, s, small())
			more := small()
			more.file("/new", 9)
			commit(t, s, more)
			tt.spoil(t, s)
			g, err := s.Open(context.Background(), 0)
			if err == nil {
				g.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err := s.Init(Machine{}); tt.name == "host-gone" && !errors.Is(err, ErrDamaged) {
				t.Errorf("init made another host id: %v", err)
			}
		})
	}
}

// edit changes the newest statement and gives it a right digest.
func edit(t *testing.T, s *Store, change func(*statement.Statement)) {
	t.Helper()
	st, err := statement.Parse(slurp(t, s.statementPath(2)))
	if err != nil {
		t.Fatal(err)
	}
	change(st)
	rewrite(t, s.statementPath(2), st.Text())
}

func slurp(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rewrite replaces a read-only file.
func rewrite(t testing.TB, name string, b []byte) {
	t.Helper()
	os.Remove(name)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFlippedBytes(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	for _, f := range []struct {
		name string
		step int
	}{{s.dbPath(1), 97}, {s.statementPath(1), 1}, {s.path(hostFile), 1}} {
		good := slurp(t, f.name)
		for i := 0; i < len(good); i += f.step {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			rewrite(t, f.name, bad)
			if g, err := s.Open(context.Background(), 0); err == nil {
				g.Close()
				t.Fatalf("%s: flipped byte %d is not noticed", f.name, i)
			} else if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) {
				t.Fatalf("%s: byte %d: %v", f.name, i, err)
			}
		}
		rewrite(t, f.name, good)
	}
	open(t, s)
}

// TestHostilePages gives files to bbolt whose digest is right and whose pages
// are not: whoever can write the state folder can write the statement too.
func TestHostilePages(t *testing.T) {
	s := newStore(t)
	model := small()
	for i := range 300 {
		model.file(entry.Path("/d"+strings.Repeat("x", i%50)+"/f").Join([]byte{byte('a' + i%26)}), i)
	}
	commit(t, s, model)
	good := slurp(t, s.dbPath(1))
	st, err := statement.Parse(slurp(t, s.statementPath(1)))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := 0; i < len(good); i += 31 {
		bad := bytes.Clone(good)
		bad[i] ^= byte(1 + i%255)
		f, err := os.CreateTemp(t.TempDir(), "")
		if err == nil {
			_, err = f.Write(bad)
		}
		if err != nil {
			t.Fatal(err)
		}
		g, err := openGeneration(context.Background(), f, st)
		if err == nil {
			g.Close() // the byte is in a free page
			continue
		}
		refused++
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	if refused < 50 {
		t.Fatalf("only %d refused", refused)
	}
}

// TestPageCycle makes a page its own child: bbolt itself would recurse until
// the process dies.
func TestPageCycle(t *testing.T) {
	s := newStore(t)
	model := small()
	for i := range 2000 {
		model.file(entry.Path(fmt.Sprintf("/d%04d/f", i)), i)
	}
	commit(t, s, model)
	good := slurp(t, s.dbPath(1))
	st, err := statement.Parse(slurp(t, s.statementPath(1)))
	if err != nil {
		t.Fatal(err)
	}
	cycles := 0
	for id := 2; id < len(good)/smallPage; id++ {
		page := good[id*smallPage:]
		if native.Uint16(page[8:]) != branchPage || native.Uint64(page) != uint64(id) {
			continue
		}
		bad := bytes.Clone(good)
		native.PutUint64(bad[id*smallPage+pageHead+8:], uint64(id))
		name := t.TempDir() + "/cycle"
		rewrite(t, name, bad)
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		g, err := openGeneration(context.Background(), f, st)
		if err == nil {
			g.Close() // a free page
		} else if cycles++; !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	}
	if cycles == 0 {
		t.Fatal("no branch page in the file")
	}
}

func TestStatementText(t *testing.T) {
	s := newStore(t)
	st := commit(t, s, small())
	again, err := statement.Parse(st.Text())
	if err != nil || !reflect.DeepEqual(st, again) {
		t.Fatalf("%v\n%+v\n%+v", err, st, again)
	}
	if strings.ContainsAny(string(st.Text()), "\x1b") {
		t.Fatal("a control byte in the text")
	}
}

func TestStoreErrors(t *testing.T) {
	file := t.TempDir() + "/f"
	rewrite(t, file, nil)
	if _, err := OpenStore(file); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file as state folder: %v", err)
	}
	s, err := OpenStore(t.TempDir() + "/none")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Latest(); n != 0 || err != nil {
		t.Errorf("latest of nothing: %d %v", n, err)
	}
	if _, err := os.Stat(s.Dir()); err == nil {
		t.Error("OpenStore made the folder")
	}
	if _, err := s.Lock("check"); err == nil {
		t.Error("lock without a folder")
	}
}

func cut(t testing.TB, name string) {
	t.Helper()
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
}

// noLeftovers checks that no unfinished file is left in the folders.
func noLeftovers(t *testing.T, s *Store) {
	t.Helper()
	for _, d := range []string{s.dir, s.path(baselineDir), s.path(pendingDir)} {
		list, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if strings.HasSuffix(e.Name(), tempSuffix) {
				t.Errorf("%q is left", e.Name())
			}
		}
	}
}
