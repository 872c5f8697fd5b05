// Package anchors reads which authorities a host trusts: the certificates of the
// system's store and of the folders that it is made of.
package anchors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Anchor is a certificate of an authority, in all files that have it.
type Anchor struct {
	Fingerprint string    `cel:"fingerprint"` // SHA-256 of the certificate, hex
	Subject     string    `cel:"subject"`     // any text; "" where it cannot be read
	Issuer      string    `cel:"issuer"`
	NotBefore   time.Time `cel:"not_before"`
	NotAfter    time.Time `cel:"not_after"`
	Authority   bool      `cel:"authority"` // it may sign certificates
	Malformed   bool      `cel:"malformed"` // it cannot be read; others may still take it
	Files       []string  `cel:"files"`     // sorted; links under their own name
	Trusted     bool      `cel:"trusted"`   // it is in the store that programs read
	Local       bool      `cel:"local"`     // it is in the folder of those that the host's people add
	Shipped     bool      `cel:"shipped"`   // it is in the folder of those that the distribution has
	Selected    bool      `cel:"selected"`  // of shipped ones: ca-certificates.conf wants it
	Source      string    `cel:"source"`    // the first of the files in the folders that the store is made of, "" if it is in none
}

// Key tells anchors apart.
func (a Anchor) Key() string { return a.Fingerprint }

// Compared spells what is compared of an anchor.
func (a Anchor) Compared() string {
	return fmt.Sprintf("subject=%q issuer=%q not_after=%q trusted=\"%t\" local=\"%t\" shipped=\"%t\" selected=\"%t\" source=%q", a.Subject, a.Issuer, a.NotAfter.UTC().Format(time.RFC3339), a.Trusted, a.Local, a.Shipped, a.Selected, a.Source)
}

// place is a file or a folder of certificates.
type place struct {
	path                    entry.Path
	trusted, local, shipped bool
}

// places are where the stores of the distributions are. The first folders feed
// the others through update-ca-certificates(8) or update-ca-trust(8).
var places = [...]place{
	{path: "/usr/local/share/ca-certificates", local: true},
	{path: "/etc/pki/ca-trust/source/anchors", local: true},
	{path: "/etc/ca-certificates/trust-source/anchors", local: true},
	{path: "/etc/pki/trust/anchors", local: true},
	{path: "/usr/share/ca-certificates", shipped: true},
	{path: "/usr/share/pki/ca-trust-source", shipped: true},
	{path: "/etc/ssl/certs", trusted: true},
	{path: "/etc/pki/tls/certs", trusted: true},
	{path: "/etc/pki/ca-trust/extracted/pem", trusted: true},
	{path: "/etc/ssl/cert.pem", trusted: true},
}

// Bounds.
const (
	maxFile  = 4 << 20  // bytes of a file
	maxTotal = 64 << 20 // of all files
	maxNames = 20_000   // names in all folders
	maxRows  = 20_000
	maxFiles = 64 // names of files that one row has; which they are does not count
	maxDepth = 4  // folders in folders
)

// reader keeps each certificate once.
type reader struct {
	ctx   context.Context
	root  *dirfd.Root
	a     *facts.Answer[Anchor]
	at    map[[sha256.Size]byte]int
	seen  map[entry.Path][][sha256.Size]byte // files by their name without links
	wants map[string]bool                    // of ca-certificates.conf
	total int64
	names int
	full  bool
}

// Collect reads the anchors of a host.
func Collect(ctx context.Context, h facts.Host) facts.Answer[Anchor] {
	a := facts.Answer[Anchor]{Status: rules.OK, Via: "certificates of the system's store"}
	r := &reader{ctx: ctx, root: h.Root, a: &a, at: map[[sha256.Size]byte]int{}, seen: map[entry.Path][][sha256.Size]byte{}}
	r.selection()
	any := false
	for _, p := range places {
		any = r.place(p, p.path, 0) || any
	}
	if !any && a.Status == rules.OK {
		a.Status, a.Reason = rules.Absent, "no store of certificates"
	}
	for i := range a.Rows {
		slices.Sort(a.Rows[i].Files)
	}
	slices.SortFunc(a.Rows, func(x, y Anchor) int { return strings.Compare(x.Fingerprint, y.Fingerprint) })
	return a
}

// selection reads ca-certificates.conf: a name a line, with ! before it one that
// is not wanted.
func (r *reader) selection() {
	r.wants = map[string]bool{}
	b, err := r.root.ReadFile("/etc/ca-certificates.conf", maxFile)
	if err != nil {
		if !facts.Missing(err) {
			r.a.Fail(err)
		}
		return
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimRight(line, " \t\r\n"); line != "" && line[0] != '#' && line[0] != '!' {
			r.wants["/usr/share/ca-certificates/"+line] = true
		}
	}
}

var errMany = errors.New("too many names in the folders of certificates")

