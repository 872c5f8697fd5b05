package sshd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"intact/rules/facts"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// What is read is bounded. sshd itself has no limits but the depth; a host that
// needs more than these is not one that anybody understands.
const (
	maxDepth  = 16      // of Include, sshd's own limit
	maxFile   = 4 << 20 // bytes of one file
	maxBytes  = 8 << 20 // bytes of all files
	maxLines  = 50_000  // directives, counted again for each time that their file is included
	maxBroken = 2000    // directives that are looked at where a limit was reached: sshd refuses what is such
	maxNames  = 100_000 // names looked at for patterns of Include
)

// MainFile is where sshd looks, and confDir where relative names of Include
// begin.
const (
	MainFile = "/etc/ssh/sshd_config"
	confDir  = "/etc/ssh"
)

// Problem is something that sshd would refuse, or that could not be read.
type Problem struct {
	At   facts.Place
	What string // for people; may hold bytes from the disk
}

func (p Problem) String() string {
	return fmt.Sprintf("%s: %s", placed(p.At), p.What)
}

// placed writes file:line.
func placed(p facts.Place) string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Config is a configuration of sshd as it stands in its files.
type Config struct {
	Files    []entry.Path // that were read, in the order of their first reading
	Problems []Problem    // in the order of reading
	Absent   bool         // there is no main file
	Denied   bool         // a file may not be read by us

	denied  Problem
	unread  []entry.Path // that are there, or should be
	main    *source
	sources []*source // all of them
	version Version
	budget  int    // of directives in one walk
	command []line // options of the command line, which win
}

// source is one file, parsed once however often it is included.
type source struct {
	name  string
	lines []line
}

// line is one directive.
type line struct {
	at      facts.Place
	spelled string  // the keyword as it stands there
	opt     *option // nil for a keyword that is not known
	args    []string
	rest    string // behind the keyword, as it stands there
	tests   criteria
	text    string    // of tests, see brief
	each    []string  // of tests but "all", each by itself
	files   []*source // of Include, in their order
	bad     bool      // sshd refuses it
}

type loader struct {
	ctx   context.Context
	root  *dirfd.Root
	keys  map[string]*option
	files map[string]*source
	globs map[string][]string
	conf  *Config
	bytes int
	names int
	count int  // of lines, as included
	full  bool // a limit was reached, and said
}

// Load reads the configuration that begins with a file, through root alone, as
// the release reads it; the zero Version is a late one. What is wrong with it is in Problems; err is ctx's only.
func Load(ctx context.Context, root *dirfd.Root, file string, v Version) (*Config, error) {
	l := &loader{ctx: ctx, root: root, keys: keywords(), files: map[string]*source{}, globs: map[string][]string{}, conf: &Config{version: v, budget: maxLines}}
	l.conf.main = l.file(file)
	l.measure(l.conf.main, facts.Place{File: file}, 0)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if l.full {
		l.conf.budget = maxBroken
	}
	l.inPlace()
	return l.conf, nil
}

func (l *loader) problem(at facts.Place, format string, args ...any) {
	const enough, long = 1000, 400
	if len(l.conf.Problems) >= enough {
		return
	}
	what := fmt.Sprintf(format, args...)
	if len(what) > long {
		what = what[:long] + "…"
	}
	l.conf.Problems = append(l.conf.Problems, Problem{at, what})
}

// deny remembers the first thing that may not be read.
func (l *loader) deny(at facts.Place, err error) {
	if !l.conf.Denied {
		l.conf.Denied, l.conf.denied = true, Problem{at, err.Error()}
	}
}

// limit says once that there is too much.
func (l *loader) limit(at facts.Place, what string) {
	if !l.full {
		l.full = true
		l.problem(at, "%s: the rest is not read", what)
	}
}

// file returns a file, parsed, nil where there is nothing to be had of it. What
// it includes is resolved once, however often it is included itself.
func (l *loader) file(name string) *source {
	if s, known := l.files[name]; known || l.ctx.Err() != nil || l.full {
		return s
	}
	s := l.read(name)
	l.files[name] = s
	if s == nil {
		return nil
	}
	l.conf.sources = append(l.conf.sources, s)
	for i := range s.lines {
		n := &s.lines[i]
		if n.opt == nil || n.opt.shape != include || n.bad {
			continue
		}
		for _, pattern := range n.args {
			for _, name := range l.expand(pattern, n.at) {
				if in := l.file(name); in != nil {
					n.files = append(n.files, in)
				}
			}
		}
	}
	return s
}

// measure walks what is included as sshd does and says where that is too deep
// or too much. A circle is too deep.
func (l *loader) measure(s *source, from facts.Place, depth int) {
	if s == nil || l.full || l.ctx.Err() != nil {
		return
	}
	if depth > maxDepth {
		l.limit(from, "Include is nested deeper than 16, sshd refuses that")
		return
	}
	if l.count += len(s.lines) + 1; l.count > maxLines {
		l.limit(from, "over 50,000 directives")
		return
	}
	for i := range s.lines {
		for _, in := range s.lines[i].files {
			l.measure(in, s.lines[i].at, depth+1)
		}
	}
}

