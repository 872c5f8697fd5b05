package osupdates_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts/osupdates"
)

const (
	mainList = listsDir + "d.example_debian_dists_stable_main_binary-amd64_Packages"
	secList  = listsDir + "s.example_sec_dists_stable-security_main_binary-amd64_Packages"
)

// packed returns text as a program packs it.
func packed(t *testing.T, text string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("SKIPPED: %s: %v", args[0], err)
	}
	return string(out)
}

// However a list is packed, it says the same.
func TestPackedLists(t *testing.T) {
	want := rows(osupdates.Pending(context.Background(), archive().host(t)).Rows)
	if len(want) != 3 {
		t.Fatalf("got %q", want)
	}
	for _, tt := range []struct {
		suffix string
		args   []string
	}{{".gz", []string{"gzip", "-c"}}, {".xz", []string{"xz", "-c"}}, {".zst", []string{"zstd", "-c"}}, {".lz4", []string{"lz4", "-c"}}, {".bz2", []string{"bzip2", "-c"}}} {
		t.Run(tt.suffix[1:], func(t *testing.T) {
			text := archive()[mainList]
			got := osupdates.Pending(context.Background(), archive().with(mainList, "", mainList+tt.suffix, packed(t, text, tt.args...)).host(t))
			if got.Status != rules.OK || !slices.Equal(rows(got.Rows), want) {
				t.Errorf("%s %s: %q", got.Status, got.Reason, rows(got.Rows))
			}
		})
	}
}

// What is wrong with a list is said, and what the others have stays.
func TestHostileLists(t *testing.T) {
	zip := func(b []byte) string {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		z.Write(b)
		z.Close()
		return out.String()
	}
	whole := zip([]byte(archive()[mainList]))
	c := "c:amd64 1.1>1.2 stable-security security"
	a := "a:amd64 1.0>1.0.5 stable-security security"
	for _, tt := range []struct {
		name  string
		files tree
		want  []string
		says  string
	}{
		{"truncated", archive().with(mainList, "", mainList+".gz", whole[:len(whole)-9]), nil, "ends too early"},
		{"bomb", archive().with(mainList, "", mainList+".gz", zip(make([]byte, 64<<20))), []string{a, c}, "too large"},
		{"long-line", archive().with(mainList, "Package: a\nArchitecture: amd64\nVersion: 1.0\nDescription: "+strings.Repeat("x", 1<<20)+"\n\nPackage: b\nArchitecture: all\nVersion: 7\n"), []string{a, "b:all 1.0>7 stable", c}, ""},
		{"huge-stanza", archive().with(mainList, "Package: a\nDescription: "+strings.Repeat("x", 20<<20)+"\n"), []string{a, c}, "too large"},
		{"nul", archive().with(mainList, "Package: a\nVersion: 1\x00\n\nPackage: b\nArchitecture: all\nVersion: 7\n"), []string{a, "b:all 1.0>7 stable", c}, `Packages":2:`},
		{"nul-elsewhere", archive().with(mainList, "Package: q\nVersion: 1\x00\n\nPackage: b\nArchitecture: all\nVersion: 7"), []string{a, "b:all 1.0>7 stable", c}, ""},
		{"no-version", archive().with(mainList, "\n\n\nPackage: a\nArchitecture: amd64\n"), []string{a, c}, `"a": "" is no version`},
		{"field-twice", archive().with(mainList, "Package: a\nVersion: 1\nVersion: 2\n"), []string{a, c}, `Packages":3:`},
		{"two-names", archive().with(mainList, "Package: a\nPackage: b\nVersion: 9\n"), []string{a, c}, "given twice"},
		{"name-not-first", archive().with(mainList, "Version: 9\nArchitecture: all\npackage: b\n\n"), []string{a, "b:all 1.0>9 stable", c}, ""},
		{"fifo", archive().with(mainList, "|"), []string{a, c}, "not a regular file"},
		{"link-out", archive().with(mainList, "-> /etc/hostname"), nil, ""}, // of the image, where there is none
		{"link-in", archive().with(mainList, "-> /srv/real", "srv/real", packagesOf("b all 5")), []string{a, "b:all 1.0>5 stable", c}, ""},
		{"empty", archive().with(mainList, " "), []string{a, c}, ""},
		{"no-list", archive().with(mainList, ""), []string{a, c}, "no lists of"},
		{"not-debian", archive().with("etc/apt/sources.list", "deb http://d.example/debian stable main\nnonsense\n"), []string{"a:amd64 1.0>1.1 stable", "b:all 1.0>2.0 stable"}, `sources.list":2:`},
		{"sources-fifo", archive().with("etc/apt/sources.list.d/x.list", "|"), []string{"a:amd64 1.0>1.1 stable security", "b:all 1.0>2.0 stable", c}, "not a regular file"},
		{"no-release", archive().with(listsDir+"s.example_sec_dists_stable-security_Release", ""), []string{"a:amd64 1.0>1.1 stable", "b:all 1.0>2.0 stable", "c:amd64 1.1>1.2 "}, "no release says whether"},
		{"no-release-nothing-new", archive().with(listsDir+"s.example_sec_dists_stable-security_Release", "", secList, packagesOf("a amd64 1.0", "x amd64 9")), []string{"a:amd64 1.0>1.1 stable", "b:all 1.0>2.0 stable"}, ""},
		{"release-bad", archive().with(listsDir+"s.example_sec_dists_stable-security_Release", "Suite: x\nDate: never\n"), []string{"a:amd64 1.0>1.1 stable", "b:all 1.0>2.0 stable", "c:amd64 1.1>1.2 "}, "date"},
		{"many-sources", archive().with("etc/apt/sources.list.d/m.sources", "Types: deb\nURIs:"+strings.Repeat(" http://h/"+strings.Repeat("p", 900), 900)+"\nSuites: s t u v\nComponents:"+strings.Repeat(" c", 64)+"\n"),
			[]string{"a:amd64 1.0>1.1 stable security", "b:all 1.0>2.0 stable", c}, "more than is allowed"},
		{"moved", archive().with("etc/apt/apt.conf", "Dir::State::lists \"/elsewhere\";"), []string{"a:amd64 1.0>1.1 stable security", "b:all 1.0>2.0 stable", c}, "read elsewhere"},
		{"pin-bad", archive().with("etc/apt/preferences", "Package: a\nPin: version 1.0.5\nPin-Priority: 0\n"), []string{"a:amd64 1.0>1.1 stable security", "b:all 1.0>2.0 stable", c}, `preferences":2:`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := osupdates.Pending(context.Background(), tt.files.host(t))
			if (got.Status == rules.OK) != (tt.says == "") && tt.want != nil || !strings.Contains(got.Reason, tt.says) {
				t.Errorf("%s %s, want %q", got.Status, got.Reason, tt.says)
			}
			if tt.want != nil && !slices.Equal(rows(got.Rows), tt.want) {
				t.Errorf("got %q\nwant %q", rows(got.Rows), tt.want)
			}
			if tt.want == nil && got.Status == rules.OK {
				t.Errorf("no word of it: %q", rows(got.Rows))
			}
		})
	}
}

