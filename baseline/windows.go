package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"intact/baseline/seal"
	"intact/baseline/statement"
)

// The file windows holds the maintenance windows of the host, in the order of
// time. Each is this text with its signature, an armored SSHSIG, behind it:
//
//	format: intact.window/1
//	id: 0f…                 16 hex digits, random
//	host-id: 0f…            32 hex digits
//	opened: 2026-11-26T22:21:15.000000000Z
//	until: …                at most MaxWindow after that
//	closed: …               or never; not after until
//	opened-by: "…"          quoted as Go quotes strings
//	reason: "…"
//	closed-by: "…"          empty where it was not closed
//	closing: "…"            why it was closed, may be empty
//	authority: host         or operator: whose key signed it
//	signer: SHA256:…
//
// Windows do not overlap. Who closes one writes and signs it anew.
const windowFormat = "intact.window/1"

// What bounds a window and the file of them.
const (
	MaxWindow     = 7 * 24 * time.Hour
	MaxReason     = 500 // bytes of each text, before quoting
	MaxWindows    = 100
	windowsFile   = "windows"
	maxWindowText = 16 << 10
	maxWindows    = MaxWindows * (maxWindowText + 4<<10)
	windowTime    = "2006-01-02T15:04:05.000000000Z"
	windowOpen    = "never"
)

// ErrWindows is wrapped by errors about the file of maintenance windows.
var ErrWindows = errors.New("maintenance windows are not as they were written")

// Window is a span of time in which changes are expected: [Opened, End). It is
// a mark for people, and accepts nothing.
type Window struct {
	ID, HostID string
	Opened     time.Time
	Until      time.Time
	Closed     time.Time // before Until by hand; zero: it was not
	OpenedBy   string
	Reason     string
	ClosedBy   string
	Closing    string // why it was closed
	Authority  statement.Authority
	Signer     string // fingerprint

	Armor []byte // the signature of Text
}

// End returns when the window ends or ended.
func (w *Window) End() time.Time {
	if w.Closed.IsZero() {
		return w.Until
	}
	return w.Closed
}

// Signed returns when the window was signed, by its own word.
func (w *Window) Signed() time.Time {
	if w.Closed.IsZero() {
		return w.Opened
	}
	return w.Closed
}

// Text is the one spelling of the window, which is signed.
func (w *Window) Text() []byte {
	at := func(t time.Time) string {
		if t.IsZero() {
			return windowOpen
		}
		return t.UTC().Format(windowTime)
	}
	return fmt.Appendf(nil, "format: %s\nid: %s\nhost-id: %s\nopened: %s\nuntil: %s\nclosed: %s\nopened-by: %s\nreason: %s\nclosed-by: %s\nclosing: %s\nauthority: %s\nsigner: %s\n",
		windowFormat, w.ID, w.HostID, at(w.Opened), at(w.Until), at(w.Closed), strconv.QuoteToASCII(w.OpenedBy), strconv.QuoteToASCII(w.Reason),
		strconv.QuoteToASCII(w.ClosedBy), strconv.QuoteToASCII(w.Closing), w.Authority, w.Signer)
}

var windowLines = [...]string{"format", "id", "host-id", "opened", "until", "closed", "opened-by", "reason", "closed-by", "closing", "authority", "signer"}

var (
	windowID   = regexp.MustCompile(`^[0-9a-f]{16}$`)
	windowSign = regexp.MustCompile(`^SHA256:[0-9A-Za-z+/]{43}$`)
)

// parseWindow reads exactly what Text writes of a window that holds together.
func parseWindow(text []byte) (w Window, err error) {
	lines := strings.Split(string(text), "\n")
	if len(text) > maxWindowText || len(lines) != len(windowLines)+1 {
		return w, errors.New("no window at all")
	}
	var v [len(windowLines)]string
	for i, key := range windowLines {
		v[i], _ = strings.CutPrefix(lines[i], key+": ")
	}
	w.ID, w.HostID, w.Authority, w.Signer = v[1], v[2], statement.Authority(v[10]), v[11]
	for i, t := range []*time.Time{&w.Opened, &w.Until, &w.Closed} {
		if s := v[3+i]; err == nil && (i < 2 || s != windowOpen) {
			*t, err = time.Parse(windowTime, s)
		}
	}
	for i, s := range []*string{&w.OpenedBy, &w.Reason, &w.ClosedBy, &w.Closing} {
		if err == nil {
			*s, err = strconv.Unquote(v[6+i])
		}
	}
	switch {
	case err != nil:
	case !bytes.Equal(w.Text(), text):
		err = errors.New("not in its one spelling")
	default:
		err = w.sound()
	}
	return w, err
}

