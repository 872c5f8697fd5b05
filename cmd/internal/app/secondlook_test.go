package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

func TestParseShare(t *testing.T) {
	tests := []struct {
		in   string
		want share // zero: refused
	}{
		{"1", share{files: 1}}, {"100000", share{files: maxSample}},
		{"100%", share{chance: certain}}, {"50%", share{chance: 1 << 63}}, {"0.000001%", share{chance: 184467440737}}, {"25.0%", share{chance: 1 << 62}},
		{in: ""}, {in: "0"}, {in: "0%"}, {in: "0.0%"}, {in: "101%"}, {in: "100.1%"}, {in: "-1"}, {in: "1.5"}, {in: ".5%"}, {in: "5.%"}, {in: "%"},
		{in: "1e2"}, {in: "1e1%"}, {in: "inf%"}, {in: "NaN%"}, {in: "0x1"}, {in: "100001"}, {in: "1 %"}, {in: "1%%"}, {in: "0.0000001%"}, {in: "99999999999999999999"},
	}
	for _, tt := range tests {
		got, err := parseShare(tt.in)
		if (err == nil) == (tt.want == share{}) || got != tt.want {
			t.Errorf("%q: got %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
}

// drawn gives n files to a sample and returns the numbers of those taken.
func drawn(t *testing.T, want string, n int, random io.Reader) map[int]bool {
	t.Helper()
	sh, err := parseShare(want)
	if err != nil {
		t.Fatal(err)
	}
	l := &secondLook{share: sh, random: bufio.NewReader(random), sorter: diff.NewSorter(t.TempDir(), 1000, compareSample)}
	defer l.close()
	for i := range n {
		e := &entry.Entry{Name: fmt.Appendf(nil, "f%d", i), Kind: entry.File, Size: int64(i)}
		if err := l.draw("/d", e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.settle(); err != nil {
		t.Fatal(err)
	}
	out := map[int]bool{}
	for b, err := range diff.Merge(l.sorter) {
		if err != nil {
			t.Fatal(err)
		}
		p, e, err := parseSample(b)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("/d/f%d", e.Size); string(p) != want || out[int(e.Size)] {
			t.Fatalf("%q was drawn, want %q once", p, want)
		}
		out[int(e.Size)] = true
	}
	return out
}

func TestSampleSizes(t *testing.T) {
	random := seeded{rand.NewChaCha8([32]byte{7})}
	for _, tt := range []struct {
		share    string
		n        int
		min, max int
	}{
		{"100%", 500, 500, 500}, {"10", 500, 10, 10}, {"10", 4, 4, 4}, {"10", 0, 0, 0}, {"1%", 0, 0, 0},
		{"50%", 4000, 1800, 2200}, {"1%", 20000, 120, 280}, {"0.000001%", 300, 1, 1},
	} {
		if got := len(drawn(t, tt.share, tt.n, random)); got < tt.min || got > tt.max {
			t.Errorf("%s of %d: %d were drawn, want %d to %d", tt.share, tt.n, got, tt.min, tt.max)
		}
	}
}

// Every file has the same chance, whenever it comes.
func TestSampleIsFair(t *testing.T) {
	random := seeded{rand.NewChaCha8([32]byte{8})}
	for _, share := range []string{"5", "0.000001%", "25%"} {
		const n, rounds = 20, 2000
		var count [n]float64
		sum := 0.0
		for range rounds {
			for i := range drawn(t, share, n, random) {
				count[i]++
				sum++
			}
		}
		mean := sum / n
		for i, c := range count {
			if math.Abs(c-mean) > 6*math.Sqrt(mean) {
				t.Errorf("%s: file %d was drawn %.0f times, the mean is %.0f", share, i, c, mean)
			}
		}
	}
}

type noChance struct{}

func (noChance) Read([]byte) (int, error) { return 0, errors.New("no random numbers") }

// Without chance the share cannot be foretold if it is everything.
func TestSampleWithoutChance(t *testing.T) {
	if got := len(drawn(t, "1%", 300, noChance{})); got != 300 {
		t.Errorf("%d of 300 were drawn", got)
	}
}
