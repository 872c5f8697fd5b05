package unpack

import (
	"bytes"
	"io"
	"strings"
	"testing"

	other "github.com/ulikunitz/xz/lzma"
)

// Without the checksums of xz around it, the decoder gives the same bytes as
// the other one, or an error.
func FuzzLZMA2(f *testing.F) {
	for _, s := range []string{"", "a", strings.Repeat("some text that repeats itself, ", 9) + "\x00\xff\x80", strings.Repeat("ab", 300)} {
		var b bytes.Buffer
		w, err := other.NewWriter2(&b)
		if err != nil {
			f.Fatal(err)
		}
		io.WriteString(w, s)
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const dict, most = 1 << 20, 8 << 20
		out, err := io.ReadAll(io.LimitReader(newLZMA2(newSource(bytes.NewReader(b)), dict), most))
		if err != nil || len(out) == most {
			return
		}
		r, err := other.Reader2Config{DictCap: dict}.NewReader2(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%d bytes here; the other one: %v", len(out), err)
		}
		want, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(out, want) {
			t.Errorf("%d bytes here, %d there", len(out), len(want))
		}
		if err != nil {
			t.Logf("the other one refuses it: %v", err)
		}
	})
}
