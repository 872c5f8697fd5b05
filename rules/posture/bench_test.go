package posture_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"intact/rules"
	"intact/rules/posture"
)

// hundred is a file of a hundred rules, each with six expressions.
func hundred() []posture.File {
	var b strings.Builder
	b.WriteString(head)
	for i := range 100 {
		fmt.Fprintf(&b, `  - id: site.r%d
    title: t
    severity: low
    when: packages.exists(p, p.name.startsWith("p%d"))
    each: net.listeners.filter(l, l.port == %d || l.exe != "")
    expect: item.loopback || item.iface in params.vpn
    params: {vpn: [wg0, tun0]}
    subject: item.proto + "/" + string(item.port) + "@" + item.addr
    message: '"%%s listens on %%s (%%s)".format([item.exe, item.addr, item.iface])'
    severity_when: [{if: item.port < 1024, severity: high}]
`, i, i%10, i)
	}
	return []posture.File{{Name: "b.yaml", Text: []byte(b.String())}}
}

// What the first rule that is compiled costs.
func BenchmarkEnvironment(b *testing.B) {
	one := posture.File{Name: "b.yaml", Text: []byte(head + "  - {id: site.a, title: t, severity: low, expect: net.listeners.size() == 0}\n")}
	for b.Loop() {
		if _, ps, err := posture.Load(posture.Sources{Kinds: kinds, Site: []posture.File{one}}); err != nil || posture.Fatal(ps) {
			b.Fatal(err, ps)
		}
	}
}

func BenchmarkLoad100(b *testing.B) {
	files := hundred()
	for _, lazy := range []bool{false, true} {
		s := posture.Sources{Kinds: kinds, Site: files}
		name := "compiled"
		if lazy {
			s.Site, s.Builtin, name = nil, files, "lazy"
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := posture.Load(s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N)/100, "ms/rule")
		})
	}
}

func BenchmarkJudge100(b *testing.B) {
	book, ps, err := posture.Load(posture.Sources{Kinds: kinds, Site: hundred()})
	if err != nil || posture.Fatal(ps) {
		b.Fatal(err, ps)
	}
	var rows []listener
	for i := range 50 {
		rows = append(rows, listener{Proto: "tcp", Addr: "0.0.0.0", Port: int64(i), Exe: "/x", Iface: "eth0"})
	}
	facts := posture.Fixed{"packages": many(500), "net.listeners": known(rows...)}
	subjects := 0
	for b.Loop() {
		if err := book.Judge(context.Background(), posture.Input{Facts: facts, Now: day}, func(r posture.Result) error {
			subjects += len(r.Subjects)
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(subjects)/b.Elapsed().Seconds(), "subjects/s")
}

// bare are the facts of an image that holds nothing: the host is not running,
// and every file is absent.
type bare struct{}

func (bare) Fact(_ context.Context, kind string) posture.Fact {
	for _, live := range []string{"net.", "updates.stale", "updates.reboot", "sshd.server", "sshd.offers"} {
		if strings.HasPrefix(kind, live) {
			return posture.Fact{Status: rules.Offline, Reason: "the host does not run"}
		}
	}
	return posture.Fact{Status: rules.Absent, Reason: "there is none"}
}

func BenchmarkBuiltinLoad(b *testing.B) {
	for b.Loop() {
		if _, _, err := posture.Load(posture.Sources{Kinds: builtinKinds(), Builtin: posture.Builtin()}); err != nil {
			b.Fatal(err)
		}
	}
}

// Loading the built-in rules and judging what has nothing to judge.
func BenchmarkBuiltinBare(b *testing.B) {
	for b.Loop() {
		book, _, err := posture.Load(posture.Sources{Kinds: builtinKinds(), Builtin: posture.Builtin()})
		if err != nil {
			b.Fatal(err)
		}
		if err := book.Judge(context.Background(), posture.Input{Facts: bare{}, Now: day}, func(posture.Result) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
