package app

import (
	"testing"
	"time"

	"intact/rules/pkgdb"
	"intact/rules/pkgdb/transaction"
	"intact/rules/updates"
)

// Two transactions of one second have names in no order: it does not matter which
// is read first. What came again did not go.
func TestTransacted(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	did := func(a transaction.Action, old, now string, took time.Duration) *transaction.Transaction {
		return &transaction.Transaction{Began: at, Ended: at.Add(took), Manager: transaction.Apt,
			Packages: []transaction.Package{{Name: "tool", Arch: "all", Old: old, New: now, Action: a}}}
	}
	one, two, again := did(transaction.Unpack, "", "1", 0), did(transaction.Unpack, "1", "2", 0), did(transaction.Unpack, "", "1", time.Hour)
	gone, back := did(transaction.Remove, "2", "", time.Second), did(transaction.Unpack, "", "2", 2*time.Second)
	tool := func(version, status string) pkgdb.Package {
		return pkgdb.Package{Kind: "dpkg", Name: "tool", Arch: "all", Version: version, Status: status}
	}
	removed := updates.Update{Old: tool("2", "installed")}
	for _, tt := range []struct {
		name         string
		list         []*transaction.Transaction
		u            updates.Update
		when, record string
	}{
		{"older first", []*transaction.Transaction{one, two}, updates.Update{Old: tool("1", "installed"), New: tool("2", "installed")}, "2026-01-02T03:04:05Z", ""},
		{"newer first", []*transaction.Transaction{two, one}, updates.Update{Old: tool("1", "installed"), New: tool("2", "installed")}, "2026-01-02T03:04:05Z", ""},
		{"the last time", []*transaction.Transaction{again, one}, updates.Update{New: tool("1", "installed")}, "2026-01-02T04:04:05Z", ""},
		{"another version", []*transaction.Transaction{one}, updates.Update{New: tool("3", "installed")}, "", ""},
		{"gone", []*transaction.Transaction{two, gone}, removed, "2026-01-02T03:04:06Z", "transaction of apt"},
		{"but for its configuration", []*transaction.Transaction{gone, two}, updates.Update{Old: removed.Old, New: tool("2", pkgdb.ConfigFiles)}, "2026-01-02T03:04:06Z", "transaction of apt"},
		{"came back", []*transaction.Transaction{gone, back}, removed, "", ""},
		{"another went", []*transaction.Transaction{gone}, updates.Update{Old: tool("1", "installed")}, "", ""},
	} {
		seen := &transacted{map[bookKey]string{}, map[bookKey]left{}}
		for _, x := range tt.list {
			seen.add(x)
		}
		if seen.learn(&tt.u); tt.u.When != tt.when || tt.u.Record != tt.record {
			t.Errorf("%s: %q, %q", tt.name, tt.u.When, tt.u.Record)
		}
	}
}
