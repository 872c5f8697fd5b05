package app_test

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The model says what a check must report. It shares no code with the product:
// it looks at the tree by path names, compares whole maps and pairs by trying.

// names are the attributes in the order of a report.
var names = [...]string{"type", "mode", "uid", "gid", "size", "mtime", "ctime", "inode", "nlink", "device", "target", "content", "xattr", "acl", "caps", "selinux", "flags"}

type attrs map[string]bool

func set(list ...string) attrs {
	a := attrs{}
	for _, n := range list {
		a[n] = true
	}
	return a
}

func (a attrs) minus(list ...string) attrs {
	r := attrs{}
	for n := range a {
		if !slices.Contains(list, n) {
			r[n] = true
		}
	}
	return r
}

// within reports whether a holds nothing but what is in list.
func (a attrs) within(list ...string) bool { return len(a.minus(list...)) == 0 }

func (a attrs) list() (r []string) {
	for _, n := range names {
		if a[n] {
			r = append(r, n)
		}
	}
	return r
}

// compared are the attributes of a group, for directories and for the rest.
func compared(group, kind string) attrs {
	all := set(names[:]...)
	switch group {
	case "config":
		all = all.minus("inode", "device")
		if kind == "dir" {
			all = all.minus("mtime", "ctime", "size", "nlink")
		}
	case "metadata":
		all = all.minus("inode", "device", "content")
		if kind == "dir" {
			all = all.minus("mtime", "ctime", "size", "nlink")
		}
	case "presence":
		all = set("type")
	case "log":
		all = all.minus("size", "mtime", "ctime", "inode", "nlink", "device", "target")
	}
	for attr, kinds := range map[string]string{"target": "symlink", "content": "file", "caps": "file", "flags": "file dir"} {
		if !slices.Contains(strings.Fields(kinds), kind) {
			delete(all, attr)
		}
	}
	if kind == "symlink" {
		delete(all, "acl")
	}
	return all
}

// snap is one object as a look by name finds it.
type snap struct {
	group string
	kind  string
	birth string // "" if unknown
	mode  uint16
	attr  map[string]string // absent: there is none
	raw   string            // content of a log
}

func (s *snap) has(name string) bool { _, ok := s.attr[name]; return ok }

// nlink is the number of names, as it was recorded.
func (s *snap) several() bool { return s.attr["nlink"] != "1" }

func (s *snap) identity() string { return s.attr["inode"] + " " + s.attr["device"] }

// read are the attributes that a scan looks for under the object's group.
func (s *snap) read() attrs {
	a := compared(s.group, s.kind)
	for _, n := range []string{"type", "mode", "uid", "gid", "size", "mtime", "ctime", "inode", "nlink", "device"} {
		a[n] = true
	}
	return a
}

var kinds = map[uint16]string{unix.S_IFREG: "file", unix.S_IFDIR: "dir", unix.S_IFLNK: "symlink", unix.S_IFIFO: "fifo",
	unix.S_IFSOCK: "socket", unix.S_IFCHR: "char device", unix.S_IFBLK: "block device"}

func look(t testing.TB, p, group string) *snap {
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &x); err != nil {
		t.Fatalf("statx %q: %v", p, err)
	}
	s := &snap{group: group, kind: kinds[x.Mode&unix.S_IFMT], mode: x.Mode &^ unix.S_IFMT}
	stamp := func(v unix.StatxTimestamp) string { return fmt.Sprintf("%d.%09d", v.Sec, v.Nsec) }
	s.attr = map[string]string{
		"type": s.kind, "mode": fmt.Sprintf("%04o", s.mode), "uid": fmt.Sprint(x.Uid), "gid": fmt.Sprint(x.Gid), "size": fmt.Sprint(x.Size),
		"mtime": stamp(x.Mtime), "ctime": stamp(x.Ctime), "inode": fmt.Sprint(x.Ino), "nlink": fmt.Sprint(x.Nlink), "device": fmt.Sprint(x.Dev_major, x.Dev_minor),
	}
	if strings.HasSuffix(s.kind, " device") {
		s.attr["type"] += fmt.Sprint(x.Rdev_major, x.Rdev_minor)
	}
	if x.Mask&unix.STATX_BTIME != 0 {
		s.birth = stamp(x.Btime)
	}
	lookXattr(t, p, s)
	switch s.kind {
	case "file":
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		s.attr["content"] = fmt.Sprintf("%x", sha256.Sum256(b))
		if group == "log" {
			s.raw = string(b)
		}
		s.attr["flags"] = inodeFlags(p)
	case "dir":
		s.attr["flags"] = inodeFlags(p)
	case "symlink":
		to, err := os.Readlink(p)
		if err != nil {
			t.Fatal(err)
		}
		s.attr["target"] = to
	}
	return s
}

