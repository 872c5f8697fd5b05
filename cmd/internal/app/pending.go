package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/integrity"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// rowFinding is the kind of the pending rows that only carry the history of
// findings about the policy: there is nothing in them to accept.
const rowFinding = "finding"

// pendingJudge knows what the previous check left pending, to tell new
// findings from old ones. It is read along, in the same order as findings.
type pendingJudge struct {
	set  *baseline.Pending
	next func() (baseline.EncodedChange, error, bool)
	stop func()
	rows map[string]time.Time // kind NUL key NUL new value

	more    bool // cur is a change
	cur     baseline.EncodedChange
	decoded *diff.Change // of cur, nil: not yet
}

// previous opens the pending set of the newest report that has one. What
// cannot be read is no reason to fail: everything then counts as new.
func (c *check) previous() (*pendingJudge, error) {
	p := &pendingJudge{rows: map[string]time.Time{}, stop: func() {}}
	if c.o.NoState {
		return p, nil
	}
	sum, err := c.lastPending()
	if err != nil || sum == (digest.Digest{}) {
		return p, err
	}
	if p.set, err = c.store.OpenPending(sum); err != nil {
		c.historyLost(err)
		p.set = nil
		return p, nil
	}
	rows, err := p.set.Rows()
	if err != nil {
		c.historyLost(err)
	}
	for _, r := range rows {
		p.rows[rowID(r.RowChange)] = r.FirstSeen
	}
	p.rewind()
	return p, nil
}

// rewind goes to the first change that the previous check left.
func (p *pendingJudge) rewind() {
	p.next, p.stop = iter.Pull2(p.set.Encoded())
	p.advance()
}

// historyLost says so in the report too: what was pending counts as new.
func (c *check) historyLost(err error) {
	text := fmt.Sprintf("the history of pending changes is lost, all of them count as new: %v", err)
	c.env.warn("%s", text)
	c.remark(text)
}

func rowID(r diff.RowChange) string {
	return r.Kind + "\x00" + string(r.Key) + "\x00" + string(r.New)
}

// lastPending returns the pending set that the newest complete check names. The
// set is verified by its digest: what lies between the ends of a report says no
// more about it.
func (s *session) lastPending() (digest.Digest, error) {
	list, err := s.archive().List()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return digest.Digest{}, err
	}
	for i, tries := len(list)-1, 0; i >= 0 && tries < 20; i-- {
		if list[i].Kind == report.KindAccept || list[i].Kind == report.KindUpdate {
			continue
		}
		tries++
		h, t, err := list[i].Ends()
		if err != nil || t.Pending == "" || h.Root != s.root.HostPath() {
			continue
		}
		if d, err := digest.Parse(t.Pending); err == nil {
			return d, nil
		}
	}
	return digest.Digest{}, nil
}

// readEnds reads a stored report whole and returns its trailer and header.
func readEnds(s report.Stored) (t report.Trailer, h report.Header, err error) {
	f, err := s.Open()
	if err != nil {
		return t, h, err
	}
	defer f.Close()
	r := report.NewReader(f)
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return t, h, nil
		}
		if err != nil {
			return t, h, err
		}
		if rec.Header != nil {
			h = *rec.Header
		}
		if rec.Trailer != nil {
			t = *rec.Trailer
		}
	}
}

// advance goes to the next change that the previous check left.
func (p *pendingJudge) advance() {
	var err error
	p.decoded = nil
	if p.cur, err, p.more = p.next(); err != nil {
		p.more = false
	}
}

// change returns when ch, encoded, was first seen. Calls must be in key order.
// What waits already is mostly the same bytes, and those need no decoding: ch
// was encoded from what is true now.
func (p *pendingJudge) change(ch *diff.Change, encoded []byte) (time.Time, bool) {
	var key []byte
	for p.more {
		if bytes.Equal(p.cur.Bytes, encoded) {
			return p.cur.FirstSeen, true
		}
		if p.decoded == nil {
			var err error
			if p.decoded, err = diff.DecodeChange(bytes.Clone(p.cur.Bytes)); err != nil {
				p.more = false
				break
			}
		}
		if key == nil {
			key = ch.Path.Key()
		}
		if bytes.Compare(p.decoded.Path.Key(), key) >= 0 {
			break
		}
		p.advance()
	}
	if o := p.decoded; !p.more || o.Path != ch.Path || o.Kind != ch.Kind || o.From != ch.From || !sameEntry(o.New, ch.New) {
		return time.Time{}, false
	}
	return p.cur.FirstSeen, true
}

func sameEntry(a, b *entry.Entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	what := entry.All
	if a.Kind == entry.Dir && b.Kind == entry.Dir {
		what &^= entry.Mtime | entry.Ctime | entry.Size | entry.Nlink // they follow what comes and goes in it
	}
	return a.Have == b.Have && entry.Differ(a, b, what) == 0
}

func (p *pendingJudge) close() {
	p.stop()
	if p.set != nil {
		p.set.Close()
	}
}

// pendingRows are the rows to keep: changed ones, and the history of findings
// that have no row.
func (c *check) pendingRows(now time.Time) []baseline.PendingRow {
	list := slices.Concat(c.rows, c.ruled.rows)
	for _, f := range slices.Concat(c.drift, c.trusts, c.pkgs, c.facts.lost, c.look.found(), c.mass.found) {
		if f.Rule == "trust.self" || f.Subject.Kind == rowPackage && f.Rule != "pkg.unreadable" {
			continue // it has a row
		}
		list = append(list, diff.RowChange{Kind: rowFinding, Key: findingKey(&f)})
	}
	out := c.unlooked()
	for _, r := range list {
		since, ok := c.pending.rows[rowID(r)]
		if dir, is := massDir(&r); is {
			since, ok = c.massSince(dir)
		}
		if !ok {
			since = now
		}
		out = append(out, baseline.PendingRow{RowChange: r, FirstSeen: since, Explained: c.rowSaid[rowID(r)]})
	}
	return out
}

func findingKey(f *rules.Finding) []byte {
	return []byte(f.Rule + "\x00" + f.Subject.Name + f.Subject.Path)
}

// since returns when a finding was first seen, false if it is new. A finding
// about a change comes right behind it.
func (c *check) since(f *rules.Finding) (time.Time, bool) {
	if f.Diff != nil {
		return c.seen, c.seenBefore
	}
	if f.Rule == integrity.RuleMass {
		return c.massSince(entry.Path(f.Subject.Path))
	}
	if t, ok := c.ruled.seen[ruleSubject(f)]; ok {
		return t, true
	}
	for _, kind := range []string{rowMount, rowAlias, rowState, rowSelf, rowPackage} {
		for _, r := range c.rows {
			if r.Kind == kind && (string(r.Key) == f.Subject.Path || kind == rowState && f.Rule == "state.moved" || kind == rowPackage && rowSubject(r) == findingSubject(f)) {
				t, ok := c.pending.rows[rowID(r)]
				return t, ok
			}
		}
	}
	t, ok := c.pending.rows[rowID(diff.RowChange{Kind: rowFinding, Key: findingKey(f)})]
	return t, ok
}