func TestPendingAbsent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files tree
		want  rules.Status
	}{
		{"nothing", tree{"etc/passwd": "x"}, rules.Absent},
		{"no-lists", tree{"var/lib/dpkg/status": statusOf()}, rules.Absent},
		{"bad-status", archive().with("var/lib/dpkg/status", "nonsense\n"), rules.Failed},
		{"status-fifo", archive().with("var/lib/dpkg/status", "|"), rules.Failed},
		{"no-dpkg", archive().with("var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"), rules.Failed},
	} {
		if got := osupdates.Pending(context.Background(), tt.files.host(t)); got.Status != tt.want || got.Reason == "" {
			t.Errorf("%s: %s %q", tt.name, got.Status, got.Reason)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := osupdates.Pending(ctx, archive().host(t)); got.Status == rules.OK {
		t.Error("a cancelled context gives a whole answer")
	}
	ctx, cancel = context.WithDeadlineCause(context.Background(), time.Unix(0, 0), errors.Join(context.DeadlineExceeded))
	defer cancel()
	if got := osupdates.Pending(ctx, archive().host(t)); got.Status != rules.Timeout {
		t.Errorf("a deadline: %s %s", got.Status, got.Reason)
	}
}

// Phased updates that this host does not get yet are told, security ones never wait.
func TestPhased(t *testing.T) {
	files := archive().with(mainList, packagesOf("a amd64 1.1 Phased-Update-Percentage=0", "b all 2.0 Phased-Update-Percentage=0"), "etc/machine-id", "0123456789abcdef0123456789abcdef\n")
	got := osupdates.Pending(context.Background(), files.host(t))
	want := []string{"a:amd64 1.0>1.1 stable security", "b:all 1.0>2.0 stable phased", "c:amd64 1.1>1.2 stable-security security"}
	if !slices.Equal(rows(got.Rows), want) {
		t.Errorf("got %q", rows(got.Rows))
	}
	got = osupdates.Pending(context.Background(), files.with("etc/apt/apt.conf", "APT::Get::Always-Include-Phased-Updates \"yes\";").host(t))
	if want[1] = "b:all 1.0>2.0 stable"; !slices.Equal(rows(got.Rows), want) {
		t.Errorf("always: got %q", rows(got.Rows))
	}
}

// A list of a hundred megabytes takes no such memory.
func TestPendingMemory(t *testing.T) {
	one := packagesOf("other amd64 1.0 Depends=" + strings.Repeat("x", 800))
	h := archive().with(mainList, strings.Repeat(one, (100<<20)/len(one))).host(t)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := osupdates.Pending(context.Background(), h)
	runtime.ReadMemStats(&after)
	if got.Status != rules.OK || len(got.Rows) != 2 {
		t.Errorf("%s %s %q", got.Status, got.Reason, rows(got.Rows))
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("%d MB for a list of 100 MB", n>>20)
	}
}
