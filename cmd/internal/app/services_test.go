package app

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"intact/cmd/internal/config"
	"intact/report"
	"intact/rules"
	"intact/rules/facts/sockets"
	"intact/rules/posture"
)

// Sockets that differ in their address alone are one line; the narrower of two
// programs on one port is not lost.
func TestServicesFold(t *testing.T) {
	l := sockets.Listener{Proto: "tcp", Family: "ipv4", Addr: "0.0.0.0", Port: 22, Wildcard: true, Scope: "wildcard", Iface: "*", Netns: "host", Owned: true, PID: 7, Exe: "/usr/sbin/sshd", ExeKnown: true}
	six, loop, other := l, l, l
	six.Family, six.Addr = "ipv6", "::"
	loop.Addr, loop.Scope, loop.Loopback, loop.Iface = "127.0.0.1", "loopback", true, "lo"
	other.PID, other.Exe = 8, "/tmp/x"
	j := &judged{session: &session{cfg: &config.Config{Services: []config.Service{{Name: "ssh", Port: 22, Proto: "tcp", Class: "public"}}}}}
	j.results = []posture.Result{{ID: "net.unlisted", Verdict: posture.Pass}}
	rows := j.services([]sockets.Listener{six, other, loop, l})
	if len(rows) != 3 {
		t.Fatalf("got %d lines, want 3", len(rows))
	}
	i := slices.IndexFunc(rows, func(r *service) bool { return len(r.addrs) == 2 })
	if i < 0 || !slices.Equal(rows[i].addrs, []string{"0.0.0.0", "::"}) || rows[i].declared == nil || rows[i].words() != "ok" {
		t.Errorf("got %+v", rows[max(i, 0)])
	}
	j.results[0].Verdict = posture.NotApplicable
	j.cfg.Services = nil
	if r := j.services([]sockets.Listener{l})[0]; r.words() != "not declared" {
		t.Errorf("nothing is declared: got %q", r.words())
	}
}

// What is proposed is a configuration that means just that, whatever programs
// and units are called.
func TestProposeParses(t *testing.T) {
	var list []sockets.Listener
	names := []string{"", "/", "/usr/sbin/sshd", "/x/true", "/x/on", "/x/123", "/x/1e3", "/x/0x1f", "/x/null", "/x/~", "/x/a: b}, #", "/x/'\"", "/x/\x1b[2J\n- evil", "/x/\xff\xfe", "/x/\u202eabc", "/x/" + strings.Repeat("Long", 1000), "/x/-"}
	for i, n := range names {
		list = append(list, sockets.Listener{Proto: []string{"tcp", "udp"}[i%2], Port: int64(i + 1), Addr: "0.0.0.0", Netns: "host", Scope: "wildcard", Exe: n, ExeKnown: n != ""})
	}
	// The widest of several addresses counts, and what is not of the host's network does not.
	list = append(list, sockets.Listener{Proto: "tcp", Port: 500, Addr: "127.0.0.1", Loopback: true, Scope: "loopback", Netns: "host"},
		sockets.Listener{Proto: "tcp", Port: 500, Addr: "10.0.0.1", Scope: "private", Netns: "host"}, sockets.Listener{Proto: "tcp", Port: 501, Addr: "0.0.0.0", Scope: "wildcard", Netns: "other"})
	var out bytes.Buffer
	(&session{}).propose(&out, list)
	if !utf8.Valid(out.Bytes()) || strings.ContainsAny(out.String(), "\x1b\u202e") {
		t.Errorf("hostile bytes in %q", out.String())
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(file, append([]byte("version: 1\npaths: [{path: /etc, attributes: config}]\n"), out.Bytes()...), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{File: file, State: dir, UID: os.Geteuid()})
	if err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
	if len(c.Services) != len(names)+1 {
		t.Fatalf("got %d services, want %d", len(c.Services), len(names)+1)
	}
	for i := range names {
		if s := c.Services[i]; s.Port != int64(i+1) || s.Proto != list[i].Proto || s.Class != "public" {
			t.Errorf("%q: got %+v", names[i], s)
		}
	}
	if s := c.Services[len(names)]; s.Port != 500 || s.Class != "private" {
		t.Errorf("got %+v", s)
	}
}

// Whatever the texts of the host hold, no line of JSON and no cell can end early.
func FuzzServices(f *testing.F) {
	for _, s := range []string{"", "/usr/sbin/sshd", "\x1b[2J\n", "\xff", "\u202e", "a  b", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := sockets.Listener{Proto: "tcp", Port: 22, Addr: s, Netns: s, Scope: s, Iface: s, Owned: true, Exe: s, ExeKnown: true, Package: s, PackageKnown: true, Unit: s, UnitKnown: true}
		m := map[string]any{}
		rowJSON(m, l)
		b, err := report.Line(m)
		if err != nil || bytes.Count(b, []byte("\n")) != 1 {
			t.Fatalf("%q, %v", b, err)
		}
		var out bytes.Buffer
		j := &judged{session: &session{cfg: &config.Config{}, users: &idNames{}}}
		if err := j.servicesText(&out, j.services([]sockets.Listener{l})); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(out.String(), "\n")
		if len(lines) < 3 || lines[2] != "" || strings.ContainsFunc(out.String(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Fatalf("%q", out.String())
		}
		out.Reset()
		j.propose(&out, []sockets.Listener{{Proto: "tcp", Port: 1, Addr: s, Netns: "host", Exe: s, ExeKnown: true, Unit: s + ".service", UnitKnown: true}})
		if strings.Count(out.String(), "\n") != 4 {
			t.Fatalf("%q", out.String())
		}
	})
}

// The figures add up, and a rule that is partly waived counts once.
func TestPostureCounts(t *testing.T) {
	fail := func(v posture.Verdict, s rules.Severity) posture.Subject {
		return posture.Subject{Verdict: v, Finding: rules.Finding{Severity: s, New: true}}
	}
	j := &judged{session: &session{}, facts: &hostFacts{}}
	for _, r := range []posture.Result{
		{Rule: &posture.Rule{}, Verdict: posture.Pass}, {Rule: &posture.Rule{}, Verdict: posture.NotApplicable},
		{Rule: &posture.Rule{}, Verdict: posture.Fail, Subjects: []posture.Subject{fail(posture.Fail, rules.High), fail(posture.Waived, rules.High), fail(posture.Fail, rules.Low)}},
		{Rule: &posture.Rule{}, Verdict: posture.Waived, Subjects: []posture.Subject{fail(posture.Waived, rules.Low)}},
		{Rule: &posture.Rule{}, Verdict: posture.Error},
		{ID: "waiver.expired", Verdict: posture.Fail, Subjects: []posture.Subject{fail(posture.Fail, rules.Low)}},
	} {
		j.results = append(j.results, r)
		if r.Rule != nil {
			j.tally.Add(r)
		}
	}
	c := j.count()
	if c.Rules != 5 || c.Known != 3 || c.Pass != 1 || c.Fail != 1 || c.Waived != 1 || c.Error != 1 || c.NotApplicable != 1 || c.WaivedSubjects != 2 || c.Findings["high"] != 1 || c.Findings["low"] != 2 {
		t.Errorf("got %+v", c)
	}
	if got, want := j.figures(), "3 of 5 rules have a verdict: 1 pass, 1 fail, 1 waived; 1 went wrong; 1 not applicable"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
