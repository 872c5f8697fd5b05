package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/app"
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

// A part that is no regular file is another, not one that nobody can tell: a
// masked unit above all.
func TestSelfKinds(t *testing.T) {
	s := newSite(t, "")
	s.write("a", "a")
	units := filepath.Join(filepath.Dir(s.config), "units")
	s.hooks = []string{filepath.Join(units, "intact*"), filepath.Join(units, "intact*.d/*")}
	unit := filepath.Join(units, "intact-check.timer")
	s.must(os.MkdirAll(filepath.Join(units, "intact.service.d"), 0o755), os.WriteFile(unit, []byte("[Timer]\n"), 0o644))
	s.want(s.init(), 0)
	s.want(s.check(), 0)
	adopt := func() result {
		return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
			return app.Adopt(ctx, e, app.AdoptOptions{Reason: "test"})
		})
	}
	for what, do := range map[string]func() error{
		"dir":     func() error { return os.Mkdir(unit, 0o755) },
		"fifo":    func() error { return unix.Mkfifo(unit, 0o600) },
		"masked":  func() error { return os.Symlink("/dev/null", unit) },
		"nowhere": func() error { return os.Symlink("gone", unit) },
		"circle":  func() error { return os.Symlink(filepath.Base(unit), unit) },
		"tooLarge": func() error {
			return errors.Join(os.WriteFile(unit, nil, 0o644), os.Truncate(unit, 2<<40))
		},
	} {
		s.must(os.Remove(unit), do())
		r := s.check()
		s.want(r, 1)
		if got := found(t, r, "trust"); !slices.Equal(got, []string{"trust.self critical changed " + unit}) {
			t.Errorf("%s: %q", what, got)
		}
		if r := adopt(); r.exit != 1 {
			t.Errorf("%s: adopt: %v", what, r)
		}
	}
	s.must(os.Remove(unit), os.WriteFile(unit, []byte("[Timer]\n"), 0o644))
	s.want(s.check(), 0)
	s.must(os.Symlink("/dev/null", filepath.Join(units, "intact.service")), os.WriteFile(filepath.Join(units, "intact.service.d/x.conf"), nil, 0o644))
	r := s.check()
	if got := found(t, r, "trust"); !slices.Equal(got, []string{"trust.self critical added " + filepath.Join(units, "intact.service"),
		"trust.self critical added " + filepath.Join(units, "intact.service.d/x.conf")}) {
		t.Errorf("new ones: %q", got)
	}
}

// What cannot be read is a gap with its reason, and no policy is adopted then.
func TestSelfUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	s := newSite(t, "")
	s.write("a", "a")
	unit := filepath.Join(filepath.Dir(s.config), "intact.service")
	s.hooks = []string{unit}
	s.must(os.WriteFile(unit, []byte("[Unit]\n"), 0o644))
	s.want(s.init(), 0)
	s.must(os.Chmod(unit, 0))
	r := s.check()
	s.want(r, 3)
	if !strings.Contains(string(r.stdout), "permission denied") {
		t.Errorf("%v", r)
	}
	s.want(s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.Adopt(ctx, e, app.AdoptOptions{Reason: "test"})
	}), 3)
}

// Lines of crontabs count that name intact, with the settings that hold for
// them.
func TestSelfCrontabs(t *testing.T) {
	s := newSite(t, "")
	s.write("a", "a")
	dir := filepath.Join(filepath.Dir(s.config), "cron.d")
	s.tabs = []string{filepath.Join(dir, "*")}
	tab, other := filepath.Join(dir, "nightly"), filepath.Join(dir, "other")
	put := func(name, text string) { s.must(os.WriteFile(name, []byte(text), 0o644)) }
	const line = "0 3 * * * root /usr/bin/intact check\n"
	s.must(os.Mkdir(dir, 0o755))
	put(tab, "PATH=/usr/bin\n"+line+"0 4 * * * root backup\n")
	put(other, "PATH=/usr/bin\n0 4 * * * root backup\n")
	s.want(s.init(), 0)
	put(tab, "PATH=/usr/bin\n"+line+"0 5 * * * root backup\n")
	put(other, "PATH=/bin\n0 5 * * * root backup\n")
	s.must(os.Symlink("/dev/null", filepath.Join(dir, "masked")))
	s.want(s.check(), 0)
	for _, text := range []string{"PATH=/tmp:/usr/bin\n" + line, "PATH=/usr/bin\n SHELL = /bin/true\n" + line, "PATH=/usr/bin\n#" + line} {
		put(tab, text)
		r := s.check()
		if got := found(t, r, "trust"); !slices.Equal(got, []string{"trust.self critical changed " + tab}) {
			t.Errorf("%q: %q", text, got)
		}
	}
	s.must(os.Remove(tab), os.Symlink("/dev/null", tab))
	put(other, line)
	r := s.check()
	if got := found(t, r, "trust"); !slices.Equal(got, []string{"trust.self critical removed " + tab, "trust.self critical added " + other}) {
		t.Errorf("%q", got)
	}
}
