package app

import (
	"context"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/cmd/internal/config"
	"intact/report"
	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/pgp"
)

// AptLists is where apt keeps the indexes of archives.
const AptLists = "/var/lib/apt/lists"

// staleTemp is how old an unfinished manifest is when it is removed: a hook
// that runs at the same time holds no lock.
const staleTemp = 24 * time.Hour

// RecordOptions says which packages are recorded.
type RecordOptions struct {
	Files []string
	From  string // every .deb in this folder, "" for none
	Lists string // apt's folder of lists
}

// recorder keeps manifests. One is called by the SHA-256 of the package's file
// and its own BLAKE3.
type recorder struct {
	s     *session
	dir   *keptDir
	have  map[string][]string // what the folder has, by the SHA-256 of the package's file
	lists deb.Lists
	out   Outcome

	forged []string // packages of which another manifest was kept that said something else
}

// newRecorder opens the folder of manifests, and makes it where there is none. The
// caller closes it.
func (s *session) newRecorder() (*recorder, error) {
	d, err := s.makeKept(baseline.PackagesDir)
	if err != nil {
		return nil, fmt.Errorf("folder of packages: %w", err)
	}
	r := &recorder{s: s, dir: d, have: map[string][]string{}, out: Done()}
	if err := r.look(); err != nil {
		d.Close()
		return nil, err
	}
	return r, nil
}

// PackagesRecord verifies packages and keeps their manifests. It takes no lock:
// each manifest is a file of its own. It exits 1 if a signed index contradicts a
// package, 3 if one could not be read or kept.
func PackagesRecord(ctx context.Context, e *Env, o RecordOptions) (Outcome, error) {
	s, err := openConfigured(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	if _, err := s.store.Host(); err != nil {
		return Outcome{}, err
	}
	files := slices.Clone(o.Files)
	if o.From != "" {
		more, err := debsIn(o.From)
		if err != nil {
			return Outcome{}, err
		}
		files = append(files, more...)
	}
	ring, err := s.keyring()
	if err != nil {
		return Outcome{}, err
	}
	dir, err := openLists(o.Lists)
	if err != nil {
		return Outcome{}, err
	}
	r, err := s.newRecorder()
	if err != nil {
		return Outcome{}, err
	}
	defer r.dir.Close()
	r.lists = deb.Lists{Dir: dir, Ring: ring, Now: e.Now()}
	problems, err := r.lists.Record(ctx, files, openPackage, s.store.Dir(), r.keep)
	for _, p := range problems {
		e.warn("%v", p)
	}
	return r.out, err
}

// debsIn lists the packages in a folder, in the order of their names.
func debsIn(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, usageError("list packages: %w", err)
	}
	var out []string
	for _, f := range list {
		if strings.HasSuffix(f.Name(), ".deb") && f.Type().IsRegular() {
			out = append(out, filepath.Join(dir, f.Name()))
		}
	}
	if len(out) == 0 {
		return nil, usageError("no .deb file in %q", dir)
	}
	return out, nil
}

// keyring reads the keys that are pinned. Without any, packages are recorded
// all the same, and none as signed.
func (s *session) keyring() (*pgp.Keyring, error) {
	ring := &pgp.Keyring{}
	names := s.cfg.Packages.Keyrings
	if len(names) == 0 {
		if _, err := os.Stat(config.DebianKeyring); err != nil {
			s.env.warn("no keyring is configured under packages, and there is no %s: nothing counts as signed", config.DebianKeyring)
			return ring, nil
		}
		names = []string{config.DebianKeyring}
	}
	for _, name := range names {
		b, err := config.ReadKeyring(name)
		if err == nil {
			err = ring.Add(b)
		}
		if err != nil {
			return nil, usageError("keyring %q: %w", name, err)
		}
	}
	return ring, nil
}

// openPackage opens a package's file; a FIFO is not waited for.
func openPackage(name string) (io.ReadCloser, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("read %q: not a regular file", name)
	}
	return f, nil
}

