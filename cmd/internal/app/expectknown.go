package app

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
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

// expected returns the manifests that count at this check and remarks on the
// others.
func (c *check) expected(ctx context.Context) ([]expect.Source, error) {
	if names, err := c.manifestNames(); err == nil && len(names) == 0 {
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
	for _, err := range wrong {
		c.remark(fmt.Sprintf("a manifest of what is expected explains nothing: %v", err))
	}
	return sources, nil
}
