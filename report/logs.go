package report

import "fmt"

// Logs says what a check noted of logs in the ledger, which the next check
// holds them against.
type Logs struct {
	Entry   int64  // its number
	Digest  string // "blake3:…" of its text
	Logs    int64  // logs in it
	Rotated int64  // generations that came in since the entry before it
	State   string // begun, follows or restarted: how it goes on from the entry before it
}

// How an entry of the ledger goes on from the one before it.
const (
	LogsBegun     = "begun"
	LogsFollow    = "follows"
	LogsRestarted = "restarted"
)

func (l *Logs) fields(c *coder) {
	c.number("entry", &l.Entry)
	c.text("digest", &l.Digest)
	c.number("logs", &l.Logs)
	c.number("rotated", &l.Rotated)
	c.word("state", &l.State, LogsBegun, LogsFollow, LogsRestarted)
}

// words say in which state the ledger is.
func (l *Logs) words() string {
	w := fmt.Sprintf("%s in entry %d of the ledger", plural(l.Logs, "log"), l.Entry)
	switch l.State {
	case LogsBegun:
		w += ", which begins with it"
	case LogsRestarted:
		w += ", which begins anew with it"
	}
	if l.Rotated > 0 {
		w += ", " + plural(l.Rotated, "generation") + " rotated in"
	}
	return w
}
