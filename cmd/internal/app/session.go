package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/cmd/internal/config"
	"intact/report"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// session is what every command needs: configuration, root and state folder.
type session struct {
	env    *Env
	cfg    *config.Config
	cfgErr error // the configuration could not be read; cfg then holds defaults
	root   *dirfd.Root
	users  *idNames
	store  *baseline.Store
	lock   *baseline.Lock
	binary *digest.Digest // of the running binary, nil until asked for
	places int            // GOMAXPROCS before spread, 0: as it is
	steady bool           // GOMAXPROCS is left as it is: this process does more than one scan
	early  bool           // the lock is given back before a report is shown: nobody waits for who reads it

	patience time.Duration // with looks of a watcher; 0: longLook

	own         *seal.Signers                // the host's own keys, by its own list
	listsRead   map[entry.Path]digest.Digest // the lists of signers and revoked keys, as they were read
	readReports map[report.Stored]judgement
	remarked    []string     // notes for the report
	rpmRing     *pgp.Keyring // see rpmKeys; nil until asked for
	debRing     *pgp.Keyring // likewise of archives of Debian
	books       *books       // see library; nil until asked for
}

// open reads the configuration and opens the root and the state folder.
func open(e *Env) (*session, error) {
	s, trustErr, err := openDistrusting(e)
	if err == nil && trustErr != nil {
		s.close()
		return nil, trustErr
	}
	return s, err
}

// openDistrusting is open for commands that have something to say where it
// cannot be told whose signatures count, which is trustErr: nothing that is
// signed may be used then. A list on the command line is for the user to mend at
// once.
func openDistrusting(e *Env) (s *session, trustErr, err error) {
	if s, trustErr, err = openLoosely(e); err != nil {
		return nil, nil, err
	}
	if trustErr != nil && e.TrustedSigners+e.RevokedKeys != "" {
		s.close()
		return nil, nil, trustErr
	}
	if err := safeState(s.cfg.State); err != nil {
		s.close()
		return nil, nil, &codeError{ExitUsage, err}
	}
	return s, trustErr, nil
}

// openLoosely is open for commands that must work where something is broken:
// a configuration that cannot be read is in cfgErr, and nothing is demanded of
// the state folder.
func openLoosely(e *Env) (s *session, trustErr, err error) {
	s = &session{env: e}
	s.cfg, s.cfgErr = config.Load(config.Options{File: e.Config, State: e.State, UID: os.Geteuid()})
	if s.cfg.State == "" {
		return nil, nil, &codeError{ExitUsage, s.cfgErr}
	}
	if s.root, err = dirfd.Open(cmp.Or(e.Root, "/")); err != nil {
		return nil, nil, &codeError{ExitUsage, err}
	}
	s.users = readAccounts(s.root)
	if s.store, err = baseline.OpenStore(s.cfg.State); err != nil {
		s.close()
		return nil, nil, &codeError{ExitUsage, err}
	}
	return s, s.readTrust(), nil
}

// openConfigured is open for commands that cannot do without a configuration.
func openConfigured(e *Env) (*session, error) {
	s, err := open(e)
	if err == nil && s.cfgErr != nil {
		s.close()
		return nil, &codeError{ExitUsage, s.cfgErr}
	}
	return s, err
}

// remark keeps notes for the report.
func (s *session) remark(notes ...string) { s.remarked = append(s.remarked, notes...) }

func (s *session) close() {
	s.gather()
	s.unlock()
	if s.root != nil {
		s.root.Close()
	}
}

func (s *session) unlock() {
	if s.lock != nil {
		// The descriptor is closed with the process in any case.
		_ = s.lock.Unlock()
		s.lock = nil
	}
}

