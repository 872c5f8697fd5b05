package actor

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func yes() bool { return true }

func TestSelf(t *testing.T) {
	a := Proc{"/proc"}.Read(os.Getpid(), yes)
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if !a.Live || a.Exe != bounded(exe) || a.UID != uint32(os.Getuid()) || a.EUID != uint32(os.Geteuid()) || a.Started == 0 {
		t.Errorf("read %+v", a)
	}
	if len(a.Command) == 0 || a.Command[0] != os.Args[0] {
		t.Errorf("command %q, not %q", a.Command, os.Args)
	}
	if len(a.Parents) == 0 || a.Parents[0].PID != os.Getppid() || len(a.Parents) > maxParents {
		t.Errorf("parents %+v", a.Parents)
	}
	if a := (Proc{"/proc"}).Read(os.Getpid(), func() bool { return false }); a.Live || a.Exe != "" || a.PID != os.Getpid() {
		t.Errorf("of one that is gone: %+v", a)
	}
	if a := (Proc{"/proc"}).Read(1<<22+1, yes); a.Live {
		t.Errorf("of none: %+v", a)
	}
}

// fake is a process in a folder that stands for /proc.
func fake(t *testing.T, dir string, pid, ppid int, exe string) {
	t.Helper()
	d := filepath.Join(dir, strconv.Itoa(pid))
	if err := os.MkdirAll(d, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, d, "stat", statLine(pid, ppid))
	put(t, d, "status", "Name:\tx\nUid:\t7\t0\t0\t0\n")
	put(t, d, "cmdline", exe+"\x00-v\x00")
	put(t, dir, filepath.Base(exe), "")
	if err := os.Symlink(filepath.Join(dir, filepath.Base(exe)), d+"/exe"); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func statLine(pid, ppid int) string {
	return fmt.Sprintf("%d (a) R 1 (b\n)) S %d 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3\n", pid, ppid)
}

// A parent that ended while it was read may have left its number to another one.
func TestParentReplaced(t *testing.T) {
	dir := t.TempDir()
	fake(t, dir, 10, 20, "child")
	fake(t, dir, 20, 0, "parent")
	read := func() Actor { return Proc{dir}.Read(10, yes) }
	if a := read(); !a.Live || a.UID != 7 || a.EUID != 0 || a.Started != 987654 || len(a.Parents) != 1 || a.Parents[0].PID != 20 || !strings.HasSuffix(a.Parents[0].Exe, "/parent") {
		t.Fatalf("read %+v", a)
	}
	fifo := dir + "/10/cgroup" // is read before the parent is
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		put(t, dir, "10/stat", statLine(10, 1))
		f.Close()
	}()
	a := read()
	<-done
	if !a.Live || len(a.Parents) != 0 {
		t.Errorf("read %+v", a)
	}
}

func TestManager(t *testing.T) {
	if _, err := os.Stat("/usr/bin/dpkg"); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: %v", err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/updates", 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "status", "")
	cmd := exec.Command("/usr/bin/dpkg", "--admindir="+dir, "--instdir="+dir, "--log=/dev/null", "--force-not-root", "--pre-invoke=echo $$; read x", "--configure", "--pending")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait() // whatever it did
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, err2 := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || err2 != nil {
		t.Skipf("SKIPPED, NOT TESTED: dpkg runs no hook: %q, %v", line, err)
	}
	a := Proc{"/proc"}.Read(pid, yes)
	if !a.Live || a.Manager != "dpkg" {
		t.Errorf("below dpkg: %+v", a)
	}
	if a := (Proc{"/proc"}).Read(os.Getpid(), yes); a.Manager != "" {
		t.Errorf("the test is %q", a.Manager)
	}
	// One that only calls itself so.
	other := exec.Command("/bin/sh", "-c", "read x")
	other.Args = []string{"/usr/bin/dpkg", "-c", "read x"}
	hold, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if a := (Proc{"/proc"}).Read(other.Process.Pid, yes); !a.Live || a.Manager != "" {
		t.Errorf("a false dpkg: %+v", a)
	}
	hold.Close()
	_ = other.Wait() // it reads the end of its input
}

