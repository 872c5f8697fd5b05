package posture_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/posture"
)

// Rows as collectors have them.
type (
	listener struct {
		Proto    string `cel:"proto"`
		Addr     string `cel:"addr"`
		Port     int64  `cel:"port"`
		Iface    string `cel:"iface"`
		Exe      string `cel:"exe"`
		ExeKnown bool   `cel:"exe_known"`
		Loopback bool   `cel:"loopback"`
		PID      int64  // no rule sees it
	}
	pkg struct {
		Name string    `cel:"name"`
		At   time.Time `cel:"at"`
		Tags []tag     `cel:"tags"`
	}
	tag struct {
		Word string `cel:"word"`
	}
	user struct {
		Name string `cel:"name"`
		UID  int64  `cel:"uid"`
		Seen int64  `cel:"seen"` // volatile
	}
)

func (u user) Key() string      { return u.Name }
func (u user) Compared() string { return fmt.Sprintf("uid=%d", u.UID) }

var kinds = append(posture.OwnKinds(),
	posture.Kind{Name: "net.listeners", Row: reflect.TypeFor[listener]()},
	posture.Kind{Name: "packages", Row: reflect.TypeFor[pkg]()},
	posture.Kind{Name: "accounts.users", Row: reflect.TypeFor[user]()},
	posture.Kind{Name: "sysctl", Row: reflect.TypeFor[map[string]string](), Single: true},
)

// fimOnly are the built-in rules that need no collector.
func fimOnly() []posture.File {
	return slices.DeleteFunc(posture.Builtin(), func(f posture.File) bool { return f.Name != "builtin/fim.yaml" })
}

func known[T any](rows ...T) posture.Fact {
	return posture.Fact{Rows: append([]T{}, rows...), Status: rules.OK}
}

func unknown(s rules.Status, reason string) posture.Fact {
	return posture.Fact{Status: s, Reason: reason}
}

// book loads one file of a site and demands that nothing is wrong with it but
// the lack of tests.
func book(t testing.TB, text string) *posture.Book {
	t.Helper()
	b, ps, err := posture.Load(posture.Sources{Kinds: kinds, Builtin: fimOnly(), Site: []posture.File{{Name: "site.yaml", Text: []byte(text)}}, Tests: true})
	if err != nil {
		t.Fatal(err)
	}
	if posture.Fatal(ps) {
		t.Fatal(problems(ps))
	}
	return b
}

func problems(ps []posture.Problem) string {
	var lines []string
	for _, p := range ps {
		s := p.Error.Error()
		if p.Warning {
			s = "warning: " + s
		}
		lines = append(lines, s)
	}
	return strings.Join(lines, "\n")
}

