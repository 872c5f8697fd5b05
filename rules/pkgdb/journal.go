package pkgdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"intact/rules/pkgdb/deb822"
	"intact/scanner/entry"
)

// dpkgUpdates is the journal of dpkg: one stanza a file, which stands for that of
// the package in the status until dpkg has written that anew: modstatdb_note() and
// cleanupdates() in dpkg's lib/dpkg/dbmodify.c. It is empty but while a dpkg runs,
// or after one that was interrupted.
const dpkgUpdates = entry.Path("/var/lib/dpkg/updates")

// Bounds of the journal. dpkg itself begins anew at 250 files.
const (
	maxJournal      = 10_000
	maxJournalDigit = 10
	maxMerged       = 5
)

var errJournal = errors.New("not a journal of dpkg")

// journal returns the files of dpkg's journal in the order in which they count.
func journal(r Root) (files []entry.Path, err error) {
	err = r.List(dpkgUpdates, func(name string, _ entry.Kind) error {
		if name == "" || strings.Trim(name, "0123456789") != "" {
			return nil // dpkg passes it over
		}
		if len(files) == maxJournal || len(name) > maxJournalDigit {
			return fmt.Errorf("%w: over %d files, or a number of over %d digits", errJournal, maxJournal, maxJournalDigit)
		}
		files = append(files, dpkgUpdates.Join([]byte(name)))
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", dpkgUpdates, err)
	}
	slices.Sort(files)
	for i := range files {
		if len(files[i]) != len(files[0]) {
			return nil, fmt.Errorf("read %q: %w: numbers of different lengths", dpkgUpdates, errJournal)
		}
	}
	return files, nil
}

// record is what dpkg says of one package.
type record struct {
	Package        // without its list
	want    string // the first word of its status
	same    bool   // it can be there for several architectures
}

// DpkgState is what dpkg says of one package.
type DpkgState struct {
	Name, Arch, Version string
	Want, Status        string // first and third word of the status, as "install", "installed"
}

// DpkgStates returns what dpkg has, without what it says is "not-installed", in no
// order. Whatever is wrong is an error; a root without a status has none.
func DpkgStates(ctx context.Context, r Root) ([]DpkgState, error) {
	list, err := dpkgRecords(ctx, r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []DpkgState
	for i := range list {
		p := &list[i]
		out = append(out, DpkgState{p.Name, p.Arch, p.Version, p.want, p.Status})
	}
	return out, err
}

// dpkgRecords reads the status, and behind it the journal. A dpkg that runs may put
// the journal into the status meanwhile: then both are read again.
func dpkgRecords(ctx context.Context, r Root) (list []record, err error) {
	for range maxMerged {
		var merged bool
		if list, merged, err = statusAndJournal(ctx, r); !merged {
			return list, err
		}
	}
	return nil, fmt.Errorf("read %q: %w: it changes while it is read", dpkgUpdates, errJournal)
}

func statusAndJournal(ctx context.Context, r Root) (list []record, merged bool, err error) {
	err = eachStanza(ctx, r, dpkgStatus, func(rec record) error {
		if rec.Status == "not-installed" {
			return nil
		}
		if len(list) == maxPackages {
			return errTooMany
		}
		list = append(list, rec)
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	files, err := journal(r)
	if err != nil {
		return nil, false, err
	}
	for _, f := range files {
		err := eachStanza(ctx, r, f, func(rec record) error {
			list = overridden(list, rec)
			if len(list) > maxPackages {
				return errTooMany
			}
			return nil
		})
		if err != nil {
			return nil, errors.Is(err, fs.ErrNotExist), err
		}
	}
	return list, false, nil
}

// overridden puts a stanza of the journal in the place of what it is about: the
// package of that architecture, or the only one of that name where it cannot be
// there for several.
func overridden(list []record, by record) []record {
	at, named := -1, -1
	for i := range list {
		if list[i].Name != by.Name {
			continue
		}
		if list[i].Arch == by.Arch {
			at = i
			break
		}
		if by.Arch == "" || !by.same && !list[i].same {
			named = i
		}
	}
	if at < 0 {
		at = named
	}
	switch gone := by.Status == "not-installed"; {
	case at < 0 && gone:
		return list
	case at < 0:
		return append(list, by)
	case gone:
		return slices.Delete(list, at, at+1)
	}
	list[at] = by
	return list
}

// eachStanza reads a file of stanzas about packages.
func eachStanza(ctx context.Context, r Root, p entry.Path, do func(record) error) error {
	f, err := r.Open(p)
	if err != nil {
		return fmt.Errorf("read %q: %w", p, err)
	}
	defer f.Close()
	for d := deb822.NewReader(f, string(p)); ; {
		s, err := d.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		var rec record
		if err == nil {
			rec, err = dpkgPackage(s)
		}
		if err == nil {
			err = do(rec)
		}
		if err != nil {
			return fmt.Errorf("status of dpkg: %w", err)
		}
	}
}
