package app

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"intact/report"
	"intact/rules"
)

// maxGrave bounds how many paths are named again before the question.
const maxGrave = 20

// summary is what one request comes to, for the question behind all that was
// shown: thousands of lines may lie between.
type summary struct {
	name     string                    // of the request and its host, escaped
	findings [rules.Critical + 1]int64 // by severity
	less     int                       // paths that would be compared by less
	unread   int                       // paths with something that is compared and was not read
	gaps     int                       // would be known from now on
	self     int                       // rows of intact itself
	grave    []string                  // paths of critical findings and of intact itself, escaped, the first of them
	more     int                       // grave beyond maxGrave
	past     string                    // what nobody was shown, "" if nothing
}

// count takes a finding; self says that it is of intact itself.
func (s *summary) count(f *rules.Finding, self bool) {
	s.findings[f.Severity]++
	if self {
		s.self++
	}
	switch {
	case !self && f.Severity < rules.Critical:
	case len(s.grave) < maxGrave:
		s.grave = append(s.grave, fmt.Sprintf("%s %s", strings.ToUpper(f.Severity.String()), report.Escape(f.Subject.Path)))
	default:
		s.more++
	}
}

// words are the numbers that are not 0.
func (s *summary) words() string {
	var out []string
	add := func(n int64, what string) {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, what))
		}
	}
	for v, n := range slices.Backward(s.findings[:]) {
		add(n, rules.Severity(v).String())
	}
	add(int64(s.self), "of intact itself")
	add(int64(s.less), "COMPARED BY LESS")
	add(int64(s.unread), "ACCEPTED UNREAD")
	add(int64(s.gaps), "known gaps more")
	if s.past != "" {
		out = append(out, s.past)
	}
	return strings.Join(out, ", ")
}

// consent asks on the terminal, behind what the requests come to. Only y is yes,
// and for what is grave only the whole word. Everything else is an error that
// exits with 1.
func (a *approval) consent(all []*summary) error {
	// What was typed before the question came is no answer to it.
	if f, ok := a.env.Stdin.(*os.File); ok {
		_ = unix.IoctlSetInt(int(f.Fd()), unix.TCFLSH, unix.TCIFLUSH)
	}
	answer := func(format string, args ...any) (string, error) {
		a.env.print(format, args...)
		line, err := a.in.ReadString('\n')
		if err == io.EOF {
			err = nil
		}
		return strings.TrimSpace(line), err
	}
	grave := false
	a.env.print("\n")
	for _, s := range all {
		a.env.print("%s: %s\n", s.name, s.words())
		for _, g := range s.grave {
			a.env.print("  %s\n", g)
		}
		if s.more > 0 {
			a.env.print("  and %d more of these\n", s.more)
		}
		grave = grave || len(s.grave) > 0
	}
	takes, hint := []string{"y", "Y", "yes"}, "[y/N]"
	if grave {
		takes, hint = []string{"yes"}, "Something critical, or intact itself, is in it: type yes in full [yes/N]"
	}
	word, err := answer("Approve %s with %s? %s ", counted(len(all), "request"), a.key.Key().Fingerprint, hint)
	if err != nil {
		return err
	}
	if !slices.Contains(takes, word) {
		return usageErrorAs(ExitFindings, "accept --approve: not approved, nothing was signed")
	}
	if strings.TrimSpace(a.o.Reason) != "" {
		return nil
	}
	if a.o.Reason, err = answer("Reason: "); err != nil {
		return err
	}
	if a.o.Reason == "" {
		return usageErrorAs(ExitFindings, "accept --approve: not approved without a reason, which stands in the baseline's statement: nothing was signed")
	}
	return nil
}
