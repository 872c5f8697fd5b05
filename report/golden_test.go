package report

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"intact/rules"
)

var update = flag.Bool("update", false, "write the golden files")

// hostile is in every golden: newline, escape sequence, direction, invalid
// UTF-8, quote, backslash, zero width.
const hostile = "evil\n\x1b[31mred\u202egnp.\u200b\xff\xfe'\"\\x41 "

var (
	t0  = time.Date(2026, 3, 1, 2, 0, 0, 5, time.UTC)
	now = t0.Add(90 * time.Minute)
)

func header() Header {
	return Header{
		ID: "0f3c9a", Kind: KindCheck, Scope: ScopeFull, Host: Host{ID: "h-17", Name: "web1"}, Root: "/",
		Started: t0, Seq: 12, Prev: "sha256:" + hex64('1'),
		Baseline: Baseline{3, "blake3:" + hex64('2'), "ops"}, Policy: "blake3:" + hex64('3'),
		Tool: Tool{"v1.0.0", "blake3:" + hex64('4')},
	}
}

func hex64(c byte) string { return string(bytes.Repeat([]byte{c}, 64)) }

func trailer(v Verdict, exit int, c Counts) Trailer {
	return Trailer{Verdict: v, Exit: exit, Exits: []int{exit}, Counts: c, Complete: true, Finished: t0.Add(12340 * time.Millisecond)}
}

func file(path string) rules.Subject { return rules.Subject{Kind: "file", Path: path} }

func val(name, old, now string) rules.Value {
	return rules.Value{Name: name, Old: old, New: now, OldKnown: true, NewKnown: true}
}

func came(name, now string) rules.Value { return rules.Value{Name: name, New: now, NewKnown: true} }

func went(name, old string) rules.Value { return rules.Value{Name: name, Old: old, OldKnown: true} }

func names(id uint32) string {
	return map[uint32]string{0: "root", 33: "www-data", 66: hostile}[id]
}

