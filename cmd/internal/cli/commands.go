package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

// noArgs refuses positional arguments.
func noArgs(c *cli.Context) error {
	if c.Args().Present() {
		return &usage{fmt.Errorf("%s takes no arguments, got %q", c.Command.Name, c.Args().First())}
	}
	return nil
}

func (p *program) commands() []*cli.Command {
	return []*cli.Command{
		p.initCommand(), p.checkCommand(), p.watchCommand(), p.verifyCommand(), p.acceptCommand(), p.explainCommand(), p.policyCommand(), p.baselineCommand(), p.reportCommand(),
		p.historyCommand(), p.keyCommand(), p.hostCommand(), p.doctorCommand(), p.evidenceCommand(), p.timelineCommand(), p.expectCommand(), p.packagesCommand(), p.windowCommand(),
		p.postureCommand(), p.servicesCommand(), p.rulesCommand(),
		{
			Name: "scan-mount", Hidden: true, Usage: "scan one mount for a parent process (internal)",
			Action: p.action(func(c *cli.Context) (app.Outcome, error) { return app.ScanMount(p.ctx, &p.env) }),
		},
	}
}

var signWith = &cli.StringFlag{Name: "sign-with", Usage: "sign with an operator's `KEY`: a file, agent, or agent:FINGERPRINT (default: the host's own key)"}

var outputFlags = []cli.Flag{
	&cli.StringFlag{Name: "format", Usage: "text or json", Value: "text"},
	&cli.StringFlag{Name: "output", Usage: "write the report to `FILE`"},
}

func output(c *cli.Context) app.Output {
	return app.Output{Format: c.String("format"), File: c.String("output")}
}

func (p *program) initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "scan and write the first generation of a baseline", ArgsUsage: "[PATH…]",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "force", Usage: "start over from what is there now; numbering goes on"},
			&cli.StringFlag{Name: "reason", Usage: "why, for the statement"}, signWith,
			&cli.StringFlag{Name: "compare", Usage: "say in what the new baseline differs from the export in `FILE`, of a golden image or a sister"},
		}, outputFlags...),
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			return app.Init(p.ctx, &p.env, app.InitOptions{Paths: c.Args().Slice(), Force: c.Bool("force"), Reason: c.String("reason"), SignWith: c.String("sign-with"), Compare: c.String("compare"), Output: output(c)})
		}),
	}
}

func (p *program) checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "scan, compare with the baseline, judge and report", ArgsUsage: "[PATH…]",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "fail-on", Usage: "least `SEVERITY` that exits 1: info, low, medium, high, critical (default: low)"},
			&cli.StringSliceFlag{Name: "only", Usage: "only these rule `SET`s: integrity, mounts, packages, policy, trust"},
			&cli.StringSliceFlag{Name: "skip", Usage: "not these rule `SET`s: the report is partial then"},
			&cli.StringFlag{Name: "expect-root", Usage: "the baseline must have this root `DIGEST`, or one that begins so, or that stands in this file"},
			&cli.StringFlag{Name: "baseline", Usage: "compare with the export in `FILE`, not with the baseline of the state folder"},
			&cli.StringSliceFlag{Name: "leave-out", Usage: "do not compare these `ATTRIBUTES`, such as ctime,inode,device, which a copy of the files does not have"},
			&cli.BoolFlag{Name: "no-state", Usage: "write nothing to the state folder"},
			&cli.BoolFlag{Name: "quick", Usage: "leave files unread whose size, times and inode are as in the baseline, but for a random share; the verdict says so"},
			&cli.StringFlag{Name: "second-look", Usage: "read a random `SHARE` of the unchanged files, as 1% or a number of them, past the page cache too: does the disk hold what the system shows?"},
			waitFlag,
		}, outputFlags...),
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			wait, err := waited(c)
			if err != nil {
				return app.Outcome{}, err
			}
			return app.Check(p.ctx, &p.env, app.CheckOptions{
				Paths: c.Args().Slice(), FailOn: c.String("fail-on"), Only: sets(c.StringSlice("only")), Skip: sets(c.StringSlice("skip")),
				ExpectRoot: c.String("expect-root"), Baseline: c.String("baseline"), NoState: c.Bool("no-state"), Quick: c.Bool("quick"),
				LeaveOut: sets(c.StringSlice("leave-out")), SecondLook: c.String("second-look"), Wait: wait, Output: output(c),
			})
		}),
	}
}

var waitFlag = &cli.DurationFlag{Name: "wait", Usage: "wait up to `TIME` for a running transaction of dpkg or rpm; 0: not at all (default: 15m, or as configured)", DefaultText: "configured"}

// waited reads waitFlag, nil where it is not given.
func waited(c *cli.Context) (*time.Duration, error) {
	d := c.Duration(waitFlag.Name)
	switch {
	case !c.IsSet(waitFlag.Name):
		return nil, nil
	case d < 0 || d > app.MaxWait:
		return nil, &usage{fmt.Errorf("--wait: want 0s to %v, not %v", app.MaxWait, d)}
	}
	return &d, nil
}

// sets splits the names of rule sets or attributes, which hold no commas.
func sets(list []string) (r []string) {
	for _, v := range list {
		r = append(r, strings.Split(v, ",")...)
	}
	return r
}

