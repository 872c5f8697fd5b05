package logs_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"intact/baseline/ledger"
	"intact/rules/logs"
	"intact/scanner/digest"
)

// A file of a test: the text that it has, packed where it begins with "gz:".
type file struct {
	inode uint64
	text  string
}

// look is a directory as one look finds it.
type look map[string]file

// follow holds one look against another, and returns what was lost, what was
// dropped, what is new, and what stands where.
func follow(before, now look) map[string]string {
	var known []logs.Known
	var seen []logs.Seen
	for n, f := range before {
		known = append(known, logs.Known{Name: n, Inode: f.inode, Length: int64(len(f.text)), Content: digest.Sum([]byte(f.text))})
	}
	for n, f := range now {
		seen = append(seen, logs.Seen{Name: n, Inode: f.inode, Length: int64(len(f.text)), Content: digest.Sum([]byte(f.text)), Keeps: strings.HasPrefix(f.text, before[n].text)})
	}
	out := map[string]string{}
	for _, fam := range logs.Families(known, seen) {
		fam.Follow(func(s *logs.Seen, k *logs.Known, unpacked bool) bool {
			text, packed := strings.CutPrefix(now[s.Name].text, "gz:")
			if packed != unpacked {
				text = now[s.Name].text
			}
			return (packed || !unpacked) && int64(len(text)) >= k.Length && digest.Sum([]byte(text[:k.Length])) == k.Content
		})
		for n, f := range fam.Fates {
			switch {
			case f.Lost:
				out[n] = "lost"
			case f.Dropped:
				out[n] = "dropped"
			case f.To != n && f.To != "":
				out[n] = "→ " + f.To
			}
		}
		for n := range fam.Fresh {
			out["+"+n] = ""
		}
		if len(fam.Missing) > 0 {
			out[fam.Head] += fmt.Sprint(" missing ", fam.Missing)
		}
	}
	return out
}

