package app_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"intact/baseline/seal"
	"intact/cmd/internal/app"
	"intact/rules"
	manifest "intact/rules/expect"
)

// signer makes another key and its line of a list of signers.
func (s *site) signer(name string) (line string, sign func([]byte) []byte) {
	s.t.Helper()
	file := filepath.Join(filepath.Dir(s.tree), name)
	k, err := seal.Generate(file, name)
	s.must(err)
	key, err := seal.OpenKey(file, nil)
	s.must(err)
	return "ci@example namespaces=\"" + manifest.Namespace + "\" " + k.Line + "\n", func(text []byte) []byte {
		s.t.Helper()
		armor, err := key.Sign(manifest.Namespace, strings.NewReader(string(text)))
		s.must(err)
		return armor
	}
}

// Whoever edits the list of signers, the list of revoked keys or the
// configuration makes no manifest count: not before that edit was accepted.
func TestExpectedByEditedList(t *testing.T) {
	s := newSite(t, "")
	sign := s.ci()
	s.write("a", "old")
	s.write("z", "old")
	s.want(s.init(), 0)
	signers := filepath.Join(filepath.Dir(s.tree), "signers")
	good, err := os.ReadFile(signers)
	s.must(err)
	config, err := os.ReadFile(s.config)
	s.must(err)

	line, mallory := s.signer("mallory")
	s.must(os.WriteFile(signers, append([]byte(line), good...), 0o600))
	s.write("a", "trojan")
	text := s.manifest()
	s.want(s.expect(text, mallory(text)), 0)
	r := s.want(s.check(), 1)
	s.same("edited list", s.told(r), "a medium", signers+" critical")
	if !strings.Contains(string(r.stdout), "no manifest of what is expected explains anything: "+signers) {
		t.Errorf("no note: %s", r.stdout)
	}
	s.want(s.acceptLevel(true, false), 2)

	// The list that is as it was explains again, by whom it names.
	s.must(os.WriteFile(signers, good, 0o600))
	s.same("good list, mallory's manifest", s.told(s.want(s.check(), 1)), "a medium")
	s.want(s.expect(text, sign(text)), 0)
	s.same("good list", s.told(s.check()), "a info/medium signed", "manifest medium added")
	// What was edited behind the report counts at accept.
	for name, was := range map[string][]byte{signers: good, s.config: config} {
		s.must(os.WriteFile(name, append([]byte("# \n"), was...), 0o600))
		r := s.want(s.acceptLevel(true, false), 2)
		if !strings.Contains(r.stderr, name+" says whose signatures count") {
			t.Errorf("accept after an edit of %s: %v", name, r)
		}
		s.same("edited", s.told(s.want(s.check(), 1)), "a medium", name+" critical")
		s.want(s.acceptLevel(true, false), 2)
		s.must(os.WriteFile(name, was, 0o600))
		s.check()
	}
	// Once the edit is accepted, manifests count.
	s.must(os.WriteFile(signers, append([]byte("# moved\n"), good...), 0o600))
	s.want(s.check(), 1)
	s.want(s.accept(signers), 0)
	s.same("accepted list", s.told(s.check()), "a info/medium signed", "manifest medium added")
	s.want(s.acceptLevel(true, false), 0)
	s.want(s.check(), 0)
}

// release is a manifest of the tree as it is, made at a time of day, "" at none,
// and its name.
func (s *site) release(label, at string) (text []byte, id string) {
	s.t.Helper()
	head := "label " + label + "\n"
	if at != "" {
		head += "created 2026-01-01T" + at + "Z\n"
	}
	text = []byte(strings.Replace(string(s.manifest()), "label app\n", head, 1))
	sum := sha256.Sum256(text)
	return text, hex.EncodeToString(sum[:])
}

func (s *site) forget(id string) {
	s.t.Helper()
	s.want(s.run(func(_ context.Context, e *app.Env) (app.Outcome, error) { return app.ExpectForget(e, id) }), 0)
}

