package app

import (
	"fmt"
	"time"

	"intact/report"
	"intact/rules/pkgdb/transaction"
	"intact/rules/updates"
)

// transacted is what hooks saw of packages of dpkg, as far back as transactions are
// kept. Versions are told apart: two transactions of one second have no order.
type transacted struct {
	came map[bookKey]string // when that version came the last time, RFC 3339
	went map[bookKey]left
}

// left says when a version went the last time, and which package manager said so.
type left struct{ when, by string }

// transacted reads what hooks saw.
func (c *check) transacted() *transacted {
	seen := &transacted{map[bookKey]string{}, map[bookKey]left{}}
	list, problems, err := c.transactions()
	if err != nil {
		problems = append(problems, err.Error())
	}
	for _, p := range problems[:min(len(problems), maxListed)] {
		c.remark("what hooks saw: " + report.Prose(p))
	}
	if more := len(problems) - maxListed; more > 0 {
		c.remark(fmt.Sprintf("what hooks saw: %d more transactions cannot be read", more))
	}
	for i := range list {
		seen.add(&list[i])
	}
	return seen
}

func (seen *transacted) add(t *transaction.Transaction) {
	at := t.Ended
	if at.IsZero() {
		at = t.Began
	}
	when := at.UTC().Format(time.RFC3339)
	for _, p := range t.Packages {
		switch p.Action {
		case transaction.Unpack, transaction.Configure:
			k := bookKey{p.Name, p.Arch, p.New}
			seen.came[k] = max(seen.came[k], when)
		case transaction.Remove:
			if k := (bookKey{p.Name, p.Arch, p.Old}); seen.went[k].when <= when {
				seen.went[k] = left{when, t.Manager}
			}
		}
	}
}

// learn takes when one came, or when and by what it went. A version that came once
// more behind that did not go with it.
func (seen *transacted) learn(one *updates.Update) {
	if !one.Gone() {
		one.When = seen.came[keyOfPackage(&one.New)]
		return
	}
	k := keyOfPackage(&one.Old)
	if gone, ok := seen.went[k]; ok && gone.when >= seen.came[k] {
		one.When, one.Record = gone.when, "transaction of "+gone.by
	}
}
