package expect

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// hostile is what names can hold.
const hostile = "a\n\x1b[31m\u202e\xff\\x41 b"

func fileLine(p string, content string) Line {
	return Line{Path: entry.Path(p), Kind: entry.File, Mode: 0o755, Size: int64(len(content)), SHA256: sha256.Sum256([]byte(content)), BLAKE3: digest.Sum([]byte(content)), Known: true}
}

func sample() (Header, []Line) {
	noBlake := fileLine("/opt/app/"+hostile, "x")
	noBlake.Known, noBlake.BLAKE3, noBlake.Mode, noBlake.UID, noBlake.GID = false, digest.Digest{}, 0o4711, 1, 4294967295
	return Header{Label: "app " + hostile, Created: time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC)}, []Line{
		{Path: "/opt/app", Kind: entry.Dir, Mode: 0o755},
		noBlake,
		{Path: "/opt/app/bin", Kind: entry.Dir, Mode: 0o1777, UID: 33},
		fileLine("/opt/app/bin/app", "program"),
		{Path: "/opt/app/bin/link", Kind: entry.Symlink, Target: []byte("../" + hostile)},
		{Path: "/opt/app/bin-old", Removed: true}, // behind what is below bin
	}
}

func write(t testing.TB, h Header, lines []Line) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if err := w.Add(&l); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestManifest(t *testing.T) {
	h, lines := sample()
	text := write(t, h, lines)
	want := Format + `
label app\x20a\x0a\x1b[31m\xe2\x80\xae\xff\x5cx41\x20b
created 2026-11-01T02:03:04Z
dir 0755 0:0 /opt/app
file 4711 1:4294967295 1 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 - /opt/app/a\x0a\x1b[31m\xe2\x80\xae\xff\x5cx41\x20b
dir 1777 33:0 /opt/app/bin
file 0755 0:0 7 ` + fmt.Sprintf("%x %v", sha256.Sum256([]byte("program")), digest.Sum([]byte("program"))) + ` /opt/app/bin/app
link 0:0 /opt/app/bin/link ../a\x0a\x1b[31m\xe2\x80\xae\xff\x5cx41\x20b
removed /opt/app/bin-old
`
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	m, err := Parse("m", text)
	if err != nil {
		t.Fatal(err)
	}
	if m.Header != h || m.Len() != len(lines) || !reflect.DeepEqual(slices.Collect(m.Lines()), lines) {
		t.Errorf("got %+v %+v", m.Header, slices.Collect(m.Lines()))
	}
	for _, l := range lines {
		if got, ok := m.Lookup(l.Path); !ok || !reflect.DeepEqual(got, l) {
			t.Errorf("%q: got %+v, %v", l.Path, got, ok)
		}
	}
	for _, p := range []entry.Path{"/", "/opt", "/opt/app/bin/", "/opt/app/bin/apq", "/zzz"} {
		if l, ok := m.Lookup(p); ok {
			t.Errorf("%q: got %+v", p, l)
		}
	}
}

func randomName(r *rand.Rand) string {
	const awkward = "ab/\x01 \\x\n\xff.-"
	for {
		b := make([]byte, 1+r.IntN(6))
		for i := range b {
			b[i] = awkward[r.IntN(len(awkward))]
		}
		if p, err := entry.NewPath("/" + string(b)); err == nil && string(p) == "/"+string(b) {
			return string(p)
		}
	}
}

// What is written is read as it was, and spelled in no other way.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		h := Header{Label: randomName(r)}
		if r.IntN(2) == 0 {
			h.Created = time.Unix(r.Int64N(1<<33), 0).UTC()
		}
		var lines []Line
		for range r.IntN(9) {
			l := fileLine(randomName(r), randomName(r))
			switch r.IntN(4) {
			case 0:
				l = Line{Path: l.Path, Removed: true}
			case 1:
				l = Line{Path: l.Path, Kind: entry.Dir, Mode: uint16(r.IntN(0o10000)), UID: r.Uint32(), GID: r.Uint32()}
			case 2:
				l = Line{Path: l.Path, Kind: entry.Symlink, Target: []byte(randomName(r))}
			}
			lines = append(lines, l)
		}
		slices.SortFunc(lines, func(a, b Line) int { return Compare(a.Path, b.Path) })
		lines = slices.CompactFunc(lines, func(a, b Line) bool { return a.Path == b.Path })
		text := write(t, h, lines)
		m, err := Parse("m", text)
		if err != nil || m.Header != h || !slices.EqualFunc(slices.Collect(m.Lines()), lines, func(a, b Line) bool { return reflect.DeepEqual(a, b) }) {
			t.Fatalf("%v\n%s", err, text)
		}
	}
}

