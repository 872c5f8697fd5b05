package policy

import "testing"

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
