package unpack_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"intact/scanner/unpack"
)

var packers = map[unpack.Format]func(t testing.TB, b []byte) []byte{
	unpack.Gzip: func(t testing.TB, b []byte) []byte {
		return written(t, b, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
	},
	unpack.Zstd: func(t testing.TB, b []byte) []byte {
		return written(t, b, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w, zstd.WithEncoderCRC(true)) })
	},
	unpack.LZ4: func(t testing.TB, b []byte) []byte {
		return written(t, b, func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil })
	},
	unpack.XZ: func(t testing.TB, b []byte) []byte {
		return written(t, b, func(w io.Writer) (io.WriteCloser, error) {
			return xz.WriterConfig{BlockSize: 100_000}.NewWriter(w)
		})
	},
}

func written(t testing.TB, b []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := open(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// prose is something that packs three to one.
func prose(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "line %x of what is packed\n", r.Uint32())
	}
	return b.Bytes()[:n]
}

func unpacked(b []byte, f unpack.Format, l unpack.Limits) ([]byte, error) {
	r, err := unpack.NewReader(bytes.NewReader(b), f, l)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	if n, again := r.Read(make([]byte, 1)); err != nil && (n != 0 || again != err) {
		return nil, fmt.Errorf("after %w: %d bytes and %v", err, n, again)
	}
	return out, err
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 5, 100_000, 700_001} {
		want := prose(n)
		if out, err := unpacked(want, unpack.Plain, unpack.Limits{}); err != nil || !bytes.Equal(out, want) {
			t.Errorf("plain, %d bytes: %v", n, err)
		}
		for f, pack := range packers {
			b := pack(t, want)
			if got := unpack.Detect(b[:min(len(b), unpack.MagicSize)]); got != f {
				t.Errorf("%s: detected as %s", f, got)
			}
			if out, err := unpacked(b, f, unpack.Limits{}); err != nil || !bytes.Equal(out, want) {
				t.Errorf("%s, %d bytes: %d bytes and %v", f, n, len(out), err)
			}
			twice := append(bytes.Clone(b), b...)
			if out, err := unpacked(twice, f, unpack.Limits{}); err != nil || len(out) != 2*n {
				t.Errorf("%s, %d bytes twice: %d bytes and %v", f, n, len(out), err)
			}
		}
	}
}

// What the programs write is read too, with every checksum that xz knows.
func TestPrograms(t *testing.T) {
	want := prose(300_000)
	for _, tt := range []struct {
		format unpack.Format
		argv   string
	}{
		{unpack.XZ, "xz -c"}, {unpack.XZ, "xz -9ec"}, {unpack.XZ, "xz -cC none"}, {unpack.XZ, "xz -cC crc32"}, {unpack.XZ, "xz -cC sha256"},
		{unpack.XZ, "xz -c --block-size=65536 -T2"}, {unpack.Gzip, "gzip -9c"}, {unpack.Bzip2, "bzip2 -c"},
		{unpack.Zstd, "zstd -19 -c"}, {unpack.LZ4, "lz4 -9 -c"}, {unpack.LZ4, "lz4 -BD -c"},
	} {
		t.Run(strings.ReplaceAll(tt.argv, " ", "_"), func(t *testing.T) {
			argv := strings.Fields(tt.argv)
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Skipf("SKIPPED: %s is not installed", argv[0])
			}
			c := exec.Command(argv[0], argv[1:]...)
			c.Stdin = bytes.NewReader(want)
			b, err := c.Output()
			if err != nil {
				t.Fatal(err)
			}
			if out, err := unpacked(b, tt.format, unpack.Limits{}); err != nil || !bytes.Equal(out, want) {
				t.Errorf("%d bytes and %v", len(out), err)
			}
		})
	}
}

// However a stream is cut, it is not taken for a whole one.
func TestTruncated(t *testing.T) {
	for f, pack := range packers {
		b := pack(t, prose(300))
		for n := range b {
			if out, err := unpacked(b[:n], f, unpack.Limits{}); err == nil {
				t.Fatalf("%s cut to %d of %d bytes: read %d bytes without an error", f, n, len(b), len(out))
			}
		}
	}
}