func lookXattr(t testing.TB, p string, s *snap) {
	buf := make([]byte, 8192)
	n, err := unix.Llistxattr(p, buf)
	if err == unix.EOPNOTSUPP {
		return
	}
	if err != nil {
		t.Fatalf("llistxattr %q: %v", p, err)
	}
	var other []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		v := make([]byte, 8192)
		n, err := unix.Lgetxattr(p, name, v)
		if err != nil {
			t.Fatalf("lgetxattr %q %q: %v", p, name, err)
		}
		text := fmt.Sprintf("%s=%x", name, v[:n])
		switch {
		case strings.HasPrefix(name, "system.posix_acl_"):
			s.attr["acl"] += text + " "
		case name == "security.capability" && s.kind == "file":
			s.attr["caps"] = text
		case name == "security.selinux":
			s.attr["selinux"] = text
		default:
			other = append(other, text)
		}
	}
	if len(other) > 0 {
		sort.Strings(other)
		s.attr["xattr"] = strings.Join(other, " ")
	}
}

// inodeFlags tells the one flag that the mutations set.
func inodeFlags(p string) string {
	f, err := os.OpenFile(p, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	v, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return ""
	}
	return fmt.Sprint(v & noDump)
}

const noDump = 0x40 // FS_NODUMP_FL

// policyLine is one line of the policy: the deepest prefix decides.
type policyLine struct{ below, group string } // group "": excluded

type state map[string]*snap

