package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

// Other exit codes than those of every command, where a command has them.
const (
	exitPosture = `Of this command: 0 nothing fails; 1 a rule fails for a subject that is not waived; 2 a file of
rules, of waivers or of the configuration is wrong; 3 a rule under require: has no verdict.`
	exitRules = `Of rules test: 0 all tests pass; 1 a test fails; 2 a file is wrong. It looks at no host.`
	exitTable = `Of this command: 0 the table is complete; 3 something of it could not be read.`
)

func (p *program) postureCommand() *cli.Command {
	return &cli.Command{
		Name: "posture", Usage: "judge how the host is set up, by the rules alone, without a baseline", Description: exitPosture,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "set", Usage: "only these `SET`s of rules: ssh, net, svc, upd, …"},
			&cli.StringFlag{Name: "explain", Usage: "all about one `RULE`: why, fix, references, facts and evidence"},
			&cli.StringFlag{Name: "profile", Usage: "server or seed-strict, in the place of the configured `PROFILE`"},
			formatFlag,
		},
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			return app.Posture(p.ctx, &p.env, app.PostureOptions{Sets: sets(c.StringSlice("set")), Explain: c.String("explain"), Profile: c.String("profile"), Format: c.String("format")})
		}),
	}
}

var formatFlag = &cli.StringFlag{Name: "format", Usage: "text or json", Value: "text"}

func (p *program) servicesCommand() *cli.Command {
	return &cli.Command{
		Name: "services", Usage: "what listens on this host, whose it is, and whether it should", Description: exitTable,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "propose", Usage: "print a block services: for the configuration, of what listens now"}, formatFlag,
		},
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			return app.Services(p.ctx, &p.env, app.ServicesOptions{Propose: c.Bool("propose"), Format: c.String("format")})
		}),
	}
}

func (p *program) rulesCommand() *cli.Command {
	return &cli.Command{Name: "rules", Usage: "look at the rules of posture, and test those of a file", Description: exitRules, Subcommands: []*cli.Command{
		{Name: "list", Usage: "all rules, and whether they are in force", Action: p.plain(app.RulesList)},
		{Name: "show", Usage: "all of one rule, and where it stands", ArgsUsage: "RULE", Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if c.Args().Len() != 1 {
				return app.Outcome{}, &usage{errors.New("rules show needs one rule")}
			}
			return app.RulesShow(&p.env, c.Args().First())
		})},
		{Name: "test", Usage: "run the tests that stand in the files", ArgsUsage: "FILE…", Description: exitRules, Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if !c.Args().Present() {
				return app.Outcome{}, &usage{errors.New("rules test needs a file")}
			}
			return app.RulesTest(p.ctx, &p.env, c.Args().Slice())
		})},
	}}
}