// judge returns the results of the set site, by id.
func judge(t testing.TB, b *posture.Book, in posture.Input) map[string]posture.Result {
	t.Helper()
	if in.Now.IsZero() {
		in.Now = day
	}
	if in.Sets == nil {
		in.Sets = []string{"site"}
	}
	out := map[string]posture.Result{}
	if err := b.Judge(context.Background(), in, func(r posture.Result) error {
		if _, twice := out[r.ID]; twice {
			t.Errorf("two results of %s", r.ID)
		}
		out[r.ID] = r
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

var day = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// runTests runs the tests of all rules and returns those that fail.
func runTests(t testing.TB, b *posture.Book) (failures []string, n int) {
	t.Helper()
	if err := b.Test(context.Background(), nil, func(r posture.TestRun) {
		n++
		if r.Failure != "" {
			failures = append(failures, fmt.Sprintf("%s: %s: %q: %s", r.Place, r.Rule, r.Name, r.Failure))
		}
	}); err != nil {
		t.Fatal(err)
	}
	return failures, n
}

const sample = `intact: rules/v1
set: site
rules:
  - id: site.db-private
    title: PostgreSQL answers only on loopback or the VPN
    severity: high
    when: packages.exists(p, p.name.startsWith("postgresql"))
    each: net.listeners.filter(l, l.port == 5432)
    expect: item.loopback || item.iface in params.vpn
    params: {vpn: [wg0, tun0]}
    subject: item.proto + "/" + string(item.port) + "@" + item.addr
    message: '"%s listens on %s (%s)".format([item.exe, item.addr, item.iface])'
    fix: Set listen_addresses to the VPN address, or add a firewall rule for it.
    refs:
      cis_debian12: ["2.1.22"]
      nist_800_53: [CM-7, SC-7]
      attack_v19: [T1190]
      seeds: ["002 VPNs", "004 Open ports"]
    tests:
      - name: public bind fails
        facts:
          packages: [{name: postgresql-15}]
          net: {listeners: [{proto: tcp, addr: 0.0.0.0, port: 5432, iface: "*", exe: /usr/lib/postgresql/15/bin/postgres}]}
        want: fail
        want_subjects: [tcp/5432@0.0.0.0]
      - name: on the VPN
        facts:
          packages: [{name: postgresql-15}]
          net.listeners: [{proto: tcp, addr: 10.0.0.1, port: 5432, iface: wg0}, {proto: tcp, port: 22}]
        want: pass
      - name: no postgres
        facts: {packages: []}
        want: not-applicable
      - name: not root, no socket list
        facts: {packages: [{name: postgresql-15}], unknown: [net.listeners]}
        want: unknown
  - id: site.no-forwarding
    title: Host does not route packets
    severity: medium
    expect: |
      sysctl["net.ipv4.ip_forward"] == "0" &&
        sysctl["net.ipv6.conf.all.forwarding"] == "0"
    tests:
      - facts: {sysctl: {net.ipv4.ip_forward: "1", net.ipv6.conf.all.forwarding: "0"}}
        want: fail
`

func TestSample(t *testing.T) {
	b := book(t, sample)
	failures, n := runTests(t, b)
	if failures != nil || n < 5 {
		t.Errorf("%d tests\n%s", n, strings.Join(failures, "\n"))
	}
	if got := b.NeedsOf(b.Rule("site.db-private")); !slices.Equal(got, []string{"net.listeners", "packages"}) {
		t.Errorf("needs %v", got)
	}
	if got := b.Needs("server", "site"); !slices.Equal(got, []string{"net.listeners", "packages", "sysctl"}) {
		t.Errorf("needs %v", got)
	}
	facts := posture.Fixed{
		"packages":      known(pkg{Name: "postgresql-15"}),
		"net.listeners": known(listener{Proto: "tcp", Addr: "0.0.0.0", Port: 5432, Iface: "*", Exe: "/x\x1b[31m\n\xff\u202e"}, listener{Port: 5432, Loopback: true}),
		"sysctl":        known(map[string]string{"net.ipv4.ip_forward": "0"}),
	}
	got := judge(t, b, posture.Input{Facts: facts, Live: true})
	r := got["site.db-private"]
	if r.Verdict != posture.Fail || len(r.Subjects) != 1 || r.Judged != 2 {
		t.Fatalf("%+v", r)
	}
	f := r.Subjects[0].Finding
	if f.Severity != rules.High || f.Subject.Name != "tcp/5432@0.0.0.0" || f.Subject.Kind != "net.listeners" || !slices.Equal(f.Attack, []string{"T1190"}) || f.Set != "site" || f.Rule != "site.db-private" || !f.New {
		t.Errorf("%+v", f)
	}
	if want := `/x\x1b[31m\x0a\xff\u202e listens on 0.0.0.0 (*)`; f.Reasons[0] != want {
		t.Errorf("%q", f.Reasons)
	}
	const evidence = `proto="tcp" addr="0.0.0.0" port=5432 iface="*" exe="/x\x1b[31m\n\xff\u202e" exe_known=false loopback=false`
	if r.Subjects[0].Evidence != evidence || !strings.HasPrefix(r.Subjects[0].Digest, "blake3:") {
		t.Errorf("%s", r.Subjects[0].Evidence)
	}
	if r := got["site.no-forwarding"]; r.Verdict != posture.Error || !strings.Contains(r.Reason, "no such key: net.ipv6.conf.all.forwarding") {
		t.Errorf("%+v", r)
	}
}
