// Package cli turns a command line into calls of package app and their
// outcomes into exit codes. It is the only owner of urfave/cli.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
	"intact/scanner/digest"
)

// exitHelp stands in the help of every command.
const exitHelp = `Exit codes:
   0    clean
   1    findings at or above --fail-on that are not accepted
   2    usage or configuration: what the user must edit
   3    could not be completed: new gaps, lock held, full disk, internal error
   4    no baseline, or one that cannot be trusted
   130  interrupted
   Of several, the first of 4, 2, 130, 1, 3 counts; the report carries all.`

// Set by the linker: see the Makefile. Without them the module's build
// information serves.
var version, commit string

// program is one run of the command line.
type program struct {
	ctx     context.Context
	env     app.Env
	outcome app.Outcome
	hook    bool // nothing makes it fail
	helped  bool // help or version was asked for by flag
}

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	return MainOf(ctx, Known{}, args, stdin, stdout, stderr)
}

// Known is what tests tell the program that it finds out by itself otherwise.
type Known struct {
	Now  func() time.Time // the clock: what a quick check does depends on how long ago something was
	Tool digest.Digest    // of the binary, which takes time to read; zero: it is read

	Prepare func(*app.Env) // changes what the commands run with
}

// MainOf is Main for tests.
func MainOf(ctx context.Context, known Known, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	now := known.Now
	if now == nil {
		now = time.Now
	}
	p := &program{ctx: ctx}
	defer func() {
		if r := recover(); r != nil {
			code = p.failed(fmt.Errorf("internal error: %v\n%s", r, debug.Stack()), app.ExitIncomplete)
		}
	}()
	p.env = app.Env{Stdin: stdin, Stdout: stdout, Stderr: stderr, Now: now, Version: versionText(), Tool: known.Tool, Args: args}
	if known.Prepare != nil {
		known.Prepare(&p.env)
	}
	a := p.app()
	table := TableOf(a)
	p.hook = isHook(args, table)
	line, err := Normalise(args, table)
	if err != nil {
		return p.failed(err, app.ExitUsage)
	}
	if p.helped = asksHelp(line); p.helped {
		// The library would take a path for the topic of the help.
		if i := slices.Index(line, "--"); i >= 0 {
			line = line[:i]
		}
	}
	err = a.RunContext(ctx, line)
	if err != nil {
		o := p.outcome
		if ue, ok := errors.AsType[*usage](err); ok {
			return p.failed(ue.err, app.ExitUsage)
		}
		for _, c := range app.Fail(err).Exits() {
			o.Add(c)
		}
		return p.failed(err, o.Exit())
	}
	if p.helped {
		return app.ExitClean
	}
	return p.outcome.Exit()
}

// isHook reports whether a command line is a hook of a package manager: a flag
// that an older or newer snippet has must not break an upgrade. Global flags may
// stand in front; where one takes its value from the next word, that is passed over.
func isHook(args []string, t FlagTable) bool {
	want := []string{"packages", "hook"}
	for i := 1; i < len(args) && len(want) > 0; i++ {
		w := args[i]
		switch name, _, attached := strings.Cut(strings.TrimLeft(w, "-"), "="); {
		case strings.HasPrefix(w, "-"):
			if t.Flags[name] && !attached {
				i++
			}
		case w != want[0]:
			return false
		default:
			want = want[1:]
		}
	}
	return len(want) == 0
}

// usage is an error of the command line itself.
type usage struct{ err error }

func (u *usage) Error() string { return u.err.Error() }

func (p *program) failed(err error, code int) int {
	p.env.TellError(err)
	if p.hook {
		return app.ExitClean
	}
	return code
}

func asksHelp(line []string) bool {
	for _, w := range line[1:] {
		if w == "--" {
			return false
		}
		if slices.Contains([]string{"--help", "-h", "--version", "-v", "--help=true", "--version=true"}, w) {
			return true
		}
	}
	return false
}

func versionText() string {
	v, c := version, commit
	if b, ok := debug.ReadBuildInfo(); ok {
		if v == "" && b.Main.Version != "(devel)" {
			v = b.Main.Version
		}
		for _, s := range b.Settings {
			if c == "" && s.Key == "vcs.revision" {
				c = s.Value
			}
		}
	}
	return fmt.Sprintf("%s (commit %s, %s)", cmp.Or(v, "0.1.0-dev"), cmp.Or(c, "unknown"), runtime.Version())
}

