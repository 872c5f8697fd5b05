package scanner

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// Reread looks again at names in directory dir, by descriptor from the root
// downwards, and returns the entries that p selects, sorted, in one block.
// Nothing below the names is read. A directory that is not there gives an
// empty block. A name that is not one path component is an error that wraps
// dirfd.ErrName: nothing was read.
func Reread(ctx context.Context, r *dirfd.Root, p *policy.Effective, dir entry.Path, names [][]byte, old Prior) (*entry.Block, []Gap, error) {
	for _, n := range names {
		if _, err := dirfd.NewName(string(n)); err != nil {
			return nil, nil, fmt.Errorf("reread %q: %w", dir, err)
		}
	}
	c := &collect{block: entry.Block{Dir: dir}}
	s := newScan(ctx, r, p, Options{Workers: 1}, old, c, nil)
	start := p.Start()
	state := &start
	d := r.Dir()
	var st dirfd.Stat
	for _, name := range dir.Components() {
		n, err := dirfd.NewName(name)
		if err == nil && state != nil {
			state = state.Enter([]byte(name))
			var next *dirfd.Dir
			if next, err = d.OpenDir(n); err == nil {
				d.Release()
				d = next
			}
		}
		if err != nil || state == nil {
			d.Release()
			if err != nil && reasonOf(err) != ReasonVanished {
				c.gaps = append(c.gaps, Gap{Path: dir, Reason: reasonOf(err), Detail: detailOf(err), Subtree: true})
			}
			return &c.block, c.gaps, nil
		}
	}
	if err := d.StatSelf(&st); err != nil {
		d.Release()
		return nil, nil, fmt.Errorf("reread %q: %w", dir, err)
	}
	s.places.root = d
	t := &task{dir: d.Hold(), place: &place{}, path: dir, state: state, mount: mountOf(&st), only: names, free: true}
	if m := r.Mounts().ByID(st.Mount); m != nil {
		t.pseudo = pseudoFS(m.FSType)
	}
	s.push(t)
	s.workers()
	_, err := s.result()
	// A part with large files comes when they are read.
	slices.SortFunc(c.block.Entries, func(a, b entry.Entry) int { return bytes.Compare(a.Name, b.Name) })
	return &c.block, c.gaps, err
}

// collect is the Sink of Reread: one worker, all parts joined.
type collect struct {
	block entry.Block
	gaps  []Gap
}

func (c *collect) Dir(_ int, b *entry.Block) error {
	for i := range b.Entries {
		c.block.Entries = append(c.block.Entries, *b.Entries[i].Clone())
	}
	return nil
}

func (c *collect) Gap(_ int, g Gap) error {
	c.gaps = append(c.gaps, g)
	return nil
}
