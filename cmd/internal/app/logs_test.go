package app_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const logLines = "paths:\n  - {path: $T, attributes: log}\n"

func (s *site) appendTo(name, text string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.tree, name), os.O_APPEND|os.O_WRONLY, 0)
	s.must(err)
	_, err = f.WriteString(text)
	s.must(err, f.Close())
}

// rotate renames a log and makes an empty one; older generations go one up.
func (s *site) rotate(name string, keep int) {
	s.t.Helper()
	p := filepath.Join(s.tree, name)
	for i := keep; i > 1; i-- {
		_ = os.Rename(fmt.Sprintf("%s.%d", p, i-1), fmt.Sprintf("%s.%d", p, i)) // it may not be there yet
	}
	s.must(os.Rename(p, p+".1"))
	s.write(name, "")
}

// lost counts the findings about logs in a report.
func (s *site) lost(r result) (n int) {
	for _, l := range of(parse(s.t, r.stdout), "finding") {
		if l.Rule == "fim.log" {
			n++
		}
	}
	return n
}

// Who rotates a log until its lines fall out is too quick for it.
func TestLogPace(t *testing.T) {
	s := newSite(t, logLines)
	s.write("syslog", "first\n")
	s.want(s.init(), 0)
	for day := range 5 {
		s.ahead = time.Duration(day) * 24 * time.Hour
		s.rotate("syslog", 4)
		s.appendTo("syslog", fmt.Sprintf("day %d\n", day))
		s.want(s.check(), 0)
	}
	s.ahead += time.Hour
	for range 3 {
		s.rotate("syslog", 4)
	}
	r := s.want(s.check(), 1)
	if s.lost(r) != 1 || !bytes.Contains(r.stdout, []byte("rotated 3 times in ")) {
		t.Errorf("three rotations in an hour: %v", r)
	}
	s.want(s.check(), 0)
}

func TestHostileLogs(t *testing.T) {
	s := newSite(t, logLines)
	names := []string{"new\nline", "\x1b[2Jesc", "bad\xff\xfe", "r\u202etl", "quote\" held=no", ".1", "a.1.1", strings.Repeat("n", 245)}
	for _, n := range names {
		s.write(n, "said by "+n)
	}
	s.want(s.init(), 0)
	for range 3 {
		for _, n := range names {
			s.appendTo(n, " more")
			s.rotate(n, 3)
		}
		r := s.want(s.check(), 0)
		if len(of(parse(t, r.stdout), "finding")) != 0 {
			t.Fatalf("rotated: %v", r)
		}
	}
	for _, n := range names {
		s.must(os.Remove(filepath.Join(s.tree, n+".1")))
	}
	r := s.want(s.check(), 1)
	if n := s.lost(r); n != len(names) || bytes.ContainsAny(r.stdout, "\x1b\xff") {
		t.Errorf("%d findings of %d: %v", n, len(names), r)
	}
}

// What is packed so that more comes out than was known, or nothing that can be
// read, proves nothing and costs little.
func TestPackedLogs(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 64<<20)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string][]byte{"bomb": bomb.Bytes(), "no gzip": []byte("said")} {
		s := newSite(t, logLines)
		s.write("x", "said this")
		s.want(s.init(), 0)
		s.must(os.Remove(filepath.Join(s.tree, "x")))
		s.write("x", "")
		s.must(os.WriteFile(filepath.Join(s.tree, "x.1.gz"), packed, 0o644))
		if r := s.want(s.check(), 1); s.lost(r) != 1 {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// A check that is killed at any time leaves the old entry in force or the new
// one with its report: what was lost is told by exactly one report.
func TestKillLedger(t *testing.T) {
	onlyPlain(t)
	s := newSite(t, logLines)
	s.write("x", "kept\n")
	s.want(s.init(), 0)
	killed := 0
	for events := 1; ; events += 8 + events {
		s.appendTo("x", "erased")
		s.want(s.check(), 0)
		s.must(unix.Truncate(filepath.Join(s.tree, "x"), 5))
		done, _, _ := killer{events: events}.run(s, "check")
		list, err := filepath.Glob(filepath.Join(s.state, "reports", "*.jsonl"))
		s.must(err)
		last, err := os.ReadFile(list[len(list)-1])
		s.must(err)
		told := bytes.Contains(last, []byte("shorter than at"))
		r := s.check()
		if again := s.lost(r); again > 0 == told || r.exit > 1 || bytes.Contains(r.stdout, []byte("trust.ledger")) {
			t.Fatalf("killed at event %d: told %v, then %v", events, told, r)
		}
		s.want(s.check(), 0)
		if l := s.temps(); len(l) > 0 {
			t.Fatalf("killed at event %d: left behind: %q", events, l)
		}
		if done {
			break
		}
		killed++
	}
	if killed < 3 {
		t.Errorf("killed %d times", killed)
	}
}
