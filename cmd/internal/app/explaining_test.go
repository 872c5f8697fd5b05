package app_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"intact/baseline/diff"
	"intact/baseline/seal"
	"intact/cmd/internal/app"
	"intact/rules"
	manifest "intact/rules/expect"
)

// byName explains each change at the level that its name begins with.
type byName struct{}

func (byName) Explain(_ context.Context, c *diff.Change) (rules.Explanation, bool) {
	level, _, _ := strings.Cut(c.Path.Base(), "-")
	return rules.Explanation{Source: "pkg 1", Level: level}, level == rules.Signed || level == rules.Attributed || level == rules.Local
}

// told lists the findings of a check as NAME SEVERITY/RAW LEVEL.
func (s *site) told(r result) (list []string) {
	s.t.Helper()
	for _, l := range of(parse(s.t, r.stdout), "finding") {
		text := strings.TrimPrefix(l.path, s.tree+"/") + " " + l.Severity
		if l.Rule == "trust.expect" {
			text = "manifest " + l.Severity + " " + l.Change
		}
		if x := l.Explained; x != nil {
			text += "/" + l.Raw_Severity + " " + x.Level
		}
		list = append(list, text)
	}
	return list
}

func (s *site) same(what string, got []string, want ...string) {
	s.t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

func (s *site) acceptLevel(signed, attributed bool) result {
	o := app.AcceptOptions{Explained: signed, Attributed: attributed, Reason: "test"}
	return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.Accept(ctx, e, o) })
}

// What is signed is info, what is weaker lowers nothing, and each selector takes
// what was recorded at its level: nothing else, and nothing that only goes along
// with it.
func TestExplainedLevels(t *testing.T) {
	s := newSite(t, "paths:\n  - {path: $T, attributes: config}\n  - {path: $T/grave, attributes: config, severity: critical}\n")
	s.known = []rules.Explainer{byName{}}
	names := []string{"signed-a", "attributed-a", "local-a", "other-a", "grave/signed-b", "grave/attributed-b", "grave/other-b", "attributed-gone"}
	for _, n := range names {
		s.write(n, "old")
	}
	s.write("signed-leader", "old")
	s.must(os.Link(filepath.Join(s.tree, "signed-leader"), filepath.Join(s.tree, "signed-link")), os.Link(filepath.Join(s.tree, "signed-leader"), filepath.Join(s.tree, "zz")))
	s.write("attributed-leader", "old")
	s.must(os.Link(filepath.Join(s.tree, "attributed-leader"), filepath.Join(s.tree, "signed-better")))
	s.want(s.init(), 0)
	for _, n := range append(names, "signed-leader", "attributed-leader") {
		s.write(n, "new, and longer")
	}
	s.must(os.Remove(filepath.Join(s.tree, "attributed-gone")))
	first := []string{"signed-a info/medium signed", "signed-leader info/medium signed", "grave/signed-b info/critical signed"}
	weak := []string{"attributed-a medium/medium attributed", "attributed-gone low/low attributed", "attributed-leader medium/medium attributed"}
	rest := []string{"local-a medium/medium local", "other-a medium", "zz medium", "grave/attributed-b critical/critical attributed", "grave/other-b critical"}
	r := s.want(s.check(), 1)
	s.same("check", s.told(r), slices.Concat(first, weak, rest)...)
	if got := of(parse(t, r.stdout), "trailer")[0].Counts["explained"]; string(got) != "8" {
		t.Errorf("explained: %s", got)
	}

	r = s.want(s.acceptLevel(false, true), 0)
	if !strings.Contains(r.stderr, "1 critical findings stay pending") {
		t.Errorf("stderr: %s", r.stderr)
	}
	first = append(first, "signed-better info/medium signed") // which stood behind one that was taken
	s.same("after --attributed", s.told(s.want(s.check(), 1)), slices.Concat(first, rest)...)
	s.want(s.acceptLevel(true, false), 0)
	s.same("after --explained", s.told(s.want(s.check(), 1)), rest...)
	s.want(s.acceptLevel(true, false), app.ExitUsage)
	// --all takes what a signature explains too, whatever it would be without.
	s.write("grave/signed-b", "newer, and longer still")
	s.want(s.check(), 1)
	s.want(s.accept(), 0)
	s.same("after --all", s.told(s.want(s.check(), 1)), "grave/attributed-b critical/critical attributed", "grave/other-b critical")
	// An explainer that is gone takes nothing back from what a report recorded.
	s.write("signed-a", "again")
	s.want(s.check(), 1)
	s.known = nil
	s.want(s.acceptLevel(true, true), 0)
	s.same("at last", s.told(s.want(s.check(), 1)), "grave/attributed-b critical", "grave/other-b critical")
}

// ci makes a key that may sign manifests for s and returns a function that signs
// a manifest and stores it. It writes the configuration.
func (s *site) ci() (sign func(text []byte) []byte) {
	s.t.Helper()
	dir := filepath.Dir(s.tree)
	name := filepath.Join(dir, "ci")
	k, err := seal.Generate(name, "ci")
	s.must(err)
	signers := filepath.Join(dir, "signers")
	s.must(os.WriteFile(signers, []byte("ci@example namespaces=\""+manifest.Namespace+"\" "+k.Line+"\n"), 0o600))
	old, err := os.ReadFile(s.config)
	s.must(err, os.WriteFile(s.config, append(old, "signing: {trusted_signers: "+signers+"}\n"...), 0o600))
	key, err := seal.OpenKey(name, nil)
	s.must(err)
	return func(text []byte) []byte {
		s.t.Helper()
		armor, err := key.Sign(manifest.Namespace, strings.NewReader(string(text)))
		s.must(err)
		return armor
	}
}

