package scanner

import (
	"testing"
	"time"

	"intact/scanner/dirfd"
)

func TestCrowd(t *testing.T) {
	const all = 16
	few := 0
	for _, tt := range []struct {
		name string
		met  []met
		want func() int
	}{
		{"at the start", nil, func() int { return few }},
		{"in the page cache", []met{{probes: 500}}, func() int { return few }},
		{"too little is known", []met{{probes: enoughProbes - 1, misses: enoughProbes - 1}}, func() int { return few }},
		{"not in the page cache", []met{{probes: 40, misses: 20}, {probes: 40}}, func() int { return all }},
		{"some are not", []met{{probes: 100, misses: 5}}, func() int { return few }},
		{"back in the page cache", []met{{probes: 100, misses: 100}, {probes: 1000, misses: 10}}, func() int { return few }},
		{"still half of them", []met{{probes: 100, misses: 100}, {probes: 100, misses: 5}}, func() int { return all }},
		{"fast disk", []met{{probes: 100, misses: 100, waits: 100, waited: 300 * time.Millisecond, device: 1 << 40}}, func() int { return all }},
		{"slow, of no known kind", []met{{probes: 100, misses: 100, waits: 100, waited: time.Minute, device: 1<<64 - 1}}, func() int { return all }},
	} {
		s := &scan{root: new(dirfd.Root)}
		s.crowd.init(all, &s.mu)
		few = s.crowd.few
		for _, m := range tt.met {
			s.learn(&m)
			if m != (met{}) {
				t.Errorf("%s: what was told is told again: %+v", tt.name, m)
			}
		}
		if got := s.crowd.active; got != tt.want() {
			t.Errorf("%s: %d at work, want %d", tt.name, got, tt.want())
		}
	}
}
