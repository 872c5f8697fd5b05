package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"intact/baseline"
	"intact/baseline/ledger"
	"intact/baseline/seal"
	"intact/report"
	"intact/rules"
	"intact/scanner/digest"
)

// openLogs reads the entry of the ledger that the newest report names. One that
// cannot be used is a finding: logs are then held against the baseline alone.
func (c *check) openLogs(ctx context.Context) error {
	c.logs = newLogBook()
	if c.o.Baseline != "" {
		return nil // of who knows which host
	}
	host, err := c.store.HostID()
	if err != nil {
		return nil // told where the store is opened
	}
	named, seq, err := c.lastLogs(ctx, host)
	if err != nil || named == nil {
		return err
	}
	b := c.logs
	sum, err := digest.Parse(named.Digest)
	if err == nil {
		b.number, b.previous = uint64(named.Entry), sum
		if c.watch != nil && c.watch.logs.recall(b) {
			return nil
		}
		b.last, err = c.store.Ledger(b.number, sum, host, c.judgeLedger)
	}
	if err == nil {
		b.knows(b.last)
		return nil
	}
	why := err.Error()
	if errors.Is(err, fs.ErrNotExist) {
		why = fmt.Sprintf("entry %d of the ledger of logs is gone, or was rolled back", named.Entry)
	}
	b.restart = true
	c.trusts = append(c.trusts, trustFinding("trust.ledger", rules.High, fmt.Sprintf("ledger-%d", named.Entry), why,
		fmt.Sprintf("report %d names it; logs are held against the baseline alone, and a new ledger begins with this check", seq)))
	return nil
}

// knows takes what an entry says of each log.
func (b *logBook) knows(e *ledger.Entry) {
	b.last = e
	for i := range e.Logs {
		l := &e.Logs[i]
		b.old[l.Path] = l
		if l.Journal != nil {
			at := journalPlace{l.Path.Dir(), l.Journal.File}
			b.files[at] = max(b.files[at], l.Length)
		}
	}
}

// lastLogs returns what the newest report of a full check that names an entry
// of the ledger says of it, nil where there is none. Those of a watcher name one
// each.
func (s *session) lastLogs(ctx context.Context, host string) (*report.Logs, uint64, error) {
	list, err := s.archive().List()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	tries, beats := 0, 0
	for _, r := range slices.Backward(list) {
		if r.Kind != report.KindCheck && r.Kind != report.KindImage && r.Kind != report.KindInit && r.Kind != report.KindWatch {
			continue
		}
		if r.Kind != report.KindWatch { // they may be many since the last check
			tries++
		}
		if beats++; tries > lookedBack || beats > maxBeats {
			break
		}
		h, t, err := s.readJudged(ctx, r)
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		if err == nil && t.Logs != nil && h.Host.ID == host && h.Root == s.root.HostPath() {
			return t.Logs, h.Seq, nil
		}
	}
	return nil, 0, nil
}

// maxBeats is how many reports are read to find the one that names an entry.
const maxBeats = 1000

// judgeLedger verifies the signature of an entry, as that of a report.
func (s *session) judgeLedger(e *ledger.Entry, text, armor []byte) error {
	lists := []*seal.Signers{s.own}
	if s.store.Trust != nil {
		lists = append(lists, s.store.Trust.Operators)
	}
	err := seal.ErrSigner
	for _, l := range lists {
		if l == nil {
			continue
		}
		id, e2 := l.Verify(bytes.NewReader(text), armor, seal.Want{Namespace: report.Namespace, Principal: baseline.HostPrincipal(e.HostID), At: e.Time})
		switch {
		case e2 != nil:
			err = e2
		case id.Key.Fingerprint != e.Signer:
			err = fmt.Errorf("%s signed it, and it names %q", id.Key.Fingerprint, e.Signer)
		default:
			return nil
		}
	}
	return err
}

// writeLogs writes what this check saw of logs as the next entry of the ledger.
// It counts when the report that names it is there.
func (c *check) writeLogs() error {
	b := c.logs
	if b.over > 0 {
		c.remark(fmt.Sprintf("%d logs are more than the ledger holds (%d): they are held against the baseline alone", b.over, ledger.MaxLogs))
	}
	if c.watch != nil {
		return c.writeSeen()
	}
	if c.o.NoState || c.o.Baseline != "" || c.partial() || len(b.next) == 0 && b.number == 0 {
		return nil
	}
	return c.putLogs(c.paper, b)
}

// writeSeen is writeLogs for a look of a watcher, which goes on from what is there
// and names it where nothing is new.
func (c *check) writeSeen() error {
	b := c.logs
	switch {
	case b.number == 0 || b.restart:
		return nil
	case b.moved() || c.watch.logs.dirty:
		b.wrote = true
		return c.putLogs(c.paper, b)
	}
	b.out = &report.Logs{Entry: int64(b.number), Digest: b.previous.Named(), Logs: int64(len(b.next)), State: report.LogsFollow}
	return nil
}

// putLogs writes the next entry of a ledger.
func (s *session) putLogs(p *paper, b *logBook) error {
	e := &ledger.Entry{HostID: p.head.Host.ID, Number: b.number + 1, Previous: b.previous, Restart: b.restart,
		Time: p.head.Started, Signer: p.key.Key().Fingerprint, Logs: b.next}
	sum, err := s.store.PutLedger(e, func(text []byte) ([]byte, error) { return p.key.Sign(report.Namespace, bytes.NewReader(text)) })
	if err != nil {
		return err
	}
	b.out = &report.Logs{Entry: int64(e.Number), Digest: sum.Named(), Logs: int64(len(e.Logs)), Rotated: b.rotated, State: report.LogsFollow}
	switch {
	case b.restart:
		b.out.State = report.LogsRestarted
	case e.Number == 1:
		b.out.State = report.LogsBegun
	}
	return nil
}

// firstLogs begins a ledger with what the scan of an init saw: all of it is as
// the new baseline has it.
func (s *session) firstLogs(p *paper, b *logBook) error {
	for dir, list := range b.seen {
		for i := range list {
			l := &list[i]
			log := ledger.Log{Path: dir.Join([]byte(l.name)), Inode: l.inode, Born: l.born, Length: l.size, Content: l.whole,
				Held: ledger.Held{OK: true, Base: l.sum}}
			if l.valid() {
				log.Journal = &l.journal.Facts
			}
			b.next = append(b.next, log)
		}
	}
	if len(b.next) == 0 {
		return nil
	}
	sortLogs(b.next)
	return s.putLogs(p, b)
}

// pruneLogs deletes entries that nothing needs, behind the report.
func (s *session) pruneLogs(b *logBook) {
	if o := b.outcome(); o != nil {
		if sum, err := digest.Parse(o.Digest); err == nil {
			s.store.PruneLedger(uint64(o.Entry), sum, s.cfg.Reports.Count, s.cfg.Reports.Days, s.env.Now())
		}
	}
}
