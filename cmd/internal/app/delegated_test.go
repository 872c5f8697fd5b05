package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/baseline/seal"
	"intact/rules/pkgdb"
	"intact/scanner/entry"
)

func TestRowBeyond(t *testing.T) {
	under := []*baseline.Delegation{{Packages: []string{"lib*"}, Suites: []string{"stable"}}, {Packages: []string{"tool"}, Suites: []string{"forky-security"}}}
	version := func(v string) []byte {
		return packageValue(&pkgdb.Package{Version: v, Status: "installed"})
	}
	date := func(day int) []byte { return fmt.Appendf(nil, "date=2026-11-%02dT00:00:00Z", day) }
	index := func(suite, code string) string { return "Test\x00" + suite + "\x00" + code + "\x00KEY" }
	for _, tt := range []struct {
		kind, key string
		old, now  []byte
		want      string // "": covered
	}{
		{rowPackage, "dpkg libx:amd64", version("1"), version("2"), ""},
		{rowPackage, "dpkg tool:all", version("1.9"), version("1.10"), ""},
		{rowPackage, "dpkg tool:all", version("1.10"), version("1.9"), "no higher version"},
		{rowPackage, "dpkg tool:all", version("1"), version("1"), "no higher version"},
		{rowPackage, "dpkg tool:all", version("1"), packageValue(&pkgdb.Package{Version: "2", Status: pkgdb.Held}), "package tool, which is held"},
		{rowPackage, "dpkg tool:all", packageValue(&pkgdb.Package{Version: "1", Status: pkgdb.ConfigFiles}), version("2"), "is installed in version 2"},
		{rowPackage, "dpkg other\x1b:all", version("1"), version("2"), `package other\x1b`},
		{rowPackage, "rpm tool:noarch", version("1"), version("2"), "package tool"},
		{rowPackage, "dpkg tool:all", nil, version("2"), "a new package"},
		{rowPackage, "dpkg tool:all", version("1"), nil, "the removal of package"},
		{rowPackage, "dpkg tool:all", version("1"), []byte("junk"), "cannot be read"},
		{rowIndex, index("stable", "x"), date(1), date(2), ""},
		{rowIndex, index("x", "forky-security"), nil, date(2), ""},
		{rowIndex, index("testing", ""), nil, date(2), "an index of the suite testing"},
		{rowIndex, index("stable", ""), date(2), date(1), "an older index"},
		{rowIndex, index("stable", ""), date(2), []byte("date=never"), "an older index"},
		{rowIndex, index("stable", ""), date(2), nil, "the removal of index"},
		{rowIndex, "stable", nil, date(2), "a new index"},
		{rowAccept, rowAccept, []byte("signed"), []byte("all"), "a change of accept"},
		{rowSelf, "/etc/intact/intact.yaml", []byte("a"), []byte("b"), "a change of self"},
		{rowGap, "\x00root", nil, []byte("permission"), "a new gap"},
		{rowMount, "/usr", []byte("a"), nil, "the removal of mount"},
	} {
		got := rowBeyond(diff.RowChange{Kind: tt.kind, Key: []byte(tt.key), Old: tt.old, New: tt.now}, under)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || strings.ContainsAny(got, "\x00\x1b") {
			t.Errorf("%s %q %q → %q: %q", tt.kind, tt.key, tt.old, tt.now, got)
		}
	}
}

// governed makes a baseline that an operator signed, of a folder with one file.
func governed(t *testing.T) (env *Env, operator seal.Signer, file string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "tree", "file")
	signers := filepath.Join(dir, "signers")
	key := filepath.Join(dir, "ann")
	if _, err := seal.Generate(key, "ann"); err != nil {
		t.Fatal(err)
	}
	operator, err := seal.OpenKey(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	env = &Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: os.Stderr, Version: "test", Now: time.Now, Config: dir + "/intact.yaml", State: dir + "/state", Root: "/", Facts: Nowhere()}
	for name, text := range map[string]string{file: "x", signers: "ann@example " + operator.Key().Line + "\n",
		env.Config: "version: 1\npaths: [{path: " + filepath.Dir(file) + ", attributes: binary}]\nsigning: {trusted_signers: " + signers + "}\n"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Init(context.Background(), env, InitOptions{SignWith: key}); err != nil {
		t.Fatal(err)
	}
	return env, operator, file
}