func TestFollow(t *testing.T) {
	base := look{"x": {1, "aa"}, "x.1": {2, "bb"}, "x.2.gz": {3, "gz:cc"}}
	for _, c := range []struct {
		name   string
		before look
		now    look
		want   string
	}{
		{"nothing", base, base, ""},
		{"grown", base, look{"x": {1, "aaa"}, "x.1": {2, "bb"}, "x.2.gz": {3, "gz:cc"}}, ""},
		{"cut", base, look{"x": {1, "a"}, "x.1": {2, "bb"}, "x.2.gz": {3, "gz:cc"}}, "x lost"},
		{"rewritten", base, look{"x": {1, "abc"}, "x.1": {2, "bb"}, "x.2.gz": {3, "gz:cc"}}, "x lost"},
		{"removed", base, look{"x": {1, "aa"}, "x.1": {2, "bb"}}, "x.2.gz lost"},
		{"rotated", base, look{"x": {9, ""}, "x.1": {1, "aa"}, "x.2.gz": {8, "gz:bb"}, "x.3.gz": {3, "gz:cc"}}, "x → x.1, x.1 → x.2.gz, x.2.gz → x.3.gz"},
		{"rotated and dropped", base, look{"x": {9, "z"}, "x.1": {1, "aaa"}, "x.2.gz": {8, "gz:bb"}}, "x → x.1, x.1 → x.2.gz, x.2.gz dropped"},
		{"copied", base, look{"x": {1, ""}, "x.1": {9, "aaaa"}, "x.2.gz": {8, "gz:bb"}}, "x → x.1, x.1 → x.2.gz, x.2.gz dropped"},
		{"twice, one unseen", base, look{"x": {9, "z"}, "x.1": {7, "y"}, "x.2.gz": {1, "gz:aaa"}}, "+x.1, x → x.2.gz, x.1 dropped, x.2.gz dropped"},
		{"the middle lost", base, look{"x": {9, "z"}, "x.1": {1, "aa"}, "x.2.gz": {8, "gz:??"}, "x.3.gz": {3, "gz:cc"}}, "+x.2.gz, x → x.1, x.1 lost, x.2.gz → x.3.gz"},
		{"a hole", base, look{"x": {9, "z"}, "x.2": {1, "aa"}}, "x → x.2 missing [1], x.1 lost, x.2.gz dropped"},
		{"all gone", base, look{"x": {9, "z"}}, "x lost, x.1 lost, x.2.gz lost"},
		{"cleared, generations stand", base, look{"x": {1, ""}, "x.1": {2, "bb"}, "x.2.gz": {3, "gz:cc"}, "x.3.gz": {7, "?"}}, "x lost"},
		{"cleared, and something put before", base, look{"x": {1, ""}, "x.1": {7, "?"}, "x.2": {2, "bb"}, "x.3.gz": {3, "gz:cc"}}, "+x.1, x lost, x.1 → x.2, x.2.gz → x.3.gz"},
		{"first rotation of an empty log", look{"x": {1, ""}}, look{"x": {2, ""}, "x.1": {1, "written"}}, "+x.1"},
		{"an empty log removed", look{"x": {1, ""}}, look{}, "x lost"},
		{"an empty log removed, its generations stand", look{"x": {1, ""}, "x.1": {2, "b"}}, look{"x.1": {2, "b"}}, "x lost"},
		{"an empty generation removed", look{"x": {1, "a"}, "x.1": {2, "b"}, "x.2": {3, ""}}, look{"x": {1, "a"}, "x.1": {2, "b"}}, "x.2 lost"},
		{"an empty log rotated, not made anew", look{"x": {1, ""}}, look{"x.1": {1, ""}}, "+x.1"},
		{"an empty generation falls off", look{"x": {1, "a"}, "x.1": {2, ""}}, look{"x": {9, ""}, "x.1": {1, "a"}}, "x → x.1"},
		{"something beside", look{"x": {1, "a"}}, look{"x": {1, "a"}, "x.1": {2, "?"}}, ""},
		{"dates", look{"x": {1, "a"}, "x-20261125.gz": {3, "gz:c"}, "x-20261126": {2, "b"}}, look{"x": {9, ""}, "x-20261127": {1, "a"}, "x-20261126.gz": {8, "gz:b"}}, "x → x-20261127, x-20261125.gz dropped, x-20261126 → x-20261126.gz"},
		{"order turned", look{"x": {1, "a"}, "x.1": {2, "b"}}, look{"x": {9, ""}, "x.1": {2, "b"}, "x.2": {1, "a"}}, "+x.1, x → x.2, x.1 dropped"},
		{"no log of that name", look{"x.1": {1, "a"}}, look{"x.2": {1, "a"}}, "x.1 lost"},
		{"the same lines each day", look{"x": {1, "a"}, "x.1": {2, "a"}, "x.2": {3, "a"}}, look{"x": {9, "a"}, "x.1": {1, "a"}, "x.2": {2, "a"}}, "x → x.1, x.1 → x.2, x.2 dropped"},
		{"the same lines, packed", look{"x": {1, "a"}, "x.1": {2, "a"}, "x.2.gz": {3, "gz:a"}}, look{"x": {9, "a"}, "x.1": {1, "a"}, "x.2.gz": {8, "gz:a"}}, "x → x.1, x.1 → x.2.gz, x.2.gz dropped"},
		{"the log not made anew", base, look{"x.1": {1, "aa"}, "x.2": {2, "bb"}, "x.3.gz": {3, "gz:cc"}}, "x → x.1, x.1 → x.2, x.2.gz → x.3.gz"},
	} {
		got := follow(c.before, c.now)
		var list []string
		for _, n := range slices.Sorted(maps.Keys(got)) {
			list = append(list, strings.TrimSpace(n+" "+strings.TrimSpace(got[n])))
		}
		if s := strings.Join(list, ", "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}

// Whatever logrotate does between two looks, nothing is lost; what is taken out
// of the middle is.
func TestRotationsLoseNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		keep, pack, inode := 1+r.IntN(4), r.IntN(3), uint64(100)
		now, line := look{"x": {1, "first"}}, 0
		name := func(i int) string {
			switch {
			case i == 0:
				return "x"
			case pack > 0 && i >= pack:
				return fmt.Sprintf("x.%d.gz", i)
			}
			return fmt.Sprintf("x.%d", i)
		}
		for range 6 {
			before := maps.Clone(now)
			for range r.IntN(4) {
				line++
				f := now["x"]
				f.text += fmt.Sprintf(" line %d", line)
				now["x"] = f
				if r.IntN(2) == 0 {
					continue
				}
				delete(now, name(keep))
				for i := keep - 1; i >= 0; i-- {
					f, ok := now[name(i)]
					if !ok {
						continue
					}
					delete(now, name(i))
					if strings.HasSuffix(name(i+1), ".gz") && !strings.HasSuffix(name(i), ".gz") {
						inode++
						f = file{inode, "gz:" + f.text}
					}
					now[name(i+1)] = f
				}
				inode++
				now["x"] = file{inode, strings.Repeat("same", r.IntN(2))}
			}
			for n, what := range follow(before, now) {
				// All generations may have gone, and the log's own content with them.
				if what == "lost" && !gone(before[n].text, now, keep) || strings.Contains(what, "missing") {
					t.Fatalf("keep %d, pack %d: %s %s: %v, then %v", keep, pack, n, what, before, now)
				}
			}
		}
	}
}

