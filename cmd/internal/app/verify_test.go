package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/app"
)

// seen is what verify --format json says of one object.
type seen struct {
	Type    string `json:"type"`
	Path    string `json:"path"`
	PathB64 []byte `json:"path_b64"`
	Verdict string `json:"verdict"`
	SHA256  string `json:"sha256"`
	Running *struct {
		Role      string `json:"role"`
		OnDisk    bool   `json:"on_disk"`
		DiskSHA   string `json:"disk_sha256"`
		Processes []struct {
			PID int `json:"pid"`
		} `json:"processes"`
	} `json:"running"`
	RunBy []struct {
		PID int `json:"pid"`
	} `json:"run_by"`
	Gaps []struct{ Reason, Detail string } `json:"gaps"`

	Exits     []int `json:"exits"`
	Anonymous int64 `json:"anonymous_mappings"`
	Processes int64 `json:"processes"`
	Denied    int64 `json:"processes_not_read"`
	Failed    int64 `json:"mappings_not_read"`
}

func (v *seen) name() string {
	if v.PathB64 != nil {
		return string(v.PathB64)
	}
	return v.Path
}

func (s *site) verifyFiles(o app.VerifyOptions) (result, []seen) {
	s.t.Helper()
	o.Format = "json"
	r := s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.Verify(ctx, e, o) })
	return r, readSeen(s.t, r.stdout)
}

func readSeen(t testing.TB, out []byte) (list []seen) {
	t.Helper()
	for line := range bytes.Lines(out) {
		var v seen
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		list = append(list, v)
	}
	return list
}

// one returns the object in the role that ends in name, or the trailer.
func one(t testing.TB, list []seen, role, name string) *seen {
	t.Helper()
	for i := range list {
		v := &list[i]
		if role == "" && v.Type == "trailer" || v.Running != nil && v.Running.Role == role && strings.HasSuffix(v.name(), name) {
			return v
		}
	}
	t.Fatalf("nothing %s called %q in %+v", role, name, list)
	return nil
}

// programCopy puts a copy of a program of this host into the tree.
func (s *site) programCopy(program, name string) string {
	s.t.Helper()
	from, err := exec.LookPath(program)
	if err != nil {
		s.t.Skipf("NOT TESTED: there is no %s here", program)
	}
	b, err := os.ReadFile(from)
	to := filepath.Join(s.tree, name)
	s.must(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, b, 0o755), os.Chmod(to, 0o755))
	return to
}

// start runs a copy of cat until the test ends.
func (s *site) start(program string) int {
	s.t.Helper()
	return s.started(exec.Command(program))
}

