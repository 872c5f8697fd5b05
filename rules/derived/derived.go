// Package derived explains changes of files that package transactions make and
// that no package holds: caches, indexes, bundles, links.
//
// Which paths these are, and what must hold of each, is the table classes.yaml;
// what stands in no row is unexplained. There are two strengths. Where the
// content is computed again, or every reference in it resolves to a file that
// is verified, the explanation is as strong as the transaction's. Where only a
// header matches or a trigger would have run, it is attributed at most.
//
// The package does no I/O: it asks a World. Every answer of false explains
// nothing, and every parser here is bounded: an intruder may have written what
// it reads.
package derived

import (
	"context"
	"time"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// Kind is the kind of the explanations that come from here.
const Kind = "derived"

// World is what is known of the host beside the change.
type World interface {
	// Read gives the bytes of p as the scan saw them, their BLAKE3 being
	// seen.Digest, at most limit. False: they cannot be had.
	Read(ctx context.Context, p entry.Path, seen *entry.Entry, limit int64) ([]byte, bool)
	// Verified reports whether p, links followed inside the root, is now exactly
	// what the baseline has, or has changed in a way that is explained as signed.
	// owner is the package that holds it, "" for none.
	Verified(ctx context.Context, p entry.Path) (owner string, ok bool)
	// Look gives the present entry of p itself, whether it changed or not.
	Look(ctx context.Context, p entry.Path) (*entry.Entry, bool)
	// Reference gives the content of a verified file, checked by its digest, at
	// most limit bytes, links followed inside the root.
	Reference(ctx context.Context, p entry.Path, limit int64) ([]byte, bool)
}

// Lister is what a World may know besides. Without it nothing is explained
// that takes a look into a folder: slaves and names of alternatives, a CA bundle
// with certificates of the administrator's, libraries outside of the usual
// folders.
type Lister interface {
	// List gives the paths of what now is in the folder dir that is no folder
	// itself, at most limit. False: they cannot be had, or there are more. A
	// folder that is not there is empty.
	List(ctx context.Context, dir entry.Path, limit int) ([]entry.Path, bool)
}

// Rememberer is what a World may know besides. Without it no copy of what was there
// before is explained.
type Rememberer interface {
	// Was gives what the baseline has at p itself.
	Was(p entry.Path) (*entry.Entry, bool)
}

// Transaction is one or more packages that came, changed or went together.
type Transaction struct {
	rules.Explanation // as it is said of files of the packages: Kind is replaced, Level at most kept
	Packages          []string
	// Holds reports whether any package of the transaction holds p or something
	// below p.
	Holds func(p entry.Path) bool
	// Until is when the last of it was made, where the baseline has the packages
	// already: what comes later is not of it. Zero: it may be made now.
	Until   time.Time
	Upgrade bool // to a higher version of what the baseline has; else attributed at most
}

// maxAnswers bounds what is kept of answers, maxSources what a file is made of.
const (
	maxAnswers = 1024
	maxSources = 50_000
)

// answer is what a check found.
type answer struct {
	level   string       // rules.Signed, rules.Attributed; "": nothing is explained
	sources []entry.Path // what the file is made of or leads to
	again   bool         // it was written anew and is what it was
}

var (
	nothing = answer{}
	weak    = answer{level: rules.Attributed}
)

// explainer implements rules.Explainer. It is for one goroutine, as its World
// may be.
type explainer struct {
	world        World
	transactions []Transaction
	table        *table
	groups       map[string]*group // of alternatives, by the names of their links; nil: not asked yet
	links        map[entry.Path]string
	kept         map[string]answer // of costly checks
}

// New returns an explainer by transactions t. Of several that may have made a
// file, the one with the strongest level is named, and of these the first.
func New(w World, t []Transaction) rules.Explainer {
	table, err := parseTable(tableText)
	if err != nil {
		panic(err) // it is embedded, and a test reads it
	}
	return &explainer{world: w, transactions: t, table: table, kept: map[string]answer{}}
}

// Explain implements rules.Explainer.
func (x *explainer) Explain(ctx context.Context, c *diff.Change) (rules.Explanation, bool) {
	if len(x.transactions) == 0 || c.Lost != 0 || c.Gained != 0 || c.LinkOf != "" || len(c.Links) > 0 {
		return rules.Explanation{}, false
	}
	var e *entry.Entry
	switch c.Kind {
	case diff.Added, diff.Changed, diff.Replaced:
		e = c.New
	case diff.Removed:
		e = c.Old
	}
	if e == nil {
		return rules.Explanation{}, false
	}
	row := x.table.row(c.Path, e)
	if row == nil {
		return rules.Explanation{}, false
	}
	var a answer
	switch {
	case c.Kind == diff.Removed:
		a = x.removed(row, c)
	case row.plain(c) && again(c):
		a = answer{level: rules.Signed, again: true}
	case row.plain(c):
		a = x.check(ctx, row, c)
	}
	if a.level == "" || ctx.Err() != nil {
		return rules.Explanation{}, false
	}
	return x.attribute(row, c, a)
}

// again reports whether a file was replaced by one that the baseline cannot tell
// from it but by times and inode. Whatever is run at the end of a transaction may
// write what there was: the baseline vouches for that.
func again(c *diff.Change) bool {
	return c.Kind == diff.Replaced && c.Old != nil && c.New.Kind == entry.File && c.Attrs&^follows == 0 &&
		c.Old.Have&c.New.Have&entry.Content != 0 && c.Old.Digest == c.New.Digest
}

// removed is the answer for a file that went away: nothing can be read.
func (x *explainer) removed(row *class, c *diff.Change) answer {
	if !row.removed {
		return nothing
	}
	a := weak
	if row.how == "pyc" {
		source, ok := sourceOf(c.Path)
		if !ok {
			return nothing
		}
		a.sources = []entry.Path{source}
	}
	return a
}

// check runs the check of the row. The answer is the same each time.
func (x *explainer) check(ctx context.Context, row *class, c *diff.Change) answer {
	run := checks[row.how]
	if row.how == "trigger" || row.how == "pyc" || c.New.Kind != entry.File {
		return run(x, ctx, c)
	}
	key := string(c.Path) + "\x00" + string(c.New.Digest[:])
	a, ok := x.kept[key]
	if !ok {
		if a = run(x, ctx, c); ctx.Err() == nil && len(x.kept) < maxAnswers {
			x.kept[key] = a
		}
	}
	return a
}

// attribute names the transaction that made the file.
func (x *explainer) attribute(row *class, c *diff.Change, a answer) (rules.Explanation, bool) {
	var best *rules.Explanation
	for i := range x.transactions {
		t := &x.transactions[i]
		if t.Holds == nil || t.late(c) || !a.again && !row.triggered(t, c.Path, a.sources) {
			continue
		}
		e := &rules.Explanation{}
		*e = t.Explanation
		e.Kind = Kind
		if weaker := (&rules.Explanation{Level: rules.Attributed}); a.level != rules.Signed || !t.Upgrade && !a.again {
			if e.Rank() > weaker.Rank() {
				e.Level = weaker.Level
			}
		}
		if e.Rank() > best.Rank() {
			best = e
		}
	}
	if best == nil {
		return rules.Explanation{}, false
	}
	return *best, true
}

// late reports whether c came when all of t was made.
func (t *Transaction) late(c *diff.Change) bool {
	return !t.Until.IsZero() && (c.New == nil || c.New.Have&entry.Ctime == 0 || time.Unix(c.New.Ctime.Sec, 0).After(t.Until))
}

// triggered reports whether t would have made p.
func (r *class) triggered(t *Transaction, p entry.Path, sources []entry.Path) bool {
	for _, w := range r.trigger {
		switch w {
		case "any":
			return true
		case "beside":
			if holds(t, p.Dir()) {
				return true
			}
		case "source":
			for _, s := range sources {
				if holds(t, s) {
					return true
				}
			}
		default:
			if holds(t, entry.Path(w)) {
				return true
			}
		}
	}
	return false
}

// holds asks under both names that a path has where /usr is merged.
func holds(t *Transaction, p entry.Path) bool {
	if t.Holds(p) {
		return true
	}
	alias, ok := merged(p)
	return ok && t.Holds(alias)
}

// Attributes that a check speaks of, and what follows for whoever writes a file
// anew. Of a link the mode says nothing.
const (
	said    = entry.Type | entry.Mode | entry.UID | entry.GID | entry.Size | entry.Content | entry.Target
	follows = entry.Mtime | entry.Ctime | entry.Inode
	beyond  = entry.XattrAttr | entry.ACL | entry.Caps | entry.Flags
)

// plain reports whether type, mode and owner are those of the row, and whether
// nothing is there or differs that no check speaks of: a capability, an ACL, an
// extended attribute, a flag.
func (r *class) plain(c *diff.Change) bool {
	e := c.New
	may, need := said|follows, entry.UID|entry.GID
	switch r.kind {
	case entry.Dir:
		may |= entry.Nlink | entry.Size // of what is in it
		need |= entry.Mode
	case entry.File:
		need |= entry.Mode | entry.Size | entry.Content
		if e.Hashed != e.Size || e.Have&entry.Nlink != 0 && e.Nlink > 1 {
			return false
		}
	case entry.Symlink:
		need |= entry.Target
	}
	if c.Attrs&^may != 0 || need&^e.Have != 0 || e.UID != r.uid || e.GID != r.gid || !r.allows(e) {
		return false
	}
	if compared := c.NewSet.For(e.Kind) & beyond; compared&^e.Have != 0 {
		return false // it may have anything
	}
	return !(e.Have&entry.XattrAttr != 0 && len(e.Xattr) > 0 || e.Have&entry.ACL != 0 && (e.ACL != nil || e.DefACL != nil) ||
		e.Have&entry.Caps != 0 && e.Caps != nil || e.Have&entry.Flags != 0 && e.Flags != 0)
}

// read gives what the change put there.
func (x *explainer) read(ctx context.Context, c *diff.Change, limit int64) ([]byte, bool) {
	if c.New.Size > limit {
		return nil, false
	}
	b, ok := x.world.Read(ctx, c.Path, c.New, limit)
	return b, ok && int64(len(b)) == c.New.Size && digest.Sum(b) == c.New.Digest
}

// owned reports whether p is verified and some package holds it.
func (x *explainer) owned(ctx context.Context, p entry.Path) bool {
	owner, ok := x.world.Verified(ctx, p)
	return ok && owner != ""
}

// list gives what is in a folder, nothing where the World cannot say.
func (x *explainer) list(ctx context.Context, dir entry.Path, limit int) ([]entry.Path, bool) {
	l, ok := x.world.(Lister)
	if !ok {
		return nil, false
	}
	names, ok := l.List(ctx, dir, limit)
	return names, ok && len(names) <= limit
}