// sound refuses a window that is none, or is longer than one may be.
func (w *Window) sound() error {
	switch {
	case !windowID.MatchString(w.ID) || !statement.ValidHostID(w.HostID) || !windowSign.MatchString(w.Signer):
		return errors.New("no id, no host or no signer")
	case w.Authority != statement.Host && w.Authority != statement.Operator:
		return errors.New("neither the host nor an operator")
	case max(len(w.OpenedBy), len(w.Reason), len(w.ClosedBy), len(w.Closing)) > MaxReason || strings.TrimSpace(w.Reason) == "":
		return errors.New("no reason, or a text that is too long")
	case !w.Opened.Before(w.Until) || w.Until.Sub(w.Opened) > MaxWindow:
		return fmt.Errorf("%s to %s is not a span of at most 7 days", w.Opened.Format(windowTime), w.Until.Format(windowTime))
	case !w.Closed.IsZero() && (w.Closed.Before(w.Opened) || w.Closed.After(w.Until)):
		return errors.New("closed before or after it was open")
	case w.Closed.IsZero() && w.ClosedBy+w.Closing != "":
		return errors.New("closed by somebody, and not closed")
	}
	return nil
}

// ParseWindows reads what is in a file of windows of the host and says what is
// wrong with it: nothing of such a file counts. Who signed is not judged.
func ParseWindows(file []byte, host string) (list []Window, err error) {
	if len(file) == 0 {
		return nil, fmt.Errorf("%w: the file is empty", ErrWindows)
	}
	for rest := file; len(rest) > 0; {
		if len(list) == MaxWindows {
			return nil, fmt.Errorf("%w: more than %d", ErrWindows, MaxWindows)
		}
		text, armor, behind, ok := cutSigned(rest)
		if !ok {
			return nil, fmt.Errorf("%w: window %d has no signature", ErrWindows, len(list)+1)
		}
		w, err := parseWindow(text)
		if err != nil {
			return nil, fmt.Errorf("%w: window %d: %w", ErrWindows, len(list)+1, err)
		}
		if w.HostID != host {
			return nil, fmt.Errorf("%w: window %d is of host %s, this is %s", ErrWindows, len(list)+1, w.HostID, host)
		}
		if n := len(list); n > 0 && w.Opened.Before(list[n-1].End()) {
			return nil, fmt.Errorf("%w: window %d was opened before the end of the one before it", ErrWindows, n+1)
		}
		w.Armor = armor
		list, rest = append(list, w), behind
	}
	return list, nil
}

// cutSigned cuts a text and its armored signature off a file. No line of a
// window can be the frame of a signature: see Text.
func cutSigned(b []byte) (text, armor, rest []byte, ok bool) {
	at := bytes.Index(b, []byte("\n"+seal.ArmorBegin))
	if at < 0 {
		return nil, nil, nil, false
	}
	text, armor = b[:at+1], b[at+1:]
	end := bytes.Index(armor, []byte(seal.ArmorEnd))
	if end < 0 {
		return nil, nil, nil, false
	}
	end += len(seal.ArmorEnd)
	return text, armor[:end], armor[end:], true
}

// Windows reads the windows of the host, in the order of time. Nothing is said
// of their signatures. The error wraps fs.ErrNotExist where there are none, and
// ErrWindows where the file is not one that PutWindows wrote.
func (s *Store) Windows(host string) ([]Window, error) {
	b, err := readSmall(s.path(windowsFile), maxWindows)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWindows, cause(err))
	}
	return ParseWindows(b, host)
}

// WindowsPath is the name of the file of windows.
func (s *Store) WindowsPath() string { return s.path(windowsFile) }

// PutWindows replaces the windows of the host; there is at least one. The
// caller holds Lock.
func (s *Store) PutWindows(list []Window, host string) error {
	var b []byte
	for i := range list {
		b = append(append(b, list[i].Text()...), list[i].Armor...)
	}
	_, err := ParseWindows(b, host) // as a reader will
	if err == nil {
		err = s.writeFile(s.path(windowsFile), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write maintenance windows: %w", cause(err))
	}
	return nil
}
