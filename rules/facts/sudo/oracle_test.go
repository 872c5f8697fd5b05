package sudo

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"intact/rules/facts/facttest"
)

// generated writes lines as people write them, and some that are wrong.
func generated(r *rand.Rand) string {
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	list := func(of ...string) string {
		var out []string
		for range 1 + r.IntN(3) {
			out = append(out, one("", "", "", "!", "! ", "!!")+one(of...))
		}
		return strings.Join(out, one(",", ", ", " , ", ",\\\n "))
	}
	users := []string{"alice", "%wheel", "#1000", "%#27", "+net", "%:plug", "ALL", "UA", "UB", `"quo ted"`, `esc\ aped`, `esc\,x`, `"%g g"`, "a.b-c_d@e", "x\x01y"}
	hosts := []string{"ALL", "h1", "10.0.0.1", "10.0.0.0/8", "10.0.0.0/255.0.0.0", "fe80::1", "2001:db8::/32", "+hosts", "HA", "web-*"}
	cmnds := []string{"ALL", "/bin/a", "/bin/a x y", `/bin/a ""`, `/bin/a x\,y\:z\=`, `/usr/bin/*`, "/usr/bin/", "CA", "CB", "sudoedit /etc/x", "/bin/a --k=v", `/bin/b \*x [a-z]`, "sudoedit /a /b"}
	var b strings.Builder
	b.WriteString("User_Alias UA = u1, !u2\nUser_Alias UB = UA, %g\nHost_Alias HA = h8, !h9\nRunas_Alias RA = r1, r2\nCmnd_Alias CA = /c/a, !/c/b 1\nCmnd_Alias CB = CA, !CA, /c/c\n")
	for range 4 {
		switch r.IntN(8) {
		case 0:
			b.WriteString(one("# c \\\n", "\n", "   \n", "#\n", "\t# x\n", "Defaults env_reset\n", "Defaults:alice !authenticate\n", "Defaults@h1 insults # x\n"))
			continue
		case 1:
			if r.IntN(3) == 0 {
				b.WriteString(one("x\n", "x ALL\n", "x ALL=\n", "x ALL=(root ALL\n", "x ALL=relative\n", "= x\n", "%\"g g\" ALL=ALL\n", "x ALL=ALL ALL\n", "x ALL=/a, \n", "x , ALL=ALL\n", "\"\" ALL=ALL\n", "% ALL=ALL\n", "User_Alias x = y\n", "Defaultsx y\n", "x ALL=NOPASSWD ALL\n", "x ALL=NOPASSWD: CWD=/ ALL\n", "x ALL=/a = b\n", "x ALL=() () /a\n"))
				continue
			}
		}
		b.WriteString(list(users...) + one(" ", "\t", " \\\n\t"))
		for i := range 1 + r.IntN(2) {
			if i > 0 {
				b.WriteString(one(":", " : "))
			}
			b.WriteString(list(hosts...) + one("=", " = "))
			for j := range 1 + r.IntN(3) {
				if j > 0 {
					b.WriteString(one(",", ", ", " ,\\\n"))
				}
				if r.IntN(3) == 0 {
					b.WriteString("(" + one("", list("root", "RA", "#0", "%adm", "ALL")) + one("", ":"+list("adm", "wheel"), " : "+list("adm")) + ") ")
				}
				for range r.IntN(3) {
					b.WriteString(one("NOPASSWD:", "PASSWD : ", "NOEXEC: ", "EXEC:", "SETENV:", "NOSETENV: ", "LOG_OUTPUT:", "NOMAIL:"))
				}
				b.WriteString(one("", "", "!") + one(cmnds...))
			}
		}
		b.WriteString(one("\n", " \n", " # end\n", "\t#x \\\n"))
	}
	return b.String()
}

// told is what cvtsudoers says in JSON.
type told struct {
	Specs []struct {
		Users []map[string]any `json:"User_List"`
		Hosts []map[string]any `json:"Host_List"`
		Cmnds []struct {
			Users    []map[string]any `json:"runasusers"`
			Groups   []map[string]any `json:"runasgroups"`
			Options  []map[string]any `json:"Options"`
			Commands []map[string]any `json:"Commands"`
		} `json:"Cmnd_Specs"`
	} `json:"User_Specs"`
}

