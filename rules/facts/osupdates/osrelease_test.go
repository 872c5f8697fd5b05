package osupdates

import (
	"strings"
	"testing"
	"time"

	"intact/scanner/strict"
)

func TestParseOSRelease(t *testing.T) {
	v, err := parseOSRelease("/etc/os-release", []byte("# c\n\nID=debian\nPRETTY_NAME=\"Debian \\\"x\\\" \\$HOME \\n\"\nNAME='It s'\nVERSION_ID=\"12\"\nEMPTY=\nID=debian\n"))
	if err != nil || v["ID"] != "debian" || v["PRETTY_NAME"] != `Debian "x" $HOME \n` || v["NAME"] != "It s" || v["VERSION_ID"] != "12" {
		t.Errorf("got %q, %v", v, err)
	}
	for _, bad := range []string{
		"ID", "=x", "id=x", "1D=x", "ID =x", "ID=a b", "ID=\"a", "ID=\"a\"b", "ID='a'b'", "ID=`id`", "NAME=\"$(id)\"", "NAME=$HOME", "ID=\x00",
		"ID=debian\nID=ubuntu", "ID=DEBIAN", "ID=../x", "VERSION_ID=\"1 2\"", "VERSION_ID=" + strings.Repeat("1", 200), "\x1b[31m=1", "export ID=x",
	} {
		if v, err := parseOSRelease("f", []byte(bad)); err == nil || v != nil {
			t.Errorf("%q: got %q", bad, v)
		}
	}
	if _, err := parseOSRelease("f", []byte("A=1\n\nID")); err == nil || !strings.Contains(err.Error(), `"f":3:`) {
		t.Errorf("no line: %v", err)
	}
}

func TestJudge(t *testing.T) {
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, tt := range []struct {
		id, version, now string
		known, supported bool
	}{
		{"debian", "12", "2028-06-30 23:59:59", true, true},
		{"debian", "12", "2028-07-01 00:00:00", true, false},
		{"debian", "", "2028-07-01 00:00:00", false, false},
		{"debian", "99", "2020-07-01 00:00:00", false, false},
		{"ubuntu", "24.04", "2026-11-27 00:00:00", true, true},
		{"ubuntu", "24", "2026-11-27 00:00:00", false, false},
		{"rhel", "9.4", "2026-11-27 00:00:00", true, true},
		{"amzn", "2023", "2029-06-30 12:00:00", true, true},
		{"amzn", "2", "2026-07-01 00:00:00", true, false},
		{"ubuntu", "26.10", "2026-11-27 00:00:00", true, true},
		{"alpine", "3.20.3", "2026-11-27 00:00:00", true, false},
		{"sles", "15", "2018-11-27 00:00:00", true, true},
		{"sles", "15.99", "2018-11-27 00:00:00", false, false},
		{"gentoo", "2.15", "2018-11-27 00:00:00", false, false},
	} {
		r := Release{ID: tt.id, VersionID: tt.version}
		if err := r.judge(eolTable, day(tt.now)); err != nil || r.EOLKnown != tt.known || r.Supported != tt.supported || (r.Source != "") != tt.known {
			t.Errorf("%s %s: got %+v, %v", tt.id, tt.version, r, err)
		}
	}
}

// Every row of the table has its dates, in order, and nothing else.
func TestEOLTable(t *testing.T) {
	root, err := strict.Parse("eol.yaml", eolTable)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range root.Need("systems").Items() {
		id := s.Need("system").Text()
		if seen[id] {
			t.Errorf("%s stands there twice", id)
		}
		seen[id] = true
		if parts := s.Need("parts").Int(1, 2); parts == 0 || s.Need("as_of").Date().IsZero() || !strings.HasPrefix(s.Need("source").Text(), "https://") {
			t.Errorf("%s: no source", id)
		}
		for _, v := range s.Need("releases").Keys() {
			d := s.Need("releases").Get(v.Text())
			standard, until, extended := d.Need("standard").Date(), d.Need("until").Date(), d.Get("extended").Date()
			if standard.After(until) || !extended.IsZero() && !extended.After(until) {
				t.Errorf("%s %s: its dates are out of order", id, v.Text())
			}
			d.Unknown()
		}
		s.Unknown()
	}
	root.Unknown()
	if err := root.Err(); err != nil {
		t.Error(err)
	}
}

func FuzzOSRelease(f *testing.F) {
	f.Add([]byte("ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='x'\n# c\n"))
	f.Add([]byte("ID=\"a\\\"b\"\r\n\x00=\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseOSRelease("f", b)
		if (err == nil) != (v != nil) || len(v) > maxOSFields {
			t.Fatalf("%q, %v", v, err)
		}
		for name, value := range v {
			if !osName(name) || strings.IndexByte(value, 0) >= 0 || name == "ID" && !osWord(value) {
				t.Errorf("%q=%q", name, value)
			}
		}
	})
}
