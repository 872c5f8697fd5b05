package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// odd is a tree with every attribute that an export must carry.
func odd() tree {
	t := small()
	t["/dev0"] = entry.Entry{Name: []byte("dev0"), Set: 1, Kind: entry.CharDevice, Have: entry.Type | entry.Mode, Rdev: 1 << 40, Mode: 0o4777}
	t["/link"] = entry.Entry{Name: []byte("link"), Kind: entry.Symlink, Have: entry.Applicable(entry.Symlink), Target: []byte("../\xff\n"), Label: []byte{},
		Mtime: entry.Time{Sec: -1 << 62, Nsec: 999999999}, Xattr: []entry.Xattr{{Name: []byte("user.\x01")}, {Name: []byte("user.a"), Size: 3, Value: digest.Sum([]byte("x"))}}}
	e := t["/vmlinuz"]
	e.ACL, e.Caps, e.Flags, e.Inode, e.Size, e.Hashed = []byte{2, 0}, []byte{1}, 0x10, 1<<64-1, 1<<62, 1<<62
	t["/vmlinuz"] = e
	log := t["/etc/passwd"]
	log.Set, log.Hashed = 1, 0
	t["/etc/passwd"] = log
	return t
}

func exported(tb testing.TB, s *Store) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := open(tb, s).Export(context.Background(), &b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestExportRoundTrip(t *testing.T) {
	s := newStore(t)
	st := commit(t, s, odd(), scanner.Gap{Path: "/x\ny", Reason: "io"})
	text := exported(t, s)
	for i, c := range text {
		if c != '\n' && (c < ' ' || c == 0x7f) {
			t.Fatalf("control byte %#x at %d", c, i)
		}
	}
	x, err := ReadExport(context.Background(), bytes.NewReader(text), ExportSink{})
	if err != nil {
		t.Fatal(err)
	}
	if x.Root != st.Root || !bytes.Equal(x.Policy, testPolicy) || x.Statement.Digest() != st.Digest() {
		t.Fatalf("%+v", x)
	}
	file := t.TempDir() + "/export"
	rewrite(t, file, text)
	dir := t.TempDir()
	g, err := OpenExport(context.Background(), dir, file)
	if err != nil {
		t.Fatal(err)
	}
	m, _, _ := compare(t, g, odd())
	equalLines(t, m.lines(), nil)
	var again bytes.Buffer
	if err := g.Export(context.Background(), &again); err != nil || !bytes.Equal(again.Bytes(), text) {
		t.Fatalf("a second export differs: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func TestExportRefused(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	good := exported(t, s)
	read := func(b []byte) error {
		_, err := ReadExport(context.Background(), bytes.NewReader(b), ExportSink{})
		return err
	}
	if err := read(good); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(good); i += 3 {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 7)
		if err := read(bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("flipped byte %d (%q): %v", i, good[max(0, i-20):i+1], err)
		}
	}
	for i := 0; i < len(good); i += 101 {
		if err := read(good[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	lines := strings.SplitAfter(string(good), "\n")
	for i := range lines {
		if lines[i] == "" {
			continue
		}
		without := strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "")
		twice := strings.Join(append(append([]string{}, lines[:i+1]...), lines[i:]...), "")
		if read([]byte(without)) == nil || read([]byte(twice)) == nil {
			t.Errorf("line %d may go or come twice", i+1)
		}
	}
	for _, tail := range []string{"\n", "{}\n", " "} {
		if read(append(bytes.Clone(good), tail...)) == nil {
			t.Errorf("text behind the trailer is taken: %q", tail)
		}
	}
}

// A short line must not take a lot of memory before it is refused.
func TestImportMemory(t *testing.T) {
	s := newStore(t)
	commit(t, s, small())
	head := strings.Join(strings.SplitAfter(string(exported(t, s)), "\n")[:3], "")
	sets := strings.Join(strings.SplitAfter(head, "\n")[:2], "")
	list := func(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	const pad = 1 << 20
	for name, text := range map[string]string{
		"entries":  head + `{"type":"dir","path":"/","entries":[` + list("{}", pad) + "]}\n",
		"not even": head + `{"type":"dir","path":"/","entries":[` + list("0", pad) + "]}\n",
		"have":     head + `{"type":"dir","path":"/","entries":[{"have":[` + list(`""`, pad) + "]}]}\n",
		"xattr":    head + `{"type":"dir","path":"/","entries":[{"xattr":[` + list("{}", pad) + "]}]}\n",
		"again":    head + `{"type":"dir","path":"/","entries":[{"xattr":[` + list("{}", pad/2) + `],"xattr":[` + list("[]", pad/2) + "]}]}\n",
		"nested":   head + `{"type":"dir","path":"/","entries":` + strings.Repeat("[", pad) + "\n",
		"sets":     sets + `{"type":"sets","sets":[` + list("{}", pad) + "]}\n",
		"escaped":  head + `{"type":"dir","path":"\"\\","entries":[` + list("{}", pad) + "]}\n",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ReadExport(context.Background(), strings.NewReader(text), ExportSink{})
		runtime.ReadMemStats(&after)
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; !errors.Is(err, ErrDamaged) || took > 40 {
			t.Errorf("%s: %d MiB for a line of %d, %v", name, took, len(text)>>20, err)
		}
	}
}

// The size of an export is only what its file says.
func TestImportSparse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "export")
	if err := os.WriteFile(file, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 4<<40); err != nil {
		t.Skip(err)
	}
	before := mapped(t)
	if _, err := OpenExport(context.Background(), t.TempDir(), file); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if got := mapped(t) - before; got > 64<<20 {
		t.Errorf("%d KiB were mapped", got)
	}
}

// mapped returns how much memory was mapped at most, in KiB.
func mapped(t *testing.T) (peak int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(l, "VmPeak: %d kB", &peak); err == nil {
			return peak
		}
	}
	t.Skip("no VmPeak")
	return 0
}

func FuzzReadExport(f *testing.F) {
	s := newStore(f)
	commit(f, s, odd(), scanner.Gap{Path: "/x\ny", Reason: "io"})
	f.Add(exported(f, s))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ReadExport(context.Background(), bytes.NewReader(b), ExportSink{Part: func(key []byte, p entry.Packed) error {
			if p.Verify() != nil {
				t.Error("a part that does not verify")
			}
			return nil
		}})
		if err == nil && x.Root != x.Statement.Root {
			t.Error("another root")
		}
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
			t.Errorf("%v", err)
		}
	})
}
