package osupdates

import "testing"

// What std::seed_seq, minstd_rand and uniform_int_distribution of libstdc++ give.
func TestDraw(t *testing.T) {
	for _, tt := range []struct {
		seed string
		want uint32
	}{
		{"", 63},
		{"a", 94},
		{"ab", 53},
		{"abc", 18},
		{"abcd", 2},
		{"openssl-3.0.2-0ubuntu1.18-0123456789abcdef0123456789abcdef", 85},
		{"linux-1-ffffffffffffffffffffffffffffffff", 25},
		{"systemd-249.11-0ubuntu3.12-b08dfa6083e7567a1921a715000001fb", 45},
		{"héé", 67},
	} {
		if got := draw(tt.seed); got != tt.want {
			t.Errorf("%q: got %d, want %d", tt.seed, got, tt.want)
		}
	}
}

func TestPhasing(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef" // draws 64 for openssl 3.0.2-0ubuntu1.18
	for _, tt := range []struct {
		name    string
		ph      phasing
		percent int
		want    bool
	}{
		{"all-hosts", phasing{machine: id}, 100, false},
		{"not-yet", phasing{machine: id}, 0, true},
		{"always", phasing{machine: id, always: true, never: true}, 0, false},
		{"never", phasing{machine: id, never: true}, 99, true},
		{"no-machine-id", phasing{}, 0, false},
	} {
		if got := tt.ph.waits("openssl", "3.0.2-0ubuntu1.18", tt.percent); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}
