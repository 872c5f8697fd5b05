package rpm

import (
	"context"
	"fmt"
	"time"
)

// HistoryName is the file in which dnf 4 keeps what it did, a database of SQLite,
// in its folder.
const HistoryName = "history.sqlite"

// maxDone bounds what is kept of a history. What is beyond is an error.
const maxDone = 1 << 16

// Done is what dnf did with a package.
type Done struct {
	Transaction uint64 // its number
	When        time.Time
	Name, Arch  string
	EVR         EVR // "0" and no epoch are one here
	Came        bool
	Went        bool // and not for another version of itself
}

// Actions of dnf 4 (libdnf, TransactionItemAction), those of a package that came
// and those of one that went for good. The others are of the version that another
// one took the place of.
var (
	actionsCame = map[int64]bool{1: true, 2: true, 4: true, 6: true, 9: true} // install, downgrade, obsolete, upgrade, reinstall
	actionsWent = map[int64]bool{5: true, 8: true}                            // obsoleted, removed
)

const stateDone = 1

// History returns what dnf did with packages whose names want says yes to, in no
// order, from the history in the folder; the error wraps fs.ErrNotExist where none
// is. Nobody signed it. What it refers to and does not have is left out.
func History(ctx context.Context, open Folder, want func(name string) bool) (list []Done, err error) {
	f, err := open(HistoryName)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = steady(f, func() error {
		return withSQLite(ctx, f, HistoryName, open, func(d *sqlite) error {
			list, err = d.history(want)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", HistoryName, err)
	}
	return list, nil
}

// history joins the three tables, in memory that the wanted names decide.
func (d *sqlite) history(want func(string) bool) (list []Done, err error) {
	roots, err := d.tables("rpm", "trans_item", "trans")
	if err != nil {
		return nil, err
	}
	items := map[int64]Done{}
	err = d.records(roots["rpm"], "item, name, epoch, version, release, architecture", "itittt", func(_ int64, r []column) error {
		if !want(string(r[1].data)) {
			return nil
		}
		if len(items) == maxDone {
			return broken("over %d packages", maxDone)
		}
		items[r[0].number] = Done{Name: string(r[1].data), Arch: string(r[5].data), EVR: EVR{uint32(r[2].number), r[2].number != 0, string(r[3].data), string(r[4].data)}}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = d.records(roots["trans_item"], "number, transaction, item, origin, action, reason, state", ".ii.i.i", func(_ int64, r []column) error {
		x, ok := items[r[2].number]
		x.Came, x.Went = actionsCame[r[4].number], actionsWent[r[4].number]
		if !ok || !x.Came && !x.Went || r[6].number != stateDone || r[1].number <= 0 {
			return nil
		}
		if len(list) == maxDone {
			return broken("over %d packages in transactions", maxDone)
		}
		x.Transaction = uint64(r[1].number)
		list = append(list, x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	when := map[uint64]time.Time{}
	for i := range list {
		when[list[i].Transaction] = time.Time{}
	}
	err = d.records(roots["trans"], "number, begin, end", ".i.", func(id int64, r []column) error {
		if _, ok := when[uint64(id)]; !ok {
			return nil
		}
		at := r[1].number
		if r[2].integer {
			at = r[2].number
		}
		if at < 0 || at > 1<<33 { // no time of a host
			return broken("transaction %d at %d", id, at)
		}
		when[uint64(id)] = time.Unix(at, 0).UTC()
		return nil
	})
	kept := list[:0]
	for _, x := range list {
		if x.When = when[x.Transaction]; !x.When.IsZero() {
			kept = append(kept, x)
		}
	}
	return kept, err
}

// records reads a table whose rows begin with columns of these types: i integer, t
// text, any other whatever is there.
func (d *sqlite) records(root uint32, columns, types string, do func(id int64, r []column) error) error {
	return d.rows(root, func(id int64, payload []byte) error {
		r, err := readRecord(payload)
		if err != nil {
			return err
		}
		ok := len(r) >= len(types)
		for i := 0; ok && i < len(types); i++ {
			ok = (types[i] != 'i' || r[i].integer) && (types[i] != 't' || r[i].text)
		}
		if !ok {
			return broken("row %d has not the columns %s", id, columns)
		}
		return do(id, r)
	})
}