// A flipped bit is another manifest or none, never the same one.
func TestEveryFlippedBit(t *testing.T) {
	h, lines := sample()
	text := write(t, h, lines)
	for i := range text {
		for bit := range 8 {
			other := bytes.Clone(text)
			other[i] ^= 1 << bit
			m, err := Parse("m", other)
			if err != nil {
				if !errors.Is(err, ErrFormat) {
					t.Fatal(err)
				}
				continue
			}
			if m.Header == h && reflect.DeepEqual(slices.Collect(m.Lines()), lines) {
				t.Errorf("byte %d, bit %d: two spellings", i, bit)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const head = Format + "\nlabel x\n"
	sum := strings.Repeat("0", 64)
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "m:1:"},
		{"other-format", "intact.expect/2\nlabel x\n", "m:1:"},
		{"no-label", Format + "\n", "m:1:"},
		{"label-empty", Format + "\nlabel \n", "m:1:"},
		{"label-long", Format + "\nlabel " + strings.Repeat("x", maxLabel+1) + "\n", "m:1:"},
		{"time-zone", head + "created 2026-11-01T02:03:04+01:00\n", "m:1:"},
		{"time-fraction", head + "created 2026-11-01T02:03:04.5Z\n", "m:1:"},
		{"no-end", head + "removed /a", "m:3:"},
		{"relative", head + "removed a\n", "m:3:"},
		{"dots", head + "removed /a/../b\n", "m:3:"},
		{"dot", head + "removed /a/./b\n", "m:3:"},
		{"slashes", head + "removed /a//b\n", "m:3:"},
		{"slash-behind", head + "removed /a/\n", "m:3:"},
		{"nul", head + "removed /a\\x00\n", "m:3:"},
		{"needless-escape", head + "removed /\\x61\n", "m:3:"},
		{"upper-case", head + "removed /\\xFF\n", "m:3:"},
		{"escape-cut", head + "removed /\\x4\n", "m:3:"},
		{"other-escape", head + "removed /\\n\n", "m:3:"},
		{"raw-byte", head + "removed /\xff\n", "m:3:"},
		{"tab", head + "removed /a\tb\n", "m:3:"},
		{"cr", head + "removed /a\r\n", "m:3:"},
		{"twice", head + "removed /a\nremoved /a\n", "m:4:"},
		{"contradicts", head + "dir 0755 0:0 /a\nremoved /a\n", "m:4:"},
		{"disorder", head + "removed /b\nremoved /a\n", "m:4:"},
		{"byte-order", head + "removed /a-b\nremoved /a/b\n", "m:4:"},
		{"name-long", head + "removed /" + strings.Repeat("x", maxName+1) + "\n", "m:3:"},
		{"path-long", head + "removed " + strings.Repeat("/x", entry.MaxKey) + "\n", "m:3:"},
		{"line-long", head + "removed /" + strings.Repeat("x", maxLine) + "\n", "m:3:"},
		{"mode", head + "dir 755 0:0 /a\n", "m:3:"},
		{"mode-type", head + "dir 10755 0:0 /a\n", "m:3:"},
		{"owner", head + "dir 0755 root:root /a\n", "m:3:"},
		{"owner-zeros", head + "dir 0755 00:0 /a\n", "m:3:"},
		{"owner-large", head + "dir 0755 4294967296:0 /a\n", "m:3:"},
		{"size-sign", head + "file 0644 0:0 +1 " + sum + " - /a\n", "m:3:"},
		{"size-negative", head + "file 0644 0:0 -1 " + sum + " - /a\n", "m:3:"},
		{"digest-short", head + "file 0644 0:0 1 " + sum[1:] + " - /a\n", "m:3:"},
		{"digest-long", head + "file 0644 0:0 1 " + sum + "00 - /a\n", "m:3:"},
		{"digest-none", head + "file 0644 0:0 1 - - /a\n", "m:3:"},
		{"digest-upper", head + "file 0644 0:0 1 " + strings.Repeat("A", 64) + " - /a\n", "m:3:"},
		{"target-none", head + "link 0:0 /a \n", "m:3:"},
		{"target-nul", head + "link 0:0 /a b\\x00\n", "m:3:"},
		{"unknown", head + "fifo 0644 0:0 /a\n", "m:3:"},
		{"blank-line", head + "\n", "m:3:"},
		{"two-blanks", head + "removed  /a\n", "m:3:"},
	} {
		_, err := Parse("m", []byte(c.text))
		if !errors.Is(err, ErrFormat) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	for _, lines := range [][]Line{
		{{Path: "relative", Removed: true}},
		{{Path: "/a", Removed: true}, {Path: "/a", Kind: entry.Dir}},
		{{Path: "/b", Removed: true}, {Path: "/a", Removed: true}},
		{{Path: "/a", Kind: entry.FIFO}},
		{{Path: "/a", Kind: entry.Symlink}},
		{{Path: "/a", Kind: entry.Dir, Mode: 0o10000}},
	} {
		w, err := NewWriter(&bytes.Buffer{}, Header{Label: "x"})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			err = w.Add(&l)
		}
		if err == nil {
			t.Errorf("%+v is written", lines)
		}
	}
	for _, h := range []Header{{}, {Label: strings.Repeat("x", maxLabel+1)}, {Label: "x", Created: time.Unix(1, 1)}} {
		if _, err := NewWriter(&bytes.Buffer{}, h); err == nil {
			t.Errorf("%+v is written", h)
		}
	}
}

func FuzzParse(f *testing.F) {
	h, lines := sample()
	f.Add(write(f, h, lines))
	f.Add([]byte(Format + "\nlabel x\nremoved /\\x20\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Parse("m", text)
		if err != nil {
			return
		}
		again := write(t, m.Header, slices.Collect(m.Lines()))
		if !bytes.Equal(again, text) {
			t.Errorf("read %q\nwritten %q", text, again)
		}
		for l := range m.Lines() {
			if _, ok := m.Lookup(l.Path); !ok {
				t.Errorf("%q is not found", l.Path)
			}
		}
	})
}
