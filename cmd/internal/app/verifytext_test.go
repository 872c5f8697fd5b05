package app

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/report"
	"intact/rules/facts"
	"intact/rules/packages"
	"intact/rules/pkgdb"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

var updateGolden = flag.Bool("update", false, "write the golden files")

// deceptive is in every name of the golden files.
const deceptive = "evil\n\x1b[31mred\u202egnp.\u200b\xff'\"\\x41 "

// goldenSubjects are one of each kind of verdict, with hostile bytes wherever
// some can come from a disk, a process or a package database.
func goldenSubjects() []*subject {
	look := func(text string, mode uint16) *scanner.Look {
		l := &scanner.Look{Entry: entry.Entry{Kind: entry.File, Mode: mode, UID: 7, GID: 8, Size: int64(len(text)), Digest: digest.Sum([]byte(text)), Hashed: int64(len(text))}}
		l.Entry.Have = entry.Type | entry.Mode | entry.UID | entry.GID | entry.Size | entry.Content | entry.Caps
		l.SHA256[0], l.MD5[0] = 0xab, 0xcd
		return l
	}
	md5 := "cd" + strings.Repeat("00", 15)
	owner := pkgdb.Answer{State: pkgdb.Owned, More: 3, Owners: []pkgdb.Owner{
		{Package: "p" + deceptive, Version: "1" + deceptive, Status: deceptive, MD5: md5}, {Package: "q", Version: "2", Conffile: true, Diverted: true, MD5: strings.Repeat("11", 16)},
	}}
	byRPM := pkgdb.Answer{State: pkgdb.Owned, Owners: []pkgdb.Owner{
		{Package: "r" + deceptive, Version: "1" + deceptive, SHA256: "ab" + strings.Repeat("00", 31), Level: pkgdb.Signed, Key: "ABCD", Vendor: deceptive, Installed: time.Unix(1, 0).UTC()},
		{Package: "s" + deceptive, Level: pkgdb.Local, Why: "because of " + deceptive, Ghost: true}, {Package: "t", Level: pkgdb.None, Why: "damaged", Displaced: true},
	}}
	p := entry.Path("/" + deceptive)
	old := look("old", 0o644).Entry
	old.UID = 0
	capped := look("new", 0o6755)
	capped.Entry.Caps = []byte("bad" + deceptive)
	link := &scanner.Look{Entry: entry.Entry{Kind: entry.Symlink, Mode: 0o777, Target: []byte(deceptive), Have: entry.Type | entry.Mode | entry.Target}}
	closed := &scanner.Look{Path: p, Gaps: []scanner.Gap{{Path: p, Reason: scanner.ReasonIO, Detail: "read " + deceptive}, {Path: p, Reason: scanner.ReasonPermission, Attrs: entry.Content}}}
	procs := []process{{12, deceptive}, {13, "cat"}}
	was := entry.Entry{Kind: entry.Symlink, Target: []byte("was" + deceptive), Have: entry.Type | entry.Target}
	mask := entry.Set{Mask: entry.All}
	list := []*subject{
		{path: p, real: p, look: look("same", 0o755), base: baseSame, pkg: owner, runBy: procs, runMore: 2},
		{path: p, real: p, look: capped, old: &old, set: mask, base: baseDiffers, diff: entry.Mode | entry.UID | entry.Content | entry.Size | entry.Caps, pkg: pkgdb.Answer{State: pkgdb.NoOwner}},
		{path: p, real: p, old: &old, base: baseRemoved, pkg: pkgdb.Answer{State: pkgdb.Unknown, Reason: "because of " + deceptive}},
		{path: p, real: "/else" + p, look: link, base: baseDiffers, astray: true, leads: p},
		{path: p, real: p, look: link, old: &was, base: baseDiffers, diff: entry.Target},
		{path: p, real: p, look: closed, base: baseAbsent, pkg: pkgdb.Answer{State: pkgdb.Absent}},
		{path: p, real: p, look: look("good", 0o644), base: baseNone, good: []listed{{deceptive, 3}}},
		{path: p, real: p, look: look("bad", 0o644), base: baseSame, bad: []listed{{deceptive, 1}, {"other", 2}}, good: []listed{{"x", 9}}},
		{path: p, real: p, look: look("meta", 0o644), base: baseSame, uncovers: true, unknown: entry.Content | entry.ACL},
		{path: p, look: look("runs", 0o755), base: baseElsewhere, run: &running{role: "executable", verdict: verdictDeleted, procs: procs, more: 4}},
		{path: p, look: look("runs", 0o755), base: baseElsewhere, run: &running{role: "mapped", verdict: verdictReplaced, procs: procs, other: look("disk", 0o755)}},
		{path: p, look: look("runs", 0o755), base: baseElsewhere, run: &running{role: "mapped", verdict: verdictReplaced, procs: procs, other: look("runs", 0o755)}},
		{path: "/memfd:x (deleted)", look: look("runs", 0o755), base: baseElsewhere, run: &running{role: "executable", verdict: verdictMemfd, procs: procs}},
		{base: baseElsewhere, run: &running{role: "module", verdict: verdictNoFile, procs: []process{{0, deceptive}}}},
		{path: "/lib/m.ko", real: "/usr/lib/m.ko", look: look("m", 0o644), base: baseUnselected, run: &running{role: "module", here: true, procs: []process{{0, "m"}}}},
		{path: p, real: p, look: look("x", 0o644), base: baseUntrusted},
		{path: p, real: p, look: look("rpm", 0o755), base: baseNone, pkg: byRPM, beside: [][]packages.Beside{{{Name: "mode", Want: "4755"}, {Name: "user", Want: deceptive}, {Name: "capabilities"}}}},
	}
	for _, s := range list {
		s.verdict = s.judge()
	}
	return list
}

