package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) delegateCommand() *cli.Command {
	return &cli.Command{
		Name: "delegate", Usage: "where the operator's key is: sign which upgrades hosts may accept by themselves; on a host: --apply, --show",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "packages", Usage: "packages whose name matches `GLOB`, as in a shell"},
			&cli.StringSliceFlag{Name: "suites", Usage: "from releases whose Suite or Codename is `SUITE`"},
			&cli.StringSliceFlag{Name: "host", Usage: "on the host with this `ID`, see intact host show"},
			&cli.StringFlag{Name: "until", Usage: "until `TIME`, or for so long as 90d; 366 days at most"},
			&cli.StringFlag{Name: "reason", Usage: "why"},
			&cli.StringFlag{Name: "sign-with", Usage: "sign with an operator's `KEY`: a file, agent, or agent:FINGERPRINT"},
			&cli.StringFlag{Name: "output", Usage: "write the delegation to `FILE`"},
			&cli.StringFlag{Name: "apply", Usage: "on the host: put the delegation in `FILE` in force"},
			&cli.BoolFlag{Name: "show", Usage: "on the host: the delegation in force, and whether it counts"},
		},
		Action: p.action(p.delegate),
	}
}

func (p *program) delegate(c *cli.Context) (app.Outcome, error) {
	if err := noArgs(c); err != nil {
		return app.Outcome{}, err
	}
	apply, show := c.IsSet("apply"), c.Bool("show")
	if apply && show {
		return app.Outcome{}, &usage{errors.New("packages delegate: --apply and --show exclude each other")}
	}
	for _, name := range []string{"packages", "suites", "host", "until", "reason", "sign-with", "output"} {
		if c.IsSet(name) && (apply || show) {
			return app.Outcome{}, &usage{errors.New("packages delegate: --" + name + " does not go with --apply or --show")}
		}
	}
	switch {
	case apply:
		return app.DelegationApply(&p.env, c.String("apply"))
	case show:
		return app.DelegationShow(&p.env)
	}
	return app.PackagesDelegate(&p.env, app.DelegateOptions{
		Packages: c.StringSlice("packages"), Suites: c.StringSlice("suites"), Hosts: c.StringSlice("host"), Until: c.String("until"),
		Reason: c.String("reason"), SignWith: c.String("sign-with"), Output: c.String("output"),
	})
}