// manifest is one of the tree as it is, that knows no BLAKE3.
func (s *site) manifest() []byte {
	s.t.Helper()
	r := s.want(s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.ExpectMake(ctx, e, app.ExpectMakeOptions{Dir: s.tree, Label: "app"})
	}), 0)
	return regexp.MustCompile(` [0-9a-f]{64} /`).ReplaceAll(r.stdout, []byte(" - /"))
}

func (s *site) expect(text, armor []byte) result {
	s.t.Helper()
	name := filepath.Join(filepath.Dir(s.tree), "manifest")
	s.must(os.WriteFile(name, text, 0o600), os.WriteFile(name+".sig", armor, 0o600))
	return s.run(func(_ context.Context, e *app.Env) (app.Outcome, error) { return app.ExpectAdd(e, []string{name}) })
}

// writes changes a file when it is asked about another one: behind the scan.
type writes struct {
	name, text string
	asked      string
}

func (w writes) Explain(_ context.Context, c *diff.Change) (rules.Explanation, bool) {
	if string(c.Path) == w.asked {
		if err := os.WriteFile(w.name, []byte(w.text), 0o644); err != nil {
			panic(err)
		}
	}
	return rules.Explanation{}, false
}

// A manifest that knows SHA-256 alone explains what is read a second time, and
// what is not the same then is a gap, not explained.
func TestExpectedBySHA256(t *testing.T) {
	s := newSite(t, "")
	sign := s.ci()
	for _, n := range []string{"a", "b", "c", "empty"} {
		s.write(n, "old")
	}
	s.want(s.init(), 0)
	s.write("a", "new a")
	s.write("b", "new b")
	s.write("c", "new c")
	s.write("empty", "")
	text := s.manifest()
	s.want(s.expect(text, sign(text)), 0)
	s.write("c", "evil!")
	s.same("check", s.told(s.want(s.check(), 1)), "a info/medium signed", "b info/medium signed", "empty info/medium signed", "c medium", "manifest medium added")
	for _, l := range of(parse(t, s.check().stdout), "finding") {
		want := map[string]string{"a": "new a", "b": "new b", "c": "evil!"}[filepath.Base(l.path)]
		sum := sha256.Sum256([]byte(want))
		if l.Rule == "trust.expect" {
			continue
		}
		if l.SHA256 != hex.EncodeToString(sum[:]) && want != "" || want == "" && l.SHA256 != "" {
			t.Errorf("%s: sha256 %q", l.path, l.SHA256)
		}
	}

	a, b := filepath.Join(s.tree, "a"), filepath.Join(s.tree, "b")
	s.known = []rules.Explainer{writes{b, "evil!", a}}
	r := s.want(s.check(), 1)
	s.same("written behind the scan", s.told(r), "a info/medium signed", "b medium", "empty info/medium signed", "c medium", "manifest medium added")
	gaps := of(parse(t, r.stdout), "gap")
	trailer := of(parse(t, r.stdout), "trailer")[0]
	if len(gaps) != 1 || gaps[0].path != b || gaps[0].Reason != "changed while read" || gaps[0].Known || trailer.Complete || !slices.Equal(trailer.Exits, []int{1, 3}) {
		t.Errorf("gaps %+v, exits %v", gaps, trailer.Exits)
	}
	// What was reported is what accept takes, though the disk holds another thing now.
	s.known = nil
	s.want(s.acceptLevel(true, false), 0)
	s.same("after accept", s.told(s.want(s.check(), 1)), "b medium", "c medium")
}

// Every byte of what the state folder holds is guarded, also where a manifest has
// the name that its bytes ask for.
func TestExpectedEveryByte(t *testing.T) {
	s := newSite(t, "")
	sign := s.ci()
	s.write("a", "old")
	s.want(s.init(), 0)
	s.write("a", "new")
	text := s.manifest()
	armor := sign(text)
	s.want(s.expect(text, armor), 0)
	list := func() result {
		return s.run(func(_ context.Context, e *app.Env) (app.Outcome, error) { return app.ExpectList(e) })
	}
	s.want(list(), 0)
	dir := filepath.Join(s.state, "expect")
	put := func(text, armor []byte) string {
		sum := sha256.Sum256(text)
		name := filepath.Join(dir, hex.EncodeToString(sum[:]))
		s.must(os.WriteFile(name, text, 0o600), os.WriteFile(name+".sig", armor, 0o600))
		return name
	}
	own := put(text, armor)
	flip := func(b []byte, i int) []byte {
		c := slices.Clone(b)
		c[i] ^= 1
		return c
	}
	for i := range text {
		s.must(os.WriteFile(own, flip(text, i), 0o600))
		if r := list(); r.exit != app.ExitTrust {
			t.Fatalf("byte %d, under its old name: %v", i, r)
		}
		s.must(os.WriteFile(own, text, 0o600))
		other := put(flip(text, i), armor)
		if r := list(); r.exit != app.ExitTrust {
			t.Fatalf("byte %d, under its new name: %v", i, r)
		}
		s.must(os.Remove(other), os.Remove(other+".sig"))
	}
	for i := range armor {
		put(text, flip(armor, i))
		if r := list(); r.exit != app.ExitTrust {
			t.Fatalf("byte %d of the signature: %v", i, r)
		}
	}
	r := s.want(s.check(), 1)
	s.same("check", s.told(r), "a medium")
	if !strings.Contains(string(r.stdout), "explains nothing: sha256:") {
		t.Error("the report does not say so")
	}
	s.must(os.Remove(own + ".sig"))
	s.same("no signature", s.told(s.want(s.check(), 1)), "a medium")
}
