package app

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/report"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// role is what a key of the host is for: one key each, so that the one that
// signs reports every night cannot sign a baseline.
type role struct {
	name       string
	namespace  string
	configured func(*session) string
}

var roles = [...]role{
	{"baseline", statement.Namespace, func(s *session) string { return s.cfg.Signing.BaselineKey }},
	{"report", report.Namespace, func(s *session) string { return s.cfg.Signing.ReportKey }},
}

const (
	ownSigners = baseline.OwnSigners
	maxSigners = seal.MaxSigners
	maxSetting = seal.MaxRevoked // of the longest kind
)

func (s *session) keyFile(name string) string {
	return filepath.Join(s.store.Dir(), baseline.KeysDir, name)
}

// source is where the key of a role is.
func (s *session) source(r role) string { return cmp.Or(r.configured(s), s.keyFile(r.name)) }

// signer opens a key: a file, or agent[:which]. What is wrong with it is for
// the user to mend.
func (s *session) signer(source string) (k seal.Signer, err error) {
	if which, ok := strings.CutPrefix(source, "agent"); ok && (which == "" || which[0] == ':') {
		k, err = seal.Agent("", strings.TrimPrefix(which, ":"))
	} else {
		k, err = seal.OpenKey(source, s.passphrase)
	}
	if err != nil {
		return nil, &codeError{ExitUsage, err}
	}
	return k, nil
}

// reportSigner opens the key that signs reports.
func (s *session) reportSigner() (seal.Signer, error) {
	k, err := s.signer(s.source(roles[1]))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: the key for reports is gone: intact key generate makes another one, which those who verify must be told of", err)
	}
	return k, err
}

// approveWith prepares the store for writing: with the operator's key that
// was given, else with the host's own.
func (s *session) approveWith(given string) (statement.Authority, error) {
	s.store.Trust.Host = s.own // of this host, wherever the list comes from
	if given != "" {
		k, err := s.signer(given)
		if err != nil {
			return "", fmt.Errorf("--sign-with: %w", err)
		}
		s.store.Signer = k
		return statement.Operator, s.trusts(k)
	}
	if s.store.Trust.Governed() {
		return "", fmt.Errorf("%w: use --sign-with with the key of one of %s", baseline.ErrSelfApproved, report.Prose(strings.Join(s.store.Trust.OperatorNames(), ", ")))
	}
	return s.approveUnder(nil)
}

// approveUnder prepares the store for writing with the host's own key, under a
// delegation where one is needed.
func (s *session) approveUnder(d *baseline.Delegation) (statement.Authority, error) {
	s.store.Trust.Host = s.own // of this host, wherever the list comes from
	k, err := s.signer(s.source(roles[0]))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: the key for baselines is gone: intact key generate makes another one", err)
	}
	s.store.Signer, s.store.Under = k, d
	return statement.Host, err
}

// trusts refuses an operator's key that would not be accepted, before the work
// is done.
func (s *session) trusts(k seal.Signer) error {
	if s.store.Trust.Operators == nil {
		return usageError("--sign-with: %s is no key of this host, and no trusted_signers are configured that name it", k.Key().Fingerprint)
	}
	return nil
}

// readTrust reads whose signatures count here.
func (s *session) readTrust() error {
	t := &baseline.Trust{}
	var err error
	name := s.keyFile(ownSigners)
	text, err := readLimited(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("read %q: %w", name, err)
	}
	if s.own, err = seal.ParseSigners(name, text); err != nil {
		return &codeError{ExitTrust, fmt.Errorf("the host's own keys: %w", err)}
	}
	if s.env.TrustedSigners == "" {
		t.Host = s.own // a list that somebody brought along counts alone
	}
	if name := cmp.Or(s.env.TrustedSigners, s.cfg.Signing.TrustedSigners); name != "" {
		if text, err = s.readList(name); err == nil {
			t.Operators, err = seal.ParseSigners(name, text)
		}
		if err != nil {
			return usageError("trusted signers: %w", err)
		}
	}
	if name := cmp.Or(s.env.RevokedKeys, s.cfg.Signing.RevokedKeys); name != "" {
		text, err := s.readList(name)
		var list *seal.Revoked
		if err == nil {
			list, err = seal.ParseRevoked(name, text)
		}
		if err != nil {
			return usageError("revoked keys: %w", err)
		}
		s.own.Revoke(list)
		if t.Operators != nil {
			t.Operators.Revoke(list)
		}
	}
	s.store.Trust = t
	return nil
}

// readList is readSetting, and remembers what was read.
func (s *session) readList(name string) ([]byte, error) {
	text, err := readSetting(name)
	if abs, absErr := filepath.Abs(name); err == nil && absErr == nil {
		if s.listsRead == nil {
			s.listsRead = map[entry.Path]digest.Digest{}
		}
		s.listsRead[entry.Path(abs)] = digest.Sum(text)
	}
	return text, err
}

// readSetting reads a file that says whom to trust: nobody else may write it, or
// put another in its place.
func readSetting(name string) ([]byte, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	to, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return nil, err
	}
	// Both the way that was given and the one that links lead; the file itself is
	// looked at by its descriptor.
	for _, p := range []string{abs, to} {
		for dir := filepath.Dir(p); ; dir = filepath.Dir(dir) {
			if err := safePlace(dir); err != nil {
				return nil, err
			}
			if dir == "/" {
				break
			}
		}
	}
	if err := safeLink(abs); err != nil {
		return nil, err
	}
	return readOpened(to, maxSetting, func(st *unix.Stat_t) error {
		if !ours(st) || st.Mode&0o022 != 0 {
			return fmt.Errorf("%q can be written by others, or belongs to user %d", name, st.Uid)
		}
		return nil
	})
}

