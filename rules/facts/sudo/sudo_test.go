package sudo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts/facttest"
)

func policy(t testing.TB, files map[string]string) Policy {
	t.Helper()
	return Collect(context.Background(), facttest.Image(t, files))
}

// short spells a grant as sudoers does, aliases gone.
func short(g Grant) string {
	not := ""
	if g.Denied {
		not = "!"
	}
	s := fmt.Sprintf("%s %s=(%s)", words(g.Who, g.Except), strings.Join(g.Hosts, ","), g.as())
	for _, t := range g.Tags {
		s += " " + t + ":"
	}
	for _, t := range append(slices.Clone(g.Options), g.Digests...) {
		s += " " + t
	}
	return s + " " + not + g.Command
}

var lines = []struct {
	name, text string
	want       []string
	odd        int // lines that sudo refuses
}{
	{"plain", "root ALL=(ALL:ALL) ALL\n%sudo\tALL = ( ALL : ALL ) ALL", []string{"root ALL=(ALL:ALL) ALL", "%sudo ALL=(ALL:ALL) ALL"}, 0},
	{"comment", "# root ALL=ALL \\\neve ALL=ALL # c\n#\n#-x\n", []string{"eve ALL=(root) ALL"}, 0},
	{"ids", "#1000 ALL=(#0) ALL\n%#27 ALL=(root) ALL\n+ng +hosts=(%adm) ALL\n%:dom ALL=ALL", []string{"#1000 ALL=(#0) ALL", "%#27 ALL=(root) ALL", "+ng +hosts=(%adm) ALL", "%:dom ALL=(root) ALL"}, 0},
	{"tags", "a ALL=NOPASSWD: /bin/a, /bin/b, PASSWD : NOEXEC: SETENV:/bin/c", []string{"a ALL=(root) NOPASSWD: /bin/a", "a ALL=(root) NOPASSWD: /bin/b", "a ALL=(root) NOEXEC: PASSWD: SETENV: /bin/c"}, 0},
	{"runas", "a ALL=(b) /x, (c:d) /y, (:e) /z, () /w", []string{"a ALL=(b) /x", "a ALL=(c:d) /y", "a ALL=(:e) /z", "a ALL=() /w"}, 0},
	{"negation", "a,!b,%g,!c ALL,!h=ALL,!/bin/su,!!/bin/ls", []string{"a ALL,!h=(root) ALL", "%g,!c ALL,!h=(root) ALL", "a ALL,!h=(root) !/bin/su", "%g,!c ALL,!h=(root) !/bin/su", "a ALL,!h=(root) /bin/ls", "%g,!c ALL,!h=(root) /bin/ls"}, 0},
	{"continued", "a \\\n ALL = \\\n\t/bin/a\\\n x \\\ny\nb ALL=ALL", []string{"a ALL=(root) /bin/a x y", "b ALL=(root) ALL"}, 0},
	{"hosts", "a h1=/a : h2,10.0.0.0/8,fe80::1/64 = NOPASSWD: /b", []string{"a h1=(root) /a", "a h2,10.0.0.0/8,fe80::1/64=(root) NOPASSWD: /b"}, 0},
	{"quotes", `"dom user" ALL=("x y") ALL` + "\n" + `a\ b ALL=ALL` + "\n" + `"%q g" ALL=ALL`, []string{"dom user ALL=(x y) ALL", "a b ALL=(root) ALL", "%q g ALL=(root) ALL"}, 0},
	{"aliases", "User_Alias U = a, !b : V = U, c\nRunas_Alias R = x, y\nHost_Alias H = h1, h2\nCmnd_Alias C = /bin/a, !/bin/b\nV,!U H=(R) !C", []string{"c h1,h2=(x,y) !/bin/a", "b h1,h2=(x,y) !/bin/a", "c h1,h2=(x,y) /bin/b", "b h1,h2=(x,y) /bin/b"}, 0},
	{"later alias", "A ALL=B\nUser_Alias A=a\nCmnd_Alias B=/b", []string{"a ALL=(root) /b"}, 0},
	{"arguments", `a ALL=/bin/a x\,y\:z\=\  "", /bin/b "", sudoedit /etc/x y, /usr/bin/, /b *`, []string{`a ALL=(root) /bin/a x,y:z=  ""`, `a ALL=(root) /bin/b ""`, "a ALL=(root) sudoedit /etc/x y", "a ALL=(root) /usr/bin/", "a ALL=(root) /b *"}, 0},
	{"digest", "a ALL=sha256:0123456789012345678901234567890123456789012345678901234567890123 /a", []string{"a ALL=(root) sha256:0123456789012345678901234567890123456789012345678901234567890123 /a"}, 0},
	{"options", "a ALL=CWD=/tmp CHROOT=/x TIMEOUT=5m NOPASSWD: /a, CWD=* /b", []string{"a ALL=(root) NOPASSWD: CHROOT=/x CWD=/tmp TIMEOUT=5m /a", "a ALL=(root) NOPASSWD: CHROOT=/x CWD=* TIMEOUT=5m /b"}, 0},
	{"regex", `a ALL=/bin/a ^-(x|y), z: =$, ^/usr/bin/(a|b)$`, []string{"a ALL=(root) /bin/a ^-(x|y), z: =$", "a ALL=(root) ^/usr/bin/(a|b)$"}, 0},
	{"wrong lines", "a ALL\nb ALL=\nc ALL=bin\nd ALL=(x ALL\n\"\" ALL=ALL\ne ALL=ALL x\nUser_Alias low = a\nUser_Alias X=a\nUser_Alias X=b\nok ALL=ALL\n= \n%\n+ ALL=ALL\n\"x ALL=ALL\n", []string{"ok ALL=(root) ALL"}, 12},
	{"runas default", "Defaults runas_default=op\na ALL=ALL", []string{"a ALL=(op) ALL"}, 0},
	{"carriage return", "a ALL=ALL\r\nb ALL=/y \\\r\n,/x", []string{"a ALL=(root) ALL", "b ALL=(root) /y", "b ALL=(root) /x"}, 0},
}