// started starts a command that becomes cat and waits until it is.
func (s *site) started(cmd *exec.Cmd) int {
	s.t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	s.must(err, cmd.Start())
	s.t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill() // it has ended where all is well
		_ = cmd.Wait()
	})
	// cat answers once it runs: then exec is over.
	if _, err := io.WriteString(in, "x\n"); err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 2)); err != nil {
		s.t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestVerifyProcess(t *testing.T) {
	for name, tt := range map[string]struct {
		program string
		change  func(t *testing.T, s *site, file string)
		verdict string
		path    string // "" as the program
	}{
		"as accepted":              {program: "cat", verdict: "same"},
		"hostile":                  {program: "c\n\x1b[31m\xff", verdict: "same"},
		"a name that says deleted": {program: "cat (deleted)", verdict: "same"},
		"deleted":                  {program: "cat", verdict: "deleted", change: func(t *testing.T, s *site, file string) { s.must(os.Remove(file)) }},
		"deleted beside a decoy": {program: "cat", verdict: "deleted", change: func(t *testing.T, s *site, file string) {
			s.must(os.Remove(file))
			s.programCopy("cat", "cat (deleted)")
		}},
		"a name that says deleted is": {program: "cat (deleted)", verdict: "deleted", change: func(t *testing.T, s *site, file string) { s.must(os.Remove(file)) }},
		"replaced": {program: "cat", verdict: "replaced", change: func(t *testing.T, s *site, file string) {
			s.write("new", "another")
			s.must(os.Rename(filepath.Join(s.tree, "new"), file))
		}},
		"renamed": {program: "cat", verdict: "not in baseline", path: "moved", change: func(t *testing.T, s *site, file string) {
			s.must(os.Rename(file, filepath.Join(s.tree, "moved")))
		}},
		"put back": {program: "cat", verdict: "same", change: func(t *testing.T, s *site, file string) {
			// The same inode, whose name the kernel still calls deleted.
			s.must(os.Link(file, file+".keep"), os.Remove(file), os.Link(file+".keep", file), os.Remove(file+".keep"))
		}},
		"mode": {program: "cat", verdict: "differs", change: func(t *testing.T, s *site, file string) { s.must(os.Chmod(file, 0o700)) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "paths:\n  - {path: $T, attributes: [content, mode]}\n")
			file := s.programCopy("cat", tt.program)
			if r := s.init(); r.exit != 0 {
				t.Fatal(r)
			}
			pid := s.start(file)
			if tt.change != nil {
				tt.change(t, s, file)
			}
			r, list := s.verifyFiles(app.VerifyOptions{PIDs: []int{pid}})
			v := one(t, list, "executable", "")
			want := filepath.Join(s.tree, tt.program)
			if tt.path != "" {
				want = filepath.Join(s.tree, tt.path)
			}
			onDisk := tt.verdict != "deleted" && tt.verdict != "replaced"
			if v.Verdict != tt.verdict || v.name() != want || v.Running.OnDisk != onDisk || len(v.SHA256) != 64 || v.Running.Processes[0].PID != pid {
				t.Errorf("got %q of %q, on disk %v; want %q of %q\n%v", v.Verdict, v.name(), v.Running.OnDisk, tt.verdict, want, r)
			}
			if (v.Running.DiskSHA != "") != (tt.verdict == "replaced") || v.Running.DiskSHA == v.SHA256 {
				t.Errorf("of the file on disk: %q", v.Running.DiskSHA)
			}
			if e := one(t, list, "", ""); e.Processes != 1 || r.exit != 1 { // the libraries are in no baseline
				t.Errorf("%v", r)
			}
		})
	}
}

// Who runs a file is found by its inode.
func TestVerifyRunBy(t *testing.T) {
	s := newSite(t, "")
	file := s.programCopy("cat", "cat")
	s.programCopy("cat", "twin")
	pid := s.start(file)
	_, list := s.verifyFiles(app.VerifyOptions{Paths: []string{file, filepath.Join(s.tree, "twin")}})
	if len(list) != 3 || len(list[0].RunBy) != 1 || list[0].RunBy[0].PID != pid || len(list[1].RunBy) != 0 {
		t.Errorf("got %+v", list)
	}
}

// Files that are mapped to be run, and memory that is.
func TestVerifyMappings(t *testing.T) {
	s := newSite(t, "paths:\n  - {path: $T, attributes: [content, mode]}\n")
	for _, n := range []string{"kept", "deleted", "replaced"} {
		s.write(n, strings.Repeat(n, 2000))
	}
	if r := s.init(); r.exit != 0 {
		t.Fatal(r)
	}
	mapped := func(fd int) {
		b, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
		s.must(err)
		t.Cleanup(func() { _ = unix.Munmap(b) })
	}
	for _, n := range []string{"kept", "deleted", "replaced"} {
		f, err := os.Open(filepath.Join(s.tree, n))
		s.must(err)
		mapped(int(f.Fd()))
		f.Close()
	}
	fd, err := unix.MemfdCreate("evil\n\x1b[31m", unix.MFD_CLOEXEC)
	s.must(err)
	defer unix.Close(fd)
	_, err = unix.Write(fd, make([]byte, 4096))
	s.must(err)
	mapped(fd)
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	s.must(err)
	defer unix.Munmap(b)
	s.write("new", "another")
	s.must(os.Remove(filepath.Join(s.tree, "deleted")), os.Rename(filepath.Join(s.tree, "new"), filepath.Join(s.tree, "replaced")))

	r, list := s.verifyFiles(app.VerifyOptions{PIDs: []int{os.Getpid()}})
	if v := one(t, list, "mapped", "/kept"); v.Verdict != "same" {
		t.Errorf("kept: %+v", v)
	}
	if os.Getuid() != 0 { // an ordinary user may not follow map_files
		if e := one(t, list, "", ""); e.Failed < 3 || !slices.Contains(e.Exits, 3) {
			t.Errorf("what was not found is not told: %+v", e)
		}
	} else {
		for name, want := range map[string]string{"/replaced": "replaced", "/deleted": "deleted", "memfd:evil\n\x1b[31m (deleted)": "memfd"} {
			if v := one(t, list, "mapped", name); v.Verdict != want || v.SHA256 == "" {
				t.Errorf("%s: %+v", name, v)
			}
		}
	}
	if e := one(t, list, "", ""); e.Anonymous < 1 || r.exit != 1 {
		t.Errorf("%v", r)
	}
	if v := &list[len(list)-2]; v.Type != "process" || v.Anonymous < 1 {
		t.Errorf("the process with memory to run: %+v", v)
	}
}

