package app

import (
	"archive/tar"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"intact/report"
	"intact/rules"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// filesDir is where the archive has the files of the root.
const filesDir = "files"

func memberOf(p entry.Path) string { return filesDir + string(p) }

// maxNameBytes bounds the names of one directory in memory; more of them wait in
// an unlinked file beside the archive.
const maxNameBytes = 4 << 20

// files saves what was named, or what was found.
func (v *evidence) files() error {
	for _, p := range v.paths {
		if err := v.save(p, true); err != nil {
			return err
		}
	}
	if !v.o.Findings {
		return nil
	}
	// Files of intact itself are found by two rule sets.
	own := map[entry.Path]bool{}
	if err := v.found("trust", func(p entry.Path, _ bool) error { own[p] = true; return nil }); err != nil {
		return err
	}
	var last entry.Path
	deepLast := false
	err := v.found("integrity", func(p entry.Path, deep bool) error {
		if own[p] || last != "" && (p == last || deepLast && p.Under(last)) {
			return nil
		}
		last, deepLast = p, deep
		return v.save(p, deep)
	})
	if err != nil {
		return err
	}
	return v.found("trust", func(p entry.Path, _ bool) error { return v.save(p, false) })
}

// found calls each for what the report has of one rule set that should be there
// now. deep: it stands for everything below too.
func (v *evidence) found(set string, each func(p entry.Path, deep bool) error) error {
	f, err := v.report.Open()
	if err != nil {
		return v.gap("reports/"+filepath.Base(v.report.Path), "%v", err)
	}
	defer f.Close()
	for rec, err := range report.Read(f) {
		if err != nil {
			return v.gap("reports/"+filepath.Base(v.report.Path), "what it found is not saved from here on: %v", err)
		}
		x := rec.Finding
		if x == nil || x.Set != set || !isThere(x) {
			continue
		}
		p, err := entry.NewPath(x.Subject.Path)
		if err != nil || string(p) != x.Subject.Path {
			err = v.gap(x.Subject.Path, "it is no path")
		} else {
			err = each(p, x.Count > 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func isThere(x *rules.Finding) bool {
	switch x.Change {
	case "added", "changed", "renamed", "replaced":
		return x.Subject.Path != ""
	}
	return false
}

// save adds p. Links above it are followed inside the root, p itself is not.
func (v *evidence) save(p entry.Path, deep bool) error {
	dir, _, exists, err := v.root.Resolve(p.Dir())
	if err == nil && !exists {
		err = unix.ENOENT
	}
	if err != nil {
		return v.gap(memberOf(p), "%v", err)
	}
	d := v.root.Dir()
	defer func() { d.Release() }()
	for _, c := range dir.Components() {
		n, err := dirfd.NewName(c)
		var next *dirfd.Dir
		if err == nil {
			next, err = d.OpenPath(n)
		}
		if err != nil {
			return v.gap(memberOf(p), "open the folders above: %v", err)
		}
		d.Release()
		d = next
	}
	if p == "/" {
		return v.children(d, p)
	}
	n, err := dirfd.NewName(p.Base())
	if err != nil {
		return v.gap(memberOf(p), "%v", err)
	}
	return v.object(d, n, dir.Join(n.Bytes()), deep, true)
}

// pseudo are file systems whose files have no size before they are read; facts
// has what matters of them.
var pseudo = map[string]bool{"proc": true, "sysfs": true, "debugfs": true, "tracefs": true, "securityfs": true, "cgroup": true, "cgroup2": true, "configfs": true, "bpf": true, "pstore": true, "efivarfs": true, "devpts": true, "mqueue": true, "binfmt_misc": true}

// object adds what n in d is. named: somebody asked for this very path.
func (v *evidence) object(d *dirfd.Dir, n dirfd.Name, p entry.Path, deep, named bool) error {
	for q := p.Dir(); q != "/"; q = q.Dir() {
		if v.links[q] {
			return v.gap(memberOf(p), "%q was a link a moment ago: nothing is put below it", string(q))
		}
	}
	if m := v.root.Mounts().At(p); m != nil && dirfd.CanHang(m.FSType) {
		return v.gap(memberOf(p), "on %s, a file system that can hang", m.FSType)
	} else if m != nil && pseudo[m.FSType] && !named {
		return v.line("skip %s: a mount of %s", report.Escape(memberOf(p)), report.Escape(m.FSType))
	}
	var st dirfd.Stat
	if err := d.Stat(n, false, &st); err != nil {
		return v.gap(memberOf(p), "%v", err)
	}
	if v.private(p, &st) {
		return v.gap(memberOf(p), "a private key of intact, or this archive: never saved")
	}
	switch st.Kind {
	case entry.File:
		return v.regular(d, n, p)
	case entry.Symlink:
		return v.symlink(d, n, p, &st)
	case entry.Dir:
		return v.folder(d, n, p, &st, deep)
	}
	return v.line("skip %s: %s, mode %04o, owner %d:%d, inode %d, device number %d:%d: not opened", report.Escape(memberOf(p)), st.Kind,
		st.Mode, st.UID, st.GID, st.Inode, unix.Major(st.Rdev), unix.Minor(st.Rdev))
}

// recordOf is the header of a member. What tar has no field for is in PAX
// records of our own; GNU tar warns of them and passes them over.
func recordOf(p entry.Path, st *dirfd.Stat) *tar.Header {
	h := &tar.Header{Name: memberOf(p), Mode: int64(st.Mode), Uid: int(st.UID), Gid: int(st.GID), ModTime: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)), PAXRecords: map[string]string{
		"INTACT.inode":  fmt.Sprint(st.Inode),
		"INTACT.device": fmt.Sprintf("%d:%d", unix.Major(st.Device), unix.Minor(st.Device)),
		"INTACT.nlink":  fmt.Sprint(st.Nlink),
		"INTACT.ctime":  fmt.Sprintf("%d.%09d", st.Ctime.Sec, st.Ctime.Nsec),
	}}
	if st.Btime != (entry.Time{}) {
		h.PAXRecords["INTACT.btime"] = fmt.Sprintf("%d.%09d", st.Btime.Sec, st.Btime.Nsec)
	}
	return h
}

// keyword writes the name of an attribute as GNU tar does: a PAX keyword has no
// "=".
func keyword(name []byte) string {
	return "SCHILY.xattr." + strings.NewReplacer("%", "%25", "=", "%3D").Replace(string(name))
}

func (v *evidence) symlink(d *dirfd.Dir, n dirfd.Name, p entry.Path, st *dirfd.Stat) error {
	to, err := d.Readlink(n)
	if err != nil {
		return v.gap(memberOf(p), "%v", err)
	}
	h := recordOf(p, st)
	h.Typeflag, h.Linkname = tar.TypeSymlink, string(to)
	if err := v.attributes(h, func(x *dirfd.Xattrs, each func(name, value []byte)) error { return x.OfName(d, n, each) }); err != nil {
		return err
	}
	v.links[p] = true
	return v.empty(h, "link")
}

// attributes adds extended attributes, ACLs and capabilities to a header.
func (v *evidence) attributes(h *tar.Header, read func(*dirfd.Xattrs, func(name, value []byte)) error) error {
	err := read(new(dirfd.Xattrs), func(name, value []byte) { h.PAXRecords[keyword(name)] = string(value) })
	if err != nil {
		return v.gap(h.Name, "its extended attributes: %v", err)
	}
	return nil
}

func (v *evidence) folder(d *dirfd.Dir, n dirfd.Name, p entry.Path, st *dirfd.Stat, deep bool) error {
	h := recordOf(p, st)
	h.Typeflag = tar.TypeDir
	h.Name += "/"
	if err := v.attributes(h, func(x *dirfd.Xattrs, each func(name, value []byte)) error { return x.OfName(d, n, each) }); err != nil {
		return err
	}
	if err := v.empty(h, "dir"); err != nil || !deep {
		return err
	}
	c, err := d.OpenDir(n)
	if err != nil {
		return v.gap(h.Name, "what lies below: %v", err)
	}
	defer c.Release()
	var now dirfd.Stat
	if err := c.StatSelf(&now); err != nil || now.Inode != st.Inode || now.Device != st.Device {
		return v.gap(h.Name, "another folder took its place: what lies below is not saved")
	}
	return v.children(c, p)
}

// children adds what lies in the folder d, which need not be open for reading.
func (v *evidence) children(d *dirfd.Dir, p entry.Path) error {
	if p == "/" {
		self, err := d.OpenDir(dirfd.Name(".\x00")) // the descriptor of the root is shared
		if err != nil {
			return v.gap(filesDir, "%v", err)
		}
		defer self.Release()
		d = self
	}
	var names dirfd.Names
	runs, bad, err := d.ListSorted(&names, filepath.Dir(v.out), maxNameBytes)
	if err != nil || bad > 0 {
		if err := v.gap(memberOf(p), "it cannot be listed to its end: %d impossible names, %v", bad, err); err != nil {
			return err
		}
	}
	if runs != nil {
		defer runs.Close()
	}
	for {
		for i := range names.Len() {
			n := names.Name(i)
			if err := v.object(d, n, p.Join(n.Bytes()), true, false); err != nil {
				return err
			}
		}
		if runs == nil || runs.Done() {
			return nil
		}
		names.Reset()
		if err := runs.Next(&names, 4096); err != nil {
			return v.gap(memberOf(p), "it cannot be listed to its end: %v", err)
		}
	}
}

// regular adds a file by one descriptor. It is looked at before and afterwards.
func (v *evidence) regular(d *dirfd.Dir, n dirfd.Name, p entry.Path) error {
	f, err := d.OpenFile(n)
	if err != nil {
		return v.gap(memberOf(p), "%v", err)
	}
	defer f.Close()
	f.Settle()
	var st, after dirfd.Stat
	if err := f.Stat(&st); err != nil {
		return v.gap(memberOf(p), "%v", err)
	}
	if st.Kind != entry.File || v.private(p, &st) {
		return v.gap(memberOf(p), "another object took its place")
	}
	if m := v.root.Mounts().ByID(st.Mount); m != nil && pseudo[m.FSType] {
		return v.gap(memberOf(p), "on %s, whose files have no size: facts/ has what matters", m.FSType)
	}
	h := recordOf(p, &st)
	h.Size = st.Size
	if flags, err := dirfd.Flags(f.FD()); err == nil && flags != 0 {
		h.PAXRecords["INTACT.flags"] = fmt.Sprintf("%#x", flags)
	}
	if err := v.attributes(h, func(x *dirfd.Xattrs, each func(name, value []byte)) error { return x.OfFD(f.FD(), each) }); err != nil {
		return err
	}
	content, err := v.judged(&fileReader{f: f}, h)
	if content == nil || err != nil {
		return err
	}
	if err := v.file(h, content); err != nil {
		return err
	}
	if err := f.Stat(&after); err != nil {
		return v.gap(h.Name, "%v", err)
	}
	if !st.Same(&after) {
		return v.gap(h.Name, "it changed while it was read: the content may be of two moments")
	}
	return nil
}

// fileReader reads a descriptor from its beginning.
type fileReader struct {
	f   dirfd.File
	off int64
}

func (r *fileReader) Read(b []byte) (int, error) {
	n, err := r.f.ReadAt(b, r.off)
	r.off += int64(n)
	if n == 0 && err == nil && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}
