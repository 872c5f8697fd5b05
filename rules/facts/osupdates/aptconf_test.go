package osupdates

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
)

// confOf parses one file and renders what it sets.
func confOf(text string) (out []string, err error) {
	c := &aptConf{}
	err = c.parse("f", text, func(name string) error {
		out = append(out, "include "+name)
		return nil
	})
	for _, s := range c.settings {
		out = append(out, fmt.Sprintf("%s=%s@%d", s.Name, s.Value, s.Line))
	}
	return out, err
}

func TestAptConf(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"plain", `APT::Periodic::Enable "1";`, []string{"APT::Periodic::Enable=1@1"}},
		{"bare", "A::B c;", []string{"A::B=c@1"}},
		{"blocks", "A {\n B \"1\"; # c\n C { \"x\"; \"y\" ; };\n};\nD \"2\";", []string{"A::B=1@2", "A::C::=x@3", "A::C::=y@3", "D=2@5"}},
		{"lists", "A:: \"x\";\nA:: \"x\";", []string{"A::=x@1", "A::=x@2"}},
		{"later-wins", "A::b \"1\";\na::B \"2\";", []string{"a::B=2@2"}},
		{"comments", "// x\nA \"http://x\"; // y\n/* B \"1\";\n */ C \"/* no */\"; /* z */ D \"#\"; # e", []string{"A=http://x@2", "C=/* no */@4", "D=#@4"}},
		{"clear", "A::B \"1\"; A::C:: \"2\"; AB \"3\";\n#clear A;", []string{"AB=3@1"}},
		{"clear-list", "A:: \"1\"; A::B \"2\"; #clear A::B;", []string{"A::=1@1"}},
		{"include", "#include \"/x\";\n#include /y/;", []string{"include /x", "include /y/"}},
		{"two-lines", "A\n  \"b\n c\" ;", nil},
		{"multi-line", "A::B\n\t\"c\";", []string{"A::B=c@2"}},
		{"stray-brace", "}; A \"1\";", []string{"A=1@1"}},
		{"open-block", "A { B \"1\";", []string{"A::B=1@1"}},
		{"open-comment", "A \"1\"; /* B \"2\";", []string{"A=1@1"}},
		{"percent", `A%41 "%41";`, []string{"AA=%41@1"}},
		{"value-and-block", `A "1" { B "2"; };`, []string{"A=1@1", "A::B=2@1"}},
	} {
		got, err := confOf(tt.text)
		if tt.want == nil {
			if err == nil {
				t.Errorf("%s: no error, but %q", tt.name, got)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
	for _, bad := range []string{"{ A \"1\"; };", "A", "A \"b\" c;", "A \"b;\n", "#clearly x;", strings.Repeat("A {", 100), strings.Repeat("x", 5000) + " \"1\";"} {
		if got, err := confOf(bad); err == nil || !strings.HasPrefix(err.Error(), `"f":`) {
			t.Errorf("%.40q: got %q, %v", bad, got, err)
		}
	}
}

// What apt.conf sets on this host, apt has set too.
func TestAptConfLikeApt(t *testing.T) {
	b, err := exec.Command("apt-config", "dump", "--format", "%F=%v%n").Output()
	if err != nil {
		t.Skipf("SKIPPED: no apt-config: %v", err)
	}
	apts := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		apts[strings.ToLower(strings.TrimSuffix(line, "\n"))] = true
	}
	r, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := &host{Host: facts.Host{Root: r}}
	c := h.readAptConf()
	if h.status != "" {
		t.Errorf("%s %q", h.status, h.reasons)
	}
	for _, s := range c.settings {
		if !apts[strings.ToLower(s.Name+"="+s.Value)] && s.Name != "Acquire::Languages" { // which apt makes a list of
			t.Errorf("apt has no %s=%q of %s:%d", s.Name, s.Value, s.File, s.Line)
		}
	}
	t.Logf("%d settings", len(c.settings))
}

// Files count in apt's order, and only those that apt reads.
func TestAptConfFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"apt.conf": "Z \"main\";", "apt.conf.d/10a": "A \"1\"; Z \"part\";", "apt.conf.d/20b.conf": "A \"2\";", "apt.conf.d/30c.dpkg-old": "A \"3\";",
		"apt.conf.d/.40d": "A \"4\";", "apt.conf.d/50e~": "A \"5\";", "apt.conf.d/60 f": "A \"6\";", "apt.conf.d/70g/x": "", "apt.conf.d/80h": "#include \"/etc/apt/loop\";", "loop": "#include \"/etc/apt/loop\";",
	} {
		p := filepath.Join(dir, "etc/apt", name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := &host{Host: facts.Host{Root: r}}
	c := h.readAptConf()
	a, _ := c.find("a")
	z, _ := c.find("z")
	if a.Value != "2" || a.File != "/etc/apt/apt.conf.d/20b.conf" || z.Value != "main" {
		t.Errorf("got %+v, %+v", a, z)
	}
	if h.status != rules.Failed || !strings.Contains(h.reasons[0], "loop") {
		t.Errorf("a loop of includes: %s %q", h.status, h.reasons)
	}
}

func FuzzAptConf(f *testing.F) {
	f.Add("A { B \"1\"; C { \"x\"; \"y\"; }; }; #clear A::C;\n/* c */ // d\nE f;")
	f.Add("#include \"/x\"; A::B:: \"%41\x00\xff\";")
	f.Fuzz(func(t *testing.T, text string) {
		c := &aptConf{}
		err := c.parse("f", text, func(string) error { return nil })
		if err != nil && !strings.HasPrefix(err.Error(), `"f":`) {
			t.Errorf("no place: %v", err)
		}
		for _, s := range c.settings {
			if s.Line < 1 || len(s.Name) > maxTag {
				t.Errorf("%+v", s)
			}
		}
		c.clear("A")
		if len(c.items("A")) > 0 {
			t.Errorf("not cleared: %+v", c.settings)
		}
	})
}

func sourceRows(list []source) (out []string) {
	for _, s := range list {
		out = append(out, fmt.Sprintf("%s %s %s %s %v %v @%d", s.kind, s.uri, s.suite, s.components, s.options, s.enabled, s.line))
	}
	return out
}

func TestSources(t *testing.T) {
	got, err := parseList("f", []byte("# c\n\ndeb http://a/ x main contrib # y\n\tdeb-src\t[arch=amd64,i386 signed-by=/k#1.gpg trusted=yes] http://b y/\ndeb \"cdrom:[Debian 12]/\" book main\ndeb http://a/%7e x main\r\n"))
	want := []string{
		"deb http://a/ x [main contrib] [] true @3", "deb-src http://b y/ [] [{arch amd64,i386} {signed-by /k#1.gpg} {trusted yes}] true @4",
		"deb cdrom:[Debian 12]/ book [main] [] true @5", "deb http://a/~ x [main] [] true @6",
	}
	if err != nil || !slices.Equal(sourceRows(got), want) {
		t.Errorf("lines: %v\n got %q\nwant %q", err, sourceRows(got), want)
	}
	for _, bad := range []string{"rpm http://a x main", "deb http://a", "deb http://a x", "deb http://a x/ main", "deb [arch=amd64 http://a x main", "deb [arch] http://a x main", "deb nocolon x main", "deb \"http://a x main", "deb\x00 http://a x main",
		"deb http://" + strings.Repeat("a", 5000) + " x main", "deb http://a x" + strings.Repeat(" c", 100), "deb [a=" + strings.Repeat("b", 20000) + "] http://a x main"} {
		if got, err := parseList("f", []byte("\n"+bad)); err == nil || !strings.HasPrefix(err.Error(), `"f":2: `) {
			t.Errorf("%q: got %q, %v", bad, sourceRows(got), err)
		}
	}
	got, err = parseSources("f", []byte("# c\nTypes: deb deb-src\nURIs: http://a\n# in between\nSuites: x y/\nComponents: main\nArchitectures: amd64 i386\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n\n\nTypes: deb\nURIs: http://b\nSuites: z\nComponents: c d\nEnabled: no\nTrusted: yes\n"))
	key := "{arch amd64,i386} {signed-by -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc}"
	want = []string{
		"deb http://a x [main] [" + key + "] true @2", "deb http://a y/ [] [" + key + "] true @2", "deb-src http://a x [main] [" + key + "] true @2", "deb-src http://a y/ [] [" + key + "] true @2",
		"deb http://b z [c d] [{trusted yes}] false @14",
	}
	if err != nil || !slices.Equal(sourceRows(got), want) {
		t.Errorf("stanzas: %v\n got %q\nwant %q", err, sourceRows(got), want)
	}
	for _, bad := range []string{"Types: deb\nSuites: x\n", "Types: rpm\nURIs: http://a\nSuites: x\nComponents: m\n", "Types: deb\nURIs: http://a\nSuites: x\n", "nonsense\n", "Types: deb\nTypes: deb\n"} {
		if got, err := parseSources("f", []byte(bad)); err == nil || !strings.HasPrefix(err.Error(), `"f":`) {
			t.Errorf("%q: got %q, %v", bad, sourceRows(got), err)
		}
	}
}

func TestListName(t *testing.T) {
	for uri, want := range map[string]string{
		"http://deb.debian.org/debian/dists/x/": "deb.debian.org_debian_dists_x_", "https://u:p@h:8080/a_b~c/": "h:8080_a%5fb%7ec_",
		"file:/srv/repo/./": "_srv_repo_._", "file:///srv/repo/": "_srv_repo_", "cdrom:[Debian 12]/": "%5bDebian%2012%5d_", "mirror+http://h/m.txt/": "h_m.txt_", "http://h/\x1b\n\xff/": "h_%1b%0a%ff_",
	} {
		if got := listName(uri); got != want {
			t.Errorf("%q: got %q, want %q", uri, got, want)
		}
	}
}

func FuzzSources(f *testing.F) {
	f.Add([]byte("deb [arch=amd64] http://a x main\n"))
	f.Add([]byte("Types: deb\nURIs: http://a\nSuites: x\nComponents: main\nSigned-By: /k\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func(string, []byte) ([]source, error){parseList, parseSources} {
			got, err := parse("f", b)
			if err != nil && !strings.HasPrefix(err.Error(), `"f":`) {
				t.Errorf("no place: %v", err)
			}
			for i := range got {
				s := &got[i]
				if s.line < 1 || s.check() != nil {
					t.Errorf("%+v", s)
				}
				name := listName(s.base("amd64") + indexPath("main", "amd64"))
				if strings.ContainsAny(name, "/\x00\n") {
					t.Errorf("name of a list: %q", name)
				}
				site(s.uri)
				withoutSecrets(s.uri)
			}
		}
	})
}

