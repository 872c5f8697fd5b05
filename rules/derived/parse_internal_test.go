package derived

import (
	"io"
	"os"
	"strings"
	"testing"

	"intact/scanner/entry"
)

// What the table says of itself, and what it may not say.
func TestTable(t *testing.T) {
	table, err := parseTable(tableText)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, r := range table.classes {
		used[r.how] = true
		if r.name == "" || r.uid == 0 && r.gid != 0 {
			t.Errorf("%+v", r)
		}
		if r.how != "trigger" && r.trigger[0] == "any" {
			t.Errorf("%s: any transaction explains what is looked into", r.name)
		}
		for _, m := range r.modes {
			if m&0o4000 != 0 || m&0o022 != 0 || r.kind == entry.File && m&0o111 != 0 {
				t.Errorf("%s: the mode %04o", r.name, m)
			}
		}
	}
	for how := range checks {
		if !used[how] {
			t.Errorf("no row has the check %q", how)
		}
	}
	head, _, _ := strings.Cut(string(tableText), "\nclasses:\n")
	const good = "  - {class: a, paths: [/a], type: file, modes: [\"0644\"], owner: \"0:0\", how: trigger, trigger: [any]}\n"
	const tail = "initramfs: {copies: [], generated: []}\n"
	if _, err := parseTable([]byte(head + "\nclasses:\n" + good + tail)); err != nil {
		t.Fatal(err)
	}
	for _, edit := range [][2]string{
		{"how: trigger", "how: nosuch"}, {"trigger: [any]", "trigger: [some]"}, {"trigger: [any]", "trigger: []"}, {"0644", "4755"}, {"0644", "0666"},
		{"0644", "644x"}, {"0:0", "root"}, {"type: file", "type: symlink"}, {"type: file", "type: device"}, {"[/a]", "[a]"}, {"[/a]", "[/a/]"},
		{"[/a]", "[\"/a[\"]"}, {"[/a]", "[/**/a/**]"}, {"class: a", "klass: a"}, {"class: a,", "class: a, more: 1,"},
	} {
		text := head + "\nclasses:\n" + strings.Replace(good, edit[0], edit[1], 1) + tail
		if _, err := parseTable([]byte(text)); err == nil {
			t.Errorf("%s for %s: no error", edit[1], edit[0])
		}
	}
}

func TestPatterns(t *testing.T) {
	tests := []struct {
		pattern string
		path    entry.Path
		want    bool
	}{
		{"/a/*/b", "/a/x/b", true}, {"/a/*/b", "/a/x/y/b", false}, {"/a/**", "/a", false}, {"/a/**", "/a/x/y", true},
		{"/a/**/b", "/a/b", true}, {"/a/**/b", "/a/x/y/b", true}, {"/a/**/b", "/a/x/c", false}, {"/a/*.x", "/a/\xff\n.x", true},
		{"/a/b", "/a/bc", false}, {"/a/**", "/ab/c", false}, {"/**", "/", false},
	}
	for _, tt := range tests {
		p, err := newPattern(tt.pattern)
		if got := matchesAny([]pattern{p}, tt.path); err != nil || got != tt.want {
			t.Errorf("%s of %q: got %v, %v", tt.pattern, tt.path, got, err)
		}
	}
}

// TestHashedBytecode holds the hash against Python's. Here: key and rounds matter.
func TestSipHash(t *testing.T) {
	if sipHash(1, []byte("abc"), 1) == sipHash(1, []byte("abc"), 2) || sipHash(1, []byte("abc"), 1) == sipHash(2, []byte("abc"), 1) {
		t.Error("rounds or key do not matter")
	}
}

func FuzzParseCache(f *testing.F) {
	if b, err := os.ReadFile("/etc/ld.so.cache"); err == nil {
		f.Add(b)
	}
	f.Add([]byte(oldMagic + "\x00\x01\x00\x00\x00"))
	f.Add([]byte(newMagic + "\xff\xff\xff\xff\xff\xff\xff\xff\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		libs, err := parseCache(b)
		if err == nil && (len(libs) == 0 || len(libs) > len(b)/oldEntry) {
			t.Errorf("%d libraries of %d bytes", len(libs), len(b))
		}
		for _, l := range libs {
			if l.key == "" || l.path == "" || strings.IndexByte(l.key+l.path, 0) >= 0 {
				t.Errorf("%+q", l.key+" "+l.path)
			}
		}
	})
}

func FuzzReadImage(f *testing.F) {
	f.Add([]byte("070701" + strings.Repeat("00000000", 11) + "0000000b00000000TRAILER!!!\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x00070701" + strings.Repeat("ffffffff", 13)))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Add([]byte("\x02\x21\x4c\x18\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		err := readImage(b, func(m *member, content io.Reader) error {
			if n++; m.name == "" || strings.IndexByte(m.name, 0) >= 0 || len(m.name) > maxName {
				t.Errorf("%q", m.name)
			}
			_, err := io.Copy(io.Discard, content)
			return err
		})
		if err == nil && len(b) < cpioHeader && formatOf(b) == "plain" || n > maxMembers {
			t.Errorf("%d members of %d bytes", n, len(b))
		}
	})
}

func FuzzLines(f *testing.F) {
	f.Add("awk", []byte("auto\n/usr/bin/awk\n\n/usr/bin/mawk\n5\n\n"))
	f.Add("x", []byte("kernel/a.ko: kernel/b.ko\n"))
	f.Add("x", []byte("mozilla/a.crt\n!b\n#c\n"))
	f.Add("x", []byte("\xa7\x0d\r\n\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\xe3"))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		if g, ok := parseGroup(name, b); ok {
			for _, c := range g.choices {
				if len(c.targets) != len(g.links) || c.targets[0] == "" {
					t.Errorf("%+v", g)
				}
			}
			g.best()
		}
		if ps, ok := parseModules("/usr/lib/modules/6", b); ok {
			for _, p := range ps {
				if !p.Under("/usr/lib/modules/6") || p == "/usr/lib/modules/6" {
					t.Errorf("%q", p)
				}
			}
		}
		if s, ok := parseSelection(b); ok {
			for _, p := range append(s.files, s.off...) {
				if !p.Under(certsDir) {
					t.Errorf("%q", p)
				}
			}
		}
		if h, ok := parseHeader(b); ok && len(b) <= pycHeader {
			t.Errorf("%+v", h)
		}
		if p, ok := sourceOf(entry.Path("/" + name)); ok && !strings.HasSuffix(string(p), ".py") {
			t.Errorf("%q", p)
		}
		asksFor(string(b), "WantedBy", name)
		sameUnit(name, string(b))
	})
}
