package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"intact/cmd/internal/cli"
)

// image is a file system in a file, mounted over a loop device that goes with
// the mount.
type image struct {
	t    *testing.T
	file string
	root string
	args []string // of intact
}

// newImage skips, and says why, where there is nothing to mount with.
func newImage(t *testing.T, make []string) *image {
	t.Helper()
	if !mountable() {
		t.Skip("SKIPPED: two views cannot be tested: nothing can be mounted here (root and a mount namespace are needed)")
	}
	for _, tool := range []string{make[0], "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: two views cannot be tested: %v", err)
		}
	}
	dir := t.TempDir()
	m := &image{t: t, file: filepath.Join(dir, "image"), root: filepath.Join(dir, "root")}
	config := filepath.Join(dir, "policy.yaml")
	m.args = []string{"intact", "--config=" + config, "--state=" + filepath.Join(dir, "state"), "--root=" + m.root}
	must(t, os.WriteFile(config, []byte("version: 1\npaths: [{path: /, attributes: binary}]\n"), 0o600),
		os.WriteFile(m.file, nil, 0o600), os.Truncate(m.file, 400<<20), os.Mkdir(m.root, 0o755))
	m.tool(make[0], append(make[1:], m.file)...)
	m.mount("")
	t.Cleanup(func() {
		m.umount()
		_ = syscall.Unmount(m.root, syscall.MNT_DETACH|umountNoFollow) // where that failed
	})
	return m
}

func (m *image) mount(options string) {
	m.t.Helper()
	if out, err := exec.Command("mount", "-o", "loop"+options, m.file, m.root).CombinedOutput(); err != nil {
		m.t.Skipf("SKIPPED: two views cannot be tested: mount -o loop%s: %v: %s", options, err, out)
	}
}

