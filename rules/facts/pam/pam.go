// Package pam reads the stacks of modules that Linux-PAM asks about a login,
// pam.conf(5), and tells whether one of them asks for a second factor that
// nobody gets around.
package pam

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Line is one module in the stack of a service, in the order in which it is
// asked, includes unfolded.
type Line struct {
	Service   string   `cel:"service"` // as sshd
	Nth       int64    `cel:"nth"`     // place in the stack of its type, from 1
	At        string   `cel:"at"`      // file:line
	Type      string   `cel:"type"`    // auth, account, password or session
	Control   string   `cel:"control"` // as it stands there: required, [success=1 default=ignore]
	Module    string   `cel:"module"`  // as it stands there: a name or a path
	Arguments []string `cel:"arguments"`
	Depth     int64    `cel:"depth"`  // of substacks around it
	Silent    bool     `cel:"silent"` // a module that is missing is no error: the type has a dash

	part int // of the substack it is in, 0: none
}

// Stack is what the auth lines of a service amount to.
type Stack struct {
	Service      string   `cel:"service"`
	Modules      []string `cel:"modules"`       // of the auth stack, in order
	SecondFactor bool     `cel:"second_factor"` // nobody gets in without one
	Known        bool     `cel:"known"`         // all of the stack was understood
	Why          []string `cel:"why"`           // what was not, and which second factor can be got around
}

// Key tells stacks apart.
func (s Stack) Key() string { return fmt.Sprintf("%q", s.Service) }

// Key tells lines apart.
func (l Line) Key() string { return fmt.Sprintf("%q %s %d", l.Service, l.Type, l.Nth) }

// Answers are the facts about PAM.
type Answers struct {
	Lines  facts.Answer[Line]
	Stacks facts.Answer[Stack]
}

// folders have a file for each service; the first that has it counts.
var folders = [...]entry.Path{"/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d"}

// Bounds of what is read. libpam nests includes at most 16 deep.
const (
	maxFile  = 1 << 20
	maxTotal = 16 << 20
	maxLines = 4096 // of one stack, unfolded
	maxDepth = 16
	maxNames = 4096    // services
	maxSteps = 1 << 20 // lines of all stacks, unfolded
)

var types = []string{"auth", "account", "password", "session"}

// factors are the modules of second factors with what weakens them.
//
//go:embed factors.txt
var factors string

// FactorsDate is the day of the list of second factors.
const FactorsDate = "2026-11-27"

// factor reports whether a module asks for a second factor, and the argument by
// which it asks not everybody.
func factor(module string, args []string) (is bool, weak string) {
	name := module[strings.LastIndexByte(module, '/')+1:]
	for l := range strings.Lines(factors) {
		f := strings.Fields(l)
		if len(f) == 0 || f[0] != name {
			continue
		}
		for _, a := range args {
			if slices.Contains(f[1:], a) {
				return true, a
			}
		}
		return true, ""
	}
	return false, ""
}

// reader reads files of PAM, each once.
type reader struct {
	ctx     context.Context
	root    *dirfd.Root
	files   map[string][]raw
	total   int64
	steps   int
	problem error
}

// Collect reads the stacks of all services.
func Collect(ctx context.Context, h facts.Host) Answers {
	r := &reader{ctx: ctx, root: h.Root, files: map[string][]raw{}}
	names := r.services()
	var out Answers
	out.Lines = facts.Answer[Line]{Rows: []Line{}, Status: rules.OK, Via: "files of PAM"}
	out.Stacks = facts.Answer[Stack]{Rows: []Stack{}, Status: rules.OK, Via: out.Lines.Via}
	for _, n := range names {
		if ctx.Err() != nil {
			r.fail(ctx.Err())
			break
		}
		b := r.service(n)
		out.Lines.Rows = append(out.Lines.Rows, b.lines...)
		out.Stacks.Rows = append(out.Stacks.Rows, b.stack())
	}
	if r.problem != nil {
		s := facts.AnswerStatus(r.problem)
		out.Lines.Status, out.Lines.Reason = s, r.problem.Error()
		out.Stacks.Status, out.Stacks.Reason = s, r.problem.Error()
	}
	return out
}

func (r *reader) fail(err error) {
	if r.problem == nil {
		r.problem = err
	}
}

// services returns the names of all services, sorted.
func (r *reader) services() []string {
	var out []string
	for _, dir := range folders {
		err := r.root.List(dir, func(name string, k entry.Kind) error {
			if len(out) >= maxNames {
				return fmt.Errorf("over %d services of PAM", maxNames)
			}
			if k != entry.Dir && name[0] != '.' {
				out = append(out, name)
			}
			return nil
		})
		if err != nil && !facts.Missing(err) {
			r.fail(fmt.Errorf("%s: %w", dir, err))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// read gives the lines of a service's file, nil where it has none.
func (r *reader) read(service string) ([]raw, bool) {
	if got, ok := r.files[service]; ok {
		return got, got != nil
	}
	r.files[service] = nil
	paths := make([]string, 0, len(folders))
	if strings.HasPrefix(service, "/") {
		paths = append(paths, service)
	} else {
		for _, d := range folders {
			paths = append(paths, string(d)+"/"+service)
		}
	}
	for _, s := range paths {
		p, err := entry.NewPath(s)
		var b []byte
		if err == nil {
			b, err = r.root.ReadFile(p, min(maxFile, max(0, maxTotal-r.total)))
		}
		if err != nil {
			if !facts.Missing(err) {
				r.fail(fmt.Errorf("%s: %w", s, err))
				return nil, false
			}
			continue
		}
		r.total += int64(len(b))
		r.files[service] = parse(s, b)
		return r.files[service], true
	}
	return nil, false
}