// A program that never was a file.
func TestVerifyMemfd(t *testing.T) {
	s := newSite(t, "")
	b, err := os.ReadFile(s.programCopy("cat", "cat"))
	s.must(err)
	fd, err := unix.MemfdCreate("cat", unix.MFD_CLOEXEC)
	s.must(err)
	defer unix.Close(fd)
	_, err = unix.Write(fd, b)
	s.must(err)
	pid := s.start(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd))
	r, list := s.verifyFiles(app.VerifyOptions{PIDs: []int{pid}})
	if v := one(t, list, "executable", ""); v.Verdict != "memfd" || v.Running.OnDisk || v.name() != "/memfd:cat (deleted)" {
		t.Errorf("%v", r)
	}

	// A real file of that name is none, even when it is deleted.
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED further: only root may put a file into /")
	}
	name := "/memfd:intact-test"
	s.must(os.WriteFile(name, b, 0o755))
	defer os.Remove(name)
	pid = s.start(name)
	_, list = s.verifyFiles(app.VerifyOptions{PIDs: []int{pid}})
	if v := one(t, list, "executable", ""); v.Verdict != "no baseline" || !v.Running.OnDisk {
		t.Errorf("a file: %+v", v)
	}
	s.must(os.Remove(name))
	_, list = s.verifyFiles(app.VerifyOptions{PIDs: []int{pid}})
	if v := one(t, list, "executable", ""); v.Verdict != "deleted" || v.name() != name {
		t.Errorf("a deleted file: %+v", v)
	}
}

// A service with a mount namespace of its own runs the files of this root; what
// runs on another file system is not held against a path of this one.
func TestVerifyNamespace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: a mount namespace needs root")
	}
	s := newSite(t, "")
	file := s.programCopy("cat", "sub/cat")
	if r := s.init(); r.exit != 0 {
		t.Fatal(r)
	}
	for script, want := range map[string]string{
		`exec "$1/cat"`: "same",
		`cp "$1/cat" "$1/../other"; mount -t tmpfs none "$1" && cp "$1/../other" "$1/cat" && exec "$1/cat"`:                           "unverified",
		`mount -t tmpfs none "$1" && cp /bin/cat "$1/cat" && exec sh -c 'exec 3<"$1/cat"; rm "$1/cat"; exec /proc/self/fd/3' sh "$1"`: "deleted",
	} {
		cmd := exec.Command("sh", "-c", script, "sh", filepath.Dir(file))
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		pid := s.started(cmd)
		if _, list := s.verifyFiles(app.VerifyOptions{PIDs: []int{pid}}); one(t, list, "executable", "").Verdict != want {
			t.Errorf("%s: %+v, want %s", script, one(t, list, "executable", ""), want)
		}
	}
}

// More names than are looked at together: lists are read again for the rest.
func TestVerifyManyNames(t *testing.T) {
	s := newSite(t, "")
	s.write("f", "hello\n")
	list := filepath.Join(s.tree, "list")
	s.must(os.WriteFile(list, []byte("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  x\n"), 0o644))
	const count = 5000
	names := strings.Repeat(filepath.Join(s.tree, "f")+"\x00", count)
	r := s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		e.Stdin = strings.NewReader(names)
		return app.Verify(ctx, e, app.VerifyOptions{Paths: []string{"-"}, Null: true, KnownGood: []string{list}, Format: "json"})
	})
	if got := readSeen(t, r.stdout); r.exit != 0 || len(got) != count+1 || got[count-1].Verdict != "known good" {
		t.Errorf("%d lines, %v", len(got), r)
	}
}

