package app_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/app"
)

// smallState mounts a small file system as the state folder.
func (s *site) smallState(size string) {
	s.t.Helper()
	s.must(os.MkdirAll(s.state, 0o700))
	if os.Geteuid() != 0 {
		s.t.Skip("needs root: a small file system has to be mounted")
	}
	if err := unix.Mount("intact-test", s.state, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		s.t.Skipf("no small file system can be mounted here: %v", err)
	}
	s.t.Cleanup(func() { _ = unix.Unmount(s.state, unix.MNT_DETACH) })
}

// fill leaves room for so many pages.
func (s *site) fill(pages int) {
	s.t.Helper()
	name := filepath.Join(s.state, "ballast")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	s.must(err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	fi, err := f.Stat()
	s.must(err, f.Truncate(max(fi.Size()-4096*int64(pages), 0)))
}

func (s *site) empty() { s.must(os.Remove(filepath.Join(s.state, "ballast"))) }

// full demands that a command ended for want of space and said so.
func (s *site) full(r result, what string) {
	s.t.Helper()
	if r.exit != 3 || r.err == nil || !strings.Contains(r.err.Error(), "no space left") {
		s.t.Errorf("%s: want exit 3 for want of space, got %v", what, r)
	}
}

func (s *site) many(n int) {
	for i := range n {
		s.write(fmt.Sprintf("d%02d/f%04d", i%20, i), fmt.Sprint(i))
	}
}

func TestFullDiskInit(t *testing.T) {
	s := newSite(t, "")
	s.many(1500)
	s.smallState("8k")
	s.fill(0)
	s.full(s.init(), "init without any room")
	s.empty()
	for _, size := range []string{"4k", "8k", "12k", "16k", "32k", "64k", "96k"} {
		s.must(unix.Mount("intact-test", s.state, "tmpfs", unix.MS_REMOUNT, "size="+size))
		s.full(s.init(), "init in "+size)
		if n, _ := s.generation(); n != 0 {
			t.Fatalf("init in %s: there is a generation %d", size, n)
		}
		if r := s.check(); r.exit != 4 || !strings.Contains(fmt.Sprint(r.err), "no baseline") {
			t.Errorf("check after init in %s: %v", size, r)
		}
		if l := s.temps(); len(l) > 0 {
			t.Errorf("init in %s leaves %q", size, l)
		}
	}
	s.must(unix.Mount("intact-test", s.state, "tmpfs", unix.MS_REMOUNT, "size=4m"))
	s.want(s.init(), 0)
	s.want(s.check(), 0)
}

func TestFullDiskCheckAndAccept(t *testing.T) {
	onlyPlain(t)
	s := newSite(t, "")
	s.many(1500)
	s.smallState("2m")
	s.want(s.init(), 0)
	s.write("d00/changing", "new")
	s.want(s.check(), 1)
	n, text := s.generation()
	for pages := range 80 {
		if pages > 12 && pages%8 > 0 {
			continue
		}
		s.fill(pages)
		what := fmt.Sprintf("%d free pages", pages)
		if r := s.check(); r.exit != 1 || pages == 0 { // from some number on there is room
			s.full(r, "check with "+what)
			s.full(s.accept(), "accept with "+what)
		}
		if got, stands := s.generation(); got != n || stands != text {
			t.Fatalf("%s: generation %d in the place of %d", what, got, n)
		}
		if r := s.verify(); r.exit != 0 || r.err != nil {
			t.Fatalf("%s: verify: %v", what, r)
		}
		if l := s.temps(); len(l) > 0 {
			t.Errorf("%s: left behind: %q", what, l)
		}
		s.empty()
	}
	s.want(s.check(), 1)
	for pages := range 60 {
		s.fill(pages)
		r := s.accept()
		s.empty()
		if r.exit == 0 {
			break
		}
		s.full(r, fmt.Sprintf("accept with %d free pages", pages))
		if got, _ := s.generation(); got == n+1 && strings.Contains(r.err.Error(), "is in force, but there is no report of it") {
			break
		}
		if got, stands := s.generation(); got != n || stands != text {
			t.Fatalf("accept with %d free pages: generation %d in the place of %d: %v", pages, got, n, r)
		}
		if pages%8 == 0 {
			s.want(s.check(), 1)
		}
	}
	if got, _ := s.generation(); got != n+1 {
		s.want(s.accept(), 0)
	}
	s.want(s.check(), 0)
	if r := s.verify(); r.exit != 0 || r.err != nil {
		t.Fatalf("verify: %v", r)
	}
}

// A full disk breaks no upgrade.
func TestFullDiskHook(t *testing.T) {
	s := newSite(t, "")
	s.write("f", "1")
	s.smallState("2m")
	s.want(s.init(), 0)
	s.fill(0)
	for _, do := range []func(context.Context, *app.Env, app.HookOptions) app.Outcome{app.HookPre, app.HookPost} {
		r := s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
			e.Stdin = strings.NewReader("VERSION 3\n\nnone-such 1 all none > - - none **REMOVE**\n")
			return do(ctx, e, app.HookOptions{Manager: "apt", Lists: "none"}), nil
		})
		if r.exit != 0 || !strings.Contains(r.stderr, "provenance not captured: ") && len(s.temps()) > 0 {
			t.Errorf("%v, left: %q", r, s.temps())
		}
	}
	s.empty()
	s.want(s.check(), 0)
}
