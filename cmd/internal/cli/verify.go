package cli

import (
	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

const verifyHelp = `A verdict for each PATH: a file, folder, link or node; "-" reads a list on stdin.

   same             as in the baseline                                     0
   known good       not in the baseline, but in a --known-good list        0
   same metadata    as in the baseline, which does not know the content    1
   not in baseline, not selected, no baseline                              1
                    nobody vouches for it; a package alone does not
   differs          not as in the baseline or, where that does not know
                    it, not as its package has it                          1
   removed          in the baseline, not on the disk                       1
   deleted, replaced, memfd, no file                                       1
                    runs, and is not the file that has its name now
   known bad        in a --known-bad list, whatever else is said of it     1
   unverified       could not be read                                      3
   untrusted        there is a baseline, and it cannot be trusted          4

With no baseline at all the exit code goes by the other evidence; with
--expect-root that is 4 too.
The package database is local and unsigned: an intruder can have edited it.
Lists hold SHA-256 or BLAKE3: lines of sha256sum or b3sum, hashdeep, NSRL CSV.`

func (p *program) verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "a verdict for single files, or for what runs", ArgsUsage: "PATH…", Description: verifyHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "null", Usage: "the list on stdin is separated by NUL, not by newline"},
			&cli.IntSliceFlag{Name: "pid", Usage: "the executable of process `N` and the files that it maps"},
			&cli.BoolFlag{Name: "all-running", Usage: "those of all processes, and the kernel modules that are loaded"},
			&cli.StringSliceFlag{Name: "known-good", Usage: "`FILE` with digests of files that are good"},
			&cli.StringSliceFlag{Name: "known-bad", Usage: "`FILE` with digests of files that are bad"},
			&cli.StringFlag{Name: "baseline", Usage: "compare with the export in `FILE`, not with the baseline of the state folder"},
			&cli.StringFlag{Name: "expect-root", Usage: "the baseline must have this root `DIGEST`"},
			&cli.StringFlag{Name: "format", Usage: "text or json", Value: "text"},
		},
		Action: p.action(func(c *cli.Context) (app.Outcome, error) {
			return app.Verify(p.ctx, &p.env, app.VerifyOptions{
				Paths: c.Args().Slice(), Null: c.Bool("null"), PIDs: c.IntSlice("pid"), AllRunning: c.Bool("all-running"),
				KnownGood: c.StringSlice("known-good"), KnownBad: c.StringSlice("known-bad"),
				Baseline: c.String("baseline"), ExpectRoot: c.String("expect-root"), Format: c.String("format"),
			})
		}),
	}
}
