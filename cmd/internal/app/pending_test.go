package app_test

import "testing"

// A directory that waits is no news because something more came into it.
func TestPendingDirectory(t *testing.T) {
	s := newSite(t, "paths:\n  - {path: $T, attributes: all}\n")
	s.write("stays", "x")
	s.want(s.init(), 0)
	s.write("new/one", "1")
	s.want(s.check(), 1)
	s.write("new/two", "2")
	r := s.check()
	s.want(r, 1)
	got := map[string]bool{}
	for _, l := range of(parse(t, r.stdout), "finding") {
		got[l.path[len(s.tree):]] = l.New
	}
	for p, want := range map[string]bool{"/new": false, "/new/one": false, "/new/two": true} {
		if is, told := got[p]; !told || is != want {
			t.Errorf("%s: told %v, new %v, want new %v", p, told, is, want)
		}
	}
}