func TestVerifyGolden(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		v := &verify{
			session: &session{env: &Env{}, users: &idNames{users: map[uint32]string{0: "root", 7: deceptive}, groups: map[uint32]string{8: deceptive}}},
			o:       VerifyOptions{Format: format}, w: bufio.NewWriter(&out), counts: map[verdict]int64{},
		}
		for _, s := range goldenSubjects() {
			if err := v.tell(s); err != nil {
				t.Fatal(err)
			}
		}
		v.w.Flush()
		text := out.String()
		if report.Prose(strings.ReplaceAll(text, "\n", "")) != strings.ReplaceAll(text, "\n", "") {
			t.Errorf("%s: not harmless", format)
		}
		name := "testdata/verify." + format
		if *updateGolden {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		wants := strings.Split(string(want), "\n")
		for i, l := range strings.Split(text, "\n") {
			if i >= len(wants) || l != wants[i] {
				t.Fatalf("%s:%d differs (-update writes it anew); got:\n%s", name, i+1, l)
			}
		}
	}
}

func TestVerifyCodes(t *testing.T) {
	want := map[verdict][]int{
		verdictSame: nil, verdictKnownGood: nil, verdictUnverified: {ExitIncomplete},
		verdictKnownBad: {1}, verdictMemfd: {1}, verdictDeleted: {1}, verdictReplaced: {1}, verdictNoFile: {1}, verdictRemoved: {1}, verdictDiffers: {1},
		verdictMetadata: {1}, verdictAbsent: {1}, verdictUnselected: {1}, verdictNone: {1}, verdictUntrusted: {1},
	}
	for _, k := range order {
		if got := (&subject{verdict: k}).codes(); !slices.Equal(got, want[k]) {
			t.Errorf("%s: exits with %v, want %v", k, got, want[k])
		}
	}
	if len(order) != len(want) {
		t.Errorf("%d verdicts are ordered, %d known", len(order), len(want))
	}
	// What was accepted and cannot be read now is no "same".
	s := &subject{look: &scanner.Look{Entry: entry.Entry{Kind: entry.File, Have: entry.Type}}, base: baseSame, lost: entry.Content}
	if s.verdict = s.judge(); s.verdict != verdictUnverified || !slices.Equal(s.codes(), []int{ExitIncomplete}) {
		t.Errorf("got %s, %v", s.verdict, s.codes())
	}
	s.base, s.diff = baseDiffers, entry.Mode
	if s.verdict = s.judge(); s.verdict != verdictDiffers || !slices.Equal(s.codes(), []int{ExitFindings, ExitIncomplete}) {
		t.Errorf("got %s, %v", s.verdict, s.codes())
	}
}

// Kernel modules are looked up in modules.dep of the running release.
func TestVerifyModules(t *testing.T) {
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(at("proc/modules"), "good_one 1 0 - Live 0x0\nghost 1 0 - Live 0x0\ngone 1 0 - Live 0x0\n")
	write(at("proc/sys/kernel/osrelease"), "6.1\n")
	write(at("root/usr/lib/modules/6.1/kernel/good-one.ko.zst"), "x")
	if err := os.Symlink("usr/lib", at("root/lib")); err != nil {
		t.Fatal(err)
	}
	root, err := dirfd.Open(at("root"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	run := func() (v *verify, list []string) {
		t.Helper()
		v = &verify{session: &session{env: &Env{Stderr: io.Discard}, root: root}, examiner: scanner.NewExaminer(root, 0), out: Done()}
		if err := v.modules(context.Background(), facts.Proc{Dir: at("proc")}); err != nil {
			t.Fatal(err)
		}
		for _, s := range v.running.subjects {
			list = append(list, s.run.procs[0].name+" "+string(s.real)+" "+string(s.judge()))
		}
		return v, list
	}
	v, got := run()
	if want := []string{"good_one  unverified", "ghost  unverified", "gone  unverified"}; !slices.Equal(got, want) || v.out.Exit() != ExitIncomplete {
		t.Errorf("without modules.dep: %q, exit %d", got, v.out.Exit())
	}
	write(at("root/usr/lib/modules/6.1/modules.dep"), "kernel/good-one.ko.zst:\nkernel/gone.ko: kernel/good-one.ko.zst\n")
	v, got = run()
	if want := []string{"good_one /usr/lib/modules/6.1/kernel/good-one.ko.zst no baseline", "ghost  no file", "gone /usr/lib/modules/6.1/kernel/gone.ko no file"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if l := v.running.subjects[0].look; l == nil || l.Entry.Digest != digest.Sum([]byte("x")) {
		t.Errorf("the file of a module was not read: %+v", l)
	}
}

func FuzzReadNames(f *testing.F) {
	f.Add([]byte("a\n\nb c\n\xff"), false)
	f.Add([]byte("a\x00\x00b\nc\x00"), true)
	f.Fuzz(func(t *testing.T, list []byte, null bool) {
		end := "\n"
		if null {
			end = "\x00"
		}
		want := slices.DeleteFunc(strings.Split(string(list), end), func(s string) bool { return s == "" })
		var got []string
		for n, err := range readNames(bytes.NewReader(list), null) {
			if err != nil {
				return // a name that is too long
			}
			got = append(got, n)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	})
}
