package review

import "context"

// pager shows the details of one group, a screen at a time. It holds the
// findings of one screen, however large the group.
type pager struct {
	items []int32
	at    place   // what the screen begins with
	next  place   // what the next one begins with
	past  []place // of the screens before
	lines []string
	fresh bool // lines are those of at
}

// place is a line of a finding.
type place struct{ item, line int }

// rewind goes to the beginning of a finding: its lines have been broken anew.
func (p *pager) rewind() {
	p.fresh, p.at.line, p.past = false, 0, nil
}

// load fills the screen.
func (d *Dialog) load(ctx context.Context) error {
	p, room := &d.pager, d.room()
	end := min(p.at.item+room, len(p.items))
	all, err := d.src.Details(ctx, p.items[p.at.item:end])
	if err != nil {
		return err
	}
	p.lines, p.next, p.fresh = nil, place{end, 0}, true
	for k, lines := range all {
		var broken []string
		for i, l := range lines {
			hang := 24
			if i == 0 {
				hang = 4
			}
			broken = append(broken, wrap(l, d.width, hang)...)
		}
		skip := 0
		if k == 0 {
			skip = min(p.at.line, len(broken))
		}
		if left := room - len(p.lines); len(broken)-skip > left {
			p.lines = append(p.lines, broken[skip:skip+left]...)
			p.next = place{p.at.item + k, skip + left}
			if left == 0 || k > 0 && len(broken) <= room {
				// It is whole on the next screen.
				p.lines = p.lines[:len(p.lines)-left]
				p.next = place{p.at.item + k, 0}
			}
			return nil
		}
		p.lines = append(p.lines, broken[skip:]...)
	}
	return nil
}

// more reports whether there is another screen.
func (p *pager) more() bool { return p.next.item < len(p.items) }

// read turns the pages of the details.
func (d *Dialog) read(ctx context.Context, k Key) error {
	p := &d.pager
	switch k {
	case ' ', Down, PageDown, Enter, 'j':
		if !p.more() {
			if k == Enter || k == ' ' {
				d.mode = browsing
			}
			return nil
		}
		p.past = append(p.past, p.at)
		p.at = p.next
	case Up, PageUp, 'b', 'k':
		if n := len(p.past); n > 0 {
			p.at, p.past = p.past[n-1], p.past[:n-1]
		} else {
			p.at = place{}
		}
	case Home:
		p.at, p.past = place{}, nil
	default:
		d.mode = browsing
		return nil
	}
	return d.load(ctx)
}

// refresh loads what a new size of the screen asks for.
func (d *Dialog) refresh(ctx context.Context) error {
	if d.mode == reading && !d.pager.fresh {
		return d.load(ctx)
	}
	return nil
}