func TestGrants(t *testing.T) {
	for _, c := range lines {
		t.Run(c.name, func(t *testing.T) {
			p := policy(t, map[string]string{"etc/sudoers": c.text})
			var got []string
			for _, g := range p.Grants.Rows {
				got = append(got, short(g))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("\n got %q\nwant %q", got, c.want)
			}
			wrong := 0
			for _, o := range p.Odd.Rows {
				if o.Error {
					wrong++
				}
			}
			if wrong != c.odd || (p.Grants.Status == rules.OK) != (c.odd == 0) {
				t.Errorf("%s %s: %+v", p.Grants.Status, p.Grants.Reason, p.Odd.Rows)
			}
			facttest.Keys(t, p.Grants.Rows)
			facttest.Keys(t, p.Settings.Rows)
		})
	}
	facttest.Tags(t, Grant{}, Setting{}, File{}, Odd{})
}

func TestDefaults(t *testing.T) {
	p := policy(t, map[string]string{"etc/sudoers": "Defaults env_reset, !lecture, secure_path=\"/a:/b\", env_keep += \"A B\", x-=C\nDefaults:a,%b !authenticate\n" +
		"Defaults>root logfile=/x:y\nDefaults@h1 insults\nDefaults!/bin/a,C noexec\nCmnd_Alias C=/bin/c\nDefaultsx y\nDefaults =\n"})
	var got []string
	for _, s := range p.Settings.Rows {
		got = append(got, fmt.Sprintf("%s %v %s%s%s %t %s", s.Scope, s.Of, s.Name, s.Op, s.Value, s.Off, s.At))
	}
	want := []string{"all [] env_reset false /etc/sudoers:1", "all [] lecture true /etc/sudoers:1", "all [] secure_path=/a:/b false /etc/sudoers:1", "all [] env_keep+=A B false /etc/sudoers:1",
		"all [] x-=C false /etc/sudoers:1", "user [a %b] authenticate true /etc/sudoers:2", "run_as [root] logfile=/x:y false /etc/sudoers:3", "host [h1] insults false /etc/sudoers:4", "command [/bin/a /bin/c] noexec false /etc/sudoers:5"}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestIncludes(t *testing.T) {
	files := map[string]string{
		"etc/sudoers": "#include other\n@include \"/etc/with blank\"\n@include /etc/esc\\ aped # c\n#includedir /etc/sudoers.d\n@includedir /etc/none\n@include /etc/host-%h\nz ALL=ALL\n",
		"etc/other":   "o ALL=ALL\n#include /etc/sudoers\n", "etc/with blank": "w ALL=ALL", "etc/esc aped": "e ALL=ALL", "etc/hostname": "box.example.org\n", "etc/host-box": "h ALL=ALL",
		"etc/sudoers.d/b": "b ALL=ALL", "etc/sudoers.d/a": "a ALL=ALL", "etc/sudoers.d/x.y": "no ALL=ALL", "etc/sudoers.d/x~": "no ALL=ALL", "etc/sudoers.d/c": facttest.Link("/etc/linked"),
		"etc/linked": "c ALL=ALL", "etc/sudoers.d/fifo": facttest.Fifo, "etc/sudoers.d/out": facttest.Link("../../../../etc/gone"), "etc/sudoers.d/folder/": "",
	}
	p := policy(t, files)
	var who []string
	for _, g := range p.Grants.Rows {
		who = append(who, g.Who+" "+g.At)
	}
	want := []string{"o /etc/other:1", "w /etc/with blank:1", "e /etc/esc aped:1", "a /etc/sudoers.d/a:1", "b /etc/sudoers.d/b:1", "c /etc/sudoers.d/c:1", "h /etc/host-box:1", "z /etc/sudoers:7"}
	if !slices.Equal(who, want) {
		t.Errorf("\n got %q\nwant %q", who, want)
	}
	if len(p.Odd.Rows) != 1 || p.Odd.Rows[0].At != "/etc/other:2" || p.Grants.Status != rules.Failed || len(p.Files.Rows) != 8 || p.Files.Rows[0].Mode != "0600" {
		t.Errorf("%+v %+v %s", p.Odd.Rows, p.Files.Rows, p.Grants.Reason)
	}
}

// Two lines that overrule one another changed places: that is a change. Lines
// that do not have to do with one another may change places.
func TestOrder(t *testing.T) {
	of := func(text string) map[string]string {
		out := map[string]string{}
		for _, g := range policy(t, map[string]string{"etc/sudoers": text}).Grants.Rows {
			out[g.Key()] = g.Compared()
		}
		return out
	}
	same := func(a, b map[string]string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }
	if !same(of("a ALL=/x\nb ALL=NOPASSWD: /y\n%c ALL=/z"), of("%c ALL=/z\nb ALL=NOPASSWD: /y\na ALL=/x")) {
		t.Error("the order of lines is compared")
	}
	if same(of("a ALL=ALL\na ALL=!/bin/sh"), of("a ALL=!/bin/sh\na ALL=ALL")) || same(of("%g ALL=ALL\na ALL=NOPASSWD: ALL"), of("a ALL=NOPASSWD: ALL\n%g ALL=ALL")) {
		t.Error("one line overrules another, and nobody says so")
	}
}

func TestHostile(t *testing.T) {
	var nest strings.Builder
	for i := range 64 {
		fmt.Fprintf(&nest, "User_Alias A%d = A%d, A%d\n", i, i+1, i+1)
	}
	for name, c := range map[string]struct {
		files  map[string]string
		status rules.Status
	}{
		"none":       {map[string]string{"etc/x": ""}, rules.Absent},
		"fifo":       {map[string]string{"etc/sudoers": facttest.Fifo}, rules.Failed},
		"missing":    {map[string]string{"etc/sudoers": "@include /gone\n"}, rules.Failed},
		"circle":     {map[string]string{"etc/sudoers": "User_Alias A = B\nUser_Alias B = A\nA ALL=ALL"}, rules.OK},
		"nested":     {map[string]string{"etc/sudoers": nest.String() + "A0 ALL=ALL"}, rules.Failed},
		"long line":  {map[string]string{"etc/sudoers": strings.Repeat("a,", 1<<20) + "b ALL=ALL"}, rules.Failed},
		"wide":       {map[string]string{"etc/sudoers": strings.Repeat("a,%b,", 10000) + "c " + strings.Repeat("h,", 10000) + "h=/x"}, rules.Failed},
		"moved":      {map[string]string{"etc/sudo.conf": "Plugin sudoers_policy sudoers.so sudoers_file=/opt/s\n", "opt/s": "a ALL=ALL"}, rules.OK},
		"nul":        {map[string]string{"etc/sudoers": "a\x00b ALL=ALL\n\x1b[31m\xff ALL=ALL"}, rules.OK},
		"many wrong": {map[string]string{"etc/sudoers": strings.Repeat("=\n", maxOdd+1)}, rules.Failed},
		"huge":       {map[string]string{"etc/sudoers": strings.Repeat("#", maxFile+1)}, rules.Failed},
	} {
		// What takes a minute ends as a time-out, which nothing here expects.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		p := Collect(ctx, facttest.Image(t, c.files))
		cancel()
		if p.Grants.Status != c.status {
			t.Errorf("%s: %s %s", name, p.Grants.Status, p.Grants.Reason)
		}
		if name == "moved" && (len(p.Grants.Rows) != 1 || len(p.Odd.Rows) != 1) {
			t.Errorf("%+v", p)
		}
		if len(p.Grants.Rows) > maxRows || len(p.Odd.Rows) > maxOdd {
			t.Errorf("%s: %d rows", name, len(p.Grants.Rows))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if p := Collect(ctx, facttest.Image(t, map[string]string{"etc/sudoers": "a ALL=ALL"})); p.Grants.Status != rules.Timeout {
		t.Errorf("%+v", p.Grants)
	}
}

func FuzzSudoers(f *testing.F) {
	for _, c := range lines {
		f.Add(c.text)
	}
	f.Add("Defaults:a x=\"y\\\n z\"\n@include \\\n")
	f.Add("A\\\n\\\n#1 ALL=sha256:/\\")
	f.Fuzz(func(t *testing.T, s string) {
		p := policy(t, map[string]string{"etc/sudoers": s})
		facttest.Keys(t, p.Grants.Rows)
		facttest.Keys(t, p.Settings.Rows)
		n := strings.Count(s, "\n") + 1
		for _, g := range p.Grants.Rows {
			var at int
			if _, err := fmt.Sscanf(g.At, "/etc/sudoers:%d", &at); err != nil || at < 1 || at > n {
				t.Errorf("%s of %d lines", g.At, n)
			}
		}
	})
}
