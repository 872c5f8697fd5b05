package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"intact/scanner/entry"
)

// Mark says something about one object of a timeline. None of them is a
// verdict.
type Mark uint16

// The marks, in the order in which they are shown.
const (
	MarkUnknown     Mark = 1 << iota // there is nothing to compare with
	MarkChanged                      // other than in the baseline
	MarkNew                          // not in the baseline
	MarkUnvouched                    // new, and nothing says who brought it
	MarkGone                         // in the baseline and no longer there
	MarkFuture                       // times set: a time lies in the future
	MarkBeforeBirth                  // times set: changed before it was born
	MarkWholeSecond                  // times set: modified at a whole second, before it was born
)

// markWords holds the word in text and JSON, and what it means.
var markWords = [...]struct {
	bit         Mark
	word, means string
}{
	{MarkUnknown, "unknown", "the baseline says nothing about it, or there is none to go by"},
	{MarkChanged, "changed", "its metadata is not that of the baseline, or the last check reported a change"},
	{MarkNew, "new", "the baseline does not have it"},
	{MarkUnvouched, "unvouched", "new, and neither a person nor a package accounts for it"},
	{MarkGone, "gone", "the baseline has it, and it is no longer there: when it went is not known, what is shown is as the baseline has it"},
	{MarkFuture, "times-set:future", "a time lies after this look: it was set by hand, or the clock was ahead"},
	{MarkBeforeBirth, "times-set:before-birth", "the change time, which no program can set, lies before the birth: the clock was set back, or the disk was written past the file system"},
	{MarkWholeSecond, "times-set:whole-second", "the modification time is a whole second before the birth and the change time is not: a program set it, as archives, packages, cp -p and touch -d do"},
}

// Words returns the words of m in order.
func (m Mark) Words() (words []string) {
	for _, w := range markWords {
		if m&w.bit != 0 {
			words = append(words, w.word)
		}
	}
	return words
}

// MACB is a set of the times of an object: M modified, A accessed, C changed,
// B born.
type MACB uint8

// The times of an object.
const (
	Modified MACB = 1 << iota
	Accessed
	Changed
	Born
)

// String returns four places, each the letter or a dot.
func (m MACB) String() string {
	b := []byte("macb")
	for i := range b {
		if m&(1<<i) == 0 {
			b[i] = '.'
		}
	}
	return string(b)
}

// Moment is one line of a timeline: those times of an object that are equal.
type Moment struct {
	Time  entry.Time   // without meaning where Which is 0
	Which MACB         // 0: when is not known
	Path  entry.Path   // any bytes
	Entry *entry.Entry // what stat(2) told of it
	Marks Mark
}

// Names gives users and groups their names, of any bytes.
type Names struct{ User, Group func(uint32) string }

// Timeline writes moments, one a line, in the order in which they come. Nothing
// that it writes can steer a terminal or end a line.
type Timeline struct {
	w     io.Writer
	names Names
	loc   *time.Location // of the text
	line  []byte
	marks Mark // that were shown
	gone  bool // the heading of what is gone was written
}

// NewTimeline writes to w, which should be buffered. loc is for the text alone.
func NewTimeline(w io.Writer, names Names, loc *time.Location) *Timeline {
	return &Timeline{w: w, names: names, loc: loc}
}

// Text writes m for people:
//
//	TIME  macb  MODE  USER:GROUP  SIZE  MARKS  PATH
//
// The path comes last, so that no name can pretend to be a column behind it.
func (t *Timeline) Text(m *Moment) error {
	e := m.Entry
	when := "-"
	if m.Which != 0 {
		when = localTime(m.Time, t.loc)
	} else if !t.gone {
		t.gone = true
		if _, err := io.WriteString(t.w, "\ngone since the baseline, when is not known:\n"); err != nil {
			return err
		}
	}
	t.marks |= m.Marks
	marks := strings.Join(m.Marks.Words(), ",")
	if marks == "" {
		marks = "-"
	}
	owner := word(t.names.User(e.UID)) + ":" + word(t.names.Group(e.GID))
	t.line = fmt.Appendf(t.line[:0], "%-35s  %s  %s%s  %-13s  %10d  %-13s  %s\n",
		when, m.Which, lsType(e.Kind), rwx(e.Mode), owner, e.Size, marks, Escape(string(m.Path)))
	_, err := t.w.Write(t.line)
	return err
}

