package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) packagesCommand() *cli.Command {
	return &cli.Command{Name: "packages", Usage: "what packages hold, and who vouches for it", Subcommands: []*cli.Command{{
		Name: "record", Usage: "verify packages by the pinned keys and keep what they hold", ArgsUsage: "[DEB…]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "every .deb file in the folder `DIR`"},
			&cli.StringFlag{Name: "lists", Usage: "apt's lists are in `DIR`", Value: app.AptLists},
		},
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if !c.Args().Present() && c.String("from") == "" {
				return app.Outcome{}, &usage{errors.New("packages record needs a package, or a folder of them with --from")}
			}
			return app.PackagesRecord(p.ctx, &p.env, app.RecordOptions{Files: c.Args().Slice(), From: c.String("from"), Lists: c.String("lists")})
		}),
	}}}
}
