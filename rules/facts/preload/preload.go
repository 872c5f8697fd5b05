// Package preload reads what makes programs load code that is not their own:
// libraries that ld.so(8) loads first, modules of the name service, variables
// that point the loader elsewhere, and folders of libraries that others than root
// may write.
package preload

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/units"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Entry is one of them.
type Entry struct {
	Kind    string `cel:"kind"`    // preload, name-service, variable, folder
	File    string `cel:"file"`    // where it is said; the name of a unit where its Environment= does
	Name    string `cel:"name"`    // of the variable, or of the database of the name service; "" else
	Value   string `cel:"value"`   // the library, the module with what is done after it, the variable's value, the folder
	Index   int64  `cel:"index"`   // from 1, which of the entries of this kind, file and name it is
	At      string `cel:"at"`      // file:line
	Exposed string `cel:"exposed"` // of libraries and folders: what others than root may write, it or a folder above it; "" if nothing
	Missing bool   `cel:"missing"` // of libraries and folders: it is not there
}

// Key tells entries apart.
func (e Entry) Key() string { return fmt.Sprintf("%s %q %q %d", e.Kind, e.File, e.Name, e.Index) }

// Compared spells what is compared of an entry.
func (e Entry) Compared() string { return fmt.Sprintf("value=%q exposed=%q", e.Value, e.Exposed) }

// Drift returns entries as they are compared with those of another day: of the
// name service one a database with all its modules, in order, so that one that
// comes first does not make others of all behind it.
func Drift(entries []Entry) (out []Entry) {
	at := map[string]int{}
	for _, e := range entries {
		if e.Kind != "name-service" {
			out = append(out, e)
			continue
		}
		e.Index = 1
		if i, ok := at[e.Key()]; ok {
			out[i].Value += " " + e.Value
			continue
		}
		at[e.Key()] = len(out)
		out = append(out, e)
	}
	return out
}

// Bounds: bytes of a file and of a line, files of one kind, rows.
const (
	maxFile  = 1 << 20
	maxLine  = 16 << 10
	maxFiles = 4096
	maxRows  = 20_000
)

type reader struct {
	ctx   context.Context
	root  *dirfd.Root
	a     *facts.Answer[Entry]
	index map[string]int64
	read  map[entry.Path]bool // files of the kind that is being read
}

// Collect reads the entries of a host. of are its units; whoever could not read
// them says so itself.
func Collect(ctx context.Context, h facts.Host, of []units.Unit) facts.Answer[Entry] {
	a := facts.Answer[Entry]{Status: rules.OK, Via: "/etc/ld.so.preload, nsswitch.conf, environments, ld.so.conf"}
	r := &reader{ctx: ctx, root: h.Root, a: &a, index: map[string]int64{}, read: map[entry.Path]bool{}}
	r.preload()
	r.nameService()
	r.environments()
	r.units(of)
	r.read = map[entry.Path]bool{}
	r.folders("/etc/ld.so.conf", 0)
	a.Fail(ctx.Err())
	return a
}

func (r *reader) add(e Entry) {
	if len(r.a.Rows) >= maxRows {
		r.a.Fail(fmt.Errorf("over %d entries", maxRows))
		return
	}
	id := fmt.Sprintf("%s %q %q", e.Kind, e.File, e.Name)
	r.index[id]++
	e.Index = r.index[id]
	r.a.Rows = append(r.a.Rows, e)
}

// lines calls do for the lines of a file that is there.
func (r *reader) lines(p entry.Path, do func(line, at string)) {
	if len(r.read) >= maxFiles || r.read[p] || r.ctx.Err() != nil {
		if len(r.read) >= maxFiles {
			r.a.Fail(errors.New("too many files"))
		}
		return
	}
	r.read[p] = true
	b, err := r.root.ReadFile(p, maxFile)
	if err != nil {
		if !facts.Missing(err) {
			r.a.Fail(err)
		}
		return
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		at := fmt.Sprintf("%s:%d", p, n)
		if len(line) > maxLine {
			r.a.Fail(fmt.Errorf("%s: longer than %d bytes", at, maxLine))
			continue
		}
		do(strings.TrimRight(line, "\r\n"), at)
	}
}

// exposed tells what others than root may write of a library or a folder.
func (r *reader) exposed(e *Entry) {
	p, err := entry.NewPath(e.Value)
	if err != nil {
		return // the loader looks for a name without a slash in its own folders
	}
	at, _, exists, err := r.root.Resolve(p)
	if err == nil && exists {
		e.Exposed, err = facts.Exposed(r.root, at, 0, "/")
	}
	e.Missing = err == nil && !exists
	if err != nil {
		r.a.Fail(err)
	}
}

// preload reads the libraries that every program loads: blanks and colons stand
// between them, a # begins a comment.
func (r *reader) preload() {
	const p = "/etc/ld.so.preload"
	r.lines(p, func(line, at string) {
		line, _, _ = strings.Cut(line, "#")
		for _, lib := range strings.FieldsFunc(line, func(c rune) bool { return c == ':' || c == ' ' || c == '\t' }) {
			e := Entry{Kind: "preload", File: p, Value: lib, At: at}
			r.exposed(&e)
			r.add(e)
		}
	})
}

