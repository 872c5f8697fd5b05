package review

import (
	"context"
	"errors"
	"io"
	"os"
)

// Run drives the dialog on a terminal until it is over. ctx ends it at any
// time; the terminal is as before whatever happens, and nothing is accepted
// unless accept is true.
func (d *Dialog) Run(ctx context.Context, in, out *os.File) (accept bool, err error) {
	t, err := enter(ctx, in, out)
	if err != nil {
		return false, err
	}
	defer t.leave()
	d.Plain = !t.screen
	if !t.screen {
		t.write(d.Title + "\n")
	}
	for !d.over {
		d.Resize(t.size())
		if err := d.refresh(ctx); err != nil {
			return false, err
		}
		t.draw(d.View())
		keys, err := t.wait(ctx)
		if err != nil && !t.screen {
			t.write("\n") // no Enter ended the line
		}
		if errors.Is(err, io.EOF) {
			keys, err = []stroke{{key: EOF}}, nil
		}
		if err != nil {
			return false, err
		}
		if err := d.strokes(ctx, keys, t.raw); err != nil {
			return false, err
		}
	}
	return d.accept, ctx.Err()
}

// strokes answers with what came in one piece.
func (d *Dialog) strokes(ctx context.Context, keys []stroke, raw bool) error {
	if !raw {
		return d.line(ctx, keys)
	}
	for _, k := range keys {
		if d.over {
			break
		}
		do := d.Key
		if k.pasted {
			do = d.Paste
		}
		if err := do(ctx, k.key); err != nil {
			return err
		}
	}
	return nil
}

// line answers with a line. Its first character is the answer, the rest of it
// is none, but for text that something is asked by.
func (d *Dialog) line(ctx context.Context, keys []stroke) error {
	if len(keys) == 0 {
		return nil
	}
	if keys[0].key == EOF {
		return d.Key(ctx, EOF)
	}
	if n := len(keys) - 1; keys[n].key == Enter {
		keys = keys[:n]
	}
	if !d.typing() {
		k := Enter
		if len(keys) > 0 {
			k, keys = keys[0].key, keys[1:]
		}
		if err := d.Key(ctx, k); err != nil || !d.typing() || len(keys) == 0 {
			return err
		}
	}
	for _, k := range append(keys, stroke{key: Enter}) {
		if err := d.Key(ctx, k.key); err != nil {
			return err
		}
	}
	return nil
}