// Legend writes what the marks of the text mean that were shown.
func (t *Timeline) Legend() error {
	if t.marks == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, w := range markWords {
		if t.marks&w.bit != 0 {
			fmt.Fprintf(&b, "%-22s  %s\n", w.word, w.means)
		}
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

// word is a name in one column: a space in it would begin another.
func word(s string) string { return strings.ReplaceAll(Escape(s), " ", `\x20`) }

// localTime has a fixed width where the year has four digits.
func localTime(t entry.Time, loc *time.Location) string {
	if !spellable(t) {
		return "@" + strconv.FormatInt(t.Sec, 10)
	}
	return time.Unix(t.Sec, int64(t.Nsec)).In(loc).Format("2006-01-02 15:04:05.000000000 -0700")
}

// spellable reports whether t has a spelling in RFC 3339 everywhere: years 1 to
// 9998 of UTC.
func spellable(t entry.Time) bool { return t.Sec > -62135596800+86400 && t.Sec < 253370764800 }

func lsType(k entry.Kind) string {
	return map[entry.Kind]string{entry.File: "-", entry.Dir: "d", entry.Symlink: "l", entry.FIFO: "p", entry.Socket: "s",
		entry.CharDevice: "c", entry.BlockDevice: "b"}[k]
}

// JSON writes m as an object on a line. "time" is RFC 3339 in UTC with nine
// digits, "@" and seconds since 1970 where the year has no four digits, null
// where it is not known.
func (t *Timeline) JSON(m *Moment) error {
	e := m.Entry
	c := coder{b: t.line[:0]}
	text := func(name, s string) { c.text(name, &s) }
	c.open()
	c.key("time")
	if c.null(m.Which != 0) {
		s := "@" + strconv.FormatInt(m.Time.Sec, 10)
		if spellable(m.Time) {
			s = entry.TextTime(m.Time)
		}
		c.string(&s)
	}
	text("macb", m.Which.String())
	text("path", string(m.Path))
	text("type", e.Kind.String())
	text("mode", fmt.Sprintf("%04o", e.Mode))
	c.key("uid")
	c.b = strconv.AppendUint(c.b, uint64(e.UID), 10)
	text("user", t.names.User(e.UID))
	c.key("gid")
	c.b = strconv.AppendUint(c.b, uint64(e.GID), 10)
	text("group", t.names.Group(e.GID))
	c.key("size")
	c.b = strconv.AppendInt(c.b, e.Size, 10)
	c.key("inode")
	c.b = strconv.AppendUint(c.b, e.Inode, 10)
	words := m.Marks.Words()
	c.texts("mark", &words, true)
	c.close()
	if c.err != nil {
		return c.err
	}
	t.line = append(c.b, '\n')
	_, err := t.w.Write(t.line)
	return err
}

// Body writes m as a line of a body file, the input of mactime(1) of The Sleuth
// Kit 3.x:
//
//	MD5|name|inode|mode_as_string|UID|GID|size|atime|mtime|ctime|crtime
//
// It has all times of the object, whole seconds since 1970; what is not known is
// 0. The name is escaped as in the text, "|" and a space at its end too, so that
// it is one field of one line.
func (t *Timeline) Body(m *Moment) error {
	e := m.Entry
	path := strings.TrimRight(string(m.Path), " ")
	name := strings.ReplaceAll(Escape(path), "|", `\x7c`) + strings.Repeat(`\x20`, len(m.Path)-len(path))
	kind := tskType(e.Kind)
	seconds := func(a entry.Attr, t entry.Time) int64 {
		if e.Have&a == 0 {
			return 0
		}
		return t.Sec
	}
	t.line = fmt.Appendf(t.line[:0], "0|%s|%d|%s/%s%s|%d|%d|%d|0|%d|%d|%d\n", name, e.Inode, kind, kind, rwx(e.Mode), e.UID, e.GID,
		min(max(e.Size, 0), math.MaxInt64), seconds(entry.Mtime, e.Mtime), seconds(entry.Ctime, e.Ctime), seconds(entry.Btime, e.Btime))
	_, err := t.w.Write(t.line)
	return err
}

// tskType is the letter that The Sleuth Kit has for a type.
func tskType(k entry.Kind) string {
	return map[entry.Kind]string{entry.File: "r", entry.Dir: "d", entry.Symlink: "l", entry.FIFO: "p", entry.Socket: "h",
		entry.CharDevice: "c", entry.BlockDevice: "b"}[k]
}
