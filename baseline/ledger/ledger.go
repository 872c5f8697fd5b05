// Package ledger is the text that says what each log held at one look, and
// the chain of such looks. It does no I/O and knows nothing of the store.
//
// A baseline is what somebody accepted; a ledger is what was observed since.
// Logs grow and are rotated between two acceptances, so the next look is held
// against the newest entry too. Each entry is whole: it has every log, in tree
// order, and names the entry before it by its digest.
//
//	format: intact.ledger/1
//	host-id: 0f…            32 hex digits
//	entry: 7                from 1
//	previous: blake3:…      of the text of entry 6, or none
//	restart: no             yes: entry 6 could not be used
//	time: 2026-01-02T03:04:05.000000006Z
//	signer: "SHA256:…"      fingerprint of the host's key for reports
//	logs: 2
//	there "/var/log/syslog" inode=77 born=1700000000.000000001 length=4096 content=… held=… rotated=3 last=1700000000 least=86400
//	gone "/var/log/syslog.4.gz" held=…
//	digest: blake3:…        of all lines before it
//
// What is known of a file of the systemd journal has one more word, and makes the
// format intact.ledger/2; length and content are then those of the stream that
// journal.Read makes of it:
//
//	there "/var/log/journal/…/system.journal" inode=… least=0 journal=file,machine,seqnum,state,entries,head,tail,first,last
//
// There is one spelling for each entry: Parse refuses every other.
package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/journal"
)

// Formats are the values of the first line: of an entry without journals, and of
// one with some.
const (
	Format         = "intact.ledger/1"
	FormatJournals = "intact.ledger/2"
)

// What bounds an entry: MaxLogs of them, MaxSize bytes of text.
const (
	MaxLogs = 100_000
	MaxSize = 64 << 20
)

// maxPath bounds the path of one log in bytes.
const maxPath = 32_000

// Errors of Parse and Follows. All mean: do not trust it.
var (
	ErrMalformed = errors.New("malformed entry of the ledger of logs")
	ErrDigest    = errors.New("the entry of the ledger of logs does not match its digest")
	ErrChain     = errors.New("the entry of the ledger of logs does not follow from the one before it")
)

// Held says which content of the baseline a log was proved to still account
// for at a look: that content stood there, or was followed to where rotation
// put it.
type Held struct {
	OK   bool
	Cut  bool          // it is not, and a look found the log cut or rewritten since
	Base digest.Digest // what the baseline has under that path; zero: nothing
}

// Log is one log as a look found it.
type Log struct {
	Path    entry.Path
	Gone    bool // nothing stands there, and Held says that this is in order; the rest is zero
	Inode   uint64
	Born    entry.Time // zero where the file system does not say
	Length  int64
	Content digest.Digest // of all Length bytes, as they stand on the disk
	Held    Held
	Cadence
	Journal *journal.Facts // nil: it is no journal, or could not be read as one
}

// Cadence is how often a log was rotated, as far as looks could tell.
type Cadence struct {
	Rotations int64
	Last      int64 // seconds since 1970, when a look last met a rotation
	Least     int64 // the least seconds from one rotation to the next, 0: not known
}

// Entry is one look at all logs.
type Entry struct {
	HostID   string
	Number   uint64
	Previous digest.Digest // zero: none
	Restart  bool
	Time     time.Time
	Signer   string
	Logs     []Log // in tree order
}

// Text returns the one spelling of e, which is signed.
func (e *Entry) Text() []byte {
	b := make([]byte, 0, 512+256*len(e.Logs))
	b = fmt.Appendf(b, "format: %s\nhost-id: %s\nentry: %d\nprevious: %s\nrestart: %s\ntime: %s\nsigner: %s\nlogs: %d\n", e.format(), e.HostID, e.Number,
		e.Previous.NamedOrNone(), yesNo(e.Restart), e.Time.UTC().Format(time.RFC3339Nano), strconv.QuoteToASCII(e.Signer), len(e.Logs))
	for i := range e.Logs {
		b = e.Logs[i].append(b)
	}
	return fmt.Appendf(b, "digest: %s\n", digest.Sum(b).Named())
}

