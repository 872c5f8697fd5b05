package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/report"
	"intact/rules"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

func TestParseUntil(t *testing.T) {
	loc := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 26, 22, 0, 0, 7, loc)
	for in, want := range map[string]time.Time{
		"4h": now.Add(4 * time.Hour), "1d12h": now.Add(36 * time.Hour), "0s": now,
		"2026-11-27":           time.Date(2026, 11, 27, 0, 0, 0, 0, loc),
		"2026-11-27 03:04":     time.Date(2026, 11, 27, 3, 4, 0, 0, loc),
		"2026-11-27T03:04:05Z": time.Date(2026, 11, 27, 3, 4, 5, 0, time.UTC),
		"":                     {}, "4": {}, "h": {}, "-4h": {}, "tomorrow": {}, "999999999w": {}, "2026-11-27 3:04": {},
	} {
		got, err := parseUntil(in, now, loc)
		if (err == nil) == want.IsZero() || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
}

// Which time counts, at both ends of a window.
func TestWindowMark(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "there"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	start := time.Now().Add(-time.Hour)
	end := time.Now().Add(time.Hour)
	at := func(t time.Time) *entry.Entry { return &entry.Entry{Have: entry.Ctime, Ctime: timeOf(t)} }
	for _, tt := range []struct {
		name string
		c    *diff.Change
		seen time.Time
		want bool
	}{
		{"the first instant", &diff.Change{Kind: diff.Changed, Path: "/a", New: at(start)}, end, true},
		{"before it", &diff.Change{Kind: diff.Changed, Path: "/a", New: at(start.Add(-1))}, end, false},
		{"the last one", &diff.Change{Kind: diff.Added, Path: "/a", New: at(end.Add(-1))}, end, true},
		{"the end", &diff.Change{Kind: diff.Renamed, Path: "/a", New: at(end)}, end, false},
		{"no change time", &diff.Change{Kind: diff.Changed, Path: "/a", New: &entry.Entry{}}, start, false},
		{"not seen", &diff.Change{Kind: diff.Unverified, Path: "/a", New: at(start)}, start, false},
		{"nothing known", &diff.Change{Kind: diff.Unverified, Path: "/a"}, start, false},
		{"gone, the folder is there", &diff.Change{Kind: diff.Removed, Path: "/there/a"}, end.Add(time.Hour), true},
		{"gone with its folder", &diff.Change{Kind: diff.Removed, Path: "/there/x/y/a"}, end.Add(time.Hour), true},
		{"gone, a file in the place of its folder", &diff.Change{Kind: diff.Removed, Path: "/link/y/a"}, end.Add(time.Hour), true},
		{"gone and missed before", &diff.Change{Kind: diff.Removed, Path: "/there/a"}, start.Add(-1), false},
		{"gone and missed in it", &diff.Change{Kind: diff.Removed, Path: "/there/a"}, start, true},
		{"no file", nil, start, false},
	} {
		m := windowMarks{root: root, list: []windowMark{{Window: baseline.Window{ID: "x"}, span: window{since: timeOf(start), until: timeOf(end)}}}}
		f := rules.Finding{Diff: tt.c}
		if m.mark(&f, tt.seen); (f.Window == "x") != tt.want || (m.list[0].marked == 1) != tt.want {
			t.Errorf("%s: got %q, %d marked", tt.name, f.Window, m.list[0].marked)
		}
	}
}

// Whose signature a window needs: what it says of itself, and the list that
// names that key for it.
func TestJudgeWindow(t *testing.T) {
	var keys [2]seal.Signer
	for i := range keys {
		name := filepath.Join(t.TempDir(), "key")
		if _, err := seal.Generate(name, "x"); err != nil {
			t.Fatal(err)
		}
		var err error
		if keys[i], err = seal.OpenKey(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	list := func(lines ...string) *seal.Signers {
		l, err := seal.ParseSigners("list", []byte(strings.Join(lines, "\n")+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	id := strings.Repeat("0f", 16)
	host, ann := keys[0].Key().Line, keys[1].Key().Line
	own := list("host:" + id + ` namespaces="` + report.Namespace + `" ` + host)
	operators := list(`ann namespaces="`+statement.Namespace+`" `+ann, "host:"+id+` namespaces="`+statement.Namespace+`" `+host)
	for _, tt := range []struct {
		name      string
		authority statement.Authority
		key       seal.Signer
		namespace string
		trust     baseline.Trust
		alter     func(*baseline.Window)
		want      string // "": refused
	}{
		{"the host", statement.Host, keys[0], report.Namespace, baseline.Trust{Host: own}, nil, "host:" + id},
		{"the host, by a list that was brought along", statement.Host, keys[0], report.Namespace, baseline.Trust{Operators: own}, nil, "host:" + id},
		{"an operator", statement.Operator, keys[1], statement.Namespace, baseline.Trust{Host: own, Operators: operators}, nil, "ann"},
		{"the host as an operator", statement.Operator, keys[0], statement.Namespace, baseline.Trust{Host: own, Operators: operators}, nil, ""},
		{"an operator as the host", statement.Host, keys[1], report.Namespace, baseline.Trust{Host: own, Operators: operators}, nil, ""},
		{"no list", statement.Host, keys[0], report.Namespace, baseline.Trust{}, nil, ""},
		{"nobody's list of operators", statement.Operator, keys[1], statement.Namespace, baseline.Trust{Host: own}, nil, ""},
		{"another namespace", statement.Host, keys[0], statement.Namespace, baseline.Trust{Host: own}, nil, ""},
		{"another host", statement.Host, keys[0], report.Namespace, baseline.Trust{Host: own}, func(w *baseline.Window) { w.HostID = strings.Repeat("0e", 16) }, ""},
		{"a signer that it was not", statement.Host, keys[0], report.Namespace, baseline.Trust{Host: own}, func(w *baseline.Window) { w.Signer = keys[1].Key().Fingerprint }, ""},
	} {
		now := time.Now()
		w := baseline.Window{ID: "0a0a0a0a0a0a0a0a", HostID: id, Opened: now, Until: now.Add(time.Hour), Reason: "x", Authority: tt.authority, Signer: tt.key.Key().Fingerprint}
		if tt.alter != nil {
			tt.alter(&w)
		}
		var err error
		if w.Armor, err = tt.key.Sign(tt.namespace, bytes.NewReader(w.Text())); err != nil {
			t.Fatal(err)
		}
		s := &session{store: &baseline.Store{Trust: &tt.trust}}
		if by, err := s.judgeWindow(&w); by != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: got %q, %v", tt.name, by, err)
		}
	}
}
