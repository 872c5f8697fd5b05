package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"intact/baseline"
	"intact/report"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/transaction"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// maxTouched bounds the paths of a proposal; more are for a full check.
const maxTouched = 1 << 20

// post closes what is open and makes a proposal of all that no baseline has yet.
func (h *hook) post(ctx context.Context) error {
	list, problems, err := h.transactions()
	if err != nil {
		return err
	}
	for _, p := range problems[:min(len(problems), maxListed)] {
		h.env.warn("what hooks saw: %s", p)
	}
	closed := []transaction.Transaction{}
	for i := range list {
		t := &list[i]
		if t.Manager != h.o.Manager || !t.Ended.IsZero() {
			continue
		}
		t.Ended = h.env.Now().UTC().Truncate(time.Second)
		if err := h.putTransaction(t); err != nil {
			return err
		}
		closed = append(closed, *t)
	}
	if len(closed) == 0 {
		return nil
	}
	if err := h.needBaseline(); err != nil {
		return err
	}
	st, err := h.latest()
	if err != nil {
		return err
	}
	var since []transaction.Transaction
	for _, t := range list {
		if !t.Ended.IsZero() && !t.Ended.Before(st) {
			since = append(since, t)
		}
	}
	// Without the lock: a check that begins now need not wait for it.
	paths, err := h.touched(ctx, since)
	if err != nil {
		return err
	}
	var locked *baseline.LockedError
	h.patience = 2 * lookRest // the package manager waits
	if err := h.acquire("packages hook post"); errors.As(err, &locked) {
		h.line("%s: %v: the next check looks at it", packagesWords(closed), err)
		return nil
	} else if err != nil {
		return err
	}
	return h.propose(ctx, closed, paths)
}

// latest is when the newest baseline was made.
func (h *hook) latest() (time.Time, error) {
	n, err := h.store.Latest()
	if err != nil {
		return time.Time{}, err
	}
	st, err := h.store.Statement(n)
	if err != nil {
		return time.Time{}, err
	}
	return st.Created.Truncate(time.Second), nil
}

// touched lists the paths that transactions can have changed: what their
// manifests and the lists of the old versions name. A list or a manifest that
// cannot be read names nothing: what it would have named is for a full check.
func (h *hook) touched(ctx context.Context, list []transaction.Transaction) ([]entry.Path, error) {
	out := map[entry.Path]bool{}
	for _, t := range list {
		for _, p := range t.Packages {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if p.List != (digest.Digest{}) {
				l, err := h.fileList(p.List)
				if err != nil {
					h.env.warn("%s: %v", p.Name, err)
				}
				for _, at := range l.Paths() {
					out[at] = true
				}
			}
			if p.Manifest != "" {
				if err := h.manifestPaths(p.Manifest, out); err != nil {
					h.env.warn("%s: %v", p.Name, err)
				}
			}
			if len(out) > maxTouched {
				return nil, fmt.Errorf("over %d paths were touched: run intact check", maxTouched)
			}
		}
	}
	for _, p := range dpkgRecords {
		out[p] = true
	}
	paths := make([]entry.Path, 0, len(out))
	for p := range out {
		paths = append(paths, p)
	}
	return paths, nil
}

func (h *hook) manifestPaths(name string, out map[entry.Path]bool) error {
	return withManifest(filepath.Join(h.store.Dir(), baseline.PackagesDir, name), func(m *manifest.Manifest) error {
		for e, err := range m.All() {
			if err != nil {
				return err
			}
			out[e.Path] = true
		}
		for _, c := range m.Head.Controls {
			infoPaths(out, m.Head.Package, m.Head.Architecture, c.Name)
		}
		infoPaths(out, m.Head.Package, m.Head.Architecture, "list", "md5sums")
		return nil
	})
}

// dpkgRecords change with every package.
var dpkgRecords = [...]entry.Path{"/var/lib/dpkg/status", "/var/lib/dpkg/status-old", "/var/lib/dpkg/available", "/var/lib/dpkg/available-old"}

// infoPaths adds what dpkg keeps of a package under both of its names.
func infoPaths(out map[entry.Path]bool, name, arch string, extensions ...string) {
	for _, n := range []string{name, name + ":" + arch} {
		for _, x := range extensions {
			if p, err := entry.NewPath("/var/lib/dpkg/info/" + n + "." + x); err == nil {
				out[p] = true
			}
		}
	}
}

