package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"intact/cmd/internal/app"
)

func (s *site) window(do func(*app.Env, app.WindowOptions) (app.Outcome, error)) result {
	return s.run(func(_ context.Context, e *app.Env) (app.Outcome, error) {
		return do(e, app.WindowOptions{Until: "1h", Reason: "test"})
	})
}

func (s *site) windows() []byte {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.state, "windows"))
	if !errors.Is(err, fs.ErrNotExist) {
		s.must(err)
	}
	return b
}

// listed demands that every window that is kept counts.
func (s *site) listed(n int, what string) {
	s.t.Helper()
	r := s.run(func(_ context.Context, e *app.Env) (app.Outcome, error) { return app.WindowList(e) })
	if got := bytes.Count(r.stdout, []byte("\n")); r.exit != 0 || r.err != nil || got != n {
		s.t.Fatalf("%s: want %d windows, got %v", what, n, r)
	}
}

// The file of windows is one of the state folder's own, and no change.
func TestWindowsFileIsNotScanned(t *testing.T) {
	s := newSite(t, "")
	s.state = filepath.Join(s.tree, "state")
	s.want(s.init(), 0)
	s.want(s.window(app.WindowOpen), 0)
	s.want(s.check(), 0)
	s.want(s.window(app.WindowClose), 0)
	s.want(s.check(), 0)
	if fi, err := os.Stat(filepath.Join(s.state, "windows")); err != nil || fi.Mode() != 0o600 {
		t.Errorf("got %v, %v", fi, err)
	}
}

// TestKillWindow kills open and close at each event of the state folder.
func TestKillWindow(t *testing.T) {
	onlyPlain(t)
	s := newSite(t, "")
	s.want(s.init(), 0)
	killed, n := 0, 0
	for _, args := range [][]string{{"window", "open", "--until", "1h", "--reason", "test"}, {"window", "close", "--reason", "done"}} {
		for events := 1; ; events++ {
			what := fmt.Sprintf("%s killed at event %d", args[1], events)
			before := s.windows()
			done, _, _ := killer{events: events}.run(s, args...)
			after := s.windows()
			changed := !bytes.Equal(before, after)
			if done && !changed {
				t.Fatalf("%s: it ended, and nothing is written", what)
			}
			if n = bytes.Count(after, []byte("\nsigner: ")); !done {
				killed++
			}
			s.listed(n, what)
			if r := s.check(); r.exit != 0 || strings.Contains(string(r.stdout), "trust.window") {
				t.Fatalf("%s: the next check: %v", what, r)
			}
			if l := s.temps(); len(l) > 0 {
				t.Fatalf("%s: left behind: %q", what, l)
			}
			if done || changed {
				break
			}
		}
	}
	if n != 1 || killed == 0 {
		t.Errorf("%d windows at the end, killed %d times", n, killed)
	}
}

func TestFullDiskWindow(t *testing.T) {
	s := newSite(t, "")
	s.smallState("1m")
	s.want(s.init(), 0)
	s.fill(0)
	s.full(s.window(app.WindowOpen), "open without any room")
	s.listed(0, "after that")
	s.empty()
	s.want(s.window(app.WindowOpen), 0)
	was := s.windows()
	s.fill(0)
	s.full(s.window(app.WindowClose), "close without any room")
	s.empty()
	if l := s.temps(); len(l) > 0 || !bytes.Equal(s.windows(), was) {
		t.Errorf("left behind: %q; windows %q", l, s.windows())
	}
	s.listed(1, "after that")
	s.want(s.window(app.WindowClose), 0)
	s.want(s.check(), 0)
}

// The findings of many changes are marked one by one, in bounded memory, and
// nothing else of the report is another.
func TestWindowMarksMany(t *testing.T) {
	onlyPlain(t)
	s := newSite(t, "")
	s.many(2000)
	s.want(s.init(), 0)
	s.want(s.window(app.WindowOpen), 0)
	for i := range 2000 {
		p := filepath.Join(s.tree, fmt.Sprintf("d%02d/f%04d", i%20, i))
		if i%2 == 0 {
			s.must(os.Remove(p))
			continue
		}
		s.must(os.WriteFile(p, []byte("another"), 0o644))
	}
	s.must(os.RemoveAll(filepath.Join(s.tree, "d00")))
	r := s.want(s.check(), 1)
	findings := bytes.Count(r.stdout, []byte(`{"type":"finding"`))
	if marked := bytes.Count(r.stdout, []byte(`,"window":"`)); findings < 2000 || marked != findings {
		t.Errorf("%d of %d are marked", marked, findings)
	}
	s.want(s.accept(), 0)
	s.want(s.check(), 0)
}
