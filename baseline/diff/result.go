package diff

import (
	"context"
	"iter"
	"slices"

	"intact/scanner/entry"
)

// Counts counts the changes of a result, folded and tied ones included: each
// is a path that is not as it was. A renamed path counts once, under its new
// name. With what the scan counted:
//
//	selected = verified + Changed + Added + Renamed + Unverified + known gaps
type Counts struct {
	Added      int64
	Removed    int64
	Changed    int64 // the replaced among them
	Replaced   int64
	Renamed    int64
	Unverified int64
	Unseen     int64 // entries of the baseline in subtrees that were not seen: the sum of Change.Count over Unverified
	Regained   int64
	Folded     int64 // of all the above, those that are not reported by themselves
	Linked     int64 // of all the above, those reported with another name of their inode
}

// All returns the number of all changes.
func (n Counts) All() int64 {
	return n.Added + n.Removed + n.Changed + n.Renamed + n.Unverified + n.Regained
}

// Result is what a Spool made of its changes. It may be read several times,
// also at the same time.
type Result struct {
	tape   *tape
	counts Counts
}

// Counts returns the counts of all changes.
func (r *Result) Counts() Counts { return r.counts }

// Changes returns all changes in key order. Each may be kept and altered by
// its receiver. An error ends the sequence.
func (r *Result) Changes() iter.Seq2[*Change, error] {
	return func(yield func(*Change, error) bool) {
		err := r.tape.each(func(_ int64, h header, b []byte) (bool, error) {
			c, err := r.resolve(h, b)
			if err != nil || c == nil {
				return err == nil, err
			}
			return yield(c, nil), nil
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// resolve makes the change that a record of the tape stands for, nil for the
// removed half of a pair.
func (r *Result) resolve(h header, b []byte) (*Change, error) {
	if h.flags&gone != 0 {
		return nil, nil
	}
	c, err := DecodeChange(b)
	if err != nil {
		return nil, err
	}
	c.Folded = h.flags&folded != 0
	if h.from != 0 {
		from, err := r.tape.change(h.from - 1)
		if err != nil {
			return nil, err
		}
		rename(c, from)
		c.Count = h.count
	}
	if h.leader != 0 {
		leader, err := r.tape.change(h.leader - 1)
		if err != nil {
			return nil, err
		}
		c.LinkOf = leader.Path
		return c, nil
	}
	for next := h.next; next != 0 && len(c.Links) < MaxLinks; {
		other, err := r.tape.change(next - 1)
		if err != nil {
			return nil, err
		}
		c.Links = append(c.Links, other.Path)
		oh, err := r.tape.header(next - 1)
		if err != nil {
			return nil, err
		}
		next = oh.next
	}
	return c, nil
}

// rename makes the added change c the renamed one that from was the start of.
// What another policy line does not read at the new place is not lost.
func rename(c, from *Change) {
	c.Kind, c.From = Renamed, from.Path
	c.Old, c.OldSet = from.Old, from.OldSet
	mask := c.OldSet.For(c.Old.Kind)
	c.Attrs = entry.Differ(c.Old, c.New, mask)
	c.Lost = entry.Lost(c.Old, c.New, mask&c.NewSet.For(c.New.Kind))
	c.Gained = entry.Lost(c.New, c.Old, mask)
}

// movedDir is a renamed directory above the change that settle is at.
type movedDir struct {
	from, to entry.Path
	at       int64
	count    int64
}

// settle folds what moved along with a renamed directory and counts it.
func (r *Result) settle(ctx context.Context) error {
	if r.counts.Renamed == 0 {
		return nil
	}
	var dirs []movedDir
	n := 0
	err := r.tape.each(func(at int64, h header, b []byte) (bool, error) {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if h.flags&gone != 0 || h.from == 0 {
			return true, nil
		}
		c, err := r.resolve(h, b)
		if err != nil {
			return false, err
		}
		if dirs, err = r.below(dirs, c.Path); err != nil {
			return false, err
		}
		along := slices.IndexFunc(dirs, func(d movedDir) bool { return d.from+c.Path[len(d.to):] == c.From })
		switch {
		case along >= 0:
			dirs[along].count++
			if c.Attrs&^entry.Ctime == 0 && c.Lost == 0 {
				r.counts.Folded++
				err = r.tape.update(at, func(h *header) { h.flags |= folded })
			}
		case c.New.Kind == entry.Dir:
			dirs = append(dirs, movedDir{from: c.From, to: c.Path, at: at})
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	_, err = r.below(dirs, "")
	return err
}

// below takes the directories that path is not below off the stack and notes
// how many entries moved along with each.
func (r *Result) below(dirs []movedDir, path entry.Path) ([]movedDir, error) {
	for k := len(dirs); k > 0 && !path.Under(dirs[k-1].to); k-- {
		d := dirs[k-1]
		dirs = dirs[:k-1]
		if err := r.tape.update(d.at, func(h *header) { h.count = d.count }); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// add counts a change before anything is paired; count is Change.Count. It
// returns false where there is no such kind.
func (n *Counts) add(k Kind, count int64) bool {
	switch k {
	case Added:
		n.Added++
	case Removed:
		n.Removed++
	case Changed:
		n.Changed++
	case Replaced:
		n.Changed++
		n.Replaced++
	case Renamed:
		n.Renamed++
	case Unverified:
		n.Unverified++
		n.Unseen += count
	case Regained:
		n.Regained++
	default:
		return false
	}
	return true
}
