package watching

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var (
	soakFor  = flag.Duration("soak", 0, "let a soak of intact watch take this long; 0: none")
	soakSeed = flag.Uint64("seed", 1, "of the soak")
)

// TestSoak is a short round of what the soak of make soak does: go test
// ./benchmarks/watching -soak 8s. It builds the program and keeps two cores busy.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("SKIPPED, NOT TESTED: needs -soak 8s")
	}
	intact := filepath.Join(t.TempDir(), "intact")
	if out, err := exec.Command("go", "build", "-o", intact, "intact/cmd/intact").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, o := range map[string]SoakOptions{
		"full speed": {Bind: os.Geteuid() == 0},
		"links":      {Hard: true, Pace: 2 * time.Millisecond},
		"calm":       {Pace: 10 * time.Millisecond, Bind: os.Geteuid() == 0},
	} {
		t.Run(name, func(t *testing.T) {
			o.For, o.Seed, o.Writers, o.Beside, o.Log = *soakFor, *soakSeed, 4, *soakFor/5, t.Logf
			r, err := Soak(context.Background(), &Host{Intact: intact, Dir: t.TempDir()}, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", r)
			if r.Changes == 0 || r.Findings == 0 || r.Pending == 0 {
				t.Error("it tested nothing")
			}
			for _, w := range r.Wrong {
				t.Error(w)
			}
		})
	}
}

// What is held against each other tells what differs and nothing else.
func TestTold(t *testing.T) {
	report := `{"type":"header"}
{"type":"finding","set":"integrity","subject":{"path":"/hot/a"},"change":"changed","attributes":[{"name":"size","new":"2"}]}
{"type":"finding","set":"integrity","subject":{"path":"/hot/c"},"change":"renamed","from":"/hot/b","links":["/hot/l"],"attributes":[]}
{"type":"finding","set":"mounts","subject":{"path":"/hot/m"},"change":"added"}
{"type":"trailer","pending":"blake3:00"}
`
	told := newTold()
	for l, err := range linesOf([]byte(report)) {
		if err != nil {
			t.Fatal(err)
		}
		told.take(l)
	}
	if told.size() != 4 || told.paths["/hot/b"] != gone || told.paths["/hot/a"] != "size=2" || told.pending != "blake3:00" {
		t.Errorf("%+v", told)
	}
	var h Host
	for _, step := range []struct {
		line string
		ok   bool
	}{
		{`{"type":"finding","set":"integrity","subject":{"path":"/hot/a"},"change":"changed","attributes":[{"name":"size","new":"2"}]}`, true},
		{`{"type":"finding","set":"integrity","subject":{"path":"/hot/a"},"change":"changed","attributes":[{"name":"size","new":"3"}]}`, false},
		{`{"type":"finding","set":"integrity","subject":{"path":"/hot/b"},"change":"removed"}`, true},
		{`{"type":"finding","set":"integrity","subject":{"path":"/hot/a"},"change":"removed"}`, false},
		{`{"type":"finding","set":"integrity","subject":{"path":"/hot/z"},"change":"added"}`, false},
		{`{"type":"finding","set":"integrity","subject":{"path":"/hot/l"},"change":"added"}`, true},
	} {
		f, err := h.fresh([]byte(step.line), told)
		if err != nil || (len(f.wrong) == 0) != step.ok {
			t.Errorf("%s: %q %v", step.line, f.wrong, err)
		}
	}
}
