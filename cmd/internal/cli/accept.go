package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"intact/cmd/internal/app"
)

func (p *program) acceptCommand() *cli.Command {
	return &cli.Command{
		Name: "accept", Usage: "make what the last full check reported part of a new generation; without --all or --path a review on the terminal", ArgsUsage: "[REQUEST…]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "report", Usage: "the report `ID` (default: the last check)"},
			&cli.BoolFlag{Name: "explained", Usage: "what was reported as explained by a signature, whatever its severity would be without"},
			&cli.BoolFlag{Name: "attributed", Usage: "what was reported as attributed to a source, critical findings excepted"},
			&cli.BoolFlag{Name: "all", Usage: "everything that was reported, critical findings excepted that no signature explains"},
			&cli.StringSliceFlag{Name: "path", Usage: "what was reported of paths that match `GLOB`, a pattern of the policy; critical findings too"},
			&cli.StringSliceFlag{Name: "package", Usage: "what was reported of packages whose `NAME`, or name:architecture, matches; as in a shell"},
			&cli.StringSliceFlag{Name: "fact", Usage: "what was reported of users, listeners, units and the like whose kind and key match `GLOB`; critical findings too"},
			&cli.StringSliceFlag{Name: "rule", Usage: "let findings of rules whose id matches `GLOB`, or GLOB=SUBJECT, stand: told no more while their evidence is the same"},
			&cli.StringFlag{Name: "reason", Usage: "why: mandatory"},
			&cli.BoolFlag{Name: "rebase", Usage: "leave what the baseline has another value of by now, list it, and accept the rest"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be accepted, write nothing"}, signWith,
			&cli.StringFlag{Name: "export", Usage: "write a request to `FILE` for an operator elsewhere; accept nothing yet"},
			&cli.BoolFlag{Name: "approve", Usage: "where the operator's key is: show what each REQUEST asks for, and sign it"},
			&cli.StringFlag{Name: "output", Usage: "with --approve: write the approval to `FILE`, those of several requests to this folder"},
			&cli.StringFlag{Name: "expect-root", Usage: "with --approve: the baseline in force must have this root `DIGEST`, or one of those in a file (./FILE), one on each line"},
			&cli.StringFlag{Name: "apply", Usage: "accept what the approval in `FILE` says"},
		},
		Action: p.action(p.accept),
	}
}

func (p *program) accept(c *cli.Context) (app.Outcome, error) {
	if err := acceptFlags(c); err != nil {
		return app.Outcome{}, err
	}
	switch {
	case c.Bool("approve"):
		return app.Approve(p.ctx, &p.env, app.ApproveOptions{
			Requests: c.Args().Slice(), SignWith: c.String("sign-with"), Reason: c.String("reason"), Output: c.String("output"), ExpectRoot: c.String("expect-root"), DryRun: c.Bool("dry-run"),
		})
	case c.IsSet("apply"):
		return app.ApplyApproval(p.ctx, &p.env, c.String("apply"))
	}
	return app.Accept(p.ctx, &p.env, app.AcceptOptions{
		Report: c.String("report"), All: c.Bool("all"), Paths: c.StringSlice("path"), Packages: c.StringSlice("package"), Facts: c.StringSlice("fact"), Rules: c.StringSlice("rule"), Reason: c.String("reason"), DryRun: c.Bool("dry-run"), SignWith: c.String("sign-with"),
		Export: c.String("export"), Rebase: c.Bool("rebase"), Explained: c.Bool("explained"), Attributed: c.Bool("attributed"),
	})
}

// acceptFlags refuses flags that belong to another way of accepting: which one
// was meant must be clear.
func acceptFlags(c *cli.Context) error {
	approve, apply := c.Bool("approve"), c.IsSet("apply")
	if approve && apply {
		return &usage{errors.New("accept: --approve and --apply exclude each other")}
	}
	for _, f := range []struct {
		name           string
		approve, apply bool // whether it goes with them
		alone          bool // or without both
	}{
		{"report", false, false, true}, {"all", false, false, true}, {"explained", false, false, true}, {"attributed", false, false, true}, {"path", false, false, true}, {"package", false, false, true}, {"fact", false, false, true}, {"rule", false, false, true}, {"export", false, false, true}, {"rebase", false, false, true},
		{"reason", true, false, true}, {"dry-run", true, false, true}, {"sign-with", true, false, true},
		{"output", true, false, false}, {"expect-root", true, false, false},
	} {
		switch {
		case !c.IsSet(f.name):
		case approve && !f.approve:
			return &usage{errors.New("accept --approve: --" + f.name + " does not go with it")}
		case apply && !f.apply:
			return &usage{errors.New("accept --apply: --" + f.name + " does not go with it")}
		case !approve && !apply && !f.alone:
			return &usage{errors.New("accept: --" + f.name + " goes with --approve only")}
		}
	}
	if approve {
		return nil
	}
	return noArgs(c)
}
