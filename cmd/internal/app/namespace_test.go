package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNamespaceNotes(t *testing.T) {
	const common = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
	make := func(ours, first, oursInfo, firstInfo string) string {
		dir := t.TempDir()
		for pid, v := range map[string][2]string{"self": {ours, oursInfo}, "1": {first, firstInfo}} {
			if err := os.MkdirAll(filepath.Join(dir, pid, "ns"), 0o755); err != nil {
				t.Fatal(err)
			}
			if v[0] != "" {
				if err := os.Symlink(v[0], filepath.Join(dir, pid, "ns/mnt")); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, pid, "mountinfo"), []byte(v[1]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	many := common
	for i := range 15 {
		many += "30 22 0:5 / /m" + string(rune('a'+i)) + " rw - tmpfs tmpfs rw\n"
	}
	tests := []struct {
		name, dir string
		want      []string // in order, parts of the notes
	}{
		{"same", make("mnt:[1]", "mnt:[1]", common, common), nil},
		{"unreadable", make("mnt:[1]", "", common, common), []string{"could not be found out"}},
		{"other-but-alike", make("mnt:[2]", "mnt:[1]", common, common), []string{"mnt:[2], pid 1 has mnt:[1]"}},
		{"over-a-file", make("mnt:[2]", "mnt:[1]", common+"30 22 8:1 /x /etc/passwd rw - ext4 /dev/sda1 rw\n", common), []string{"another", "only here the mounts ext4 /dev/sda1 on /etc/passwd"}},
		{"hidden-from-us", make("mnt:[2]", "mnt:[1]", common, many), []string{"another", "only pid 1 has the mounts tmpfs tmpfs on /ma, "}},
		{"no-lines", make("mnt:[2]", "mnt:[1]", "x\n\n - \n1 2 3 - a b\n", ""), []string{"another"}},
	}
	for _, tt := range tests {
		got := namespaceNotes(tt.dir)
		if len(got) != len(tt.want) {
			t.Errorf("%s: %q", tt.name, got)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], tt.want[i]) {
				t.Errorf("%s: %q, want %q", tt.name, got[i], tt.want[i])
			}
		}
	}
	if got := namespaceNotes(tests[4].dir); !strings.HasSuffix(got[1], "5 more") {
		t.Errorf("%q", got[1])
	}
}