// look finds what the folder has, and removes what was left unfinished there.
func (r *recorder) look() error {
	now := r.s.env.Now()
	err := r.dir.each(func(name string) bool {
		switch archive, _, _ := strings.Cut(name, "-"); {
		case !stateFile.MatchString(baseline.PackagesDir + "/" + name):
		case !strings.HasSuffix(name, ".tmp"):
			r.have[archive] = append(r.have[archive], name)
		default:
			if st, err := r.dir.stat(name); err == nil && st.regular && st.old(now) {
				r.dir.remove(name) // the next one tries again
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("list folder of packages: %w", err)
	}
	return nil
}

// openLists opens apt's folder of lists. Where nobody named one, one that is not
// there is a host without any, on which nobody vouches.
func openLists(name string) (fs.FS, error) {
	switch st, err := os.Stat(name); {
	case name == AptLists && errors.Is(err, fs.ErrNotExist):
		return embed.FS{}, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, usageError("--lists: there is no folder %q", name)
	case err != nil:
		return nil, usageError("--lists: %w", err)
	case !st.IsDir():
		return nil, usageError("--lists: %q is no folder", name)
	}
	dir, err := openAptLists(name)
	if err != nil {
		return nil, usageError("--lists: %w", err)
	}
	return dir, nil
}

// keep stores one manifest and prints its line.
func (r *recorder) keep(name string, p deb.Recorded) error {
	e := r.s.env
	if p.Err != nil {
		r.out.Add(ExitIncomplete)
		e.print("error   %s: %s\n", report.Escape(name), report.Escape(p.Err.Error()))
		return nil
	}
	h := p.Head
	if h.Level == manifest.None {
		r.out.Add(ExitFindings)
	}
	_, note, err := r.store(p)
	if err != nil && packageItself(err) {
		r.out.Add(ExitIncomplete)
		e.print("error   %s: %s\n", report.Escape(name), report.Escape(err.Error()))
		return nil
	}
	if err != nil {
		return err
	}
	why := h.Reason
	if c := h.Chain; h.Level == manifest.Signed {
		why = fmt.Sprintf("%s, release of %s, key %s", strings.TrimSpace(c.Origin+" "+c.Suite), c.Date.Format(time.DateOnly), c.Key)
	}
	e.print("%-7s %s %s %s: %s%s\n", h.Level, report.Escape(h.Package), report.Escape(h.Version), report.Escape(h.Architecture), report.Escape(why), note)
	return nil
}

// packageItself reports whether an error is about what a package holds.
func packageItself(err error) bool {
	return slices.ContainsFunc([]error{manifest.ErrDuplicate, manifest.ErrBelow, manifest.ErrHard, manifest.ErrTooMany, manifest.ErrEntry, manifest.ErrMalformed},
		func(target error) bool { return errors.Is(err, target) })
}

// store writes a manifest, unless one of the same file is there that says more,
// and returns its name. What says as much, or less, is replaced.
func (r *recorder) store(p deb.Recorded) (stored, note string, err error) {
	archive := hex.EncodeToString(p.Head.Archive[:])
	had := r.have[archive]
	for _, name := range had {
		if l, err := manifestLevel(r.dir.at(name)); err == nil && saysAsMuch(l, p.Head.Level) {
			note = " (recorded before as " + string(l) + ")"
			if l != p.Head.Level {
				return name, note, nil
			} // else what was verified just now is what counts
		}
	}
	f, temp, err := r.dir.create("manifest")
	if err != nil {
		return "", "", fmt.Errorf("write manifest: %w", err)
	}
	defer r.dir.remove(temp) // gone under this name once it is renamed
	sum, err := p.Write(f)
	if err == nil {
		err = f.Sync()
	}
	if err == nil && slices.ContainsFunc(had, func(name string) bool { return contradicts(r.dir.at(temp), sum, r.dir.at(name)) }) {
		r.out.Add(ExitFindings)
		r.forged = append(r.forged, p.Head.Package+" "+p.Head.Version)
		note = " (what was recorded of it before said something else: somebody forged that)"
	}
	// Evidence comes first: a check that runs now removes what no manifest needs.
	var unkept error
	if err == nil {
		unkept = r.keepEvidence(p.Proof)
	}
	to := archive + "-" + sum.String()
	if err = errors.Join(err, f.Close()); err == nil {
		err = r.dir.rename(temp, to)
	}
	if err != nil {
		return "", "", fmt.Errorf("write manifest: %w", err)
	}
	if unkept != nil {
		r.s.env.warn("what shows that %s is signed could not be kept, so it will not count as signed: %v", p.Head.Package, unkept)
	}
	for _, name := range had {
		if name != to {
			r.dir.remove(name) // it says less, and the next record tries again
		}
	}
	r.have[archive] = []string{to}
	return to, note, nil
}

// saysAsMuch reports whether an old level stays beside a new one of the same
// file: what was signed stays so, and a contradiction goes only where a
// signature is found.
func saysAsMuch(old, new manifest.Level) bool {
	return old == new || old == manifest.Signed || old == manifest.None && new == manifest.Local
}

// manifestLevel verifies a stored manifest and returns its level.
func manifestLevel(name string) (l manifest.Level, err error) {
	err = withManifest(name, func(m *manifest.Manifest) error { l = m.Head.Level; return nil })
	return l, err
}

// withManifest verifies a stored manifest and hands it to do.
func withManifest(name string, do func(*manifest.Manifest) error) error {
	m, f, err := readStored(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(m)
}
