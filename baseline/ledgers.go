package baseline

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	"intact/baseline/ledger"
	"intact/baseline/seal"
	"intact/scanner/digest"
)

// LedgerDir is the folder of the ledger of logs in the state folder. Each entry
// is a file, named by its number and digest: its text, and its signature behind
// it. The entry that counts is the one that the newest report names.
const LedgerDir = "ledger"

// maxLedger bounds what older entries may take, in bytes, all together.
const maxLedger = 64 << 20

// ErrLedger is wrapped by errors about the ledger of logs. None of it counts.
var ErrLedger = errors.New("the ledger of logs is not as it was written")

var ledgerName = regexp.MustCompile(`^([0-9]{10,19})-([0-9a-f]{64})$`)

func (s *Store) ledgerPath(number uint64, sum digest.Digest) string {
	return s.path(LedgerDir, fmt.Sprintf("%010d-%s", number, sum))
}

// Ledger reads the entry of that number and digest. judge says whether the
// signature is one that counts for the text. The error wraps ErrLedger, and
// fs.ErrNotExist where there is no such file.
func (s *Store) Ledger(number uint64, sum digest.Digest, host string, judge func(e *ledger.Entry, text, armor []byte) error) (*ledger.Entry, error) {
	b, err := readSmall(s.ledgerPath(number, sum), ledger.MaxSize+4<<10)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLedger, cause(err))
	}
	at := bytes.LastIndex(b, []byte("\n"+seal.ArmorBegin)) + 1
	if at == 0 {
		return nil, fmt.Errorf("%w: entry %d has no signature", ErrLedger, number)
	}
	text, armor := b[:at], b[at:]
	if digest.Sum(text) != sum {
		return nil, fmt.Errorf("%w: entry %d has other bytes than the report says", ErrLedger, number)
	}
	e, err := ledger.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", ErrLedger, number, err)
	}
	if e.Number != number || e.HostID != host {
		return nil, fmt.Errorf("%w: it is entry %d of host %s", ErrLedger, e.Number, e.HostID)
	}
	if err := judge(e, text, armor); err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", ErrLedger, number, err)
	}
	return e, nil
}

// PutLedger writes an entry and returns its digest. It does not count before a
// report names it. The caller holds Lock.
func (s *Store) PutLedger(e *ledger.Entry, sign func(text []byte) ([]byte, error)) (sum digest.Digest, err error) {
	text := e.Text()
	if _, err = ledger.Parse(text); err == nil { // as a reader will
		var armor []byte
		if armor, err = sign(text); err == nil {
			err = os.MkdirAll(s.path(LedgerDir), 0o700)
			sum = digest.Sum(text)
			text = append(text, armor...)
		}
	}
	if err == nil {
		err = s.writeFile(s.ledgerPath(e.Number, sum), text, 0o600)
	}
	if err != nil {
		return sum, fmt.Errorf("write the ledger of logs: %w", cause(err))
	}
	return sum, nil
}

// PruneLedger deletes what no report needs any more: entries that runs left
// which did not come to their report, and old ones, beyond count of them, older
// than days, or beyond 64 MiB. number and sum name the entry in force. An entry
// that cannot be deleted is only one too many.
func (s *Store) PruneLedger(number uint64, sum digest.Digest, count, days int, now time.Time) {
	type old struct {
		name   string
		number uint64
		info   fs.FileInfo
	}
	var list []old
	names, _ := os.ReadDir(s.path(LedgerDir))
	for _, n := range names {
		m := ledgerName.FindStringSubmatch(n.Name())
		if m == nil || !n.Type().IsRegular() || m[2] == sum.String() {
			continue
		}
		i, err := strconv.ParseUint(m[1], 10, 64)
		info, err2 := n.Info()
		if err == nil && err2 == nil {
			list = append(list, old{n.Name(), i, info})
		}
	}
	slices.SortFunc(list, func(a, b old) int { return cmp.Compare(b.number, a.number) })
	size, kept := int64(0), 1
	for _, o := range list {
		if o.number < number {
			kept++
			size += o.info.Size()
		}
		if o.number >= number || count > 0 && kept > count || size > maxLedger || days > 0 && now.Sub(o.info.ModTime()) > time.Duration(days)*24*time.Hour {
			os.Remove(s.path(LedgerDir, o.name))
		}
	}
}