// gone reports whether no file has text, and there are as many generations as
// are kept: rotation pushed it out.
func gone(text string, now look, keep int) bool {
	for _, f := range now {
		if strings.HasPrefix(strings.TrimPrefix(f.text, "gz:"), strings.TrimPrefix(text, "gz:")) {
			return false
		}
	}
	return len(now) == keep+1
}

func TestPace(t *testing.T) {
	var c ledger.Cadence
	hasty := false
	for day := range int64(5) {
		if c, hasty = logs.Pace(c, 1, 1e9+day*86400); hasty {
			t.Errorf("day %d is hasty", day)
		}
	}
	if c, hasty = logs.Pace(c, 0, 2e9); hasty || c.Rotations != 5 || c.Least != 86400 {
		t.Errorf("%+v", c)
	}
	for _, tt := range []struct {
		rotated, after int64
		hasty          bool
	}{{1, 43200, false}, {1, 43199, true}, {7, 7 * 86400, false}, {7, 86400, true}, {1, -5, false}} {
		if _, hasty := logs.Pace(c, tt.rotated, c.Last+tt.after); hasty != tt.hasty {
			t.Errorf("%d rotations in %d s: hasty %v", tt.rotated, tt.after, hasty)
		}
	}
}

func TestIdentity(t *testing.T) {
	for p, want := range map[string]bool{
		"/var/log/auth.log": true, "/var/log/auth.log.2.gz": true, "/var/log/secure-20261127": true, "/var/log/wtmp": true, "/var/log/btmp.1": true,
		"/var/log/audit/audit.log.1": true, "/var/log/syslog": false, "/var/log/auth.log/x": false, "/": false, "/var/log/wtmpx": false,
	} {
		if logs.Identity(p) != want {
			t.Errorf("%s: %v", p, !want)
		}
	}
}

// Names are anybody's: every one belongs to exactly one family.
func FuzzFamilies(f *testing.F) {
	f.Add("x", "x.1", "x-20261127.gz")
	f.Add("x.1", "x.1.1", "x.1.1.gz")
	f.Add("Xorg.0.log", "Xorg.0.log.old", "Xorg.log")
	f.Add(".gz", ".1", "-20261127")
	f.Add("a.1.old", "a.1", "a")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		names := map[string]bool{a: true, b: true, c: true}
		var seen []logs.Seen
		var known []logs.Known
		for n := range names {
			seen = append(seen, logs.Seen{Name: n, Length: 1})
			known = append(known, logs.Known{Name: n, Length: 2})
		}
		n, k := 0, 0
		for _, fam := range logs.Families(known, seen) {
			n += len(fam.Seen)
			k += len(fam.Known)
			fam.Follow(func(*logs.Seen, *logs.Known, bool) bool { return false })
			if len(fam.Fates) != len(fam.Known) {
				t.Errorf("%q: %d fates of %d", fam.Head, len(fam.Fates), len(fam.Known))
			}
		}
		if n != len(names) || k != len(names) {
			t.Errorf("%d and %d of %d names", n, k, len(names))
		}
	})
}
