package app_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"intact/baseline"
	"intact/cmd/internal/app"
	"intact/scanner/digest"
)

// A clone stops; it becomes a host of its own, or the host itself goes on in a
// new epoch, when somebody says so.
func TestIdentity(t *testing.T) {
	s := newSite(t, "")
	s.write("a", "a")
	one, two := digest.Sum([]byte("1")), digest.Sum([]byte("2"))
	now := baseline.Machine{ID: one, Product: one}
	run := func(do func(context.Context, *app.Env) (app.Outcome, error)) result {
		return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
			e.Machine = func() baseline.Machine { return now }
			return do(ctx, e)
		})
	}
	check := func(want int) result {
		t.Helper()
		r := run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
			return app.Check(ctx, e, app.CheckOptions{Output: app.Output{Format: "json"}})
		})
		s.want(r, want)
		return r
	}
	header := func(r result) (h struct{ Host struct{ Epoch int } }) {
		line, _, _ := strings.Cut(string(r.stdout), "\n")
		s.must(json.Unmarshal([]byte(line), &h))
		return h
	}
	s.want(run(func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.Init(ctx, e, app.InitOptions{}) }), 0)
	check(0)
	now.Product = digest.Digest{} // asked as a user who cannot read it
	check(0)
	for _, m := range []baseline.Machine{{ID: one, Product: two}, {ID: two, Product: one}, {ID: two}} {
		now = m
		if r := check(4); !strings.Contains(r.err.Error(), "intact host new-id") {
			t.Errorf("%+v: %v", m, r)
		}
		if r := run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
			return app.Init(ctx, e, app.InitOptions{Force: true})
		}); r.exit != 4 {
			t.Errorf("init of a clone: %v", r)
		}
	}
	now = baseline.Machine{ID: one, Product: two}
	s.want(run(func(_ context.Context, e *app.Env) (app.Outcome, error) { return app.HostRestored(e, " ") }), 2)
	s.want(run(func(_ context.Context, e *app.Env) (app.Outcome, error) { return app.HostRestored(e, "new board") }), 0)
	r := check(0)
	if h := header(r); h.Host.Epoch != 2 || !strings.Contains(string(r.stdout), "says root: new board") && os.Getuid() == 0 {
		t.Errorf("epoch: %v", r)
	}
	now.ID = two
	before, err := os.ReadFile(s.hostFile())
	s.must(err)
	s.want(run(func(_ context.Context, e *app.Env) (app.Outcome, error) { return app.HostNewID(e) }), 0)
	after, err := os.ReadFile(s.hostFile())
	s.must(err)
	if string(before) == string(after) {
		t.Error("the id is the same")
	}
	if kept, err := filepath.Glob(filepath.Join(s.state, "former/*/baseline/0000000001.db")); err != nil || len(kept) != 1 {
		t.Errorf("the former baseline is gone: %v, %v", kept, err)
	}
	check(4)
	s.want(run(func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.Init(ctx, e, app.InitOptions{}) }), 0)
	if h := header(check(0)); h.Host.Epoch != 1 {
		t.Errorf("epoch %d", h.Host.Epoch)
	}
}

// A clone makes no keys, and does not keep those of the host it was cloned from.
func TestCloneKeys(t *testing.T) {
	s := newSite(t, "")
	s.write("a", "a")
	now := baseline.Machine{ID: digest.Sum([]byte("1"))}
	run := func(do func(context.Context, *app.Env) (app.Outcome, error)) result {
		return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
			e.Machine = func() baseline.Machine { return now }
			return do(ctx, e)
		})
	}
	start := func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.Init(ctx, e, app.InitOptions{}) }
	replace := func(_ context.Context, e *app.Env) (app.Outcome, error) { return app.KeyGenerate(e, "report") }
	fresh := func(_ context.Context, e *app.Env) (app.Outcome, error) { return app.HostNewID(e) }
	keys := func(dir string) (names []string) {
		list, err := os.ReadDir(filepath.Join(s.state, dir, "keys"))
		s.must(err)
		for _, e := range list {
			names = append(names, e.Name())
		}
		return names
	}
	s.want(run(start), 0)
	// A public half that is gone is no obstacle.
	s.must(os.Remove(filepath.Join(s.state, "keys/report.pub")))
	s.want(run(replace), 0)
	before := keys("")
	now.ID = digest.Sum([]byte("2"))
	if r := run(replace); r.exit != 4 || !slices.Equal(keys(""), before) {
		t.Errorf("key of a clone: %v, %q", r, keys(""))
	}
	id, err := os.ReadFile(s.hostFile())
	s.must(err)
	_, rest, _ := strings.Cut(string(id), "id: ")
	former := "former/" + rest[:32]
	s.want(run(fresh), 0)
	if got := keys(former); !slices.Equal(got, []string{"allowed_signers", "baseline.pub", "report.pub"}) {
		t.Errorf("keys of the former host: %q", got)
	}
	// It ended early, and somebody went on with the old id.
	s.must(os.WriteFile(s.hostFile(), id, 0o600))
	now.ID = digest.Sum([]byte("1"))
	s.want(run(start), 0)
	now.ID = digest.Sum([]byte("2"))
	s.want(run(fresh), 0)
	if got := keys(former + ".1"); !slices.Equal(got, []string{"allowed_signers", "baseline.pub", "report.pub"}) {
		t.Errorf("keys of the former host, second: %q", got)
	}
	s.want(run(start), 0)
}
