package cli

import (
	"context"
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
	}, p.hookCommand(), p.delegateCommand(), {
		Name: "list", Usage: "transactions that hooks saw, and manifests that are kept",
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			return app.PackagesList(&p.env)
		}),
	}}}
}

// hookCommand is called by package managers. Nothing that a hook meets makes it
// fail.
func (p *program) hookCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "manager", Usage: "whose hook it is: apt or dpkg", Value: "apt"},
		&cli.StringFlag{Name: "lists", Usage: "apt's lists are in `DIR`", Value: app.AptLists},
	}
	one := func(name, text string, run func(context.Context, *app.Env, app.HookOptions) app.Outcome) *cli.Command {
		return &cli.Command{Name: name, Usage: text, Flags: flags, Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			if m := c.String("manager"); m != "apt" && m != "dpkg" {
				return app.Outcome{}, &usage{errors.New("--manager: want apt or dpkg")}
			}
			return run(p.ctx, &p.env, app.HookOptions{Manager: c.String("manager"), Lists: c.String("lists")}), nil
		})}
	}
	return &cli.Command{Name: "hook", Usage: "for package managers: always exits 0", Subcommands: []*cli.Command{
		one("pre", "before packages are unpacked: keep their manifests; apt tells what it does on stdin", app.HookPre),
		one("post", "after it: report what changed, for intact accept", app.HookPost),
	}}
}
