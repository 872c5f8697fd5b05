package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The policy of the random trees: every group, an exclude, and a path that is
// selected again below it.
var treeLines = []policyLine{{"", "config"}, {"all", "all"}, {"meta", "metadata"}, {"pres", "presence"}, {"logs", "log"}, {"excl", ""}, {"excl/back", "config"}}

const treePolicy = `paths:
  - {path: $T, attributes: config}
  - {path: $T/all, attributes: all}
  - {path: $T/meta, attributes: metadata}
  - {path: $T/pres, attributes: presence}
  - {path: $T/logs, attributes: log}
  - {path: $T/excl/back, attributes: config}
exclude:
  - $T/excl
`

// hostile are names that break what splits, prints, globs or sorts carelessly.
var hostile = []string{
	"with space", "new\nline", "\x1b[31mred\x1b[0m", "\xff\xfe\x80", "\u202eltr", "名前", "-rf", "...", "*?[a]", "quote'\"`$(x)",
	"tab\tcr\r", "a,b;c:d", "\x01\x7f", `back\slash`, "émoji😀", "%s%n", "A", "a", "a.b", "a-b", "a b", "#x", "~", "{x}", strings.Repeat("n", 255),
	strings.Repeat("é", 127), "\xc3", "\xed\xa0\x80", "x\u200by", ".hidden",
}

// forest makes random trees and random changes of them.
type forest struct {
	*rand.Rand
	t    testing.TB
	tree string
	root bool // may chown and make device nodes
	n    int
}

func (f *forest) name() string {
	f.n++
	switch f.IntN(4) {
	case 0:
		return hostile[f.IntN(len(hostile))]
	case 1:
		return fmt.Sprintf("%s%d", hostile[f.IntN(12)], f.n)
	}
	return fmt.Sprintf("n%03d", f.IntN(400))
}

// content is now and then content that another file has too, or none.
func (f *forest) content() []byte {
	switch f.IntN(9) {
	case 0:
		return nil
	case 3:
		return fmt.Appendf(nil, "shared %d", f.IntN(2))
	case 1:
		return []byte("same bytes\n")
	case 2:
		b := make([]byte, f.IntN(40_000))
		for i := range b {
			b[i] = byte(f.Uint32())
		}
		return b
	}
	return fmt.Appendf(nil, "content %d\n", f.Uint64())
}

func pick[T any](f *forest, list []T) T { return list[f.IntN(len(list))] }