func toldList(list []map[string]any) string {
	prefix := map[string]string{"username": "", "hostname": "", "networkaddr": "", "command": "", "userid": "#", "usergroup": "%", "usergid": "%#", "netgroup": "+", "nonunixgroup": "%:", "groupname": "", "groupid": "#"}
	var out []string
	for _, m := range list {
		for k, v := range m {
			if p, ok := prefix[k]; ok {
				s := strings.TrimPrefix(fmt.Sprint(v), "%")
				s = p + strings.TrimPrefix(strings.TrimPrefix(s, "+"), ":")
				if m["negated"] == true {
					s = "!" + s
				}
				out = append(out, s)
			}
		}
	}
	return strings.Join(out, ",")
}

var toldTags = map[string][2]string{"authenticate": {"NOPASSWD", "PASSWD"}, "noexec": {"EXEC", "NOEXEC"}, "setenv": {"NOSETENV", "SETENV"}, "log_output": {"NOLOG_OUTPUT", "LOG_OUTPUT"}, "send_mail": {"NOMAIL", "MAIL"}}

// all spells what the tool says, a command a line.
func (d told) all() (out []string) {
	for _, s := range d.Specs {
		for _, c := range s.Cmnds {
			var tags []string
			for _, o := range c.Options {
				for k, v := range o {
					on := 0
					if v == true {
						on = 1
					}
					tags = append(tags, toldTags[k][on])
				}
			}
			for _, cmd := range c.Commands {
				out = append(out, spelled(toldList(s.Users), toldList(s.Hosts), toldList(c.Users), strings.ReplaceAll(toldList(c.Groups), "%", ""), tags, toldList([]map[string]any{cmd})))
			}
		}
	}
	return out
}

func spelled(users, hosts, as, groups string, tags []string, cmd string) string {
	// ALL may always set variables, whatever the tool says of it.
	tags = slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return t == "SETENV" || t == "NOSETENV" })
	slices.Sort(tags)
	return fmt.Sprintf("%s %s=(%s:%s) %v %s", users, hosts, as, groups, tags, cmd)
}

// TestTool holds the parser against sudo's own: visudo says which files are
// wrong, cvtsudoers what the others grant.
func TestTool(t *testing.T) {
	visudo, err1 := exec.LookPath("visudo")
	convert, err2 := exec.LookPath("cvtsudoers")
	if err1 != nil || err2 != nil {
		t.Skip("SKIPPED: there is no visudo or cvtsudoers: install sudo")
	}
	file := filepath.Join(t.TempDir(), "sudoers")
	random := rand.New(rand.NewPCG(7, 7))
	right, compared := 0, 0
	for i := range 150 {
		text := generated(random)
		if i < len(lines) {
			text = lines[i].text
		}
		if err := os.WriteFile(file, []byte(text), 0o440); err != nil {
			t.Fatal(err)
		}
		r := &reader{ctx: context.Background(), host: facttest.Image(t, map[string]string{"etc/sudoers": text}), aliases: map[aliasID]alias{}}
		r.file("/etc/sudoers", true)
		var wrong []Odd
		for _, o := range r.odd {
			if o.Error {
				wrong = append(wrong, o)
			}
		}
		out, err := exec.Command(visudo, "-c", "-f", file).CombinedOutput()
		if (err == nil) != (len(wrong) == 0) {
			t.Errorf("visudo: %s\nwe: %+v\n%s", out, wrong, text)
			continue
		}
		if err != nil {
			continue
		}
		right++
		b, err := exec.Command(convert, "-e", "-f", "json", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		var d told
		if err := json.Unmarshal(b, &d); err != nil {
			continue // some versions write options that are no JSON
		}
		compared++
		var got []string
		for _, s := range r.specs {
			for _, c := range s.do {
				for _, m := range r.flat(commands, []member{c.member}, s.at, nil, nil) {
					flat := func(kind int, list []member) string {
						return strings.Join(signed(r.flat(kind, list, s.at, nil, nil)), ",")
					}
					got = append(got, spelled(flat(users, s.who), flat(hosts, s.where), flat(runas, c.asUsers), flat(runas, c.asGroups), c.tags, signed([]member{m})[0]))
				}
			}
		}
		if want := d.all(); !slices.Equal(got, want) {
			t.Errorf("%s\n got %s\nwant %s", text, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	if right < 50 || compared < 50 {
		t.Errorf("only %d files are right, and %d compared", right, compared)
	}
}
