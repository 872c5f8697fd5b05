package cli

import (
	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "what is in force, and what is wrong with the installation",
		Description: "Looks, and changes nothing. Each line is ok, a note or a PROBLEM, with a way out.\n" +
			"Ends with 1 where there is a problem, 2 where the configuration or the state\n" +
			"folder cannot be used, 4 where there is no baseline or none to be trusted.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "format", Usage: "text or json: one object a line", Value: "text"}},
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			if err := noArgs(c); err != nil {
				return app.Outcome{}, err
			}
			return app.Doctor(p.ctx, &p.env, app.DoctorOptions{Format: c.String("format")})
		}),
	}
}
