package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"intact/baseline"
	"intact/rules/pkgdb/transaction"
	"intact/scanner/digest"
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
	d, err := s.openKept(baseline.InboxDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	return transaction.List(d, s.env.Now())
}

// putTransaction writes a transaction, under a new name where it has none.
func (s *session) putTransaction(t *transaction.Transaction) error {
	if t.Name == "" {
		var id [8]byte
		rand.Read(id[:]) // never fails, crypto/rand
		t.Name = transaction.NewName(t.Began, id)
	}
	var b bytes.Buffer
	if err := t.Write(&b); err != nil {
		return err
	}
	d, err := s.makeKept(baseline.InboxDir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.put(t.Name, b.Bytes())
}

// fileList reads a list of files that was kept.
func (s *session) fileList(sum digest.Digest) (transaction.FileList, error) {
	d, err := s.openKept(baseline.InboxDir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return transaction.ReadFileList(d, sum)
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
		return l, s.putList(l)
	}
	return nil, nil
}

// putList stores a list of files, unless it is there.
func (s *session) putList(l transaction.FileList) error {
	d, err := s.makeKept(baseline.InboxDir)
	if err != nil {
		return err
	}
	defer d.Close()
	if have, err := transaction.ReadFileList(d, l.Digest()); err == nil && slices.Equal(have, l) {
		return nil
	}
	name := l.Digest().String()
	if st, err := d.stat(name); err == nil && !st.regular {
		s.env.warn("%q is no regular file, and is replaced", d.at(name))
	}
	return d.put(name, l.Text())
}

// pruneKept removes what is needed no more of what hooks keep. An export knows
// nothing of what that is, and a package manager does not wait for it.
func (c *check) pruneKept(ctx context.Context) {
	if c.o.Baseline != "" {
		return
	}
	c.pruneInbox()
	if c.update == nil {
		c.prunePackages(ctx, manifestBounds{keptManifestAge, keptManifestCount, keptManifestBytes})
	}
	c.pruneIndexes()
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

// pruneBefore removes what ended before a time, beyond keptTransactions. What is of
// the future keeps nothing else from going, and goes when a day has passed since it
// was written.
func (c *check) pruneBefore(before time.Time) {
	d, err := c.openKept(baseline.InboxDir)
	if err != nil {
		return
	}
	defer d.Close()
	now := c.env.Now()
	list, _, err := transaction.List(d, now)
	if err != nil {
		return
	}
	named, err := c.namedLists()
	if err != nil {
		return // named by what cannot be read
	}
	for i := range list {
		t := &list[i]
		over := t.Ended
		if over.IsZero() && now.Sub(t.Began) > abandoned {
			over = t.Began
		}
		if !over.IsZero() && over.Before(before) && i < len(list)-keptTransactions {
			d.remove(t.Name)
			continue
		}
		for _, p := range t.Packages {
			named[p.List.String()] = true
		}
	}
	known := map[string]bool{}
	for i := range list {
		known[list[i].Name] = true
	}
	_ = d.each(func(name string) bool {
		if !stateFile.MatchString(baseline.InboxDir+"/"+name) || named[name] || known[name] {
			return true
		}
		st, err := d.stat(name)
		if err != nil || !st.regular || !st.old(now) {
			return true // a hook may write its transaction just now
		}
		// Of what was not listed, that is not of the future: it cannot be read, or there
		// are too many newer ones.
		if transaction.IsName(name) && !transaction.Future(name, now) && now.Sub(st.written).Abs() < abandoned {
			return true
		}
		d.remove(name)
		return true
	})
}
