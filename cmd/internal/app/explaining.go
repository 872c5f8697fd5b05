package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/expect"
	"intact/rules/updates"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// explaining is the one way to the explainers: what nobody can explain does not
// come to them. It is for one goroutine; nil explains nothing.
type explaining struct {
	by       []rules.Explainer
	contents *contents

	last *diff.Change // that was asked about
	said *rules.Explanation
}

// newExplaining asks the manifests in the state folder, and whoever else there
// is.
func (c *check) newExplaining(ctx context.Context, maxRate int64) (*explaining, error) {
	e := &explaining{contents: &contents{twice: scanner.NewTwice(c.root, maxRate), gaps: c.gaps}}
	if !c.sets["integrity"] {
		return e, nil
	}
	sources, err := c.expected(ctx)
	if err != nil {
		return nil, err
	}
	if len(sources) > 0 {
		e.by = append(e.by, expect.New(sources, e.contents))
	}
	if err := c.explainByPackages(ctx, e); err != nil {
		return nil, err
	}
	e.by = append(e.by, c.env.Explainers...)
	for _, by := range e.by {
		if u, ok := by.(interface{ Updates() []updates.Update }); ok {
			c.upgrades = append(c.upgrades, u.Updates()...)
		}
	}
	return e, nil
}

// Explain implements rules.Explainer.
func (e *explaining) Explain(ctx context.Context, c *diff.Change) (rules.Explanation, bool) {
	if x := e.of(ctx, c); x != nil {
		return *x, true
	}
	return rules.Explanation{}, false
}

// of returns the strongest explanation of c, nil where there is none.
func (e *explaining) of(ctx context.Context, c *diff.Change) *rules.Explanation {
	if e == nil {
		return nil
	}
	if c == e.last {
		return e.said
	}
	var best *rules.Explanation
	if explainable(c) {
		for _, by := range e.by {
			if x, ok := by.Explain(ctx, c); ok && x.Rank() > best.Rank() {
				best = &x
			}
		}
	}
	e.last, e.said = c, best
	return best
}

// explainable reports whether c may be explained at all. What was not seen is
// not; what follows from other changes goes along with them; and a directory that
// moved stands for all that is in it, of which nobody said anything.
func explainable(c *diff.Change) bool {
	switch c.Kind {
	case diff.Unverified, diff.Regained:
		return false
	case diff.Renamed:
		return c.Count == 0 && c.Lost == 0 && !c.Folded
	}
	return c.Lost == 0 && !c.Folded
}

// contents implements rules.Contents by a second reading of what was scanned. A
// file that is not the same any more is a gap: nothing is known of what it held.
type contents struct {
	twice *scanner.Twice
	gaps  *gapList

	path  entry.Path // asked for last
	blake digest.Digest
	sum   [sha256.Size]byte
	known bool // sum is that of the content with the digest blake
}

// SHA256 implements rules.Contents.
func (k *contents) SHA256(ctx context.Context, p entry.Path, seen *entry.Entry) ([sha256.Size]byte, bool) {
	if k.path == p && k.blake == seen.Digest || k.known && k.blake == seen.Digest {
		k.path = p
		return k.sum, k.known // the same bytes, under another name too
	}
	sum, err := k.read(ctx, p, seen)
	k.path, k.blake, k.sum, k.known = p, seen.Digest, sum, err == nil
	if err == nil || ctx.Err() != nil || errors.Is(err, scanner.ErrOneView) {
		return sum, k.known
	}
	g := scanner.Gap{Path: p, Reason: scanner.ReasonIO, Detail: "read again for its SHA-256: " + err.Error(), Attrs: entry.Content}
	if errors.Is(err, scanner.ErrMoved) {
		g.Reason, g.Detail = scanner.ReasonBusy, "read again for its SHA-256"
	}
	k.gaps.add(g)
	return sum, false
}

// read is Twice.SHA256; a bug in it is no digest.
func (k *contents) read(ctx context.Context, p entry.Path, seen *entry.Entry) (sum [sha256.Size]byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	return k.twice.SHA256(ctx, p, seen)
}

// sha256 returns the digest of what c brought, in hex, "" where it was not
// computed.
func (e *explaining) sha256(c *diff.Change) string {
	if e == nil {
		return ""
	}
	k := e.contents
	if !k.known || c.New == nil || k.path != c.Path || c.New.Have&entry.Content == 0 || k.blake != c.New.Digest {
		return ""
	}
	return hex.EncodeToString(k.sum[:])
}
