package app

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shownElsewhere are rules that stand in neither of the two tables, with the
// test that shows them failing and passing.
var shownElsewhere = map[string]string{
	"fim.self":           "TestSelfRule",
	"net.published-dnat": "TestScript/posture-published of cmd/intact",
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

// judgeAsUser is judgeRoot for an ordinary user, in a process of its own.
func judgeAsUser(t *testing.T, root, config string) map[string]said {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "intact.yaml")
	put(t, file, "version: 1\npaths: [{path: /nonexistent, attributes: presence}]\n"+config)
	must(t, os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Chmod(file, 0o644))
	cmd := exec.Command("/proc/self/exe", "--config="+file, "--state="+filepath.Join(dir, "state"), "--root="+root, "posture", "--profile=seed-strict", "--format=json")
	cmd.Env, cmd.Dir = []string{"INTACT_TEST_CHILD=1", "TZ=UTC", "HOME=" + dir, "PATH=/usr/sbin:/usr/bin:/bin"}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() > ExitFindings {
		t.Fatalf("%v %s", err, errs.String())
	}
	return parseSaid(t, out.String())
}

// nothingPasses demands that no rule passes, or does not apply, for somebody who
// may see less, if it fails for root.
func nothingPasses(t *testing.T, root, user map[string]said) {
	t.Helper()
	unknown := 0
	for id, r := range root {
		u := user[id]
		if u.verdict == "unknown" && u.reason == "" && len(u.subjects) == 0 {
			t.Errorf("%s does not say why it is unknown", id)
		}
		if r.verdict != "fail" {
			continue
		}
		if unknown++; u.verdict == "fail" {
			unknown--
		} else if u.verdict != "unknown" {
			t.Errorf("%s fails for root, and for a user it is %s: %+v", id, u.verdict, r.subjects)
		}
	}
	if unknown == 0 {
		t.Error("the user sees all that root sees: nothing was tried")
	}
}

// An ordinary user learns of an image of which he may read nothing that it is
// unknown.
func TestImageAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root has files that others may not read")
	}
	image := imageOf(t, weakImage(), looseModes)
	must(t, os.Chmod(filepath.Dir(image), 0o755), os.Chmod(image, 0o755))
	weak := judgeRoot(t, image, twoRoles, PostureOptions{Profile: "seed-strict"})
	nothingPasses(t, weak, judgeAsUser(t, image, twoRoles))
	for _, dir := range []string{"etc", "home", "root", "usr", "var"} { // then he cannot tell what is there either
		must(t, os.Chmod(filepath.Join(image, dir), 0o700))
	}
	nothingPasses(t, weak, judgeAsUser(t, image, twoRoles))
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
