package report

import (
	"strings"
	"time"
)

// Window is a maintenance window that a note tells of: changes in [From, To)
// were announced. It changes nothing but what is shown.
type Window struct {
	ID       string
	From, To time.Time
	Reason   string
}

func (w *Window) fields(c *coder) {
	c.text("id", &w.ID)
	c.time("from", &w.From)
	c.time("to", &w.To)
	c.text("reason", &w.Reason)
}

// maxShownWindows bounds the windows that a text knows more of than their ids.
const maxShownWindows = 100

func (t *text) knowWindow(w *Window) {
	if w == nil || len(t.windows) >= maxShownWindows {
		return
	}
	if t.windows == nil {
		t.windows = map[string]Window{}
	}
	// Copies: what was read is a part of its whole batch.
	t.windows[strings.Clone(w.ID)] = Window{From: w.From, To: w.To, Reason: strings.Clone(w.Reason)}
}

// window is how people see the window with an id.
func (t *text) window(id string) string {
	w, known := t.windows[id]
	if !known {
		return "the maintenance window " + Escape(id)
	}
	const layout = "2006-01-02 15:04:05 MST"
	return "the maintenance window of " + w.From.In(t.Location).Format(layout) + " to " + w.To.In(t.Location).Format(layout) + " (" + Prose(w.Reason) + ")"
}
