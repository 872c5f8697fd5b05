package facts

import (
	"os"
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