// paths lists what is in the tree, the tree itself first.
func (f *forest) paths() (dirs, files, others []string) {
	err := filepath.WalkDir(f.tree, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			dirs = append(dirs, p)
		case d.Type().IsRegular():
			files = append(files, p)
		default:
			others = append(others, p)
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return dirs, files, others
}

func (f *forest) create(p string, b []byte) {
	// A name that is taken stays as it is.
	if h, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
		_, err = h.Write(b)
		if err := h.Close(); err != nil {
			f.t.Fatal(err)
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

// grow builds the first state. Errors do not matter: what is there is looked
// at afterwards.
func (f *forest) grow(wide bool) {
	dirs := []string{f.tree}
	for _, d := range []string{"all", "meta", "pres", "logs", "excl", "excl/back", "plain"} {
		if f.IntN(6) > 0 || d == "excl" {
			p := filepath.Join(f.tree, d)
			if os.Mkdir(p, 0o755) == nil {
				dirs = append(dirs, p)
			}
		}
	}
	for range 4 + f.IntN(14) {
		p := filepath.Join(pick(f, dirs), f.name())
		if os.Mkdir(p, 0o755) == nil {
			dirs = append(dirs, p)
		}
	}
	if f.IntN(4) == 0 { // deep
		p := pick(f, dirs)
		for range 20 + f.IntN(20) {
			p = filepath.Join(p, fmt.Sprintf("deep%d", f.IntN(3)))
			_ = os.Mkdir(p, 0o755)
			dirs = append(dirs, p)
		}
	}
	for range 8 + f.IntN(50) {
		f.object(pick(f, dirs))
	}
	if wide {
		p := filepath.Join(f.tree, pick(f, []string{"", "all", "meta", "pres"}), "wide")
		_ = os.Mkdir(p, 0o755)
		for i := range pick(f, []int{1020 + f.IntN(8), 2044 + f.IntN(8), 1000 + f.IntN(1600)}) {
			f.create(filepath.Join(p, fmt.Sprintf("w%04d", i)), fmt.Appendf(nil, "%d", i))
		}
	}
	if f.IntN(3) == 0 { // sparse; a task of its own from 8 MiB on
		p := filepath.Join(pick(f, dirs), "sparse")
		f.create(p, []byte("head"))
		_ = os.Truncate(p, pick(f, []int64{1 << 20, 3<<20 + 5, 9 << 20}))
	}
}

func (f *forest) object(dir string) {
	p := filepath.Join(dir, f.name())
	switch f.IntN(12) {
	case 0:
		_ = os.Symlink(pick(f, []string{"/etc/passwd", ".", "..", "loop", f.name(), strings.Repeat("t/", 400)}), p)
	case 1:
		_ = unix.Mkfifo(p, 0o644)
	case 2:
		_ = unix.Mknod(p, unix.S_IFSOCK|0o755, 0)
	case 3:
		if f.root {
			_ = unix.Mknod(p, pick(f, []uint32{unix.S_IFCHR, unix.S_IFBLK})|0o600, int(unix.Mkdev(1, uint32(f.IntN(3)+3))))
		}
	case 4:
		_, files, _ := f.paths()
		if len(files) > 0 {
			_ = os.Link(pick(f, files), p)
		}
	default:
		f.create(p, f.content())
	}
}

func mtimeOf(p string) (ts []unix.Timespec) {
	var st unix.Stat_t
	if unix.Lstat(p, &st) != nil {
		return []unix.Timespec{{}, {}}
	}
	return []unix.Timespec{st.Atim, st.Mtim}
}

func setTimes(p string, ts []unix.Timespec) {
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW)
}

// mutation is one random change. A change that fails is no change.
type mutation struct {
	name string
	do   func(f *forest, dirs, files, others []string)
}

var mutations = []mutation{
	{"write in place", func(f *forest, _, files, _ []string) {
		p := pick(f, files)
		ts := mtimeOf(p)
		if h, err := os.OpenFile(p, os.O_WRONLY, 0); err == nil {
			_, _ = h.WriteAt([]byte{byte(f.Uint32())}, int64(f.IntN(20)))
			_ = h.Close()
		}
		setTimes(p, ts)
	}},
	{"append", func(f *forest, _, files, _ []string) {
		if h, err := os.OpenFile(pick(f, files), os.O_WRONLY|os.O_APPEND, 0); err == nil {
			_, _ = h.Write([]byte("more\n"))
			_ = h.Close()
		}
	}},
	{"truncate", func(f *forest, _, files, _ []string) { _ = os.Truncate(pick(f, files), int64(f.IntN(12))) }},
	{"chmod", func(f *forest, dirs, files, _ []string) {
		p := pick(f, append(files, dirs...))
		_ = unix.Chmod(p, pick(f, []uint32{0o600, 0o644, 0o755, 0o4755, 0o2755, 0o1777, 0o666})|0o700)
	}},
	{"chown", func(f *forest, dirs, files, others []string) {
		if f.root {
			_ = os.Lchown(pick(f, slices.Concat(dirs, files, others)), f.IntN(3), 1000+f.IntN(2))
		}
	}},
	{"xattr", func(f *forest, dirs, files, others []string) {
		p, name := pick(f, slices.Concat(dirs, files, others)), "user.intact"
		if f.root {
			name = pick(f, []string{"user.intact", "trusted.intact", "trusted.other"})
		}
		if f.IntN(3) == 0 {
			_ = unix.Lremovexattr(p, name)
			return
		}
		_ = unix.Lsetxattr(p, name, []byte{byte(f.IntN(4))}, 0)
	}},
	{"acl", func(f *forest, dirs, files, _ []string) {
		// Version 2: user::rwx, or an ordinary user could not go on; user:N:perm group::r-- mask::rw- other::r--
		acl := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, byte(f.IntN(7)), 0, byte(f.IntN(3)), 4, 0, 0,
			4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255}
		if f.IntN(3) == 0 {
			_ = unix.Lsetxattr(pick(f, dirs), "system.posix_acl_default", acl, 0)
			return
		}
		p := pick(f, append(files, dirs[1:]...))
		if f.IntN(3) == 0 {
			_ = unix.Lremovexattr(p, "system.posix_acl_access")
			return
		}
		_ = unix.Lsetxattr(p, "system.posix_acl_access", acl, 0)
	}},
	{"capability", func(f *forest, _, files, _ []string) {
		if !f.root {
			return
		}
		p := pick(f, files)
		if f.IntN(3) == 0 {
			_ = unix.Lremovexattr(p, "security.capability")
			return
		}
		// struct vfs_cap_data, version 2, one permitted bit, effective
		_ = unix.Lsetxattr(p, "security.capability", []byte{1, 0, 0, 2, 0, byte(1 << f.IntN(3)), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
	}},
	{"no-dump flag", func(f *forest, dirs, files, _ []string) {
		h, err := os.Open(pick(f, append(files, dirs...)))
		if err != nil {
			return
		}
		defer h.Close()
		if v, err := unix.IoctlGetInt(int(h.Fd()), unix.FS_IOC_GETFLAGS); err == nil {
			_ = unix.IoctlSetPointerInt(int(h.Fd()), unix.FS_IOC_SETFLAGS, v^noDump)
		}
	}},
	{"rename", func(f *forest, dirs, files, others []string) {
		_ = os.Rename(pick(f, append(files, others...)), filepath.Join(pick(f, dirs), f.name()))
	}},
	{"rename here", func(f *forest, _, files, others []string) {
		p := pick(f, append(files, others...))
		_ = os.Rename(p, filepath.Join(filepath.Dir(p), f.name()))
	}},
	{"rename over", func(f *forest, _, files, _ []string) { _ = os.Rename(pick(f, files), pick(f, files)) }},
	{"rename directory", func(f *forest, dirs, _, _ []string) {
		if len(dirs) > 1 {
			_ = os.Rename(pick(f, dirs[1:]), filepath.Join(pick(f, dirs), f.name()))
		}
	}},
	{"exchange", func(f *forest, dirs, files, others []string) {
		all := slices.Concat(dirs[1:], files, others)
		_ = unix.Renameat2(unix.AT_FDCWD, pick(f, all), unix.AT_FDCWD, pick(f, all), unix.RENAME_EXCHANGE)
	}},
	{"delete", func(f *forest, _, files, others []string) { _ = os.Remove(pick(f, append(files, others...))) }},
	{"delete recursively", func(f *forest, dirs, _, _ []string) {
		if len(dirs) > 4 && f.IntN(2) == 0 {
			_ = os.RemoveAll(pick(f, dirs[1:]))
		}
	}},
	{"type swap", func(f *forest, dirs, files, others []string) {
		p := pick(f, append(files, others...))
		_ = os.Remove(p)
		switch f.IntN(4) {
		case 0:
			_ = os.Mkdir(p, 0o755)
			f.create(filepath.Join(p, "inside"), f.content())
		case 1:
			_ = os.Symlink("elsewhere", p)
		case 2:
			_ = unix.Mkfifo(p, 0o600)
		default:
			f.create(p, f.content())
		}
	}},
	{"directory to file", func(f *forest, dirs, _, _ []string) {
		if len(dirs) > 4 && f.IntN(3) == 0 {
			p := pick(f, dirs[1:])
			_ = os.RemoveAll(p)
			f.create(p, f.content())
		}
	}},
	{"retarget", func(f *forest, _, _, others []string) {
		for _, p := range others {
			if to, err := os.Readlink(p); err == nil && f.IntN(2) == 0 {
				ts := mtimeOf(p)
				_ = os.Remove(p)
				_ = os.Symlink(strings.Repeat("z", max(len(to), 1)), p)
				setTimes(p, ts)
				return
			}
		}
	}},
	{"hard link", func(f *forest, dirs, files, _ []string) {
		_ = os.Link(pick(f, files), filepath.Join(pick(f, dirs), f.name()))
	}},
	{"remove and make again", func(f *forest, _, files, _ []string) {
		p := pick(f, files)
		b, _ := os.ReadFile(p)
		_ = os.Remove(p)
		f.create(p, b)
	}},
	{"replace by the same bytes", func(f *forest, _, files, _ []string) {
		p := pick(f, files)
		fi, err := os.Lstat(p)
		if err != nil {
			return
		}
		b, _ := os.ReadFile(p)
		ts := mtimeOf(p)
		tmp := filepath.Join(filepath.Dir(p), ".tmp-of-an-editor")
		_ = os.WriteFile(tmp, b, fi.Mode().Perm())
		_ = os.Chmod(tmp, fi.Mode().Perm())
		if f.IntN(2) == 0 {
			setTimes(tmp, ts)
		}
		_ = os.Rename(tmp, p)
	}},
	{"copy", func(f *forest, dirs, files, _ []string) {
		b, _ := os.ReadFile(pick(f, files))
		f.create(filepath.Join(pick(f, dirs), f.name()), b)
	}},
	{"several of the same bytes", func(f *forest, dirs, files, _ []string) {
		b := fmt.Appendf(nil, "shared %d", f.IntN(2)) // of these some are there, some go, some come
		for range f.IntN(3) {
			f.create(filepath.Join(pick(f, dirs), f.name()), b)
		}
		for _, p := range files {
			if old, err := os.ReadFile(p); err == nil && bytes.Equal(old, b) && f.IntN(2) == 0 {
				_ = os.Remove(p)
			}
		}
	}},
	{"touch", func(f *forest, dirs, files, others []string) {
		p := pick(f, slices.Concat(dirs, files, others))
		setTimes(p, []unix.Timespec{{Sec: 1}, {Sec: int64(f.IntN(2_000_000_000)) - 1000, Nsec: int64(f.IntN(1e9))}})
	}},
	{"new objects", func(f *forest, dirs, _, _ []string) {
		for range 1 + f.IntN(4) {
			f.object(pick(f, dirs))
		}
	}},
	{"new directory", func(f *forest, dirs, _, _ []string) {
		p := filepath.Join(pick(f, dirs), f.name())
		if os.Mkdir(p, 0o755) == nil {
			for range f.IntN(4) {
				f.object(p)
			}
		}
	}},
	{"many new files", func(f *forest, dirs, _, _ []string) {
		if f.IntN(4) == 0 {
			p := pick(f, dirs)
			for i := range f.IntN(1200) {
				f.create(filepath.Join(p, fmt.Sprintf("many%04d", f.IntN(9999)+i)), nil)
			}
		}
	}},
	{"many files gone", func(f *forest, _, files, _ []string) {
		if f.IntN(2) == 0 {
			for _, p := range files[:f.IntN(len(files))] {
				if base := filepath.Base(p); strings.HasPrefix(base, "w") || strings.HasPrefix(base, "many") {
					_ = os.Remove(p)
				}
			}
		}
	}},
}

func (f *forest) mutate() (done []string) {
	for range 1 + f.IntN(12) {
		dirs, files, others := f.paths()
		if len(files) == 0 {
			f.create(filepath.Join(f.tree, "again"), []byte("again"))
			continue
		}
		m := pick(f, mutations)
		m.do(f, dirs, files, others)
		done = append(done, m.name)
		for _, l := range treeLines[1:] {
			// Where a path of the policy is a link, its target is scanned as
			// well: that is not in the model.
			p := filepath.Join(f.tree, l.below)
			if fi, err := os.Lstat(p); err == nil && fi.Mode()&fs.ModeSymlink != 0 {
				_ = os.Remove(p)
			}
		}
	}
	return done
}

// compareReport holds a report against the model.
func compareReport(t testing.TB, r result, before, after state, list []*change, what string) {
	t.Helper()
	lines := parse(t, r.stdout)
	var got []string
	for _, l := range of(lines, "finding") {
		if l.Set == "packages" {
			continue // this host may have a database of packages
		}
		if l.Set != "integrity" {
			t.Errorf("%s: finding of set %q: %+v", what, l.Set, l)
		}
		got = append(got, describe(l.path, l.Change, l.from, l.Count, l.attributes, l.linkPaths))
	}
	want := findings(list)
	if !slices.Equal(got, want) {
		for _, s := range want {
			if !slices.Contains(got, s) {
				t.Errorf("%s: missing  %s", what, s)
			}
		}
		for _, s := range got {
			if !slices.Contains(want, s) {
				t.Errorf("%s: reported %s", what, s)
			}
		}
		if len(got) == len(want) && !t.Failed() {
			t.Errorf("%s: findings in another order: got %q, want %q", what, got, want)
		}
	}
	tr := trailer(t, lines)
	n := map[string]int64{"verified": int64(len(after)), "unverified": 0, "known_gaps": 0, "removed": 0, "added": 0, "changed": 0, "renamed": 0}
	for _, c := range list {
		if c.lost {
			continue // the file is what the baseline knows
		}
		k := c.kind
		if k == "replaced" {
			k = "changed"
		}
		n[k]++
		if k != "removed" {
			n["verified"]--
		}
	}
	var selected int64
	for _, v := range n {
		selected += v
	}
	n["selected"] = selected
	for name, v := range n {
		if g := tr.count(t, name); g != v {
			t.Errorf("%s: count %s: got %d, want %d", what, name, g, v)
		}
	}
	if g := of(lines, "gap"); len(g) > 0 || !tr.Complete {
		t.Errorf("%s: gaps %+v, complete %v", what, g, tr.Complete)
	}
	wantExit := 0
	if len(want) > 0 {
		wantExit = 1
	}
	if r.exit != wantExit || r.err != nil {
		t.Errorf("%s: want exit %d, got %v", what, wantExit, r)
	}
}

// plainExport is an export without what the statement says and what is
// recorded and not compared: path and name → compared values, and where each
// part begins.
func plainExport(t testing.TB, b []byte, lines []policyLine, tree string) (entries map[string]string, parts []string, rest []string) {
	t.Helper()
	entries = map[string]string{}
	for text := range bytes.Lines(b) {
		var l struct {
			Type, Kind, Path, Path_B64, Next, Next_B64 string
			Part                                       int
			Entries                                    json.RawMessage
		}
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		switch l.Type {
		case "header", "trailer":
			continue
		case "dir":
		default:
			if l.Kind != "state" { // where the state folder is: not the same one
				rest = append(rest, string(text))
			}
			continue
		}
		dir := unb64(t, l.Path, l.Path_B64)
		var list []map[string]any
		if err := json.Unmarshal(l.Entries, &list); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, fmt.Sprintf("%q part %d of %d to %q", dir, l.Part, len(list), unb64(t, l.Next, l.Next_B64)))
		for _, e := range list {
			name, _ := e["name"].(string)
			b64, _ := e["name_b64"].(string)
			p := filepath.Join(dir, unb64(t, name, b64))
			kind, _ := e["type"].(string)
			group := groupOf(tree, p, lines)
			a := compared(group, kind)
			if group == "log" {
				delete(a, "content") // only as far as it was known
			}
			var s []string
			for _, n := range a.list() {
				s = append(s, fmt.Sprint(n, "=", e[n], e[n+"_b64"], e["default_"+n+"_b64"]))
			}
			entries[p] = fmt.Sprint(kind, e["rdev"], e["set"], s)
		}
	}
	return entries, parts, rest
}

// memory returns a folder that is fast to sync, where there is one.
func memory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "intact-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// grove runs one tree through several states.
func grove(t testing.TB, seed uint64, states int) {
	s := newSite(t, treePolicy)
	s.state = filepath.Join(memory(t), "state") // nothing is killed here: no need to wait for a disk
	f := &forest{Rand: rand.New(rand.NewPCG(seed, 1)), t: t, tree: s.tree, root: os.Geteuid() == 0}
	defer syscall.Umask(syscall.Umask(0o022))
	f.grow(seed%5 == 0)
	base := observe(t, s.tree, treeLines)
	s.want(s.init(), 0)
	compareReport(t, s.check(), base, base, nil, fmt.Sprintf("seed %d untouched", seed))
	last := base
	for i := range states {
		done := f.mutate()
		what := fmt.Sprintf("seed %d state %d %q", seed, i, done)
		after := observe(t, s.tree, treeLines)
		list := expect(base, after)
		first := s.check()
		compareReport(t, first, base, after, withLosses(list, last, base, after), what)
		last = after
		if t.Failed() {
			t.FailNow()
		}
		if f.IntN(5) == 0 {
			again := s.check()
			compareReport(t, again, base, after, list, what+" again")
			for _, l := range of(parse(t, again.stdout), "finding") {
				if l.New {
					t.Errorf("%s: pending finding called new: %q", what, l.path)
				}
			}
		}
		if len(findings(list)) > 0 {
			if f.IntN(4) == 0 {
				s.want(s.accept(s.tree), 0) // the path that everything lies below
			} else {
				s.want(s.accept(), 0)
			}
			base = accepted(base, list)
		}
		compareReport(t, s.check(), base, after, nil, what+" accepted")
		if t.Failed() {
			t.FailNow()
		}
	}
	got, gotParts, gotRest := plainExport(t, s.export(), treeLines, s.tree)
	s.must(os.Rename(s.state, s.state+"-before"))
	s.want(s.init(), 0)
	want, wantParts, wantRest := plainExport(t, s.export(), treeLines, s.tree)
	for p, e := range want {
		if got[p] != e {
			t.Errorf("seed %d: accepted %q: %s\nfresh: %s", seed, p, got[p], e)
		}
	}
	for p, e := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("seed %d: %q stays in the baseline: %s", seed, p, e)
		}
	}
	if !slices.Equal(gotParts, wantParts) {
		t.Errorf("seed %d: an accepted generation is laid out otherwise than a fresh one:\n%q\n%q", seed, gotParts, wantParts)
	}
	own := func(row string) bool { return strings.Contains(row, `"kind":"self"`) } // new keys
	gotRest, wantRest = slices.DeleteFunc(gotRest, own), slices.DeleteFunc(wantRest, own)
	for _, row := range gotRest {
		if !slices.Contains(wantRest, row) {
			t.Errorf("seed %d: only the accepted generation has %s", seed, row)
		}
	}
	for _, row := range wantRest {
		if !slices.Contains(gotRest, row) {
			t.Errorf("seed %d: only a fresh generation has %s", seed, row)
		}
	}
}