func (m *image) umount() {
	m.t.Helper()
	if err := syscall.Unmount(m.root, umountNoFollow); err != nil {
		m.t.Errorf("unmount: %v", err)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (m *image) tool(name string, args ...string) {
	m.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// intact runs the program and returns the report's findings and trailer.
func (m *image) intact(want int, args ...string) (findings []map[string]any, trailer map[string]any) {
	m.t.Helper()
	var out, errs bytes.Buffer
	line := append(append([]string{}, m.args...), append(args, "--format=json")...)
	if got := cli.MainOf(context.Background(), cli.Known{Tool: toolDigest()}, line, strings.NewReader(""), &out, &errs); got != want {
		m.t.Fatalf("%q exits with %d, want %d: %s%s", args, got, want, out.String(), errs.String())
	}
	for l := range bytes.Lines(out.Bytes()) {
		var r map[string]any
		must(m.t, json.Unmarshal(l, &r))
		switch r["type"] {
		case "finding":
			findings = append(findings, r)
		case "trailer":
			trailer = r
		}
	}
	return findings, trailer
}

// write makes a file of the image with content that nothing else has.
func (m *image) write(name string, size int) []byte {
	m.t.Helper()
	b := make([]byte, size)
	rand.Read(b)
	must(m.t, os.WriteFile(filepath.Join(m.root, name), b, 0o755))
	return b
}

// plant writes below the file system: the byte at offset of the file whose
// content is b.
func (m *image) plant(b []byte, offset int) {
	m.t.Helper()
	f, err := os.OpenFile(m.file, os.O_RDWR, 0)
	must(m.t, err)
	defer f.Close()
	mark := b[:min(len(b), 4096)]
	window := make([]byte, 1<<20+len(mark))
	for at := int64(0); ; at += 1 << 20 {
		n, err := f.ReadAt(window, at)
		if i := bytes.Index(window[:n], mark); i >= 0 {
			_, err := f.WriteAt([]byte{b[offset] ^ 0xff}, at+int64(i+offset))
			must(m.t, err, f.Sync())
			return
		}
		if err != nil {
			m.t.Fatalf("the content is not on the disk: %v", err)
		}
	}
}

// shown reads a file as every program does.
func (m *image) shown(name string, want []byte) {
	m.t.Helper()
	got, err := os.ReadFile(filepath.Join(m.root, name))
	must(m.t, err)
	if !bytes.Equal(got, want) {
		m.t.Fatalf("%s shows what was planted: the page cache did not keep it", name)
	}
}

// checksums are options for a file system that has them: what was planted is an
// I/O error there.
const checksums = ",noatime"

func TestTwoViews(t *testing.T) {
	ext4 := []string{"mkfs.ext4", "-q", "-F", "-b", "4096"}
	for name, c := range map[string]struct {
		make    []string
		options string
	}{
		"direct":    {ext4, ""},
		"forgotten": {ext4, ",data=journal"}, // O_DIRECT goes through the page cache there
		"vfat":      {[]string{"mkfs.vfat"}, ""},
		"xfs":       {[]string{"mkfs.xfs", "-q"}, ""},
		"btrfs":     {[]string{"mkfs.btrfs", "-q"}, checksums},
	} {
		t.Run(name, func(t *testing.T) { twoViews(t, newImage(t, c.make), c.options) })
	}
}

func twoViews(t *testing.T, m *image, options string) {
	tool, tail := m.write("tool", 9000), m.write("tail", 4096+77)
	for i := range 30 {
		m.write(fmt.Sprintf("f%d", i), 1+i*100)
	}
	must(t, os.WriteFile(filepath.Join(m.root, "empty"), nil, 0o644))
	m.umount() // what a journal of data holds is not where the file is
	m.mount(options)
	m.intact(0, "init")
	m.shown("tool", tool)
	_, trailer := m.intact(0, "check", "--second-look", "100%")
	want := func(files, differing, impossible float64) {
		t.Helper()
		l, _ := trailer["second_look"].(map[string]any)
		if l["files"] != files || l["differing"] != differing || l["impossible"] != impossible {
			t.Fatalf("second look %v, want files %v, differing %v, impossible %v", l, files, differing, impossible)
		}
	}
	want(32, 0, 0)
	m.shown("tool", tool)
	m.shown("tail", tail)
	m.plant(tool, 100)
	m.shown("tool", tool)

	_, trailer = m.intact(0, "check")
	if trailer["verdict"] != "clean" || trailer["second_look"] != nil {
		t.Fatalf("one look: %v", trailer)
	}
	if options == checksums {
		_, trailer = m.intact(3, "check", "--second-look=100%")
		want(31, 0, 1)
		return
	}
	found, trailer := m.intact(1, "check", "--second-look=100%")
	want(32, 1, 0)
	if len(found) != 1 || found[0]["rule"] != "fim.two-views" || found[0]["severity"] != "critical" || found[0]["subject"].(map[string]any)["path"] != "/tool" || found[0]["new"] != true {
		t.Fatalf("findings %v", found)
	}
}

// A finding about two views is told in its place among the others, stays what
// it was until somebody looks, and cannot be accepted.
func TestTwoViewsStay(t *testing.T) {
	m := newImage(t, []string{"mkfs.ext4", "-q", "-F", "-b", "4096"})
	b, last := m.write("m", 5000), m.write("z", 4096)
	for i := range 20 {
		m.write(fmt.Sprintf("f%d", i), 500)
	}
	syscall.Sync()
	m.intact(0, "init")
	m.shown("m", b)
	m.shown("z", last)
	m.plant(b, 4000)
	m.plant(last, 4095)
	m.write("a", 10)
	m.write("n", 10)
	must(t, os.Chmod(filepath.Join(m.root, "z"), 0o700)) // its metadata changed: that is one finding more
	rules := func(list []map[string]any) (s []string) {
		for _, f := range list {
			s = append(s, fmt.Sprint(f["subject"].(map[string]any)["path"], " ", f["rule"], " ", f["new"]))
		}
		return s
	}
	same := func(got []map[string]any, want ...string) {
		t.Helper()
		if s := rules(got); fmt.Sprint(s) != fmt.Sprint(want) {
			t.Fatalf("got %q, want %q", s, want)
		}
	}
	found, _ := m.intact(1, "check", "--second-look=100%")
	same(found, "/a fim.executable true", "/m fim.two-views true", "/n fim.executable true", "/z fim.two-views true", "/z fim.metadata true")
	// Whoever does not look does not find, nor forget.
	found, _ = m.intact(1, "check")
	same(found, "/a fim.executable false", "/n fim.executable false", "/z fim.metadata false")
	// What differed is looked at whatever chance says.
	found, _ = m.intact(1, "check", "--second-look=1")
	same(found, "/a fim.executable false", "/m fim.two-views false", "/n fim.executable false", "/z fim.two-views false", "/z fim.metadata false")
	var out, errs bytes.Buffer
	line := append(append([]string{}, m.args...), "accept", "--all", "--reason=all of it")
	if code := cli.MainOf(context.Background(), cli.Known{Tool: toolDigest()}, line, strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("accept: %d: %s", code, errs.String())
	}
	found, _ = m.intact(1, "check", "--second-look=100%")
	for _, want := range []string{"/m fim.two-views", "/z fim.two-views"} {
		if !strings.Contains(fmt.Sprint(rules(found)), want) {
			t.Errorf("%s is gone by accept: %q", want, rules(found))
		}
	}
	if len(found) != 2 {
		t.Errorf("got %q", rules(found))
	}
}
