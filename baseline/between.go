package baseline

import (
	"bytes"
	"context"
	"fmt"

	"intact/baseline/diff"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// Contrast says how two generations are compared. The zero value compares
// everything that both compare, of everything that both hold.
type Contrast struct {
	// LeaveOut is not compared, and LeaveOutDirs not of directories. Objects
	// whose inodes are left out are not recognised by them either.
	LeaveOut, LeaveOutDirs entry.Attr
	// OldSelects and NewSelects say whether the policy of a generation selects
	// a path that it does not hold; nil: it does.
	OldSelects, NewSelects func(entry.Path) bool
}

// ContrastCounts is what a comparison of two generations counted besides its
// changes. Every entry of either is in one of them or has a change.
type ContrastCounts struct {
	Equal     int64 // entries of both
	OnlyOld   int64 // entries that only the older one's policy selects
	OnlyNew   int64
	UnseenOld int64 // entries of the newer one that lie in gaps of the older one
	UnseenNew int64
}

// Between compares two generations, which may be of different hosts and
// policies, and gives their differences to spool, as worker 0, in tree order.
// Of an entry that both hold, what both policies compare is compared.
// Directories of one digest and one table of attribute sets are not unpacked.
func Between(ctx context.Context, old, now *Generation, o Contrast, spool Spool) (n ContrastCounts, err error) {
	c := contrast{o: o, spool: spool, n: &n}
	for _, s := range []struct {
		side *half
		g    *Generation
	}{{&c.old, old}, {&c.now, now}} {
		if err := s.side.open(s.g); err != nil {
			return n, fmt.Errorf("compare generations: %w", err)
		}
		defer s.side.cur.close()
	}
	c.oneTable = equalSets(old.sets, now.sets)
	if err := c.run(ctx); err != nil {
		return n, fmt.Errorf("compare generations: %w", err)
	}
	return n, nil
}

func equalSets(a, b entry.Sets) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// half walks the entries of one generation in order. Its part is unpacked when
// its first entry is asked for.
type half struct {
	g      *Generation
	cur    *cursor
	gaps   map[entry.Path]string // reasons
	more   bool                  // cur stands at a part
	dir    []byte                // key of its directory
	part   uint32
	block  entry.Block
	at     int // in block; 0 and not loaded: at the beginning
	loaded bool
}

func (h *half) open(g *Generation) (err error) {
	h.g = g
	rows, err := g.Rows(KindGap)
	if err != nil {
		return err
	}
	h.gaps = map[entry.Path]string{}
	for _, r := range rows {
		if p, _, err := entry.ParseKey(r.Key); err == nil {
			h.gaps[p] = string(r.Value)
		}
	}
	if h.cur, err = g.cursor(bucketDirs); err == nil {
		err = h.step()
	}
	return err
}

// step goes to the next part.
func (h *half) step() error {
	h.loaded, h.at = false, 0
	if h.more = h.cur.next(); h.more {
		h.dir, h.part = dirKeyOf(h.cur.key)
	}
	return h.cur.err
}

// entry returns the entry that h stands at.
func (h *half) entry() (*entry.Entry, error) {
	if !h.loaded {
		if cap(h.block.Entries) > maxRoom {
			h.block = entry.Block{}
		}
		if err := h.g.decodeTo(&h.block, h.cur.key, h.cur.value); err != nil {
			return nil, err
		}
		if len(h.block.Entries) == 0 {
			return nil, fmt.Errorf("%w: directory %q: an empty part", ErrDamaged, h.block.Dir)
		}
		h.loaded = true
	}
	return &h.block.Entries[h.at], nil
}

// pass goes to the next entry.
func (h *half) pass() error {
	if h.at++; h.at < len(h.block.Entries) {
		return nil
	}
	return h.step()
}

// unseen returns why p could not be seen, "" if it could.
func (h *half) unseen(p entry.Path) string {
	for len(h.gaps) > 0 {
		if why, is := h.gaps[p]; is {
			return why
		}
		if p == "/" {
			break
		}
		p = p.Dir()
	}
	return ""
}

type contrast struct {
	o        Contrast
	spool    Spool
	n        *ContrastCounts
	old, now half
	oneTable bool // both refer to the same attribute sets by the same numbers
}

func (c *contrast) run(ctx context.Context) error {
	for i := 0; c.old.more || c.now.more; i++ {
		if i%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok, err := c.skip(); ok || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := c.pair(); err != nil {
			return err
		}
	}
	return nil
}

// skip passes over a part that both hold alike.
func (c *contrast) skip() (bool, error) {
	o, n := &c.old, &c.now
	if !c.oneTable || !o.more || !n.more || o.at > 0 || n.at > 0 || !bytes.Equal(o.cur.key, n.cur.key) ||
		len(o.cur.value) < digest.Size || len(n.cur.value) < digest.Size || !bytes.Equal(o.cur.value[:digest.Size], n.cur.value[:digest.Size]) {
		return false, nil
	}
	// The digest is that of the compared part, which nobody has held against it yet.
	for _, h := range []*half{o, n} {
		if err := entry.Packed(h.cur.value).Verify(); err != nil {
			return false, fmt.Errorf("directory %q: %w: %w", h.dir, ErrDamaged, err)
		}
	}
	_, entries, _ := peek(o.cur.value)
	c.n.Equal += int64(entries)
	if err := o.step(); err != nil {
		return false, err
	}
	return true, n.step()
}

// pair takes the next entry, of both if they have one name.
func (c *contrast) pair() error {
	var o, n *entry.Entry
	var err error
	order := 0
	switch {
	case !c.now.more:
		order = -1
	case !c.old.more:
		order = 1
	default:
		order = bytes.Compare(c.old.dir, c.now.dir)
	}
	if order <= 0 {
		if o, err = c.old.entry(); err != nil {
			return err
		}
	}
	if order >= 0 {
		if n, err = c.now.entry(); err != nil {
			return err
		}
	}
	if order == 0 {
		if order = bytes.Compare(o.Name, n.Name); order < 0 {
			n = nil
		} else if order > 0 {
			o = nil
		}
	}
	if err := c.differ(o, n); err != nil {
		return err
	}
	if o != nil {
		if err := c.old.pass(); err != nil {
			return err
		}
	}
	if n != nil {
		return c.now.pass()
	}
	return nil
}

// differ compares two entries of one name; one of them may be nil.
func (c *contrast) differ(o, n *entry.Entry) error {
	var was, is []entry.Entry
	dir := c.now.block.Dir
	if o != nil {
		was, dir = []entry.Entry{*o}, c.old.block.Dir
	}
	if n != nil {
		is = []entry.Entry{*n}
	}
	found := false
	err := diff.Join(dir, was, is, c.old.g.sets, c.now.g.sets, func(ch *diff.Change) error {
		found = true
		return c.change(ch)
	})
	if err == nil && !found {
		c.n.Equal++
	}
	return err
}

// change narrows ch to what both compare, and gives it to the spool.
func (c *contrast) change(ch *diff.Change) error {
	switch {
	case ch.Old == nil:
		return c.onlyOne(ch, &c.old, c.o.OldSelects, &c.n.OnlyNew, &c.n.UnseenOld)
	case ch.New == nil:
		return c.onlyOne(ch, &c.now, c.o.NewSelects, &c.n.OnlyOld, &c.n.UnseenNew)
	}
	leave := c.o.LeaveOut
	if ch.Old.Kind == entry.Dir && ch.New.Kind == entry.Dir {
		leave |= c.o.LeaveOutDirs
	}
	both := (ch.OldSet.For(ch.Old.Kind)&ch.NewSet.For(ch.New.Kind) | entry.Type) &^ leave
	ch.Attrs, ch.Lost, ch.Gained = ch.Attrs&both, ch.Lost&both, ch.Gained&both
	switch {
	case ch.Kind == diff.Replaced && c.o.LeaveOut&entry.Inode == 0:
	case ch.Attrs != 0:
		ch.Kind = diff.Changed
	case ch.Lost != 0:
		ch.Kind = diff.Unverified
	case ch.Gained != 0:
		ch.Kind = diff.Regained
	default:
		c.n.Equal++
		return nil
	}
	if ch.Lost != 0 {
		if ch.Reason = c.now.unseen(ch.Path); ch.Reason == "" {
			ch.Reason = string(scanner.ReasonUnsupported)
		}
	}
	return c.add(ch)
}

// onlyOne takes an entry that the half lacks is without.
func (c *contrast) onlyOne(ch *diff.Change, lacks *half, selects func(entry.Path) bool, unselected, unseen *int64) error {
	switch {
	case selects != nil && !selects(ch.Path):
		*unselected++
	case lacks.unseen(ch.Path) != "":
		*unseen++
	default:
		return c.add(ch)
	}
	return nil
}

// add spools ch. By what is left out nothing is recognised: two hosts give
// inode numbers each by itself.
func (c *contrast) add(ch *diff.Change) error {
	if c.o.LeaveOut&entry.Inode != 0 {
		for _, e := range []*entry.Entry{ch.Old, ch.New} {
			if e != nil {
				e.Have &^= entry.Inode | entry.Device | entry.Btime
			}
		}
	}
	return c.spool.Add(0, ch)
}

// RowsBetween returns how the rows of now differ from those of old, in stored
// order.
func RowsBetween(old, now *Generation) ([]diff.RowChange, error) {
	a, err := allRows(old)
	if err != nil {
		return nil, err
	}
	b, err := allRows(now)
	if err != nil {
		return nil, err
	}
	var out []diff.RowChange
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			if order = bytes.Compare([]byte(a[0].Kind), []byte(b[0].Kind)); order == 0 {
				order = bytes.Compare(a[0].Key, b[0].Key)
			}
		}
		var c diff.RowChange
		if order <= 0 {
			c = diff.RowChange{Kind: a[0].Kind, Key: a[0].Key, Old: notNil(a[0].Value)}
			a = a[1:]
		}
		if order >= 0 {
			c.Kind, c.Key, c.New = b[0].Kind, b[0].Key, notNil(b[0].Value)
			b = b[1:]
		}
		if c.Old == nil || c.New == nil || !bytes.Equal(c.Old, c.New) {
			out = append(out, c)
		}
	}
	return out, nil
}

func notNil(v []byte) []byte {
	if v == nil {
		return []byte{}
	}
	return v
}

func allRows(g *Generation) (out []diff.Row, err error) {
	for r, err := range g.rows() {
		if err != nil {
			return nil, fmt.Errorf("read rows: %w", err)
		}
		out = append(out, r)
	}
	return out, nil
}
