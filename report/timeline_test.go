package report

import (
	"bytes"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"intact/scanner/entry"
)

// moments have hostile names and times that no calendar has.
func moments() []*Moment {
	known := entry.Type | entry.Mode | entry.UID | entry.GID | entry.Size | entry.Inode | entry.Mtime | entry.Ctime
	at := func(sec int64, nsec uint32) entry.Time { return entry.Time{Sec: sec, Nsec: nsec} }
	file := func(mode uint16, uid uint32, size int64) *entry.Entry {
		return &entry.Entry{Kind: entry.File, Have: known | entry.Btime, Mode: mode, UID: uid, GID: 33, Size: size, Inode: math.MaxUint64,
			Mtime: at(1772330400, 0), Ctime: at(1772330400, 5), Btime: at(1772330399, 999999999)}
	}
	early := &entry.Entry{Kind: entry.Dir, Have: known, Mode: 0o1777, UID: 4294967294, Size: 4096, Mtime: at(math.MinInt64, 0), Ctime: at(-1, 1)}
	return []*Moment{
		{Time: early.Mtime, Which: Modified, Path: "/tmp", Entry: early},
		{Time: early.Ctime, Which: Changed, Path: "/tmp", Entry: early, Marks: MarkUnknown},
		{Time: at(1772330400, 0), Which: Modified, Path: "/etc/" + hostile, Entry: file(0o4755, 66, 12), Marks: MarkNew | MarkUnvouched | MarkWholeSecond},
		{Time: at(1772330400, 5), Which: Changed | Born, Path: "/etc/a|b|c", Entry: file(0o2644, 0, 0), Marks: MarkChanged},
		{Time: at(1772330400, 5), Which: Modified | Changed | Born, Path: "/etc/|\r\n0|/etc/forged  -  /etc/x", Entry: &entry.Entry{Kind: entry.Symlink, Have: known, Mode: 0o777}},
		{Time: at(math.MaxInt64, 999999999), Which: Modified, Path: "/dev/x", Entry: &entry.Entry{Kind: entry.BlockDevice, Have: known, Mode: 0o660, Mtime: at(math.MaxInt64, 0)}, Marks: MarkFuture | MarkBeforeBirth},
		{Path: "/gone/" + hostile, Entry: file(0o600, 33, math.MaxInt64), Marks: MarkGone},
	}
}

// written gives every moment to a writer of t.
func written(t *testing.T, write func(*Timeline, *Moment) error) []byte {
	t.Helper()
	var b bytes.Buffer
	tl := NewTimeline(&b, Names{names, names}, time.FixedZone("CET", 3600))
	for _, m := range moments() {
		if err := write(tl, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := tl.Legend(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTimelineGolden(t *testing.T) {
	for name, write := range map[string]func(*Timeline, *Moment) error{
		"want.txt": (*Timeline).Text, "want.jsonl": (*Timeline).JSON, "want.body": (*Timeline).Body,
	} {
		got := written(t, write)
		golden(t, filepath.Join("testdata", "timeline", name), got)
		for r := range strings.SplitSeq(string(got), "") {
			if c, _ := utf8.DecodeRuneInString(r); c != '\n' && hidden(c) || !utf8.ValidString(r) {
				t.Errorf("%s has an unescaped %q", name, r)
			}
		}
	}
}

// Each moment is one line of eleven fields, whatever it is called.
func TestBodyFields(t *testing.T) {
	lines := bytes.Split(bytes.TrimSpace(written(t, (*Timeline).Body)), []byte("\n"))
	if len(lines) != len(moments()) {
		t.Fatalf("%d lines of %d moments", len(lines), len(moments()))
	}
	for _, l := range lines {
		if n := bytes.Count(l, []byte("|")); n != 10 {
			t.Errorf("%d separators in %q, want 10", n, l)
		}
	}
}

// The bytes of each path can be had back from JSON.
func TestTimelineJSONPaths(t *testing.T) {
	lines := bytes.Split(bytes.TrimSpace(written(t, (*Timeline).JSON)), []byte("\n"))
	for i, m := range moments() {
		var got struct {
			Path string `json:"path"`
			Raw  []byte `json:"path_b64"`
		}
		if err := json.Unmarshal(lines[i], &got); err != nil {
			t.Fatalf("%s: %v", lines[i], err)
		}
		if got.Raw == nil {
			got.Raw = []byte(got.Path)
		}
		if string(got.Raw) != string(m.Path) {
			t.Errorf("%q came back as %q", m.Path, got.Raw)
		}
	}
}
