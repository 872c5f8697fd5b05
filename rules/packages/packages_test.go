package packages

import (
	"testing"

	"intact/rules"
	"intact/scanner/entry"
)

func TestClassOf(t *testing.T) {
	const plain, exec, suid = 0o644, 0o755, 0o4755
	tests := []struct {
		path string
		mode uint16
		caps string
		want Class
	}{
		{"/usr/bin/x", exec, "", Executable},
		{"/bin/x", exec, "", Executable},
		{"/usr/bin/x", plain, "", ""},
		{"/usr/binary/x", exec, "", ""},
		{"/usr/local/bin/x", exec, "", ""},
		{"/home/u/x", exec, "", ""},
		{"/home/u/x", suid, "", Setuid},
		{"/home/u/x", 0o2755, "", Setuid},
		{"/home/u/x", 0o4644, "", ""}, // nobody can run it
		{"/home/u/x", plain, "\x01", Capability},
		{"/usr/lib/x86_64-linux-gnu/libc.so.6", plain, "", Library},
		{"/lib/x.so", plain, "", Library},
		{"/usr/lib/x.sound", plain, "", ""},
		{"/etc/systemd/system/x.service", plain, "", Unit},
		{"/etc/systemd/system/x.service.d/y.conf", plain, "", Unit},
		{"/lib/systemd/system/x.timer", plain, "", Unit},
		{"/etc/systemd/system/README", plain, "", ""},
		{"/root/.ssh/authorized_keys", plain, "", Key},
		{"/root/.ssh/authorized_keys2", plain, "", Key},
		{"/root/authorized_keys", plain, "", ""},
		{"/etc/ssh/ssh_host_ed25519_key", 0o600, "", Key},
		{"/etc/ssh/ssh_host_ed25519_key.pub", plain, "", ""},
	}
	for _, tt := range tests {
		e := entry.Entry{Kind: entry.File, Mode: tt.mode, Have: entry.Mode | entry.Caps, Caps: []byte(tt.caps)}
		if got := ClassOf(entry.Path(tt.path), &e); got != tt.want {
			t.Errorf("%s %o: %q, want %q", tt.path, tt.mode, got, tt.want)
		}
		e.Kind = entry.Symlink
		if got := ClassOf(entry.Path(tt.path), &e); got != "" {
			t.Errorf("link %s: %q", tt.path, got)
		}
	}
}

// Every class has its words and its severity.
func TestFindings(t *testing.T) {
	for _, k := range kinds {
		f := Unowned("/x", k.class)
		if f.Severity != k.severity || f.Severity == rules.Info || len(f.Reasons) != 2 || len(f.Attack) != 1 || f.Set != Name {
			t.Errorf("%s: %+v", k.class, f)
		}
		w := Words{Known: true, List: []Word{{Package: "p 1", Content: Other}}}
		if f, ok := Standing("/x", k.class, &w); !ok || f.Severity != rules.High || f.Rule != ruleDiffers {
			t.Errorf("%s differs: %+v", k.class, f)
		}
	}
}
