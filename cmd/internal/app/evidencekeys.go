package app

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/cmd/internal/config"
	"intact/report"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// keepClosed notes the folders in the root that have private keys of intact.
func (v *evidence) keepClosed() {
	add := func(p entry.Path) {
		if p == "" || p == "/" {
			return
		}
		v.closed = append(v.closed, p)
		if to, _, exists, err := v.root.Resolve(p); err == nil && exists && to != p {
			v.closed = append(v.closed, to)
		}
	}
	add(config.SystemState)
	if p, err := stateExclude(v.session); err == nil {
		add(p)
	}
}

// hide notes by inode what is never saved, under whatever name: the host's
// private keys, that of the responder, and the archive itself.
func (v *evidence) hide(archive interface{ Fd() uintptr }) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(archive.Fd()), &st); err != nil {
		return err
	}
	v.secret[inode{st.Dev, st.Ino}] = true
	var names []string
	for _, g := range []string{"keys/*", "former/*/keys/*"} {
		list, _ := filepath.Glob(filepath.Join(globQuote(v.store.Dir()), g)) // the pattern is well-formed
		names = append(names, list...)
	}
	for _, n := range append(names, v.o.SignWith, v.cfg.Signing.BaselineKey, v.cfg.Signing.ReportKey) {
		public := strings.HasSuffix(n, ".pub") || filepath.Base(n) == ownSigners
		if err := unix.Stat(n, &st); err == nil && !public {
			v.secret[inode{st.Dev, st.Ino}] = true
		}
	}
	return nil
}

// globQuote takes the meaning from what filepath.Match would take as a pattern.
func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// private reports whether something is never saved.
func (v *evidence) private(p entry.Path, st *dirfd.Stat) bool {
	for _, dir := range v.closed {
		keys := dir.Join([]byte("keys"))
		if p != keys && p.Under(keys) {
			return true
		}
		if former := dir.Join([]byte("former")); p.Under(former) {
			if rest := strings.Split(strings.TrimPrefix(string(p), string(former)), "/"); len(rest) > 3 && rest[2] == "keys" {
				return true
			}
		}
	}
	return v.secretAt[p] || v.secret[inode{st.Device, st.Inode}]
}

// ownKeys finds out which keys are those of intact, so that a copy is known
// wherever it lies: the configuration that is read now need not be the one that
// names them.
func (v *evidence) ownKeys() error {
	v.own, v.secretAt = map[string]bool{}, map[entry.Path]bool{}
	former, _ := filepath.Glob(filepath.Join(globQuote(v.store.Dir()), "former/*/keys", ownSigners)) // the pattern is well-formed
	for _, n := range append(former, v.keyFile(ownSigners)) {
		text, err := readLimited(n)
		v.ownSigners(n, text, err)
	}
	for _, dir := range v.closed {
		f, err := v.root.OpenFile(dir.Join([]byte(baseline.KeysDir)).Join([]byte(ownSigners)))
		if err != nil {
			v.ownSigners(string(dir), nil, err)
			continue
		}
		text, err := io.ReadAll(io.LimitReader(f, maxSigners))
		v.ownSigners(string(dir), text, err)
		f.Close()
	}
	for _, n := range []string{v.o.SignWith, v.cfg.Signing.BaselineKey, v.cfg.Signing.ReportKey} {
		if k, _, err := seal.Inspect(n); err == nil {
			v.own[k.Fingerprint] = true
		}
	}
	if v.gen, v.genErr = v.store.Open(v.ctx, 0); v.genErr != nil {
		return v.ctx.Err() // keptBaseline tells of it
	}
	rows, err := v.gen.Rows(rowSelf)
	if err != nil {
		return v.gap("baseline.jsonl", "%v", err)
	}
	for _, r := range rows {
		if words(r.Value)["part"] == partKey {
			v.ownKeyAt(entry.Path(r.Key))
		}
	}
	return nil
}

// ownSigners takes the keys of a list. From one that cannot be read nobody can
// tell whose a key is.
func (v *evidence) ownSigners(name string, text []byte, err error) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return
	}
	var list *seal.Signers
	if err == nil {
		list, err = seal.ParseSigners(name, text)
	}
	if err != nil {
		v.ownUnknown = true
		return
	}
	for _, l := range list.Lines() {
		v.own[l.Key.Fingerprint] = true
	}
}

// ownKeyAt notes a place where the baseline knows a key of intact.
func (v *evidence) ownKeyAt(p entry.Path) {
	v.secretAt[p] = true
	if to, _, exists, err := v.root.Resolve(p); err == nil && exists {
		v.secretAt[to] = true
	}
	f, err := v.root.OpenFile(p)
	if err != nil {
		return
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err == nil {
		v.secret[inode{st.Dev, st.Ino}] = true
	}
	if text, err := io.ReadAll(io.LimitReader(f, maxKeyText)); err == nil {
		for _, k := range seal.PublicHalves(text) {
			v.own[k.Fingerprint] = true
		}
	}
}

// maxKeyText is how much of a file is searched for private keys, in bytes: no
// file of a key is longer.
const maxKeyText = 64 << 10

var privateKey = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----`)

// judged returns the content of a file, or nil where it is a private key that is
// not saved. What was searched is what the reader gives: the file is not read
// again.
func (v *evidence) judged(r io.Reader, h *tar.Header) (io.Reader, error) {
	text := make([]byte, min(h.Size, maxKeyText))
	n, err := io.ReadFull(r, text)
	text = text[:n]
	rest := r
	if n < cap(text) { // what comes after an end or a fault was not searched
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		rest = failing{err}
	}
	content := io.MultiReader(bytes.NewReader(text), rest)
	why := v.keyIn(text, n < maxKeyText || h.Size == maxKeyText)
	if why == "" {
		return content, nil
	}
	sha, blake := sha256.New(), digest.New()
	size, err := io.Copy(io.MultiWriter(sha, blake), io.LimitReader(content, h.Size))
	if err != nil {
		return nil, v.gap(h.Name, "%s: %v", why, err)
	}
	return nil, v.line("skip %s: %s: sha256 %s, blake3 %s, %d bytes", report.Escape(h.Name), why, hex.EncodeToString(sha.Sum(nil)), blake.Sum(), size)
}

// keyIn says why a file with this text is not saved, "" if it is. whole: the
// file has no more. Of a longer one, which is no file of a key, only intact's
// own keys matter.
func (v *evidence) keyIn(text []byte, whole bool) string {
	if !privateKey.Match(text) {
		return ""
	}
	unknown := false
	for _, k := range seal.PublicHalves(text) {
		if v.own[k.Fingerprint] {
			return "a private key of intact, never saved"
		}
		unknown = unknown || k.Fingerprint == "" || v.ownUnknown
	}
	switch {
	case !whole:
		return ""
	case unknown:
		return "a private key, and nobody can tell whether it is one of intact: never saved"
	case !v.o.PrivateKeys:
		return "a private key, saved only with --with-private-keys"
	}
	return ""
}

// failing is a reader that ends with err.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
