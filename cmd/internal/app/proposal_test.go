package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/cmd/internal/app"
)

// governed is a site whose baseline an operator approves, with her key and files
// in a place of her own.
type governed struct {
	*site
	desk, key, request, approval string
}

func newGoverned(t *testing.T, files int, size string) *governed {
	t.Helper()
	s := newSite(t, "paths:\n  - {path: $T, attributes: config}\n  - {path: $T/grave, attributes: config, severity: critical}\n")
	g := &governed{site: s, desk: t.TempDir()}
	g.key, g.request, g.approval = filepath.Join(g.desk, "key"), filepath.Join(g.desk, "request"), filepath.Join(g.desk, "request.approval")
	k, err := seal.Generate(g.key, "ann")
	s.must(err)
	signers := filepath.Join(filepath.Dir(s.config), "signers")
	s.must(os.WriteFile(signers, []byte("ann@example "+k.Line+"\n"), 0o600))
	text, err := os.ReadFile(s.config)
	s.must(err, os.WriteFile(s.config, fmt.Appendf(text, "signing: {trusted_signers: %q}\n", signers), 0o600))
	s.many(files)
	if size != "" {
		s.smallState(size)
	}
	s.want(s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.Init(ctx, e, app.InitOptions{SignWith: g.key, Output: app.Output{Format: "json"}})
	}), 0)
	return g
}

// ask changes a file, checks, and makes a request.
func (g *governed) change(text string) {
	g.t.Helper()
	g.write("d00/changing", text)
	g.want(g.check(), 1)
}

func (g *governed) ask() result {
	return g.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.Accept(ctx, e, app.AcceptOptions{All: true, Export: g.request})
	})
}

// approve runs where there is nothing of the host.
func (g *governed) approve(opts ...func(*app.ApproveOptions)) result {
	g.t.Helper()
	o := app.ApproveOptions{Requests: []string{g.request}, SignWith: g.key, Reason: "looked at it"}
	for _, f := range opts {
		f(&o)
	}
	return g.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		e.State = filepath.Join(g.desk, "none")
		return app.Approve(ctx, e, o)
	})
}

func (g *governed) apply() result {
	return g.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.ApplyApproval(ctx, e, g.approval)
	})
}

func (g *governed) staged() []byte {
	b, err := os.ReadFile(filepath.Join(g.state, "baseline", "proposed.db"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.t.Fatal(err)
	}
	return b
}

// TestRefusedRequests: whatever byte of a request is another, exit 4 says so and
// nothing is signed.
func TestRefusedRequests(t *testing.T) {
	onlyPlain(t)
	g := newGoverned(t, 20, "")
	g.change("new")
	g.want(g.ask(), 0)
	good, err := os.ReadFile(g.request)
	g.must(err)
	r := rand.New(rand.NewPCG(5, 6))
	for i := 0; i < len(good); i += 1 + r.IntN(80) { // each byte: baseline.TestRequestEveryByte
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		g.must(os.WriteFile(g.request, bad, 0o600))
		if got := g.approve(); got.exit != 4 || len(got.stdout) > 0 {
			t.Fatalf("byte %d: %v", i, got)
		}
		if _, err := os.Lstat(g.approval); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("byte %d: there is an approval", i)
		}
	}
	g.must(os.WriteFile(g.request, good[:len(good)-1], 0o600))
	g.want(g.approve(), 4)
	g.must(os.WriteFile(g.request, good, 0o600))
	g.want(g.approve(), 0)
	g.want(g.apply(), 0)
	g.want(g.check(), 0)
}

// Many changes are shown one by one, whatever their number.
func TestRequestOfMany(t *testing.T) {
	onlyPlain(t)
	g := newGoverned(t, 50, "")
	for i := range 3000 {
		g.write(fmt.Sprintf("d%02d/added%04d", i%7, i), fmt.Sprint(i))
	}
	g.want(g.check(), 1)
	g.want(g.ask(), 0)
	shown := g.want(g.approve(), 0)
	if n := bytes.Count(shown.stdout, []byte("/added")); n != 3000 {
		t.Errorf("%d of 3000 are shown", n)
	}
	g.want(g.apply(), 0)
	g.want(g.check(), 0)
}

