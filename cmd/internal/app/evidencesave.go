package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/report"
	"intact/scanner/entry"
)

// EvidenceNamespace is what a signature of saved evidence is made for: an
// SSHSIG over all bytes of the archive.
const EvidenceNamespace = "intact-evidence@v1"

// EvidenceOptions of EvidenceSave.
type EvidenceOptions struct {
	Output   string   // the archive; its signature gets this name with .sig
	Paths    []string // what is saved, folders with everything below
	Findings bool     // what the last full check found, in the place of paths
	Reports  int      // how many of the newest reports, 0: all that are kept
	SignWith string   // the responder's key: a file, or agent[:which]; "": not signed
	Force    bool     // replace an archive of that name

	PrivateKeys bool // save private keys too, but for those of intact
}

// EvidenceSave writes one archive for a responder: a gzip-compressed tar with
// the files, what intact knows, and facts about the running system. It writes
// nothing but the archive and its signature, and those all or not at all. What
// could not be saved is a gap in the archive's MANIFEST, and the outcome then has
// 3. A broken configuration and a damaged state folder do not stop it.
func EvidenceSave(ctx context.Context, e *Env, o EvidenceOptions) (Outcome, error) {
	switch {
	case o.Output == "":
		return Outcome{}, usageError("evidence save: --output FILE is needed")
	case o.Findings == (len(o.Paths) > 0):
		return Outcome{}, usageError("evidence save: either paths or --findings")
	case o.Reports < 0:
		return Outcome{}, usageError("--reports: want a number from 1")
	}
	s, trustErr, err := openLoosely(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	v := &evidence{session: s, ctx: ctx, o: o, started: e.Now(), links: map[entry.Path]bool{}, secret: map[inode]bool{}}
	for _, err := range []error{s.cfgErr, trustErr} {
		if err != nil {
			e.warn("%v", err)
			v.remark(err.Error())
		}
	}
	if trustErr != nil {
		s.store.Trust = nil // saved all the same, and judged by nobody
	}
	key, err := v.prepare()
	if err != nil {
		return Outcome{}, err
	}
	if err := v.write(key); err != nil {
		return Outcome{}, fmt.Errorf("save evidence: %w", err)
	}
	if v.gaps > 0 {
		return Done(ExitIncomplete), nil
	}
	return Done(), nil
}

// inode names a file whatever its path.
type inode struct{ dev, ino uint64 }

// evidence is one run of EvidenceSave.
type evidence struct {
	*session
	ctx     context.Context
	o       EvidenceOptions
	started time.Time
	out     string // the archive's name, without links in its folder
	paths   []entry.Path
	report  report.Stored // that --findings goes by

	*casket
	links  map[entry.Path]bool // that are in the archive: nothing is put below them
	secret map[inode]bool      // private keys of intact, and the archive itself
	closed []entry.Path        // folders of private keys in the root

	secretAt   map[entry.Path]bool // paths of private keys of intact
	own        map[string]bool     // fingerprints of the keys of intact
	ownUnknown bool                // a list of them cannot be read
	gen        *baseline.Generation
	genErr     error // why gen is nil
}

// prepare finds out everything that makes the command pointless, before
// anything is written. key is nil where the archive is not signed.
func (v *evidence) prepare() (key seal.Signer, err error) {
	dir, err := filepath.Abs(filepath.Dir(v.o.Output))
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, usageError("--output: %w", err)
	}
	v.out = filepath.Join(dir, filepath.Base(v.o.Output))
	for _, name := range []string{v.out, v.out + ".sig"} {
		switch info, err := os.Lstat(name); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, usageError("--output: %w", err)
		case info.IsDir():
			return nil, usageError("--output: %q is a folder", name)
		case !v.o.Force:
			return nil, usageError("--output: %q exists: --force replaces it", name)
		}
	}
	if state, err := filepath.EvalSymlinks(v.store.Dir()); err == nil && below(v.out, state) {
		return nil, usageError("--output: %q lies in the state folder", v.out)
	}
	v.keepClosed()
	if v.o.Findings {
		if v.report, err = v.lastFull(); err != nil {
			return nil, err
		}
	} else if v.paths, err = v.named(); err != nil {
		return nil, err
	}
	if v.o.SignWith == "" {
		return nil, nil
	}
	if key, err = v.signer(v.o.SignWith); err != nil {
		return nil, usageError("--sign-with: %w", err)
	}
	if v.store.Trust != nil {
		for _, l := range v.store.Trust.Host.Lines() {
			if l.Key.Fingerprint == key.Key().Fingerprint {
				return nil, usageError("--sign-with: %s is a key of this host: it proves nothing to whoever doubts the host", key.Key().Fingerprint)
			}
		}
	}
	return key, nil
}

