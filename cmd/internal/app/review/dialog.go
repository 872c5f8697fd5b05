package review

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Source tells what a Model does not hold in memory.
type Source interface {
	// Heads returns what is said first of items, which are in order.
	Heads(ctx context.Context, items []int32) ([]Head, error)
	// Details returns the lines of each item as the text report shows it,
	// escaped.
	Details(ctx context.Context, items []int32) ([][]string, error)
	// Find returns whether an item has text in its path or, where text is a
	// pattern, matches it. An error of the pattern is for the user.
	Find(ctx context.Context, text string) (hit func(item int) bool, bad, err error)
}

// Head is the path of an item, as it is, and why it has its severity, escaped.
type Head struct{ Path, Why string }

// Key is a rune that was typed, or one of the keys below.
type Key rune

// Keys that are no characters. Enter, Escape and the like are control characters.
const (
	Up Key = -1 - iota
	Down
	PageUp
	PageDown
	Home
	End
	EOF // of the terminal
)

// The control characters that mean something.
const (
	EndOfText Key = 0x04 // Ctrl-D
	Clear     Key = 0x15 // Ctrl-U
	Enter     Key = '\n'
	Escape    Key = 0x1b
	Backspace Key = 0x7f
)

// mode is what a key is an answer to.
type mode uint8

const (
	browsing mode = iota
	confirming
	searching
	reading
	helping
	summing
	reasoning
	quitting
)

// Dialog is a review in progress: keys in, lines out.
type Dialog struct {
	*Model
	Title  string    // what is reviewed, escaped
	Reason string    // given already, "" to ask for it
	DryRun bool      // nothing will be written
	Report time.Time // when the report was made: what is not older is new
	Now    time.Time
	Color  bool
	Plain  bool // one question after the other, for terminals that can do no more

	src    Source
	mode   mode
	before mode   // what help and quitting lead back to
	text   []rune // that is being typed
	sought string
	note   string // one line about the last key
	pager  pager
	help   int // first line of help
	over   bool
	accept bool
	width  int
	height int
}

// NewDialog begins a review.
func NewDialog(ctx context.Context, items *Items, src Source) (*Dialog, error) {
	d := &Dialog{Model: NewModel(items), src: src, width: 80, height: 24}
	return d, d.name(ctx)
}

// A smaller screen shows only a part.
const (
	minWidth  = 40
	minHeight = 6
)

// Resize tells the size of the screen.
func (d *Dialog) Resize(width, height int) {
	if width != d.width {
		d.pager.rewind()
	}
	if height != d.height {
		d.pager.fresh = false
	}
	d.width, d.height = max(width, minWidth), max(height, minHeight)
}

// Over reports whether the review has ended, and whether what was taken is to
// be accepted.
func (d *Dialog) Over() (over, accept bool) { return d.over, d.accept }

// name asks for what new groups are called by.
func (d *Dialog) name(ctx context.Context) error {
	var want []int32
	for i := range d.Groups {
		if g := &d.Groups[i]; g.WorstPath == "" {
			want = append(want, int32(g.Worst))
		}
	}
	if len(want) == 0 {
		return nil
	}
	slices.Sort(want)
	heads, err := d.src.Heads(ctx, want)
	if err != nil {
		return err
	}
	for i := range d.Groups {
		g := &d.Groups[i]
		if g.WorstPath != "" {
			continue
		}
		k, _ := slices.BinarySearch(want, int32(g.Worst))
		g.WorstPath, g.Why = heads[k].Path, heads[k].Why
		if g.Single {
			g.Path, g.Part = g.WorstPath, ""
		}
	}
	return nil
}

// Key answers. What goes wrong is no fault of the key.
func (d *Dialog) Key(ctx context.Context, k Key) error {
	d.note = ""
	if k == '\r' {
		k = Enter
	}
	if k == 0x08 {
		k = Backspace
	}
	switch {
	case k == EOF, k == EndOfText:
		d.over = true
		return nil
	case d.typing():
		return d.typed(ctx, k)
	}
	switch d.mode {
	case browsing:
		return d.browse(ctx, k)
	case reading:
		return d.read(ctx, k)
	case helping:
		d.turn(k)
	case summing:
		d.sum(k)
	case quitting:
		if k == 'y' || k == 'Y' {
			d.over = true
		} else {
			d.mode = d.before
		}
	}
	return nil
}

// Paste is Key for what did not come from the keyboard: it is text, never an
// answer.
func (d *Dialog) Paste(ctx context.Context, k Key) error {
	if d.typing() && k >= ' ' && d.mode != confirming {
		return d.typed(ctx, k)
	}
	d.note = "what is pasted is no answer"
	return nil
}

func (d *Dialog) typing() bool {
	return d.mode == confirming || d.mode == searching || d.mode == reasoning
}