// TestFullDiskProposal: neither a request nor its approval leaves anything half
// done where there is no room.
func TestFullDiskProposal(t *testing.T) {
	onlyPlain(t)
	g := newGoverned(t, 1500, "3m")
	g.change("one")
	g.want(g.ask(), 0)
	g.want(g.approve(), 0)
	before, text := g.generation()
	staged := g.staged()
	g.change("two")
	for pages := 0; pages < 120; pages += 1 + pages/4 {
		g.fill(pages)
		r := g.ask()
		g.empty()
		what := fmt.Sprintf("request with %d free pages", pages)
		if n, stands := g.generation(); n != before || stands != text {
			t.Fatalf("%s: generation %d: %v", what, n, r)
		}
		if l := g.temps(); len(l) > 0 {
			t.Fatalf("%s: left behind %q", what, l)
		}
		if r.exit == 0 {
			if bytes.Equal(staged, g.staged()) {
				t.Fatalf("%s: the old one is still staged", what)
			}
			break
		}
		g.full(r, what)
		if !bytes.Equal(staged, g.staged()) {
			t.Fatalf("%s: another file is staged", what)
		}
	}
	g.want(g.ask(), 0)
	g.want(g.approve(), 0)
	for pages := range 60 {
		g.fill(pages)
		r := g.apply()
		g.empty()
		if r.exit == 0 {
			break
		}
		g.full(r, fmt.Sprintf("apply with %d free pages", pages))
		if strings.Contains(fmt.Sprint(r.err), "is in force") {
			break // all but its report
		}
		if n, stands := g.generation(); n != before || stands != text || g.staged() == nil {
			t.Fatalf("apply with %d free pages: generation %d: %v", pages, n, r)
		}
		g.want(g.verify(), 0)
	}
	if n, _ := g.generation(); n != before+1 {
		g.want(g.apply(), 0)
	}
	g.want(g.check(), 0)
	g.want(g.verify(), 0)
}

// cancelAfter is a context that is cancelled once it was asked n times.
type cancelAfter struct {
	context.Context
	left int
}

func (c *cancelAfter) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestInterruptedProposal: an interruption anywhere leaves the old state, and
// says so.
func TestInterruptedProposal(t *testing.T) {
	g := newGoverned(t, 40, "")
	g.change("one")
	before, text := g.generation()
	interrupt := func(what string, do func(context.Context, *app.Env) (app.Outcome, error)) {
		t.Helper()
		staged := g.staged()
		for n := 0; ; n += 1 + n/3 {
			r := g.run(func(_ context.Context, e *app.Env) (app.Outcome, error) {
				return do(&cancelAfter{context.Background(), n}, e)
			})
			if r.exit == 0 {
				if n == 0 {
					t.Fatalf("%s asks for no interruption", what)
				}
				return
			}
			if r.exit != 130 {
				t.Fatalf("%s, interrupted at %d: %v", what, n, r)
			}
			if now, stands := g.generation(); now != before || stands != text || !bytes.Equal(staged, g.staged()) || len(g.temps()) > 0 {
				t.Fatalf("%s, interrupted at %d: generation %d, left behind %q", what, n, now, g.temps())
			}
		}
	}
	interrupt("export", func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.Accept(ctx, e, app.AcceptOptions{All: true, Export: g.request})
	})
	g.want(g.approve(), 0)
	interrupt("apply", func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.ApplyApproval(ctx, e, g.approval)
	})
	g.want(g.check(), 0)
	list, err := filepath.Glob(filepath.Join(g.desk, "*"))
	g.must(err)
	if len(list) != 4 {
		t.Errorf("left behind: %q", list)
	}
}

// TestKillProposal kills --export and --apply at random moments. The baseline
// then is the old one or the new one, and the next try comes through.
func TestKillProposal(t *testing.T) {
	onlyPlain(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 4))
	g := newGoverned(t, 800, "")
	commands := map[string][]string{
		"export": {"accept", "--all", "--export", g.request},
		"apply":  {"accept", "--apply", g.approval},
	}
	prepare := func(kind string, i int) {
		g.change(fmt.Sprintf("state %s %d", kind, i))
		if kind == "apply" {
			g.want(g.ask(), 0)
			g.want(g.approve(), 0)
		}
	}
	finish := func(kind, what string) {
		if kind == "export" {
			g.want(g.ask(), 0)
			g.want(g.approve(), 0)
		}
		if r := g.apply(); r.exit != 0 {
			if !strings.Contains(fmt.Sprint(r.err), "in force already") {
				t.Fatalf("%s: the next apply: %v", what, r)
			}
		}
		g.want(g.check(), 0)
		g.want(g.verify(), 0)
		if l := g.temps(); len(l) > 0 || g.staged() != nil {
			t.Fatalf("%s: left behind %q, staged %v", what, l, g.staged() != nil)
		}
	}
	events, took, killed := map[string]int{}, map[string]time.Duration{}, map[string]int{}
	for kind, args := range commands {
		prepare(kind, -1)
		_, events[kind], took[kind] = killer{}.run(g.site, args...)
		finish(kind, kind)
	}
	for i := range rounds(t, "INTACT_KILL", 32) / 4 {
		kind := []string{"export", "apply"}[i%2]
		prepare(kind, i)
		before, text := g.generation()
		k := killer{after: time.Duration(r.Int64N(int64(took[kind]) * 11 / 10))}
		if r.IntN(2) == 0 {
			k = killer{events: 1 + r.IntN(events[kind]+1)}
		}
		done, _, _ := k.run(g.site, commands[kind]...)
		if !done {
			killed[kind]++
		}
		what := fmt.Sprintf("seed %d kill %d of %s, %+v, ended before %v", seed, i, kind, k, done)
		n, stands := g.generation()
		if n == before && stands != text || n != before && (kind == "export" || n != before+1) {
			t.Fatalf("%s: generation %d after %d", what, n, before)
		}
		g.want(g.verify(), 0)
		finish(kind, what)
	}
	t.Logf("killed: %v", killed)
}

