package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) historyCommand() *cli.Command {
	return &cli.Command{
		Name: "history", Usage: "when a path changed, from what to what, and in which report", ArgsUsage: "PATH…",
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if !c.Args().Present() {
				return app.Outcome{}, &usage{errors.New("history needs a path")}
			}
			return app.History(p.ctx, &p.env, c.Args().Slice())
		}),
	}
}

func (p *program) keyCommand() *cli.Command {
	return &cli.Command{Name: "key", Usage: "the host's keys", Subcommands: []*cli.Command{
		{Name: "show", Usage: "the public keys, as lines for a list of allowed signers", Action: p.plain(app.KeyShow)},
		{
			Name: "generate", Usage: "make the keys that are missing",
			Flags: []cli.Flag{&cli.StringFlag{Name: "replace", Usage: "set the key `ROLE` aside, baseline or report, and make a new one"}},
			Action: p.action(func(c *cli.Context) (app.Outcome, error) {
				if err := noArgs(c); err != nil {
					return app.Outcome{}, err
				}
				return app.KeyGenerate(&p.env, c.String("replace"))
			}),
		},
	}}
}

func (p *program) hostCommand() *cli.Command {
	return &cli.Command{Name: "host", Usage: "whose state folder this is", Subcommands: []*cli.Command{
		{Name: "show", Usage: "the host's id and epoch", Action: p.plain(app.HostShow)},
		{Name: "new-id", Usage: "a clone becomes a host of its own: baseline, reports and keys are set aside", Action: p.plain(app.HostNewID)},
		{
			Name: "restored", Usage: "the host goes on as itself on another machine, in a new epoch",
			Flags: []cli.Flag{&cli.StringFlag{Name: "reason", Usage: "why: mandatory"}},
			Action: p.action(func(c *cli.Context) (app.Outcome, error) {
				if err := noArgs(c); err != nil {
					return app.Outcome{}, err
				}
				return app.HostRestored(&p.env, c.String("reason"))
			}),
		},
	}}
}

// plain is the action of a command without flags and arguments.
func (p *program) plain(run func(*app.Env) (app.Outcome, error)) cli.ActionFunc {
	return p.action(func(c *cli.Context) (app.Outcome, error) {
		if err := noArgs(c); err != nil {
			return app.Outcome{}, err
		}
		return run(&p.env)
	})
}
