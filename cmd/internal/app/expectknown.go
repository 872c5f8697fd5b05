package app

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/expect"
	"intact/scanner/entry"
)

// signersRow reports whether a changed row is about what says whose signatures
// count: a list, or the configuration that names it.
func signersRow(r diff.RowChange) bool {
	value := r.Old
	if value == nil {
		value = r.New
	}
	return r.Kind == rowSelf && saysWhoCounts(partOf(value))
}

func saysWhoCounts(part string) bool { return part == partTrust || part == partConfig }

// signersMoved returns a file that says whose signatures count and is not as
// the baseline has it, "" where there is none. What was read of a list when the
// command began counts too: it was used. A baseline of an image knows of no such
// file.
func (s *session) signersMoved(ctx context.Context, gen *baseline.Generation, own bool) (entry.Path, error) {
	rows, err := gen.Rows(rowSelf)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	was := byKey(rows)
	parts := s.partsSince(was, own)
	for _, p := range slices.Sorted(maps.Keys(parts)) {
		if !saysWhoCounts(parts[p]) {
			continue
		}
		old := was[string(p)]
		r, err := s.selfRow(ctx, p, parts[p])
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if err != nil && old == nil {
			continue
		}
		read, used := s.listsRead[p]
		if err != nil || !bytes.Equal(old, r.Value) || own && s.root.Live() && used && words(old)["content"] != read.String() {
			return p, nil
		}
	}
	return "", nil
}

// expected returns the manifests that explain at this check, remarks on those
// that do not count, and holds them against what the baseline knows of manifests.
func (c *check) expected(ctx context.Context) ([]expect.Source, error) {
	rows, err := c.gen.Rows(rowExpect)
	if err != nil {
		return nil, err
	}
	if names, err := c.manifestNames(); err == nil && len(names)+len(rows) == 0 {
		return nil, nil
	}
	moved, err := c.signersMoved(ctx, c.gen, c.o.Baseline == "")
	if err != nil {
		return nil, err
	}
	for _, r := range c.rows {
		if moved == "" && signersRow(r) {
			moved = entry.Path(r.Key)
		}
	}
	if moved != "" {
		c.remark(fmt.Sprintf("no manifest of what is expected explains anything: %s says whose signatures count, and is not as the baseline has it", report.Escape(string(moved))))
		return nil, nil
	}
	sources, wrong := c.manifests()
	if text := wrong.words(); text != "" {
		c.remark(text)
	}
	return c.holdManifests(rows, sources), nil
}

// rowExpect is the kind of the rows about manifests. Key: "sha256:…" of its
// bytes; value: words, see manifestRow.
const rowExpect = "expect"

// What a row says of its manifest.
const (
	manifestKnown     = "known"     // an accept has seen it
	manifestForgotten = "forgotten" // an accept has seen it gone, once it was known: it never explains again
)

// manifestRow is the value of a row: state=, then label=, signer= and created= of
// the manifest, the time "-" where it has none.
func manifestRow(state string, m *expect.Source) []byte {
	created := "-"
	if !m.Created.IsZero() {
		created = m.Created.UTC().Format(time.RFC3339)
	}
	return fmt.Appendf(nil, "state=%s label=%q signer=%q created=%s", state, m.Label, m.Signer, created)
}

// forgottenRow is the value of a row once its manifest is gone.
func forgottenRow(old []byte) []byte {
	_, rest, _ := bytes.Cut(old, []byte(" "))
	return fmt.Appendf(nil, "state=%s %s", manifestForgotten, rest)
}

func manifestState(row []byte) string { return words(row)["state"] }

