package config

import (
	"path/filepath"
	"strings"

	"intact/baseline/statement"
	"intact/scanner/strict"
)

const (
	maxReports    = 1_000_000
	maxReportDays = 36_500
)

// Reports says how many stored reports are kept besides the newest; 0: the
// default.
type Reports struct {
	Count int
	Days  int
}

// Signing names keys and lists of keys; "": the default, or none.
type Signing struct {
	BaselineKey    string // a file, or agent[:which]
	ReportKey      string
	TrustedSigners string // absolute names of files
	RevokedKeys    string
}

// trust takes the settings about who signs and what is kept.
func (c *Config) trust(root *strict.Node) {
	if n := root.Get("reports"); n != nil && n.IsMap() {
		if v := n.Get("count").Int(2, maxReports); v != 0 {
			c.Reports.Count = int(v)
		}
		if v := n.Get("days").Int(1, maxReportDays); v != 0 {
			c.Reports.Days = int(v)
		}
		n.Unknown()
	}
	if n := root.Get("signing"); n != nil && n.IsMap() {
		c.Signing.take(n)
	}
	if n := root.Get("expect_root"); n != nil {
		t := n.Text()
		if _, err := statement.ParsePin(t); err == nil || filepath.IsAbs(t) {
			c.ExpectRoot = t
		} else if n.IsText() {
			n.Errorf("expect_root %s is no absolute path and %v", strict.Printable(t), err)
		}
	}
}

func (s *Signing) take(n *strict.Node) {
	for _, f := range []struct {
		key   string
		agent bool
		to    *string
	}{{"baseline_key", true, &s.BaselineKey}, {"report_key", true, &s.ReportKey}, {"trusted_signers", false, &s.TrustedSigners}, {"revoked_keys", false, &s.RevokedKeys}} {
		v := n.Get(f.key)
		if v == nil {
			continue
		}
		switch t := v.Text(); {
		case filepath.IsAbs(t) && !strings.ContainsRune(t, 0), f.agent && (t == "agent" || strings.HasPrefix(t, "agent:")):
			*f.to = t
		case v.IsText() && f.agent:
			v.Errorf("%s %s is neither an absolute path nor agent", f.key, strict.Printable(t))
		case v.IsText():
			v.Errorf("%s %s is not an absolute path", f.key, strict.Printable(t))
		}
	}
	n.Unknown()
}
