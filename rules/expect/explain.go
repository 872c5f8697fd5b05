package expect

import (
	"context"
	"crypto/sha256"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// Kind is the kind of the explanations that come from here.
const Kind = "expect"

// Source is a manifest whose signature was verified.
type Source struct {
	*Manifest
	ID     string // "sha256:…" of its bytes
	Signer string // who signed it
}

// What a manifest says of an object, and what follows from that: who writes a
// file anew gives it another inode and other times.
const (
	said    = entry.Type | entry.Mode | entry.UID | entry.GID | entry.Size | entry.Content | entry.Target
	follows = entry.Mtime | entry.Ctime | entry.Inode
)

// explainer implements rules.Explainer. It is for one goroutine, as its
// Contents may be.
type explainer struct {
	sources  []Source
	contents rules.Contents
}

// New returns an explainer by the first of sources that accounts for all of a
// change. contents gives the SHA-256 where a manifest knows no BLAKE3; nil: such
// lines explain nothing.
func New(sources []Source, contents rules.Contents) rules.Explainer {
	return &explainer{sources, contents}
}

// Explain implements rules.Explainer: always at level signed.
func (x *explainer) Explain(ctx context.Context, c *diff.Change) (rules.Explanation, bool) {
	for _, s := range x.sources {
		if x.accounts(ctx, s.Manifest, c) {
			return rules.Explanation{Source: s.Label, Level: rules.Signed, Kind: Kind, ID: s.ID, By: s.Signer}, true
		}
	}
	return rules.Explanation{}, false
}

// accounts reports whether m says all that c shows.
func (x *explainer) accounts(ctx context.Context, m *Manifest, c *diff.Change) bool {
	if c.Lost != 0 || c.Gained != 0 {
		return false
	}
	switch c.Kind {
	case diff.Removed:
		return gone(m, c.Path)
	case diff.Renamed:
		if c.Count > 0 || !gone(m, c.From) {
			return false
		}
	case diff.Added, diff.Changed, diff.Replaced:
	default:
		return false
	}
	l, ok := m.Lookup(c.Path)
	if !ok || l.Removed || c.New == nil {
		return false
	}
	return l.Accounts(ctx, c, x.contents)
}

// Accounts reports whether l says all of what c shows at its path, c.New, and
// that nothing is there of which no line can speak.
func (l *Line) Accounts(ctx context.Context, c *diff.Change, contents rules.Contents) bool {
	return explained(c) && bare(c) && l.describes(c.New) && l.holds(ctx, c, contents)
}

func gone(m *Manifest, p entry.Path) bool {
	l, ok := m.Lookup(p)
	return ok && l.Removed
}

// explained reports whether nothing differs that a manifest says nothing about.
func explained(c *diff.Change) bool {
	may := said | follows
	if c.New.Kind == entry.Dir {
		may |= entry.Nlink // of what is in it
	}
	return c.Attrs&^may == 0
}

// bare reports whether an object that was not there under that name before, or
// was one of another type, has nothing that the manifest does not speak of. A
// file that only moved may bring it along from where it was. A label every new object
// gets from the system. Capabilities may not pass to other content either.
func bare(c *diff.Change) bool {
	e := c.New
	if c.Kind != diff.Added && c.Kind != diff.Renamed && c.Attrs&entry.Type == 0 {
		return c.Attrs&entry.Content == 0 || e.Have&entry.Caps == 0 || e.Caps == nil
	}
	compared := c.NewSet.For(e.Kind) & (entry.XattrAttr | entry.ACL | entry.Caps | entry.Flags)
	if compared&^e.Have != 0 {
		return false // it may have anything
	}
	return !(e.Have&entry.XattrAttr != 0 && len(e.Xattr) > 0 || e.Have&entry.ACL != 0 && (e.ACL != nil || e.DefACL != nil) ||
		e.Have&entry.Caps != 0 && e.Caps != nil || e.Have&entry.Flags != 0 && e.Flags != 0)
}

// describes reports whether type, mode, owner, size and target are those of the
// line.
func (l *Line) describes(e *entry.Entry) bool {
	need := entry.UID | entry.GID
	switch {
	case e.Kind != l.Kind:
		return false
	case e.Kind == entry.Symlink:
		need |= entry.Target
	case e.Kind == entry.Dir:
		need |= entry.Mode
	default:
		need |= entry.Mode | entry.Size | entry.Content
	}
	if need&^e.Have != 0 || e.UID != l.UID || e.GID != l.GID {
		return false
	}
	switch e.Kind {
	case entry.Symlink:
		return string(e.Target) == string(l.Target)
	case entry.Dir:
		return e.Mode == l.Mode
	}
	return e.Mode == l.Mode && e.Size == l.Size && e.Hashed == e.Size
}

// holds reports whether the content is that of the line.
func (l *Line) holds(ctx context.Context, c *diff.Change, contents rules.Contents) bool {
	switch {
	case l.Kind != entry.File:
		return true
	case l.Known:
		return l.BLAKE3 == c.New.Digest
	case contents == nil:
		return false
	case c.New.Size == 0:
		return l.SHA256 == sha256.Sum256(nil)
	}
	sum, ok := contents.SHA256(ctx, c.Path, c.New)
	return ok && sum == l.SHA256
}