// A process without an executable was not verified: a zombie here, a thread of
// the kernel elsewhere.
func TestVerifyNothingToRun(t *testing.T) {
	s := newSite(t, "")
	cmd := exec.Command("true")
	s.must(cmd.Start())
	defer func() { _ = cmd.Wait() }() // its end tells nothing
	var info unix.Siginfo
	s.must(unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil))
	r, list := s.verifyFiles(app.VerifyOptions{PIDs: []int{cmd.Process.Pid}})
	if r.exit != 3 || len(list) != 1 || !strings.Contains(r.stderr, "has no executable") {
		t.Errorf("%v", r)
	}
}

// Everything that runs: each file once, and processes that end are no errors.
func TestVerifyAllRunning(t *testing.T) {
	s := newSite(t, "")
	file := s.programCopy("cat", "cat")
	first, second := s.start(file), s.start(file)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				_ = exec.Command("true").Run() // comes and goes
			}
		}
	}()
	r, list := s.verifyFiles(app.VerifyOptions{AllRunning: true})
	close(done)
	<-ended
	v := one(t, list, "executable", file)
	if r.err != nil || len(v.Running.Processes) != 2 || v.Running.Processes[0].PID != min(first, second) {
		t.Errorf("%v", r)
	}
	count := 0
	for _, v := range list {
		if v.name() == file {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d times in the list", count)
	}
}

// An ordinary user: what cannot be looked into is counted, and 3 is among the
// exit codes; what is his own is found by name, device and inode.
func TestVerifyAsUser(t *testing.T) {
	s := newSite(t, "")
	file := s.programCopy("cat", "cat")
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: becoming another user needs root")
	}
	for d := s.tree; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		s.must(os.Chmod(d, 0o755))
	}
	program := filepath.Join(s.tree, "program")
	self, err := os.ReadFile("/proc/self/exe")
	s.must(err, os.WriteFile(program, self, 0o755))
	user := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd := exec.Command(file)
	cmd.SysProcAttr = user
	in, err := cmd.StdinPipe()
	s.must(err)
	out, err := cmd.StdoutPipe()
	s.must(err, cmd.Start())
	defer func() { in.Close(); _ = cmd.Wait() }() // its end tells nothing
	_, err = io.WriteString(in, "x\n")
	s.must(err)
	_, err = io.ReadFull(out, make([]byte, 2))
	s.must(err)

	run := func(args ...string) (int, []seen) {
		t.Helper()
		c := exec.Command(program, append([]string{"--state", filepath.Join(s.tree, "none"), "--config", s.config, "verify", "--format", "json"}, args...)...)
		c.Env = append(os.Environ(), childEnv+"=1")
		c.SysProcAttr = user
		c.Dir = "/"
		var o, e bytes.Buffer
		c.Stdout, c.Stderr = &o, &e
		_ = c.Run() // the status tells
		if o.Len() == 0 {
			t.Fatalf("%q: %s", args, e.String())
		}
		return c.ProcessState.ExitCode(), readSeen(t, o.Bytes())
	}
	s.must(os.Chown(s.config, 65534, 65534))
	code, list := run("--pid", fmt.Sprint(cmd.Process.Pid))
	libc := one(t, list, "mapped", "")
	if code != 1 || one(t, list, "executable", file).Verdict != "no baseline" || libc.Verdict != "no baseline" || !libc.Running.OnDisk || libc.SHA256 == "" {
		t.Errorf("exit %d, %+v", code, list)
	}
	code, list = run("--all-running")
	if e := one(t, list, "", ""); code != 1 || e.Denied < 1 || len(e.Exits) != 2 || e.Exits[1] != 3 {
		t.Errorf("exit %d, %+v", code, e)
	}
	code, list = run("--pid", fmt.Sprint(os.Getpid()))
	if e := one(t, list, "", ""); code != 3 || e.Denied != 1 || len(list) != 1 {
		t.Errorf("exit %d, %+v", code, list)
	}
	closed := filepath.Join(s.tree, "closed")
	s.must(os.WriteFile(closed, []byte("x"), 0o600))
	code, list = run(closed)
	if code != 3 || list[0].Verdict != "unverified" || len(list[0].Gaps) == 0 || list[0].Gaps[0].Reason != "permission denied" {
		t.Errorf("exit %d, %+v", code, list)
	}
}
