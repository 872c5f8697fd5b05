package app_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The state folder hides the program's own files and nothing else: no folder
// with such a name, no program, nothing that only begins alike.
func TestStateFolderHidesNothing(t *testing.T) {
	s := newSite(t, "")
	s.state = filepath.Join(s.tree, "state")
	s.write("a", "a")
	s.want(s.init(), 0)
	s.want(s.check(), 0)
	s.want(s.check(), 0) // a report more
	sum := strings.Repeat("0f", 32)
	want := []string{"x.tmp/", "x.tmp/su", "pending/0evil/", "pending/0evil/su", "baseline/0x.db/", "baseline/0x.db/su", "reports/0.jsonl/", "reports/0.jsonl/su",
		"pending/0f", "packages/0f", "packages/" + sum, "packages/" + sum + "-" + sum + "/", "packages/" + sum + "-" + sum + "/su", "reports/0x.jsonl", "reports/0000000009.jsonl", "pending/" + sum, "baseline/0000000009.db", "commit.lock.d/", "pending/" + sum[:62] + "aa/", "pending/" + sum[:62] + "aa/plain", "baseline/ages.sh", "expect/0f", "expect/x.sig", "expect/" + sum, "expect/" + sum + ".sig.d/", "spool.1.tmp",
		"inbox/0f", "inbox/" + sum, "inbox/" + sum + ".sh", "inbox/" + sum[:62] + "aa/", "inbox/" + sum[:62] + "aa/su", "inbox/20260101T000000Z-0123456789abcdef/", "inbox/20260101T000000Z-0123456789abcdef/su",
		"inbox/20260101T000000Z-0123456789abcdeF", "inbox/20260101T000000Z-0123456789abcde", "inbox/x.tmp", "packages/x.tmp", "packages/" + sum + "-" + sum + ".sh",
		"indexes/0f", "indexes/" + sum, "indexes/" + sum + ".index", "indexes/" + sum + ".release/", "indexes/" + sum + ".release/su", "indexes/x.tmp"}
	for _, name := range want {
		at := filepath.Join(s.state, name)
		if strings.HasSuffix(name, "/") {
			s.must(os.Mkdir(at, 0o755))
			continue
		}
		s.must(os.WriteFile(at, []byte(name), 0o644))
		switch filepath.Base(name) {
		case "su":
			s.must(os.Chmod(at, 0o755|os.ModeSetuid))
		case sum, sum + ".index", "0000000009.db":
			s.must(os.Chmod(at, 0o755))
		}
	}
	s.must(os.Remove(filepath.Join(s.state, "spool.1.tmp")), unix.Mkfifo(filepath.Join(s.state, "spool.1.tmp"), 0o600))
	for _, name := range []string{"inbox/x.tmp", "packages/x.tmp", "indexes/x.tmp"} {
		at := filepath.Join(s.state, name)
		s.must(os.Remove(at), os.Symlink("/bin/sh", at))
	}
	s.must(os.WriteFile(filepath.Join(s.state, "indexes", sum[:62]+"aa.index"), nil, 0o600)) // as a hook keeps it
	var got []string
	for _, l := range parse(t, s.check().stdout) {
		if l.Type == "finding" && l.Set == "integrity" && l.Change == "added" {
			got = append(got, l.path)
		}
	}
	for _, name := range want {
		if p := filepath.Join(s.state, name); !slices.Contains(got, p) {
			t.Errorf("%s is hidden", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d found, %d made: %q", len(got), len(want), got)
	}
}