func (p *program) app() *cli.App {
	onUsage := func(_ *cli.Context, err error, _ bool) error { return &usage{err} }
	a := &cli.App{
		Name: "intact", Usage: "is this host still what we accepted?", Version: p.env.Version,
		Flags: p.globals(), Commands: p.commands(),
		Writer: p.env.Stdout, ErrWriter: p.env.Stderr,
		HideHelpCommand: true, DisableSliceFlagSeparator: true, UseShortOptionHandling: false,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   onUsage,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return &usage{fmt.Errorf("there is no command %q: see intact --help", c.Args().First())}
			}
			_ = cli.ShowAppHelp(c)
			return &usage{errors.New("a command is needed")}
		},
		CustomAppHelpTemplate: cli.AppHelpTemplate + "\n" + exitHelp + "\n",
	}
	prepare(a.Commands, onUsage)
	return a
}

// prepare gives every command the same guards.
func prepare(list []*cli.Command, onUsage cli.OnUsageErrorFunc) {
	for _, c := range list {
		c.HideHelpCommand = true
		c.OnUsageError = onUsage
		c.CustomHelpTemplate = cli.CommandHelpTemplate + "\n" + exitHelp + "\n"
		if len(c.Subcommands) > 0 {
			c.CustomHelpTemplate = cli.SubcommandHelpTemplate + "\n" + exitHelp + "\n"
			name := c.Name
			c.Action = func(x *cli.Context) error {
				return &usage{fmt.Errorf("%s needs one of its commands: see intact %s --help", name, name)}
			}
		}
		prepare(c.Subcommands, onUsage)
	}
}

func (p *program) globals() []cli.Flag {
	e := &p.env
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "read `FILE` instead of the default configuration", Destination: &e.Config},
		&cli.StringFlag{Name: "state", Usage: "keep baseline and reports in `DIR`", Destination: &e.State},
		&cli.StringFlag{Name: "root", Usage: "treat `DIR` as /: a mounted image or disk", Value: "/", Destination: &e.Root},
		&cli.StringFlag{Name: "trusted-signers", Usage: "whose signatures count, in the allowed_signers format of ssh-keygen: `FILE`", Destination: &e.TrustedSigners},
		&cli.StringFlag{Name: "revoked-keys", Usage: "signatures that never count: a KRL or public keys in `FILE`", Destination: &e.RevokedKeys},
		&cli.BoolFlag{Name: "quiet", Usage: "print nothing when the exit code is 0", Destination: &e.Quiet},
		&cli.BoolFlag{Name: "verbose", Usage: "list everything, fold nothing", Destination: &e.Verbose},
		&cli.BoolFlag{Name: "no-color", Usage: "plain text on a terminal too (also NO_COLOR)"},
		&cli.StringFlag{Name: "log-format", Usage: "messages on stderr as text or json", Value: "text"},
		&cli.IntFlag{Name: "workers", Usage: "scan with `N` workers; 0: chosen from the machine", Destination: &e.Workers},
		&cli.StringFlag{Name: "max-rate", Usage: "read at most `BYTES` of content a second (k, M, G)"},
		&cli.BoolFlag{Name: "nice", Usage: "lowest CPU and idle I/O priority", Destination: &e.Nice},
		&cli.DurationFlag{Name: "hang-timeout", Usage: "give up a file system that could hang after `TIME` of silence; 0s: one minute", Destination: &e.Abandoned},
	}
}

// action wraps a command: it settles the environment first and keeps the
// outcome.
func (p *program) action(run func(c *cli.Context) (app.Outcome, error)) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := p.settle(c); err != nil {
			return &usage{err}
		}
		var err error
		p.outcome, err = run(c)
		return err
	}
}

func (p *program) settle(c *cli.Context) error {
	e := &p.env
	switch c.String("log-format") {
	case "text":
	case "json":
		e.JSONLog = true
	default:
		return fmt.Errorf("--log-format: want text or json, not %q", c.String("log-format"))
	}
	if e.Quiet && e.Verbose {
		return errors.New("--quiet and --verbose exclude each other")
	}
	if e.Workers < 0 || e.Workers > 256 {
		return errors.New("--workers: want 1 to 256")
	}
	if v := c.String("max-rate"); v != "" {
		n, err := parseBytes(v)
		if err != nil {
			return fmt.Errorf("--max-rate: %w", err)
		}
		e.MaxRate = n
	}
	e.Progress = app.Terminal(e.Stderr)
	e.Color = app.Terminal(e.Stdout) && !c.Bool("no-color") && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return nil
}
