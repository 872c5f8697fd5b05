package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"intact/rules/facts"
	"intact/rules/hashlist"
	"intact/rules/packages"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// list is one --known-good or --known-bad.
type list struct {
	file *os.File
	bad  bool
}

// listed is a line of a list that names a subject's content.
type listed struct {
	file string
	line int
}

// openLists opens the hash lists before anything is looked at. They are read
// once for each batch, from the beginning: a pipe could be read only once.
func (v *verify) openLists() error {
	open := func(names []string, bad bool) error {
		for _, n := range names {
			f, err := os.OpenFile(n, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
			if err != nil {
				return usageError("hash list: %w", err)
			}
			// The descriptors end with the process.
			if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
				f.Close()
				return usageError("hash list %q is not a regular file", n)
			}
			v.lists = append(v.lists, list{f, bad})
		}
		return nil
	}
	return errors.Join(open(v.o.KnownBad, true), open(v.o.KnownGood, false))
}

// conclude asks package databases, processes and hash lists about a batch,
// judges it and prints it.
func (v *verify) conclude(ctx context.Context, batch []*subject) error {
	if err := v.askPackages(ctx, batch); err != nil {
		return err
	}
	if err := v.askLists(ctx, batch); err != nil {
		return err
	}
	if err := v.askProcesses(ctx, batch); err != nil {
		return err
	}
	for _, s := range batch {
		s.verdict = s.judge()
		v.counts[s.verdict]++
		for _, c := range s.codes() {
			v.out.Add(c)
		}
		if err := v.tell(s); err != nil {
			return err
		}
	}
	return nil
}

func (v *verify) askPackages(ctx context.Context, batch []*subject) error {
	var paths []entry.Path
	var of []*subject
	for _, s := range batch {
		if s.real != "" && (s.run == nil || s.run.here) {
			paths, of = append(paths, s.real), append(of, s)
		}
	}
	answers, err := v.owners(ctx, paths)
	if err != nil {
		return err
	}
	for i, a := range answers {
		of[i].pkg = a
		for k := range a.Owners {
			var list []packages.Beside
			if s := of[i]; s.look != nil {
				list = besides(&s.look.Entry, a.Owners[k].File, v.users)
			}
			of[i].beside = append(of[i].beside, list)
		}
	}
	return nil
}

// askLists reads every list once for all of the batch.
func (v *verify) askLists(ctx context.Context, batch []*subject) error {
	type key struct {
		digest    [hashlist.Size]byte
		algorithm hashlist.Algorithm
	}
	by := map[key][]*subject{}
	digests := map[[hashlist.Size]byte]bool{}
	for _, s := range batch {
		if s.look == nil || s.look.Entry.Have&entry.Content == 0 {
			continue
		}
		for _, k := range []key{{s.look.SHA256, hashlist.SHA256}, {s.look.Entry.Digest, hashlist.BLAKE3}} {
			by[k] = append(by[k], s)
			digests[k.digest] = true
		}
	}
	for _, l := range v.lists {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := l.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read list again: %w", err)
		}
		found := func(h hashlist.Hit) {
			for _, a := range []hashlist.Algorithm{hashlist.SHA256, hashlist.BLAKE3} {
				if h.Algorithm == "" || h.Algorithm == a {
					for _, s := range by[key{h.Digest, a}] {
						s.hit(l, h.Line)
					}
				}
			}
		}
		err := hashlist.Search(l.file, l.file.Name(), func(d [hashlist.Size]byte) bool { return digests[d] }, found)
		if _, wrong := errors.AsType[*hashlist.LineError](err); wrong {
			return usageError("hash list %w", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hit notes the first line of each list.
func (s *subject) hit(l list, line int) {
	to := &s.good
	if l.bad {
		to = &s.bad
	}
	for _, have := range *to {
		if have.file == l.file.Name() {
			return
		}
	}
	*to = append(*to, listed{l.file.Name(), line})
}

// maxShown is how many processes are named of those that run one file.
const maxShown = 5

// askProcesses says who runs the files of the batch now. It changes no verdict:
// processes that cannot be asked are counted and said.
func (v *verify) askProcesses(ctx context.Context, batch []*subject) error {
	if !v.root.Live() {
		return nil
	}
	by := map[fileID][]*subject{}
	for _, s := range batch {
		if s.run == nil && s.look != nil && s.look.Entry.Kind == entry.File {
			id := fileID{s.look.Entry.Device, s.look.Entry.Inode}
			by[id] = append(by[id], s)
		}
	}
	if len(by) == 0 {
		return nil
	}
	proc := facts.HostProc()
	pids, err := proc.PIDs()
	if err != nil {
		v.env.warn("who runs what is not known: %v", err)
		return nil
	}
	v.running.unasked = 0
	for _, pid := range pids {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p, err := proc.Process(pid)
		if err == nil {
			var f dirfd.File
			if f, err = pinned(p, "exe"); err == nil {
				var st dirfd.Stat
				if err = f.Stat(&st); err == nil {
					for _, s := range by[fileID{st.Device, st.Inode}] {
						s.ranBy(process{pid, p.Name()})
					}
				}
				f.Close()
			}
			p.Close()
		}
		if st := facts.StatusOf(err); st == facts.Denied || st == facts.Failed {
			v.running.unasked++
		}
	}
	return nil
}

func (s *subject) ranBy(p process) {
	if len(s.runBy) < maxShown {
		s.runBy = append(s.runBy, p)
	} else {
		s.runMore++
	}
}

// packageRoot lets package databases be read inside of a root.
type packageRoot struct{ *dirfd.Root }

// packagesIn is where the database of packages is read that rows are made of: of
// the host that the other facts are about, where that is no image.
func (s *session) packagesIn() packageRoot {
	if f := s.env.Facts; f != nil && s.root.Live() {
		return packageRoot{f.Root}
	}
	return packageRoot{s.root}
}

func (r packageRoot) Open(p entry.Path) (io.ReadCloser, error) { return r.OpenFile(p) }

func (r packageRoot) Real(p entry.Path) (entry.Path, bool, error) {
	to, _, exists, err := r.Resolve(p)
	return to, exists, err
}