var goldens = map[string]func(w *Writer) error{
	"clean": func(w *Writer) error {
		w.Header(header())
		w.Gap(Gap{Subject: file("/root/" + hostile), Reason: "permission denied", Known: true})
		w.Skip(Skip{"/proc", "proc"})
		w.Skip(Skip{"/mnt/" + hostile, "fuse." + hostile})
		w.Note(Note{Text: "resolved to /usr/bin", Path: "/bin"})
		return w.Trailer(trailer(Clean, 0, Counts{Selected: 41234, Verified: 41233, KnownGaps: 1, Skipped: 2, Bytes: 1288490189}))
	},
	"findings": allKinds,
	"quick": func(w *Writer) error {
		w.Header(header())
		w.Finding(rules.Finding{Set: "integrity", Rule: "fim.added", Severity: rules.Low, Change: "added", New: true, Subject: file("/etc/" + hostile)})
		t := trailer(Findings, 1, Counts{Selected: 201, Verified: 200, Added: 1, Bytes: 4000})
		t.Quick = &Quick{Trusted: 170, Files: 190, Share: 5, Every: 30, Oldest: t0.Add(-72 * time.Hour)}
		return w.Trailer(t)
	},
	"second": func(w *Writer) error {
		w.Header(header())
		w.Finding(rules.Finding{Set: "integrity", Rule: "fim.two-views", Severity: rules.Critical, New: true, Subject: file("/usr/bin/" + hostile),
			Attributes: []rules.Value{val("content", hex64('a'), hex64('b'))}, Reasons: []string{"written past the file system"}, Attack: []string{"T1006"}})
		w.Note(Note{Text: "no second look at files of the sample: 2 changed after they were scanned"})
		t := trailer(Findings, 1, Counts{Selected: 200, Verified: 200, Bytes: 4000})
		t.Second = &SecondLook{Files: 1234, Differing: 1, Impossible: 2}
		return w.Trailer(t)
	},
	"window": func(w *Writer) error {
		w.Header(header())
		w.Finding(rules.Finding{Set: "integrity", Rule: "fim.content", Severity: rules.Medium, Change: "changed", New: true, Subject: file("/etc/" + hostile), Window: "0a0a0a0a0a0a0a0a"})
		w.Finding(rules.Finding{Set: "integrity", Rule: "fim.content", Severity: rules.Medium, Change: "changed", New: true, Subject: file("/etc/outside")})
		w.Finding(rules.Finding{Set: "integrity", Rule: "fim.removed", Severity: rules.Medium, Change: "removed", New: true, Subject: file("/etc/unknown"), Window: hostile})
		w.Note(Note{Text: "1 of 3 findings falls into the maintenance window 0a0a0a0a0a0a0a0a: " + hostile,
			Window: &Window{ID: "0a0a0a0a0a0a0a0a", From: t0.Add(-2 * time.Hour), To: t0.Add(-time.Hour), Reason: hostile}})
		return w.Trailer(trailer(Findings, 1, Counts{Selected: 201, Verified: 198, Changed: 2, Removed: 1, Bytes: 4000}))
	},
	"actors": func(w *Writer) error {
		w.Header(header())
		w.Finding(rules.Finding{Set: "integrity", Rule: "fim.content", Severity: rules.Medium, Change: "changed", New: true, Subject: file("/etc/" + hostile),
			Actors: []rules.Actor{
				{Live: true, PID: 4711, Exe: "/tmp/" + hostile + " (deleted)", Command: []string{hostile, "", "--"}, Cut: true, EUID: 33, Login: 1000,
					Cgroup: "/system.slice/" + hostile, Unit: hostile, Parents: []rules.Ancestor{{PID: 12, Exe: hostile}, {PID: 2}}, Manager: "dpkg"},
				{PID: 4712},
				{},
			}, ActorsMore: true})
		w.Finding(rules.Finding{Set: "integrity", Rule: "fim.removed", Severity: rules.Medium, Change: "removed", New: true, Subject: file("/etc/x"),
			Actors: []rules.Actor{{Live: true, PID: 9, Login: -1, Cgroup: "/user.slice"}}})
		return w.Trailer(trailer(Findings, 1, Counts{Selected: 201, Verified: 199, Changed: 1, Removed: 1, Bytes: 4000}))
	},
	"gaps": func(w *Writer) error {
		w.Header(header())
		w.Gap(Gap{Subject: file("/etc/" + hostile), Reason: "changed while read", Attributes: []string{"content", "size"}})
		w.Gap(Gap{Subject: rules.Subject{Kind: "dir", Path: "/srv/data"}, Reason: "time-out", Detail: "read \"/srv/data\": \x1b[2J", Count: 1204})
		w.Gap(Gap{Subject: file("/root/x"), Reason: "permission denied", Known: true})
		w.Rule(Rule{"ssh", "ssh.password-auth", "unknown", "cannot read /etc/ssh/sshd_config\n"})
		t := trailer(Incomplete, 3, Counts{Selected: 2000, Verified: 794, Unverified: 1205, KnownGaps: 1})
		t.Complete = false
		return w.Trailer(t)
	},
	"folding": func(w *Writer) error {
		w.Header(header())
		for i := range 134 {
			w.Finding(rules.Finding{Set: "integrity", Rule: "fim.added", Severity: rules.Low, Change: "added", New: true,
				Subject: file(fmt.Sprintf("/opt/%s/%03d", hostile, i))})
		}
		w.Finding(rules.Finding{Set: "integrity", Rule: "fim.added", Severity: rules.Medium, Change: "added", New: true,
			Subject: rules.Subject{Kind: "dir", Path: "/usr/share/x"}})
		for i := range 40 {
			w.Finding(rules.Finding{Set: "integrity", Rule: "fim.added", Severity: rules.Low, Change: "added", New: true,
				Subject: file(fmt.Sprintf("/usr/share/x/%d/f", 10+i))})
		}
		for i := range 25 {
			w.Finding(rules.Finding{Set: "integrity", Rule: "fim.setuid", Severity: rules.High, Change: "added", New: true,
				Subject: file(fmt.Sprintf("/usr/share/x/s%02d", i))})
		}
		return w.Trailer(trailer(Findings, 1, Counts{Selected: 200, Added: 200}))
	},
	"explained": func(w *Writer) error {
		w.Header(header())
		add := func(path string, raw rules.Severity, x *rules.Explanation) {
			f := rules.Finding{Set: "integrity", Rule: "fim.content", Severity: raw, RawSeverity: raw, Change: "changed", New: true, Subject: file(path),
				Attributes: []rules.Value{val("content", hex64('a'), hex64('b'))}}
			f.Explain(x)
			w.Finding(f)
		}
		app := &rules.Explanation{Source: "app " + hostile, Level: rules.Signed, Kind: "expect", ID: "sha256:" + hex64('c'), By: "ci@" + hostile}
		for i := range 30 {
			add(fmt.Sprintf("/usr/local/app/%s/%02d", hostile, i), rules.High, app)
		}
		add("/usr/local/app/planted", rules.High, nil)
		add("/usr/share/doc/x", rules.Low, &rules.Explanation{Source: "x 1.0", Level: rules.Attributed})
		add("/usr/sbin/x", rules.High, &rules.Explanation{Source: "x 1.0", Level: rules.Attributed})
		add("/usr/share/doc/y", rules.Low, &rules.Explanation{Source: "y 2.0", Level: rules.Local})
		return w.Trailer(trailer(Findings, 1, Counts{Selected: 40, Verified: 6, Changed: 34}))
	},
	"interrupted": func(w *Writer) error {
		h := header()
		h.Scope, h.Command = ScopePartial, []string{"intact", "check", "/etc/" + hostile}
		w.Header(h)
		w.Finding(rules.Finding{Set: "integrity", Rule: "fim.removed", Severity: rules.Medium, Change: "removed", New: true, Subject: file("/etc/" + hostile)})
		t := trailer(Interrupted, 130, Counts{Selected: 500, Verified: 499, Removed: 1})
		t.Exits, t.Complete, t.Reason = []int{130, 1}, false, "signal: terminated"
		return w.Trailer(t)
	},
	"untrusted": func(w *Writer) error {
		h := header()
		h.Kind, h.Root, h.Baseline, h.Host.Name, h.Prev = KindImage, "/mnt/"+hostile, Baseline{}, hostile, ""
		w.Header(h)
		t := trailer(Untrusted, 4, Counts{})
		t.Reason = "baseline 3: digest of the file differs from the statement\n\x1b[0m"
		return w.Trailer(t)
	},
	"init": func(w *Writer) error {
		h := header()
		h.Kind, h.Baseline, h.Seq, h.Prev = KindInit, Baseline{}, 1, ""
		w.Header(h)
		w.Gap(Gap{Subject: file("/root/" + hostile), Reason: "permission denied", Known: true})
		t := trailer(Clean, 0, Counts{Selected: 100, Added: 99, KnownGaps: 1, Bytes: 5000})
		t.Published = Baseline{1, "blake3:" + hex64('5'), ""}
		return w.Trailer(t)
	},
}

