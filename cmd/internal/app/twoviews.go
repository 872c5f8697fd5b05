package app

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/integrity"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// inOrder sorts the findings of a second look as those of the changes are.
func (l *secondLook) inOrder() {
	slices.SortFunc(l.findings, func(a, b rules.Finding) int {
		return bytes.Compare(entry.Path(a.Subject.Path).Key(), entry.Path(b.Subject.Path).Key())
	})
	if more := l.out.Differing - int64(len(l.findings)); more > 0 {
		f := &l.findings[len(l.findings)-1]
		f.Count = more
		f.Reasons = append(f.Reasons, "it stands for the further files that differ")
	}
}

// found returns the findings of a second look.
func (l *secondLook) found() []rules.Finding {
	if l == nil {
		return nil
	}
	return l.findings
}

// emitViews emits the findings of the second look up to and with path p; of all
// paths where p is "".
func (c *check) emitViews(p entry.Path) error {
	l := c.look
	if l == nil {
		return nil
	}
	for ; l.told < len(l.findings); l.told++ {
		f := l.findings[l.told]
		if p != "" && bytes.Compare(entry.Path(f.Subject.Path).Key(), p.Key()) > 0 {
			return nil
		}
		if err := c.emit(f); err != nil {
			return err
		}
	}
	return nil
}

// twoViews begins the key of a pending row about a file with two views.
var twoViews = integrity.TwoViews("", "", "").Rule + "\x00"

// differed returns the files that had two views when a check last looked.
func (c *check) differed() (map[entry.Path]bool, error) {
	sum, err := c.lastPending()
	if err != nil || sum == (digest.Digest{}) || c.o.NoState {
		return nil, err
	}
	set, err := c.store.OpenPending(sum)
	if err != nil {
		return nil, nil // told where the history is read
	}
	defer set.Close()
	rows, err := set.Rows()
	if err != nil {
		return nil, nil
	}
	out := map[entry.Path]bool{}
	for _, r := range rows {
		if p, ok := strings.CutPrefix(string(r.Key), twoViews); ok && r.Kind == rowFinding {
			out[entry.Path(p)] = true
		}
	}
	return out, nil
}

// unlooked are the rows of files with two views that a check without a second
// look leaves as they were: they are no better for not being looked at.
func (c *check) unlooked() (rows []baseline.PendingRow) {
	if c.look != nil {
		return nil
	}
	for id, since := range c.pending.rows {
		kind, rest, _ := strings.Cut(id, "\x00")
		if key, ok := strings.CutSuffix(rest, "\x00"); ok && kind == rowFinding && strings.HasPrefix(key, twoViews) {
			rows = append(rows, baseline.PendingRow{RowChange: diff.RowChange{Kind: rowFinding, Key: []byte(key)}, FirstSeen: since})
		}
	}
	slices.SortFunc(rows, func(a, b baseline.PendingRow) int { return bytes.Compare(a.Key, b.Key) })
	return rows
}

// outcome is what the trailer says of a second look, nil where there was none.
func (l *secondLook) outcome() *report.SecondLook {
	if l == nil {
		return nil
	}
	return &l.out
}

// lookNote says why files could not be looked at twice, or that files with two
// views were not looked at again, "" where there is nothing to say.
func (c *check) lookNote() string {
	l := c.look
	if l == nil {
		if n := len(c.unlooked()); n > 0 {
			return fmt.Sprintf("%d files had two views when a check last looked, and this one did not look: see check --second-look", n)
		}
		return ""
	}
	if l.out.Impossible == 0 {
		return ""
	}
	var why []string
	add := func(n int64, text string) {
		if n > 0 {
			why = append(why, fmt.Sprintf(text, n))
		}
	}
	add(l.oneView, "%d can be read through the page cache only here")
	add(l.moved, "%d changed after they were scanned")
	add(l.out.Impossible-l.oneView-l.moved, "%d could not be read")
	return "no second look at files of the sample: " + strings.Join(why, ", ")
}
