package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/facttest"
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

// fullImage has something for each collector that reads an image.
func fullImage(t testing.TB) map[string]string {
	t.Helper()
	m := weakImage()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ours"}, NotAfter: time.Unix(1<<32, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(m, map[string]string{
		"etc/nsswitch.conf":                         "passwd: files sss\ngroup: files\n",
		"etc/sudoers":                               "root ALL=(ALL:ALL) ALL\nDefaults use_pty\n@includedir /etc/sudoers.d\n",
		"etc/sudoers.d/eve":                         "eve ALL=NOPASSWD: /bin/eve\n",
		"etc/sysctl.d/50-a.conf":                    "net.ipv4.ip_forward=1\n",
		"etc/sysctl.conf":                           "kernel.kptr_restrict=1\n",
		"usr/local/share/ca-certificates/ours.crt":  string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"etc/ld.so.preload":                         "/lib/evil.so\n",
		"etc/environment":                           "LD_PRELOAD=/tmp/x.so\n",
		"etc/ld.so.conf":                            "/opt/lib\n",
		"etc/crontab":                               "1 2 3 4 5 root /bin/x\n",
		"etc/cron.d/x":                              "1 2 3 4 5 root /bin/y\n",
		"var/spool/cron/crontabs/eve":               "1 2 3 4 5 /bin/z\n",
		"etc/anacrontab":                            "1 5 daily /bin/d\n",
		"usr/bin/fail2ban-server":                   "x",
		"etc/fail2ban/jail.conf":                    "[sshd]\nenabled = true\nfilter = sshd\naction = x\n",
		"etc/apache2/apache2.conf":                  "Listen 80\nDocumentRoot /var/www\n",
		"etc/systemd/system/evil.service.d/10.conf": "[Service]\nUser=nobody\n",
		"usr/lib/systemd/system/x.timer":            "[Timer]\nOnCalendar=daily\n",
		"etc/apt/preferences":                       "Package: openssl\nPin: version 3.0.2\nPin-Priority: 990\n",
		"etc/apt/apt.conf":                          "APT::Get::AllowUnauthenticated \"true\";\n",
		"etc/dnf/automatic.conf":                    "[commands]\napply_updates = yes\n",
		"etc/apt/sources.list.d/x.sources":          "Types: deb\nURIs: http://x.example/x\nSuites: x\nComponents: main\n",
		"boot/vmlinuz-6.1.0-31-amd64":               "x",
	})
	return m
}

// noFIFO are files in whose place cron, sudo and whoever makes the store of
// certificates pass over what is no file, as all pass over folders.
const noFIFO = "etc/cron.d/x var/spool/cron/crontabs/eve etc/sudoers.d/eve usr/local/share/ca-certificates/ours.crt"

// Whatever lies in place of a file, no row of a fact is lost without a word: the
// next baseline would take it for one that was removed.
func TestHostileFacts(t *testing.T) {
	files := fullImage(t)
	dir := imageOf(t, files, nil)
	collect := func(kinds []string) map[string]posture.Fact {
		root, err := dirfd.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		h := &hostFacts{host: facts.Host{Root: root}, now: time.Now(), self: func(context.Context) facts.Answer[posture.Self] { return facts.OfflineAnswer[posture.Self]("x") }}
		h.set("services", posture.Fact{})
		h.set("declared", posture.Fact{})
		h.set("attestations", posture.Fact{})
		for _, k := range kinds {
			h.Fact(ctx, k)
		}
		return h.kept
	}
	keys := func(f posture.Fact) (out []string) { // of rows that the baseline keeps
		for i := 0; f.Rows != nil && i < reflect.ValueOf(f.Rows).Len(); i++ {
			if row, ok := reflect.ValueOf(f.Rows).Index(i).Interface().(facttest.Row); ok {
				out = append(out, row.Key())
			}
		}
		return out
	}
	var all []string
	for _, k := range factKinds() {
		all = append(all, k.Name)
	}
	before := collect(all)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(files[name], "\x00") {
			continue
		}
		file := filepath.Join(dir, name)
		kinds := all // after the first round those that it changed
		for i, h := range hostile {
			must(t, os.Remove(file), h.make(file, files[name]))
			after := collect(kinds)
			if i == 0 {
				kinds = slices.DeleteFunc(slices.Clone(all), func(k string) bool { return fmt.Sprint(after[k]) == fmt.Sprint(before[k]) })
			}
			for kind, f := range after {
				if strings.Contains(f.Reason, "internal error") || f.Status != rules.OK && f.Status != "" && f.Reason == "" {
					t.Errorf("%s: %s: %s: %s %q", name, h.name, kind, f.Status, f.Reason)
				}
				if f.Status != rules.OK || h.name == "a folder" || h.name == "a FIFO" && strings.Contains(noFIFO, name) {
					continue
				}
				left := keys(f)
				for _, k := range keys(before[kind]) {
					if !slices.Contains(left, k) {
						t.Errorf("%s: %s: %s lost %s", name, h.name, kind, k)
					}
				}
			}
		}
		must(t, os.Remove(file), os.WriteFile(file, []byte(files[name]), 0o600))
	}
}