// nameService reads nsswitch.conf(5): each source is a module libnss_NAME.so that
// programs load.
func (r *reader) nameService() {
	const p = "/etc/nsswitch.conf"
	r.lines(p, func(line, at string) {
		line, _, _ = strings.Cut(line, "#")
		db, rest, ok := strings.Cut(line, ":")
		if db = strings.TrimSpace(db); !ok || db == "" {
			return
		}
		for rest = strings.TrimLeft(rest, " \t"); rest != ""; {
			end := strings.IndexAny(rest, " \t[")
			if end < 0 {
				end = len(rest)
			}
			if end == 0 { // what to do after an answer belongs to the module before it
				if end = strings.IndexByte(rest, ']') + 1; end == 0 {
					end = len(rest)
				}
				if n := len(r.a.Rows); n > 0 && r.a.Rows[n-1].Kind == "name-service" && r.a.Rows[n-1].At == at {
					r.a.Rows[n-1].Value += " " + rest[:end]
				}
			} else {
				r.add(Entry{Kind: "name-service", File: p, Name: db, Value: rest[:end], At: at})
			}
			rest = strings.TrimLeft(rest[end:], " \t")
		}
	})
}

// variables are those by which the loader and the C library load other code.
var variables = []string{"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GCONV_PATH"}

// environments reads the files that give variables to sessions and services.
func (r *reader) environments() {
	for _, p := range [...]entry.Path{"/etc/environment", "/etc/security/pam_env.conf", "/etc/systemd/system.conf", "/etc/systemd/user.conf"} {
		r.environment(p)
	}
	for _, dir := range [...]entry.Path{"/etc/default", "/etc/sysconfig", "/etc/environment.d", "/usr/lib/environment.d", "/etc/systemd/system.conf.d", "/etc/systemd/user.conf.d"} {
		for _, name := range r.names(dir) {
			r.environment(dir.Join([]byte(name)))
		}
	}
}

// names lists the files of a folder.
func (r *reader) names(dir entry.Path) (out []string) {
	err := r.root.List(dir, func(name string, k entry.Kind) error {
		if k != entry.File && k != entry.Symlink && k != 0 {
			return nil
		}
		if out = append(out, name); len(out) > maxFiles {
			return fmt.Errorf("%q: over %d names", dir, maxFiles)
		}
		return nil
	})
	if err != nil && !facts.Missing(err) {
		r.a.Fail(err)
	}
	slices.Sort(out)
	return out
}

func (r *reader) environment(p entry.Path) {
	if at, _, exists, err := r.root.Resolve(p); err == nil && exists {
		if st, err := facts.StatOf(r.root, at); err == nil && st.Kind == entry.Dir {
			return
		}
	}
	r.lines(p, func(line, at string) {
		if t := strings.TrimLeft(line, " \t"); t != "" && t[0] != '#' && t[0] != ';' {
			r.assigned(t, string(p), at)
		}
	})
}

// assigned adds each of the variables that a line gives a value: "export X=1",
// "DefaultEnvironment=X=1", "X DEFAULT=1" of pam_env.conf(5), "'X=1' Y=2".
func (r *reader) assigned(line, file, at string) {
	for _, v := range variables {
		for rest := line; ; {
			i := strings.Index(rest, v)
			if i < 0 {
				break
			}
			before, behind := rest[:i], rest[i+len(v):]
			rest = behind
			if before != "" && strings.IndexByte(" \t\"'=;", before[len(before)-1]) < 0 {
				continue // the end of a longer name
			}
			value, ok := strings.CutPrefix(behind, "=")
			if !ok {
				if t := strings.TrimLeft(behind, " \t"); t != behind && (strings.HasPrefix(t, "DEFAULT=") || strings.HasPrefix(t, "OVERRIDE=")) {
					value, ok = t, true
				}
			}
			if ok {
				r.add(Entry{Kind: "variable", File: file, Name: v, Value: value, At: at})
			}
		}
	}
}

// units reads the variables of services and the files that they take them from.
func (r *reader) units(of []units.Unit) {
	for _, u := range of {
		for _, v := range u.Environment {
			r.assigned(v, u.Name, u.Name)
		}
		for _, f := range u.EnvFiles {
			p, err := entry.NewPath(strings.TrimPrefix(f, "-"))
			if err != nil || strings.ContainsAny(string(p), "*?[%") {
				continue // patterns and names that depend on the unit
			}
			r.environment(p)
		}
	}
}

// maxDepth bounds files of ld.so.conf that include one another.
const maxDepth = 16

// folders reads the folders of libraries of ld.so.conf, see ldconfig(8).
func (r *reader) folders(p entry.Path, depth int) {
	r.lines(p, func(line, at string) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "hwcap" {
			return
		}
		if f[0] == "include" {
			for _, pattern := range f[1:] {
				r.include(p, pattern, depth)
			}
			return
		}
		for _, dir := range strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(" \t:,", c) }) {
			dir, _, _ = strings.Cut(dir, "=") // the kind of libraries behind it
			e := Entry{Kind: "folder", File: string(p), Value: dir, At: at}
			r.exposed(&e)
			r.add(e)
		}
	})
}

// include reads the files that a pattern names, which has its pattern in the last
// part.
func (r *reader) include(from entry.Path, pattern string, depth int) {
	if !strings.HasPrefix(pattern, "/") {
		pattern = string(from.Dir()) + "/" + pattern
	}
	p, err := entry.NewPath(pattern)
	if err != nil || depth >= maxDepth {
		r.a.Fail(fmt.Errorf("%s includes %q: too deep, or no path", from, pattern))
		return
	}
	if !strings.ContainsAny(pattern, "*?[") {
		r.folders(p, depth+1)
		return
	}
	if strings.ContainsAny(string(p.Dir()), "*?[") {
		r.a.Fail(fmt.Errorf("%s includes %q: a pattern in the name of a folder is not followed", from, pattern))
		return
	}
	for _, name := range r.names(p.Dir()) {
		ok, err := path.Match(p.Base(), name)
		if err != nil {
			r.a.Fail(fmt.Errorf("%s includes %q: %w", from, pattern, err))
			return
		}
		if ok && (name[0] != '.' || p.Base()[0] == '.') {
			r.folders(p.Dir().Join([]byte(name)), depth+1)
		}
	}
}