func TestCommand(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
		cut  bool
	}{
		{"a\x00b\x00", []string{"a", "b"}, false},
		{"a\x00\x00", []string{"a", ""}, false},
		{"\xff\n\x1b\x00", []string{"\xff\n\x1b"}, false},
		{"no end", []string{"no end"}, false},
		{strings.Repeat("x", 600) + "\x00y\x00", []string{strings.Repeat("x", maxArgsLen)}, true},
		{strings.Repeat("x\x00", 40), slices.Repeat([]string{"x"}, maxArgs), true},
	} {
		if got, cut := parseCommand([]byte(c.in)); !slices.Equal(got, c.want) || cut != c.cut {
			t.Errorf("%.20q: %q, %v", c.in, got, cut)
		}
	}
}

func TestCgroup(t *testing.T) {
	for in, want := range map[string][2]string{
		"0::/system.slice/ssh.service\n": {"/system.slice/ssh.service", "ssh.service"},
		"0::/\n":                         {"", ""},
		"":                               {"", ""},
		"1:name=systemd:/user.slice/session-3.scope\n0::/\n":         {"/user.slice/session-3.scope", "session-3.scope"},
		"0::/system.slice/docker-0a.scope/x:y\n":                     {"/system.slice/docker-0a.scope/x:y", "docker-0a.scope"},
		"4:memory:/other.service\n0::/a.slice\n":                     {"/a.slice", ""},
		"0::/" + strings.Repeat("g", 2*maxPath) + "/x.service\nno\n": {("/" + strings.Repeat("g", 2*maxPath))[:maxPath], "x.service"},
	} {
		if g, u := parseCgroup(in); g != want[0] || u != want[1] {
			t.Errorf("%.40q: %.40q %q", in, g, u)
		}
	}
}

// Whatever a process calls itself, numbers are those of the kernel.
func FuzzStat(f *testing.F) {
	f.Add("x", 1, uint64(2))
	f.Add("a) R 7 (", 3, uint64(4))
	f.Add("\xff\n)", 0, uint64(1<<63))
	f.Fuzz(func(t *testing.T, name string, ppid int, started uint64) {
		if ppid < 0 || ppid > 1<<22 || len(name) > 64 {
			return
		}
		line := fmt.Sprintf("9 (%s) S %d 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 %d 1 2 3\n", name, ppid, started)
		var c process
		if err := c.parseStat([]byte(line)); err != nil || c.ppid != ppid || c.started != started || c.kernel {
			t.Errorf("%q: %+v %v", line, c, err)
		}
		_ = c.parseStat([]byte(name)) // it does not panic
	})
}

// The kernel's own processes run no file; others without one are about to end.
func TestNoProgram(t *testing.T) {
	if a := (Proc{"/proc"}).Read(2, yes); a.Live && a.Exe != "" {
		t.Errorf("kthreadd: %+v", a)
	}
	dir := t.TempDir()
	fake(t, dir, 10, 0, "child")
	if err := os.Remove(dir + "/10/exe"); err != nil {
		t.Fatal(err)
	}
	if a := (Proc{dir}).Read(10, yes); a.Live {
		t.Errorf("one that ends: %+v", a)
	}
	put(t, dir, "10/stat", strings.Replace(statLine(10, 0), " 4194560 ", " 2129984 ", 1))
	if a := (Proc{dir}).Read(10, yes); !a.Live || a.Exe != "" {
		t.Errorf("one of the kernel: %+v", a)
	}
}

func BenchmarkRead(b *testing.B) {
	for b.Loop() {
		Proc{"/proc"}.Read(os.Getpid(), yes)
	}
}