func below(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// named resolves the folders above the named paths in the root. A path below
// another one is dropped.
func (v *evidence) named() ([]entry.Path, error) {
	given, err := v.session.paths(v.o.Paths)
	if err != nil {
		return nil, err
	}
	var out []entry.Path
	for i, p := range given {
		if _, err := v.root.Owner(p); err != nil && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)) {
			return nil, usageError("path %q does not exist", v.o.Paths[i])
		}
		if dir, _, exists, err := v.root.Resolve(p.Dir()); err == nil && exists && p != "/" {
			p = dir.Join([]byte(p.Base()))
		}
		if below(v.out, filepath.Join(v.root.HostPath(), string(p))) {
			return nil, usageError("--output: %q lies in %q, which is to be saved", v.out, v.o.Paths[i])
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b entry.Path) int { return strings.Compare(string(a.Key()), string(b.Key())) })
	var kept []entry.Path
	for _, p := range out {
		if n := len(kept); n == 0 || !p.Under(kept[n-1]) {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

// lastFull finds the newest report of a full check that came to its end.
func (v *evidence) lastFull() (report.Stored, error) {
	list, err := v.archive().List()
	if err != nil {
		return report.Stored{}, err
	}
	for _, r := range slices.Backward(list) {
		h, t, err := r.Ends()
		if err != nil || h.Scope != report.ScopeFull || h.Kind != report.KindCheck && h.Kind != report.KindImage || !ended(t) {
			continue
		}
		if v.store.Trust != nil {
			if _, _, err := v.readJudged(v.ctx, r); err != nil {
				v.env.warn("%v", err)
				v.remark(err.Error())
			}
		}
		return r, nil
	}
	return report.Stored{}, usageError("--findings: no report of a full check is kept: run intact check, or name paths")
}

// write makes the archive under another name and renames it when it is whole.
func (v *evidence) write(key seal.Signer) (err error) {
	dir := filepath.Dir(v.out)
	f, err := os.CreateTemp(dir, "."+filepath.Base(v.out)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreGone(os.Remove(f.Name())))
		}
	}()
	defer f.Close() // after an error; else it is closed by then
	if v.casket, err = newCasket(v.ctx, f, dir); err != nil {
		return err
	}
	defer v.casket.lines.Close()
	defer func() {
		if v.gen != nil {
			err = errors.Join(err, v.gen.Close())
		}
	}()
	if err := v.hide(f); err != nil {
		return err
	}
	for _, part := range []func() error{v.facts, v.ownKeys, v.files, v.stored} {
		if err := part(); err != nil {
			return err
		}
	}
	if err := v.casket.finish(v.manifestHead(key)); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), v.ctx.Err()); err != nil {
		return err
	}
	if err := v.sign(f, key); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := v.publish(f.Name(), v.out); err != nil {
		return err
	}
	v.tell(key)
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sign signs what lies in the file now, if that is what was written. The
// signature is there before the archive, and none of an older one stays.
func (v *evidence) sign(f *os.File, key seal.Signer) error {
	name := v.out + ".sig"
	if key == nil {
		return ignoreGone(os.Remove(name))
	}
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	in := newSummed(f)
	armor, err := key.Sign(EvidenceNamespace, in)
	if err != nil {
		return err
	}
	if in.sum() != v.sum() {
		return fmt.Errorf("%q does not hold what was written to it", f.Name())
	}
	t, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = t.Write(armor)
	if err = errors.Join(err, t.Chmod(0o644), t.Sync(), t.Close()); err == nil {
		err = v.publish(t.Name(), name)
	}
	if err != nil {
		err = errors.Join(err, ignoreGone(os.Remove(t.Name())))
	}
	return err
}

// publish gives a whole file its name, and replaces another one with --force
// only.
func (v *evidence) publish(from, to string) error {
	flags := uint(unix.RENAME_NOREPLACE)
	if v.o.Force {
		flags = 0
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
	if err == unix.EINVAL || err == unix.ENOSYS { // a file system that cannot refuse, as vfat
		err = os.Rename(from, to)
	}
	if err != nil {
		return fmt.Errorf("rename to %q: %w", to, err)
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// tell says what to write down.
func (v *evidence) tell(key seal.Signer) {
	if v.env.Quiet && v.gaps == 0 {
		return
	}
	v.env.print("saved %s, %s: %s\n", counted(int(v.members), "member"), counted(int(v.gaps), "gap"), report.Escape(v.out))
	v.env.print("sha256 %s\n", v.sum())
	q := report.ShellQuote
	if v.gaps > 0 {
		v.env.print("what is missing: tar -xOzf %s %s | grep ^gap\n", q(v.out), manifestName)
	}
	if key == nil {
		v.env.print("not signed: the host's own key would prove nothing to whoever doubts the host; write the SHA-256 down, or use --sign-with\n")
		return
	}
	v.env.print("signed by %s: ssh-keygen -Y verify -f ALLOWED_SIGNERS -I PRINCIPAL -n %s -s %s < %s\n", key.Key().Fingerprint, EvidenceNamespace, q(v.out+".sig"), q(v.out))
}
