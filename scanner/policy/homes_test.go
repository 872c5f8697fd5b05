package policy

import (
	"slices"
	"testing"

	"intact/scanner/entry"
)

// Daemons have homes such as /usr/sbin: an exclude for homes hides nothing there.
func TestExcludesOfSystemHomes(t *testing.T) {
	p := rules("/=sweep", "/usr=binary", "~/.ssh=config", "!~/.cache/**", "!~/.ssh/x", "!~/**/tmp")
	p = p.ExpandHomes([]entry.Path{"/", "/usr/sbin", "/usr/games/", "/lib/../usr/lib/x", "/bin", "/run/irc", "/opt", "/optx", "/var/lib/pg", "/home/a", "/data/b", "/u"})
	e := force(t, p, p)
	for path, want := range map[entry.Path]string{
		"/usr/sbin/.cache/x": "/usr", "/usr/games/.cache/x": "/usr", "/usr/lib/x/.cache/y": "/usr", "/bin/.cache/x": "/",
		"/run/irc/.cache/x": "/", "/opt/.cache/x": "/", "/.cache/x": "/", "/usr/a/b/tmp": "/usr", "/etc/tmp": "/",
		"/usr/sbin/.ssh/x": "~/.ssh", "/.ssh/x": "~/.ssh",
		"/optx/.cache/x": "!~/.cache/**", "/var/lib/pg/.cache/x": "!~/.cache/**", "/home/a/.ssh/x": "!~/.ssh/x", "/data/b/q/tmp/z": "!~/**/tmp",
	} {
		if got := word(e.Decide(path)); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
		x := p.Explain(path)
		if got := word(Decision{Rule: x.Rule, Exclude: x.Exclude}); got != want {
			t.Errorf("%s: explained by %q, want %q", path, got, want)
		}
	}
	// Neither a home that is a link nor a link in a home leads it there.
	e = force(t, p, p, Alias{"/u", "/usr/lib/u"}, Alias{"/home/a/.cache", "/usr/bin"}, Alias{"/home/a/.ssh", "/etc"}, Alias{"/data", "/mnt"})
	for path, want := range map[entry.Path]string{
		"/usr/lib/u/.cache/x": "/usr", "/usr/lib/u/.ssh/y": "~/.ssh", "/usr/bin/ls": "/usr", "/etc/x": "~/.ssh", "/mnt/b/.cache/x": "!~/.cache/**",
	} {
		if got := word(e.Decide(path)); got != want {
			t.Errorf("with links, %s: got %q, want %q", path, got, want)
		}
	}
	if roots := e.LiteralRoots(); slices.Contains(roots, "/home/a/.cache") || !slices.Contains(roots, "/home/a") {
		t.Errorf("roots %q", roots)
	}
}
