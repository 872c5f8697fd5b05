package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The unit of the watcher is one that systemd takes without a word.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED: systemd-analyze is not installed")
	}
	text, err := os.ReadFile("../../packaging/systemd/intact-watch.service")
	if err != nil {
		t.Fatal(err)
	}
	const program = "/usr/bin/intact"
	if !strings.Contains(string(text), "ExecStart="+program+" watch\n") {
		t.Errorf("the unit does not start %s", program)
	}
	unit := filepath.Join(t.TempDir(), "intact-watch.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), program, "/bin/true")), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
	if err != nil || strings.Contains(string(out), "intact-watch.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
