package app_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"intact/cmd/internal/app"
)

// killedAt runs a hook once whole and then again and again, killed at its first
// event in the state folder, its fourth, and so on, and looks after each.
func (s *site) killedAt(stdin string, before func(), after func(what string), args ...string) {
	s.t.Helper()
	before()
	_, events, _ := killer{stdin: stdin}.run(s, args...)
	if events < 4 {
		s.t.Fatalf("%q: %d events alone", args, events)
	}
	killed := 0
	for n := 1; n <= events; n += 3 {
		before()
		if done, _, _ := (killer{events: n, stdin: stdin}).run(s, args...); !done {
			killed++
		}
		if after(fmt.Sprintf("%q killed at event %d of %d", args, n, events)); s.t.Failed() {
			return
		}
	}
	if killed == 0 {
		s.t.Errorf("%q: it was never killed in time", args)
	}
	s.t.Logf("%q: killed %d times, %d events", args, killed, events)
}

// TestKillHooks kills the hooks wherever they write. Nothing is left that holds the
// next hook or a check, and nothing half that one of them reads.
func TestKillHooks(t *testing.T) {
	onlyPlain(t)
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("SKIPPED: dpkg-deb is missing")
	}
	s := newSite(t, "")
	s.write("usr/tool", "one")
	s.want(s.init(), 0)
	dir := t.TempDir()
	deb := func(name, version string) string {
		root := filepath.Join(dir, "p")
		s.must(os.RemoveAll(root), os.MkdirAll(filepath.Join(root, "DEBIAN"), 0o755), os.MkdirAll(filepath.Join(root, s.tree, "usr"), 0o755))
		control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n", name, version)
		s.must(os.WriteFile(filepath.Join(root, "DEBIAN", "control"), []byte(control), 0o644), os.WriteFile(filepath.Join(root, s.tree, "usr", name), []byte(version), 0o644))
		out := filepath.Join(dir, name+version+".deb")
		if b, err := exec.Command("dpkg-deb", "--root-owner-group", "--build", root, out).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		return out
	}
	told := fmt.Sprintf("VERSION 3\n\ntool - - none < 2 all none %s\nmore - - none < 1 all none %s\n", deb("tool", "2"), deb("more", "1"))
	hook := func(do func(context.Context, *app.Env, app.HookOptions) app.Outcome) string {
		var out, errs bytes.Buffer
		e := s.env(&out, &errs)
		e.Stdin = strings.NewReader(told)
		if o := do(context.Background(), e, app.HookOptions{Manager: "apt", Lists: "none"}); o.Exit() != 0 {
			t.Errorf("exit %d", o.Exit())
		}
		return errs.String()
	}
	clean := func() {
		for _, sub := range []string{"inbox", "packages"} {
			s.must(os.RemoveAll(filepath.Join(s.state, sub)), os.Mkdir(filepath.Join(s.state, sub), 0o700))
		}
	}
	sound := func(what string) {
		t.Helper()
		r := s.run(func(_ context.Context, e *app.Env) (app.Outcome, error) { return app.PackagesList(e) })
		if r.exit != 0 || r.stderr != "" {
			t.Errorf("%s: %v", what, r)
		}
		if got := hook(app.HookPre); got != "" {
			t.Errorf("%s: the next hook says %q", what, got)
		}
		if got := hook(app.HookPost); !strings.HasPrefix(got, "intact: ") || strings.Contains(got, "provenance") || strings.Contains(got, "in use") {
			t.Errorf("%s: the next hook says %q", what, got)
		}
		if r := s.check(); r.exit > 1 {
			t.Errorf("%s: %v", what, r)
		}
	}
	s.killedAt(told, clean, sound, "packages", "hook", "pre", "--lists", "none")
	s.write("usr/tool", "2")
	s.killedAt("", func() { clean(); hook(app.HookPre) }, sound, "packages", "hook", "post")
}
