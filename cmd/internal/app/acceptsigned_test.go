package app_test

import (
	"context"
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/cmd/internal/app"
	"intact/rules"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/updates"
	"intact/scanner/entry"
)

// fromArchive explains files whose names begin with "signed" as those of an
// upgrade.
type fromArchive struct {
	date time.Time
	tree string // where the package puts them
}

func (f fromArchive) Explain(_ context.Context, c *diff.Change) (rules.Explanation, bool) {
	return rules.Explanation{Source: "a 1 → 2", Level: rules.Signed, Kind: updates.Kind, ID: "sha256:1"}, strings.HasPrefix(c.Path.Base(), "signed")
}

func (f fromArchive) Updates() []updates.Update {
	p := pkgdb.Package{Kind: "dpkg", Name: "a", Arch: "amd64", Version: "1", Status: "installed"}
	u := updates.Update{Old: p, New: p, Level: rules.Signed, ID: "sha256:1", Source: f}
	u.New.Version = "2"
	return []updates.Update{u}
}

func (f fromArchive) Lookup(p entry.Path) (updates.Said, bool, error) {
	return updates.Said{Kind: entry.File}, strings.HasPrefix(p.Base(), "signed") || p.Base() == "flipped", nil
}

func (f fromArchive) Paths() iter.Seq2[entry.Path, error] {
	return func(yield func(entry.Path, error) bool) {
		_ = yield(entry.Path(f.tree+"/signed"), nil) && yield(entry.Path(f.tree+"/flipped"), nil)
	}
}

func (fromArchive) Control(string) (s updates.Said, ok bool) { return s, false }

func (f fromArchive) Chain() manifest.Chain {
	return manifest.Chain{Origin: "Debian", Suite: "stable", Codename: "forky", Key: "K", Date: f.date}
}

func (s *site) adopt() result {
	return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.Adopt(ctx, e, app.AdoptOptions{Reason: "test"})
	})
}

// Off by default; on only by the signed baseline; what waits for a person waits
// with the whole package, and an index does not go back.
func TestAcceptSigned(t *testing.T) {
	s := newSite(t, "paths: [{path: $T, attributes: config}]\n")
	day := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	from := func(d time.Time) { s.known = []rules.Explainer{fromArchive{d, s.tree}} }
	from(day)
	s.write("signed", "old")
	s.write("flipped", "old")
	s.want(s.init(), 0)

	s.write("signed", "new 1")
	s.want(s.check(), 0)
	s.same("off by default", s.told(s.want(s.check(), 0)), "signed info/medium signed")

	plain, err := os.ReadFile(s.config)
	s.must(err, os.WriteFile(s.config, append(plain, "accept: signed\n"...), 0o600))
	r := s.check()
	s.want(r, 1)
	if !strings.Contains(string(r.stdout), `"rule":"policy.accept","severity":"high"`) {
		t.Errorf("no finding: %s", r.stdout)
	}
	s.want(s.check(), 1)
	if strings.Contains(string(s.check().stdout), `"generation":2`) {
		t.Error("the configuration alone accepted")
	}
	s.want(s.acceptLevel(true, false), 0)
	s.want(s.adopt(), 0)
	s.want(s.check(), 0)

	s.write("signed", "new 2, and longer")
	r = s.want(s.check(), 0)
	if !strings.Contains(r.stderr, "accepted 1 signed package upgrade, ") {
		t.Errorf("stderr: %s", r.stderr)
	}
	s.same("accepted", s.told(s.want(s.check(), 0)))

	from(day.Add(-time.Hour))
	s.write("signed", "new 3")
	for range 2 {
		if r = s.want(s.check(), 0); !strings.Contains(r.stderr, "older than one that was seen before") {
			t.Errorf("replayed: %s", r.stderr)
		}
	}
	s.want(s.acceptLevel(true, false), 0)

	from(day.Add(time.Hour))
	s.write("signed", "new 4, and longer")
	s.write("flipped", "by somebody")
	for range 2 {
		r = s.want(s.check(), 1)
		s.same("together", s.told(r), "signed info/medium signed", "flipped medium")
		if !strings.Contains(r.stderr, "flipped is not explained") {
			t.Errorf("held: %s", r.stderr)
		}
	}

	s.want(s.accept(), 0)
	s.write("signed", "new 5, and longest of all")
	s.must(os.WriteFile(s.config, plain, 0o600)) // off works at once
	s.want(s.check(), 1)                         // the configuration is another, which is told
	if r = s.want(s.check(), 1); !strings.Contains(string(r.stdout), s.tree+"/signed") || strings.Contains(r.stderr, "accept") {
		t.Errorf("off again: %s%s", r.stdout, r.stderr)
	}
}
