package review

import (
	"fmt"
	"strings"
	"time"

	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
)

// The colours of a terminal, as SGR parameters.
var severityColor = [...]string{rules.Info: "2", rules.Low: "36", rules.Medium: "33", rules.High: "1;31", rules.Critical: "1;31"}

const (
	bold = "1"
	dim  = "2"
)

func (d *Dialog) paint(sgr, s string) string {
	if !d.Color || sgr == "" || s == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

// frame is what a screen shows: the lines, the last of which is asked for an
// answer, and whether the cursor belongs behind it.
type frame struct {
	lines  []string
	cursor bool
}

// room is the number of lines between header and footer.
func (d *Dialog) room() int { return max(d.height-5, 1) }

// View draws the dialog: at most as many lines as the screen has, none wider.
func (d *Dialog) View() frame {
	var body []string
	switch d.mode {
	case reading:
		body = d.details()
	case helping:
		list := d.helpLines()
		body = list[min(d.help, len(list)):min(d.help+d.room(), len(list))]
	case summing, reasoning:
		body = d.summary()
	default:
		body = d.overview()
	}
	if len(body) > d.room() {
		body = body[:d.room()]
	}
	for len(body) < d.room() && !d.Plain {
		body = append(body, "")
	}
	rule := d.paint(dim, strings.Repeat("-", d.width))
	out := append([]string{d.header(), rule}, body...)
	if d.Plain {
		out = body
	}
	out = append(out, rule, cut(report.Prose(d.note), d.width))
	if d.Plain {
		out = out[:len(out)-1]
		if d.note != "" {
			out = append(out, cut(report.Prose(d.note), d.width))
		}
	}
	prompt, typed := d.prompt()
	if typed {
		return frame{append(out, prompt), true}
	}
	return frame{append(out, d.paint(bold, prompt)), d.Plain}
}

func (d *Dialog) header() string {
	done := 0
	for i := range d.Groups {
		if d.Groups[i].Answer != None {
			done++
		}
	}
	right := fmt.Sprintf("%d of %d answered", done, len(d.Groups))
	left := cut(d.Title, max(d.width-len(right)-2, 0))
	return d.paint(bold, cut(pad(left, d.width-len(right))+right, d.width))
}

// prompt is the last line. What is typed is shown by its end.
func (d *Dialog) prompt() (s string, typed bool) {
	ask := ""
	switch d.mode {
	case browsing:
		return cut(d.keys(), d.width), false
	case reading:
		if d.pager.more() {
			return cut("space next page  b back  q to the groups", d.width), false
		}
		return cut("the end  b back  q to the groups", d.width), false
	case helping:
		return cut("space next page  b back  q back to the review", d.width), false
	case summing:
		return cut(d.sumPrompt(), d.width), false
	case quitting:
		return cut("End the review and accept nothing? [y/N]", d.width), false
	case confirming:
		ask = "Critical. Type yes to take it: "
	case searching:
		ask = "/"
	case reasoning:
		ask = "Why? (Enter alone: cancel) "
	}
	text := report.Prose(string(d.text))
	left := max(d.width-width(ask)-1, 1)
	for width(text) > left {
		_, text, _ = cutRune(text)
	}
	return ask + text, true
}

func cutRune(s string) (string, string, bool) {
	for i := range s {
		if i > 0 {
			return s[:i], s[i:], true
		}
	}
	return s, "", false
}

func (d *Dialog) keys() string {
	if d.Plain || d.width < 79 {
		return "Take? [y N d s t / u f q ?] "
	}
	return "y take  N leave  d details  s split  / search  u undo  f finish  q quit  ? help"
}

func (d *Dialog) sumPrompt() string {
	taken, _ := d.Sums()
	switch {
	case taken.Items == 0:
		return "Nothing is taken.  b back  u undo  q quit"
	case d.DryRun:
		return "Show what would be accepted? [y/N]  b back  u undo  q quit"
	}
	return fmt.Sprintf("Accept %s? [y/N]  b back  u undo  q quit", counted(taken.Items, "change"))
}

// overview is the list of groups and what is known of the present one.
func (d *Dialog) overview() []string {
	panel := d.panel(&d.Groups[d.At])
	rows := d.room() - len(panel) - 1
	if d.Plain || rows < 3 {
		return panel
	}
	first := max(0, min(d.At-rows/2, len(d.Groups)-rows))
	var out []string
	for i := first; i < min(first+rows, len(d.Groups)); i++ {
		out = append(out, d.row(i))
	}
	for len(out) < rows {
		out = append(out, "")
	}
	out = append(out, d.paint(dim, strings.Repeat("-", d.width)))
	return append(out, panel...)
}

var answerSigns = [...]string{None: " ", Take: "y", Leave: "n"}

// row is one group in the list.
func (d *Dialog) row(i int) string {
	g := &d.Groups[i]
	mark := " "
	if i == d.At {
		mark = ">"
	}
	counts := kindWords(g.Kinds, 2)
	if d.width < 60 {
		counts = report.Number(int64(g.Len()))
	}
	right := cut(counts, d.width/2)
	const left = 14 // mark, answer, severity
	room := max(d.width-left-width(right)-2, 1)
	name := pad(d.called(g, room), room)
	sev := g.Gravest()
	s := mark + " " + answerSigns[g.Answer] + " " + d.paint(severityColor[sev], pad(strings.ToUpper(sev.String()), 9)) + " "
	switch {
	case i == d.At:
		return s + d.paint(bold, name+"  "+right)
	case g.Answer == Leave:
		return s + d.paint(dim, name+"  "+right)
	}
	return s + name + "  " + right
}

// called is what a group is called, in at most room columns.
func (d *Dialog) called(g *Group, room int) string {
	part := ""
	if g.Part != "" {
		part = ", " + g.Part
	}
	if g.Single && g.Class >= Own {
		part = ", " + classWords[g.Class]
	}
	if g.Class == Package && !g.Single {
		part = " (package)" + part
	}
	if w := width(part); w < room/2 {
		return shorten(report.Escape(g.Path), room-w) + part
	}
	return shorten(report.Escape(g.Path), room)
}

// panel says what is known of one group.
func (d *Dialog) panel(g *Group) []string {
	kinds := kindWords(g.Kinds, len(g.Kinds))
	sev := g.Gravest()
	word := strings.ToUpper(sev.String())
	lines := []string{d.paint(bold, d.called(g, d.width))}
	if g.Single {
		lines = append(lines, "  "+d.paint(severityColor[sev], word)+", "+kinds[strings.IndexByte(kinds, ' ')+1:])
	} else {
		lines = append(lines, cut("  "+counted(g.Len(), "change")+": "+kinds+"; "+severityWords(g.Severities), d.width))
		room := max(d.width-len("  gravest   ")-len(word)-2, 1)
		lines = append(lines, "  gravest   "+d.paint(severityColor[sev], word)+"  "+shorten(report.Escape(g.WorstPath), room))
	}
	if g.Why != "" {
		lines = append(lines, cut("  why       "+g.Why, d.width))
	}
	lines = append(lines, cut("  pending   "+d.since(g.Since), d.width))
	switch {
	case g.Class == Lost:
		lines = append(lines, cut("  It was not verified: lost coverage cannot be accepted, it stays pending.", d.width))
	case g.Severities[rules.Critical] > 0 && !g.Single:
		lines = append(lines, cut("  y takes no critical finding: each is asked for by itself.", d.width))
	case g.Answer == Take:
		lines = append(lines, cut("  taken", d.width))
	case g.Answer == Leave:
		lines = append(lines, cut("  left", d.width))
	}
	for len(lines) < panelLines {
		lines = append(lines, "")
	}
	return lines
}

// panelLines is how many lines a panel has, whatever it says.
const panelLines = 6

// since says since when the oldest of some items waits.
func (d *Dialog) since(at int64) string {
	t := time.Unix(0, at).Local()
	switch {
	case at == 0:
		return "since an unknown time"
	case !t.Before(d.Report):
		return "new in this report"
	}
	return "since " + t.Format("2006-01-02 15:04 MST") + " (" + report.Ago(d.Now.Sub(t)) + ")"
}

func (d *Dialog) details() []string {
	lines := make([]string, 0, len(d.pager.lines))
	for _, l := range d.pager.lines {
		if word, _, ok := strings.Cut(l, " "); ok && word != "" {
			if s, err := rules.ParseSeverity(strings.ToLower(word)); err == nil {
				l = d.paint(severityColor[s], word) + l[len(word):]
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// summary says what would come of the answers.
func (d *Dialog) summary() []string {
	taken, left := d.Sums()
	var lines []string
	add := func(head string, s Sum) {
		if s.Items == 0 {
			lines = append(lines, d.paint(bold, head+"nothing"), "")
			return
		}
		lines = append(lines, d.paint(bold, head+counted(s.Items, "change")))
		lines = append(lines, wrap("  "+severityWords(s.Severities), d.width, 2)...)
		lines = append(lines, wrap("  "+kindWords(s.Kinds, len(s.Kinds)), d.width, 2)...)
		lines = append(lines, "")
	}
	add("To be accepted: ", taken)
	add("Stays pending:  ", left)
	room := d.room() - len(lines)
	n := 0
	for i := range d.Groups {
		if g := &d.Groups[i]; g.Answer == Take {
			if n++; n > room && room > 0 {
				lines[len(lines)-1] = "  …"
				break
			}
			lines = append(lines, "  y "+d.called(g, max(d.width-4, 1)))
		}
	}
	return lines
}

// kindWords counts what happened, the most frequent first, most of them.
func kindWords(kinds [diff.Regained + 1]int, most int) string {
	var parts []string
	for range kinds {
		best := -1
		for k, n := range kinds {
			if n > 0 && (best < 0 || n > kinds[best]) {
				best = k
			}
		}
		if best < 0 {
			break
		}
		if len(parts) == most {
			return strings.Join(parts, ", ") + ", …"
		}
		parts = append(parts, report.Number(int64(kinds[best]))+" "+diff.Kind(best).String())
		kinds[best] = 0
	}
	return strings.Join(parts, ", ")
}

func severityWords(n [rules.Critical + 1]int) string {
	var parts []string
	for s := len(n) - 1; s >= 0; s-- {
		if n[s] > 0 {
			parts = append(parts, report.Number(int64(n[s]))+" "+rules.Severity(s).String())
		}
	}
	return strings.Join(parts, ", ")
}

func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return report.Number(int64(n)) + " " + noun
}

// helpLines explains the keys.
func (d *Dialog) helpLines() (lines []string) {
	for _, l := range helpText {
		hang := 0
		if strings.HasPrefix(l, "  ") {
			hang = 12
		}
		lines = append(lines, wrap(l, d.width, hang)...)
	}
	return lines
}

// helpText is shown by ?.
var helpText = [...]string{
	"  y         take the group: its changes become part of the baseline",
	"  n, Enter  leave it: it stays pending and is reported again",
	"  d         details: each finding as the report shows it",
	"  s         split it into subdirectories, or single changes",
	"  t         split it by type: added, changed, removed",
	"  /         go to the next group with a text in a path, or that matches a pattern such as /etc/**/*.conf; / Enter searches on",
	"  u         undo the last answer or split, as often as you like",
	"  f         finish: what has no answer is left",
	"  q         quit and accept nothing",
	"  arrows    go to another group, also j and k, page up and down",
	"",
	"Critical findings are not taken with a group. Each is asked for by itself, and only yes, typed in full, takes it.",
	"Lost coverage cannot be accepted: what could not be read was not verified.",
	"Nothing is written before the question at the end. Ctrl-C ends the review at any time, and nothing is accepted.",
}
