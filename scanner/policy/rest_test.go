package policy

import (
	"strings"
	"testing"

	"intact/scanner/entry"
)

// What is left where a budget is exhausted, as a scan would walk it that asks
// for the rest of every directory.
func TestRest(t *testing.T) {
	p := rules("/=sweep", "/home/*=sweep", "/home/*/.ssh=config", "/home/a/web/*/conf=config", "~/.vim/plugin=config", "~/.vim=log",
		"/**/x=log", "/home/*/q/**/*.php=config", "/tmp=sweep", "!**/tmp", "!/home/*/.ssh/no", "/home/b/keep=log")
	p = p.ExpandHomes([]entry.Path{"/home/a"})
	e := force(t, p, p)
	rest := func(dir entry.Path) *State {
		start := e.Start()
		s := &start
		for i, n := range dir.Components() {
			if i > 1 { // below the budget's own path
				s = s.Rest()
			}
			if s != nil {
				s = s.Enter([]byte(n))
			}
			if s == nil {
				return nil
			}
		}
		return s.Rest()
	}
	for dir, want := range map[entry.Path]string{
		"/tmp": "-", "/tmp/a": "-", "/home/a": ".ssh,.vim,q,web", "/home/c": ".ssh,q", "/home/b": ".ssh,keep,q", "/home/b/keep": "-",
		"/home/a/y": "-", "/home/a/x": "-", "/home/a/.ssh": "-", "/home/a/web": "*", "/home/a/web/s": "conf", "/home/a/web/s/conf": "-",
		"/home/a/.vim": "plugin", "/home/a/.vim/plugin": "-", "/home/a/.vim/y": "-", "/home/a/q": "-", "/home/a/q/r": "-",
	} {
		got := "-"
		if s := rest(dir); s != nil {
			names, list := s.Names()
			if got = strings.Join(names, ","); list {
				got = "*"
			}
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", dir, got, want)
		}
	}
	a := rest("/home/a")
	for name, want := range map[string]string{"y": "", ".ssh": "/home/*/.ssh", "tmp": "!/**/tmp", "x": "/**/x"} {
		if got := word(a.Match([]byte(name))); got != want {
			t.Errorf("%s in a rest: got %q, want %q", name, got, want)
		}
	}
	ssh := a.Enter([]byte(".ssh"))
	for name, want := range map[string]string{"k": "/home/*/.ssh", "no": "!/home/*/.ssh/no", "tmp": "!/**/tmp"} {
		if got := word(ssh.Match([]byte(name))); got != want {
			t.Errorf(".ssh/%s in a rest: got %q, want %q", name, got, want)
		}
	}
	if a.Enter([]byte("y")) != nil {
		t.Error("enters a directory without rules of its own")
	}
}
