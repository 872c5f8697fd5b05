package unpack_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"intact/scanner/unpack"
)

// mixed is something in which all that LZMA knows occurs: text, runs, matches
// near and far, what cannot be packed.
func mixed(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 9))
	b := make([]byte, 0, n+1<<16)
	for len(b) < n {
		switch r.IntN(5) {
		case 0:
			b = fmt.Appendf(b, "line %d of %x\n", r.IntN(1000), r.Uint32())
		case 1:
			b = append(b, bytes.Repeat([]byte{byte(r.IntN(4))}, r.IntN(3000))...)
		case 2:
			for range r.IntN(2000) {
				b = append(b, byte(r.Uint32()))
			}
		default:
			if len(b) > 0 {
				back := 1 + r.IntN(len(b))
				if r.IntN(2) == 0 {
					back = 1 + r.IntN(min(len(b), 300))
				}
				for range r.IntN(1000) {
					b = append(b, b[len(b)-back])
				}
			}
		}
	}
	return b[:n]
}

// Every property of LZMA, and dictionaries from the smallest on, so that what
// was unpacked is moved many times.
func TestPropertiesOfXZ(t *testing.T) {
	for i, p := range []lzma.Properties{{LC: 3, LP: 0, PB: 2}, {LC: 0, LP: 4, PB: 0}, {LC: 4, LP: 0, PB: 4}, {LC: 2, LP: 2, PB: 1}, {LC: 0, LP: 0, PB: 3}} {
		for _, dict := range []int{lzma.MinDictCap, 1 << 16, 1 << 20} {
			want := mixed(300_000, uint64(i))
			b := written(t, want, func(w io.Writer) (io.WriteCloser, error) {
				return xz.WriterConfig{Properties: &p, DictCap: dict}.NewWriter(w)
			})
			if out, err := unpacked(b, unpack.XZ, unpack.Limits{}); err != nil || !bytes.Equal(out, want) {
				t.Errorf("%v, dictionary of %d: %v", p, dict, err)
			}
		}
	}
}

// What xz packs: long matches, large files with small dictionaries, a program.
func TestLargeXZ(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("SKIPPED: xz is not installed")
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{"mixed": mixed(9<<20, 7), "program": self[:min(len(self), 2<<20)]} {
		if testing.Short() {
			in = in[:min(len(in), 1<<19)]
		}
		for _, args := range [][]string{{"-c1"}, {"-c", "--lzma2=preset=1,dict=64KiB,lc=1,lp=3"}, {"-c", "--lzma2=preset=0,dict=4KiB,nice=273"}} {
			c := exec.Command("xz", args...)
			c.Stdin = bytes.NewReader(in)
			b, err := c.Output()
			if err != nil {
				t.Fatal(err)
			}
			if out, err := unpacked(b, unpack.XZ, unpack.Limits{}); err != nil || !bytes.Equal(out, in) {
				t.Errorf("%s, %q: %d of %d bytes, %v", name, args, len(out), len(in), err)
			}
		}
	}
}

// What is read here, the other decoder reads alike.
func FuzzXZ(f *testing.F) {
	for _, n := range []int{0, 1, 40, 400} {
		f.Add(packers[unpack.XZ](f, mixed(n, uint64(n))))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := unpacked(b, unpack.XZ, unpack.Limits{Output: 4 << 20, Memory: 8 << 20})
		if err != nil {
			return
		}
		r, err := xz.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("the other one: %v", err)
		}
		if want, err := io.ReadAll(r); err != nil || !bytes.Equal(out, want) {
			t.Errorf("%d bytes here, %d there and %v", len(out), len(want), err)
		}
	})
}

// BenchmarkXZ holds the decoder against the other one.
func BenchmarkXZ(b *testing.B) {
	text := prose(4 << 20)
	packed := packers[unpack.XZ](b, text)
	for name, open := range map[string]func() (io.Reader, error){
		"here": func() (io.Reader, error) {
			return unpack.NewReader(bytes.NewReader(packed), unpack.XZ, unpack.Limits{})
		},
		"other": func() (io.Reader, error) { return xz.NewReader(bytes.NewReader(packed)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(packed)))
			for b.Loop() {
				r, err := open()
				if err == nil {
					_, err = io.Copy(io.Discard, r)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