// Whoever has the host's key signs what it likes under a delegation: what that
// does not cover is told as self-approved, by each who holds the generations
// against each other, whatever was signed on top of it.
func TestOverreach(t *testing.T) {
	for _, tt := range []struct {
		name  string
		apply func(s *session, g *baseline.Generation, file string) ([]diff.RowChange, []*diff.Change)
		want  string // "": covered
	}{
		{"nothing", func(*session, *baseline.Generation, string) ([]diff.RowChange, []*diff.Change) { return nil, nil }, ""},
		{"index", func(*session, *baseline.Generation, string) ([]diff.RowChange, []*diff.Change) {
			return []diff.RowChange{{Kind: rowIndex, Key: []byte("Test\x00stable\x00\x00K"), New: []byte("date=2026-11-27T00:00:00Z")}}, nil
		}, ""},
		{"row", func(*session, *baseline.Generation, string) ([]diff.RowChange, []*diff.Change) {
			return []diff.RowChange{{Kind: rowAccept, Key: []byte(rowAccept), New: []byte("signed")}}, nil
		}, "a new accept accept"},
		{"setuid", func(_ *session, g *baseline.Generation, file string) ([]diff.RowChange, []*diff.Change) {
			e, set, ok := g.Lookup(entry.Path(file))
			if !ok {
				t.Fatal("the file is not in the baseline")
			}
			now := *e
			now.Mode |= 0o4000
			return nil, []*diff.Change{{Kind: diff.Changed, Path: entry.Path(file), Attrs: entry.Mode, Old: e, New: &now, OldSet: set, NewSet: set}}
		}, "is newly setuid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, operator, file := governed(t)
			s, err := open(env)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			host, err := s.store.HostID()
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now().UTC().Truncate(time.Second)
			d := &baseline.Delegation{Created: now, Until: now.Add(time.Hour), Hosts: []string{host}, Packages: []string{"*"}, Suites: []string{"stable"}, Signer: operator.Key().Fingerprint}
			if d.Armor, err = operator.Sign(baseline.DelegationNamespace, bytes.NewReader(d.Text())); err != nil {
				t.Fatal(err)
			}
			by, err := s.approveUnder(d)
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			for i := range 2 { // the second one takes nothing, on top
				g, err := s.store.Open(ctx, 0)
				if err != nil {
					t.Fatal(err)
				}
				var rows []diff.RowChange
				var picks []*diff.Change
				if i == 0 {
					rows, picks = tt.apply(s, g, file)
				}
				if _, err := g.Apply(ctx, s.store, seqOf(picks), rows, s.note("", "x", by)); err != nil {
					t.Fatal(err)
				}
				g.Close()
			}
			why, notes, err := s.overreach(ctx)
			if err != nil || len(notes) != 1 || (len(why) == 0) != (tt.want == "") || !strings.Contains(strings.Join(why, "\n"), tt.want) {
				t.Fatalf("%v: %q %q", err, why, notes)
			}
			var out bytes.Buffer
			env.Stdout = &out
			o, err := Check(ctx, env, CheckOptions{Only: []string{"integrity"}, Output: Output{Format: "json"}, NoState: true})
			if told := strings.Contains(out.String(), `"rule":"trust.self-approved","severity":"high"`); err != nil || told != (tt.want != "") || tt.want != "" && o.Exit() != ExitFindings {
				t.Errorf("%v, %d: %s", err, o.Exit(), out.String())
			}
			if o, err := BaselineVerify(ctx, env, 0); err != nil || (o.Exit() == ExitTrust) != (tt.want != "") {
				t.Errorf("verify: %v, %d", err, o.Exit())
			}
		})
	}
}

func seqOf(list []*diff.Change) iter.Seq2[*diff.Change, error] {
	return func(yield func(*diff.Change, error) bool) {
		for _, c := range list {
			if !yield(c, nil) {
				return
			}
		}
	}
}
