package osupdates

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
)

func fifo(t *testing.T, p string) {
	t.Helper()
	if err := syscall.Mkfifo(p, 0o644); err != nil {
		t.Fatal(err)
	}
}

// staleTree is a host with one process, 7, whose maps and exe are literal; INODE
// and DEV stand for those of /usr/lib/x.so.
func staleTree(t *testing.T, maps, exe, mounts string) facts.Host {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put("usr/lib/x.so", "x")
	put("usr/lib/y (deleted)", "y")
	var x, y syscall.Stat_t
	if err := syscall.Stat(filepath.Join(dir, "usr/lib/x.so"), &x); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Stat(filepath.Join(dir, "usr/lib/y (deleted)"), &y); err != nil {
		t.Fatal(err)
	}
	major, minor := x.Dev>>8&0xfff|x.Dev>>32&^0xfff, x.Dev&0xff|x.Dev>>12&^0xff
	maps = strings.NewReplacer("DEV", fmt.Sprintf("%02x:%02x", major, minor), "INODE", strconv.FormatUint(x.Ino, 10), "YNODE", strconv.FormatUint(y.Ino, 10)).Replace(maps)
	put("proc/7/maps", maps)
	put("proc/7/comm", "seven\x1b[2J\n")
	put("proc/7/cgroup", "0::/system.slice/seven.service\n")
	self := strconv.Itoa(os.Getpid())
	put("proc/"+self+"/maps", "")
	for p, ns := range map[string]string{"proc/7/ns": mounts, "proc/" + self + "/ns": "mnt:[1]"} {
		_ = os.MkdirAll(filepath.Join(dir, p), 0o755)
		if err := os.Symlink(ns, filepath.Join(dir, p, "mnt")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(exe, filepath.Join(dir, "proc/7/exe")); err != nil {
		t.Fatal(err)
	}
	r, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return facts.Host{Root: r, Live: true}
}

func TestStale(t *testing.T) {
	line := func(dev, inode, name string) string {
		return "1000-2000 r-xp 0 " + dev + " " + inode + " " + name + "\n"
	}
	for _, tt := range []struct {
		name, maps, exe, mounts string
		files                   []string
		deleted                 bool
	}{
		{"fresh", line("DEV", "INODE", "/usr/lib/x.so"), "/usr/bin/a", "mnt:[1]", nil, false},
		{"deleted", line("DEV", "5", "/usr/lib/x.so (deleted)") + line("DEV", "6", "/usr/lib/x.so (deleted)"), "/usr/bin/a", "mnt:[1]", []string{"/usr/lib/x.so"}, false},
		{"exe", line("DEV", "5", "/usr/bin/a (deleted)"), "/usr/bin/a (deleted)", "mnt:[1]", []string{"/usr/bin/a"}, true},
		{"other-inode", line("DEV", "5", "/usr/lib/x.so"), "/usr/bin/a", "mnt:[1]", []string{"/usr/lib/x.so"}, false},
		{"other-device", line("fe:fe", "5", "/usr/lib/x.so"), "/usr/bin/a", "mnt:[1]", nil, false},
		{"so-called", line("DEV", "YNODE", "/usr/lib/y (deleted)"), "/usr/bin/a", "mnt:[1]", nil, false},
		{"own-mounts", line("DEV", "5", "/usr/lib/x.so") + line("DEV", "5", "/usr/lib/z.so (deleted)"), "/usr/bin/a", "mnt:[2]", []string{"/usr/lib/z.so"}, false},
		{"not-code", "1000-2000 r--p 0 DEV 5 /usr/lib/x.so (deleted)\n", "/usr/bin/a", "mnt:[1]", nil, false},
		{"passing", line("00:01", "5", "/memfd:jit (deleted)") + line("00:01", "5", "/SYSV00 (deleted)") + line("00:01", "5", "/dev/zero (deleted)") + line("00:01", "5", "/tmp/ffiX (deleted)") +
			line("00:01", "5", "/[aio] (deleted)") + line("00:01", "5", "/home/u/orcexec.1 (deleted)") + line("00:01", "5", "/var/lib/#99 (deleted)") + line("00:00", "0", "[vdso]") + line("00:00", "0", ""), "/usr/bin/a", "mnt:[1]", nil, false},
		{"newline", line("DEV", "5", `/usr/lib/a\012b (deleted)`), "/usr/bin/a", "mnt:[1]", []string{`/usr/lib/a\012b`}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Stale(t.Context(), staleTree(t, tt.maps, tt.exe, tt.mounts))
			if got.Status != rules.OK || len(got.Rows) != min(len(tt.files), 1) {
				t.Fatalf("%s %s %+v", got.Status, got.Reason, got.Rows)
			}
			if len(tt.files) == 0 {
				return
			}
			r := got.Rows[0]
			if r.PID != 7 || r.Name != "seven\x1b[2J" || r.Unit != "seven.service" || !r.UnitKnown || !slices.Equal(r.Files, tt.files) || r.ExeDeleted != tt.deleted || r.Exe != "/usr/bin/a" {
				t.Errorf("got %+v", r)
			}
		})
	}
	if got := Stale(t.Context(), staleTree(t, "nonsense\n", "/a", "mnt:[1]")); got.Status != rules.Failed {
		t.Errorf("broken maps: %s", got.Status)
	}
	var many strings.Builder
	for i := range 100 {
		many.WriteString(line("DEV", "5", fmt.Sprintf("/usr/lib/%03d.so (deleted)", i)))
	}
	if got := Stale(t.Context(), staleTree(t, many.String(), "/a", "mnt:[1]")); len(got.Rows) != 1 || len(got.Rows[0].Files) != maxStaleFiles || got.Rows[0].More != 100-maxStaleFiles {
		t.Errorf("many: %+v", got.Rows)
	}
	h := staleTree(t, "", "/a", "mnt:[1]")
	h.Live = false
	if got := Stale(t.Context(), h); got.Status != rules.Offline {
		t.Errorf("an image: %s", got.Status)
	}
}

// A program that is replaced while it runs is found by its real maps.
func TestStaleReal(t *testing.T) {
	dir, err := os.MkdirTemp("/var/lib", "stale")
	if err != nil {
		t.Skipf("SKIPPED: needs to write below /var/lib: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Skipf("SKIPPED: no sleep: %v", err)
	}
	prog := filepath.Join(dir, "prog")
	if err := os.WriteFile(prog, b, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(prog, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	if err := os.WriteFile(prog+".new", b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(prog+".new", prog); err != nil {
		t.Fatal(err)
	}
	r, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	began := time.Now()
	got := Stale(t.Context(), facts.Host{Root: r, Live: true})
	t.Logf("%s in %v", got.Status, time.Since(began))
	for _, row := range got.Rows {
		if row.PID == int64(cmd.Process.Pid) && row.ExeDeleted && row.Exe == prog && slices.Contains(row.Files, prog) {
			return
		}
	}
	t.Errorf("not found: %s %s %+v", got.Status, got.Reason, got.Rows)
}