// terminal makes a pair of ends of which the second is a terminal.
func terminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

// TestConsent: on a terminal the changes are shown and then asked for. What was
// typed before the question is no answer.
func TestConsent(t *testing.T) {
	for _, tt := range []struct {
		name, early, answer, reason string
		grave                       bool
		exit                        int
	}{
		{"yes", "", "y\n", "given", false, 0},
		{"yes-and-why", "", "y\nbecause\n", "", false, 0},
		{"no", "", "n\n", "given", false, 1},
		{"nothing", "", "\n", "given", false, 1},
		{"no-reason", "", "y\n\n", "", false, 1},
		{"typed-ahead", "y\n", "\n", "given", false, 1},
		{"grave", "", "y\n", "given", true, 1},
		{"grave-in-full", "", "yes\n", "given", true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGoverned(t, 3, "")
			want := []string{"d00/changing", ": 1 low\r\n", "[y/N] "}
			if tt.grave {
				g.write("grave/\x1b", "x")
				want = []string{": 2 critical, 1 low\r\n  CRITICAL ", `grave/\x1b`, "type yes in full [yes/N] "}
			}
			g.change("new")
			g.want(g.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
				return app.Accept(ctx, e, app.AcceptOptions{Paths: []string{"/"}, Export: g.request})
			}), 0)
			user, program := terminal(t)
			if tt.early != "" {
				_, err := user.WriteString(tt.early)
				g.must(err)
			}
			ended := make(chan result, 1)
			go func() {
				e := g.env(program, program)
				e.Stdin, e.State = program, filepath.Join(g.desk, "none")
				o, err := app.Approve(context.Background(), e, app.ApproveOptions{Requests: []string{g.request}, SignWith: g.key, Reason: tt.reason})
				if err != nil {
					for _, c := range app.Fail(err).Exits() {
						o.Add(c)
					}
				}
				ended <- result{exit: o.Exit(), err: err}
			}()
			asked := make(chan []byte, 1)
			go func() { // until the terminal is closed: what is printed must be taken
				var seen []byte
				buf := make([]byte, 4096)
				for told := false; ; {
					n, err := user.Read(buf)
					if seen = append(seen, buf[:n]...); !told && (err != nil || bytes.Contains(seen, []byte("N] "))) {
						told = true
						asked <- bytes.Clone(seen)
					}
					if err != nil {
						return
					}
				}
			}()
			var r result
			select {
			case seen := <-asked:
				for _, w := range want {
					if !bytes.Contains(seen, []byte(w)) {
						t.Errorf("asked without showing %q:\n%s", w, seen)
					}
				}
				_, err := user.WriteString(tt.answer)
				g.must(err)
				r = <-ended
			case r = <-ended:
				t.Fatalf("it did not ask: %v", r)
			}
			if r.exit != tt.exit {
				t.Errorf("exit %d, %v", r.exit, r.err)
			}
			if r.err != nil && strings.Contains(r.err.Error(), "\n") {
				t.Errorf("the error is of several lines: %q", r.err)
			}
			text, err := os.ReadFile(g.approval)
			if (err == nil) != (tt.exit == 0) {
				t.Fatalf("approval: %v", err)
			}
			if tt.exit == 0 {
				a, err := baseline.ParseApproval(text)
				g.must(err)
				if want := tt.reason + strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(tt.answer), "y"), "es"); strings.TrimSpace(want) != a.Statement.Reason {
					t.Errorf("reason %q, want %q", a.Statement.Reason, want)
				}
				g.want(g.apply(), 0)
			}
		})
	}
}
