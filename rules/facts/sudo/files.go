package sudo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"intact/rules/facts"
	"intact/scanner/entry"
)

// reader reads the files in sudo's order and keeps what they say until all
// aliases are known.
type reader struct {
	ctx     context.Context
	host    facts.Host
	aliases map[aliasID]alias
	specs   []spec
	lines   []defaults
	files   []File
	odd     []Odd
	open    []entry.Path // files that are being read, outermost first
	steps   int
	problem error // why not everything is known
}

func (r *reader) fail(err error) {
	if r.problem == nil {
		r.problem = err
	}
}

func (r *reader) say(at, why string, wrong bool) {
	if len(r.odd) >= maxOdd {
		r.fail(fmt.Errorf("over %d lines that are not understood", maxOdd))
		return
	}
	r.odd = append(r.odd, Odd{At: at, Why: why, Error: wrong})
}

// main finds the policy, which sudo.conf(5) can move, and reports whether it is
// there.
func (r *reader) main() (entry.Path, bool) {
	at := entry.Path("/etc/sudoers")
	b, err := r.host.Root.ReadFile("/etc/sudo.conf", maxFile)
	if err != nil && !facts.Missing(err) {
		r.fail(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "Plugin" || f[1] != "sudoers_policy" {
			continue
		}
		for _, a := range f[3:] {
			if v, ok := strings.CutPrefix(a, "sudoers_file="); ok {
				if p, err := entry.NewPath(v); err == nil {
					at = p
					r.say(fmt.Sprintf("/etc/sudo.conf:%d", n), "moves the policy to another file", false)
				}
			}
		}
	}
	_, _, exists, err := r.host.Root.Resolve(at)
	if err != nil {
		r.fail(err)
	}
	return at, exists
}

// file reads one file. required says that sudo complains where it is missing.
func (r *reader) file(p entry.Path, required bool) {
	if r.problem != nil {
		return
	}
	if err := r.ctx.Err(); err != nil {
		r.fail(err)
		return
	}
	if len(r.files) >= maxFiles {
		r.fail(fmt.Errorf("over %d files", maxFiles))
		return
	}
	b, err := r.host.Root.ReadFile(p, maxFile)
	if err != nil {
		switch {
		case facts.Missing(err) && len(r.open) == 0:
		case facts.Missing(err) && required:
			r.say(string(p), "is included and not there", true)
		case facts.Missing(err):
		default:
			r.fail(err)
		}
		return
	}
	r.files = append(r.files, r.about(p))
	r.open = append(r.open, p)
	(&parser{b: b, line: 1, file: p, r: r}).all()
	r.open = r.open[:len(r.open)-1]
}

// about tells who may write a file: sudo refuses one that others than root may.
func (r *reader) about(p entry.Path) File {
	f := File{Path: string(p), UID: -1, GID: -1}
	at, _, _, err := r.host.Root.Resolve(p)
	if err != nil {
		return f
	}
	st, err := facts.StatOf(r.host.Root, at)
	if err != nil {
		return f
	}
	f.UID, f.GID, f.Mode = int64(st.UID), int64(st.GID), fmt.Sprintf("%04o", st.Mode&0o7777)
	switch {
	case st.UID != 0:
		f.Refused = "another than root owns it"
	case st.Mode&0o002 != 0:
		f.Refused = "anybody may write it"
	case st.Mode&0o020 != 0 && st.GID != 0:
		f.Refused = "a group may write it"
	}
	return f
}

// include reads what a line includes.
func (r *reader) include(name, at string, folder bool) {
	if strings.Contains(name, "%h") {
		host, ok := r.hostname()
		if !ok {
			r.fail(fmt.Errorf("%s: the name of the host is not known", at))
			return
		}
		name = strings.ReplaceAll(name, "%h", host)
	}
	if !strings.HasPrefix(name, "/") {
		name = string(r.open[len(r.open)-1].Dir()) + "/" + name
	}
	p, err := entry.NewPath(name)
	if err != nil {
		r.say(at, "includes what is no path", true)
		return
	}
	if !folder {
		r.enter(p, at, true)
		return
	}
	var names []string
	err = r.host.Root.List(p, func(n string, k entry.Kind) error {
		if strings.Contains(n, ".") || strings.HasSuffix(n, "~") || k != entry.File && k != entry.Symlink && k != 0 {
			return nil
		}
		if names = append(names, n); len(names) > maxFiles {
			return fmt.Errorf("%q: over %d names", p, maxFiles)
		}
		return nil
	})
	if err != nil && !facts.Missing(err) {
		r.fail(err)
		return
	}
	slices.Sort(names)
	for _, n := range names {
		q := p.Join([]byte(n))
		at, _, exists, err := r.host.Root.Resolve(q)
		if err != nil {
			r.fail(err)
			return
		}
		if st, err := facts.StatOf(r.host.Root, at); !exists || err != nil || st.Kind != entry.File {
			continue // as sudo: what is no regular file is passed over
		}
		r.enter(q, string(q), false)
	}
}

func (r *reader) enter(p entry.Path, at string, required bool) {
	if slices.Contains(r.open, p) || len(r.open) > maxDepth {
		r.say(at, "files include one another", true)
		return
	}
	r.file(p, required)
}

// hostname is the short name of the host.
func (r *reader) hostname() (string, bool) {
	name := ""
	if r.host.Live {
		name, _ = os.Hostname()
	} else if b, err := r.host.Root.ReadFile("/etc/hostname", 4096); err == nil {
		name = strings.TrimSpace(string(b))
	} else if !errors.Is(err, os.ErrNotExist) {
		r.fail(err)
	}
	name, _, _ = strings.Cut(name, ".")
	return name, name != "" && !strings.ContainsAny(name, "/\x00")
}