// A flipped bit is an error, or changes nothing that comes out.
func TestFlipped(t *testing.T) {
	want := prose(300)
	for f, pack := range packers {
		b := pack(t, want)
		for i := range b {
			b[i] ^= 4
			if out, err := unpacked(b, f, unpack.Limits{}); err == nil && !bytes.Equal(out, want) {
				t.Errorf("%s, byte %d of %d: other content without an error", f, i, len(b))
			}
			b[i] ^= 4
		}
		if out, err := unpacked(append(bytes.Clone(b), "trailer"...), f, unpack.Limits{}); err == nil {
			t.Errorf("%s: a trailer was not noticed, %d bytes", f, len(out))
		}
	}
}

func TestLimits(t *testing.T) {
	zeros := make([]byte, 8<<20)
	for f, pack := range packers {
		b := pack(t, zeros)
		if _, err := unpacked(b, f, unpack.Limits{Output: 5 << 20, Ratio: 1 << 20}); !errors.Is(err, unpack.ErrOutput) {
			t.Errorf("%s, output: %v", f, err)
		}
		if _, err := unpacked(b, f, unpack.Limits{Ratio: 20}); !errors.Is(err, unpack.ErrRatio) {
			t.Errorf("%s, ratio: %v", f, err)
		}
		if out, err := unpacked(b, f, unpack.Limits{Output: 8 << 20, Ratio: 1 << 20}); err != nil || len(out) != len(zeros) {
			t.Errorf("%s: %d bytes and %v", f, len(out), err)
		}
	}
	for _, f := range []unpack.Format{unpack.XZ, unpack.Zstd} {
		if _, err := unpacked(packers[f](t, zeros), f, unpack.Limits{Memory: 1 << 16}); !errors.Is(err, unpack.ErrMemory) {
			t.Errorf("%s, memory: %v", f, err)
		}
	}
	if _, err := unpack.NewReader(strings.NewReader(""), "rar", unpack.Limits{}); err == nil {
		t.Error("rar was opened")
	}
}

// A small file that asks for a dictionary of 4 GiB gets none.
func TestDictionaryOfXZ(t *testing.T) {
	b := packers[unpack.XZ](t, prose(100))
	head := b[12 : 12+4*(int(b[12])+1)]
	i := bytes.Index(head, []byte{0x21, 1}) + 2
	head[i] = 40
	binary.LittleEndian.PutUint32(head[len(head)-4:], crc32.ChecksumIEEE(head[:len(head)-4]))
	if _, err := unpacked(b, unpack.XZ, unpack.Limits{}); !errors.Is(err, unpack.ErrMemory) {
		t.Errorf("got %v", err)
	}
}

func TestByName(t *testing.T) {
	for name, want := range map[string]string{
		"data.tar.xz": "data.tar xz", "data.tar": "data.tar plain", ".xz": ".xz plain", "a.zst": "a zstd", "a.lz4": "a lz4", "a.bz2": "a bzip2", "": " plain",
	} {
		if base, f := unpack.ByName(name); base+" "+string(f) != want {
			t.Errorf("%q: %q %q", name, base, f)
		}
	}
}

func FuzzReader(f *testing.F) {
	for format, pack := range packers {
		f.Add(string(format), pack(f, prose(200)))
	}
	f.Add("bzip2", []byte("BZh9\x17rE8P\x90\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, format string, b []byte) {
		out, err := unpacked(b, unpack.Format(format), unpack.Limits{Output: 1 << 20, Memory: 1 << 20})
		if len(out) > 1<<20 {
			t.Errorf("%d bytes and %v", len(out), err)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	text := prose(4 << 20)
	for f, pack := range packers {
		packed := pack(b, text)
		b.Run(string(f), func(b *testing.B) {
			b.SetBytes(int64(len(packed)))
			for b.Loop() {
				r, err := unpack.NewReader(bytes.NewReader(packed), f, unpack.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}
