package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"intact/cmd/internal/app"
	"intact/cmd/internal/cli"
	"intact/rules"
	"intact/scanner/digest"
)

// childEnv makes the test binary the program itself: its arguments are then a
// command line. "site": on a host of which nothing is known but its files.
const childEnv = "INTACT_TEST_CHILD"

func TestMain(m *testing.M) {
	// Scanning a file system that can hang starts /proc/self/exe again.
	if os.Getenv(childEnv) != "" || len(os.Args) > 1 && os.Args[1] == "scan-mount" {
		var known cli.Known
		if os.Getenv(childEnv) == "site" {
			known.Prepare = func(e *app.Env) { e.Facts = app.Nowhere() }
		}
		os.Exit(cli.MainOf(context.Background(), known, os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	if name := os.Getenv(lockEnv); name != "" {
		os.Exit(holdLock(name))
	}
	os.Exit(m.Run())
}

// onlyPlain leaves a test to the suite without the race detector: what it does
// over and over, or in processes of its own, has one goroutine at work.
func onlyPlain(t testing.TB) {
	t.Helper()
	if slow > 1 {
		t.Skip("SKIPPED: many rounds of the same, run by the suite without the race detector")
	}
}

// rounds reads a number of rounds from the environment.
func rounds(t testing.TB, variable string, standard int) int {
	s := os.Getenv(variable)
	if s == "" {
		return standard
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want a positive number", variable, s)
	}
	return n
}

// site is a tree under the live root with a configuration that selects it and
// a state folder.
type site struct {
	t      testing.TB
	tree   string
	state  string
	config string
	ahead  time.Duration // of the program's clock
	chance io.Reader     // app.Env.Random
	hooks  []string      // app.Env.Hooks
	tabs   []string      // app.Env.Crontabs
	known  []rules.Explainer
	locks  []string // app.Env.PackageLocks
}

// newSite makes an empty tree that the lines of the policy select. Each $T in
// lines is the tree's path.
func newSite(t testing.TB, lines string) *site {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, tree: filepath.Join(dir, "tree"), state: filepath.Join(dir, "state"), config: filepath.Join(dir, "intact.yaml")}
	if lines == "" {
		lines = "paths:\n  - {path: $T, attributes: config}\n"
	}
	text := "version: 1\n" + strings.ReplaceAll(lines, "$T", s.tree)
	s.must(os.Mkdir(s.tree, 0o755), os.WriteFile(s.config, []byte(text), 0o600))
	return s
}

func (s *site) must(errs ...error) {
	s.t.Helper()
	for _, err := range errs {
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// write makes a file of the tree, and the directories above it.
func (s *site) write(name, text string) {
	s.t.Helper()
	p := filepath.Join(s.tree, name)
	s.must(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644))
}

func (s *site) env(stdout, stderr io.Writer) *app.Env {
	return &app.Env{Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Version: "test",
		Now: func() time.Time { return time.Now().Add(s.ahead) }, Random: s.chance, Hooks: s.hooks, Crontabs: s.tabs, Explainers: s.known, PackageLocks: append([]string{}, s.locks...),
		Config: s.config, State: s.state, Root: "/", Facts: app.Nowhere(), Workers: 3, Tool: tool()}
}

// tool is the digest of the binary of the tests, read once. Processes of their own
// read it themselves.
var tool = sync.OnceValue(func() (d digest.Digest) {
	if b, err := os.ReadFile("/proc/self/exe"); err == nil {
		d = digest.Sum(b)
	}
	return d
})

// result is how one command went.
type result struct {
	exit   int
	err    error
	stdout []byte
	stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d, error %v\nstdout:\n%.2000s\nstderr:\n%.1000s", r.exit, r.err, r.stdout, r.stderr)
}

func (s *site) run(do func(context.Context, *app.Env) (app.Outcome, error)) result {
	var out, errs bytes.Buffer
	o, err := do(context.Background(), s.env(&out, &errs))
	if err != nil {
		// The exit code is made as the command line makes it.
		for _, c := range app.Fail(err).Exits() {
			o.Add(c)
		}
	}
	return result{o.Exit(), err, out.Bytes(), errs.String()}
}

func (s *site) init() result {
	return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.Init(ctx, e, app.InitOptions{Output: app.Output{Format: "json"}})
	})
}

func (s *site) check(opts ...func(*app.CheckOptions)) result {
	o := app.CheckOptions{Output: app.Output{Format: "json"}}
	for _, f := range opts {
		f(&o)
	}
	return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.Check(ctx, e, o) })
}