func ours(st *unix.Stat_t) bool { return st.Uid == 0 || st.Uid == uint32(os.Geteuid()) }

// safePlace refuses a folder in which others can exchange files.
func safePlace(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &fs.PathError{Op: "look at", Path: dir, Err: err}
	}
	if st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 || !ours(&st) {
		return fmt.Errorf("folder %q can be written by others, or belongs to user %d", dir, st.Uid)
	}
	return nil
}

// safeLink refuses a link of somebody else, in a folder where anybody may make
// one.
func safeLink(name string) error {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return &fs.PathError{Op: "look at", Path: name, Err: err}
	}
	if !ours(&st) {
		return fmt.Errorf("%q belongs to user %d", name, st.Uid)
	}
	return nil
}

func readLimited(name string) ([]byte, error) { return readOpened(name, maxSigners, nil) }

// readOpened reads a regular file of at most limit bytes that check, if there is
// one, has nothing against.
func readOpened(name string, limit int64, check func(*unix.Stat_t) error) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &fs.PathError{Op: "look at", Path: name, Err: err}
	}
	if check != nil {
		if err := check(&st); err != nil {
			return nil, err
		}
	}
	unfit := fmt.Errorf("%q is no regular file of at most %d bytes", name, limit)
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, unfit
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, unfit
	}
	return b, err
}

// makeKeys makes the keys of the host that are missing and enters all in the
// list of the host's own. It returns what it made, for people.
func (s *session) makeKeys() (made []string, err error) {
	host, err := s.store.HostID()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(s.store.Dir(), baseline.KeysDir), 0o700); err != nil {
		return nil, err
	}
	name := s.keyFile(ownSigners)
	old, err := readLimited(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	list := old
	for _, r := range roles {
		source := s.source(r)
		if _, err := os.Lstat(source); errors.Is(err, fs.ErrNotExist) && filepath.IsAbs(source) {
			if r.configured(s) == "" {
				// It belongs to a key that is gone; the line of that stays in the list.
				os.Remove(source + ".pub")
			}
			k, err := seal.Generate(source, "intact-"+r.name+"@"+host)
			if err != nil {
				return made, err
			}
			made = append(made, fmt.Sprintf("the key that signs %ss is in %s: %s", r.name, report.Escape(source), k.Fingerprint))
		}
		k, err := s.signer(source)
		if err != nil {
			return made, err
		}
		line := ownLine(host, r, k.Key())
		if !bytes.Contains(append([]byte("\n"), list...), []byte("\n"+line+"\n")) {
			list = append(list, line+"\n"...)
		}
	}
	if !bytes.Equal(list, old) {
		err = putFile(name, list, 0o644)
	}
	return made, err
}

// ownLine is how the host's key stands in a list of allowed signers.
func ownLine(host string, r role, k seal.Key) string {
	return fmt.Sprintf("%s namespaces=\"%s\" %s", baseline.HostPrincipal(host), r.namespace, k.Line)
}

// passphrase asks on the terminal, without an echo.
func (s *session) passphrase(path string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %q, and there is no terminal", seal.ErrPassphraseNeeded, path)
	}
	defer tty.Close()
	fd := int(tty.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	quiet := *was
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return nil, err
	}
	defer unix.IoctlSetTermios(fd, unix.TCSETS, was)
	fmt.Fprintf(tty, "passphrase of %s: ", report.Escape(path))
	line, err := bufio.NewReader(tty).ReadBytes('\n')
	fmt.Fprintln(tty)
	return bytes.TrimRight(line, "\r\n"), err
}

// KeyGenerate makes the host's keys that are missing. With replace, the key of
// that role is set aside and a new one made; what the old one signed stays
// valid, because it stays in the list of the host's own keys.
func KeyGenerate(e *Env, replace string) (Outcome, error) {
	return hosting(e, "key generate", func(s *session) error {
		for _, r := range roles {
			if r.name != replace {
				continue
			}
			if r.configured(s) != "" {
				return usageError("key generate: the key for %ss is configured as %q: make that one yourself", r.name, r.configured(s))
			}
			suffix := "." + e.Now().UTC().Format("20060102T150405") + ".old"
			for _, ext := range []string{"", ".pub"} {
				err := os.Rename(s.keyFile(r.name+ext), s.keyFile(r.name+suffix+ext))
				if err != nil && !(ext == ".pub" && errors.Is(err, fs.ErrNotExist)) {
					return err
				}
			}
			replace = ""
		}
		if replace != "" {
			return usageError("key generate: --replace wants baseline or report, not %q", replace)
		}
		made, err := s.makeKeys()
		for _, m := range made {
			e.print("%s\n", m)
		}
		if err == nil && len(made) == 0 {
			e.print("all keys are there\n")
		}
		return err
	})
}

// KeyShow prints the host's public keys as lines for a list of allowed signers.
func KeyShow(e *Env) (Outcome, error) {
	return reading(e, func(s *session) error {
		b, err := readLimited(s.keyFile(ownSigners))
		if errors.Is(err, fs.ErrNotExist) {
			return usageError("key show: this host has no keys yet: intact init makes them")
		}
		if err != nil {
			return err
		}
		// As it is: for a file. It was made by this program, or it is escaped.
		for line := range bytes.Lines(b) {
			e.print("%s\n", report.Escape(string(bytes.TrimRight(line, "\n"))))
		}
		return nil
	})
}
