package policy

import (
	"slices"
	"testing"

	"intact/scanner/entry"
)

func TestDefault(t *testing.T) {
	p, err := Parse("default.yaml", DefaultText())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range p.Warnings() {
		t.Error(w)
	}
	t.Log(len(p.Rules), len(p.Excludes), len(p.Canonical()))
}

// TestDefaultBudgets: where users can write, the rule that governs has a
// budget, and in homes it stands at each of them, not above.
func TestDefaultBudgets(t *testing.T) {
	p := Default().ExpandHomes([]entry.Path{"/root", "/home/alice"})
	e := force(t, p, p)
	for path, want := range map[entry.Path]bool{
		"/": false, "/home": false, "/home/alice": true, "/home/alice/x/y": true, "/home/ldap": true,
		"/tmp/x": true, "/var/tmp/x": true, "/dev/shm/x": true, "/usr/x": false,
	} {
		d := e.Decide(path)
		if !d.Select || (d.Rule.Budget != Budget{}) != want {
			t.Errorf("%s: by %v, budget %v", path, d.Rule, d.Rule.Budget)
		}
		if at := p.Explain(path).At; path.Under("/home") && want && len(at.Components()) != 2 {
			t.Errorf("%s: the budget is that of %s", path, at)
		}
	}
	rest := at(e, "/home/alice").Rest()
	if names, list := rest.Names(); list || !slices.Contains(names, ".ssh") || !slices.Contains(names, ".bashrc") {
		t.Errorf("over its budget a home has %q, list %v", names, list)
	}
	if at(e, "/tmp").Rest() != nil {
		t.Error("something is left of /tmp")
	}
}
