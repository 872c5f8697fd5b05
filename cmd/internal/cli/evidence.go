package cli

import (
	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) evidenceCommand() *cli.Command {
	return &cli.Command{Name: "evidence", Usage: "take along what a responder needs", Subcommands: []*cli.Command{{
		Name: "save", Usage: "one archive of files, reports, baseline and facts", ArgsUsage: "PATH…",
		Description: "Writes FILE, a gzip-compressed tar with a MANIFEST of all digests, and nothing else.\n" +
			"Ends with 3 where something could not be saved: the MANIFEST lists it as a gap.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Usage: "write the archive to `FILE`: mandatory"},
			&cli.BoolFlag{Name: "findings", Usage: "save what the last full check found added, changed, renamed or replaced, in the place of PATHs"},
			&cli.IntFlag{Name: "reports", Usage: "only the newest `N` reports; 0: all that are kept"},
			&cli.StringFlag{Name: "sign-with", Usage: "sign the archive with the responder's `KEY`: a file, agent, or agent:FINGERPRINT (default: not signed)"},
			&cli.BoolFlag{Name: "force", Usage: "replace FILE"},
			&cli.BoolFlag{Name: "with-private-keys", Usage: "save private keys too, never those of intact itself"},
		},
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			return app.EvidenceSave(p.ctx, &p.env, app.EvidenceOptions{
				Output: c.String("output"), Paths: c.Args().Slice(), Findings: c.Bool("findings"), Reports: c.Int("reports"), SignWith: c.String("sign-with"), Force: c.Bool("force"), PrivateKeys: c.Bool("with-private-keys"),
			})
		}),
	}}}
}
