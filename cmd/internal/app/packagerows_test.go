package app_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"intact/baseline/diff"
	"intact/cmd/internal/app"
	"intact/rules"
	"intact/rules/pkgdb"
)

// byPackage explains each package at the level that its name begins with.
type byPackage struct{}

func (byPackage) Explain(context.Context, *diff.Change) (rules.Explanation, bool) {
	return rules.Explanation{}, false
}

func (byPackage) ExplainPackage(old, now pkgdb.Package) (rules.Explanation, bool) {
	level, _, _ := strings.Cut(old.Name+now.Name, "-")
	return rules.Explanation{Source: "pkg", Kind: "package", Level: level}, level == rules.Signed || level == rules.Attributed
}

// What explained a package at the check decides what accept takes, and stays in
// the pending set when who explained is gone. Only an upgrade is ever signed.
func TestExplainedPackages(t *testing.T) {
	s := newSite(t, "paths:\n  - {path: $T/etc, attributes: config}\n")
	s.known = []rules.Explainer{byPackage{}}
	s.write("etc/x", "x")
	status := func(versions ...string) {
		var b strings.Builder
		for i, n := range []string{"signed-down", "signed-up", "attributed-up", "other-up"} {
			b.WriteString("Package: " + n + "\nStatus: install ok installed\nArchitecture: all\nVersion: " + versions[i] + "\n\n")
		}
		s.write("var/lib/dpkg/status", b.String())
	}
	root := func(do func(context.Context, *app.Env) (app.Outcome, error)) result {
		return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
			e.Root = s.tree
			return do(ctx, e)
		})
	}
	check := func(exit int, want ...string) {
		t.Helper()
		r := s.want(root(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
			return app.Check(ctx, e, app.CheckOptions{Output: app.Output{Format: "json"}})
		}), exit)
		var got []string
		for _, l := range of(parse(t, r.stdout), "finding") {
			text := l.Rule + " " + l.Severity
			if l.Explained != nil {
				text += "/" + l.Raw_Severity + " " + l.Explained.Level
			}
			got = append(got, text)
		}
		s.same("check", got, want...)
	}
	accept := func(signed, attributed bool) {
		t.Helper()
		s.want(root(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
			return app.Accept(ctx, e, app.AcceptOptions{Explained: signed, Attributed: attributed, Reason: "test"})
		}), 0)
	}
	s.must(os.MkdirAll(filepath.Join(s.tree, "var/lib/dpkg/info"), 0o755))
	status("2", "1", "1", "1")
	s.must(os.WriteFile(s.config, []byte("version: 1\npaths: [{path: /etc, attributes: config}]\n"), 0o600))
	s.want(root(func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.Init(ctx, e, app.InitOptions{}) }), 0)
	check(0)
	status("1", "2", "2", "2")
	down, up := "pkg.downgraded high/high attributed", "pkg.upgraded info/low signed"
	weak, other := "pkg.upgraded low/low attributed", "pkg.upgraded low"
	check(1, down, up, weak, other)
	s.known = nil
	accept(true, false)
	s.known = []rules.Explainer{byPackage{}}
	check(1, down, weak, other)
	accept(false, true)
	check(1, other)
}