// Release after release is quiet; what was forgotten explains nothing when root
// brings it back, whatever was accepted or adopted meanwhile.
func TestManifestsKnown(t *testing.T) {
	s := newSite(t, "")
	sign := s.ci()
	s.write("a", "release 0")
	old, _ := s.release("app", "00:00:00")
	s.want(s.init(), 0)
	s.write("a", "release one")
	first, firstID := s.release("app", "01:00:00")
	s.want(s.expect(first, sign(first)), 0)
	s.same("first", s.told(s.want(s.check(), 1)), "a info/medium signed", "manifest medium added")
	s.want(s.acceptLevel(true, false), 0)
	s.same("first accepted", s.told(s.want(s.check(), 0)))
	s.want(s.acceptLevel(true, false), 2)

	s.write("a", "release number 2")
	second, _ := s.release("app", "02:00:00")
	s.want(s.expect(second, sign(second)), 0)
	s.forget(firstID)
	s.same("second", s.told(s.want(s.check(), 0)), "a info/medium signed", "manifest info added")
	if r := s.want(s.acceptLevel(true, false), 0); strings.Contains(r.stderr, "pending") {
		t.Errorf("accept: %v", r)
	}
	s.same("second accepted", s.told(s.want(s.check(), 0)))

	// Root goes back to release one, as CI signed it.
	back := filepath.Join(s.state, "expect", firstID)
	s.must(os.WriteFile(back, first, 0o600), os.WriteFile(back+".sig", sign(first), 0o600))
	s.write("a", "release one")
	s.same("back", s.told(s.want(s.check(), 1)), "a medium", "manifest high added")
	s.want(s.acceptLevel(true, false), 2)
	s.want(s.accept(filepath.Join(s.tree, "a")), 0)
	s.want(s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.Adopt(ctx, e, app.AdoptOptions{Reason: "test"})
	}), 0)
	s.same("after adopt", s.told(s.want(s.check(), 1)), "manifest high added")
	s.forget(firstID)
	// One that was never here is shown, and not as what goes on from what is known.
	s.write("a", "release 0")
	s.want(s.expect(old, sign(old)), 0)
	r := s.want(s.check(), 1)
	s.same("never here", s.told(r), "a info/medium signed", "manifest medium added")
	if !strings.Contains(string(r.stdout), "may be a way back") {
		t.Errorf("no reason: %s", r.stdout)
	}
}

// What a manifest explained brings its row along, whatever selects it, once.
func TestManifestRowsGoAlong(t *testing.T) {
	s := newSite(t, "")
	sign := s.ci()
	s.write("a", "old")
	s.write("b", "old")
	s.write("c", "old")
	s.want(s.init(), 0)
	s.write("a", "new, and longer")
	s.write("b", "new, and longer")
	text, id := s.release("app", "")
	s.want(s.expect(text, sign(text)), 0)
	s.write("c", "new, and longer")
	s.want(s.check(), 1)
	s.want(s.accept(filepath.Join(s.tree, "c")), 0)
	s.same("nothing of it", s.told(s.want(s.check(), 1)), "a info/medium signed", "b info/medium signed", "manifest medium added")
	s.want(s.accept(filepath.Join(s.tree, "a")), 0)
	s.want(s.accept(filepath.Join(s.tree, "b")), 0) // of the same report
	s.same("known", s.told(s.want(s.check(), 0)))
	// Forgotten with the next accept of anything.
	s.forget(id)
	s.write("c", "again")
	s.same("gone", s.told(s.want(s.check(), 1)), "c medium")
	s.want(s.accept(filepath.Join(s.tree, "c")), 0)
	s.want(s.expect(text, sign(text)), 0)
	s.same("back", s.told(s.want(s.check(), 1)), "manifest high added")
	s.forget(id)
	// Without a time, one more is never taken for what goes on.
	s.write("c", "later")
	text, id = s.release("app2", "")
	s.want(s.expect(text, sign(text)), 0)
	s.same("no time", s.told(s.want(s.check(), 1)), "c info/medium signed", "manifest medium added")
	s.want(s.accept(), 0)
	s.same("by --all", s.told(s.want(s.check(), 0)))
	s.forget(id)
	s.want(s.check(), 0)
	s.want(s.acceptLevel(true, false), 0) // that it is gone
	s.same("forgotten alone", s.told(s.want(s.check(), 0)))
}