// browse answers to the present group, or goes elsewhere.
func (d *Dialog) browse(ctx context.Context, k Key) (err error) {
	switch k {
	case 'y', 'Y':
		return d.take(ctx)
	case 'n', 'N', Enter:
		d.Leave()
		d.onward()
	case 'd', ' ':
		d.mode = reading
		d.pager = pager{items: d.Groups[d.At].items}
		return d.load(ctx)
	case 's':
		return d.part(ctx, d.Split())
	case 't':
		return d.part(ctx, d.SplitKinds())
	case '/':
		d.mode, d.text = searching, nil
	case 'u':
		if !d.Undo() {
			d.note = "nothing to undo"
		}
	case 'f':
		d.mode = summing
	case 'q', 'Q':
		d.ask(quitting)
	case '?', 'h':
		d.ask(helping)
	case Up, 'k':
		d.Move(-1)
	case Down, 'j':
		d.Move(1)
	case PageUp:
		d.Move(-d.height / 2)
	case PageDown:
		d.Move(d.height / 2)
	case Home:
		d.Move(-len(d.Groups))
	case End:
		d.Move(len(d.Groups))
	default:
		d.note = "? shows the keys"
	}
	return nil
}

func (d *Dialog) ask(m mode) { d.before, d.mode, d.help = d.mode, m, 0 }

// onward goes to the next question, behind the last one to the summary.
func (d *Dialog) onward() {
	if !d.Next() {
		d.mode = summing
	}
}

func (d *Dialog) take(ctx context.Context) error {
	aside, err := d.Take()
	switch {
	case err == ErrByName:
		d.mode, d.text = confirming, nil
		return nil
	case err != nil:
		d.note = err.Error()
		return nil
	}
	if aside > 0 {
		d.note = fmt.Sprintf("%s not taken: each is asked for by itself", counted(aside, "critical finding"))
	}
	d.onward()
	return d.name(ctx)
}

func (d *Dialog) part(ctx context.Context, err error) error {
	if err != nil {
		d.note = err.Error()
		return nil
	}
	return d.name(ctx)
}

// typed edits the line that is being typed, and ends it.
func (d *Dialog) typed(ctx context.Context, k Key) error {
	switch {
	case k == Escape:
		d.typedNothing()
	case k == Enter:
		return d.entered(ctx, strings.TrimSpace(string(d.text)))
	case k == Backspace:
		d.text = d.text[:max(0, len(d.text)-1)]
	case k == Clear:
		d.text = nil
	case k >= ' ' && k != unicode.ReplacementChar && len(d.text) < maxTyped:
		d.text = append(d.text, rune(k))
	}
	return nil
}

// maxTyped bounds a typed line, in runes.
const maxTyped = 1000

func (d *Dialog) typedNothing() {
	switch d.mode {
	case reasoning:
		d.mode, d.note = summing, "cancelled: nothing is accepted without a reason"
	case confirming:
		d.mode, d.note = browsing, "not taken"
	default:
		d.mode = browsing
	}
}

func (d *Dialog) entered(ctx context.Context, text string) error {
	switch d.mode {
	case confirming:
		d.mode = browsing
		if text != "yes" {
			d.note = "not taken"
			return nil
		}
		if err := d.TakeCritical(); err != nil {
			d.note = err.Error()
			return nil
		}
		d.onward()
	case searching:
		d.mode = browsing
		if text == "" {
			text = d.sought
		}
		if d.sought = text; text != "" {
			return d.search(ctx, text)
		}
	case reasoning:
		if text == "" {
			d.typedNothing()
			return nil
		}
		d.Reason, d.over, d.accept = text, true, true
	}
	return nil
}

func (d *Dialog) search(ctx context.Context, text string) error {
	hit, bad, err := d.src.Find(ctx, text)
	switch {
	case err != nil:
		return err
	case bad != nil:
		d.note = bad.Error()
	case !d.Search(hit):
		d.note = fmt.Sprintf("no group has %q", text)
	}
	return nil
}

// sum answers to the summary: only y goes on to accepting.
func (d *Dialog) sum(k Key) {
	taken, _ := d.Sums()
	switch k {
	case 'y', 'Y':
		switch {
		case taken.Items == 0:
			d.note = "nothing is taken: q ends the review"
		case d.Reason != "" || d.DryRun:
			d.over, d.accept = true, true
		default:
			d.mode, d.text = reasoning, nil
		}
	case 'u':
		if d.mode = browsing; !d.Undo() {
			d.note = "nothing to undo"
		}
	case 'q', 'Q':
		d.ask(quitting)
	case '?', 'h':
		d.ask(helping)
	default:
		d.mode = browsing
	}
}

// turn turns the pages of the help.
func (d *Dialog) turn(k Key) {
	page := d.room()
	switch {
	case k == PageUp || k == Up || k == 'b':
		d.help = max(0, d.help-page)
	case (k == PageDown || k == Down || k == ' ') && d.help+page < len(d.helpLines()):
		d.help += page
	default:
		d.mode = d.before
	}
}
