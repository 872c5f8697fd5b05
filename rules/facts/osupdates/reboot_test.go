package osupdates

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
)

// bootImage makes the head of an x86 kernel image.
func bootImage(banner string) string {
	b := make([]byte, 0x3000)
	b[0x1f1] = 27
	b[0x1fe], b[0x1ff] = 0x55, 0xaa
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x1c00)
	copy(b[0x1e00:], banner+"\x00")
	return string(b)
}

func TestBootVersion(t *testing.T) {
	const banner = "6.1.0-28-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)"
	v, ok := bootVersion([]byte(bootImage(banner)))
	if !ok || v.release != "6.1.0-28-amd64" || v.build != "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)" {
		t.Errorf("got %+v, %v", v, ok)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"short":       func(b []byte) []byte { return b[:0x20f] },
		"no-magic":    func(b []byte) []byte { b[0x202] = 'x'; return b },
		"no-boot":     func(b []byte) []byte { b[0x1fe] = 0; return b },
		"no-version":  func(b []byte) []byte { b[0x20e], b[0x20f] = 0, 0; return b },
		"beyond":      func(b []byte) []byte { b[0x1f1] = 2; return b },
		"cut":         func(b []byte) []byte { return b[:0x1e08] },
		"no-end":      func(b []byte) []byte { copy(b[0x1e00:], strings.Repeat("1", 1024)); return b },
		"no-release":  func(b []byte) []byte { copy(b[0x1e00:], "x\x1b (a) #1\x00"); return b },
		"arm64":       func([]byte) []byte { return []byte("MZ\x40\xfaxxxx") },
		"empty":       func([]byte) []byte { return nil },
		"a-directory": func(b []byte) []byte { copy(b[0x1e00:], "../../x\x00"); return b },
	} {
		if v, ok := bootVersion(change([]byte(bootImage(banner)))); ok || v != (kernelVersion{}) {
			t.Errorf("%s: got %+v", name, v)
		}
	}
}

func TestFlavour(t *testing.T) {
	for release, want := range map[string]string{
		"6.1.0-28-amd64": "amd64", "6.1.0-28-cloud-amd64": "cloud-amd64", "5.15.0-91-generic": "generic", "5.14.0-503.el9.x86_64": "", "5.14.0-503.el9.x86_64+debug": "debug",
		"6.12.9+bpo-amd64": "amd64", "6.9.0-rc1-amd64": "amd64", "6.6.51+rpt-rpi-v8": "rpt-rpi-v8", "6.4.0-150600.23-default": "default", "6": "", "": "",
	} {
		if got := flavour(release); got != want {
			t.Errorf("%q: got %q, want %q", release, got, want)
		}
	}
}

