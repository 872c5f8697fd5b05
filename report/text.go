package report

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"intact/rules"
)

// TextOptions say how the text view is rendered. The zero value is usable.
type TextOptions struct {
	Now      time.Time           // for "2 h ago"; zero: no relative times
	Location *time.Location      // of the times shown; nil: UTC
	User     func(uint32) string // names of the scanned root, "" if unknown; may be nil
	Group    func(uint32) string
	Color    bool
	Verbose  bool     // known gaps one by one, nothing folded, every attribute
	Verify   string   // the command that verifies the signature, "" where there is none
	Program  []string // words before the command in what to do next; nil: intact, and --root if there is one
}

// The numbers of gaps, rules and notes, and of skipped mounts, that are shown
// one by one unless Verbose is set.
const (
	listLimit = 50
	skipLimit = 20
)

// text is one rendering. Its memory does not grow with the report.
type text struct {
	TextOptions
	w   *bufio.Writer
	src io.ReadSeeker
	h   Header
	t   Trailer

	behind                                  int64 // where the findings end
	lines                                   int   // up to there
	newGaps, knownGaps, rules, skips, notes int64
	explain, accept                         worst // and the worst that can be accepted
	row, failing                            worst // without a path: what --fact and --rule of accept select

	sources map[rules.Explanation]*source
	signed  int64                     // findings that a signature explains
	shown   [rules.Critical + 1]int64 // findings that no source stands for, by severity

	windows map[string]Window // that notes tell of, by id

	rule string // severity and rule of the finding that was printed last, "" if that was no rule about the host
}

// worst is the first of the gravest findings with a path; none: path is "".
type worst struct {
	severity rules.Severity
	path     string
}

func (w *worst) consider(f *rules.Finding) {
	if w.path == "" || f.Severity > w.severity {
		// A copy: what was read is a part of its whole line.
		w.severity, w.path = f.Severity, strings.Clone(f.Subject.Path)
	}
}

