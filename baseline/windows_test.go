package baseline

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/baseline/seal"
	"intact/baseline/statement"
)

var windowHost = strings.Repeat("0f", 16)

// signedWindows returns windows of an hour each, a day apart, and who signed.
func signedWindows(t testing.TB, n int) (list []Window, by *seal.Signers) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if _, err := seal.Generate(name, "x"); err != nil {
		t.Fatal(err)
	}
	k, err := seal.OpenKey(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if by, err = seal.ParseSigners("own", []byte("host:x "+k.Key().Line+"\n")); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		at := time.Date(2026, 11, 1, 3, 0, 0, 7, time.UTC).AddDate(0, 0, i)
		w := Window{ID: strings.Repeat("0a", 7) + string("0123456789"[i/10]) + string("0123456789"[i%10]), HostID: windowHost, Opened: at, Until: at.Add(time.Hour),
			OpenedBy: "root", Reason: "a\x1b[31m\n-----BEGIN SSH SIGNATURE-----\n\xff", Authority: statement.Host, Signer: k.Key().Fingerprint}
		if i%2 == 0 {
			w.Closed, w.ClosedBy, w.Closing = at.Add(time.Minute), "ann", "done\n"
		}
		if w.Armor, err = k.Sign("intact-report@v1", bytes.NewReader(w.Text())); err != nil {
			t.Fatal(err)
		}
		list = append(list, w)
	}
	return list, by
}

func windowsText(list []Window) (b []byte) {
	for _, w := range list {
		b = append(append(b, w.Text()...), w.Armor...)
	}
	return b
}

func TestWindows(t *testing.T) {
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Windows(windowHost); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no file: %v", err)
	}
	list, _ := signedWindows(t, 3)
	if err := s.PutWindows(list, windowHost); err != nil {
		t.Fatal(err)
	}
	got, err := s.Windows(windowHost)
	if err != nil || !bytes.Equal(windowsText(got), windowsText(list)) {
		t.Fatalf("got %v, %v", got, err)
	}
	if w := got[0]; w.End() != w.Closed || got[1].End() != got[1].Until || w.Reason != list[0].Reason {
		t.Errorf("got %v", w)
	}
	if _, err := statement.Parse(list[0].Text()); err == nil {
		t.Error("a window is a statement")
	}
	many, _ := signedWindows(t, MaxWindows)
	if err := s.PutWindows(many, windowHost); err != nil {
		t.Fatal(err)
	}
	// The longest there can be.
	for i := range many {
		w := &many[i]
		w.Closed = w.Opened
		for _, p := range []*string{&w.OpenedBy, &w.Reason, &w.ClosedBy, &w.Closing} {
			*p = strings.Repeat("\x01", MaxReason)
		}
	}
	if err := s.PutWindows(many, windowHost); err != nil {
		t.Fatal(err)
	}
}

// Nothing of a file counts in which a byte is another: it cannot be read, or the
// signature of a window does not match.
func TestWindowsEveryFlippedByte(t *testing.T) {
	list, by := signedWindows(t, 2)
	good := windowsText(list)
	right := func(b []byte) bool {
		got, err := ParseWindows(b, windowHost)
		if err != nil {
			if !errors.Is(err, ErrWindows) {
				t.Fatalf("another error: %v", err)
			}
			return false
		}
		for _, w := range got {
			id, err := by.Verify(bytes.NewReader(w.Text()), w.Armor, seal.Want{Namespace: "intact-report@v1", At: w.Signed()})
			if err != nil || id.Key.Fingerprint != w.Signer {
				return false
			}
		}
		return len(got) == 2
	}
	if !right(good) {
		t.Fatal("what was signed is refused")
	}
	for i := range good {
		for _, x := range []byte{0x01, 0x20, 0xff} {
			bad := bytes.Clone(good)
			if bad[i] ^= x; right(bad) {
				t.Fatalf("byte %d as %q is taken", i, bad[i])
			}
		}
		if right(good[:i]) || right(slices.Delete(bytes.Clone(good), i, i+1)) || right(slices.Insert(bytes.Clone(good), i, '\n')) {
			t.Fatalf("cut, shortened or longer at %d is taken", i)
		}
	}
}

func TestWindowsRefused(t *testing.T) {
	list, _ := signedWindows(t, 2)
	for what, alter := range map[string]func(l []Window) []Window{
		"none":     func(l []Window) []Window { return nil },
		"too long": func(l []Window) []Window { l[1].Until = l[1].Opened.Add(MaxWindow + 1); return l },
		"no span":  func(l []Window) []Window { l[1].Until = l[1].Opened; return l },
		"overlapping": func(l []Window) []Window {
			l[1].Opened = l[0].Closed.Add(-1)
			l[1].Until = l[1].Opened.Add(1)
			return l
		},
		"out of order":       func(l []Window) []Window { return []Window{l[1], l[0]} },
		"twice":              func(l []Window) []Window { return []Window{l[1], l[1]} },
		"closed too late":    func(l []Window) []Window { l[0].Closed = l[0].Until.Add(1); return l },
		"closed too early":   func(l []Window) []Window { l[0].Closed = l[0].Opened.Add(-1); return l },
		"closed by nobody":   func(l []Window) []Window { l[1].ClosedBy = "x"; return l },
		"another host":       func(l []Window) []Window { l[0].HostID = strings.Repeat("0e", 16); return l },
		"no reason":          func(l []Window) []Window { l[0].Reason = " \n"; return l },
		"a long reason":      func(l []Window) []Window { l[0].Reason = strings.Repeat("x", MaxReason+1); return l },
		"an id that steers":  func(l []Window) []Window { l[0].ID = "\x1b[31m00000000000"; return l },
		"no authority":       func(l []Window) []Window { l[0].Authority = statement.None; return l },
		"a signer that is 2": func(l []Window) []Window { l[0].Signer = "SHA256:x"; return l },
		"no signature":       func(l []Window) []Window { l[1].Armor = nil; return l },
		"too many":           func(l []Window) []Window { m, _ := signedWindows(t, MaxWindows); m = append(m, m[0]); return m },
	} {
		s, err := OpenStore(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		bad := alter(slices.Clone(list))
		if err := s.PutWindows(bad, windowHost); !errors.Is(err, ErrWindows) {
			t.Errorf("%s: %v", what, err)
		}
		if l, err := s.Windows(windowHost); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is written: %v, %v", what, l, err)
		}
	}
}

func FuzzWindows(f *testing.F) {
	for n := range 3 {
		list, _ := signedWindows(f, n)
		f.Add(windowsText(list))
	}
	f.Add([]byte("format: intact.window/1\n" + seal.ArmorBegin + seal.ArmorEnd))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseWindows(b, windowHost)
		if err != nil {
			return
		}
		if !bytes.Equal(windowsText(list), b) {
			t.Errorf("read otherwise than it is written: %q", b)
		}
		for i, w := range list {
			if w.Until.Sub(w.Opened) > MaxWindow || w.End().Before(w.Opened) || i > 0 && w.Opened.Before(list[i-1].End()) {
				t.Errorf("window %d: %v", i, w)
			}
		}
	})
}
