package drift

import (
	"fmt"
	"strings"
	"testing"

	"intact/rules"
)

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		kind, key, old, now string
		want                string // severity, change, reasons
		attrs               string
	}{
		{"user", `"a"`, "", `uid="0"`, "critical added root", "uid"},
		{"user", `"a"`, "", `uid="7"`, "high added", "uid"},
		{"user", `"a"`, `uid="7" shell="/bin/sh"`, `uid="0" shell="/bin/sh"`, "critical changed root", "uid"},
		{"user", `"a"`, `uid="0" digest="x"`, ``, "high removed root", "uid,digest"},
		{"user", `"a"`, `uid="7" digest="x"`, `uid="7" digest=unknown`, "", ""},
		{"user", `"a"`, `uid="7" digest="x" home="/a"`, `uid="7" digest=unknown home="/b"`, "high changed", "home"},
		{"sshd", "authorizedkeysfile *", `value=".ssh/authorized_keys"`, `value="unknown"`, "high changed", "value"},
		{"group", `"a"`, "", `gid="0"`, "high added root", "gid"},
		{"group", `"a"`, `gid="4"`, "", "low removed", "gid"},
		{"member", `"docker" "a"`, "", `present="yes"`, "high added root", ""},
		{"member", `"games" "a"`, "", `present="yes"`, "medium added", ""},
		{"listener", `host tcp/22 wildcard exe="/a"`, "", `uid="0"`, "high added", "uid"},
		{"listener", `host tcp/22 loopback exe="/a"`, "", `uid="0"`, "medium added own", "uid"},
		{"listener", `host tcp/22 wildcard exe="/a loopback "`, `uid="0"`, "", "medium removed", "uid"},
		{"sshd", "permitrootlogin *", `value="no"`, `value="yes"`, "high changed", "value"},
		{"sshd", "acceptenv *", `value="A" value="B"`, `value="A"`, "medium changed", "value"},
		{"sshd", "rdomain *", "", `value="none"`, "", ""},
		{"sshd", "gssapikexalgorithms *", `value="x"`, "", "", ""},
		{"sshd", "trustedusercakeys *", "", `value="/x"`, "high added", "value"},
		{"sshd", "banner eve from outside", "", `value="/x"`, "medium added", "value"},
		{"sshd", "banner *", `value="A"`, `value="A"`, "", ""},
		{"module", `"a"`, "", `taint="E" hidden="false"`, "high added", "taint,hidden"},
		{"module", `"a"`, `taint="E" hidden="false"`, `taint="E" hidden="true"`, "critical changed hides", "hidden"},
		{"sysctl", `"kernel.kptr_restrict"`, `running="is:1"`, `running="is:0"`, "medium changed", "running"},
		{"sysctl", `"net.ipv4.conf.br0.forwarding"`, "", `running="is:0"`, "", ""},
		{"sysctl", `"net.ipv4.conf.br0.forwarding"`, `running="is:0"`, `running="is:1"`, "medium changed", "running"},
		{"sysctl", `"net.ipv4.conf.all.forwarding"`, `configured="set:0" running="is:0"`, "", "low removed", "configured,running"},
		{"sysctl", `"net.ipv4.conf.all.forwarding"`, `configured="unset" running="is:0"`, "", "", ""},
		{"boot", `cmdline "quiet"`, "", `value=""`, "medium added", "value"},
		{"boot", `cmdline "init"`, "", `value="/bin/sh"`, "critical added first", "value"},
		{"pam", `"/etc/pam.d/su" auth "pam_permit.so"`, "", `control="sufficient"`, "critical added", "control"},
		{"preload", `preload "/etc/ld.so.preload" "" 1`, "", `value="/x.so" exposed=""`, "critical added", "value,exposed"},
		{"preload", `folder "/etc/ld.so.conf.d/a" "" 1`, "", `value="/x" exposed=""`, "high added", "value,exposed"},
		{"preload", `folder "/etc/ld.so.conf.d/a" "" 1`, "", `value="/x" exposed="/x"`, "critical added", "value,exposed"},
		{"sudo", `"a" "ALL" "root" "ALL"`, `tags=""`, `tags="NOPASSWD"`, "high changed", "tags"},
		{"sudo-setting", `user "a" "authenticate"#1`, "", `off="true"`, "high added password", "off"},
		{"sudo-setting", `all "" "insults"#1`, "", `off="false"`, "medium added", "off"},
		{"sudo-setting", ShortKey(`user "` + strings.Repeat("a", maxKey) + `" "authenticate"#1`), "", `off="true"`, "high added password", "off"},
		{"anchor", "00ff", `trusted="false"`, `trusted="true"`, "high changed", "trusted"},
		{"cron", `"/etc/crontab" "root" "x"`, `schedule="@daily"`, `schedule="@hourly"`, "high changed", "schedule"},
	} {
		m := Move{Kind: tt.kind, Key: tt.key}
		if tt.old != "" {
			m.Old = []byte(tt.old)
		}
		if tt.now != "" {
			m.New = []byte(tt.now)
		}
		f, ok, err := Judge(m)
		if err != nil || ok != (tt.want != "") {
			t.Errorf("%+v: %v, %v", tt, ok, err)
			continue
		}
		if !ok {
			continue
		}
		got := fmt.Sprintf("%s %s", f.Severity, f.Change)
		w := strings.Fields(tt.want)
		if got != strings.Join(w[:2], " ") || len(w) > 2 && !strings.Contains(strings.Join(f.Reasons, " "), w[2]) {
			t.Errorf("%+v: %s, %q", tt, got, f.Reasons)
		}
		var names []string
		for _, v := range f.Attributes {
			names = append(names, v.Name)
		}
		if strings.Join(names, ",") != tt.attrs || f.Rule != "drift."+tt.kind || len(f.Attack) == 0 {
			t.Errorf("%+v: %q of %s", tt, names, f.Rule)
		}
	}
	for _, bad := range []Move{{Kind: "nothing", New: []byte(`a="b"`)}, {Kind: "user", New: []byte(`a="b`)}, {Kind: "user", New: []byte(`a="b"  c="d"`)}, {Kind: "user", New: []byte("x")}, {Kind: "user", New: []byte(`a="b" `)}} {
		if _, _, err := Judge(bad); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

// A unit or a job is explained as its files are, by the weakest of them, and
// only if nothing else about it is another.
func TestExplain(t *testing.T) {
	signed, local := &rules.Explanation{Source: "s", Level: rules.Signed}, &rules.Explanation{Source: "l", Level: rules.Local}
	const frag, drop, wants = "/usr/lib/systemd/system/a.service", "/etc/systemd/system/a.service.d/x.conf", "/etc/systemd/system/m.target.wants/a.service"
	unit := func(state, wanted, dropins, digest string) string {
		return fmt.Sprintf("state=%q wanted=%q fragment=%q dropins=%q digest=%q exec=%q user=%q", state, wanted, frag, dropins, digest, "ExecStart="+digest, "")
	}
	for name, tt := range map[string]struct {
		kind, key, old, now string
		said                map[string]*rules.Explanation
		changed             []string // besides
		blind               bool     // contents are not compared
		want                *rules.Explanation
	}{
		"a new version":                    {"unit", `"a.service"`, unit("enabled", "m", "", "1"), unit("enabled", "m", "", "2"), map[string]*rules.Explanation{frag: signed}, nil, false, signed},
		"not said":                         {"unit", `"a.service"`, unit("enabled", "m", "", "1"), unit("enabled", "m", "", "2"), nil, []string{frag}, false, nil},
		"no change of it":                  {"unit", `"a.service"`, unit("enabled", "m", "", "1"), unit("enabled", "m", "", "2"), nil, nil, false, nil},
		"the weakest":                      {"unit", `"a.service"`, unit("static", "", drop, "1"), unit("static", "", drop, "2"), map[string]*rules.Explanation{frag: signed, drop: local}, nil, false, local},
		"a drop-in that nobody said":       {"unit", `"a.service"`, unit("static", "", drop, "1"), unit("static", "", drop, "2"), map[string]*rules.Explanation{frag: signed}, []string{drop}, false, nil},
		"a drop-in that nobody looks at":   {"unit", `"a.service"`, unit("static", "", drop, "1"), unit("static", "", drop, "2"), map[string]*rules.Explanation{frag: signed}, nil, true, nil},
		"a drop-in that came from nowhere": {"unit", `"a.service"`, unit("static", "", "", "1"), unit("static", "", drop, "2"), map[string]*rules.Explanation{frag: signed}, nil, false, nil},
		"enabled as well":                  {"unit", `"a.service"`, unit("disabled", "", "", "1"), unit("enabled", "m.target", "", "2"), map[string]*rules.Explanation{frag: signed}, nil, false, nil},
		"enabled by its package":           {"unit", `"a.service"`, unit("disabled", "", "", "1"), unit("enabled", "m.target", "", "2"), map[string]*rules.Explanation{frag: signed, wants: local}, nil, false, local},
		"enabled under another name":       {"unit", `"a.service"`, unit("disabled", "", "", "1"), unit("enabled", "", "", "2"), map[string]*rules.Explanation{frag: signed}, nil, false, nil},
		"masked":                           {"unit", `"a.service"`, unit("enabled", "m", "", "1"), unit("masked", "m", "", "2"), map[string]*rules.Explanation{frag: signed}, nil, false, nil},
		"new":                              {"unit", `"a.service"`, "", unit("static", "", "", "2"), map[string]*rules.Explanation{frag: signed}, nil, false, signed},
		"gone":                             {"unit", `"a.service"`, unit("static", "", "", "2"), "", map[string]*rules.Explanation{frag: signed}, nil, false, signed},
		"its file went, a link stayed":     {"unit", `"a.service"`, unit("enabled", "m", "", "1"), `state="not-found" wanted="m" fragment="" dropins="" digest="3" exec="" user=""`, map[string]*rules.Explanation{frag: signed}, nil, false, signed},
		"its file went unsaid":             {"unit", `"a.service"`, unit("enabled", "m", "", "1"), `state="not-found" wanted="m" fragment="" dropins="" digest="3" exec="" user=""`, nil, []string{frag}, false, nil},
		"a job":                            {"cron", `"/etc/cron.d/a" "root" "x"`, "", `schedule="@daily"`, map[string]*rules.Explanation{"/etc/cron.d/a": signed}, nil, false, signed},
		"a line of PAM":                    {"pam", `"/etc/pam.d/a" auth "m"`, `control="required"`, `control="optional"`, map[string]*rules.Explanation{"/etc/pam.d/a": signed}, nil, false, signed},
		"a folder of libraries":            {"preload", `folder "/etc/ld.so.conf.d/a" "" 1`, "", `value="/x" exposed=""`, map[string]*rules.Explanation{"/etc/ld.so.conf.d/a": signed}, nil, false, signed},
		"a folder that others can write":   {"preload", `folder "/etc/ld.so.conf.d/a" "" 1`, "", `value="/x" exposed="/x"`, map[string]*rules.Explanation{"/etc/ld.so.conf.d/a": signed}, nil, false, nil},
		"what is preloaded":                {"preload", `preload "/etc/ld.so.preload" "" 1`, "", `value="/x" exposed=""`, map[string]*rules.Explanation{"/etc/ld.so.preload": signed}, nil, false, nil},
		"an authority":                     {"anchor", "00", "", `local="false" source="/usr/share/a"`, map[string]*rules.Explanation{"/usr/share/a": signed}, nil, false, signed},
		"an authority that went":           {"anchor", "00", `local="false" source="/usr/share/a"`, "", map[string]*rules.Explanation{"/usr/share/a": signed}, nil, false, signed},
		"an authority of the site":         {"anchor", "00", "", `local="true" source="/usr/share/a"`, map[string]*rules.Explanation{"/usr/share/a": signed}, nil, false, nil},
		"an authority from nowhere":        {"anchor", "00", "", `local="false" source=""`, map[string]*rules.Explanation{"": signed}, nil, false, nil},
		"a user":                           {"user", `"a"`, "", `uid="0"`, map[string]*rules.Explanation{"/etc/passwd": signed}, nil, false, nil},
	} {
		m := Move{Kind: tt.kind, Key: tt.key}
		if tt.old != "" {
			m.Old = []byte(tt.old)
		}
		if tt.now != "" {
			m.New = []byte(tt.now)
		}
		got := m.Explain(Files{
			Said: func(p string) *rules.Explanation { return tt.said[p] },
			Changed: func(p string) bool {
				for _, c := range tt.changed {
					if c == p {
						return true
					}
				}
				return tt.said[p] != nil
			},
			Held: func(string) bool { return !tt.blind },
		})
		if got != tt.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestShort(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	a, b := ShortKey(`cron "/f" "root" "`+long+`1"`), ShortKey(`cron "/f" "root" "`+long+`2"`)
	if len(a) > maxKey || a == b || ShortKey("k") != "k" {
		t.Errorf("%d bytes, alike %v", len(a), a == b)
	}
	if f, ok := firstQuoted(strings.TrimPrefix(a, "cron ")); !ok || f != "/f" {
		t.Errorf("%q", f)
	}
	v := ShortValue(`a="1" exec="` + long + `1"`)
	w := ShortValue(`a="1" exec="` + long + `2"`)
	if list, err := Differ([]byte(v), []byte(w)); err != nil || len(list) != 1 || list[0].Name != "exec" || len(v) > maxValue {
		t.Errorf("%v, %v", list, err)
	}
	many := strings.Repeat(` value="abc"`, 1<<15)[1:]
	if v := ShortValue(many); len(v) > 2*maxValue || v == ShortValue(many+` value="d"`) {
		t.Errorf("%d bytes", len(v))
	}
	if v := ShortValue(""); v != `present="yes"` {
		t.Error(v)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", `a="b"`, `a="b" c=d`, `a="\x1b\u202e"`, `a=" b=`, `=`, `a==`, `a="b"c="d"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := parse([]byte(s))
		if err != nil {
			return
		}
		var b []string
		for _, w := range words {
			b = append(b, fmt.Sprintf("%s=%q", w.name, w.value))
		}
		again, err := parse([]byte(strings.Join(b, " ")))
		if err != nil || len(again) != len(words) {
			t.Fatalf("%q: %v", s, err)
		}
		for i := range words {
			if words[i] != again[i] {
				t.Fatalf("%q: %+v is not %+v", s, words[i], again[i])
			}
		}
	})
}
