package baseline

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"intact/baseline/statement"
	"intact/scanner/digest"
)

// The file host says who this host is:
//
//	format: intact.host/1
//	id: 0f…                 32 hex digits, random
//	epoch: 1                goes up when an operator says that the host was restored
//	machine: blake3:…       of the machine-id(5), or none
//	product: blake3:…       of the DMI product UUID, or none
//	note: "…"               why the epoch began, quoted as Go quotes strings
//	digest: blake3:…        of all lines before
//
// The id alone ties baselines and reports to the host. The digests tell a clone
// from the host that it was made of.
const hostFormat = "intact.host/1"

// Machine is what a machine is known by; a zero digest is unknown.
type Machine struct {
	ID      digest.Digest // of the machine-id(5)
	Product digest.Digest // of the DMI product UUID, which only root can read
}

// Host is the identity that a store belongs to.
type Host struct {
	ID    string // 32 hex digits
	Epoch uint64 // from 1
	Machine
	Note string // why the epoch began, at most statement.MaxText bytes
}

// Differs returns the names of what is known of both machines and not the same.
func (h Host) Differs(now Machine) (names []string) {
	for _, v := range []struct {
		name     string
		was, now digest.Digest
	}{{"machine-id", h.Machine.ID, now.ID}, {"product UUID", h.Product, now.Product}} {
		if v.was != v.now && v.was != (digest.Digest{}) && v.now != (digest.Digest{}) {
			names = append(names, v.name)
		}
	}
	return names
}

func (h Host) text() []byte {
	b := fmt.Appendf(nil, "format: %s\nid: %s\nepoch: %d\nmachine: %s\nproduct: %s\nnote: %s\n", hostFormat, h.ID, h.Epoch, h.Machine.ID.NamedOrNone(), h.Product.NamedOrNone(), strconv.QuoteToASCII(h.Note))
	return fmt.Appendf(b, "digest: %s\n", digest.Sum(b).Named())
}

var errHostFile = errors.New("not in its one spelling")

// parseHost accepts exactly what text writes.
func parseHost(b []byte) (h Host, err error) {
	var v [7]string
	lines := strings.Split(string(b), "\n")
	for i, key := range []string{"format", "id", "epoch", "machine", "product", "note", "digest"} {
		if i >= len(lines) {
			return h, errHostFile
		}
		v[i], _ = strings.CutPrefix(lines[i], key+": ")
	}
	h.ID = v[1]
	h.Epoch, err = strconv.ParseUint(v[2], 10, 63)
	for i, d := range []*digest.Digest{&h.Machine.ID, &h.Product} {
		if w := v[3+i]; err == nil && w != "none" {
			*d, err = digest.Parse(w)
		}
	}
	if err == nil {
		h.Note, err = strconv.Unquote(v[5])
	}
	if err != nil || h.Epoch == 0 || !statement.ValidHostID(h.ID) || !bytes.Equal(h.text(), b) {
		return Host{}, errHostFile
	}
	return h, nil
}

// Host reads the host's identity. The error wraps fs.ErrNotExist before Init.
func (s *Store) Host() (Host, error) {
	name := s.path(hostFile)
	b, err := readSmall(name, maxHostFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrInvalid) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err) // a link, a pipe, a socket in its place
	}
	if err != nil {
		return Host{}, fmt.Errorf("read host id: %w", err)
	}
	h, err := parseHost(b)
	if err != nil {
		return Host{}, fmt.Errorf("read host id %q: %w: %w", name, ErrDamaged, err)
	}
	return h, nil
}

// HostID returns the 32 hex digits that tie baselines to this host. The error
// wraps fs.ErrNotExist before Init.
func (s *Store) HostID() (string, error) {
	h, err := s.Host()
	return h.ID, err
}

// Init makes the folders where they are missing, and the host's identity on
// the machine now.
func (s *Store) Init(now Machine) error {
	for _, d := range []string{s.dir, s.path(baselineDir), s.path(pendingDir), s.path(ExpectDir), s.path(LedgerDir), s.path(PackagesDir), s.path(IndexesDir), s.path(InboxDir)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("create state folder %q: %w", d, cause(err))
		}
	}
	_, err := s.HostID()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if n, err := s.Latest(); err != nil {
		return err
	} else if n > 0 {
		return fmt.Errorf("%w: the host id %q is missing", ErrDamaged, s.path(hostFile))
	}
	return s.putHost(Host{ID: newHostID(), Epoch: 1, Machine: now})
}

func newHostID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails, crypto/rand
	return hex.EncodeToString(id[:])
}

func (s *Store) putHost(h Host) error {
	if err := s.writeFile(s.path(hostFile), h.text(), 0o600); err != nil {
		return fmt.Errorf("write host id: %w", err)
	}
	return nil
}

// Restored begins a new epoch of the same host on the machine now. note says
// why, for the reports.
func (s *Store) Restored(now Machine, note string) (Host, error) {
	h, err := s.Host()
	if err != nil {
		return h, err
	}
	h.Epoch, h.Machine, h.Note = h.Epoch+1, now, note[:min(len(note), statement.MaxText)]
	return h, s.putHost(h)
}

// NewID makes a host of its own out of a clone. What belongs to the host that
// it was cloned from is moved into the folder former/ID, which NewID returns:
// everything but the locks. Private keys of that host are deleted: a clone has
// no business signing as another. NewID can be called again where it ended
// early.
func (s *Store) NewID(now Machine) (former string, err error) {
	old, err := s.Host()
	if err != nil {
		return "", err
	}
	if former, err = s.setAside(old); err != nil {
		return "", fmt.Errorf("set the former host aside: %w", cause(err))
	}
	// Last: until it is another one, this host cannot go on.
	return former, s.putHost(Host{ID: newHostID(), Epoch: 1, Machine: now})
}

func (s *Store) setAside(old Host) (former string, err error) {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return "", err
	}
	list = slices.DeleteFunc(list, func(e fs.DirEntry) bool {
		return slices.Contains([]string{"former", lockFile, commitLockFile, watchLockFile, hostFile}, e.Name())
	})
	// Where NewID ended early and work went on, the first folder is taken.
	former = s.path("former", old.ID)
	for n := 1; slices.ContainsFunc(list, func(e fs.DirEntry) bool {
		_, err := os.Lstat(filepath.Join(former, e.Name()))
		return err == nil
	}); n++ {
		former = s.path("former", fmt.Sprintf("%s.%d", old.ID, n))
	}
	if err := os.MkdirAll(former, 0o700); err != nil {
		return "", err
	}
	for _, e := range list {
		if err := os.Rename(s.path(e.Name()), filepath.Join(former, e.Name())); err != nil {
			return "", err
		}
	}
	all, err := os.ReadDir(s.path("former"))
	for _, e := range all {
		if strings.HasPrefix(e.Name(), old.ID) {
			err = errors.Join(err, dropPrivate(s.path("former", e.Name(), KeysDir)))
		}
	}
	if err != nil {
		return "", err
	}
	return former, s.writeFile(filepath.Join(former, hostFile), old.text(), 0o600)
}

// dropPrivate deletes all in a folder of keys but public keys and the list of
// the host's own.
func dropPrivate(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		if name := e.Name(); !e.IsDir() && name != OwnSigners && !strings.HasSuffix(name, ".pub") {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	return err
}