func TestReboot(t *testing.T) {
	const banner = "6.1.0-28-amd64 (x) #1 SMP Debian 6.1.119-1 (2024-11-22)\x00"
	live := map[string]string{"proc/sys/kernel/osrelease": "6.1.0-28-amd64\n", "proc/sys/kernel/version": "#1 SMP Debian 6.1.119-1 (2024-11-22)\n", "boot/vmlinuz-6.1.0-28-amd64": bootImage(banner)}
	dpkg := "Package: linux-image-6.1.0-31-amd64\nStatus: install ok installed\nArchitecture: amd64\nVersion: 6.1.128-1\n\nPackage: linux-image-amd64\nStatus: install ok installed\nArchitecture: amd64\nVersion: 6.1.128-1\n"
	for _, tt := range []struct {
		name    string
		offline bool
		more    map[string]string
		newest  string
		want    string // needed, known, why
	}{
		{"current", false, nil, "6.1.0-28-amd64", "false true []"},
		{"newer", false, map[string]string{"boot/vmlinuz-6.1.0-31-amd64": bootImage("6.1.0-31-amd64 (x) #1 SMP")}, "6.1.0-31-amd64", "true true [a newer kernel is installed]"},
		{"older-too", false, map[string]string{"boot/vmlinuz-6.1.0-9-amd64": bootImage("6.1.0-9-amd64 (x) #1 SMP")}, "6.1.0-28-amd64", "false true []"},
		{"other-flavour", false, map[string]string{"boot/vmlinuz-6.1.0-31-rt-amd64": "MZ"}, "6.1.0-28-amd64", "false true []"},
		{"by-name", false, map[string]string{"boot/vmlinuz-6.1.0-30-amd64": "\x1f\x8b", "boot/vmlinuz-6.1.0-40-amd64.old": "x", "boot/vmlinuz-0-rescue-a": "x", "boot/initrd.img-6.1.0-50-amd64": ""}, "6.1.0-30-amd64", "true true [a newer kernel is installed]"},
		{"header-counts", false, map[string]string{"boot/vmlinuz-9.9.9-amd64": bootImage(banner)}, "6.1.0-28-amd64", "false true []"},
		{"rebuilt", false, map[string]string{"boot/vmlinuz-6.1.0-28-amd64": bootImage("6.1.0-28-amd64 (x) #1 SMP Debian 6.1.120-1 (2024-12-24)")}, "6.1.0-28-amd64", "true true [the installed kernel of the running release is another build]"},
		{"flag", false, map[string]string{"run/reboot-required": "*** System restart required ***\n", "run/reboot-required.pkgs": "libc6\nlinux-base\n"}, "6.1.0-28-amd64", "true true [a package asked for it]"},
		{"package", false, map[string]string{"var/lib/dpkg/status": dpkg}, "6.1.0-28-amd64", "true true [a newer kernel is installed as a package]"},
		{"no-images", false, map[string]string{"boot/vmlinuz-6.1.0-28-amd64": ""}, "", "false false []"},
		{"fifo", false, map[string]string{"boot/vmlinuz-6.1.0-99-amd64": "|"}, "6.1.0-28-amd64", "false true []"},
		{"image", true, nil, "6.1.0-28-amd64", "false false []"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, files := range []map[string]string{live, tt.more} {
				for name, text := range files {
					p := filepath.Join(dir, name)
					_ = os.MkdirAll(filepath.Dir(p), 0o755)
					_ = os.Remove(p)
					switch {
					case text == "" && strings.Contains(name, "vmlinuz"):
					case text == "|":
						fifo(t, p)
					default:
						if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			r, err := dirfd.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got := NeedsReboot(t.Context(), facts.Host{Root: r, Live: !tt.offline})
			if len(got.Rows) != 1 || (got.Status == rules.OK) != (tt.name != "fifo") {
				t.Fatalf("%s %s %+v", got.Status, got.Reason, got.Rows)
			}
			row := got.Rows[0]
			if s := fmt.Sprint(row.Needed, row.NeededKnown, row.Why); s != tt.want || row.Newest != tt.newest || row.NewestKnown != (tt.newest != "") || row.RunningKnown == tt.offline || row.FlagKnown == tt.offline {
				t.Errorf("got %s, %+v", s, row)
			}
			if tt.name == "flag" && !slices.Equal(row.Packages, []string{"libc6", "linux-base"}) {
				t.Errorf("got %q", row.Packages)
			}
		})
	}
}

func FuzzBootVersion(f *testing.F) {
	f.Add([]byte(bootImage("6.1.0-28-amd64 (x) #1 SMP Debian 6.1.119-1")))
	f.Add([]byte(bootImage("6")))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, ok := bootVersion(b)
		if ok != kernelRelease(v.release) || len(v.build) > 512 {
			t.Errorf("%+v, %v", v, ok)
		}
		if f := flavour(v.release); !strings.HasSuffix(v.release, f) {
			t.Errorf("%q of %q", f, v.release)
		}
		if r, ok := releaseOfName(string(b[:min(len(b), 64)])); ok && !kernelRelease(r) {
			t.Errorf("%q", r)
		}
	})
}