func TestPinsRefused(t *testing.T) {
	for _, bad := range []string{
		"Pin: release *\nPin-Priority: 1\n", "Package: a\nPin: release *\nPin-Priority: 0\n", "Package: a\nPin: release *\n", "Package: a\nPin: release *\nPin-Priority: never\n",
		"Package: /(/\nPin: release *\nPin-Priority: 1\n", "Package: a\nPin: version " + strings.Repeat("*", 2000) + "\nPin-Priority: 1\n", "Package: a\nPin: release *\nPin-Priority: 99999\n", "x\n",
	} {
		if got, err := parsePins("f", []byte(bad)); err == nil || !strings.HasPrefix(err.Error(), `"f":`) {
			t.Errorf("%.60q: got %+v, %v", bad, got, err)
		}
	}
	if got, err := parsePins("f", []byte("Package: a\nPin: nonsense x\nPin-Priority: 1\n\nPackage: *\nPin: version 1\nPin-Priority: 1\n\nPackage: a b\nPin: release a=x\nPin-Priority: -1\n")); err != nil || len(got) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"Debian", "debian", true}, {"a*", "ABC", true}, {"a*", "ba", false}, {"a?c", "a/c", true}, {"[!a-c]x", "dx", true}, {"[!a-c]x", "bx", false}, {"[]x]", "]", true},
		{"[ab", "[ab", true}, {`a\*`, "a*", true}, {`a\*`, "ab", false}, {"/^a.c/", "xABC", false}, {"/a.c/", "xABC", true}, {"a.c", "abc", false}, {"*", "", true}, {"a*\n", "a\x00\n", true},
	} {
		p, err := newPattern(tt.pattern)
		if err != nil || p.match(tt.s) != tt.want {
			t.Errorf("%q of %q: %v, %v", tt.pattern, tt.s, p, err)
		}
	}
}

func FuzzPins(f *testing.F) {
	f.Add([]byte("Package: *\nPin: release a=x, n=y*\nPin-Priority: 900\n\nPackage: /a|b/ src:c:any\nPin: version 1.[0-9]*\nPin-Priority: -1\n"))
	f.Add([]byte("Package: a\nPin: origin \"\"\nPin-Priority: never\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parsePins("f", b)
		if err != nil && !strings.HasPrefix(err.Error(), `"f":`) {
			t.Errorf("no place: %v", err)
		}
		p := policy{pins: got, native: "amd64", indexes: []index{{site: "h", rel: &release{suite: "x"}}, {status: true}}}
		p.prioritize()
		k := &known{arch: "amd64", versions: []version{{text: "1.2", from: []int{0}, phase: 100}}}
		k.Name, k.Version = "a", "1"
		k.add(version{text: "1", from: []int{1}, phase: 100})
		p.updates(k)
	})
}

// A name of a file that apt would not read is not read.
func TestParts(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "a_b-c:1": true, "a b": false, "é": false, "a\n": false, "a/": false} {
		if partName(name) != want {
			t.Errorf("%q: got %v", name, !want)
		}
	}
}
