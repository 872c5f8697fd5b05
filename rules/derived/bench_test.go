package derived_test

import (
	"fmt"
	"testing"

	"intact/baseline/diff"
	"intact/rules/derived"
	"intact/scanner/entry"
)

// BenchmarkNoRow is what a change costs that no row is about.
func BenchmarkNoRow(b *testing.B) {
	x := derived.New(world{}, []derived.Transaction{all()})
	var cs []*diff.Change
	for i := range 1000 {
		p := entry.Path(fmt.Sprintf("/usr/lib/python3/dist-packages/pkg%d/module.py", i))
		cs = append(cs, world{p: {content: "x"}}.change(p))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		x.Explain(b.Context(), cs[i%len(cs)])
	}
}
