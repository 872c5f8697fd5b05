package baseline_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"intact/baseline"
	"intact/baseline/ledger"
	"intact/baseline/seal"
	"intact/scanner/digest"
)

const ledgerHost = "0123456789abcdef0123456789abcdef"

// ledgerStore is a store with entries 1 to n, each signed with made-up armor.
func ledgerStore(t *testing.T, n int) (s *baseline.Store, dir string, sums []digest.Digest) {
	t.Helper()
	dir = t.TempDir()
	s, err := baseline.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	var last digest.Digest
	for i := range n {
		e := &ledger.Entry{HostID: ledgerHost, Number: uint64(i + 1), Previous: last, Time: time.Unix(1_800_000_000+int64(i), 0).UTC(), Signer: "SHA256:x",
			Logs: []ledger.Log{{Path: "/var/log/a", Length: int64(i), Content: digest.Sum(nil)}}}
		last, err = s.PutLedger(e, func([]byte) ([]byte, error) { return []byte(seal.ArmorBegin + "\nx\n" + seal.ArmorEnd), nil })
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, last)
	}
	return s, dir, sums
}

func TestLedgerEveryFlippedByte(t *testing.T) {
	s, dir, sums := ledgerStore(t, 1)
	errArmor := errors.New("not this armor")
	judge := func(_ *ledger.Entry, _, armor []byte) error {
		if string(armor) != seal.ArmorBegin+"\nx\n"+seal.ArmorEnd {
			return errArmor
		}
		return nil
	}
	if e, err := s.Ledger(1, sums[0], ledgerHost, judge); err != nil || e.Number != 1 {
		t.Fatal(e, err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "ledger", "*"))
	good, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		b := append([]byte(nil), good...)
		b[i] ^= 1
		for _, b := range [][]byte{b, good[:i]} {
			if err := os.WriteFile(names[0], b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Ledger(1, sums[0], ledgerHost, judge); !errors.Is(err, baseline.ErrLedger) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	if err := os.WriteFile(names[0], good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ledger(1, sums[0], "00"+ledgerHost[2:], judge); !errors.Is(err, baseline.ErrLedger) {
		t.Errorf("of another host: %v", err)
	}
	if err := os.Remove(names[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ledger(1, sums[0], ledgerHost, judge); !errors.Is(err, baseline.ErrLedger) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
	if err := os.Symlink("/dev/zero", names[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ledger(1, sums[0], ledgerHost, judge); !errors.Is(err, baseline.ErrLedger) {
		t.Errorf("a link: %v", err)
	}
}

func TestPruneLedger(t *testing.T) {
	s, dir, sums := ledgerStore(t, 6)
	left := func() (n []string) {
		list, _ := os.ReadDir(filepath.Join(dir, "ledger"))
		for _, e := range list {
			n = append(n, e.Name()[9:10])
		}
		return n
	}
	other := filepath.Join(dir, "ledger", "notes")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Entry 5 is in force: 6 is of a run that was killed, 1 and 2 are too many.
	s.PruneLedger(5, sums[4], 3, 0, time.Now())
	if _, err := os.Stat(other); err != nil {
		t.Error(err) // not ours
	}
	os.Remove(other)
	if got := left(); len(got) != 3 || got[0] != "3" || got[2] != "5" {
		t.Errorf("left: %v", got)
	}
	s.PruneLedger(5, sums[4], 3, 1, time.Now().Add(48*time.Hour))
	if got := left(); len(got) != 1 || got[0] != "5" {
		t.Errorf("left: %v", got)
	}
}