// acquire takes the lock of the state folder, for the host that it belongs to.
func (s *session) acquire(command string) (err error) {
	s.lock, err = s.pastLooks(command)
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if err := s.sameHost(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// pastLooks takes the lock. A look of the watcher ends by itself and leaves time
// for others behind it: nobody gives up for one.
func (s *session) pastLooks(command string) (*baseline.Lock, error) {
	told := false
	for begin := time.Now(); ; time.Sleep(lookPoll) {
		lock, err := s.store.Lock(command)
		held, is := errors.AsType[*baseline.LockedError](err)
		if !is || held.Command != watchCommand || command == watchCommand || time.Since(begin) > cmp.Or(s.patience, longLook) {
			return lock, err
		}
		if !told && time.Since(begin) > lookRest {
			told = true
			s.env.Tell(fmt.Sprintf("waiting for a look of intact watch (process %d)", held.PID))
		}
	}
}

// needBaseline tells what to do where there is no baseline yet, before anything
// else is found missing.
func (s *session) needBaseline() error {
	n, err := s.store.Latest()
	if err == nil && n == 0 {
		err = baseline.ErrNoBaseline
	}
	return err
}

// exitOf sorts an error into an exit code.
func exitOf(err error) int {
	switch {
	case err == nil:
		return ExitClean
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case trust(err), errors.Is(err, errIdentity):
		return ExitTrust
	case errors.Is(err, seal.ErrAgent): // gone since it was opened
		return ExitUsage
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return ExitUsage
	}
	return ExitIncomplete
}

// safeState refuses a state folder that others can write to.
func safeState(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return nil // what it is that cannot be used is told when it is used
	}
	switch me := uint32(os.Geteuid()); {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil
	case st.Mode&0o022 != 0:
		return fmt.Errorf("state folder %q can be written by others: chmod go-w", dir)
	case st.Uid != me && me != 0 && st.Uid != 0, me == 0 && st.Uid != 0 && os.Getenv("SUDO_UID") != fmt.Sprint(st.Uid):
		return fmt.Errorf("state folder %q belongs to user %d", dir, st.Uid)
	}
	return nil
}

// stateExclude returns the state folder as a path of the scanned root, "" if
// it lies outside: the tool's own writes are no changes.
func stateExclude(s *session) (entry.Path, error) {
	abs, err := filepath.Abs(s.cfg.State)
	if err != nil {
		return "", err
	}
	if r, err := filepath.EvalSymlinks(abs); err == nil {
		abs = r
	}
	host := s.root.HostPath()
	if host != "/" {
		rest, ok := strings.CutPrefix(abs, host+"/")
		if !ok {
			return "", nil
		}
		abs = "/" + rest
	}
	return entry.NewPath(abs)
}

// paths makes command-line paths absolute inside the root.
func (s *session) paths(args []string) ([]entry.Path, error) {
	var r []entry.Path
	for _, a := range args {
		if a == "" {
			return nil, usageError("an empty path was given")
		}
		abs := a
		if !strings.HasPrefix(a, "/") {
			if !s.root.Live() {
				return nil, usageError("path %q must be absolute inside the root %q", a, s.env.Root)
			}
			wd, err := os.Getwd()
			if err != nil {
				return nil, fmt.Errorf("find the current folder: %w", err)
			}
			abs = filepath.Join(wd, a)
		}
		p, err := entry.NewPath(abs)
		if err != nil {
			return nil, usageError("path %q: %w", a, err)
		}
		r = append(r, p)
	}
	return r, nil
}

// existing is paths for arguments that must be there.
func (s *session) existing(args []string) ([]entry.Path, error) {
	ps, err := s.paths(args)
	if err != nil {
		return nil, err
	}
	for i, p := range ps {
		switch _, _, exists, err := s.root.Resolve(p); {
		case err != nil:
			return nil, usageError("path %q: %w", args[i], err)
		case !exists:
			return nil, usageError("path %q does not exist", args[i])
		}
	}
	return ps, nil
}

// tool names this binary.
func (s *session) tool() report.Tool {
	return report.Tool{Version: s.env.Version, Digest: s.toolDigest().Named()}
}

// toolDigest is the digest of the running binary, zero if it cannot be read. It
// is read when it is first asked for.
func (s *session) toolDigest() digest.Digest {
	if s.env.Tool != (digest.Digest{}) {
		return s.env.Tool
	}
	if s.binary == nil {
		s.binary = new(digest.Digest)
		if f, err := os.Open("/proc/self/exe"); err == nil {
			defer f.Close()
			h := digest.New()
			if _, err := f.WriteTo(h); err == nil {
				*s.binary = h.Sum()
			}
		}
	}
	return *s.binary
}

func newID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, crypto/rand
	return hex.EncodeToString(b[:])
}

func hostName() string {
	n, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return n
}

// approver names who ran an accepting command.
func (s *session) approver() string {
	name := s.hostUser(uint32(os.Getuid()))
	if u := os.Getenv("SUDO_USER"); u != "" && os.Getuid() == 0 {
		name += " (sudo by " + u + ")"
	}
	return name
}

func (s *session) hostUser(uid uint32) string {
	if s.root.Live() {
		return s.users.User(uid)
	}
	return fmt.Sprint(uid)
}

// lower gives way to other work: lowest CPU priority and idle I/O class, for
// every thread there is; later threads inherit it.
func (s *session) lower() {
	if !s.env.Nice && s.cfg.Nice == 0 {
		return
	}
	const ioprioIdle = 3 << 13 // IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0), ioprio_set(2)
	level := s.cfg.Nice
	if level == 0 {
		level = 19
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		s.env.warn("lower the priority: %v", err)
		return
	}
	for _, t := range tasks {
		var tid int
		if _, err := fmt.Sscan(t.Name(), &tid); err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, level); err != nil {
			s.env.warn("lower the priority: %v", err)
		}
		if _, _, e := unix.Syscall(unix.SYS_IOPRIO_SET, 1, uintptr(tid), ioprioIdle); e != 0 {
			s.env.warn("lower the I/O priority: %v", e)
		}
	}
}
