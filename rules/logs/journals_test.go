package logs_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"intact/rules/logs"
	"intact/scanner/journal"
)

// fact makes the facts of "F:head-tail" (archived: "F:head-tail!"), all of one sequence.
func fact(t *testing.T, s string) (name string, f journal.Facts) {
	t.Helper()
	var id byte
	if n, err := fmt.Sscanf(strings.TrimSuffix(s, "!"), "%c:%d-%d", &id, &f.Head, &f.Tail); n != 3 {
		t.Fatalf("%q: %v", s, err)
	}
	f.File[0], f.Seqnum[0] = id, 's'
	f.First, f.Last, f.Entries = f.Head*1e6, f.Tail*1e6, f.Tail+1-f.Head
	if strings.HasSuffix(s, "!") {
		f.State = journal.Archived
		return fmt.Sprintf("system@%c.journal", id), f
	}
	return "system.journal", f
}

func TestFollowJournals(t *testing.T) {
	for name, tt := range map[string]struct {
		known, seen string // a file with ? does not keep what was known
		want        string // name=fate…, gaps
	}{
		"grown":             {"b:5-9", "b:5-20", ""},
		"rotated":           {"a:1-4! b:5-9", "a:1-4! b:5-20! c:21-22", ""},
		"rotated twice":     {"b:5-9", "b:5-20! c:21-30! d:31-31", ""},
		"vacuumed":          {"a:1-4! b:5-9! c:10-12", "b:5-9! c:10-14", "system@a.journal=dropped"},
		"all old ones":      {"a:1-4! b:5-9! c:10-12", "c:10-20! d:21-22", "system@a.journal=dropped system@b.journal=dropped"},
		"none came":         {"a:1-4! b:5-9! c:10-12", "c:10-14", "system@a.journal=dropped system@b.journal=old"},
		"turned over":       {"a:1-4! c:10-12", "d:13-20! e:21-22", "system.journal=old system@a.journal=dropped"},
		"one in the middle": {"a:1-4! b:5-9! c:10-12", "a:1-4! c:10-14", "system@b.journal=lost"},
		"the active one":    {"a:1-4! c:10-12", "a:1-4! d:13-14", "system.journal=lost"},
		"edited":            {"a:1-4! c:10-12", "a:1-4!? c:10-14", "system@a.journal=lost"},
		"shrunk":            {"c:10-12", "c:10-11?", "system.journal=lost"},
		"came and went":     {"a:1-4! b:5-9", "a:1-4! b:5-20! d:31-31", "gap 21-30 before system.journal"},
		"gap, long known":   {"a:1-4! b:9-12", "a:1-4! b:9-13", ""},
		"nothing left":      {"a:1-4! b:5-9", "", "system.journal=lost system@a.journal=old"},
	} {
		var known []logs.JournalKnown
		for _, s := range strings.Fields(tt.known) {
			n, f := fact(t, s)
			known = append(known, logs.JournalKnown{Name: n, Facts: f})
		}
		var seen []logs.JournalSeen
		for _, s := range strings.Fields(tt.seen) {
			of, bad := strings.CutSuffix(s, "?")
			n, f := fact(t, of)
			was := slices.ContainsFunc(known, func(k logs.JournalKnown) bool { return k.File == f.File })
			seen = append(seen, logs.JournalSeen{Name: n, Facts: f, Valid: true, Keeps: was && !bad})
		}
		j := logs.FollowJournals(known, seen)
		var got []string
		for _, n := range slices.Sorted(maps.Keys(j.Fates)) {
			switch f := j.Fates[n]; {
			case f.Dropped:
				got = append(got, n+"=dropped")
			case f.Lost && j.Old[n]:
				got = append(got, n+"=old")
			case f.Lost:
				got = append(got, n+"=lost")
			}
		}
		for _, g := range j.Gaps {
			got = append(got, fmt.Sprintf("gap %d-%d before %s", g.From, g.To, g.Name))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: got %q, want %q", name, s, tt.want)
		}
	}
}
