package updates_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/pkgdb/manifest"
	"intact/rules/updates"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// stored makes the manifest of a package with these files.
func stored(tb testing.TB, name string, files map[entry.Path]string) *manifest.Manifest {
	b := manifest.NewBuilder(tb.TempDir())
	defer b.Close()
	for p, content := range files {
		e := manifest.Entry{Path: p, Kind: entry.File, Mode: 0o755, Owner: "root", Group: "root", Size: int64(len(content)), BLAKE3: digest.Sum([]byte(content))}
		if err := b.Add(&e); err != nil {
			tb.Fatal(err)
		}
	}
	var out bytes.Buffer
	sum, err := b.Write(&out, &manifest.Head{Format: "deb", Package: name, Version: "2", Architecture: "amd64", Level: manifest.Local, Reason: "x", ArchiveSize: 1})
	if err != nil {
		tb.Fatal(err)
	}
	m, err := manifest.Open(sum, bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// What a stored manifest says explains, and nothing once it was changed.
func TestDeb(t *testing.T) {
	m := stored(t, "tool", map[entry.Path]string{"/usr/bin/tool": "2"})
	u := []updates.Update{{Old: installed("tool", "1"), New: installed("tool", "2"), Level: rules.Signed, Source: updates.Deb(m)}}
	x, err := updates.New(t.Context(), u, updates.Host{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := x.Explain(t.Context(), changed("/usr/bin/tool", is("1"), is("2"))); !ok {
		t.Error("what the manifest says is not explained")
	}
	if _, ok := x.Explain(t.Context(), changed("/usr/bin/tool", is("1"), is("3"))); ok {
		t.Error("another content is explained")
	}
}

// BenchmarkDeb explains 100,000 changes by the manifests of 20 packages.
func BenchmarkDeb(b *testing.B) {
	const packages, files = 20, 5000
	var list []updates.Update
	var changes []*diff.Change
	for i := range packages {
		holds := map[entry.Path]string{}
		for j := range files {
			p := entry.Path(fmt.Sprintf("/usr/lib/%02d/%s%d", i, strings.Repeat("x", 20), j))
			holds[p] = "2"
			changes = append(changes, changed(p, is("1"), is("2")))
		}
		name := fmt.Sprint("p", i)
		list = append(list, updates.Update{Old: installed(name, "1"), New: installed(name, "2"), Level: rules.Signed, Source: updates.Deb(stored(b, name, holds))})
	}
	for b.Loop() {
		x, err := updates.New(b.Context(), list, updates.Host{})
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range changes {
			if _, ok := x.Explain(b.Context(), c); !ok {
				b.Fatal(c.Path)
			}
		}
	}
	b.ReportMetric(float64(len(changes)), "changes/op")
}
