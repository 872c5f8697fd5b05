// Package statement is the text that says what a baseline generation is: its
// digests, its place in the chain, who made it and why. The text is what gets
// signed. The package does no I/O and knows nothing of the store.
//
// The text has one "key: value" line for each field, in a fixed order, and
// ends with the digest of all lines before it:
//
//	format: intact.statement/2
//	host-id: 0f…            32 hex digits
//	host-name: "web1"       quoted as Go quotes strings, ASCII only
//	generation: 3
//	previous: blake3:…      digest of the previous statement's text, or none
//	restart: no             yes: it started over from a previous one that was not trusted
//	created: 2026-01-02T03:04:05.000000006Z
//	file: blake3:…          digest of the generation file, or none
//	file-size: 123
//	root: blake3:…
//	policy: blake3:…
//	directories: 10
//	entries: 100
//	tool-version: "1.0"
//	tool-digest: blake3:…   of the binary that wrote it, or none
//	report: "…"             the report that was accepted, empty for an init
//	approver: "…"
//	authority: host         or operator, or none where it is not signed
//	signer: "SHA256:…"      fingerprint of the key that signs it
//	delegation: blake3:…    of the operator's text under which the host accepted; else there is no such line
//	reason: "…"
//	pruned: 1 2             generation files deleted with this one, or none
//	digest: blake3:…
//
// There is one spelling for each statement: Parse refuses every other. The
// signature is an SSHSIG in the namespace [Namespace] over exactly these bytes.
package statement

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"intact/scanner/digest"
)

// Format is the first line's value in the only version that is read.
const Format = "intact.statement/2"

// firstFormat had no signer. It was before the first release.
const firstFormat = "intact.statement/1"

// Namespace is what a signature of a statement is made for.
const Namespace = "intact-baseline@v1"

// MaxSize bounds the text that Parse accepts, in bytes.
const MaxSize = 64 << 10

// MaxText bounds each quoted value, in bytes before quoting. Text cuts longer
// ones.
const MaxText = 2048

// Authority says whose approval a statement is.
type Authority string

// The authorities. A stand-alone host approves what it finds with its own key;
// an operator's key never lies on a monitored host.
const (
	None     Authority = "none" // not signed
	Host     Authority = "host"
	Operator Authority = "operator"
)

// Errors of Parse and Follows. All mean: do not trust it.
var (
	ErrFormat    = errors.New("statement of a development version before the first release")
	ErrMalformed = errors.New("malformed statement")
	ErrDigest    = errors.New("statement does not match its digest")
	ErrChain     = errors.New("statement does not follow from the previous one")
)

// Statement describes one generation. It is made by a store and read from its
// text; the zero value is not valid.
type Statement struct {
	HostID      string // 32 lower-case hex digits
	Generation  uint64 // from 1
	Previous    digest.Digest
	Restart     bool          // it begins a chain of its own; Previous is zero where that could not be read
	File        digest.Digest // of all bytes of the generation file; zero in an import
	FileSize    int64
	Root        digest.Digest
	Policy      digest.Digest
	Directories int64 // stored directories that are not empty
	Entries     int64
	Pruned      []uint64      // ascending
	Delegation  digest.Digest // under which the host's own key signs; zero: by whatever right it has
	Note
}

// Note is the part of a statement that the caller of the store knows.
type Note struct {
	HostName    string
	Created     time.Time // zero: now
	ToolVersion string
	ToolDigest  digest.Digest // of the running binary, zero if unknown
	Report      string        // id of the report that is accepted, "" for an init
	Approver    string
	Authority   Authority // "" is None
	Signer      string    // fingerprint, "" where it is not signed
	Reason      string
}

// Text returns the one spelling of s, the digest line included.
func (s *Statement) Text() []byte {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + ": " + value + "\n") }
	line("format", Format)
	line("host-id", s.HostID)
	line("host-name", quote(s.HostName))
	line("generation", strconv.FormatUint(s.Generation, 10))
	line("previous", s.Previous.NamedOrNone())
	line("restart", yesNo(s.Restart))
	line("created", s.Created.UTC().Format(time.RFC3339Nano))
	line("file", s.File.NamedOrNone())
	line("file-size", strconv.FormatInt(s.FileSize, 10))
	line("root", s.Root.Named())
	line("policy", s.Policy.Named())
	line("directories", strconv.FormatInt(s.Directories, 10))
	line("entries", strconv.FormatInt(s.Entries, 10))
	line("tool-version", quote(s.ToolVersion))
	line("tool-digest", s.ToolDigest.NamedOrNone())
	line("report", quote(s.Report))
	line("approver", quote(s.Approver))
	line("authority", string(cmp.Or(s.Authority, None)))
	line("signer", quote(s.Signer))
	if s.Delegation != (digest.Digest{}) {
		line(delegation, s.Delegation.Named())
	}
	line("reason", quote(s.Reason))
	line("pruned", numbers(s.Pruned))
	sum := digest.Sum([]byte(b.String()))
	line("digest", sum.Named())
	return []byte(b.String())
}

// Digest returns the digest of the whole text: what the next statement names
// as its previous one.
func (s *Statement) Digest() digest.Digest { return digest.Sum(s.Text()) }

// Short returns the root in a form that two people can compare: the first 20
// hex digits in groups of four.
func (s *Statement) Short() string { return Short(s.Root) }

// Short returns d as its first 20 hex digits in groups of four.
func Short(d digest.Digest) string {
	h := d.String()
	return h[0:4] + " " + h[4:8] + " " + h[8:12] + " " + h[12:16] + " " + h[16:20]
}

// Follows checks that s stands directly behind prev in one chain. A nil prev
// is right only for the first generation, and for one that started over: that
// stands behind anything, since what was there before was not trusted. Errors
// wrap ErrChain.
func (s *Statement) Follows(prev *Statement) error {
	switch {
	case s.Restart && s.Generation == 1:
		return fmt.Errorf("%w: generation 1 started over from nothing", ErrChain)
	case s.Restart:
		return nil
	case prev == nil && s.Generation == 1 && s.Previous == digest.Digest{}:
		return nil
	case prev == nil:
		return fmt.Errorf("%w: generation %d names a previous one that is missing", ErrChain, s.Generation)
	case prev.HostID != s.HostID:
		return fmt.Errorf("%w: generation %d is of host %q, generation %d of host %q", ErrChain, prev.Generation, prev.HostID, s.Generation, s.HostID)
	case prev.Generation+1 != s.Generation:
		return fmt.Errorf("%w: generation %d stands behind %d", ErrChain, s.Generation, prev.Generation)
	case prev.Digest() != s.Previous:
		return fmt.Errorf("%w: generation %d names another generation %d", ErrChain, s.Generation, prev.Generation)
	}
	return nil
}

// delegation is the key of the one line that need not be there.
const delegation = "delegation"

// quote cuts at MaxText, so that no reason can make a statement unreadable.
func quote(s string) string {
	if len(s) > MaxText {
		s = s[:MaxText]
	}
	return strconv.QuoteToASCII(s)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func numbers(n []uint64) string {
	if len(n) == 0 {
		return "none"
	}
	s := make([]string, len(n))
	for i, v := range n {
		s[i] = strconv.FormatUint(v, 10)
	}
	return strings.Join(s, " ")
}
