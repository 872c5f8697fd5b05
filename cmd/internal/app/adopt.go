package app

import (
	"context"
	"strings"
	"sync"

	"intact/baseline"
	"intact/report"
	"intact/scanner"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// AdoptOptions of Adopt.
type AdoptOptions struct {
	Reason   string
	SignWith string // as in InitOptions
	Output   Output
}

// Adopt writes a generation under the configured policy. What the baseline's
// policy selects and the new one still does must be as it was accepted: only
// coverage changes, no file is blessed by the way.
func Adopt(ctx context.Context, e *Env, o AdoptOptions) (Outcome, error) {
	if strings.TrimSpace(o.Reason) == "" {
		return Outcome{}, usageError("policy adopt: --reason TEXT is needed: it stands in the baseline's statement")
	}
	s, err := openConfigured(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	if err := s.needBaseline(); err != nil {
		return Outcome{}, err
	}
	if err := s.acquire("policy adopt"); err != nil {
		return Outcome{}, err
	}
	c := &check{session: s, gaps: &gapList{}}
	if err := c.open(ctx); err != nil {
		return Outcome{}, err
	}
	defer c.gen.Close()
	found, _, _, err := mountDrift(ctx, c.gen, c.root, c.scope)
	if err != nil {
		return Outcome{}, err
	}
	if n := len(found) + len(c.mounts); n > 0 {
		return Outcome{}, notAccepted(int64(n), "")
	}
	if err := c.selfAcceptable(); err != nil {
		return Outcome{}, err
	}
	return s.initialise(ctx, s.cfg.Policy, originConfig, InitOptions{Reason: o.Reason, SignWith: o.SignWith, Output: o.Output, adopt: c})
}

func notAccepted(n int64, first entry.Path) error {
	example := ""
	if first != "" {
		example = ", the first " + report.Escape(string(first))
	}
	what := "changes are"
	if n == 1 {
		what = "change is"
	}
	return usageErrorAs(ExitFindings, "policy adopt: %d %s not accepted%s: run check and accept first", n, what, example)
}

// heldSink holds every entry of a scan against an older generation, by what
// both attribute sets compare.
type heldSink struct {
	scanner.Sink
	old  *baseline.Generation
	was  *policy.Effective // in force with the old generation
	sets entry.Sets

	mu      sync.Mutex
	same    int64      // guarded by mu: outside sweeps, which keep some entries only
	changed int64      // guarded by mu
	first   entry.Path // guarded by mu: the least path that changed
}

// Dir implements scanner.Sink.
func (h *heldSink) Dir(w int, b *entry.Block) error {
	for i := range b.Entries {
		e := &b.Entries[i]
		p := b.Dir.Join(e.Name)
		differs := false
		if old, set, ok := h.old.Lookup(p); ok {
			mask := set.For(old.Kind) & h.sets[e.Set].For(e.Kind)
			differs = entry.Differ(old, e, mask|entry.Type) != 0 || entry.Lost(old, e, mask) != 0
		} else if d := h.was.Decide(p); !d.Select || h.was.Sets()[d.Set].Sweep && !scanner.SweepKeeps(e.Kind, e.Mode) {
			continue // only the new policy selects it
		} else {
			differs = true // added since
		}
		h.mu.Lock()
		switch {
		case !differs && h.sets[e.Set].Sweep:
		case !differs:
			h.same++
		case h.changed == 0 || p < h.first:
			h.first = p
			fallthrough
		default:
			h.changed++
		}
		h.mu.Unlock()
	}
	return h.Sink.Dir(w, b)
}

// verify refuses if anything of the old generation that is still selected was
// changed or is gone.
func (h *heldSink) verify(eff *policy.Effective) error {
	var expected int64
	for b, err := range h.old.Entries() {
		if err != nil {
			return err
		}
		for i := range b.Entries {
			if d := eff.Decide(b.Dir.Join(b.Entries[i].Name)); d.Select && !h.sets[d.Set].Sweep {
				expected++
			}
		}
	}
	if h.changed > 0 || h.same < expected {
		return notAccepted(max(h.changed, expected-h.same), h.first)
	}
	return nil
}
