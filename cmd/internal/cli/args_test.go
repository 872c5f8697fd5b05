package cli

import (
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// argsApp is a small program of the same shape as the real one. Every action
// stores what it saw in got.
func argsApp(got *seen) *cli.App {
	action := func(c *cli.Context) error {
		*got = seen{
			command: c.Command.FullName(),
			config:  c.String("config"),
			quiet:   c.Bool("quiet"),
			failOn:  c.String("fail-on"),
			paths:   c.StringSlice("path"),
			workers: c.Int("workers"),
			args:    c.Args().Slice(),
		}
		return nil
	}
	command := func(name string, flags []cli.Flag, sub ...*cli.Command) *cli.Command {
		return &cli.Command{Name: name, Flags: flags, Subcommands: sub, Action: action, HideHelpCommand: true}
	}
	list := command("list", []cli.Flag{&cli.IntFlag{Name: "workers"}})
	list.Aliases = []string{"ls"}
	return &cli.App{
		Name: "intact", Version: "1", HideHelpCommand: true, DisableSliceFlagSeparator: true,
		Writer: io.Discard, ErrWriter: io.Discard, ExitErrHandler: func(*cli.Context, error) {},
		Action: action,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}},
		},
		Commands: []*cli.Command{
			command("check", []cli.Flag{
				&cli.StringFlag{Name: "fail-on"},
				&cli.IntFlag{Name: "workers"},
				&cli.StringSliceFlag{Name: "path"},
				&cli.BoolFlag{Name: "no-state"},
			}),
			command("baseline", nil, list, command("show", nil)),
			command("policy", nil, command("check", nil)),
		},
	}
}

type seen struct {
	command string
	config  string
	quiet   bool
	failOn  string
	paths   []string
	workers int
	args    []string
}

