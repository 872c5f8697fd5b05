package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/posture"
	"intact/scanner/dirfd"
)

// hostile are things that may lie in place of a file. What the file said before
// is kept by those that add to it.
var hostile = []struct {
	name string
	make func(file, before string) error
}{
	{"a FIFO", func(f, _ string) error { return syscall.Mkfifo(f, 0o600) }},
	{"a link to itself", func(f, _ string) error { return os.Symlink(filepath.Base(f), f) }},
	{"a folder", func(f, _ string) error { return os.Mkdir(f, 0o755) }},
	{"a line of 1 MB before", func(f, before string) error {
		return os.WriteFile(f, []byte("#"+strings.Repeat("x", 1<<20)+"\n"+before), 0o644)
	}},
	{"NULs and escapes before", func(f, before string) error {
		return os.WriteFile(f, []byte("#\x00\x1b[2J\xff\n#\n"+before), 0o644)
	}},
	{"nonsense behind", func(f, before string) error {
		return os.WriteFile(f, []byte(before+"\n:::::::\n+::::::\n=\n[\n{\n\x00\n\"\n\\"), 0o644)
	}},
}

// Whatever lies in place of a file of an image, no rule that failed passes, and no
// collector stops the run, goes wrong or waits.
func TestHostileImages(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root makes files that are root's")
	}
	book, problems, err := posture.Load(posture.Sources{Kinds: factKinds(), Builtin: posture.Builtin()})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	files := weakImage()
	dir := imageOf(t, files, looseModes)
	judge := func(sets []string) (all map[string]posture.Result) {
		root, err := dirfd.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		h := &hostFacts{host: facts.Host{Root: root}, now: time.Now()}
		none := posture.Fact{Rows: []posture.Service{}, Status: rules.OK}
		h.set("services", none)
		h.set("declared", none)
		h.set("attestations", posture.Fact{Rows: []posture.Attestation{}, Status: rules.OK})
		all = map[string]posture.Result{}
		err = book.Judge(ctx, posture.Input{Facts: h, Profile: "seed-strict", Sets: sets, Now: h.now}, func(r posture.Result) error {
			all[r.ID] = r
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for kind, f := range h.kept {
			if strings.Contains(f.Reason, "internal error") {
				t.Errorf("%s: %s", kind, f.Reason)
			}
		}
		return all
	}
	before := judge(nil)
	var names []string
	for name, text := range files {
		if !strings.HasPrefix(text, "\x00") { // a link
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		file := filepath.Join(dir, name)
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		var sets []string // that this file means something to; nil: all
		for i, h := range hostile {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := h.make(file, files[name]); err != nil {
				t.Fatal(err)
			}
			_ = os.Chmod(file, info.Mode()) // there is no mode of a link to itself
			after := judge(sets)
			if i == 0 {
				sets = []string{"none"}
				for id, r := range after {
					if fmt.Sprint(r.Verdict, r.Reason, r.Subjects) != fmt.Sprint(before[id].Verdict, before[id].Reason, before[id].Subjects) && !slices.Contains(sets, r.Set) {
						sets = append(sets, r.Set)
					}
				}
			}
			for id, r := range after {
				if r.Verdict == posture.Error {
					t.Errorf("%s: %s: %s: %s", name, h.name, id, r.Reason)
				}
				if h.name == "a folder" && strings.HasPrefix(name, "etc/ssh/sshd_config") {
					continue // sshd too reads it as an empty file
				}
				if before[id].Verdict == posture.Fail && r.Verdict != posture.Fail && r.Verdict != posture.Unknown {
					t.Errorf("%s: %s: %s says %s", name, h.name, id, r.Verdict)
				}
				if r.Verdict == posture.Unknown && r.Reason == "" && len(r.Subjects) == 0 {
					t.Errorf("%s: %s: %s does not say why it is unknown", name, h.name, id)
				}
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(files[name]), info.Mode()); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
}
