package report

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"intact/rules"
)

// Parts of the text view, for what shows findings without a report around them.

// FindingText writes one finding as Text does.
func FindingText(w io.Writer, f *rules.Finding, o TextOptions) error {
	if o.Location == nil {
		o.Location = time.UTC
	}
	t := &text{TextOptions: o, w: bufio.NewWriter(w)}
	t.finding(f)
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("write finding: %w", err)
	}
	return nil
}

// Number writes n with commas between its thousands.
func Number(n int64) string { return group(n) }

// Ago says how long ago something was, as "3 h ago".
func Ago(d time.Duration) string { return relative(d) }

// FindingLine returns a finding as its line of a report, RuleLine a rule.
func FindingLine(f rules.Finding) ([]byte, error) {
	return recordLine(rankFinding, Record{Finding: &f})
}

// RuleLine returns a rule as its line of a report.
func RuleLine(r Rule) ([]byte, error) { return recordLine(rankRule, Record{Rule: &r}) }

func recordLine(rank int, r Record) ([]byte, error) {
	c := coder{}
	c.record(&r, kinds[rank])
	if c.err != nil {
		return nil, fmt.Errorf("write %s: %w", kinds[rank], c.err)
	}
	return append(c.b, '\n'), nil
}
