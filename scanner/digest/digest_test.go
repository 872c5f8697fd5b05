package digest_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"intact/scanner/digest"
)

// vector is the input of the official test vectors of BLAKE3: byte i is
// i mod 251.
func vector(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

// The first 32 bytes of "hash" in the official test_vectors.json.
var vectors = map[int]string{
	0:      "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
	1:      "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
	2:      "7b7015bb92cf0b318037702a6cdd81dee41224f734684c2c122cd6359cb1ee63",
	3:      "e1be4d7a8ab5560aa4199eea339849ba8e293d55ca0a81006726d184519e647f",
	63:     "e9bc37a594daad83be9470df7f7b3798297c3d834ce80ba85d6e207627b7db7b",
	64:     "4eed7141ea4a5cd4b788606bd23f46e212af9cacebacdc7d1f4c6dc7f2511b98",
	65:     "de1e5fa0be70df6d2be8fffd0e99ceaa8eb6e8c93a63f2d8d1c30ecb6b263dee",
	127:    "d81293fda863f008c09e92fc382a81f5a0b4a1251cba1634016a0f86a6bd640d",
	128:    "f17e570564b26578c33bb7f44643f539624b05df1a76c81f30acd548c44b45ef",
	129:    "683aaae9f3c5ba37eaaf072aed0f9e30bac0865137bae68b1fde4ca2aebdcb12",
	1023:   "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
	1024:   "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
	1025:   "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
	2048:   "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
	2049:   "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030",
	3072:   "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2",
	3073:   "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3",
	4096:   "015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969",
	4097:   "9b4052b38f1c5fc8b1f9ff7ac7b27cd242487b3d890d15c96a1c25b8aa0fb995",
	5120:   "9cadc15fed8b5d854562b26a9536d9707cadeda9b143978f319ab34230535833",
	8192:   "aae792484c8efe4f19e2ca7d371d8c467ffb10748d8a5a1ae579948f718a2a63",
	8193:   "bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b",
	16384:  "f875d6646de28985646f34ee13be9a576fd515f76b5b0a26bb324735041ddde4",
	31744:  "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47",
	102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}

func TestVectors(t *testing.T) {
	for n, want := range vectors {
		if got := digest.Sum(vector(n)); got.String() != want {
			t.Errorf("%d bytes: got %s, want %s", n, got, want)
		}
	}
}

// However the bytes come, the digest is the same.
func TestHasher(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	h := digest.New()
	for _, n := range []int{0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 4096, 16384, 16385, 65536, 262144, 1<<20 + 1} {
		b := vector(n)
		want := digest.Sum(b)
		for i := range 6 {
			// The size that is told may be wrong: a file can grow and shrink.
			h.Reset([]int64{0, int64(n), 1 << 40}[i%3])
			for rest := b; len(rest) > 0; {
				k := min(1+r.IntN(1+r.IntN(100_000)), len(rest))
				if w, err := h.Write(rest[:k]); w != k || err != nil {
					t.Fatalf("write of %d bytes: %d, %v", k, w, err)
				}
				if r.IntN(4) == 0 {
					h.Sum() // more may be written
				}
				rest = rest[k:]
			}
			if got := h.Sum(); got != want || got != h.Sum() {
				t.Errorf("%d bytes in pieces: got %s, want %s", n, got, want)
			}
		}
	}
}

func TestParse(t *testing.T) {
	d := digest.Sum([]byte("x"))
	for _, s := range []string{d.String(), d.Named()} {
		if got, err := digest.Parse(s); err != nil || got != d {
			t.Errorf("%q: got %s, %v", s, got, err)
		}
	}
	s := d.String()
	for _, bad := range []string{"", "blake3:", s[1:], s + "0", strings.ToUpper(s), "sha256:" + s, "blake3:blake3:" + s, s[:63] + "g", " " + s[1:], s[:62] + "é"} {
		if got, err := digest.Parse(bad); err == nil {
			t.Errorf("%q: got %s", bad, got)
		}
	}
}

// The reference program agrees on a thousand files of this machine.
func TestReferenceProgram(t *testing.T) {
	b3sum, err := exec.LookPath("b3sum")
	if err != nil {
		t.Skip("b3sum is not installed: nothing to compare with")
	}
	var names []string
	for _, dir := range []string{"/usr/bin", "/usr/lib", "/usr/share", "/etc", "/usr/include"} {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if len(names) == 1000 {
				return fs.SkipAll
			}
			if err != nil || !d.Type().IsRegular() || strings.ContainsAny(p, "\\\n\r") {
				return nil
			}
			if fi, err := d.Info(); err == nil && fi.Size() < 64<<20 {
				if f, err := os.Open(p); err == nil {
					f.Close()
					names = append(names, p)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	for n := range vectors {
		p := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(p, vector(n), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, p)
	}
	c := exec.Command("xargs", "-0", b3sum, "--")
	c.Stdin = strings.NewReader(strings.Join(names, "\x00"))
	out, err := c.Output()
	if err != nil {
		t.Fatalf("b3sum: %v", err)
	}
	seen := 0
	for line := range bytes.Lines(out) {
		want, name, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "  ")
		if !ok {
			t.Fatalf("b3sum says %q", line)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		h := digest.New()
		h.Reset(int64(len(b)))
		for rest := b; len(rest) > 0; { // as the scanner does it
			n := min(256<<10, len(rest))
			_, _ = h.Write(rest[:n])
			rest = rest[n:]
		}
		if got := h.Sum(); got.String() != want || got != digest.Sum(b) {
			t.Errorf("%s: got %s, b3sum says %s", name, got, want)
		}
		seen++
	}
	if seen != len(names) {
		t.Errorf("b3sum told of %d files, want %d", seen, len(names))
	}
	t.Logf("%d files", seen)
}