func TestNormalise(t *testing.T) {
	tests := []struct {
		name string
		in   string // words separated by blanks, ␣ is a blank inside a word, ∅ an empty word
		want string
	}{
		{"nothing", "", ""},
		{"command", "check", "check"},
		{"paths", "check /b /a", "check -- /b /a"},
		{"flag-behind-path", "check /etc --fail-on high --config x", "--config=x check --fail-on=high -- /etc"},
		{"flag-between-paths", "check /a --fail-on high /b", "check --fail-on=high -- /a /b"},
		{"global-before", "--config x check /etc", "--config=x check -- /etc"},
		{"global-behind-command", "check --config x", "--config=x check"},
		{"attached", "check --fail-on=high", "check --fail-on=high"},
		{"attached-equals-in-value", "check --config=a=b", "--config=a=b check"},
		{"one-dash", "check -fail-on high -config=x", "--config=x check --fail-on=high"},
		{"alias", "check -c x -q", "-c=x -q check"},
		{"bool-takes-no-word", "check --quiet /etc", "--quiet check -- /etc"},
		{"bool-attached", "check --quiet=false", "--quiet=false check"},
		{"repeated", "check --path /a /x --path /b --path /a", "check --path=/a --path=/b --path=/a -- /x"},
		{"comma", "check --path /a,b --path=/c,d /e,f", "check --path=/a,b --path=/c,d -- /e,f"},
		{"dashes-end-flags", "check --quiet -- --config x", "--quiet check -- --config x"},
		{"dashes-then-command", "-- check --config", "check -- --config"},
		{"second-dashes", "check -- a -- b", "check -- a -- b"},
		{"only-dashes", "check --", "check"},
		{"single-dash", "check - --quiet", "--quiet check -- -"},
		{"single-dash-value", "check --config -", "--config=- check"},
		{"dash-value-attached", "check --config=-x", "--config=-x check"},
		{"value-like-command", "--config check check check", "--config=check check -- check"},
		{"nested", "baseline list --workers 2 --config x 3", "--config=x baseline list --workers=2 -- 3"},
		{"nested-alias", "baseline ls --workers 2", "baseline ls --workers=2"},
		{"nested-global-between", "baseline --quiet list", "--quiet baseline list"},
		{"same-name-nested", "policy check f", "policy check -- f"},
		{"command-word-as-path", "check baseline list", "check -- baseline list"},
		{"unknown-command", "chekc /etc", "-- chekc /etc"},
		{"unknown-command-then-known", "x check", "-- x check"},
		{"unknown-subcommand", "baseline lits list", "baseline -- lits list"},
		{"empty-positional", "check ∅ /a", "check -- ∅ /a"},
		{"help", "check --help /a", "check --help -- /a"},
		{"help-global", "--help check", "--help check"},
		{"version", "--version", "--version"},
		{"version-behind-command", "check --version", "--version check"},
		{"blank-in-value", "check --path a␣b c␣d", "check --path=a␣b -- c␣d"},
	}
	table := TableOf(argsApp(new(seen)))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Normalise(words(tt.in), table)
			if want := words(tt.want); err != nil || !slices.Equal(got, want) {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestNormaliseRefuses(t *testing.T) {
	tests := []struct {
		name, in, want string
	}{
		{"unknown", "check --fial-on high", "bad arguments: check: unknown flag --fial-on"},
		{"unknown-global", "--nope", "bad arguments: unknown flag --nope"},
		{"unknown-behind-path", "check /etc --nope", "bad arguments: check: unknown flag --nope"},
		{"unknown-short", "check -z", "bad arguments: check: unknown flag -z"},
		{"unknown-attached", "check --nope=1", "bad arguments: check: unknown flag --nope"},
		{"bundled-short", "check -qc", "bad arguments: check: unknown flag --qc"},
		{"negative-number", "check -5", "bad arguments: check: unknown flag -5"},
		{"of-another-command", "baseline list --fail-on high", "bad arguments: baseline list: unknown flag --fail-on"},
		{"before-its-command", "--fail-on high check", `bad arguments: flag --fail-on belongs to "check" and must stand behind it`},
		{"before-its-subcommand", "baseline --workers 2 ls", `bad arguments: baseline: flag --workers belongs to "ls" and must stand behind it`},
		{"not-past-dashes", "--fail-on high -- check", "bad arguments: unknown flag --fail-on"},

		{"value-missing", "check --config", "bad arguments: check: flag --config needs a value"},
		{"value-missing-short", "check -c", "bad arguments: check: flag -c needs a value"},
		{"value-is-flag", "check --config --quiet", "bad arguments: check: flag --config needs a value (one that begins with a dash is written --config=--quiet)"},
		{"value-is-dashes", "check --config -- x", "bad arguments: check: flag --config needs a value (one that begins with a dash is written --config=--)"},
		{"value-empty", "check --config ∅", "bad arguments: check: flag --config has an empty value"},
		{"value-empty-attached", "check --config=", "bad arguments: check: flag --config has an empty value"},
		{"three-dashes", "check ---config x", `bad arguments: check: malformed flag "---config"`},
		{"no-name", "check --=x", `bad arguments: check: malformed flag "--=x"`},
		{"control-bytes", "check --a\x1b[31m\n", `bad arguments: check: unknown flag --"a\x1b[31m\n"`},
	}
	table := TableOf(argsApp(new(seen)))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Normalise(words(tt.in), table)
			if !errors.Is(err, ErrArguments) {
				t.Fatalf("got %q, %v, want an error", got, err)
			}
			if err.Error() != tt.want {
				t.Errorf("got error %q, want %q", err, tt.want)
			}
		})
	}
}

func TestNormaliseNothing(t *testing.T) {
	if got, err := Normalise(nil, FlagTable{}); got != nil || err != nil {
		t.Errorf("got %q, %v, want nothing", got, err)
	}
}

