package app

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// shownElsewhere are rules that stand in neither of the two tables, with the
// test that shows them failing and passing.
var shownElsewhere = map[string]string{
	"fim.self": "TestSelfRule",
}

// A built-in rule that no test shows on a real thing is found here.
func TestEveryRuleIsShown(t *testing.T) {
	for _, id := range builtinIDs(t) {
		image := slices.ContainsFunc(imageTable, func(c saidOfImage) bool { return c.rule == id })
		live := slices.ContainsFunc(liveTable, func(c saidLive) bool { return c.rule == id })
		if !image && !live && shownElsewhere[id] == "" {
			t.Errorf("%s is shown neither on an image nor on a real service: see imageTable and liveTable", id)
		}
	}
}

// The rule about intact itself goes by what it did: no baseline, a signed one that
// was just made, and the same two days and a half later.
func TestSelfRule(t *testing.T) {
	dir := t.TempDir()
	file, tree := filepath.Join(dir, "intact.yaml"), filepath.Join(dir, "tree")
	must(t, os.Mkdir(tree, 0o755), os.WriteFile(file, []byte("version: 1\npaths: [{path: "+tree+", attributes: config}]\n"), 0o600))
	put(t, filepath.Join(dir, "rules.d/site.yaml"), "intact: rules/v1\nset: site\nrules: [{id: fim.self, params: {off_host: false}}]\n")
	at := time.Duration(0)
	env := func() *Env {
		return &Env{Now: func() time.Time { return time.Now().Add(at) }, Config: file, State: filepath.Join(dir, "state"), Root: "/"}
	}
	says := func() said { return judgeEnv(t, env(), PostureOptions{Sets: []string{"fim"}})["fim.self"] }
	const none = "the baseline is not signed; no full check is known; no report was received off this host"
	if os.Geteuid() == 0 { // of an ordinary user it may be that of root
		if r := says(); r.verdict != "fail" || r.about("host", "fail") == nil || r.about("host", "fail").reasons != none || r.about("host", "fail").severity != "high" {
			t.Errorf("without a baseline: %+v", r)
		}
	}
	e := env()
	var out, errs bytes.Buffer
	e.Stdin, e.Stdout, e.Stderr = strings.NewReader(""), &out, &errs
	if o, err := Init(context.Background(), e, InitOptions{Output: Output{Format: "json"}}); err != nil || o.Exit() != ExitClean {
		t.Fatalf("%v %v %s", o, err, errs.String())
	}
	if r := says(); r.verdict != "pass" {
		t.Errorf("with one: %+v", r)
	}
	at = 60 * time.Hour
	if r := says(); r.verdict != "fail" || !strings.HasPrefix(r.subjects[0].reasons, "the last full check was at ") {
		t.Errorf("too long ago: %+v", r)
	}
	at = 0
	must(t, os.RemoveAll(filepath.Join(dir, "rules.d")))
	if r := says(); r.verdict != "fail" || r.subjects[0].severity != "medium" || r.subjects[0].reasons != "no report was received off this host" {
		t.Errorf("nothing leaves the host: %+v", r)
	}
}
