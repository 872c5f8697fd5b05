package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"intact/baseline"
	"intact/report"
)

// DoctorOptions of Doctor.
type DoctorOptions struct {
	Format string // text or json
}

// The words of a line.
const (
	adviceOK      = "ok"
	adviceNote    = "note"
	adviceProblem = "problem"
)

// advice is one line: something that was looked at, and what to do about it.
// Everything in it is safe to print.
type advice struct {
	Section string `json:"section"`
	Name    string `json:"name"`
	Status  string `json:"status"` // ok, note or problem
	Text    string `json:"text"`
	Fix     string `json:"fix"` // a command or an edit, "" where there is nothing to do
}

// doctor is one run of Doctor.
type doctor struct {
	*session
	ctx      context.Context
	now      time.Time
	trustErr error // of the lists of signers
	section  string
	list     []advice
	out      Outcome
	gen      *baseline.Generation // the newest, nil where it is not there or not trusted
	reports  []pastReport         // the newest, oldest first, at most lookedBack
}

// Doctor looks at the installation and says what is in force and what is wrong
// with it, with a way out for each complaint. It writes nothing, takes no lock
// and scans nothing. The outcome has 1 where there is a problem, 2 where the
// configuration or the state folder cannot be used, 4 where there is no
// baseline or none that can be trusted.
func Doctor(ctx context.Context, e *Env, o DoctorOptions) (Outcome, error) {
	if o.Format != "" && o.Format != "text" && o.Format != "json" {
		return Outcome{}, usageError("--format: want text or json, not %q", o.Format)
	}
	s, trustErr, err := openLoosely(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	d := &doctor{session: s, ctx: ctx, now: e.Now(), trustErr: trustErr, out: Done()}
	parts := []struct {
		name string
		host bool // of the running host: passed over with --root
		look func()
	}{
		{"tool", false, d.tool}, {"configuration", false, d.configuration}, {"state", false, d.state}, {"host", false, d.host},
		{"signers", false, d.signers}, {"keys", false, d.keys}, {"baseline", false, d.baseline}, {"reports", false, d.lastReports},
		{"clock", true, d.clock}, {"disk", false, d.disk}, {"watch", true, d.watches}, {"system", true, d.system},
	}
	for _, p := range parts {
		if err := ctx.Err(); err != nil {
			return Outcome{}, err
		}
		if d.section = p.name; !p.host || s.root.Live() {
			p.look()
		}
	}
	if d.gen != nil {
		defer d.gen.Close()
	}
	if err := ctx.Err(); err != nil { // what was cut short says nothing
		return Outcome{}, err
	}
	return d.out, d.print(o.Format)
}

func (d *doctor) add(status, name, fix, format string, args ...any) {
	d.list = append(d.list, advice{d.section, name, status, report.Prose(fmt.Sprintf(format, args...)), report.Prose(fix)})
	if status == adviceProblem {
		d.out.Add(ExitFindings)
	}
}

func (d *doctor) ok(name, format string, args ...any) { d.add(adviceOK, name, "", format, args...) }

func (d *doctor) note(name, fix, format string, args ...any) {
	d.add(adviceNote, name, fix, format, args...)
}

func (d *doctor) problem(name, fix, format string, args ...any) {
	d.add(adviceProblem, name, fix, format, args...)
}

// print shows all lines: for people, or one JSON object each.
func (d *doctor) print(format string) error {
	if d.env.Quiet && d.out.Exit() == ExitClean {
		return nil
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	last, problems, notes := "", 0, 0
	for _, a := range d.list {
		switch a.Status {
		case adviceProblem:
			problems++
		case adviceNote:
			notes++
		}
		if format == "json" {
			if err := enc.Encode(a); err != nil {
				return err
			}
			continue
		}
		if a.Section != last {
			fmt.Fprintf(&b, "%s\n", a.Section)
			last = a.Section
		}
		word := a.Status
		if word == adviceProblem {
			word = "PROBLEM"
		}
		fmt.Fprintf(&b, "  %-7s  %-14s  %s\n", word, a.Name, a.Text)
		if a.Fix != "" {
			fmt.Fprintf(&b, "           %-14s  fix: %s\n", "", a.Fix)
		}
	}
	if format != "json" {
		fmt.Fprintf(&b, "intact doctor: %s, %s\n", counted(problems, "problem"), counted(notes, "note"))
	}
	_, err := fmt.Fprint(d.env.Stdout, b.String())
	return err
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ago says how long something is past, in the largest unit that tells.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future by " + ago(-d)
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 49*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// size is a number of bytes for people.
func size(n int64) string {
	for _, u := range []struct {
		unit string
		n    int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.n {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.n), u.unit)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
