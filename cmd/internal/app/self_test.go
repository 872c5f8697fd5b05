package app_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// found returns "rule severity change path" of the findings of a set.
func found(t *testing.T, r result, set string) (out []string) {
	t.Helper()
	for line := range strings.Lines(string(r.stdout)) {
		var f struct {
			Type, Set, Rule, Severity, Change string
			Subject                           struct{ Path string }
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		if f.Type == "finding" && f.Set == set {
			out = append(out, f.Rule+" "+f.Severity+" "+f.Change+" "+f.Subject.Path)
		}
	}
	return out
}

// J15: what belongs to intact itself is watched, whatever the policy says.
func TestSelf(t *testing.T) {
	s := newSite(t, "")
	s.write("a", "a")
	s.hooks = []string{filepath.Join(filepath.Dir(s.config), "units/intact*")}
	signers := filepath.Join(filepath.Dir(s.config), "signers")
	text, err := os.ReadFile(s.config)
	s.must(err, os.WriteFile(signers, []byte("# nobody yet\n"), 0o644),
		os.WriteFile(s.config, append(text, "signing: {trusted_signers: "+signers+"}\n"...), 0o600))
	s.want(s.init(), 0)
	s.want(s.check(), 0)
	key := filepath.Join(s.state, "keys/report")
	steps := []struct {
		what string
		do   func()
		want []string
	}{
		{"configuration", func() {
			s.must(os.WriteFile(s.config, append(text, "signing: {trusted_signers: "+signers+"}\n# x\n"...), 0o600))
		},
			[]string{"trust.self critical changed " + s.config}},
		{"list of signers", func() { s.must(os.WriteFile(signers, []byte("# somebody\n"), 0o644)) }, []string{"trust.self critical changed " + signers}},
		{"key's owner", func() { s.must(os.Chmod(key, 0o600)) }, []string{"trust.self critical changed " + key}},
		{"list of the host's keys", func() {
			name := filepath.Join(s.state, "keys/allowed_signers")
			b, err := os.ReadFile(name)
			s.must(err, os.WriteFile(name, append(b, "# x\n"...), 0o644))
		}, []string{"trust.self critical changed " + filepath.Join(s.state, "keys/allowed_signers")}},
	}
	for _, st := range steps {
		st.do()
		r := s.check()
		s.want(r, 1)
		if got := found(t, r, "trust"); !slices.Equal(got, st.want) {
			t.Errorf("%s: %q", st.what, got)
		}
		s.want(s.accept(), 2) // not by --all: nothing else is there
		path := strings.Fields(st.want[0])[3]
		s.want(s.accept(path), 0)
		s.want(s.check(), 0)
	}
	// A unit that appears, and one that goes.
	unit := filepath.Join(filepath.Dir(s.config), "units/intact.service")
	s.must(os.MkdirAll(filepath.Dir(unit), 0o755), os.WriteFile(unit, []byte("[Unit]\n"), 0o644))
	r := s.check()
	s.want(r, 1)
	if got := found(t, r, "trust"); !slices.Equal(got, []string{"trust.self critical added " + unit}) {
		t.Errorf("unit: %q", got)
	}
	s.want(s.accept(unit), 0)
	s.must(os.Remove(unit))
	r = s.check()
	if got := found(t, r, "trust"); !slices.Equal(got, []string{"trust.self critical removed " + unit}) {
		t.Errorf("unit gone: %q", got)
	}
}

// What the policy selects too waits for its row: --all takes neither, --path
// both.
func TestSelfSelectedToo(t *testing.T) {
	s := newSite(t, "")
	unit := filepath.Join(s.tree, "intact.service")
	s.hooks = []string{unit}
	s.write("a", "a")
	s.write("intact.service", "[Unit]\n")
	s.want(s.init(), 0)
	s.write("a", "b")
	s.write("intact.service", "[Service]\n")
	s.want(s.check(), 1)
	r := s.accept()
	if s.want(r, 0); !strings.Contains(r.stderr, "intact accept --path "+unit) || !strings.Contains(string(r.stdout), "accepted 1 change") {
		t.Errorf("accept --all: %v", r)
	}
	s.want(s.accept(unit), 0)
	s.want(s.check(), 0)
}