// read reads and parses a file.
func (l *loader) read(name string) *source {
	whole := facts.Place{File: name}
	p, err := entry.NewPath(name)
	var data []byte
	if err == nil {
		data, err = l.root.ReadFile(p, min(maxFile, int64(maxBytes-l.bytes)))
	}
	if err != nil && l.folder(p) {
		return &source{name: name} // sshd reads nothing of it either, and goes on
	}
	if err != nil {
		switch {
		case errors.Is(err, fs.ErrPermission):
			l.deny(whole, err)
		case errors.Is(err, fs.ErrNotExist) && len(l.conf.Files) == 0:
			l.conf.Absent = true
		}
		if p != "" {
			l.conf.unread = append(l.conf.unread, p)
		}
		l.problem(whole, "cannot be read: %v", err)
		return nil
	}
	l.bytes += len(data)
	l.conf.Files = append(l.conf.Files, p)
	s := &source{name: name}
	for text, number := range physical(data) {
		if n, ok := l.parse(text, facts.Place{File: name, Line: number}); ok {
			if s.lines = append(s.lines, n); len(s.lines) > maxLines {
				l.limit(n.at, "over 50,000 directives")
				break
			}
		}
	}
	return s
}

var errEnough = errors.New("enough")

func (l *loader) folder(p entry.Path) bool {
	if p == "" {
		return false
	}
	err := l.root.List(p, func(string, entry.Kind) error { return errEnough })
	return err == nil || errors.Is(err, errEnough)
}

// physical gives the lines as sshd puts them together: a NUL hides the rest of
// its line, newline included, so that the next line continues this one. number
// is where the text begins.
func physical(data []byte) func(yield func(text string, number int) bool) {
	return func(yield func(string, int) bool) {
		var held []byte
		start := 1
		for number := 1; len(data) > 0; number++ {
			one, after, _ := bytes.Cut(data, []byte("\n"))
			data = after
			one = bytes.TrimLeft(one, " \t\r")
			if len(held) == 0 {
				start = number
			}
			visible, _, cut := bytes.Cut(one, []byte{0})
			if cut {
				held = append(held, visible...)
				continue
			}
			text := string(append(held, one...))
			held = nil
			if !yield(text, start) {
				return
			}
		}
		if len(held) > 0 {
			yield(string(held), start)
		}
	}
}

// expand returns the files that a pattern of Include means, as glob(3) gives
// them: in the order of their bytes, nothing where none is there.
func (l *loader) expand(pattern string, at facts.Place) []string {
	if strings.HasPrefix(pattern, "~") || strings.IndexByte(pattern, 0) >= 0 {
		l.problem(at, "what %q means depends on who starts sshd", pattern)
		return nil
	}
	if !strings.HasPrefix(pattern, "/") {
		pattern = confDir + "/" + pattern
	}
	if got, ok := l.globs[pattern]; ok {
		return got
	}
	found := []string{""}
	for part := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		var next []string
		for _, dir := range found {
			next = append(next, l.children(dir, part, at)...)
		}
		if found = next; len(found) == 0 {
			break
		}
	}
	slices.Sort(found)
	l.globs[pattern] = found
	return found
}

// children returns the names in dir that a component of a pattern matches.
func (l *loader) children(dir, part string, at facts.Place) []string {
	if !strings.ContainsAny(part, `*?[\`) {
		name := dir + "/" + part
		p, err := entry.NewPath(name)
		if err != nil || part == "" {
			return []string{dir}
		}
		_, _, exists, err := l.root.Resolve(p)
		if err != nil {
			l.problem(at, "%q: %v", name, err)
		}
		if err != nil || !exists {
			return nil
		}
		return []string{name}
	}
	p, err := entry.NewPath(dir + "/.")
	if err != nil {
		return nil
	}
	var out []string
	err = l.root.List(p, func(name string, _ entry.Kind) error {
		if l.names++; l.names > maxNames {
			return fmt.Errorf("over %d names", maxNames)
		}
		if name[0] == '.' && part[0] != '.' {
			return nil
		}
		if globbed(part, name) {
			out = append(out, dir+"/"+name)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if errors.Is(err, fs.ErrPermission) {
			l.deny(at, err)
		}
		l.problem(at, "%q: %v", dir, err)
	}
	return out
}

// globbed matches one name; a set that does not end is text.
func globbed(part, name string) bool {
	ok, err := path.Match(strings.ReplaceAll(part, "[!", "[^"), name)
	if err != nil {
		return part == name
	}
	return ok
}
