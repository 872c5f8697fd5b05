package facts_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"intact/rules/facts"
)

func TestStatusOf(t *testing.T) {
	for err, want := range map[error]facts.Status{
		nil: facts.Known, fs.ErrNotExist: facts.Gone, syscall.ESRCH: facts.Gone, syscall.EACCES: facts.Denied,
		fmt.Errorf("x: %w", syscall.EPERM): facts.Denied, syscall.EIO: facts.Failed,
	} {
		if got := facts.StatusOf(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// proc makes a proc(5) of literal files.
func proc(t *testing.T, files map[string]string) facts.Proc {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return facts.Proc{Dir: dir}
}

func TestPIDs(t *testing.T) {
	p := proc(t, map[string]string{"12/comm": "a", "3/comm": "b", "self/comm": "", "012/comm": "", "+4/comm": "", "0/comm": "", "99999999999/comm": "", "4x/comm": ""})
	got, err := p.PIDs()
	if err != nil || !slices.Equal(got, []int{3, 12}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestParseMapping(t *testing.T) {
	for _, tt := range []struct {
		line string
		want facts.Mapping
		file string
		anon bool
	}{
		{"55d0c000-55d0d000 r-xp 00002000 08:01 1234                       /usr/bin/a b\\012c (deleted)",
			facts.Mapping{Start: 0x55d0c000, End: 0x55d0d000, Exec: true, Major: 8, Minor: 1, Inode: 1234, Name: `/usr/bin/a b\012c (deleted)`}, "map_files/55d0c000-55d0d000", false},
		{"7f00-8000 rwxp 00000000 00:00 0 ", facts.Mapping{Start: 0x7f00, End: 0x8000, Exec: true}, "map_files/7f00-8000", true},
		{"7f00-8000 rwxp 00000000 00:00 0", facts.Mapping{Start: 0x7f00, End: 0x8000, Exec: true}, "map_files/7f00-8000", true},
		{"7f00-8000 r-xp 00000000 00:00 0   [vdso]", facts.Mapping{Start: 0x7f00, End: 0x8000, Exec: true, Name: "[vdso]"}, "map_files/7f00-8000", false},
		{"7f00-8000 r-xp 00000000 00:00 0   [anon:[vdso]]", facts.Mapping{Start: 0x7f00, End: 0x8000, Exec: true, Name: "[anon:[vdso]]"}, "map_files/7f00-8000", true},
		{"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0   [vsyscall]",
			facts.Mapping{Start: 0xffffffffff600000, End: 0xffffffffff601000, Exec: true, Name: "[vsyscall]"}, "map_files/ffffffffff600000-ffffffffff601000", false},
		{"1-2 r--s 00000000 103:10 18446744073709551615 [stack]",
			facts.Mapping{Start: 1, End: 2, Major: 0x103, Minor: 0x10, Inode: 1<<64 - 1, Name: "[stack]"}, "map_files/1-2", false},
	} {
		m, err := facts.ParseMapping([]byte(tt.line))
		if err != nil || m != tt.want || m.File() != tt.file || m.Anonymous() != tt.anon {
			t.Errorf("%q:\ngot  %+v %q %v %v\nwant %+v", tt.line, m, m.File(), m.Anonymous(), err, tt.want)
		}
	}
	for _, bad := range []string{"", "x", "1-2", "2-1 r-xp 0 0:0 0", "1-2 r-x 0 0:0 0", "1-2 r-xp 0 00 0", "1-2 r-xp 0 0:0 x", "g-2 r-xp 0 0:0 0", "1-2 r-xp 0 0:fffffffff 0", "-1-2 r-xp 0 0:0 0"} {
		if m, err := facts.ParseMapping([]byte(bad)); !errors.Is(err, facts.ErrMapping) || m != (facts.Mapping{}) {
			t.Errorf("%q: got %+v, %v", bad, m, err)
		}
	}
}

func TestProcess(t *testing.T) {
	p := proc(t, map[string]string{
		"7/comm": "evil\x1b[31m\n",
		"7/maps": "1000-2000 r--p 0 08:01 1 /a\n1000-2000 r-xp 0 08:01 2 /b\n3000-4000 r-xp 0 00:00 0 \n",
		"8/maps": "1000-2000 r-xp 0 08:01 2 /b\nbroken\n",
	})
	if err := os.Symlink("/somewhere (deleted)", filepath.Join(p.Dir, "7/exe")); err != nil {
		t.Fatal(err)
	}
	one, err := p.Process(7)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	var names []string
	err = one.Mappings(func(m facts.Mapping) error { names = append(names, m.Name); return nil })
	if link, err2 := one.Link("exe"); err != nil || err2 != nil || one.Name() != "evil\x1b[31m" || link != "/somewhere (deleted)" || !slices.Equal(names, []string{"/b", ""}) {
		t.Errorf("got %q, %q, %q, %v, %v", one.Name(), link, names, err, err2)
	}
	two, err := p.Process(8)
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if err := two.Mappings(func(facts.Mapping) error { return nil }); !errors.Is(err, facts.ErrMapping) || !strings.Contains(err.Error(), "line 2") || two.Name() != "" {
		t.Errorf("got %v", err)
	}
	if _, err := p.Process(9); facts.StatusOf(err) != facts.Gone {
		t.Errorf("a process that is not there: %v", err)
	}
}

func TestUnit(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/ssh.service\n":                                       "ssh.service",
		"12:cpu:/x.service\n1:name=systemd:/system.slice/cron.service\n0::/\n": "cron.service",
		"0::/user.slice/user-0.slice/user@0.service/app.slice/run-1.scope\n":   "run-1.scope",
		"0::/\n":                  "",
		"0::/system.slice\n":      "",
		"":                        "",
		"garbage\n0:\n":           "",
		"0::/.service/\n":         "",
		"0::/a\x1b.service/b:c\n": "a\x1b.service",
	} {
		if got := facts.ParseCgroup(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	one, err := proc(t, map[string]string{"7/cgroup": "0::/system.slice/a.service\n"}).Process(7)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if u, err := one.Unit(); u != "a.service" || err != nil {
		t.Errorf("got %q, %v", u, err)
	}
}

func TestModules(t *testing.T) {
	p := proc(t, map[string]string{"modules": "ext4 1 2 - Live 0x0\nsnd_hda 5 0 a,b, Live 0x0 (OE)\n", "sys/kernel/osrelease": "6.1.0\n"})
	got, err := p.Modules()
	if err != nil || !slices.Equal(got, []string{"ext4", "snd_hda"}) {
		t.Errorf("got %q, %v", got, err)
	}
	if r, err := p.Release(); err != nil || r != "6.1.0" {
		t.Errorf("got %q, %v", r, err)
	}
	for _, bad := range []string{"", "..\n", "a/b\n"} {
		if r, err := proc(t, map[string]string{"sys/kernel/osrelease": bad}).Release(); err == nil {
			t.Errorf("%q: got %q", bad, r)
		}
	}
	for _, bad := range []string{"x\n", "a/b 1 2 - Live 0x0\n", "\n"} {
		if got, err := proc(t, map[string]string{"modules": bad}).Modules(); !errors.Is(err, facts.ErrModule) {
			t.Errorf("%q: got %q, %v", bad, got, err)
		}
	}
	if _, err := proc(t, nil).Modules(); facts.StatusOf(err) != facts.Gone {
		t.Errorf("no modules: %v", err)
	}
}

func TestModuleFiles(t *testing.T) {
	const dep = `kernel/fs/ext4/ext4.ko.zst: kernel/lib/crc16.ko.zst
kernel/sound/snd-hda.ko: 
kernel/lib/crc16.ko.zst:
updates/ext4.ko.xz: x
/abs/other.ko.gz:
kernel/not.a.module: ext9.ko
`
	got, err := facts.ModuleFiles(strings.NewReader(dep), []string{"ext4", "snd_hda", "other", "none", "ext9"})
	want := map[string]string{"ext4": "kernel/fs/ext4/ext4.ko.zst", "snd_hda": "kernel/sound/snd-hda.ko", "other": "/abs/other.ko.gz"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"x\n", ":\n", "\n", "a\x00.ko:\n", strings.Repeat("x", 2<<20) + ":\n"} {
		if got, err := facts.ModuleFiles(strings.NewReader(bad), []string{"x"}); err == nil {
			t.Errorf("%.20q: got %q", bad, got)
		}
	}
}

func FuzzParseMapping(f *testing.F) {
	f.Add([]byte("55d0c000-55d0d000 r-xp 00002000 08:01 1234                       /usr/bin/a b\\012c (deleted)"))
	f.Add([]byte("7f00-8000 rwxp 00000000 00:00 0 "))
	f.Add([]byte("7f00-8000 r-xp 00000000 00:00 0   [anon:\xff\x1b]"))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := facts.ParseMapping(line)
		if err != nil {
			if m != (facts.Mapping{}) {
				t.Errorf("%q: %+v with an error", line, m)
			}
			return
		}
		if m.Start >= m.End || !strings.HasSuffix(string(line), m.Name) || m.Anonymous() && m.Inode != 0 {
			t.Errorf("%q: %+v", line, m)
		}
		again := fmt.Sprintf("%x-%x r-%cp 0 %x:%x %d %s", m.Start, m.End, map[bool]byte{true: 'x', false: '-'}[m.Exec], m.Major, m.Minor, m.Inode, m.Name)
		if n, err := facts.ParseMapping([]byte(again)); err != nil || n != m {
			t.Errorf("%q: %+v, again %+v, %v", line, m, n, err)
		}
	})
}

func FuzzModuleFiles(f *testing.F) {
	f.Add("kernel/fs/ext4/ext4.ko.zst: kernel/lib/crc16.ko.zst\nkernel/sound/snd-hda.ko:\n", "snd_hda")
	f.Add("/../a-b.ko.xz:\n\x00", "a_b")
	f.Fuzz(func(t *testing.T, dep, name string) {
		got, err := facts.ModuleFiles(strings.NewReader(dep), []string{name})
		if err != nil && got != nil {
			t.Errorf("%q with %v", got, err)
		}
		for k, v := range got {
			if k != name || v == "" || !strings.Contains(dep, v+":") || !strings.Contains(v, ".ko") {
				t.Errorf("%q for %q", v, k)
			}
		}
	})
}

func FuzzModules(f *testing.F) {
	f.Add("ext4 1 2 - Live 0x0\nsnd_hda 5 0 a,b, Live 0x0 (OE)\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(filepath.Join(dir, "modules"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := facts.Proc{Dir: dir}.Modules()
		for _, n := range got {
			if err != nil || n == "" || strings.ContainsAny(n, "/\x00 \n") {
				t.Errorf("%q, %v", n, err)
			}
		}
	})
}
