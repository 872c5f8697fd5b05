// Package pam reads the stacks of modules that Linux-PAM asks about a login,
// pam.conf(5), and tells whether one of them asks for a second factor that
// nobody gets around.
package pam

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
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

// Entry is a line of a file, once whatever the number of services that include
// it. Lines that include another file are some too.
type Entry struct {
	File      string   `cel:"file"`
	Type      string   `cel:"type"`   // of Line, or all for @include
	Module    string   `cel:"module"` // or the file that is included
	Nth       int64    `cel:"nth"`    // 1, or which of the lines of this file, type and module it is
	Control   string   `cel:"control"`
	Arguments []string `cel:"arguments"`
	After     string   `cel:"after"` // the module of the line before it in this file and type, "" of the first
}

// Key tells entries apart.
func (e Entry) Key() string {
	k := fmt.Sprintf("%q %s %q", e.File, e.Type, e.Module)
	if e.Nth > 1 {
		k += fmt.Sprintf("#%d", e.Nth)
	}
	return k
}

// Compared spells what is compared of an entry. Where it stands is by what is
// before it, so that a line that comes leaves those far below as they are.
func (e Entry) Compared() string {
	return fmt.Sprintf("control=%q arguments=%q after=%q", e.Control, strings.Join(e.Arguments, " "), e.After)
}

// Entries are the lines of the files that the stacks are of; joins are those that
// include others, by their place.
func Entries(lines []Line, joins map[string]Line) []Entry {
	type place struct {
		file string
		line int
	}
	at := map[place]Line{}
	for _, l := range slices.AppendSeq(slices.Clone(lines), maps.Values(joins)) {
		file, number, ok := cutLast(l.At, ":")
		n, err := strconv.Atoi(number)
		if ok && err == nil {
			at[place{file, n}] = l
		}
	}
	places := slices.SortedFunc(maps.Keys(at), func(a, b place) int {
		return cmp.Or(strings.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	out := []Entry{}
	before, count := map[string]string{}, map[string]int64{}
	for _, p := range places {
		l := at[p]
		stack := p.file + "\x00" + l.Type
		same := stack + "\x00" + l.Module
		count[same]++
		control := l.Control
		if l.Silent {
			control = "-" + control
		}
		out = append(out, Entry{File: p.file, Type: l.Type, Module: l.Module, Nth: count[same], Control: control, Arguments: l.Arguments, After: before[stack]})
		for _, t := range slices.Concat(types, []string{allTypes}) {
			if t == l.Type || l.Type == allTypes {
				before[p.file+"\x00"+t] = l.Module
			}
		}
	}
	return out
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
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
	// Entries are those that some stack has.
	Entries facts.Answer[Entry]
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

// allTypes is the type of what @include includes.
const allTypes = "all"

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
	joins   map[string]Line // that include a file, by file:line
	total   int64
	steps   int
	problem error
}

// Collect reads the stacks of all services.
func Collect(ctx context.Context, h facts.Host) Answers {
	r := &reader{ctx: ctx, root: h.Root, files: map[string][]raw{}, joins: map[string]Line{}}
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
	out.Entries = facts.Answer[Entry]{Rows: Entries(out.Lines.Rows, r.joins), Status: rules.OK, Via: out.Lines.Via}
	if r.problem != nil {
		s := facts.AnswerStatus(r.problem)
		out.Lines.Status, out.Lines.Reason = s, r.problem.Error()
		out.Stacks.Status, out.Stacks.Reason = s, r.problem.Error()
		out.Entries.Status, out.Entries.Reason = s, r.problem.Error()
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