// updateLimits are the touched paths as a scan knows them: without links above
// the last name, and of directories only those that came or went. What else is in
// a directory is not the package's.
func (c *check) updateLimits(sc *scope, gen *baseline.Generation) ([]entry.Path, error) {
	dirs := map[entry.Path]entry.Path{} // as the scan knows them
	for _, p := range c.update {
		if _, ok := dirs[p.Dir()]; !ok {
			to, _, _, err := c.root.Resolve(p.Dir())
			if err != nil {
				to = p.Dir()
			}
			dirs[p.Dir()] = to
		}
	}
	names := map[entry.Path][][]byte{}
	for _, p := range c.update {
		if p != "/" {
			dir := dirs[p.Dir()]
			names[dir] = append(names[dir], []byte(p.Base()))
		}
	}
	out := []entry.Path{}
	for dir, list := range names {
		slices.SortFunc(list, bytes.Compare)
		list = slices.CompactFunc(list, bytes.Equal)
		old := map[string]entry.Kind{}
		if gen != nil {
			for _, e := range gen.LookupNames(dir, list) {
				old[string(e.Name)] = e.Kind
			}
		}
		for _, n := range list {
			p := dir.Join(n)
			if !sc.eff.Decide(p).Select {
				continue
			}
			kind, known := old[string(n)]
			if !known || kind == entry.Dir {
				st, err := os.Lstat(filepath.Join(c.root.HostPath(), string(p)))
				if !known && err != nil || known && err == nil && st.IsDir() {
					continue // neither then nor now, or a directory that stands
				}
			}
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, errUntouched // no limit at all would be one scan of everything
	}
	return out, nil
}

// errUntouched means that the policy selects nothing of what was touched.
var errUntouched = errors.New("the policy selects no file of it")

// propose checks the touched paths alone and stores what it finds as a report
// that accept takes.
func (h *hook) propose(ctx context.Context, closed []transaction.Transaction, paths []entry.Path) error {
	if len(paths) == 0 {
		h.line("%s: no files", packagesWords(closed))
		return nil
	}
	c := &check{session: h.session, update: paths, gaps: &gapList{}, o: CheckOptions{Output: Output{Silent: true}}}
	if err := c.options(); err != nil {
		return err
	}
	if err := c.writable(); err != nil {
		return err
	}
	switch _, err := c.run(ctx); {
	case errors.Is(err, errUntouched):
		h.line("%s: %v", packagesWords(closed), err)
		return nil
	case err != nil:
		return err
	}
	if c.paper == nil { // the baseline is not to be trusted, and the report says so
		return errors.New("no baseline that can be trusted: see intact report show")
	}
	n, told, seq := c.counted, c.paper.w.Tally(), c.paper.head.Seq
	files := n.Changed + n.Added + n.Removed + n.Renamed
	words := fmt.Sprintf("%s, %s", packagesWords(closed), counted(int(files), "file"))
	switch {
	case c.took != "": // by policy, under the lock, behind the proposal
		h.line("%s; proposal %d: %s", words, seq, c.took)
	case files == 0 && told.Total() == 0:
		h.line("%s", words)
	case told.Total() == c.signed:
		h.line("%s: all explained (signed); proposal %d: intact accept --report %d --explained", words, seq, seq)
	default:
		h.line("%s: %d of %s explained by signatures; proposal %d: intact report show %d", words, c.signed, counted(int(told.Total()), "finding"), seq, seq)
	}
	return nil
}

// packagesWords counts packages by what was done with them.
func packagesWords(list []transaction.Transaction) string {
	var up, in, out int
	for _, t := range list {
		for _, p := range t.Packages {
			switch {
			case p.Action == transaction.Remove:
				out++
			case p.Action == transaction.Unpack && p.Old != "":
				up++
			case p.Action == transaction.Unpack:
				in++
			}
		}
	}
	var words []string
	for _, w := range []struct {
		n    int
		done string
	}{{up, "upgraded"}, {in, "installed"}, {out, "removed"}} {
		if w.n > 0 {
			words = append(words, counted(w.n, "package")+" "+w.done)
		}
	}
	if len(words) == 0 {
		return "no package unpacked"
	}
	return report.Prose(strings.Join(words, ", "))
}
