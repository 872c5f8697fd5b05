// Package osupdates reads what a host knows of its updates: which ones wait,
// how fresh the lists of them are, where they come from and who signs them,
// what installs them by itself, whether the newest kernel runs, which processes
// still run code that was replaced, and until when the system is supported.
//
// All of it is read offline, inside of the root, from what the package managers
// left there. Nothing is fetched and nothing is run. An intruder with root can
// have written every byte of it: everything is bounded, and what could not be
// read to its end is said in the status of the answer.
package osupdates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/pkgdb"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Limits of what is read, in bytes and in number.
const (
	maxConfig  = 1 << 20 // of one file that people write
	maxFiles   = 4096    // in one folder of such files
	maxNames   = 1 << 17 // in the folder of apt's lists
	maxRead    = 1 << 27 // of all that one answer reads at once, lists of packages aside
	maxReasons = 8       // that an answer gives
	maxReason  = 400     // bytes of one
)

var errTooMany = errors.New("more than is allowed")

// problems gathers why an answer is not all there is.
type problems struct {
	status  rules.Status
	reasons []string
	more    int
}

// rank orders the states by how little is known.
func rank(s rules.Status) int {
	return slices.Index([]rules.Status{rules.OK, rules.Absent, rules.Denied, rules.Failed, rules.Timeout}, s)
}

// add notes an error; nil is none.
func (p *problems) add(err error) {
	if err == nil {
		return
	}
	s := rules.Failed
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		s = rules.Timeout
	case errors.Is(err, fs.ErrPermission):
		s = rules.Denied
	}
	p.is(s, err.Error())
}

// is notes that the answer is in a state, the gravest of which counts.
func (p *problems) is(s rules.Status, reason string) {
	if p.status == "" || rank(s) > rank(p.status) {
		p.status = s
	}
	if len(reason) > maxReason {
		reason = reason[:maxReason] + "…"
	}
	if len(p.reasons) == maxReasons {
		p.more++
		return
	}
	p.reasons = append(p.reasons, reason)
}

// answer makes the answer of rows.
func answer[T any](p *problems, rows []T, via string) facts.Answer[T] {
	a := facts.Answer[T]{Rows: rows, Status: rules.OK, Via: via}
	if p.status != "" {
		a.Status, a.Reason = p.status, strings.Join(p.reasons, "; ")
		if p.more > 0 {
			a.Reason += fmt.Sprintf("; and %d more", p.more)
		}
	}
	return a
}

// host reads files of a host and keeps what went wrong.
type host struct {
	facts.Host
	problems
	taken int64 // bytes read
}

// read returns what a regular file holds, and whether there is such a file.
func (h *host) read(p entry.Path, limit int64) ([]byte, bool) {
	if h.taken > maxRead {
		h.add(fmt.Errorf("read %q: %w: over %d bytes of configuration", p, errTooMany, maxRead))
		return nil, false
	}
	b, err := h.Root.ReadFile(p, limit)
	if gone(err) {
		return nil, false
	}
	h.taken += int64(len(b))
	if err != nil {
		h.add(err)
		return nil, false
	}
	return b, true
}

// gone reports that there is nothing: a link that leads nowhere is nothing too.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// list returns the sorted names in a folder of what is, or is not, a folder
// itself; none if there is no such folder.
func (h *host) list(dir entry.Path, most int, folders bool) []string {
	var out []string
	err := h.Root.List(dir, func(name string, k entry.Kind) error {
		if k != entry.KindUnknown && k != entry.Symlink && (k == entry.Dir) != folders {
			return nil
		}
		if len(out) == most {
			return fmt.Errorf("list %q: over %d names", dir, most)
		}
		out = append(out, name)
		return nil
	})
	if !gone(err) {
		h.add(err)
	}
	slices.Sort(out)
	return out
}

// parts returns the files that apt reads in a folder of configuration, in its
// order: names of plain letters that have no extension or one of those given.
// none says that one without any is read.
func (h *host) parts(dir entry.Path, none bool, exts ...string) []entry.Path {
	var out []entry.Path
	for _, name := range h.list(dir, maxFiles, false) {
		stem, ext, dotted := name, "", false
		if i := strings.LastIndexByte(name, '.'); i >= 0 {
			stem, ext, dotted = name[:i], name[i+1:], true
		}
		if stem == "" || dotted && !slices.Contains(exts, ext) || !dotted && !none || !partName(stem) {
			continue
		}
		out = append(out, dir.Join([]byte(name)))
	}
	return out
}

func partName(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return r > 127 || !isAlnum(byte(r)) && !strings.ContainsRune("_-:.", r)
	}) < 0
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// packages returns what is installed. ok is false where the root has no
// database that is known here, or where it cannot be read.
func (h *host) packages(ctx context.Context) (list []pkgdb.Package, ok bool) {
	list, err := pkgdb.Versions(ctx, root{h.Root})
	if errors.Is(err, pkgdb.ErrNoDatabase) {
		return nil, false
	}
	h.add(err)
	return list, err == nil
}

// root lets package databases be read inside of a root.
type root struct{ *dirfd.Root }

func (r root) Open(p entry.Path) (io.ReadCloser, error) { return r.OpenFile(p) }

func (r root) Real(p entry.Path) (entry.Path, bool, error) {
	to, _, exists, err := r.Resolve(p)
	return to, exists, err
}

// attributes renders what of a row is compared.
func attributes(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(pairs[i] + "=" + strconv.Quote(pairs[i+1]))
	}
	return b.String()
}
