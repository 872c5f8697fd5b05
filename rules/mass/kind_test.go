package mass

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"unicode"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

func TestPromise(t *testing.T) {
	for p, want := range map[string]Kind{
		"/a/X.TXT": {".txt", true}, "/a/app.log.12": {".log", true}, "/a/x.tar.gz": {".gz", false}, "/lib/libc.so.6": {".so", false},
		"/etc/passwd": {"text", true}, "/etc/x/anything": {"text", true}, "/srv/anything": {}, "/srv/bin/tool": {"program", false},
		"/srv/README": {"text", true}, "/root/.bashrc": {"text", true}, "/srv/.hidden": {}, "/srv/x.key": {}, "/srv/bin/x.blob": {},
		"/etc/x.db": {}, "/": {}, "/a/1.2.3": {}, "/a/.txt": {}, "/a/x.\xff\x1b[m": {}, "/a/1.txt.": {".txt", true},
	} {
		mode := uint16(0o644)
		if strings.Contains(p, "/bin/") {
			mode = 0o755
		}
		if got := Promise(entry.Path(p), mode); got != want {
			t.Errorf("%q: got %v, want %v", p, got, want)
		}
	}
	if got := beneath("/a/x.txt.lckd"); got != (Kind{".txt", true}) {
		t.Error(got)
	}
}

func TestRandom(t *testing.T) {
	for _, n := range []int{MinBytes, 511, window} {
		for seed := range 500 {
			if b := noise(seed, n); !Random(b) {
				t.Fatalf("%d random bytes of %d are none", n, seed)
			}
		}
		ramp := make([]byte, n)
		for i := range ramp {
			ramp[i] = byte(i)
		}
		for name, b := range map[string][]byte{
			"prose": prose(1, n), "hex": []byte(hex.EncodeToString(noise(1, n))), "base64": []byte(base64.StdEncoding.EncodeToString(noise(1, n))),
			"cyrillic": []byte(strings.Repeat("Съешь ещё этих мягких французских булок, да выпей чаю. ", 40)),
			"chinese":  []byte(strings.Repeat("天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽", 40)),
			"zeros":    make([]byte, n), "ramp": ramp, "short": noise(1, MinBytes-1),
		} {
			if Random(b[:min(len(b), n)]) {
				t.Errorf("%d bytes of %s are random", n, name)
			}
		}
	}
}

// Every part of a long text is read somewhere, inside the file, and the content
// decides where.
func TestPlaces(t *testing.T) {
	for _, size := range []int64{BufferSize + 1, BufferSize + 4097, 1 << 20, 10<<30 + 5} {
		last := int64(0)
		moved := false
		for i := 1; i < pieces; i++ {
			a, b := place(i, size, digest.Sum([]byte("a"))), place(i, size, digest.Sum([]byte("b")))
			if a < piece || a <= last || a+piece > size || a%piece != 0 {
				t.Errorf("size %d: piece %d at %d behind %d", size, i, a, last)
			}
			last = a
			moved = moved || a != b
		}
		if !moved && size > 1<<18 {
			t.Errorf("size %d: the content decides nothing", size)
		}
	}
}

func FuzzEncrypted(f *testing.F) {
	f.Add("/a/x.txt", prose(1, 70000), uint8(0))
	f.Add("/a/x.png", noise(1, 300), uint8(1))
	f.Add("/a/\xff.", []byte("%PDF-"), uint8(2))
	buf := make([]byte, BufferSize)
	f.Fuzz(func(t *testing.T, p string, content []byte, role uint8) {
		k := Promise(entry.Path(p), 0o755)
		if strings.ContainsFunc(k.Label, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
			t.Errorf("label %q", k.Label)
		}
		c := Candidate{Role: Role(role % 3), Of: entry.Path(p), At: entry.Path(p), Kind: k, seen: entryOf(append([]byte{}, content...), 0)}
		for range 2 {
			_, err := c.Encrypted(buf, func(b []byte, off int64) error {
				if len(b) == 0 || off < 0 || off+int64(len(b)) > int64(len(content)) {
					t.Fatalf("reads %d bytes at %d of %d", len(b), off, len(content))
				}
				copy(b, content[off:])
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}