// Digest returns the digest of the whole text: what the next entry names.
func (e *Entry) Digest() digest.Digest { return digest.Sum(e.Text()) }

func (l *Log) append(b []byte) []byte {
	path := strconv.QuoteToASCII(string(l.Path))
	if l.Gone {
		return fmt.Appendf(b, "gone %s held=%s\n", path, l.Held)
	}
	b = fmt.Appendf(b, "there %s inode=%d born=%d.%09d length=%d content=%s held=%s rotated=%d last=%d least=%d", path,
		l.Inode, l.Born.Sec, l.Born.Nsec, l.Length, l.Content, l.Held, l.Rotations, l.Last, l.Least)
	if j := l.Journal; j != nil {
		b = fmt.Appendf(b, " journal=%s,%s,%s,%d,%d,%d,%d,%d,%d", j.File, j.Machine, j.Seqnum, j.State, j.Entries, j.Head, j.Tail, j.First, j.Last)
	}
	return append(b, '\n')
}

func (e *Entry) format() string {
	for i := range e.Logs {
		if e.Logs[i].Journal != nil {
			return FormatJournals
		}
	}
	return Format
}

// String is the spelling of h in the text.
func (h Held) String() string {
	switch {
	case h.Cut:
		return "cut"
	case !h.OK:
		return "no"
	case h.Base == (digest.Digest{}):
		return "nothing"
	}
	return h.Base.String()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Parse reads exactly what Text writes of an entry that holds together.
func Parse(text []byte) (*Entry, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxSize)
	}
	at := bytes.LastIndex(text[:max(len(text)-1, 0)], []byte("\n")) + 1
	if string(text[at:]) != "digest: "+digest.Sum(text[:at]).Named()+"\n" {
		return nil, ErrDigest
	}
	p := parser{rest: string(text[:at])}
	e := p.head()
	for p.err == nil && p.rest != "" {
		if len(e.Logs) == MaxLogs {
			p.fail("more than %d logs", MaxLogs)
			break
		}
		e.Logs = append(e.Logs, p.log())
	}
	if p.err != nil {
		return nil, p.err
	}
	if err := e.sound(); err != nil {
		return nil, err
	}
	if !bytes.Equal(e.Text(), text) {
		return nil, fmt.Errorf("%w: not in its one spelling", ErrMalformed)
	}
	return e, nil
}

// sound refuses what no look finds.
func (e *Entry) sound() error {
	if e.Number == 0 || (e.Number == 1) != (e.Previous == (digest.Digest{})) || e.Number == 1 && e.Restart || e.Time.IsZero() {
		return fmt.Errorf("%w: number, previous entry and time do not go together", ErrMalformed)
	}
	var last []byte
	for i := range e.Logs {
		l := &e.Logs[i]
		switch key := l.Path.Key(); {
		case len(l.Path) > maxPath || !strings.HasPrefix(string(l.Path), "/") || strings.IndexByte(string(l.Path), 0) >= 0:
			return fmt.Errorf("%w: %q is no path", ErrMalformed, l.Path[:min(len(l.Path), 100)])
		case i > 0 && bytes.Compare(last, key) >= 0:
			return fmt.Errorf("%w: %q is not in the order of the tree", ErrMalformed, l.Path)
		case l.Length < 0 || l.Born.Nsec > 999_999_999 || l.Rotations < 0 || l.Last < 0 || l.Least < 0 || l.Gone && !l.Held.OK:
			return fmt.Errorf("%w: %q has numbers that no log has", ErrMalformed, l.Path)
		default:
			last = key
		}
	}
	return nil
}

// Follows checks that e is the entry behind old.
func (e *Entry) Follows(old *Entry) error {
	if e.HostID != old.HostID || e.Number != old.Number+1 || e.Previous != old.Digest() {
		return fmt.Errorf("%w: entry %d of host %s", ErrChain, e.Number, e.HostID)
	}
	return nil
}