// TestTreeModel compares what checks report with a model that looks at the
// tree by itself. INTACT_ROUNDS sets the number of states, and INTACT_SEED the
// first tree: each is the name of a subtest.
func TestTreeModel(t *testing.T) {
	const each = 10
	n := rounds(t, "INTACT_ROUNDS", 16/slow)
	first := uint64(1)
	if n > 100 {
		first = uint64(time.Now().UnixNano())
	}
	if v := os.Getenv("INTACT_SEED"); v != "" {
		var err error
		if first, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("INTACT_SEED: %v", err)
		}
	}
	for i := range (n + each - 1) / each {
		seed := first + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) { grove(t, seed, min(each, n-i*each)) })
	}
}

// FuzzTree is TestTreeModel for seeds that the fuzzer chooses.
func FuzzTree(f *testing.F) {
	f.Add(uint64(1000), uint8(2))
	f.Fuzz(func(t *testing.T, seed uint64, states uint8) { grove(t, seed, int(states%8)+1) })
}

// What is accepted by path takes the times of the directories along that it
// happened in, also where they come before it: a move away, another name.
func TestAcceptByPathTakesTimesAlong(t *testing.T) {
	for what, do := range map[string]func(s *site) error{
		"moved away":   func(s *site) error { return os.Rename(s.tree+"/a/file", s.tree+"/z/file") },
		"another name": func(s *site) error { return os.Link(s.tree+"/new", s.tree+"/z/other") },
		"both names gone": func(s *site) error {
			return errors.Join(os.Remove(s.tree+"/a/twice"), os.Remove(s.tree+"/z/twice"))
		},
	} {
		s := newSite(t, "paths:\n  - {path: $T, attributes: all}\n")
		s.write("a/file", "moves")
		s.write("z/stays", "stays")
		s.write("a/twice", "twice")
		s.must(os.Link(s.tree+"/a/twice", s.tree+"/z/twice"))
		s.want(s.init(), 0)
		if what == "another name" {
			s.write("new", "new")
		}
		s.must(do(s))
		s.want(s.check(), 1)
		s.want(s.accept(s.tree), 0)
		if r := s.check(); r.exit != 0 {
			t.Errorf("%s: not all was accepted: %v", what, r)
		}
	}
}
