package report

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"intact/rules"
)

// Changes renders the findings, gaps and notes of the report in src as Text
// does, each by itself, and nothing of the run: for whoever is asked to approve
// them.
func Changes(w io.Writer, src io.ReadSeeker, o TextOptions) error {
	if o.Location == nil {
		o.Location = time.UTC
	}
	o.Verbose = true
	t := &text{TextOptions: o, w: bufio.NewWriterSize(w, 32<<10), src: src}
	if err := t.survey(); err != nil {
		return err
	}
	for s := int(rules.Critical); s >= 0; s-- {
		if t.t.Counts.Findings[s] == 0 {
			continue
		}
		if err := t.findings(rules.Severity(s)); err != nil {
			return err
		}
	}
	if err := t.rest(); err != nil {
		return err
	}
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("write changes: %w", err)
	}
	return nil
}
