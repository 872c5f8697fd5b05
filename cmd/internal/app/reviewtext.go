package app

import (
	"context"
	"slices"
	"strings"
	"time"

	"intact/cmd/internal/app/review"
	"intact/report"
	"intact/rules"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// Heads of items: see review.Source.
func (w *waiting) Heads(ctx context.Context, items []int32) ([]review.Head, error) {
	out := make([]review.Head, len(items))
	err := w.findings(ctx, items, func(k int, f *rules.Finding) error {
		if out[k].Path == "" {
			out[k] = review.Head{Path: f.Subject.Path, Why: report.Prose(strings.Join(f.Reasons, "; "))}
		}
		return nil
	})
	for k, i := range items {
		if n := w.seq[i]; n < 0 {
			out[k].Path = string(w.rows[-1-n].path) // state.moved is about another one
		}
	}
	return out, err
}

// Details of items as the text report shows them: see review.Source.
func (w *waiting) Details(ctx context.Context, items []int32) ([][]string, error) {
	out := make([][]string, len(items))
	err := w.findings(ctx, items, func(k int, f *rules.Finding) error {
		var b strings.Builder
		err := report.FindingText(&b, f, report.TextOptions{Now: w.a.env.Now(), Location: time.Local, User: w.a.users.User, Group: w.a.users.Group, Verbose: w.a.env.Verbose})
		out[k] = append(out[k], strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")...)
		return err
	})
	return out, err
}

// findings judges items, which are in order, again. A row comes with the change
// of the same path that goes along with it.
func (w *waiting) findings(ctx context.Context, items []int32, do func(k int, f *rules.Finding) error) error {
	var numbers []int32
	at := map[int32]int{} // the item that a change belongs to
	for k, i := range items {
		n := w.seq[i]
		if n < 0 {
			row := &w.rows[-1-n]
			if err := do(k, &row.finding); err != nil {
				return err
			}
			n = row.change
		}
		if n >= 0 {
			numbers, at[n] = append(numbers, n), k
		}
	}
	slices.Sort(numbers)
	k, created := 0, w.a.set.Header.Created
	changes := w.wanted(numbers, func(n int, since time.Time) { k, w.since = at[numbers[n]], since })
	return w.a.judge(ctx, changes, func(f rules.Finding) error {
		f.FirstSeen, f.New = w.since, !w.since.Before(created)
		return do(k, &f)
	})
}

// Find finds items by a text in their paths, as they are or as they are shown,
// or by a pattern of the policy: see review.Source.
func (w *waiting) Find(ctx context.Context, text string) (func(item int) bool, error, error) {
	hit := func(path string) bool {
		return strings.Contains(path, text) || strings.Contains(report.Escape(path), text)
	}
	if strings.HasPrefix(text, "/") && strings.ContainsAny(text, "*?[") {
		m, err := matcher([]string{text})
		if err != nil {
			return nil, err, nil
		}
		literal := hit
		hit = func(path string) bool { return literal(path) || selects(m, path) }
	}
	hits := make([]bool, len(w.seq))
	all := make([]int32, len(w.seq))
	for i, r := range w.seq {
		if all[i] = int32(i); r < 0 {
			hits[i] = hit(string(w.rows[-1-r].path))
		}
	}
	at := 0
	for c, err := range w.wanted(w.numbers(all), func(k int, _ time.Time) { at = k }) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, nil, err
		}
		hits[at] = hit(string(c.Path)) || c.From != "" && hit(string(c.From))
	}
	return func(item int) bool { return hits[item] }, nil, nil
}

func selects(m *policy.Effective, path string) bool { return m.Decide(entry.Path(path)).Select }
