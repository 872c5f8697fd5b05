package app_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"intact/cmd/internal/app"
)

// Files asked for one by one in a directory that comes in parts: each is told of
// once, whatever part holds it then and now.
func TestLimitsInParts(t *testing.T) {
	s := newSite(t, "")
	var paths []string
	for i := range 2500 {
		name := fmt.Sprintf("d/f%04d", i)
		s.write(name, fmt.Sprint(i))
		paths = append(paths, filepath.Join(s.tree, name))
	}
	s.want(s.init(), 0)
	one := func(o *app.CheckOptions) { o.Paths = paths }
	r := s.check(one)
	s.want(r, 0)
	if !bytes.Contains(r.stdout, []byte(`"verified":2500,`)) {
		t.Errorf("want 2500 verified files: %v", r)
	}
	s.write("d/f0000", "changed")
	s.write("d/f1500", "changed")
	for _, n := range []int{3, 1024, 1025, 2499} {
		s.must(os.Remove(paths[n]))
	}
	s.write("d/f0004x", "not asked for")
	r = s.check(one)
	s.want(r, 1)
	var got []string
	for line := range bytes.Lines(r.stdout) {
		if i := bytes.Index(line, []byte("/d/f")); bytes.Contains(line, []byte(`"type":"finding"`)) && i >= 0 {
			got = append(got, string(line[i+3:i+8]))
		}
	}
	if want := []string{"f0000", "f0003", "f1024", "f1025", "f1500", "f2499"}; !slices.Equal(got, want) {
		t.Errorf("got findings at %q, want %q", got, want)
	}
}
