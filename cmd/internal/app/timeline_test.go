package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/app"
	"intact/scanner/entry"
)

func (s *site) timeline(o app.TimelineOptions) result {
	return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) { return app.Timeline(ctx, e, o) })
}

// statTimes is what sorting the times of a tree in memory gives: one line for
// each path and time, with the letters of macb.
func statTimes(t *testing.T, tree string) (lines []string) {
	t.Helper()
	type line struct {
		sec  int64
		nsec uint32
		key  string
		text string
	}
	var all []line
	err := filepath.WalkDir(tree, func(p string, _ fs.DirEntry, err error) error {
		var x unix.Statx_t
		if err == nil {
			err = unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &x)
		}
		if err != nil {
			return err
		}
		times := []unix.StatxTimestamp{x.Mtime, x.Ctime}
		letters := "mc"
		if x.Mask&unix.STATX_BTIME != 0 {
			times, letters = append(times, x.Btime), "mcb"
		}
		for i, u := range times {
			if slices.Index(times, u) < i {
				continue
			}
			macb := []byte("....")
			for k, v := range times {
				if v == u {
					macb[strings.IndexByte("macb", letters[k])] = letters[k]
				}
			}
			text := fmt.Sprintf("%s %s %q", time.Unix(u.Sec, int64(u.Nsec)).UTC().Format("2006-01-02T15:04:05.000000000Z"), macb, p)
			all = append(all, line{u.Sec, u.Nsec, string(entry.Path(p).Key()), text})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if a.sec != b.sec {
			return a.sec < b.sec
		}
		if a.nsec != b.nsec {
			return a.nsec < b.nsec
		}
		return a.key < b.key
	})
	for _, l := range all {
		lines = append(lines, l.text)
	}
	return lines
}

// The lines are those of sorting in memory, whatever the memory, with and
// without a baseline.
func TestTimelineIsSorted(t *testing.T) {
	s := newSite(t, "")
	for i, name := range hostile {
		for d := range 12 {
			s.write(fmt.Sprintf("d%d/%s", d, name), "x")
		}
		when := time.Unix(int64(i)*86400*200, int64(i%3))
		s.must(os.Chtimes(filepath.Join(s.tree, "d1", name), when, when))
	}
	want := statTimes(t, s.tree)
	for _, baseline := range []bool{false, true} {
		if baseline {
			s.want(s.init(), 0)
		}
		for _, memory := range []int{1, 4000, 0} {
			r := s.timeline(app.TimelineOptions{Since: "1900-01-01", Format: "json", Memory: memory})
			s.want(r, 0)
			var got []string
			for line := range bytes.Lines(r.stdout) {
				var m struct {
					Time, MACB, Path string
					Raw              []byte `json:"path_b64"`
				}
				s.must(json.Unmarshal(line, &m))
				if m.Raw != nil {
					m.Path = string(m.Raw)
				}
				got = append(got, fmt.Sprintf("%s %s %q", m.Time, m.MACB, m.Path))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("baseline %v, memory %d: %d lines, want %d; the first: %.2q, want %.2q", baseline, memory, len(got), len(want), got, want)
			}
			if baseline && bytes.Contains(r.stdout, []byte(`"mark":["`)) && bytes.Contains(r.stdout, []byte(`changed`)) {
				t.Errorf("memory %d: nothing changed, and something is marked so", memory)
			}
		}
	}
}

// Marks and what is gone do not depend on the memory either.
func TestTimelineMarksInAnyMemory(t *testing.T) {
	s := newSite(t, "")
	for i := range 3000 {
		s.write(fmt.Sprintf("wide/f%04d", i), "x")
	}
	for _, name := range hostile {
		s.write("odd/"+name, "x")
	}
	s.want(s.init(), 0)
	for i := 0; i < 3000; i += 7 {
		s.must(os.Remove(filepath.Join(s.tree, fmt.Sprintf("wide/f%04d", i))))
		s.write(fmt.Sprintf("wide/g%04d", i), "new")
		s.write(fmt.Sprintf("wide/f%04d", i+1), "longer")
	}
	count := func(r result, mark string) int { return bytes.Count(r.stdout, []byte(mark)) }
	var first []byte
	for _, memory := range []int{0, 1, 20_000} {
		r := s.timeline(app.TimelineOptions{Since: "1900-01-01", Format: "json", Memory: memory})
		s.want(r, 0)
		if first == nil {
			first = r.stdout
		}
		if !bytes.Equal(first, r.stdout) {
			t.Errorf("memory %d: another output", memory)
		}
		if gone := count(r, `"mark":["gone"]`); gone != 429 {
			t.Errorf("memory %d: %d are gone, want 429", memory, gone)
		}
	}
	for name, want := range map[string]bool{"wide/f0000": false, "wide/f0001": true, "wide/f0002": false, "wide/g0007": false} {
		r := s.timeline(app.TimelineOptions{Since: "1900-01-01", Format: "json", Paths: []string{filepath.Join(s.tree, name)}})
		s.want(r, 0)
		if got := count(r, `"changed"`) > 0; got != want {
			t.Errorf("%s is marked changed: %v, want %v\n%s", name, got, want, r.stdout)
		}
	}
}