// holdManifests holds the manifests that count against the rows of the baseline
// and returns those that explain. One that the rows do not know is a finding, and
// so is one that was forgotten and is back: that explains nothing. What is known
// and counts no more is pending to be forgotten, without a word.
func (c *check) holdManifests(rows []diff.Row, sources []*sealed) (list []expect.Source) {
	was := byKey(rows)
	newest := map[string]time.Time{} // by signer, in quotes
	for _, r := range rows {
		w := words(r.Value)
		made, err := time.Parse(time.RFC3339, w["created"])
		if err == nil && made.After(newest[w["signer"]]) { // else it has no time
			newest[w["signer"]] = made
		}
	}
	kept := map[string]bool{}
	for _, m := range sources {
		kept[m.ID] = true
		old := was[m.ID]
		switch {
		case old == nil:
			last, known := newest[strconv.Quote(m.Signer)]
			now := manifestRow(manifestKnown, &m.Source)
			f := manifestFinding(m.ID, nil, now)
			f.Severity = rules.Info
			if why := c.doubtful(&m.Source, last, known); why != "" {
				f.Severity, f.Reasons = rules.Medium, append(f.Reasons, why)
			}
			if m.unproved {
				f.Reasons = append(f.Reasons, unprovedTime)
			}
			f.RawSeverity = f.Severity
			c.trusts = append(c.trusts, f)
			c.rows = append(c.rows, diff.RowChange{Kind: rowExpect, Key: []byte(m.ID), New: now})
		case manifestState(old) == manifestForgotten:
			c.trusts = append(c.trusts, manifestFinding(m.ID, old, old))
			continue
		}
		list = append(list, m.Source)
	}
	for _, r := range rows {
		if !kept[string(r.Key)] && manifestState(r.Value) != manifestForgotten {
			c.rows = append(c.rows, diff.RowChange{Kind: rowExpect, Key: r.Key, Old: r.Value, New: forgottenRow(r.Value)})
		}
	}
	return list
}

// doubtful says why a manifest that is new could be an old one that somebody
// brings back, "" where it goes on from those that the baseline knows.
func (c *check) doubtful(m *expect.Source, last time.Time, known bool) string {
	switch {
	case !known:
		return "the baseline knows no manifest of this signer that says when it was made"
	case m.Created.IsZero():
		return "it does not say when it was made: it may be an old one"
	case m.Created.After(c.env.Now()):
		return "it says that it was made in the future"
	case !m.Created.After(last):
		return "it was made no later than one of this signer that the baseline knows: it may be a way back to an old release"
	}
	return ""
}

// manifestFinding tells of a row that is new, or of one that is to be forgotten
// or was.
func manifestFinding(id string, old, now []byte) rules.Finding {
	w := words(now)
	plain := func(name string) string {
		if s, err := strconv.Unquote(w[name]); err == nil {
			return report.Escape(s)
		}
		return report.Escape(w[name])
	}
	f := rules.Finding{Set: "trust", Rule: "trust.expect", Severity: rules.Medium, RawSeverity: rules.Medium, Change: "added", Subject: rules.Subject{Kind: "manifest", Name: id},
		Reasons: []string{fmt.Sprintf("a manifest is new since the baseline: %s, signed by %s", plain("label"), plain("signer"))}}
	if w["created"] != "-" {
		f.Reasons[0] += ", made " + plain("created")
	}
	switch {
	case old != nil && bytes.Equal(old, now):
		f.Severity, f.RawSeverity, f.Attack = rules.High, rules.High, []string{"T1685"}
		f.Reasons = []string{fmt.Sprintf("a manifest that was forgotten is back and explains nothing: %s, signed by %s: intact expect --forget it again", plain("label"), plain("signer"))}
	case manifestState(now) == manifestForgotten:
		f.Change, f.Severity, f.RawSeverity = "removed", rules.Info, rules.Info
		f.Reasons = []string{fmt.Sprintf("a manifest is forgotten: %s, signed by %s", plain("label"), plain("signer"))}
	}
	return f
}

// takesManifest reports whether a pending row about a manifest goes along: what
// is new with what selects all that is explained, or with something that it
// explained; what is gone with anything.
func (a *accept) takesManifest(r diff.RowChange) bool {
	now, known := a.rowsNow[string(r.Key)]
	switch {
	case known != (r.Old != nil) || !bytes.Equal(now, r.Old):
		return false // an accept of this report took it before
	case a.moved != "":
		return false
	case manifestState(r.New) == manifestForgotten:
		return a.o.All || a.o.Explained || a.pick.size() > 0
	}
	return a.ids[string(r.Key)] && (a.o.All || a.o.Explained || a.explains[string(r.Key)])
}

// shownManifest is how a changed row of a request is told. That one is known
// again which was forgotten, no check asks for: it is as grave as one that is back.
func shownManifest(r diff.RowChange) rules.Finding {
	f := manifestFinding(string(r.Key), r.Old, r.New)
	if r.New == nil || r.Old != nil && manifestState(r.New) != manifestForgotten {
		f = manifestFinding(string(r.Key), r.Old, r.Old)
		f.Severity, f.RawSeverity, f.Change = rules.High, rules.High, "changed"
		f.Reasons = []string{"what is known of a manifest would be another, which no check asks for"}
	}
	return f
}
