package facts

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"intact/rules"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

func TestExposed(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"", "a", "a/b", "a/b/c", "d"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "a/b"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	r, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	me := int64(os.Geteuid())
	for _, c := range []struct{ path, top, want string }{{"/a/b/c", "/", "/a/b"}, {"/a/b/c", "/a/b/c", ""}, {"/a", "/", ""}, {"/d", "/", ""}} {
		if got, err := Exposed(r, entry.Path(c.path), me, entry.Path(c.top)); err != nil || got != c.want {
			t.Errorf("%s: %q %v, want %q", c.path, got, err, c.want)
		}
	}
	if _, err := Exposed(r, "/gone", me, "/"); !Missing(err) {
		t.Error(err)
	}
}

func TestAnswerStatus(t *testing.T) {
	for err, want := range map[error]rules.Status{fs.ErrNotExist: rules.Absent, syscall.ENOTDIR: rules.Absent, syscall.EACCES: rules.Denied, syscall.EIO: rules.Failed, context.Canceled: rules.Timeout} {
		a := Answer[int]{Status: rules.OK}
		a.Fail(nil)
		a.Fail(fmt.Errorf("x: %w", err))
		a.Fail(fmt.Errorf("y"))
		if a.Status != want || a.Reason[0] != 'x' {
			t.Errorf("%v: %s %s", err, a.Status, a.Reason)
		}
	}
}