// The library, given the normalised line, must see what the user meant.
func TestNormaliseThroughApp(t *testing.T) {
	tests := []struct {
		name, in string
		want     seen
	}{
		{"all", "check /e,tc --path /a,b --quiet --path /c -c x --workers 3 /usr --fail-on high", seen{
			command: "check", config: "x", quiet: true, failOn: "high", paths: []string{"/a,b", "/c"}, workers: 3,
			args: []string{"/e,tc", "/usr"}}},
		{"last-config-wins", "--config a check --config b", seen{command: "check", config: "b"}},
		{"nested", "baseline list 7 --workers 2 --quiet", seen{command: "list", quiet: true, workers: 2, args: []string{"7"}}},
		{"dashed-path", "check -- --quiet -x", seen{command: "check", args: []string{"--quiet", "-x"}}},
		{"path-called-help", "check help", seen{command: "check", args: []string{"help"}}},
		{"path-called-as-flag", "check path quiet", seen{command: "check", args: []string{"path", "quiet"}}},
		{"unknown-command", "bogus --quiet", seen{command: "intact", quiet: true, args: []string{"bogus"}}},
		{"unknown-subcommand", "baseline bogus", seen{command: "baseline", args: []string{"bogus"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got seen
			app := argsApp(&got)
			args, err := Normalise(words(tt.in), TableOf(app))
			if err != nil {
				t.Fatal(err)
			}
			if err := app.Run(args); err != nil {
				t.Fatal(err)
			}
			got.args = slices.Clip(got.args)
			if len(got.args) == 0 {
				got.args = nil
			}
			if len(got.paths) == 0 {
				got.paths = nil
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// However flags are strewn among the positionals, the result is the same.
func TestNormaliseOrderDoesNotMatter(t *testing.T) {
	table := TableOf(argsApp(new(seen)))
	flags := [][]string{{"--fail-on", "high"}, {"--path=/x,y"}, {"--quiet"}, {"-c", "f"}, {"--path", "a b"}}
	paths := []string{"/etc", "check", "-", "list", "", "/a,b"}
	want, err := Normalise(slices.Concat([]string{"intact", "check"}, slices.Concat(flags...), paths), table)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		f, p := flags, paths
		in := []string{"intact", "check"}
		for len(f)+len(p) > 0 {
			if r.IntN(len(f)+len(p)) < len(f) {
				in, f = append(in, f[0]...), f[1:]
			} else {
				in, p = append(in, p[0]), p[1:]
			}
		}
		if got, err := Normalise(in, table); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestTableOfLeavesTheAppAlone(t *testing.T) {
	app := argsApp(new(seen))
	n := len(app.Flags)
	a, b := TableOf(app), TableOf(app)
	if !reflect.DeepEqual(a, b) || len(app.Flags) != n {
		t.Error("reading the table changed the app")
	}
	app.HideHelp, app.HideVersion = true, true
	if c := TableOf(app); len(c.Flags) != 4 {
		t.Errorf("got flags %v, want config, c, quiet, q", c.Flags)
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{
		"", "check", "check /etc --fail-on high --config x", "--config x check -- --y", "baseline list -",
		"check --path /a,b --path=", "--", "---", "-", "-=", "policy check --quiet=\xff", "check --config --",
	} {
		f.Add(s)
	}
	table := TableOf(argsApp(new(seen)))
	f.Fuzz(func(t *testing.T, line string) {
		in := append([]string{"intact"}, strings.Split(line, " ")...)
		before := slices.Clone(in)
		got, err := Normalise(in, table)
		if !slices.Equal(in, before) {
			t.Fatalf("%q: the input was changed", before)
		}
		if err != nil {
			if !errors.Is(err, ErrArguments) || strings.ContainsAny(err.Error(), "\x1b\n\x00") {
				t.Fatalf("%q: got error %q", in, err)
			}
			return
		}
		if again, err := Normalise(got, table); err != nil || !slices.Equal(again, got) {
			t.Fatalf("%q: once %q, twice %q, %v", in, got, again, err)
		}
		checkOrder(t, in, got)
	})
}

// checkOrder finds every positional of the result in the input, in order: those
// of the input are all words that do not begin with a dash and are no value.
func checkOrder(t *testing.T, in, got []string) {
	t.Helper()
	rest := in
	if i := slices.Index(got, "--"); i >= 0 {
		for _, p := range got[i+1:] {
			j := slices.Index(rest, p)
			if j < 0 {
				t.Fatalf("%q: positional %q of %q is not in order", in, p, got)
			}
			rest = rest[j+1:]
		}
	}
	// Nothing is lost or made up: the words hold the same bytes as before, but
	// for dashes, "=" and the blank in front of a value.
	sorted := func(args []string) string {
		b := []byte(strings.NewReplacer("-", "", "=", "").Replace(strings.Join(args, "")))
		slices.Sort(b)
		return string(b)
	}
	if sorted(in) != sorted(got) {
		t.Fatalf("%q became %q", in, got)
	}
}

// words splits a command line of a table and puts the program in front.
func words(s string) []string {
	out := []string{"intact"}
	for _, w := range strings.Split(s, " ") {
		if s == "" {
			break
		}
		out = append(out, strings.NewReplacer("␣", " ", "∅", "").Replace(w))
	}
	return out
}
