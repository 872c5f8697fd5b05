package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/scanner/policy"
)

// open reads the baseline and puts its policy and the present one in force.
func (c *check) open(ctx context.Context) (err error) {
	if c.distrust != nil {
		return c.distrust
	}
	if c.keep != nil {
		c.gen, err = c.keep.Open(ctx, c.store)
	} else if c.o.Baseline != "" {
		if c.gen, err = baseline.OpenExport(ctx, os.TempDir(), c.o.Baseline); errors.Is(err, fs.ErrNotExist) {
			err = usageError("--baseline: %w", err)
		}
	} else {
		c.gen, err = c.store.Open(ctx, 0)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.gen.Close()
		}
	}()
	if err := c.vouched(ctx); err != nil {
		return err
	}
	if c.base, err = policy.ParseCanonical(c.gen.Policy()); err != nil {
		return fmt.Errorf("%w: policy: %w", baseline.ErrDamaged, err)
	}
	c.base.Name = fmt.Sprintf("baseline generation %d", c.gen.Statement().Generation)
	aliases, err := c.gen.Rows(rowAlias)
	if err != nil {
		return err
	}
	present, err := c.present()
	if err != nil {
		return err
	}
	if c.scope, err = c.session.scope(c.base, present, aliasesOf(aliases), false); err != nil {
		return err
	}
	if !slices.Equal(c.scope.eff.Sets(), c.gen.Sets()) {
		return fmt.Errorf("%w: its attribute sets do not follow from its policy", baseline.ErrDamaged)
	}
	if c.limit, err = c.limits(c.scope, c.gen); err != nil {
		return err
	}
	var changed []diff.RowChange
	c.mounts, changed = aliasDrift(aliases, c.scope)
	c.rows = append(c.rows, changed...)
	if err := c.stateMoved(); err != nil {
		return err
	}
	return c.selfMoved(ctx)
}

// present is the configured policy, nil where it could not be read. A baseline
// made for paths on the command line is not measured against it.
func (c *check) present() (*policy.Policy, error) {
	rows, err := c.gen.Rows(rowOrigin)
	if c.gen.Imported() && c.env.Config == "" {
		return nil, err // nor is one of another host, by what is configured on this machine
	}
	if err != nil || c.cfgErr != nil || len(rows) == 1 && string(rows[0].Value) == originPaths {
		return nil, err
	}
	return c.cfg.Policy, nil
}

// errUnexpected means that another baseline is in force than was pinned.
var errUnexpected = errors.New("the baseline is not the expected one")

// vouched makes sure that the baseline is the one that is meant.
func (c *check) vouched(ctx context.Context) error {
	if err := c.pinned(c.gen, c.o.ExpectRoot); err != nil {
		return err
	}
	if c.o.Baseline != "" {
		return c.judgeExport()
	}
	c.by = c.gen.Signed()
	return c.notRolledBack(ctx, c.gen.Statement())
}
