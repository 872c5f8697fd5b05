package app_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
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
