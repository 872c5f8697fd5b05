package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLoadPosture(t *testing.T) {
	dir := write(t, map[string]string{
		"intact/intact.yaml": etc + "services:\n  - {name: web, port: 443, class: public, role: web}\nrequire: [ssh.root-login]\n" +
			"posture: {profile: seed-strict, strict: true, probe_ssh: true}\n",
		"intact/conf.d/dns.yaml": "version: 1\nservices: [{name: dns, port: 53, proto: udp, class: internal}, {name: dns, port: 53, class: private}]\nrequire: [net.undeclared]\nposture: {strict: false}\n",
	})
	c, err := Load(asUser(dir))
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "intact")
	main, drop := filepath.Join(home, "intact.yaml"), filepath.Join(home, "conf.d/dns.yaml")
	want := []Service{{"web", 443, "tcp", "public", "web", main + ":4:5"}, {"dns", 53, "udp", "internal", "", drop + ":2:12"}, {"dns", 53, "tcp", "private", "", drop + ":2:64"}}
	if !slices.Equal(c.Services, want) {
		t.Errorf("got %+v, want %+v", c.Services, want)
	}
	if want := []Required{{"ssh.root-login", main + ":5:11"}, {"net.undeclared", drop + ":3:11"}}; !slices.Equal(c.Require, want) {
		t.Errorf("got %+v, want %+v", c.Require, want)
	}
	if want := (Posture{Profile: "seed-strict", ProbeSSH: true, Rules: filepath.Join(home, "rules.d"), Waivers: filepath.Join(home, "waivers.yaml")}); c.Posture != want {
		t.Errorf("got %+v, want %+v", c.Posture, want)
	}
}

// No services is another thing than nothing said of services.
func TestLoadServicesNone(t *testing.T) {
	for text, want := range map[string]bool{"": false, "services: []\n": true} {
		c, err := Load(asUser(write(t, map[string]string{"intact/intact.yaml": etc + text})))
		if err != nil || (c.Services != nil) != want {
			t.Errorf("%q: got %v, %v", text, c.Services, err)
		}
	}
}

func TestLoadPostureRefuses(t *testing.T) {
	dir := write(t, map[string]string{"intact/intact.yaml": etc + `services:
  - {name: web, port: 443, class: public}
  - {name: web2, port: 443, class: public}
  - {name: "", port: 0, proto: icmp, class: pubic, extra: 1}
  - {port: 70000}
  - web
require: [7]
posture: {profile: strict, strict: maybe, rules: rules.d, waivers: ../w, rule: x}
`})
	_, err := Load(asUser(dir))
	if err == nil {
		t.Fatal("got nil")
	}
	for _, want := range []string{
		"yaml:5:5: port 443/tcp is declared twice, first at " + filepath.Join(dir, "intact/intact.yaml") + ":4:5",
		"yaml:6:12: an empty name", "yaml:6:22: ", "yaml:6:32: ", "yaml:6:45: ", `yaml:6:52: unknown key "extra"`,
		`key "name" is missing`, `key "class" is missing`, "yaml:7:12: 70000 is not between 1 and 65535", "yaml:8:5: want a mapping", "yaml:9:11: ",
		"yaml:10:20: ", "yaml:10:36: ", "yaml:10:50: folder of rules rules.d is not an absolute path", "yaml:10:68: waiver file ../w is not an absolute path", `unknown key "rule"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwant %q in it", err, want)
		}
	}
}

func TestReadRules(t *testing.T) {
	dir := write(t, map[string]string{"rules.d/b.yaml": "b", "rules.d/a.yaml": "a", "rules.d/.hidden.yaml": "h", "rules.d/README": "r", "w.yaml": "w"})
	uid := os.Geteuid()
	p := Posture{Rules: filepath.Join(dir, "rules.d"), Waivers: filepath.Join(dir, "w.yaml")}
	texts, err := p.ReadRules(uid)
	if err != nil || len(texts) != 2 || string(texts[0].Text) != "a" || texts[1].Name != filepath.Join(dir, "rules.d/b.yaml") {
		t.Fatalf("got %v, %v", texts, err)
	}
	if w, err := p.ReadWaivers(uid); err != nil || string(w.Text) != "w" {
		t.Fatalf("got %v, %v", w, err)
	}
	// What is wrong with several files is told at once, and the others are read.
	if err := os.Chmod(filepath.Join(dir, "rules.d/a.yaml"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules.d/c.yml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	texts, err = p.ReadRules(uid)
	if len(texts) != 1 || err == nil || !strings.Contains(err.Error(), "written by everybody (mode 0666)") || !strings.Contains(err.Error(), `"c.yml" must end in .yaml`) {
		t.Errorf("got %v, %v", texts, err)
	}
	for _, named := range []bool{false, true} {
		p := Posture{Rules: filepath.Join(dir, "no"), Waivers: filepath.Join(dir, "no.yaml"), NamedRules: named, NamedWaivers: named}
		texts, err := p.ReadRules(uid)
		if texts != nil || (err != nil) != named {
			t.Errorf("named %v: got %v, %v", named, texts, err)
		}
		w, err := p.ReadWaivers(uid)
		if w != nil || (err != nil) != named {
			t.Errorf("named %v: got %v, %v", named, w, err)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ReadWaivers(uid); err == nil {
		t.Error("a waiver file that anybody can replace was read")
	}
}
