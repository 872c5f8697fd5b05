package entry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Parts answer as a look at each of the paths would.
func TestParts(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	word := func() []byte { return []byte{"ab-\xff\n"[r.IntN(5)]} }
	random := func() Path {
		p := Path("/")
		for range r.IntN(5) {
			p = p.Join(word())
		}
		return p
	}
	for range 2000 {
		var paths []Path
		for range 1 + r.IntN(6) {
			paths = append(paths, random())
		}
		s := NewParts(paths)
		for range 20 {
			p := random()
			hold := slices.ContainsFunc(paths, func(l Path) bool { return p.Under(l) })
			lead := slices.ContainsFunc(paths, func(l Path) bool { return l.Under(p) })
			if s.Is(p) != slices.Contains(paths, p) || s.Hold(p) != hold || s.Lead(p) != lead {
				t.Fatalf("%q of %q: is %v, holds %v, leads %v", p, paths, s.Is(p), s.Hold(p), s.Lead(p))
			}
			var want []string
			for _, l := range paths {
				if c := p.Components(); l.Under(p) && l != p {
					want = append(want, l.Components()[len(c)])
				}
			}
			slices.Sort(want)
			if got := fmt.Sprintf("%q", s.Names(p)); got != fmt.Sprintf("%q", slices.Compact(want)) {
				t.Fatalf("%q of %q: got names %s, want %q", p, paths, got, want)
			}
		}
	}
	if s := NewParts(nil); !s.Hold("/a") || !s.Lead("/a") || s.Is("/a") || s.Names("/") != nil {
		t.Error("no parts are not the whole tree")
	}
}
