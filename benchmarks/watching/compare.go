package watching

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// told remembers what the reports of a watcher said last of each path.
type told struct {
	mu       sync.Mutex
	paths    map[string]string // the words of words, by path
	pending  string            // of the last report
	findings int64
	degraded int64
	note     bool // the report that is read has one
	accepted bool // what was told before was against another baseline
}

func newTold() *told { return &told{paths: map[string]string{}} }

func (t *told) take(l *Line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch l.Type {
	case "finding":
		if l.Set != "integrity" {
			return
		}
		t.findings++
		t.paths[l.Name()] = words(l)
		for _, p := range l.Links {
			t.paths[p] = words(l)
		}
		if l.From != "" {
			t.paths[l.From] = gone
		}
	case "note":
		t.note = t.note || strings.HasPrefix(l.Text, "degraded:")
	case "trailer":
		t.pending = l.Pending
		if t.note {
			t.degraded++
			t.note = false
		}
	}
}

func (t *told) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.paths)
}

func (t *told) counts() (findings, degraded int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.findings, t.degraded
}

// tookStored counts what a stored report told, which the watcher then does not tell.
func (t *told) tookStored(report []byte) error {
	for l, err := range linesOf(report) {
		if err != nil {
			return err
		}
		if l.Type == "finding" {
			t.take(l)
		}
	}
	return nil
}

// accept says that another baseline comes: what is told differs from it in other
// attributes than before.
func (t *told) accept() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepted = true
}

const gone = "gone"

// words are the new values of a finding. One that was told as renamed, added or
// replaced has the same ones.
func words(l *Line) string {
	if l.Change == "removed" {
		return gone
	}
	var list []Attribute
	if err := json.Unmarshal(l.Attributes, &list); err != nil && len(l.Attributes) > 0 {
		return err.Error()
	}
	var out []string
	for _, a := range list {
		if a.New != nil {
			out = append(out, a.Name+"="+*a.New)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// compare checks the whole root, and returns the number of paths that differ from
// the baseline and what the watcher said otherwise.
func (h *Host) compare(ctx context.Context, t *told) (n int, wrong []string, err error) {
	out, err := h.run(ctx, 1, "check", "--format", "json")
	if err != nil {
		return 0, nil, err
	}
	fresh, err := h.fresh(out, t)
	if err != nil {
		return 0, nil, err
	}
	check, err := h.states(fresh.pending)
	if err != nil {
		return 0, nil, fmt.Errorf("pending set of the check: %w", err)
	}
	watch, err := h.states(t.pending)
	if err != nil {
		return 0, nil, fmt.Errorf("pending set of the watcher: %w", err)
	}
	wrong = fresh.wrong
	for _, p := range slices.Sorted(maps.Keys(check)) {
		if watch[p] != check[p] {
			wrong = append(wrong, fmt.Sprintf("%q: a check finds %s, the watcher has %q", p, check[p], watch[p]))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(watch)) {
		if _, ok := check[p]; !ok {
			wrong = append(wrong, fmt.Sprintf("%q: a check finds nothing, the watcher has %s", p, watch[p]))
		}
	}
	return len(check), wrong, nil
}

// freshly is what a check reported.
type freshly struct {
	pending string
	wrong   []string // findings that the watcher never told with these values
}

// fresh reads the report of a check beside what was told.
func (h *Host) fresh(report []byte, t *told) (f freshly, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for l, err := range linesOf(report) {
		if err != nil {
			return f, err
		}
		switch l.Type {
		case "finding":
			if l.Set != "integrity" {
				continue
			}
			if was, ok := t.paths[l.Name()]; !ok || l.Change == "removed" && was != gone {
				f.wrong = append(f.wrong, fmt.Sprintf("%q: a check tells %s, the watcher told %q", l.Name(), l.Change, was))
			} else if l.Change == "changed" && was != words(l) && !t.accepted {
				f.wrong = append(f.wrong, fmt.Sprintf("%q: a check tells %q, the watcher told %q", l.Name(), words(l), was))
			}
		case "trailer":
			f.pending = l.Pending
		}
	}
	return f, nil
}

// linesOf takes a stored report apart.
func linesOf(report []byte) iter.Seq2[*Line, error] {
	return func(yield func(*Line, error) bool) {
		for text := range bytes.Lines(report) {
			l := new(Line)
			if err := json.Unmarshal(text, l); !yield(l, err) || err != nil {
				return
			}
		}
	}
}

// states are what a pending set says of each path that differs: all values that
// are compared, or that it is gone. A rename is one that went and one that came:
// whether two looks or one saw it is not what counts.
func (h *Host) states(name string) (map[string]string, error) {
	out := map[string]string{}
	if name == "" {
		return out, nil
	}
	sum, err := digest.Parse(name)
	if err != nil {
		return nil, err
	}
	store, err := baseline.OpenStore(h.state())
	if err != nil {
		return nil, err
	}
	set, err := store.OpenPending(sum)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	for c, err := range set.Changes() {
		if err != nil {
			return nil, err
		}
		if c.From != "" {
			if _, came := out[string(c.From)]; !came {
				out[string(c.From)] = gone
			}
		}
		out[string(c.Path)] = state(c.Change)
	}
	rows, err := set.Rows()
	for _, r := range rows {
		if r.Kind != "finding" {
			out["row "+r.Kind+" "+string(r.Key)] = string(r.New)
		}
	}
	return out, err
}

func state(c *diff.Change) string {
	e := c.New
	if e == nil {
		if c.Kind == diff.Removed {
			return gone
		}
		return c.Kind.String() + " " + c.Reason
	}
	var out []string
	have := c.NewSet.For(e.Kind)
	for _, a := range entry.Table() {
		if have&a.Bit == 0 {
			continue
		}
		if v, ok := entry.Text(a.Bit, e); ok {
			out = append(out, a.Name+"="+v)
		}
	}
	return strings.Join(out, " ")
}
