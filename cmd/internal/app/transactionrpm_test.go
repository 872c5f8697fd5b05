package app_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/app"
)

// slowSpec is a package that installs for as long as nobody writes to /go.
const slowSpec = `Name: slow
Version: 1
Release: 1
Summary: A package of tests
License: none
BuildArch: noarch
%description
A package of tests.
%pre -p <lua>
local f = io.open("/started", "w")
f:close()
io.open("/go", "r"):read(1)
%files
`

// A check waits for rpm itself, amid a transaction, and goes on when that is over.
func TestWaitForRPM(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root installs packages")
	}
	for _, name := range []string{"rpm", "rpmbuild"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("SKIPPED: no rpmbuild: apt-get install rpm")
		}
	}
	dir := t.TempDir()
	root, spec := filepath.Join(dir, "root"), filepath.Join(dir, "slow.spec")
	s := newSite(t, "")
	s.must(os.Mkdir(root, 0o755), os.WriteFile(spec, []byte(slowSpec), 0o644),
		unix.Mkfifo(filepath.Join(root, "started"), 0o600), unix.Mkfifo(filepath.Join(root, "go"), 0o600))
	if out, err := exec.Command("rpmbuild", "-bb", "--quiet", "--target", "noarch", "--define", "_topdir "+dir, spec).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.write("f", "1")
	s.want(s.init(), 0)
	s.locks = []string{filepath.Join(root, "var/lib/rpm/.rpm.lock")}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rpm := exec.CommandContext(ctx, "rpm", "--root", root, "--dbpath", "/var/lib/rpm", "-i", "--nodeps", "--ignorearch", filepath.Join(dir, "RPMS/noarch/slow-1-1.noarch.rpm"))
	var said bytes.Buffer
	rpm.Stderr = &said
	s.must(rpm.Start())
	ended := make(chan error, 1)
	go func() { ended <- rpm.Wait() }()
	begun := make(chan error, 1)
	go func() { _, err := os.ReadFile(filepath.Join(root, "started")); begun <- err }()
	select {
	case err := <-begun:
		s.must(err)
	case err := <-ended:
		t.Fatalf("rpm ended before its script: %v: %s", err, said.String())
	}
	r := s.check(waiting(0))
	s.want(r, 0)
	wantDuring(t, r, fmt.Sprintf("during a transaction of rpm (pid %d)", rpm.Process.Pid))

	var out bytes.Buffer
	var once sync.Once
	release := writerFunc(func([]byte) { // it says that it waits
		once.Do(func() { s.must(os.WriteFile(filepath.Join(root, "go"), []byte("x"), 0o600), <-ended) })
	})
	o, err := app.Check(ctx, s.env(&out, release), app.CheckOptions{Output: app.Output{Format: "json"}})
	if err != nil || o.Exit() != 0 {
		t.Fatalf("exit %d, %v: rpm said %s", o.Exit(), err, said.String())
	}
	wantDuring(t, result{stdout: out.Bytes()}, "")
}