func allKinds(w *Writer) error {
	w.Header(header())
	w.Finding(rules.Finding{Set: "integrity", Rule: "fim.added", Severity: rules.Medium, Change: "added", New: true,
		Subject: file("/etc/cron.d/" + hostile), Reasons: []string{"runs commands at boot"}, Attack: []string{"T1053.003"},
		Attributes: []rules.Value{came("mode", "0644"), came("uid", "66"), came("size", "0"), came("content", hex64('e'))}})
	w.Finding(rules.Finding{Set: "integrity", Rule: "fim.target", Severity: rules.Low, Change: "changed", New: true,
		Subject: rules.Subject{Kind: "symlink", Path: "/etc/mtab"}, Attributes: []rules.Value{val("target", "/proc/mounts", "/tmp/"+hostile)}})
	w.Finding(rules.Finding{Set: "integrity", Rule: "fim.type", Severity: rules.High, Change: "changed", FirstSeen: t0.Add(-72 * time.Hour),
		Subject: rules.Subject{Kind: "fifo", Path: "/etc/motd"}, Attributes: []rules.Value{val("type", "file", "fifo")}})
	w.Finding(rules.Finding{Set: "integrity", Rule: "fim.renamed", Severity: rules.Low, Change: "renamed", New: true, Count: 1233,
		Subject: rules.Subject{Kind: "dir", Path: "/srv/b"}, From: "/srv/" + hostile})
	w.Finding(rules.Finding{Set: "integrity", Rule: "fim.content", Severity: rules.Critical, Change: "changed", New: true,
		Subject: file("/usr/bin/ssh"), Links: []string{"/usr/bin/slogin", "/usr/bin/" + hostile},
		Reasons: []string{"gained setuid", "program in a system path"}, Attack: []string{"T1554", "T1548.001"},
		Attributes: []rules.Value{
			val("mode", "0755", "4755"), val("uid", "0", "66"), val("gid", "33", "1000"), val("size", "12600", "12700"),
			val("mtime", "2026-03-01T01:00:00.000000000Z", "2026-03-01T01:00:00.000000001Z"),
			val("ctime", "2025-03-01T01:00:00.000000000Z", "2026-03-01T02:50:00.000000000Z"),
			val("content", hex64('a'), hex64('b')), came("caps", "cap_net_raw=ep"),
			val("acl", "user::rwx,group::r-x,other::r-x", "user::rwx,user:nobody:r--,group::r-x,mask::r-x,other::r-x"),
			went("selinux", "system_u:object_r:bin_t:s0"),
		}})
	w.Finding(rules.Finding{Set: "integrity", Rule: "fim.removed", Severity: rules.Low, Change: "removed", New: true,
		Subject: file("/usr/bin/tset"), Attributes: []rules.Value{went("mode", "0755"), went("size", "2048")}})
	w.Finding(rules.Finding{Set: "integrity", Rule: "fim.content", Severity: rules.Info, RawSeverity: rules.High, Change: "changed", New: true,
		Subject: file("/usr/bin/vim"), Explained: &rules.Explanation{Source: "vim 2:9.1", Level: "signed"}})
	w.Finding(rules.Finding{Set: "integrity", Rule: "fim.replaced", Severity: rules.Low, Change: "replaced", New: true, Subject: file("/usr/bin/wc")})
	w.Finding(rules.Finding{Set: "integrity", Rule: "coverage.lost", Severity: rules.High, New: true, Subject: file("/usr/bin/xz"), Reasons: []string{"permission denied"}})
	w.Finding(rules.Finding{Set: "mounts", Rule: "mount.new", Severity: rules.High, New: true, Change: "added",
		Subject: rules.Subject{Kind: "mount", Path: "/usr/lib"}, Attributes: []rules.Value{came("fstype", "tmpfs")}})
	w.Finding(rules.Finding{Set: "policy", Rule: "policy.widened", Severity: rules.Low, New: true, Count: 7,
		Subject: rules.Subject{Kind: "policy", Name: "/etc/intact/intact.yaml:4"}})
	w.Gap(Gap{Subject: file("/usr/bin/xz"), Reason: "permission denied"})
	w.Skip(Skip{"/proc", "proc"})
	t := trailer(Findings, 1, Counts{Selected: 1250, Verified: 1240, Changed: 5, Added: 1, Removed: 1, Renamed: 1, Unverified: 1, KnownGaps: 1, Skipped: 1, Bytes: 1 << 20})
	t.Exits, t.Pending, t.Complete = []int{1, 3}, "blake3:"+hex64('9'), false
	return w.Trailer(t)
}

func build(t *testing.T, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := goldens[name](NewWriter(&b)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func options() TextOptions {
	return TextOptions{Now: now, Location: time.FixedZone("CET", 3600), User: names, Group: names}
}

func TestGolden(t *testing.T) {
	for name := range goldens {
		t.Run(name, func(t *testing.T) {
			lines := build(t, name)
			var text bytes.Buffer
			if err := Text(&text, bytes.NewReader(lines), options()); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name, "want.jsonl"), lines)
			golden(t, filepath.Join("testdata", name, "want.txt"), text.Bytes())
			if bytes.Contains(lines, []byte{0x1b}) || !bytes.Contains(lines, []byte(`\\xff\\xfe`)) {
				t.Error("no hostile name in this golden, or an unescaped one")
			}
			for r, err := range Read(bytes.NewReader(lines)) {
				if err != nil {
					t.Fatal(err)
				}
				if r.Trailer == nil {
					continue
				}
				if err := r.Trailer.Equation(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: differs; go test ./report -update and look at the diff\n%s", path, got)
	}
}
