package app

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"intact/baseline"
	"intact/rules/pkgdb/transaction"
	"intact/scanner/entry"
)

// Bounds of what is kept in the inbox by a check: what is left beyond them is
// older than the last two baselines.
const (
	keptTransactions = 200
	abandoned        = 7 * 24 * time.Hour // an open transaction is not running any more
)

// inbox is the folder into which the hooks of package managers write, each event
// in a file of its own: nobody waits for a lock there.
func (s *session) inbox() string { return filepath.Join(s.store.Dir(), baseline.InboxDir) }

// transactions reads what the hooks saw, the oldest first, and says what could
// not be read. Nothing of it is verified.
func (s *session) transactions() (list []transaction.Transaction, problems []string, err error) {
	return transaction.List(os.DirFS(s.inbox()))
}

// putTransaction writes a transaction, under a new name where it has none.
func (s *session) putTransaction(t *transaction.Transaction) error {
	if t.Name == "" {
		var id [8]byte
		rand.Read(id[:]) // never fails, crypto/rand
		t.Name = transaction.NewName(t.Began, id)
	}
	if err := os.Mkdir(s.inbox(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var b bytes.Buffer
	if err := t.Write(&b); err != nil {
		return err
	}
	return putFile(filepath.Join(s.inbox(), t.Name), b.Bytes(), 0o600)
}

// keepList stores the list of files that a package has now, for when it has
// another version. A package without one is no error.
func (s *session) keepList(name, arch string) (l transaction.FileList, err error) {
	for _, n := range []string{name + ":" + arch, name} {
		p, err := entry.NewPath("/var/lib/dpkg/info/" + n + ".list")
		if err != nil || strings.ContainsRune(n, '/') {
			return nil, errors.New("no name of a package")
		}
		f, err := s.root.OpenFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if l, err = transaction.NewFileList(f); err != nil {
			return nil, err
		}
		if err := os.Mkdir(s.inbox(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		at := filepath.Join(s.inbox(), l.Digest().String())
		if have, err := os.ReadFile(at); err == nil && bytes.Equal(have, l.Text()) {
			return l, nil
		}
		return l, putFile(at, l.Text(), 0o600)
	}
	return nil, nil
}

// pruneInbox removes what explains nothing any more: transactions that ended
// before the baseline before this one was made, beyond keptTransactions, and lists
// that neither one of them nor the baseline names. It is called under the lock.
// What cannot be removed is tried again by the next check.
func (c *check) pruneInbox() {
	var before time.Time
	if n := c.gen.Statement().Generation; n > 1 {
		if st, err := c.store.Statement(n - 1); err == nil {
			before = st.Created
		}
	}
	c.pruneBefore(before)
}

// pruneBefore removes what ended before a time, beyond keptTransactions.
func (c *check) pruneBefore(before time.Time) {
	list, _, err := c.transactions()
	if err != nil {
		return
	}
	named, err := c.namedLists()
	if err != nil {
		return // named by what cannot be read
	}
	now := c.env.Now()
	for i := range list {
		t := &list[i]
		over := t.Ended
		if over.IsZero() && now.Sub(t.Began) > abandoned {
			over = t.Began
		}
		if !over.IsZero() && over.Before(before) && i < len(list)-keptTransactions {
			_ = os.Remove(filepath.Join(c.inbox(), t.Name))
			continue
		}
		for _, p := range t.Packages {
			named[p.List.String()] = true
		}
	}
	files, _ := os.ReadDir(c.inbox())
	for _, f := range files {
		st, err := f.Info()
		if err != nil || !st.Mode().IsRegular() || transaction.IsName(f.Name()) || named[f.Name()] || now.Sub(st.ModTime()) < staleTemp {
			continue // a hook may write its transaction just now
		}
		if stateFile.MatchString(baseline.InboxDir + "/" + f.Name()) {
			_ = os.Remove(filepath.Join(c.inbox(), f.Name()))
		}
	}
}
