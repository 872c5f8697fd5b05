package rules

import (
	"context"
	"fmt"
)

// Run lets each set judge in and gives emit the findings in the order of sets.
// It fills Set and RawSeverity and asks in.Explain about each finding with a
// change: what a signature vouches for becomes info, with its severity kept in
// RawSeverity; a local record lowers nothing. A set that panics is an error,
// as are those of a set and of emit: the judgement is not complete then.
func Run(ctx context.Context, sets []Set, in Input, emit func(Finding) error) error {
	for _, s := range sets {
		if err := runOne(ctx, s, in, emit); err != nil {
			return fmt.Errorf("judge by rule set %q: %w", s.Name(), err)
		}
	}
	return nil
}

func runOne(ctx context.Context, s Set, in Input, emit func(Finding) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()
	return s.Judge(ctx, in, func(f Finding) error {
		f.Set, f.RawSeverity = s.Name(), f.Severity
		if in.Explain != nil && f.Diff != nil && f.Explained == nil {
			if x, ok := in.Explain.Explain(ctx, f.Diff); ok {
				f.Explained = &x
			}
		}
		f.Explain(f.Explained)
		return emit(f)
	})
}
