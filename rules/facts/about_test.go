package facts

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestParseCgroup(t *testing.T) {
	for in, want := range map[string]string{
		"0::/system.slice/ssh.service\n":                                       "ssh.service",
		"9:name=systemd:/system.slice/a.service/x\n0::/\n":                     "a.service",
		"3:cpu:/system.slice/evil.service\n0::/\n":                             "",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/b.scope\n": "b.scope",
		"0::/system.slice/system-getty.slice/getty@tty1.service\n":             "getty@tty1.service",
		"0::/\n": "", "": "", "0:": "", "x": "", "0::/system.slice/with: colon\n.service": "",
	} {
		if got := ParseCgroup(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestAboutMyself(t *testing.T) {
	p, err := HostProc().Process(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if uid, err := p.UID(); err != nil || int(uid) != os.Geteuid() {
		t.Error(uid, err)
	}
	me, _ := os.Executable()
	if e, err := p.Exe(); err != nil || e != (Exe{Path: me}) {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := p.Unit(); err != nil {
		t.Error(err)
	}
}

// A program in another mount namespace is foreign if its path leads elsewhere here:
// not that of a unit with PrivateTmp, but one that is mounted over another.
func TestForeign(t *testing.T) {
	unshare, err := exec.LookPath("unshare")
	cat, err2 := exec.LookPath("cat")
	if err != nil || err2 != nil || os.Geteuid() != 0 {
		t.Skip("SKIPPED: wants root, unshare and cat")
	}
	b, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "cat")
	if err := os.WriteFile(other, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for script, want := range map[string]bool{`exec "$1"`: false, `mount --bind "$0" "$1" && exec "$1"`: true} {
		c := exec.Command(unshare, "-m", "--propagation", "private", "sh", "-c", script, other, cat)
		in, _ := c.StdinPipe()
		out, _ := c.StdoutPipe()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = in.Write([]byte("x"))
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // it is cat now
			t.Skip("SKIPPED: no mount namespaces here: ", err)
		}
		p, err := HostProc().Process(c.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := p.Exe(); err != nil || e.Foreign != want || e.Deleted {
			t.Errorf("%s: %+v, %v", script, e, err)
		}
		p.Close()
		in.Close()
		_ = c.Wait()
	}
}
