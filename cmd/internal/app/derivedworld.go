package app

import (
	"context"
	"errors"
	"slices"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/derived"
	"intact/rules/updates"
	"intact/scanner"
	"intact/scanner/entry"
)

// derivedWorld implements derived.World and derived.Lister by what the scan found:
// a file is verified where the scan found it as the baseline has it, or where a
// signed package accounts for its change. It is for one goroutine.
type derivedWorld struct {
	c        *check
	packages *updates.Explainer
	x        *scanner.Examiner

	asked   bool
	known   bool     // the sets below are whole
	changed *pathSet // paths that are not as the baseline has them
	signed  *pathSet // those of them that a signed package accounts for
	unseen  *pathSet // what was not looked at, with all below
	turned  *pathSet // links that are new or lead elsewhere, and no signed package accounts for that

	owned *ownerIndex
}

// whole reports whether no file of the package of u is known to be another than
// the package holds: one that changed is accounted for, and one that did not is
// the new version's. Configuration and folders are the administrator's.
func (w *derivedWorld) whole(ctx context.Context, u *updates.Update) bool {
	if !w.ask(ctx) {
		return false
	}
	for p, err := range u.Source.Paths() {
		if err != nil {
			return false
		}
		s, ok, err := u.Source.Lookup(p)
		if err != nil {
			return false
		}
		if !ok || s.Conffile || s.Ghost || s.Kind == entry.Dir {
			continue
		}
		at := w.packages.Place(p, u.New.Name)
		if w.changed.holds(at) {
			if !w.signed.holds(at) {
				return false
			}
			continue
		}
		e, _, ok := w.c.gen.Lookup(at)
		if ok && (e.Kind != s.Kind || s.Known && e.Have&entry.Content != 0 && e.Digest != s.BLAKE3) {
			return false
		}
	}
	return true
}

// explainer explains what packages of the updates made. A check of some paths has
// not seen what such files are made of.
func (w *derivedWorld) explainer(list []updates.Update) rules.Explainer {
	var ts []derived.Transaction
	for i := range list {
		u := &list[i]
		t := derived.Transaction{Explanation: u.Explanation(derived.Kind),
			Packages: []string{u.New.Name}, Holds: w.packages.Below(i), Upgrade: u.Level == rules.Signed}
		if u.Old == u.New {
			var known bool
			if t.Until, known = u.Until(); !known {
				continue
			}
		}
		ts = append(ts, t)
	}
	return derived.New(w, ts)
}

// Read implements derived.World.
func (w *derivedWorld) Read(ctx context.Context, p entry.Path, seen *entry.Entry, limit int64) ([]byte, bool) {
	return w.c.contentOf(ctx, p, seen, limit)
}

// ask goes over all changes once.
func (w *derivedWorld) ask(ctx context.Context) bool {
	if w.asked {
		return w.known
	}
	w.asked = true
	w.changed, w.signed, w.unseen, w.turned = newPathSet(), newPathSet(), newPathSet(), newPathSet()
	for c, err := range w.c.result.Changes() {
		if err != nil || ctx.Err() != nil {
			return false
		}
		w.changed.add(c.Path)
		if c.Kind == diff.Unverified && c.Old == nil {
			w.unseen.add(c.Path)
		}
		if explainable(c) && c.LinkOf == "" {
			if x, ok := w.packages.Explain(ctx, c); ok && x.Level == rules.Signed {
				w.signed.add(c.Path)
				continue
			}
		}
		if c.New != nil && c.New.Kind == entry.Symlink {
			w.turned.add(c.Path)
		}
	}
	w.known = true
	return true
}

// Verified implements derived.World.
func (w *derivedWorld) Verified(ctx context.Context, p entry.Path) (owner string, ok bool) {
	if !w.ask(ctx) || !w.straight(ctx, p) {
		return "", false
	}
	if p, ok = w.real(p); !ok {
		return "", false
	}
	if w.changed.holds(p) {
		ok = w.signed.holds(p)
	} else if _, _, ok = w.c.gen.Lookup(p); ok {
		for dir := p; ok && dir != "/"; dir = dir.Dir() {
			ok = !w.unseen.holds(dir)
		}
	}
	owner, _ = w.owned.owner(ctx, p)
	return owner, ok
}

// maxHops bounds the links that lead to a file.
const maxHops = 8

// straight reports whether the links that p leads through are those of the baseline,
// or signed: what is verified at the end of another one is not what p was.
func (w *derivedWorld) straight(ctx context.Context, p entry.Path) bool {
	for range maxHops {
		for at := p; at != "/"; at = at.Dir() {
			if w.turned.holds(at) {
				return false
			}
		}
		e, ok := w.Look(ctx, p)
		if !ok || e.Kind != entry.Symlink {
			return true // Real tells whether there is something
		}
		target := string(e.Target)
		if !strings.HasPrefix(target, "/") {
			target = string(p.Dir()) + "/" + target
		}
		to, err := entry.NewPath(target)
		if err != nil {
			return false
		}
		p = to
	}
	return false
}

func (w *derivedWorld) real(p entry.Path) (entry.Path, bool) {
	to, _, exists, err := w.c.root.Resolve(p)
	return to, err == nil && exists
}

// Look implements derived.World.
func (w *derivedWorld) Look(ctx context.Context, p entry.Path) (*entry.Entry, bool) {
	if !w.ask(ctx) {
		return nil, false
	}
	if !w.changed.holds(p) {
		e, _, ok := w.c.gen.Lookup(p)
		return e, ok
	}
	l, err := w.x.Path(ctx, p, nil)
	if err != nil {
		return nil, false
	}
	return &l.Entry, true
}

// Was implements derived.Rememberer.
func (w *derivedWorld) Was(p entry.Path) (*entry.Entry, bool) {
	e, _, ok := w.c.gen.Lookup(p)
	return e, ok
}

// Reference implements derived.World.
func (w *derivedWorld) Reference(ctx context.Context, p entry.Path, limit int64) ([]byte, bool) {
	p, ok := w.real(p)
	if !ok {
		return nil, false
	}
	if _, ok := w.Verified(ctx, p); !ok {
		return nil, false
	}
	e, ok := w.Look(ctx, p)
	if !ok {
		return nil, false
	}
	return w.c.contentOf(ctx, p, e, limit)
}

var errEnough = errors.New("more than was asked for")

// List implements derived.Lister.
func (w *derivedWorld) List(_ context.Context, dir entry.Path, limit int) (out []entry.Path, ok bool) {
	err := w.c.root.List(dir, func(name string, k entry.Kind) error {
		if k == entry.Dir {
			return nil
		}
		if len(out) == limit {
			return errEnough
		}
		out = append(out, dir.Join([]byte(name)))
		return nil
	})
	if absent(err) {
		return nil, true
	}
	slices.Sort(out)
	return out, err == nil
}
