package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// sealed signs with nothing but a digest.
func sealed(b []byte) []byte { return fmt.Appendf(nil, "%x", sha256.Sum256(b)) }

func judgeSealed(_ Header, body io.ReadSeeker, armor []byte) error {
	b, err := io.ReadAll(body)
	if err == nil && !bytes.Equal(sealed(b), armor) {
		err = ErrSignature
	}
	return err
}

// chained makes an archive of n reports.
func chained(t *testing.T, n, keep int) *Archive {
	t.Helper()
	a := OpenArchive(filepath.Join(t.TempDir(), "reports"), 0, 0)
	a.count = keep
	for i := range n {
		at, err := a.Next(context.Background(), time.Now(), nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := a.Create(at, KindCheck)
		if err != nil {
			t.Fatal(err)
		}
		h := header()
		h.ID, h.Seq, h.Prev, h.Checkpoint, h.Host.Epoch = fmt.Sprintf("id%d", i), at.Seq, at.Prev, at.Checkpoint, 1
		w := NewWriter(d)
		err = errors.Join(w.Header(h), w.Note(Note{Text: "x"}), w.Trailer(trailer(Clean, 0, Counts{})))
		body, readErr := os.ReadFile(d.Name())
		if _, e := d.Commit(sealed(body)); errors.Join(err, readErr, e) != nil {
			t.Fatal(err, readErr, e)
		}
		d.Abort()
	}
	return a
}

func faults(t *testing.T, a *Archive) []Fault {
	t.Helper()
	_, f, err := a.Verify(context.Background(), header().Host.ID, judgeSealed)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestChain(t *testing.T) {
	name := func(a *Archive, n uint64) string { return filepath.Join(a.dir, fileName(n, KindCheck)) }
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	copyTo := func(from, to string) {
		b, err := os.ReadFile(from)
		must(err)
		must(os.WriteFile(to, b, 0o600))
	}
	tests := []struct {
		name string
		keep int
		do   func(a *Archive)
		want []string // the faults
	}{
		{"whole", 9, func(*Archive) {}, nil},
		{"pruned", 3, func(*Archive) {}, nil},
		{"middle-removed", 9, func(a *Archive) { must(os.Remove(name(a, 3))); must(os.Remove(name(a, 3) + sigSuffix)) }, []string{"3-3 missing"}},
		{"two-removed", 9, func(a *Archive) { must(os.Remove(name(a, 3))); must(os.Remove(name(a, 2))) }, []string{"2-3 missing", "2-2 missing", "3-3 missing"}},
		{"first-removed", 9, func(a *Archive) { must(os.Remove(name(a, 1))); must(os.Remove(name(a, 1) + sigSuffix)) }, []string{"1-1 missing"}},
		{"first-kept-removed", 3, func(a *Archive) { must(os.Remove(name(a, 4))); must(os.Remove(name(a, 4) + sigSuffix)) }, []string{"4-4 missing"}},
		{"last-removed-signature-left", 9, func(a *Archive) { must(os.Remove(name(a, 6))) }, []string{"6-6 missing"}},
		{"signature-removed", 9, func(a *Archive) { must(os.Remove(name(a, 2) + sigSuffix)) }, []string{"2-2 signature"}},
		{"signatures-swapped", 9, func(a *Archive) { copyTo(name(a, 3)+sigSuffix, name(a, 2)+sigSuffix) }, []string{"2-2 signature"}},
		{"emptied", 9, func(a *Archive) { must(os.Truncate(name(a, 2), 0)) }, []string{"2-2 edited", "2-2 edited"}},
		{"a-later-one-in-its-place", 9, func(a *Archive) { copyTo(name(a, 5), name(a, 2)); copyTo(name(a, 5)+sigSuffix, name(a, 2)+sigSuffix) }, []string{"1-1 edited", "2-2 edited", "2-2 edited"}},
		{"re-signed", 9, func(a *Archive) {
			b, err := os.ReadFile(name(a, 4))
			must(err)
			b = bytes.Replace(b, []byte(`"text":"x"`), []byte(`"text":"y"`), 1)
			must(os.WriteFile(name(a, 4), b, 0o600))
			must(os.WriteFile(name(a, 4)+sigSuffix, sealed(b), 0o600))
		}, []string{"4-4 edited"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := chained(t, 6, tt.keep)
			tt.do(a)
			var got []string
			for _, f := range faults(t, a) {
				word := "?"
				for w, e := range map[string]error{"missing": ErrMissing, "edited": ErrEdited, "signature": ErrSignature} {
					if errors.Is(f.Err, e) {
						word = w
					}
				}
				got = append(got, fmt.Sprintf("%d-%d %s", f.Seq, f.Last, word))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever byte of a report or a signature is another one, the report is named.
func TestChainEveryByte(t *testing.T) {
	a := chained(t, 3, 9)
	for _, n := range []uint64{2, 3} {
		for _, ext := range []string{"", sigSuffix} {
			name := filepath.Join(a.dir, fileName(n, KindCheck)) + ext
			good, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for i := range good {
				bad := bytes.Clone(good)
				bad[i] ^= 1 << (i % 8)
				if err := os.WriteFile(name, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				if f := faults(t, a); len(f) == 0 || f[0].Seq != n && f[0].Seq+1 != n {
					t.Fatalf("%s, byte %d: %v", filepath.Base(name), i, f)
				}
			}
			if err := os.WriteFile(name, good, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if f := faults(t, a); len(f) > 0 {
		t.Errorf("whole again: %v", f)
	}
}

func TestChainOfAnotherHost(t *testing.T) {
	a := chained(t, 2, 9)
	_, f, err := a.Verify(context.Background(), "other", judgeSealed)
	if err != nil || len(f) != 2 || !errors.Is(f[0].Err, ErrForeign) {
		t.Errorf("%v, %v", f, err)
	}
}

func TestUnfinished(t *testing.T) {
	a := chained(t, 2, 9)
	if _, err := a.Create(Place{Seq: 3}, KindCheck); err != nil { // as if killed here
		t.Fatal(err)
	}
	if at, err := a.Next(context.Background(), time.Now(), nil); err != nil || !slices.Equal(at.Unfinished, []uint64{3}) || at.Seq != 3 {
		t.Errorf("%+v, %v", at, err)
	}
}
