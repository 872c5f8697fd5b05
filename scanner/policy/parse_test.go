package policy

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"intact/scanner/entry"
	"intact/scanner/strict"
)

func parse(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func force(t *testing.T, base, present *Policy, aliases ...Alias) *Effective {
	t.Helper()
	e, err := Union(base, present, aliases)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestParse(t *testing.T) {
	p := parse(t, `
version: 1
paths:
  - path: /usr
    attributes: binary
  - path: /etc
    attributes: [content, mode]
    hot: true
    severity: high
    one_filesystem: true
    budget: {entries: 10, time: 10m}
  - path_b64: L2V0Yy//
    attributes: log
exclude: [/usr/share/doc/**, {path_b64: L3Vzci/+}, {path: /usr/x}]
filesystems: {skip: [proc, fuse.*]}
`)
	r := p.Rules[1]
	want := Rule{
		Pattern: "/etc", Set: entry.Set{Mask: entry.Type | entry.Content | entry.Mode, DirMask: entry.Type | entry.Content | entry.Mode},
		Hot: true, Severity: "high", OneFS: true, Budget: Budget{10, 10 * time.Minute}, Pos: Pos{"p.yaml", 6, 11},
	}
	if r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
	if p.Rules[0].Group != "binary" || p.Rules[2].Pattern != "/etc/\xff" || !p.Rules[2].Set.Log {
		t.Errorf("got %+v", p.Rules)
	}
	if len(p.Excludes) != 3 || p.Excludes[1].Pattern != "/usr/\xfe" || p.Excludes[2].Pattern != "/usr/x" {
		t.Errorf("got %+v", p.Excludes)
	}
	e := force(t, p, p)
	for path, sel := range map[entry.Path]bool{
		"/usr/share/doc": true, "/usr/share/doc/a": false, "/usr/\xfe": false, "/usr/\xfe/x": false, "/usr/\xfd": true,
		"/usr/x": false, "/usr/X": true, "/etc/\xff": true, "/srv": false, "/": false,
	} {
		if got := e.Decide(path).Select; got != sel {
			t.Errorf("%q: selected %v", path, got)
		}
	}
	if !e.SkipFS("proc") || !e.SkipFS("fuse.sshfs") || e.SkipFS("fuse") || e.SkipFS("ext4") {
		t.Error("SkipFS")
	}
}

// C02, C12, C13 and the other ways in which a policy can be wrong: all errors
// of a file at once, each with its place.
func TestParseErrors(t *testing.T) {
	const ok = "version: 1\npaths: [{path: /etc, attributes: config}]\n"
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", ok + "pahts: []\n", `p.yaml:3:1: unknown key "pahts": did you mean "paths"?`},
		{"unknown rule key", "version: 1\npaths: [{path: /etc, attribute: config}]\n",
			`p.yaml:2:9: key "attributes" is missing
p.yaml:2:22: unknown key "attribute": did you mean "attributes"?`},
		{"unknown group", "version: 1\npaths: [{path: /etc, attributes: confg}]\n",
			`p.yaml:2:34: unknown word "confg": did you mean "config"?`},
		{"unknown attribute", "version: 1\npaths: [{path: /etc, attributes: [mode, sha256]}]\n",
			`p.yaml:2:41: unknown word "sha256": want one of type, mode, uid, gid, size, mtime, ctime, inode, nlink, device, target, content, xattr, acl, caps, selinux, flags`},
		{"same path twice", ok + "exclude: [/a, /a]\n", `p.yaml:3:15: path /a stands twice, first at p.yaml:3:11`},
		{"same rule twice", "version: 1\npaths:\n- {path: /etc, attributes: config}\n- {path_b64: L2V0Yw==, attributes: log}\n",
			`p.yaml:4:14: path /etc stands twice, first at p.yaml:3:10`},
		{"relative", "version: 1\npaths: [{path: etc, attributes: config}]\n", `p.yaml:2:16: path etc is not absolute`},
		{"unclean", "version: 1\npaths: [{path: /etc/../x, attributes: config}, {path: /a/, attributes: config}]\n",
			`p.yaml:2:16: path /etc/../x is not clean: component ".."
p.yaml:2:55: path /a/ is not clean: a slash too many`},
		{"bad globs", ok + "exclude: ['/a/[b', '/a/b**', '/a\\b', '/a/[é]', '/[z-a]', '/a]']\n",
			`p.yaml:3:11: path /a/[b: malformed [ ]
p.yaml:3:20: path /a/b**: ** is only allowed as a whole component
p.yaml:3:30: path "/a\\b": a backslash is written \\
p.yaml:3:38: path "/a/[\u00e9]": malformed [ ]
p.yaml:3:48: path /[z-a]: malformed [ ]
p.yaml:3:58: path /a]: malformed [ ]`},
		{"nothing", "version: 1\n", `p.yaml:1:1: the policy selects nothing: it has no paths`},
		{"empty file", "", `p.yaml:1:1: key "version" is missing`},
		{"version", "version: 2\npaths: [{path: /etc, attributes: config}]\n", `p.yaml:1:10: 2 is not between 1 and 1`},
		{"types", "version: 1\npaths: [{path: 7, attributes: config, hot: yes, severity: bad, budget: {time: 10}}]\n",
			`p.yaml:2:16: want text, found the number "7"; put it in quotes if text is meant
p.yaml:2:44: want true or false, found the text "yes"
p.yaml:2:59: unknown word "bad": want one of info, low, medium, high, critical
p.yaml:2:79: want a duration such as 90s, 10m or 30d, found the number "10"
p.yaml:2:79: a budget of no time at all`},
		{"no attributes", "version: 1\npaths: [{path: /etc, attributes: []}]\n", `p.yaml:2:34: a path without attributes; exclude it, or write presence`},
		{"both paths", "version: 1\npaths: [{path: /etc, path_b64: L2V0Yw==, attributes: config}]\n", `p.yaml:2:32: path and path_b64 exclude each other`},
		{"bad base64", ok + "exclude: [{path_b64: '*'}]\n", `p.yaml:3:22: path_b64 is not base64`},
		{"NUL", ok + "exclude: [{path_b64: LwA=}]\n", `p.yaml:3:22: path contains a NUL byte`},
		{"type", ok + "filesystems: {skip: [a/b], never: 1}\n", `p.yaml:3:22: a/b is no file-system type
p.yaml:3:28: unknown key "never": want one of skip`},
		{"escape in name", ok + "exclude: [\"\\e[31m\"]\n", `p.yaml:3:11: path "\x1b[31m" is not absolute`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse("p.yaml", []byte(tt.text))
			if err == nil || err.Error() != tt.want || p != nil {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if got := errors.Is(err, ErrSelectsNothing); got != (tt.name == "nothing") {
				t.Errorf("ErrSelectsNothing: %v", got)
			}
			if _, ok := errors.AsType[strict.Errors](err); !ok {
				t.Errorf("%T holds no strict.Errors", err)
			}
		})
	}
}

// FromNode leaves the keys of others alone, and does not want any rules.
func TestFromNode(t *testing.T) {
	root, err := strict.Parse("c.yaml", []byte("version: 1\nstate: /x\nexclude: [/etc/x]\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := FromNode(root)
	if err := root.Err(); err != nil || len(p.Excludes) != 1 {
		t.Fatal(err, p)
	}
	root.Unknown()
	if err := root.Err(); err == nil || !strings.HasPrefix(err.Error(), `c.yaml:2:1: unknown key "state"`) {
		t.Errorf("got %v", err)
	}
	if err := p.Check(); !errors.Is(err, ErrSelectsNothing) {
		t.Errorf("got %v", err)
	}
	if _, err := Union(p, p, nil); !errors.Is(err, ErrSelectsNothing) {
		t.Errorf("got %v", err)
	}
}

func TestMerge(t *testing.T) {
	p := parse(t, "version: 1\npaths: [{path: /etc, attributes: config}]\n")
	q := parse(t, "version: 1\npaths: [{path: /usr, attributes: config}]\nfilesystems: {skip: [nfs]}\n")
	q.Rules[0].Pos.File = "q.yaml"
	if err := p.Merge(q); err != nil || len(p.Rules) != 2 || len(p.Skip) != 1 {
		t.Fatal(err, p)
	}
	err := p.Merge(q)
	if err == nil || err.Error() != "q.yaml:2:16: path /usr stands twice, first at q.yaml:2:16" || len(p.Rules) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestAdHoc(t *testing.T) {
	p := AdHoc([]entry.Path{"/b*", "/a\n\xff", "/a\n\xff", `/c\d`})
	if len(p.Rules) != 3 || len(p.Skip) == 0 {
		t.Fatalf("%+v", p)
	}
	e := force(t, p, p)
	for path, want := range map[entry.Path]bool{"/b*": true, "/bb": false, "/a\n\xff/x": true, `/c\d`: true, "/": false} {
		if e.Decide(path).Select != want {
			t.Errorf("%q", path)
		}
	}
	if e := force(t, AdHoc([]entry.Path{"/"}), nil); !e.Self().Select || !e.Decide("/x").Select {
		t.Error("/ alone")
	}
}

func TestCanonical(t *testing.T) {
	a := parse(t, "version: 1\npaths:\n- {path: /etc, attributes: config, hot: true}\n- {path: '**/x', attributes: [mode]}\nexclude: [{path_b64: L3Vzci/+}]\nfilesystems: {skip: [nfs, fuse.*]}\n")
	b := parse(t, "version: 1\nfilesystems: {skip: [fuse.*, nfs]}\nexclude: [{path_b64: L3Vzci/+}]\npaths:\n- {path: '/**/x', attributes: [type, mode]}\n- {path: /etc, attributes: binary, hot: true}\n")
	if !bytes.Equal(a.Canonical(), b.Canonical()) || a.Digest() != b.Digest() {
		t.Errorf("differ:\n%s\n%s", a.Canonical(), b.Canonical())
	}
	if !bytes.Contains(a.Canonical(), []byte(`exclude "/usr/\xfe"`+"\n")) {
		t.Errorf("%s", a.Canonical())
	}
	for _, p := range []*Policy{a, Default(), AdHoc([]entry.Path{"/x*"}), {Rules: []Rule{{Pattern: "/a", Set: entry.Set{Mask: entry.Type, DirMask: entry.Type}}}}} {
		text := p.Canonical()
		q, err := ParseCanonical(text)
		if err != nil || !bytes.Equal(q.Canonical(), text) || q.Digest() != p.Digest() {
			t.Errorf("%v", err)
		}
	}
	text := string(a.Canonical())
	for i := range len(text) { // every flipped bit changes what it means, or is refused
		mutant := []byte(text)
		mutant[i] ^= 1
		if q, err := ParseCanonical(mutant); err == nil && bytes.Equal(q.Canonical(), []byte(text)) {
			t.Errorf("byte %d flipped unseen", i)
		} else if err != nil && !errors.Is(err, ErrCanonical) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

func TestParseCanonicalStrict(t *testing.T) {
	const head, rule = "intact.policy/1\n", "rule \"/a\" compare=type dirs=type\n"
	if _, err := ParseCanonical([]byte(head + rule)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "intact.policy/2\n", head + "x", head + strings.TrimSuffix(rule, "\n"), head + "\n" + rule, head + rule + rule,
		head + "exclude \"/b\"\nexclude \"/a\"\n", head + "exclude \"/a\"\n" + rule, head + "exclude \"/a\" x\n",
		head + "exclude \"/\\xFF\"\n", head + "exclude \"/\\x61\"\n", head + "exclude \"/é\"\n", head + "exclude \"**/a\"\n", head + "exclude \"a\"\n",
		head + "exclude \"/a\n", head + "exclude /a\n", head + "hide \"/a\"\n", head + "skip \"a/b\"\n",
		head + "rule \"/a\" compare=type\n", head + "rule \"/a\" compare=mode dirs=mode\n", head + "rule \"/a\" dirs=type compare=type\n",
		head + "rule \"/a\" compare=type,btime dirs=type\n", head + "rule \"/a\" compare=mode,type dirs=type\n",
		head + "rule \"/a\" compare=type dirs=type entries=-1\n", head + "rule \"/a\" compare=type dirs=type entries=05\n",
		head + "rule \"/a\" compare=type dirs=type severity=bad\n", head + "rule \"/a\" compare=type dirs=type hot hot\n",
	} {
		if _, err := ParseCanonical([]byte(text)); !errors.Is(err, ErrCanonical) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		glob, name string
		want       bool
	}{
		{"*", "", true}, {"*", "\xff", true}, {"a*", "a", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false},
		{"*ab*", "aab", true}, {"*ab*", "aaab.", true}, {"*ab*", "a.b", false}, {"a*ab", "ab", false}, {"a*ab", "aab", true},
		{"*aab", "aaab", true}, {"*a*b*c", "xaxbxc", true}, {"*a*b*c", "xbxaxc", false}, {"*.ph[pt]*", "x.pht", true},
		{"?", "", false}, {"?", "ab", false}, {"[a-c]x", "bx", true}, {"[!a-c]x", "bx", false}, {"[^a]", "b", true}, {"[]-]", "-", true},
		{"[a\\-c]", "b", false}, {"[*]", "*", true}, {"[*]", "x", false}, {"*[ab]", "xab", true}, {"*[ab]", "", false},
		{"*a*a*a*a*a*a*a*a*b", strings.Repeat("a", 255), false},
	} {
		_, tokens, _, err := parseGlob(tt.glob)
		if err != nil || match(tokens, []byte(tt.name)) != tt.want {
			t.Errorf("%s on %q: want %v, %v", tt.glob, tt.name, tt.want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(defaultText[:2000])
	f.Add([]byte("version: 1\npaths: [{path: '/a/**/[!b]*', attributes: [mode]}]\nexclude: [{path_b64: L3Vzci/+}, '~/x/**']\n"))
	f.Add([]byte("version: 1\npaths: &a [*a]\n<<: {}\n? [x]\n: !t y\n--- 2\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("f", text)
		if err != nil {
			if _, ok := errors.AsType[strict.Errors](err); !ok || p != nil {
				t.Fatalf("%T", err)
			}
			for c := range strings.SplitSeq(err.Error(), "") {
				if c < " " && c != "\n" || c == "\x7f" {
					t.Fatalf("control byte in %q", err)
				}
			}
			return
		}
		q, err := ParseCanonical(p.Canonical())
		if err != nil || !bytes.Equal(q.Canonical(), p.Canonical()) {
			t.Fatalf("%v: %s", err, p.Canonical())
		}
		e, err := Union(p, q, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := e.Decide("/a/b/c"); d.Wider+d.Narrower != "" || d.Select != p.Explain("/a/b/c").Selected {
			t.Fatalf("%+v", d)
		}
		if drift := Compare(p, q); len(drift) != 0 {
			t.Fatalf("%v", drift)
		}
	})
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte("intact.policy/1\nrule \"/\\xff\" compare=type dirs=type entries=5 nanoseconds=1\nexclude \"~/a/**\"\nskip \"nfs\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseCanonical(text)
		if err != nil {
			if !errors.Is(err, ErrCanonical) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(p.Canonical(), text) {
			t.Fatal("not the inverse")
		}
	})
}