// A key whose line ran out does not count for a manifest that gives itself an
// earlier time.
func TestExpectedByRetiredKey(t *testing.T) {
	s := newSite(t, "")
	sign := s.ci()
	signers := filepath.Join(filepath.Dir(s.tree), "signers")
	good, err := os.ReadFile(signers)
	s.must(err)
	retired := strings.Replace(string(good), " namespaces", " valid-before=\"20260601\",namespaces", 1)
	s.must(os.WriteFile(signers, []byte(retired), 0o600))
	s.write("a", "old")
	s.want(s.init(), 0)
	s.write("a", "new")
	for _, at := range []string{"01:00:00", ""} {
		text, id := s.release("app", at)
		r := s.expect(text, sign(text))
		if r.exit != app.ExitTrust || !strings.Contains(r.err.Error(), "was valid to 2026-06-01") {
			t.Errorf("made at %q: %v", at, r)
		}
		name := filepath.Join(s.state, "expect", id)
		s.must(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, text, 0o600), os.WriteFile(name+".sig", sign(text), 0o600))
	}
	s.same("check", s.told(s.want(s.check(), 1)), "a medium")
}

// Junk in the state folder takes no place from what counts, and is one note.
func TestExpectedBesideJunk(t *testing.T) {
	s := newSite(t, "")
	sign := s.ci()
	s.write("a", "old")
	s.want(s.init(), 0)
	s.write("a", "new")
	text, _ := s.release("app", "")
	s.want(s.expect(text, sign(text)), 0)
	for i := range 200 {
		name := filepath.Join(s.state, "expect", strings.Repeat("0", 61)+fmt.Sprintf("%03d", i))
		s.must(os.WriteFile(name, []byte("junk"), 0o600))
	}
	r := s.want(s.check(), 1)
	s.same("check", s.told(r), "a info/medium signed", "manifest medium added")
	var notes []string
	for _, l := range of(parse(t, r.stdout), "note") {
		if strings.Contains(l.Text, "manifest") {
			notes = append(notes, l.Text)
		}
	}
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "200 manifests of what is expected explain nothing") {
		t.Errorf("notes %q", notes)
	}
	text, _ = s.release("app", "01:00:00")
	s.want(s.expect(text, sign(text)), 0)
	s.want(s.acceptLevel(true, false), 0)
	s.same("accepted", s.told(s.want(s.check(), 1)), "manifest medium added")
}

// What belongs to intact itself stays where --explained selects it, and accept
// says so, as under --all.
func TestExplainedSelfIsTold(t *testing.T) {
	s := newSite(t, "")
	s.known = []rules.Explainer{byName{}}
	unit, other := filepath.Join(s.tree, "signed-unit"), filepath.Join(s.tree, "other-unit")
	s.hooks = []string{unit, other}
	for _, n := range []string{"signed-a", "signed-unit", "other-unit"} {
		s.write(n, "old")
	}
	s.want(s.init(), 0)
	for _, n := range []string{"signed-a", "signed-unit", "other-unit"} {
		s.write(n, "new, and longer")
	}
	s.want(s.check(), 1)
	r := s.want(s.acceptLevel(true, false), 0)
	if !strings.Contains(r.stderr, unit+" belongs to intact itself and stays pending: intact accept --path "+unit) || strings.Contains(r.stderr, other) {
		t.Errorf("stderr: %s", r.stderr)
	}
}
