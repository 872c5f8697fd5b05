package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"intact/cmd/internal/cli"
)

// cmdMapped writes TEXT to the beginning of FILE through a map that stays until
// the script ends: mapped FILE TEXT.
func cmdMapped(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: mapped FILE TEXT")
	}
	text := strings.Join(args[1:], " ")
	f, err := os.OpenFile(ts.MkAbs(name(ts, args[0])), os.O_RDWR, 0)
	ts.Check(err)
	m, err := syscall.Mmap(int(f.Fd()), 0, len(text), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	ts.Check(err)
	ts.Defer(func() {
		_ = syscall.Munmap(m) // the script is over
		_ = f.Close()
	})
	copy(m, text)
}

// startWatch starts a watcher of the image and returns the findings that it prints,
// until the test ends.
func (m *image) startWatch() <-chan map[string]any {
	m.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	found := make(chan map[string]any, 100)
	ended := make(chan int, 1)
	go func() {
		line := append(append([]string{}, m.args...), "watch", "--format=json")
		ended <- cli.MainOf(ctx, cli.Known{Tool: toolDigest()}, line, strings.NewReader(""), in, io.Discard)
		_ = in.Close() // never fails, io.PipeWriter
	}()
	m.t.Cleanup(func() {
		stop()
		if got := <-ended; got != 130 {
			m.t.Errorf("the watcher exits with %d, want 130", got)
		}
	})
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			var r map[string]any
			if json.Unmarshal(s.Bytes(), &r) == nil && r["type"] == "finding" {
				found <- r
			}
		}
		_, _ = io.Copy(io.Discard, out) // should a line have been too long
	}()
	return found
}

// Who writes to the disk below a mounted file system is found by verifying again,
// though the page cache shows what was there; once.
func TestReverifyPastCache(t *testing.T) {
	m := newImage(t, []string{"mkfs.ext4", "-q", "-F", "-b", "4096"})
	if _, err := exec.LookPath("debugfs"); err != nil {
		t.Skipf("SKIPPED: no file can be made old: %v", err)
	}
	b := m.write("tool", 9000)
	m.write("fresh", 4096)
	m.umount()
	for _, field := range []string{"ctime", "mtime"} { // at rest: what may be being written is left alone
		m.tool("debugfs", "-w", "-R", "set_inode_field /tool "+field+" 20250101000000", m.file)
	}
	m.mount("")
	policy := strings.TrimPrefix(m.args[1], "--config=")
	must(t, os.WriteFile(policy, []byte("version: 1\npaths: [{path: /, attributes: binary}, {path: /hot, attributes: binary, hot: true}]\nreverify: {every: 1s, past_cache: 100%}\n"), 0o600))
	m.intact(0, "init")
	m.shown("tool", b)
	m.plant(b, 100)
	m.shown("tool", b)
	m.intact(0, "check")
	found := m.startWatch()
	select {
	case r := <-found:
		if r["rule"] != "fim.two-views" || r["severity"] != "critical" || r["subject"].(map[string]any)["path"] != "/tool" {
			t.Fatalf("found %v", r)
		}
	case <-time.After(watchPatience):
		t.Fatal("nothing was found")
	}
	m.write("new", 10) // found by a later pass: what was told is not told again
	select {
	case r := <-found:
		if r["rule"] != "fim.executable" || r["subject"].(map[string]any)["path"] != "/new" {
			t.Fatalf("found %v", r)
		}
	case <-time.After(watchPatience):
		t.Fatal("nothing more was found")
	}
	m.shown("tool", b)
}
