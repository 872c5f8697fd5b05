package cli

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) watchCommand() *cli.Command {
	return &cli.Command{
		Name: "watch", Usage: "look at hot paths as soon as something happens there",
		Description: "Prints \"ready\" to stderr when the watches stand, then a report for each batch of\n" +
			"changes in which something is new. SIGHUP reads the configuration again; SIGTERM\n" +
			"and SIGINT end it with 130.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "text or json", Value: "text"},
			&cli.StringFlag{Name: "backend", Usage: "where events come from: fanotify, inotify or auto", Value: "auto"},
		},
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			return app.Watch(p.ctx, &p.env, app.WatchOptions{Output: app.Output{Format: c.String("format")}, Backend: c.String("backend"), Reload: reload})
		}),
	}
}
