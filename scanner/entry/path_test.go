package entry

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

func FuzzKeys(f *testing.F) {
	f.Add("/", "/a", uint32(0))
	f.Add("/a", "/a/b", uint32(1))
	f.Add("/a", "/a-", uint32(7))
	f.Add("/a/b\xff", "/a\x01", uint32(1<<31))
	f.Fuzz(checkKeys)
}

// less orders paths as a depth-first walk does, names by bytes.
func less(p, q Path) int { return slices.Compare(p.Components(), q.Components()) }

func checkKeys(t *testing.T, s, u string, part uint32) {
	p, err := NewPath(s)
	q, err2 := NewPath(u)
	if err != nil || err2 != nil {
		return
	}
	if got, want := bytes.Compare(p.Key(), q.Key()), less(p, q); got != want {
		t.Errorf("keys of %q and %q: %d, want %d", p, q, got, want)
	}
	k := PartKey(p, part)
	gp, gpart, err := ParseKey(k)
	if gp != p || gpart != part || err != nil {
		t.Errorf("ParseKey(%q) = %q, %d, %v", k, gp, gpart, err)
	}
	if p != q && (bytes.Compare(k, q.Key()) < 0) != (less(p, q) < 0) && part > 0 {
		t.Errorf("part %d of %q does not stand by its directory: %q", part, p, q)
	}
	if !p.Dir().Join([]byte(p.Base())).equal(p) || !p.Under(p.Dir()) {
		t.Errorf("%q is not the child of %q", p, p.Dir())
	}
	if got, want := q.Under(p), strings.HasPrefix(string(q)+"/", strings.TrimSuffix(string(p), "/")+"/"); got != want {
		t.Errorf("%q under %q: %v", q, p, got)
	}
}

func (p Path) equal(q Path) bool { return p == q }

func TestKeys(t *testing.T) {
	paths := []string{"/", "/a", "/a/b", "/a/b/c", "/a-", "/a b", "/a\n", "/\x01", "/a\x01/b", "/\xff/\xfe", "/a/-", "/ab"}
	for _, p := range paths {
		for _, q := range paths {
			for _, n := range []uint32{0, 1, 255, 256, 1 << 24, 1<<32 - 1} {
				checkKeys(t, p, q, n)
			}
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, p := range []Path{"/", "/a", "/a/b"} {
		f.Add(PartKey(p, 0))
		f.Add(PartKey(p, 3))
	}
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, k []byte) {
		p, part, err := ParseKey(k)
		if err != nil {
			return
		}
		if !bytes.Equal(PartKey(p, part), k) {
			t.Errorf("ParseKey(%q) = %q, %d, whose key is another", k, p, part)
		}
		if c, err := NewPath(string(p)); err != nil || c != p {
			t.Errorf("ParseKey(%q) = %q, no path: %v", k, p, err)
		}
	})
}

func TestParseKeyRefuses(t *testing.T) {
	tail := binary.BigEndian.AppendUint32([]byte{0, 0}, 1)
	for _, k := range []string{"", "a", "\x00a\x00", "\x00a/b", "\x00.", "\x00a\x00..", "\x00\x00", "\x00a\x00\x00\x00\x00\x00\x00",
		"\x00a" + string(tail) + "x", string(tail), "\x00\x00a" + string(tail)} {
		if p, part, err := ParseKey([]byte(k)); err == nil {
			t.Errorf("ParseKey(%q) = %q, %d", k, p, part)
		}
	}
	for _, s := range []string{"", "a", "a/b", "/a\x00"} {
		if p, err := NewPath(s); err == nil {
			t.Errorf("NewPath(%q) = %q", s, p)
		}
	}
}
