package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) expectCommand() *cli.Command {
	return &cli.Command{
		Name: "expect", Usage: "take manifests of what a build made, signed elsewhere: they explain the changes that it makes", ArgsUsage: "[FILE…]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "list", Usage: "those that were taken, and whether they still count"},
			&cli.StringFlag{Name: "forget", Usage: "the one with this `SHA-256`, or the beginning of it, counts no more"},
			&cli.StringFlag{Name: "make", Usage: "write a manifest of `DIR`; needs no baseline and no configuration"},
			&cli.StringFlag{Name: "prefix", Usage: "with --make: the `DIR` that it will be installed as (default: where it is)"},
			&cli.StringFlag{Name: "label", Usage: "with --make: the `NAME` that reports give as the source (default: the last part of the prefix)"},
			&cli.StringFlag{Name: "owner", Usage: "with --make: `UID:GID` of everything (default: as it is)"},
			&cli.StringFlag{Name: "created", Usage: "with --make: the `TIME`, RFC 3339, at which the signature is judged (default: none; it is judged when it is used)"},
			&cli.StringFlag{Name: "replaces", Usage: "with --make: what the older manifest in `FILE` has and DIR has not is to be removed"},
			&cli.StringFlag{Name: "output", Usage: "with --make: write to `FILE`"},
			&cli.StringFlag{Name: "sign-with", Usage: "with --make: sign with this `KEY` into FILE.sig: a file, agent, or agent:FINGERPRINT"},
		},
		Action: p.action(p.expect),
	}
}

func (p *program) expect(c *cli.Context) (app.Outcome, error) {
	what := 0
	for _, name := range []string{"list", "forget", "make"} {
		if c.IsSet(name) {
			what++
		}
	}
	if c.Args().Present() {
		what++
	}
	if what != 1 {
		return app.Outcome{}, &usage{errors.New("expect wants FILEs, or one of --list, --forget and --make")}
	}
	for _, name := range []string{"prefix", "label", "owner", "created", "replaces", "output", "sign-with"} {
		if c.IsSet(name) && !c.IsSet("make") {
			return app.Outcome{}, &usage{errors.New("--" + name + " goes with --make")}
		}
	}
	switch {
	case c.IsSet("make"):
		return app.ExpectMake(p.ctx, &p.env, app.ExpectMakeOptions{
			Dir: c.String("make"), Prefix: c.String("prefix"), Label: c.String("label"), Owner: c.String("owner"), Created: c.String("created"),
			Replaces: c.String("replaces"), Output: c.String("output"), SignWith: c.String("sign-with"),
		})
	case c.IsSet("forget"):
		return app.ExpectForget(&p.env, c.String("forget"))
	case c.IsSet("list"):
		return app.ExpectList(&p.env)
	}
	return app.ExpectAdd(&p.env, c.Args().Slice())
}
