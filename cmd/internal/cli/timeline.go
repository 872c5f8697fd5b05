package cli

import (
	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) timelineCommand() *cli.Command {
	return &cli.Command{
		Name: "timeline", Usage: "what is on the disk now by its times, marked by what the baseline says; no content is read", ArgsUsage: "[PATH…]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "since", Usage: "from `TIME` on: RFC 3339, '2006-01-02 15:04', a date, or how long ago as 24h or 7d; mandatory"},
			&cli.StringFlag{Name: "until", Usage: "up to `TIME`, which does not belong to it"},
			&cli.StringFlag{Name: "format", Usage: "text, json, or bodyfile for mactime of The Sleuth Kit", Value: "text"},
		},
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			return app.Timeline(p.ctx, &p.env, app.TimelineOptions{
				Since: c.String("since"), Until: c.String("until"), Format: c.String("format"), Paths: c.Args().Slice(),
			})
		}),
	}
}
