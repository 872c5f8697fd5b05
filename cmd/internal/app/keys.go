package app

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/report"
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
	ownSigners = "allowed_signers" // in the keys folder: the host's own keys
	maxSigners = 4 << 20
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
	if given != "" {
		k, err := s.signer(given)
		if err != nil {
			return "", fmt.Errorf("--sign-with: %w", err)
		}
		s.store.Signer = k
		return statement.Operator, s.trusts(k)
	}
	if s.store.Trust.Governed() {
		return "", fmt.Errorf("%w: use --sign-with with the key of one of %s", baseline.ErrSelfApproved, report.Prose(strings.Join(s.operators(), ", ")))
	}
	k, err := s.signer(s.source(roles[0]))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: the key for baselines is gone: intact key generate makes another one", err)
	}
	s.store.Signer = k
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

func (s *session) operators() (names []string) {
	for _, p := range s.store.Trust.Operators.Principals(statement.Namespace) {
		if !strings.HasPrefix(p, "host:") {
			names = append(names, p)
		}
	}
	return names
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
	if t.Host, err = seal.ParseSigners(name, text); err != nil {
		return &codeError{ExitTrust, fmt.Errorf("the host's own keys: %w", err)}
	}
	if name := cmp.Or(s.env.TrustedSigners, s.cfg.Signing.TrustedSigners); name != "" {
		if text, err = s.readSetting(name); err == nil {
			t.Operators, err = seal.ParseSigners(name, text)
		}
		if err != nil {
			return usageErrorAs(ExitUsage, "trusted signers: %w", err)
		}
	}
	if name := cmp.Or(s.env.RevokedKeys, s.cfg.Signing.RevokedKeys); name != "" {
		text, err := s.readSetting(name)
		var list *seal.Revoked
		if err == nil {
			list, err = seal.ParseRevoked(name, text)
		}
		if err != nil {
			return usageErrorAs(ExitUsage, "revoked keys: %w", err)
		}
		t.Host.Revoke(list)
		if t.Operators != nil {
			t.Operators.Revoke(list)
		}
	}
	s.store.Trust = t
	return nil
}

// readSetting reads a file that says whom to trust: nobody else may write it.
func (s *session) readSetting(name string) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	if me := uint32(os.Geteuid()); st.Mode&0o022 != 0 || st.Uid != 0 && st.Uid != me {
		return nil, fmt.Errorf("%q can be written by others, or belongs to user %d", name, st.Uid)
	}
	return readLimited(name)
}

func readLimited(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxSigners {
		return nil, errors.Join(err, fmt.Errorf("%q is no regular file of at most %d bytes", name, maxSigners))
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(f)
	return b.Bytes(), err
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

// putFile replaces a small file in one step.
func putFile(name string, b []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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
				if err := os.Rename(s.keyFile(r.name+ext), s.keyFile(r.name+suffix+ext)); err != nil {
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
