// Package app holds the commands as functions: it wires scanner, baseline,
// rules and report together and decides exit codes. It parses no flags.
package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/report"
	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/digest"
	"intact/scanner/strict"
)

// Env is what a command gets from the process it runs in.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer // the report, nothing else
	Stderr io.Writer // everything else
	Now    func() time.Time
	Random io.Reader // what a quick check reads by chance; nil: crypto/rand

	Version string        // of the program
	Tool    digest.Digest // of its binary; zero: it is read where it is needed
	Args    []string      // the command line, for the lock's "held by"

	Config string // --config, "" for the default places
	State  string // --state, "" for the configured folder
	Root   string // --root, "/" for the live host

	TrustedSigners string // --trusted-signers, "" for the configured file
	RevokedKeys    string // --revoked-keys, "" for the configured file

	Machine func() baseline.Machine // what the host is known by; nil: this machine

	Hooks    []string // patterns of the files that start intact; nil: selfGlobs
	Crontabs []string // patterns of the crontabs that may name intact; nil: crontabs

	Facts *facts.Host // the host that drift and rules are about; nil: that of Root

	PackageLocks []string // what package managers lock on the live host; nil: packageLocks

	Explainers []rules.Explainer // asked besides the manifests of what is expected

	Quiet     bool
	Verbose   bool
	Color     bool // stdout is a terminal and colour is wanted
	Progress  bool // stderr is a terminal
	JSONLog   bool
	Workers   int           // 0: configured or chosen
	MaxRate   int64         // bytes per second, 0: configured or none
	Nice      bool          // lowest CPU and idle I/O priority
	Abandoned time.Duration // time-out of file systems that can hang, 0: default
}

// The exit codes; docs/report.md says what each means.
const (
	ExitClean       = 0
	ExitFindings    = 1
	ExitUsage       = 2
	ExitIncomplete  = 3
	ExitTrust       = 4
	ExitInterrupted = 130
)

// Outcome is how a command ended. The zero Outcome exits 2: exit 0 comes only
// from a command that computed a verdict.
type Outcome struct {
	done  bool
	codes []int
}

// Done returns an outcome with the given codes; none means clean.
func Done(codes ...int) Outcome { return Outcome{done: true, codes: codes} }

// Add notes one more code that applies.
func (o *Outcome) Add(code int) {
	o.done = true
	if code != ExitClean && !slices.Contains(o.codes, code) {
		o.codes = append(o.codes, code)
	}
}

// precedence is the order in which one of several codes is chosen.
var precedence = [...]int{ExitTrust, ExitUsage, ExitInterrupted, ExitFindings, ExitIncomplete}

// Exits returns every code that applies, the strongest first.
func (o Outcome) Exits() []int {
	if !o.done {
		return []int{ExitUsage}
	}
	var r []int
	for _, c := range precedence {
		if slices.Contains(o.codes, c) {
			r = append(r, c)
		}
	}
	return r
}

// Exit returns the code to exit with.
func (o Outcome) Exit() int {
	if e := o.Exits(); len(e) > 0 {
		return e[0]
	}
	return ExitClean
}

// codeError is an error that knows its exit code.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &codeError{ExitUsage, fmt.Errorf(format, args...)}
}

// Fail turns an error into the outcome of a command that could not go on.
func Fail(err error) Outcome {
	if c, ok := errors.AsType[*codeError](err); ok {
		return Done(c.code)
	}
	return Done(exitOf(err))
}

// warn prints one line to stderr, escaped.
func (e *Env) warn(format string, args ...any) { e.Tell(fmt.Sprintf(format, args...)) }

// TellError prints an error: a message for each of those that it joins.
func (e *Env) TellError(err error) {
	for _, one := range joined(err) {
		e.Tell(one.Error())
	}
}

// joined are the errors that one was joined of, which has a line for each. A
// newline in the text of one error parts nothing.
func joined(err error) (list []error) {
	var parts []error
	switch x := err.(type) {
	case *codeError:
		parts = []error{x.err}
	case strict.Errors:
		for _, one := range x {
			parts = append(parts, one)
		}
	case interface{ Unwrap() []error }:
		if parts = x.Unwrap(); errors.Join(parts...).Error() != err.Error() {
			parts = nil // a text of its own around them
		}
	}
	if len(parts) == 0 {
		return []error{err}
	}
	for _, one := range parts {
		list = append(list, joined(one)...)
	}
	return list
}

// Tell prints a message to stderr, escaped: a line of text, or of JSON where
// that was asked for.
func (e *Env) Tell(message string) {
	message = report.Prose(message)
	if !e.JSONLog {
		fmt.Fprintf(e.Stderr, "intact: %s\n", message)
		return
	}
	// A time and a string can always be encoded.
	b, _ := json.Marshal(struct {
		Time    time.Time `json:"time"`
		Message string    `json:"message"`
	}{e.Now().UTC(), message})
	fmt.Fprintf(e.Stderr, "%s\n", b)
}

func usageErrorAs(code int, format string, args ...any) error {
	return &codeError{code, fmt.Errorf(format, args...)}
}

// Terminal reports whether w is a terminal.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
