package deb_test

import (
	"bytes"
	"errors"
	"os/exec"
	"testing"
	"testing/fstest"
	"time"

	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
)

// A copy of an index, however it was packed, is found to be it again, and a head
// is vouched for by nothing but all of its evidence.
func TestEvidence(t *testing.T) {
	k := keyring(t)
	b := built(t, "tool", "1", "xz", map[string]string{"usr/bin/tool": "program"})
	index := stanza("other", "1", nil) + stanza("tool", "1", b)
	in := signed(t, release("", listed("main/binary-all/Packages", index)))
	a, _, err := record(b)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, argv := range map[string][]string{"": {"cat"}, ".xz": {"xz", "-c"}, ".gz": {"gzip", "-c"}, ".lz4": {"lz4", "-c"}, ".zst": {"zstd", "-c"}} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			t.Logf("SKIPPED: %s is not installed", argv[0])
			continue
		}
		packed := run(t, []byte(index), argv...)
		lists := fstest.MapFS{"x_InRelease": {Data: in}, "x_main_binary-all_Packages" + suffix: {Data: packed}}
		proofs, _, err := deb.Lists{Dir: lists, Ring: k, Now: now}.Prove(t.Context(), deb.Want(a.Identity))
		if err != nil || len(proofs) != 1 {
			t.Fatalf("%s: %v, %v", suffix, proofs, err)
		}
		h, p := a.Head(proofs, now, "")
		if p == nil || p.From != (deb.Files{Release: "x_InRelease", Index: "x_main_binary-all_Packages" + suffix}) {
			t.Fatalf("%s: %+v", suffix, p)
		}
		var kept bytes.Buffer
		if err := deb.CopyIndex(&kept, "x", bytes.NewReader(packed), p.Index); err != nil {
			t.Fatalf("%s: %v", suffix, err)
		}
		r, err := deb.ReadRelease("x", in, k, now)
		if err != nil {
			t.Fatal(err)
		}
		again, err := r.Search(t.Context(), "x", &kept, deb.Want(a.Identity))
		if err != nil || len(again) != 1 || !again[0].Vouches(h) {
			t.Errorf("%s: %v, %v", suffix, again, err)
		}
		other := p.Index
		other.Size++
		if err := deb.CopyIndex(&bytes.Buffer{}, "x", bytes.NewReader(packed), other); !errors.Is(err, deb.ErrIndex) {
			t.Errorf("%s: another index is copied: %v", suffix, err)
		}
		for name, edit := range map[string]func(*manifest.Head){
			"another archive": func(h *manifest.Head) { h.Archive[0]++ },
			"another version": func(h *manifest.Head) { h.Version = "2" },
			"another key":     func(h *manifest.Head) { h.Chain.Key = "AA" },
			"a later index":   func(h *manifest.Head) { h.Chain.Date = h.Chain.Date.Add(time.Hour) },
			"another suite":   func(h *manifest.Head) { h.Chain.Suite = "unstable" },
			"another index":   func(h *manifest.Head) { h.Chain.Index[0]++ },
			"another release": func(h *manifest.Head) { h.Chain.Release[0]++ },
		} {
			forged := *h
			if edit(&forged); again[0].Vouches(&forged) {
				t.Errorf("%s is vouched for", name)
			}
		}
	}
}

// An archive that is read again tells whether a manifest is of it.
func TestSame(t *testing.T) {
	b := built(t, "tool", "1", "xz", map[string]string{"usr/bin/tool": "program"})
	evil := built(t, "tool", "1", "xz", map[string]string{"usr/bin/tool": "evil"})
	a, _, err := record(b)
	if err != nil {
		t.Fatal(err)
	}
	head, _ := a.Head(nil, now, "")
	write := func(content []byte, h manifest.Head) digest.Digest {
		out := manifest.NewBuilder(t.TempDir())
		defer out.Close()
		if _, err := deb.Record(t.Context(), "x", bytes.NewReader(content), out); err != nil {
			t.Fatal(err)
		}
		sum, err := out.Write(&bytes.Buffer{}, &h)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	sum := write(b, *head)
	less := *head
	less.Controls = less.Controls[1:]
	for name, tt := range map[string]struct {
		archive     []byte
		head        manifest.Head
		sum         digest.Digest
		same, other bool
	}{
		"the same":              {b, *head, sum, true, false},
		"entries made up":       {b, *head, write(evil, *head), false, false},
		"control files made up": {b, less, write(b, less), false, false},
		"another archive":       {evil, *head, sum, false, true},
	} {
		same, other, err := deb.Same(t.Context(), "x", bytes.NewReader(tt.archive), tt.head, tt.sum, t.TempDir())
		if err != nil || same != tt.same || other != tt.other {
			t.Errorf("%s: %v, %v, %v", name, same, other, err)
		}
	}
}