// observe looks at everything that the lines select.
func observe(t testing.TB, tree string, lines []policyLine) state {
	st := state{}
	err := filepath.WalkDir(tree, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if g := groupOf(tree, p, lines); g != "" {
			st[p] = look(t, p, g)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func groupOf(tree, p string, lines []policyLine) (group string) {
	deepest := -1
	for _, l := range lines {
		at := strings.TrimSuffix(tree+"/"+l.below, "/")
		if (p == at || strings.HasPrefix(p, at+"/")) && len(at) > deepest {
			deepest, group = len(at), l.group
		}
	}
	return group
}

// change is what the model expects.
type change struct {
	kind, path, from string
	attrs            attrs
	old, now         *snap
	folded, gone     bool
	linkOf           *change
	links            []string
	count            int64
	lost             bool // a log lost what an earlier check saw and the baseline does not know
}

func treeOrder(a, b string) int {
	return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
}

// differ are the compared attributes that are not the same.
func differ(old, now *snap, sameName bool) attrs {
	d := attrs{}
	if old.kind != now.kind {
		return set("type")
	}
	for n := range compared(old.group, old.kind) {
		if n == "content" && old.group == "log" && now.group == "log" {
			if sameName && !strings.HasPrefix(now.raw, old.raw) || !sameName && now.raw != old.raw {
				d[n] = true
			}
			continue
		}
		if !now.read()[n] {
			continue
		}
		if old.has(n) != now.has(n) || old.attr[n] != now.attr[n] {
			d[n] = true
		}
	}
	return d
}

func another(a, b *snap) bool {
	return a.attr["inode"] != b.attr["inode"] || a.birth != b.birth && a.birth != "" && b.birth != ""
}

func isReplaced(old, now *snap, d attrs) bool {
	if old.kind != now.kind || !another(old, now) {
		return false
	}
	traces := []string{"mtime", "ctime", "inode", "device"}
	switch old.kind {
	case "dir":
		return d.within(append(traces, "size", "nlink")...)
	case "file":
		return d.within(traces...) && compared(old.group, "file")["content"]
	case "symlink":
		return d.within(traces...) && compared(old.group, "symlink")["target"]
	}
	return d.within(traces...)
}

// expect compares two states.
func expect(before, after state) []*change {
	var list []*change
	paths := map[string]bool{}
	for p := range before {
		paths[p] = true
	}
	for p := range after {
		paths[p] = true
	}
	for p := range paths {
		c := &change{path: p, old: before[p], now: after[p]}
		switch {
		case c.old == nil:
			c.kind = "added"
		case c.now == nil:
			c.kind = "removed"
		default:
			c.attrs = differ(c.old, c.now, true)
			if len(c.attrs) == 0 {
				continue
			}
			c.kind = "changed"
			if isReplaced(c.old, c.now, c.attrs) {
				c.kind = "replaced"
			}
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *change) int { return treeOrder(a.path, b.path) })
	fold(list)
	tied := tieGroups(list)
	pairObjects(list)
	pairContents(list)
	list = slices.DeleteFunc(list, func(c *change) bool { return c.gone })
	tie(tied)
	moveAlong(list)
	return list
}

// withLosses adds the logs of which the last look knows more than the baseline,
// and which no longer begin with it, though they begin with what that has.
func withLosses(list []*change, last, before, after state) []*change {
	list = slices.Clone(list)
	for p, now := range after {
		was, base := last[p], before[p]
		if was == nil || was.group != "log" || now.group != "log" || was.kind != "file" || now.kind != "file" || strings.HasPrefix(now.raw, was.raw) {
			continue
		}
		if base != nil && (base.kind != "file" || !strings.HasPrefix(now.raw, base.raw)) {
			continue // told with the change of its content
		}
		list = slices.Insert(list, 0, &change{path: p, kind: "changed", old: was, now: now, lost: true}) // told before another change of it
	}
	slices.SortStableFunc(list, func(a, b *change) int { return treeOrder(a.path, b.path) })
	return list
}

// fold marks directories whose own change follows from what is in them.
func fold(list []*change) {
	for _, dir := range list {
		if dir.kind != "changed" || dir.now.kind != "dir" || dir.old.kind != "dir" || !dir.attrs.within("mtime", "ctime", "size", "nlink") {
			continue
		}
		for _, c := range list {
			if filepath.Dir(c.path) == dir.path && (c.kind != "changed" || c.attrs["type"] || another(c.old, c.now)) {
				dir.folded = true
			}
		}
	}
}

func groupBy(list []*change, key func(*change) string) [][]*change {
	by := map[string][]*change{}
	for _, c := range list {
		if k := key(c); k != "" {
			by[k] = append(by[k], c)
		}
	}
	var r [][]*change
	for _, g := range by {
		if len(g) > 1 {
			r = append(r, g)
		}
	}
	return r
}

func (c *change) either() *snap { return cmp.Or(c.now, c.old) }

func split(g []*change) (removed, added []*change) {
	for _, c := range g {
		switch {
		case c.kind == "removed" && !c.gone:
			removed = append(removed, c)
		case c.kind == "added":
			added = append(added, c)
		}
	}
	return removed, added
}

func pairObjects(list []*change) {
	groups := groupBy(list, func(c *change) string {
		if e := c.either(); (c.kind == "added" || c.kind == "removed") && e.birth != "" {
			return e.kind + " " + e.identity() + " " + e.birth
		}
		return ""
	})
	for _, g := range groups {
		for _, byName := range []bool{true, false} {
			removed, _ := split(g)
			for _, r := range removed {
				_, added := split(g)
				i := slices.IndexFunc(added, func(a *change) bool { return !byName || filepath.Base(a.path) == filepath.Base(r.path) })
				if i >= 0 {
					pair(r, added[i])
				}
			}
		}
	}
}

func pairContents(list []*change) {
	groups := groupBy(list, func(c *change) string {
		e := c.either()
		if c.kind != "added" && c.kind != "removed" || e.kind != "file" || !compared(e.group, "file")["content"] {
			return ""
		}
		if e.group == "log" {
			if e.raw == "" {
				return ""
			}
			return fmt.Sprintf("%x", sha256.Sum256([]byte(e.raw)))
		}
		if e.attr["size"] == "0" {
			return ""
		}
		return e.attr["content"]
	})
	for _, g := range groups {
		if removed, added := split(g); len(removed) == 1 && len(added) == 1 {
			pair(removed[0], added[0])
		}
	}
}

// pair makes a rename of a removed and an added path.
func pair(removed, added *change) {
	removed.gone = true
	added.kind, added.from, added.old = "renamed", removed.path, removed.old
	added.attrs = differ(added.old, added.now, false)
}

// tieGroups finds the changes of several names of one inode.
func tieGroups(list []*change) [][]*change {
	groups := groupBy(list, func(c *change) string {
		if c.either().kind == "dir" || c.old != nil && c.old.kind == "dir" || !c.either().several() {
			return ""
		}
		k := c.kind + " " + strings.Join(c.attrs.list(), ",")
		for _, e := range []*snap{c.old, c.now} {
			if e == nil {
				k += " none"
			} else {
				k += " " + e.kind + " " + e.identity()
			}
		}
		return k
	})
	return groups
}

func tie(groups [][]*change) {
	for _, g := range groups {
		g = slices.DeleteFunc(slices.Clone(g), func(c *change) bool { return c.gone || c.kind == "renamed" })
		for i, c := range g {
			if i > 0 {
				c.linkOf = g[0]
				g[0].links = append(g[0].links, c.path)
			}
		}
	}
}

// moveAlong folds what a renamed directory took with it.
func moveAlong(list []*change) {
	for i, dir := range list {
		if dir.kind != "renamed" || dir.now.kind != "dir" || dir.folded || dir.count < 0 {
			continue
		}
		for _, c := range list[i+1:] {
			rest, below := strings.CutPrefix(c.path, dir.path+"/")
			if !below || c.kind != "renamed" || c.from != dir.from+"/"+rest || c.count < 0 {
				continue
			}
			dir.count++
			c.count = -1 // moved along: no start of its own
			c.folded = c.attrs.within("ctime")
		}
	}
	for _, c := range list {
		c.count = max(c.count, 0)
	}
}

// grave reports what is never left to the finding about something else.
func (s *snap) grave() bool {
	return s.kind == "file" && (s.mode&(unix.S_ISUID|unix.S_ISGID) != 0 || s.read()["caps"] && s.has("caps")) || strings.HasSuffix(s.kind, " device")
}

// findings are the lines that a report must hold, in its order.
func findings(list []*change) (r []string) {
	for _, c := range list {
		if c.folded && !(c.kind == "renamed" && c.now.grave()) || c.linkOf != nil {
			continue
		}
		r = append(r, describe(c.path, c.kind, c.from, c.count, c.shown(), c.links[:min(len(c.links), 16)]))
	}
	return r
}

// shown are the attributes that a finding lists.
func (c *change) shown() (r []string) {
	if c.kind != "added" && c.kind != "removed" {
		return c.attrs.list()
	}
	e := c.either()
	for _, n := range compared(e.group, e.kind).list() {
		if e.has(n) {
			r = append(r, n)
		}
	}
	return r
}

func describe(path, kind, from string, count int64, attrs, links []string) string {
	return fmt.Sprintf("%q %s from %q count %d %v links %q", path, kind, from, count, attrs, links)
}

// accepted is the baseline after everything in list was taken over: what was
// no change keeps its old record.
func accepted(before state, list []*change) state {
	r := state{}
	for p, s := range before {
		r[p] = s
	}
	for _, c := range list {
		switch c.kind {
		case "removed":
			delete(r, c.path)
			continue
		case "renamed":
			delete(r, c.from)
		}
	}
	for _, c := range list {
		if c.kind == "removed" {
			continue
		}
		now := *c.now
		if c.kind == "changed" && now.group == "log" && c.old.kind == "file" && now.kind == "file" && strings.HasPrefix(now.raw, c.old.raw) {
			now.raw = c.old.raw // the part that is known goes no further
			now.attr = maps.Clone(now.attr)
			now.attr["content"] = fmt.Sprintf("%x", sha256.Sum256([]byte(now.raw)))
		}
		r[c.path] = &now
	}
	return r
}