// place reads a file, or a folder with those in it, and reports whether it is
// there.
func (r *reader) place(from place, p entry.Path, depth int) bool {
	if r.full {
		return true
	}
	if err := r.ctx.Err(); err != nil {
		r.a.Fail(err)
		return true
	}
	at, _, exists, err := r.root.Resolve(p)
	if err != nil {
		r.a.Fail(err)
		return true
	}
	if !exists {
		return false // a link that leads nowhere, too
	}
	st, err := facts.StatOf(r.root, at)
	switch {
	case err != nil:
		r.a.Fail(err)
	case st.Kind == entry.File:
		r.file(from, p, at)
	case st.Kind == entry.Dir && depth < maxDepth:
		var names []string
		err := r.root.List(p, func(name string, _ entry.Kind) error {
			if r.names++; r.names > maxNames {
				return errMany
			}
			names = append(names, name)
			return nil
		})
		r.a.Fail(err)
		slices.Sort(names)
		for _, n := range names {
			r.place(from, p.Join([]byte(n)), depth+1)
		}
	}
	return true
}

// file takes the certificates of one file in.
func (r *reader) file(from place, p, at entry.Path) {
	sums, known := r.seen[at]
	if !known {
		b, err := r.root.ReadFile(at, maxFile)
		if r.total += int64(len(b)); err == nil && r.total > maxTotal {
			err, r.full = errors.New("too much in all files of certificates together"), true
		}
		if err != nil {
			r.a.Fail(fmt.Errorf("%s: %w", p, err))
			return
		}
		for _, der := range certificates(b) {
			sums = append(sums, r.take(der))
		}
		r.seen[at] = sums
	}
	for _, s := range sums {
		i, ok := r.at[s]
		if !ok {
			continue
		}
		a := &r.a.Rows[i]
		a.Trusted, a.Local, a.Shipped = a.Trusted || from.trusted, a.Local || from.local, a.Shipped || from.shipped
		a.Selected = a.Selected || from.shipped && r.wants[string(p)]
		if (from.local || from.shipped) && (a.Source == "" || string(p) < a.Source) {
			a.Source = string(p)
		}
		if len(a.Files) < maxFiles && !slices.Contains(a.Files, string(p)) {
			a.Files = append(a.Files, string(p))
		}
	}
}

// take keeps a certificate.
func (r *reader) take(der []byte) [sha256.Size]byte {
	sum := sha256.Sum256(der)
	if _, ok := r.at[sum]; ok {
		return sum
	}
	if len(r.a.Rows) >= maxRows {
		r.full = true
		r.a.Fail(fmt.Errorf("over %d certificates", maxRows))
		return sum
	}
	a := Anchor{Fingerprint: hex.EncodeToString(sum[:]), Malformed: true}
	if c, err := x509.ParseCertificate(der); err == nil {
		a.Subject, a.Issuer, a.NotBefore, a.NotAfter = c.Subject.String(), c.Issuer.String(), c.NotBefore.UTC(), c.NotAfter.UTC()
		a.Authority, a.Malformed = c.IsCA || c.Version < 3, false // the first versions do not say it
	}
	r.at[sum] = len(r.a.Rows)
	r.a.Rows = append(r.a.Rows, a)
	return sum
}

// certificates returns those in a file: blocks of PEM, of which OpenSSL's own
// kind has words of trust behind the certificate, or one certificate in DER.
func certificates(b []byte) (out [][]byte) {
	if len(b) > 0 && b[0] == 0x30 {
		if der := first(b); len(der) == len(b) {
			return [][]byte{der}
		}
	}
	for len(b) > 0 {
		i := bytes.Index(b, []byte("-----BEGIN "))
		if i < 0 {
			return out
		}
		b = b[i:]
		// One block at a time, so that a broken one costs no more than itself.
		end := len(b)
		if j := bytes.Index(b[1:], []byte("-----BEGIN ")); j >= 0 {
			end = j + 1
		}
		block, _ := pem.Decode(b[:end])
		b = b[end:]
		if block == nil {
			continue
		}
		switch block.Type {
		case "CERTIFICATE", "X509 CERTIFICATE":
			out = append(out, block.Bytes)
		case "TRUSTED CERTIFICATE":
			out = append(out, first(block.Bytes))
		}
	}
	return out
}

// first cuts off what stands behind the first element of DER; b itself where it
// has no length.
func first(b []byte) []byte {
	if len(b) < 2 {
		return b
	}
	n, head := int(b[1]), 2
	if n >= 0x80 {
		size := n & 0x7f
		if size == 0 || size > 4 || len(b) < 2+size {
			return b
		}
		n, head = 0, 2+size
		for _, c := range b[2:head] {
			n = n<<8 | int(c)
		}
	}
	if n > len(b)-head {
		return b
	}
	return b[:head+n]
}
