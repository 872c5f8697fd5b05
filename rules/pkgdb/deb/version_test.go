package deb_test

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"intact/rules/pkgdb/deb"
)

func sign(n int) int { return min(1, max(-1, n)) }

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		a    string
		want string
		b    string
	}{
		{"1.0", "<", "1.1"}, {"1.9", "<", "1.10"}, {"1.0-1", "<", "1.0-2"}, {"1.0", "=", "1.0-0"}, {"0:1.0", "=", "1.0"},
		{"1:0.1", ">", "9.9"}, {"1.0~rc1", "<", "1.0"}, {"1.0~~", "<", "1.0~"}, {"1.0~", "<", "1.0"}, {"1.0", "<", "1.0a"},
		{"1.0a", "<", "1.0+"}, {"1.0-1~deb12u1", "<", "1.0-1"}, {"1.0-1+deb12u1", ">", "1.0-1"}, {"1.2-3-4", ">", "1.2-3"},
		{"00001.0", "=", "1.0"}, {"1.0+nmu1", "<", "1.0+nmu2"}, {"2.36-9+deb12u10", ">", "2.36-9+deb12u9"},
		{"99999999999999999999999", ">", "99999999999999999999998"}, {"1.a", "<", "1.b"}, {"1.A", "<", "1.a"}, {"1", "<", "1."},
	} {
		want := strings.Index("<=>", tt.want) - 1
		if got := sign(deb.Compare(tt.a, tt.b)); got != want {
			t.Errorf("%s %s %s: got %d", tt.a, tt.want, tt.b, got)
		}
		if got := sign(deb.Compare(tt.b, tt.a)); got != -want {
			t.Errorf("%s and %s the other way round: got %d", tt.b, tt.a, got)
		}
	}
}

func TestValidVersion(t *testing.T) {
	for _, v := range []string{"1", "1:2.0-1", "1.0-1~deb12u1+b1", "0:0", "2147483647:1", "1:2:3-4", "1-2-3"} {
		if !deb.ValidVersion(v) {
			t.Errorf("%q is refused", v)
		}
	}
	for _, v := range []string{"", ":1", "a:1", "-1:1", "2147483648:1", "1:", "1-", "1 2", "1\n", "a1", "1_2", "1-2_3", "1\xff", strings.Repeat("1", 2000)} {
		if deb.ValidVersion(v) {
			t.Errorf("%q is taken", v)
		}
	}
}

// versions makes versions that differ in interesting places.
func versions(r *rand.Rand) string {
	const letters = "0019~+.aZb:-"
	var b strings.Builder
	if r.IntN(3) == 0 {
		b.WriteString([]string{"0:", "1:", "01:"}[r.IntN(3)])
	}
	b.WriteByte("019"[r.IntN(3)])
	for range r.IntN(7) {
		b.WriteByte(letters[r.IntN(len(letters))])
	}
	return b.String()
}

// The order is one: it can be turned round, and what is smaller than the
// smaller is smaller.
func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		a, b, c := versions(r), versions(r), versions(r)
		if sign(deb.Compare(a, b)) != -sign(deb.Compare(b, a)) || deb.Compare(a, a) != 0 {
			t.Fatalf("%q and %q", a, b)
		}
		if deb.Compare(a, b) <= 0 && deb.Compare(b, c) <= 0 && deb.Compare(a, c) > 0 {
			t.Fatalf("%q, %q and %q", a, b, c)
		}
	}
}

func TestCompareLikeDpkg(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("SKIPPED: dpkg is not installed")
	}
	r := rand.New(rand.NewPCG(5, 6))
	n := 0
	for n < 400 {
		a, b := versions(r), versions(r)
		if !deb.ValidVersion(a) || !deb.ValidVersion(b) {
			continue
		}
		n++
		for op, ok := range map[string]bool{"lt": deb.Compare(a, b) < 0, "eq": deb.Compare(a, b) == 0} {
			out, err := exec.Command("dpkg", "--compare-versions", a, op, b).CombinedOutput()
			if len(out) > 0 || (err == nil) != ok {
				t.Errorf("%q %s %q: dpkg says %v %s", a, op, b, err == nil, out)
			}
		}
	}
}

func FuzzCompare(f *testing.F) {
	f.Add("1:1.0~a-1", "1.0")
	f.Fuzz(func(t *testing.T, a, b string) {
		if sign(deb.Compare(a, b)) != -sign(deb.Compare(b, a)) || deb.Compare(a, a) != 0 {
			t.Errorf("%q and %q", a, b)
		}
	})
}
