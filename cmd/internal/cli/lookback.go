package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) diffCommand() *cli.Command {
	return &cli.Command{
		Name: "diff", Usage: "in what two accepted states differ: exit 1 if they do", ArgsUsage: "OLD NEW (each a GENERATION, or the FILE of an export)",
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "leave-out", Usage: "do not compare these `ATTRIBUTES`, such as mtime"},
		}, outputFlags...),
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if c.Args().Len() != 2 {
				return app.Outcome{}, &usage{errors.New("diff takes two, each the number of a generation or the file of an export")}
			}
			return app.BaselineDiff(p.ctx, &p.env, app.DiffOptions{Old: c.Args().Get(0), New: c.Args().Get(1), LeaveOut: sets(c.StringSlice("leave-out")), Output: output(c)})
		}),
	}
}

func (p *program) logCommand() *cli.Command {
	return &cli.Command{
		Name: "log", Usage: "who accepted what, when and why, newest first",
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			return app.BaselineLog(p.ctx, &p.env)
		}),
	}
}