func (s *site) accept(paths ...string) result {
	o := app.AcceptOptions{All: len(paths) == 0, Paths: paths, Reason: "test"}
	return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.Accept(ctx, e, o) })
}

func (s *site) verify() result {
	return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.BaselineVerify(ctx, e, 0) })
}

func (s *site) export() []byte {
	s.t.Helper()
	r := s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.BaselineExport(ctx, e, 0, "") })
	if r.exit != 0 || r.err != nil {
		s.t.Fatalf("export: %v", r)
	}
	return r.stdout
}

func (s *site) want(r result, exit int) result {
	s.t.Helper()
	if r.exit != exit || (r.err != nil && (exit == 0 || exit == 1)) {
		s.t.Fatalf("want exit %d, got %v", exit, r)
	}
	return r
}

// line is a line of a JSON report, read without the product's own reader.
type line struct {
	Type, Set, Rule, Change string
	Subject                 struct{ Kind, Path, Name, Path_B64 string }
	From, From_B64          string
	Count                   int64
	Attributes              json.RawMessage
	Links, Links_B64        []string
	New, Known              bool
	Reason, Detail, Verdict string
	Severity, Raw_Severity  string
	Explained               *rules.Explanation
	SHA256                  string
	Exit                    int
	Exits                   []int
	Counts                  map[string]json.RawMessage
	Complete                bool
	Pending                 *string
	Quick                   *quickLine
	Text                    string
	attributes, linkPaths   []string
	path, from              string
}

// quickLine is what a trailer says of a quick check.
type quickLine struct {
	Trusted, Files int64
	Share          int64 `json:"share_percent"`
	Every          int64 `json:"every_days"`
	Oldest         *time.Time
}

func unb64(t testing.TB, plain, b64 string) string {
	if b64 == "" {
		return plain
	}
	b, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// parse reads a JSON report.
func parse(t testing.TB, b []byte) (lines []line) {
	t.Helper()
	for text := range bytes.Lines(b) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("%v in %.500q", err, text)
		}
		l.path, l.from = unb64(t, l.Subject.Path, l.Subject.Path_B64), unb64(t, l.From, l.From_B64)
		l.linkPaths = l.Links
		for i, s := range l.Links_B64 {
			l.linkPaths[i] = unb64(t, "", s)
		}
		if l.Type == "finding" {
			var list []struct{ Name string }
			if err := json.Unmarshal(l.Attributes, &list); err != nil {
				t.Fatal(err)
			}
			for _, a := range list {
				l.attributes = append(l.attributes, a.Name)
			}
		}
		lines = append(lines, l)
	}
	return lines
}

func of(lines []line, kind string) (r []line) {
	for _, l := range lines {
		if l.Type == kind {
			r = append(r, l)
		}
	}
	return r
}

// trailer returns the last line, which must be the trailer.
func trailer(t testing.TB, lines []line) line {
	t.Helper()
	if n := len(lines); n == 0 || lines[n-1].Type != "trailer" {
		t.Fatalf("the report has no trailer: %d lines", n)
	}
	return lines[len(lines)-1]
}

func (l *line) count(t testing.TB, name string) (n int64) {
	t.Helper()
	if err := json.Unmarshal(l.Counts[name], &n); err != nil {
		t.Fatalf("count %q: %v", name, err)
	}
	return n
}
