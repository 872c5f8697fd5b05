package rpm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

func TestVercmp(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"1.0", "1.0", 0}, {"1.0", "2.0", -1}, {"2.0.1", "2.0", 1}, {"2.0.1a", "2.0.1", 1}, {"5.5p1", "5.5p10", -1}, {"10xyz", "10.1xyz", -1},
		{"xyz10", "xyz10.1", -1}, {"xyz.4", "8", -1}, {"5.5p2", "5.6p1", -1}, {"6.0.rc1", "6.0", 1}, {"10b2", "10a1", 1}, {"1.0aa", "1.0a", 1},
		{"10.0001", "10.1", 0}, {"10.0001", "10.0039", -1}, {"4.999.9", "5.0", -1}, {"20101121", "20101122", -1}, {"2_0", "2.0", 0}, {"a", "a+", 0}, {"+", "_", 0},
		{"1.0~rc1", "1.0", -1}, {"1.0~rc1", "1.0~rc2", -1}, {"1.0~rc1~git1", "1.0~rc1", -1}, {"1.0^", "1.0", 1}, {"1.0^git1", "1.01", -1},
		{"1.0^20160101", "1.0.1", -1}, {"1.0~rc1^git1", "1.0~rc1", 1}, {"1.0^git1~pre", "1.0^git1", -1}, {"", "~", 1}, {"", "^", -1}, {"1", "a", 1},
		{"18446744073709551617", "18446744073709551616", 1}, {"é", "", 0}, {"1.", "1", 0},
	} {
		if got := Vercmp(tt.a, tt.b); got != tt.want {
			t.Errorf("Vercmp(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := Vercmp(tt.b, tt.a); got != -tt.want {
			t.Errorf("Vercmp(%q, %q) = %d, want %d", tt.b, tt.a, got, -tt.want)
		}
	}
}

func TestEVR(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"1-1", "0:1-1", 0}, {"1:1-1", "2-1", 1}, {"1-2", "1-10", -1}, {"1", "1-10", 0}, {"2:1.2~rc1-3", "2:1.2-1", -1}, {":1-1", "1-1", 0}, {"x:1", "0:x:1", 0}} {
		a, b := ParseEVR(tt.a), ParseEVR(tt.b)
		if got := a.Compare(b); got != tt.want || b.Compare(a) != -tt.want {
			t.Errorf("%q and %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
	if s := ParseEVR("2:1.2~rc1-3").String(); s != "2:1.2~rc1-3" {
		t.Error(s)
	}
}

// words are versions that are hard to order.
func words(r *rand.Rand) string {
	const letters = "0019abZ..~^-+_"
	b := make([]byte, r.IntN(7))
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

func TestVercmpProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		a, b := words(r), words(r)
		if Vercmp(a, b) != -Vercmp(b, a) || Vercmp(a, a) != 0 {
			t.Fatalf("%q and %q", a, b)
		}
	}
	deep := strings.Repeat("~^", 1<<20)
	if Vercmp(deep+"1", deep+"2") != -1 {
		t.Error("a long run of marks")
	}
}

// rpm itself orders them like that.
func TestVercmpLikeRPM(t *testing.T) {
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skip("SKIPPED: no rpm: apt-get install rpm")
	}
	r := rand.New(rand.NewPCG(3, 4))
	var script, want strings.Builder
	for range 2000 {
		// A version by itself: "-" would begin a release there.
		a, b := "1"+strings.ReplaceAll(words(r), "-", "."), "1"+strings.ReplaceAll(words(r), "-", ".")
		fmt.Fprintf(&script, "print(rpm.vercmp('%s','%s')..',')", a, b)
		fmt.Fprintf(&want, "%d,", Vercmp(a, b))
	}
	out, err := exec.Command("rpm", "--eval", "%{lua:"+script.String()+"}").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(string(bytes.TrimSpace(out)), ",")
	for i, w := range strings.Split(want.String(), ",") {
		if i >= len(got) || got[i] != w {
			lines := strings.Split(script.String(), "print")
			t.Fatalf("%s: rpm says %v, not %s", lines[i+1], got[min(i, len(got)-1)], w)
		}
	}
}
