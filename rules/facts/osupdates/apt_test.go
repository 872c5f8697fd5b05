package osupdates_test

import (
	"bufio"
	"context"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/osupdates"
	"intact/scanner/dirfd"
)

func live(t testing.TB) facts.Host {
	t.Helper()
	r, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return facts.Host{Root: r, Live: true}
}

// aptSays runs a program of apt that only reads.
func aptSays(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return string(out)
}

var (
	upgradable = regexp.MustCompile(`^([^/]+)/\S+ (\S+) (\S+) \[upgradable from: (\S+)\]$`)
	policyLine = regexp.MustCompile(`^ (\*\*\*|   ) (\S+) `)
)

// The answer is apt's own, name by name and version by version.
func TestPendingLikeApt(t *testing.T) {
	if _, err := exec.LookPath("apt"); err != nil {
		t.Skip("SKIPPED: no apt to hold the answer against")
	}
	began := time.Now()
	got := osupdates.Pending(context.Background(), live(t))
	took := time.Since(began)
	if got.Status == rules.Absent {
		t.Skipf("SKIPPED: %s", got.Reason)
	}
	if got.Status != rules.OK {
		t.Errorf("status %s: %s", got.Status, got.Reason)
	}
	ours := map[string]bool{}
	var security []string
	for _, u := range got.Rows {
		if u.Pinned {
			continue
		}
		ours[strings.Join([]string{u.Name, u.Arch, u.Installed, u.Candidate}, " ")] = true
		if u.Security {
			security = append(security, u.Name)
		}
	}
	apts := map[string]bool{}
	var names []string
	for line := range strings.Lines(aptSays(t, "apt", "list", "--upgradable")) {
		if m := upgradable.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			apts[strings.Join([]string{m[1], m[3], m[4], m[2]}, " ")] = true
			names = append(names, m[1]+":"+m[3])
		}
	}
	if !maps.Equal(ours, apts) {
		t.Errorf("ours %q\napt's %q", slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(apts)))
	}
	slices.Sort(security)
	if want := aptSecurity(t, names); !slices.Equal(security, want) {
		t.Errorf("security updates: ours %q\napt's %q", security, want)
	}
	t.Logf("%d updates, %d of security, in %v", len(ours), len(security), took)
}

// aptSecurity returns the packages of which apt's own table has a version from a
// security archive above the installed one, up to the candidate.
func aptSecurity(t *testing.T, names []string) (out []string) {
	t.Helper()
	releases := map[string]bool{}
	site := ""
	for line := range strings.Lines(aptSays(t, "apt-cache", "policy")) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.Contains(f[1], "://") {
			site = f[1] + " " + f[2]
		}
		if len(f) > 1 && f[0] == "release" && (strings.Contains(line, "l=Debian-Security") || strings.Contains(line, "-security,")) {
			releases[site] = true
		}
	}
	for i := range names {
		names[i] = strings.TrimSuffix(names[i], ":all")
	}
	if len(names) == 0 {
		return nil
	}
	candidate, above, name := "", false, ""
	seen := map[string]bool{}
	s := bufio.NewScanner(strings.NewReader(aptSays(t, append([]string{"apt-cache", "policy"}, names...)...)))
	for s.Scan() {
		line := s.Text()
		switch f := strings.Fields(line); {
		case !strings.HasPrefix(line, " "):
			name, above = strings.TrimSuffix(line, ":"), false
		case f[0] == "Candidate:":
			candidate = f[1]
		case policyLine.MatchString(line):
			if m := policyLine.FindStringSubmatch(line); m[1] == "***" {
				above = false
			} else if m[2] == candidate {
				above = true
			}
		case above && len(f) > 2 && releases[f[1]+" "+f[2]]:
			seen[name] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func BenchmarkPending(b *testing.B) {
	h := live(b)
	for b.Loop() {
		if a := osupdates.Pending(context.Background(), h); a.Status == rules.Absent {
			b.Skipf("SKIPPED: %s", a.Reason)
		}
	}
}
