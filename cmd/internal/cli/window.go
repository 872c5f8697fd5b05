package cli

import (
	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) windowCommand() *cli.Command {
	with := func(name, text, why string, run func(*app.Env, app.WindowOptions) (app.Outcome, error), more ...cli.Flag) *cli.Command {
		signer := &cli.StringFlag{Name: "sign-with", Usage: "sign with an operator's `KEY`: a file, agent, or agent:FINGERPRINT (default: the host's key for reports)"}
		return &cli.Command{
			Name: name, Usage: text, Flags: append(more, &cli.StringFlag{Name: "reason", Usage: why}, signer),
			Action: p.action(func(c *cli.Context) (app.Outcome, error) {
				if err := noArgs(c); err != nil {
					return app.Outcome{}, err
				}
				return run(&p.env, app.WindowOptions{Until: c.String("until"), Reason: c.String("reason"), SignWith: c.String("sign-with")})
			}),
		}
	}
	return &cli.Command{Name: "window", Usage: "maintenance windows: what changes in one is marked, and nothing is accepted", Subcommands: []*cli.Command{
		with("open", "from now until a time", "why: mandatory", app.WindowOpen, &cli.StringFlag{Name: "until", Usage: "the end, at most 7 days from now: a `TIME`, or how long as 4h: mandatory"}),
		{Name: "list", Usage: "all that are kept", Action: p.plain(app.WindowList)},
		with("close", "end the one that is open", "why", app.WindowClose),
	}}
}