func (p *program) explainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "say why a path is checked, or not", ArgsUsage: "PATH…",
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if !c.Args().Present() {
				return app.Outcome{}, &usage{errors.New("explain needs a path")}
			}
			return app.Explain(&p.env, c.Args().Slice())
		}),
	}
}

func (p *program) policyCommand() *cli.Command {
	simple := func(name, text string, run func(*app.Env) (app.Outcome, error)) *cli.Command {
		return &cli.Command{Name: name, Usage: text, Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			return run(&p.env)
		})}
	}
	return &cli.Command{Name: "policy", Usage: "check, show or adopt the policy", Subcommands: []*cli.Command{
		simple("check", "read the configuration and warn about what cannot work", app.PolicyCheck),
		simple("show", "print the configured policy, every attribute spelled out", app.PolicyShow),
		{
			Name: "adopt", Usage: "bring the configured policy into the baseline, if nothing else changed",
			Flags: append([]cli.Flag{&cli.StringFlag{Name: "reason", Usage: "why: mandatory"}, signWith}, outputFlags...),
			Action: p.action(func(c *cli.Context) (app.Outcome, error) {
				if err := noArgs(c); err != nil {
					return app.Outcome{}, err
				}
				return app.Adopt(p.ctx, &p.env, app.AdoptOptions{Reason: c.String("reason"), SignWith: c.String("sign-with"), Output: output(c)})
			}),
		},
	}}
}

// generation reads an optional generation number.
func generation(c *cli.Context) (uint64, error) {
	switch c.Args().Len() {
	case 0:
		return 0, nil
	case 1:
		n, err := strconv.ParseUint(c.Args().First(), 10, 64)
		if err != nil || n == 0 {
			return 0, &usage{fmt.Errorf("a generation is a number from 1, not %q", c.Args().First())}
		}
		return n, nil
	}
	return 0, &usage{errors.New("one generation at most")}
}

func (p *program) baselineCommand() *cli.Command {
	one := func(name, text string, flags []cli.Flag, run func(c *cli.Context, gen uint64) (app.Outcome, error)) *cli.Command {
		return &cli.Command{Name: name, Usage: text, ArgsUsage: "[GENERATION]", Flags: flags, Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			gen, err := generation(c)
			if err != nil {
				return app.Outcome{}, err
			}
			return run(c, gen)
		})}
	}
	return &cli.Command{Name: "baseline", Usage: "look at what was accepted", Subcommands: []*cli.Command{
		{Name: "list", Usage: "all generations", Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			return app.BaselineList(&p.env)
		})},
		one("show", "the statement of a generation (default: the newest)", nil, func(_ *cli.Context, gen uint64) (app.Outcome, error) {
			return app.BaselineShow(p.ctx, &p.env, gen)
		}),
		p.diffCommand(), p.logCommand(),
		{Name: "ages", Usage: "when the content was last read, which check --quick goes by", Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			return app.BaselineAges(p.ctx, &p.env)
		})},
		one("verify", "read every byte of a generation, and the chain of all statements", nil, func(_ *cli.Context, gen uint64) (app.Outcome, error) {
			return app.BaselineVerify(p.ctx, &p.env, gen)
		}),
		one("export", "everything in a generation, as sorted JSON Lines", []cli.Flag{&cli.StringFlag{Name: "output", Usage: "write to `FILE`"}}, func(c *cli.Context, gen uint64) (app.Outcome, error) {
			return app.BaselineExport(p.ctx, &p.env, gen, c.String("output"))
		}),
	}}
}

func (p *program) reportCommand() *cli.Command {
	return &cli.Command{Name: "report", Usage: "look at past reports", Subcommands: []*cli.Command{
		{Name: "list", Usage: "all reports that are kept", Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			return app.ReportList(p.ctx, &p.env)
		})},
		{Name: "show", Usage: "one report (default: the last)", ArgsUsage: "[ID]", Flags: outputFlags, Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if c.Args().Len() > 1 {
				return app.Outcome{}, &usage{errors.New("one report at most")}
			}
			return app.ReportShow(p.ctx, &p.env, c.Args().First(), output(c))
		})},
		{Name: "verify", Usage: "all that are kept, each signature and the chain; or exported FILEs by themselves", ArgsUsage: "[FILE…]", Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if c.Args().Present() {
				return app.ReportVerifyFiles(p.ctx, &p.env, c.Args().Slice())
			}
			return app.ReportVerify(p.ctx, &p.env)
		})},
		{Name: "export", Usage: "one report (default: the last) and its signature", ArgsUsage: "[ID]",
			Flags: []cli.Flag{&cli.StringFlag{Name: "output", Usage: "write to `FILE` and FILE.sig"}}, Action: p.action(func(c *cli.Context) (app.Outcome, error) {
				if c.Args().Len() > 1 {
					return app.Outcome{}, &usage{errors.New("one report at most")}
				}
				return app.ReportExport(p.ctx, &p.env, c.Args().First(), c.String("output"))
			})},
	}}
}

// parseBytes reads a number of bytes with an optional k, M or G, powers of
// 1,000.
func parseBytes(s string) (int64, error) {
	unit := int64(1)
	if i := strings.IndexAny(s, "kMG"); i >= 0 && i == len(s)-1 {
		unit = map[byte]int64{'k': 1e3, 'M': 1e6, 'G': 1e9}[s[i]]
		s = s[:i]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("want a positive number with an optional k, M or G, not %q", s)
	}
	return n * unit, nil
}