// parser takes a text apart, a line at a time. The first error sticks.
type parser struct {
	rest string
	line string
	err  error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

func (p *parser) next() {
	var ok bool
	if p.line, p.rest, ok = strings.Cut(p.rest, "\n"); !ok {
		p.fail("it ends within a line")
	}
}

// key takes the next line, which begins with key.
func (p *parser) key(key string) string {
	p.next()
	v, ok := strings.CutPrefix(p.line, key+": ")
	if !ok {
		p.fail("want a line %q", key)
	}
	return v
}

func (p *parser) head() *Entry {
	e := &Entry{}
	if f := p.key("format"); f != Format && f != FormatJournals { // which one, the spelling tells
		p.fail("format %q is not known", f[:min(len(f), 100)])
	}
	e.HostID = p.key("host-id")
	e.Number = uint64(p.number(p.key("entry")))
	if v := p.key("previous"); v != "none" {
		e.Previous = p.digest(strings.TrimPrefix(v, "blake3:"))
	}
	e.Restart = p.key("restart") == "yes"
	var err error
	if e.Time, err = time.Parse(time.RFC3339Nano, p.key("time")); err != nil {
		p.fail("time: %v", err)
	}
	if e.Signer, err = strconv.Unquote(p.key("signer")); err != nil {
		p.fail("signer: %v", err)
	}
	p.number(p.key("logs")) // the spelling is compared as a whole
	return e
}

func (p *parser) log() (l Log) {
	p.next()
	word, rest, _ := strings.Cut(p.line, " ")
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		p.fail("%q: %v", word, err)
		return l
	}
	path, _ := strconv.Unquote(quoted) // a prefix that was found can be
	l.Path, p.line = entry.Path(path), rest[len(quoted):]
	if l.Gone = word == "gone"; l.Gone {
		l.Held = p.held()
		return l
	}
	l.Inode = p.unsigned(p.word("inode"))
	sec, nsec, _ := strings.Cut(p.word("born"), ".")
	l.Born = entry.Time{Sec: p.signed(sec), Nsec: uint32(p.number(nsec))}
	l.Length = p.number(p.word("length"))
	l.Content = p.digest(p.word("content"))
	l.Held = p.held()
	l.Rotations, l.Last, l.Least = p.number(p.word("rotated")), p.number(p.word("last")), p.number(p.word("least"))
	if p.line != "" {
		l.Journal = p.journal()
	}
	return l
}

func (p *parser) journal() *journal.Facts {
	f := strings.Split(p.word("journal"), ",")
	if len(f) != 9 {
		p.fail("a journal has nine words")
		return nil
	}
	j := &journal.Facts{}
	for i, to := range []*journal.ID{&j.File, &j.Machine, &j.Seqnum} {
		var err error
		if *to, err = journal.ParseID(f[i]); err != nil {
			p.fail("%v", err)
		}
	}
	n, err := strconv.ParseUint(f[3], 10, 2)
	if err != nil || n > uint64(journal.Archived) {
		p.fail("state %q", f[3])
	}
	j.State = journal.State(n)
	for i, to := range []*uint64{&j.Entries, &j.Head, &j.Tail, &j.First, &j.Last} {
		*to = p.unsigned(f[4+i])
	}
	return j
}

// word takes " key=value" off the line.
func (p *parser) word(key string) string {
	v, ok := strings.CutPrefix(p.line, " "+key+"=")
	if !ok {
		p.fail("want %s=", key)
		return ""
	}
	v, rest, more := strings.Cut(v, " ")
	if p.line = ""; more {
		p.line = " " + rest
	}
	return v
}

func (p *parser) held() Held {
	switch v := p.word("held"); v {
	case "no":
		return Held{}
	case "cut":
		return Held{Cut: true}
	case "nothing":
		return Held{OK: true}
	default:
		return Held{OK: true, Base: p.digest(v)}
	}
}

func (p *parser) digest(v string) digest.Digest {
	d, err := digest.Parse("blake3:" + v)
	if err != nil {
		p.fail("%v", err)
	}
	return d
}

// number reads a number that is not negative and fits an int64.
func (p *parser) number(v string) int64 {
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil {
		p.fail("%v", err)
	}
	return int64(n)
}

func (p *parser) unsigned(v string) uint64 {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		p.fail("%v", err)
	}
	return n
}

func (p *parser) signed(v string) int64 {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		p.fail("%v", err)
	}
	return n
}