// Text renders the report in src, from its beginning, for people. The first
// line is Summary. src is read several times. A report that is not canonical
// or not complete gives an error and no output.
func Text(w io.Writer, src io.ReadSeeker, o TextOptions) error {
	if o.Location == nil {
		o.Location = time.UTC
	}
	t := &text{TextOptions: o, w: bufio.NewWriterSize(w, 32<<10), src: src}
	if err := t.survey(); err != nil {
		return err
	}
	if t.Program == nil {
		t.Program = []string{"intact"}
		if t.h.Root != "/" {
			t.Program = append(t.Program, "--root", t.h.Root)
		}
	}
	t.line("%s", t.paint(verdictColor(t.t), Summary(t.h, t.t)))
	t.line("")
	t.facts()
	t.explained()
	for s := int(rules.Critical); s >= 0; s-- {
		if t.shown[s] == 0 && !(t.Verbose && t.t.Counts.Findings[s] > 0) {
			continue
		}
		if err := t.findings(rules.Severity(s)); err != nil {
			return err
		}
	}
	if err := t.rest(); err != nil {
		return err
	}
	t.next()
	t.exit()
	if o.Verify != "" {
		t.line("")
		t.line("To verify the signature of this report:")
		t.line("  %s", o.Verify)
	}
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// line prints one line; errors stick in the bufio.Writer.
func (t *text) line(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

func (t *text) seek(at int64) error {
	if _, err := t.src.Seek(at, io.SeekStart); err != nil {
		return fmt.Errorf("read report: %w", err)
	}
	return nil
}

// survey reads the whole report strictly and keeps what comes first in the
// text but last in the report.
func (t *text) survey() error {
	if err := t.seek(0); err != nil {
		return err
	}
	return readAll(t.src, func(r *inLine) {
		switch {
		case r.Header != nil:
			t.h = *r.Header
		case r.Trailer != nil:
			t.t = *r.Trailer
		case r.Gap != nil && r.Gap.Known:
			t.knownGaps++
		case r.Gap != nil:
			t.newGaps++
		case r.Rule != nil:
			t.rules++
		case r.Skip != nil:
			t.skips++
		case r.Note != nil:
			t.notes++
			t.knowWindow(r.Note.Window)
		case r.Finding != nil:
			t.remember(r.Finding, r.line)
		}
		if r.Header != nil || r.Finding != nil {
			t.lines++
			t.behind += int64(len(r.line) + 1)
		}
	})
}

func (t *text) remember(f *rules.Finding, line string) {
	if t.attribute(f) {
		return
	}
	t.shown[min(f.Severity, rules.Critical)]++
	if f.Subject.Path == "" {
		t.selectable(f, strings.Contains(line, Stands))
		return
	}
	t.explain.consider(f)
	if f.Change != "" && f.Rule != "coverage.lost" {
		t.accept.consider(f)
	}
}

// records reads once more what is behind the findings and gives do the wanted
// records, or all. survey has checked them.
func (t *text) records(want func(line []byte) bool, do func(*Record)) error {
	if err := t.seek(t.behind); err != nil {
		return err
	}
	rd := NewReader(t.src)
	rd.n = t.lines
	for {
		line, err := rd.line()
		if err != nil {
			return lineError(rd.n, rd.order.ended(err))
		}
		if bytes.HasPrefix(line, []byte(`{"type":"trailer"`)) {
			return nil
		}
		if want != nil && !want(line) {
			continue
		}
		rec, _, err := decode(line, &rd.last)
		if err != nil {
			return lineError(rd.n, err)
		}
		do(&rec)
	}
}

// findings prints the findings of one severity. Leaving most of each line
// undecoded makes a long report fast.
func (t *text) findings(s rules.Severity) error {
	fold := folder{line: func(l string) { t.line("%s  %s", t.severity(s), l) }}
	always := t.Verbose || s >= rules.High
	t.line("")
	if err := t.seek(0); err != nil {
		return err
	}
	work := func(b *batch) {
		b.decode(func(line string) error {
			if !isFinding(line) || !t.wanted(line, s, always) || !t.Verbose && stood(line, s) {
				return nil
			}
			f, err := decodeHead(line)
			b.keep(inLine{line: line}, &f)
			return err
		})
	}
	var last lastTime
	err := inBatches(t.src, work, func(b *batch) error {
		for i := range b.records {
			f := b.records[i].Finding
			if f.Severity == s && (always || fold.finding(f)) {
				var rec Record
				if _, err := decodeInto(&rec, b.records[i].line, &last); err != nil {
					return fmt.Errorf("read report: %w", err)
				}
				t.finding(rec.Finding)
			}
			if !always {
				fold.directory(f)
			}
		}
		err := b.err
		if err == nil && b.ended != io.EOF {
			err = b.ended
		}
		if err != nil {
			return fmt.Errorf("read report: %w", err)
		}
		return nil
	})
	fold.finish()
	return err
}

// wanted reports whether the line of a finding may be about one of severity s
// or, where they fold, a directory. Inside a JSON string every quote has a
// backslash before it, so what is looked for can only be the fields themselves.
func (t *text) wanted(line string, s rules.Severity, always bool) bool {
	head, subject, _ := strings.Cut(line, `,"subject":`)
	return strings.Contains(head, `,"severity":"`+s.String()+`"`) || !always && strings.HasPrefix(subject, `{"kind":"dir"`)
}

// rest prints gaps, rules, skips and notes.
func (t *text) rest() error {
	gap := []byte(`{"type":"gap"`)
	if t.newGaps > 0 {
		t.heading("Not verified, %s:", plural(t.newGaps, "new gap"))
		list := t.list(t.newGaps, listLimit)
		err := t.records(func(l []byte) bool { return bytes.HasPrefix(l, gap) }, func(r *Record) {
			if !r.Gap.Known {
				list(gapLine(r.Gap))
			}
		})
		if err != nil {
			return err
		}
	}
	if t.knownGaps > 0 {
		end := ": see --verbose"
		if t.listsKnown() {
			end = ":"
		}
		t.heading("Not verified, but accepted so with the baseline, %s%s", plural(t.knownGaps, "known gap"), end)
	}
	lacking := map[string]int64{} // rules by what the host does not have
	known, rule, skip, note := t.list(t.knownGaps, listLimit), t.list(t.rules, listLimit), t.list(t.skips, skipLimit), t.list(t.notes, listLimit)
	var begun byte
	head := func(kind byte, format string, args ...any) {
		if begun != kind {
			begun = kind
			t.heading(format, args...)
		}
	}
	lacks := func() {
		if len(lacking) > 0 {
			head('r', "Rules without an answer:")
			rule(lackWords(lacking))
			clear(lacking)
		}
	}
	defer lacks()
	return t.records(nil, func(r *Record) {
		if r.Rule == nil && r.Gap == nil {
			lacks()
		}
		switch {
		case r.Gap != nil && r.Gap.Known && t.listsKnown():
			known(gapLine(r.Gap))
		case r.Rule != nil && r.Rule.Verdict == "waived":
			head('w', "Waived, no findings until then:")
			rule(ruleLine(r.Rule))
		case r.Rule != nil:
			if !t.Verbose && r.Rule.lacks() {
				lacking[r.Rule.Reason]++
				return
			}
			head('r', "Rules without an answer:")
			rule(ruleLine(r.Rule))
		case r.Skip != nil:
			head('s', "Passed over because of their file-system type, %s:", plural(t.skips, "mount"))
			skip(fmt.Sprintf("%s (%s)", Escape(r.Skip.Path), Escape(r.Skip.FSType)))
		case r.Note != nil:
			head('n', "Notes:")
			s := Prose(r.Note.Text)
			if r.Note.Path != "" {
				s = Escape(r.Note.Path) + ": " + s
			}
			note(s)
		}
	})
}

func (t *text) heading(format string, args ...any) {
	t.line("")
	t.line(format, args...)
}

// list prints the items of a list of n up to the limit, then how many are left.
func (t *text) list(n, limit int64) func(string) {
	var i int64
	return func(s string) {
		i++
		switch {
		case i <= limit || t.Verbose || n == limit+1:
			t.line("  %s", s)
		case i == limit+1:
			t.line("  … and %s more: see --verbose", group(n-limit))
		}
	}
}

func gapLine(g *Gap) string {
	s := subjectText(g.Subject) + ": " + Prose(g.Reason)
	if len(g.Attributes) > 0 {
		var names []string
		for _, a := range g.Attributes {
			names = append(names, label(a))
		}
		s += " (only " + strings.Join(names, ", ") + ")"
	}
	if g.Detail != "" {
		s += ": " + Prose(g.Detail)
	}
	if g.Count > 0 {
		s += ", with all below it (" + plural(g.Count, "path") + " in the baseline)"
	}
	return s
}

// The colours of a terminal, as SGR parameters.
const (
	red    = "1;31"
	yellow = "33"
	green  = "32"
	cyan   = "36"
	dim    = "2"
)

func (t *text) paint(sgr, s string) string {
	if !t.Color || sgr == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

func verdictColor(t Trailer) string {
	switch {
	case t.Verdict == Clean:
		return green
	case t.Verdict == Untrusted, t.Verdict == Failed, t.Counts.Findings[rules.High]+t.Counts.Findings[rules.Critical] > 0:
		return red
	}
	return yellow
}

// severity is the first column, eight characters wide.
func (t *text) severity(s rules.Severity) string {
	color := map[rules.Severity]string{rules.Critical: red, rules.High: red, rules.Medium: yellow, rules.Low: cyan, rules.Info: dim}
	return t.paint(color[s], fmt.Sprintf("%-8s", strings.ToUpper(s.String())))
}

// listsKnown reports whether known gaps are shown one by one: when they are
// accepted, and on demand.
func (t *text) listsKnown() bool { return t.Verbose || t.h.Kind == KindInit }
