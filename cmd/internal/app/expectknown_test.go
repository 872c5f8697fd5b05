package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"intact/baseline/seal"
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
	s.same("good list", s.told(s.check()), "a info/medium signed")
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
	s.same("accepted list", s.told(s.check()), "a info/medium signed")
	s.want(s.acceptLevel(true, false), 0)
	s.want(s.check(), 0)
}
