package app

import (
	"fmt"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/cmd/internal/config"
	"intact/rules"
)

// settingRows are the settings that a baseline has, where they are not the standard
// ones.
func (s *session) settingRows() (rows []diff.Row) {
	if s.cfg.Accept != "" {
		rows = append(rows, diff.Row{Kind: rowAccept, Key: []byte(rowAccept), Value: []byte(s.cfg.Accept)})
	}
	if r := s.cfg.Reverify; r != config.StandardReverify() {
		rows = append(rows, diff.Row{Kind: rowReverify, Key: []byte(rowReverify), Value: []byte(r.String())})
	}
	return rows
}

// acceptedReverify is how the baseline wants to be verified again.
func acceptedReverify(gen *baseline.Generation) (config.Reverify, error) {
	rows, err := gen.Rows(rowReverify)
	if err != nil || len(rows) == 0 {
		return config.StandardReverify(), err
	}
	r, ok := config.ParseReverify(string(rows[0].Value))
	if !ok || len(rows) > 1 || string(rows[0].Key) != rowReverify {
		return r, fmt.Errorf("%w: it does not say how it is verified again", baseline.ErrDamaged)
	}
	return r, nil
}

// reverify is what is in force: what the baseline or the configuration asks for,
// whichever is more.
func (c *check) reverify() (config.Reverify, error) {
	was, err := acceptedReverify(c.gen)
	return was.Stronger(c.cfg.Reverify), err
}

// reverifyLess says that the configuration asks for less than the baseline, ""
// where it does not.
func (c *check) reverifyLess() (string, error) {
	present, err := c.present()
	if err != nil || present == nil {
		return "", err
	}
	was, err := acceptedReverify(c.gen)
	if err != nil || was.Stronger(c.cfg.Reverify) == c.cfg.Reverify {
		return "", err
	}
	return fmt.Sprintf("the present configuration verifies again less than the baseline says (%s): without effect until intact policy adopt", was), nil
}

// reverifyDrift finds that a watcher would verify less by the configuration alone.
func (c *check) reverifyDrift() error {
	why, err := c.reverifyLess()
	if err == nil && why != "" {
		c.drift = append(c.drift, rules.Finding{Set: "policy", Rule: "policy.reverify", Severity: rules.High, RawSeverity: rules.High, Change: "changed",
			Subject: rules.Subject{Kind: "policy", Name: "reverify: " + c.cfg.Reverify.String()}, Reasons: []string{why}})
	}
	return err
}
