package dirfd

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"intact/scanner/entry"
)

// Mount is one line of /proc/self/mountinfo, see proc_pid_mountinfo(5), with
// the mount point inside the root.
type Mount struct {
	ID       uint64
	Parent   uint64
	Point    entry.Path
	FSType   string
	Source   string
	BindRoot string // directory of the file system that is mounted
}

// Mounts is the mount table at and below one root.
type Mounts struct {
	byID map[uint64]*Mount
	list []*Mount                       // in mount order
	at   map[entry.Path]*Mount          // topmost mount of a point
	in   map[entry.Path]map[string]bool // names of mount points by directory
}

func readMounts(root string) (*Mounts, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if os.IsNotExist(err) {
		b, err = nil, nil // no /proc: mounts are still told apart by their ids
	}
	if err != nil {
		return nil, fmt.Errorf("read mount table: %w", err)
	}
	m, err := parseMounts(b, root)
	if err != nil {
		return nil, fmt.Errorf("read mount table: /proc/self/mountinfo: %w", err)
	}
	return m, nil
}

// parseMounts refuses a table with a line that it cannot read: a mount that is
// passed over would let a scan walk into it unawares.
func parseMounts(b []byte, root string) (*Mounts, error) {
	m := &Mounts{byID: map[uint64]*Mount{}, at: map[entry.Path]*Mount{}, in: map[entry.Path]map[string]bool{}}
	number := 0
	for line := range bytes.Lines(b) {
		number++
		text := string(bytes.TrimSuffix(line, []byte("\n")))
		mt, ok := parseMount(text)
		if !ok {
			return nil, fmt.Errorf("line %d: not a mount: %q", number, text)
		}
		m.byID[mt.ID] = mt
		p, under := inside(string(mt.Point), root)
		if !under {
			mt.Point = "" // at or above the root
			continue
		}
		mt.Point = p
		m.list = append(m.list, mt)
		if top := m.at[p]; top == nil || top.Parent != mt.ID { // top may be mounted on mt
			m.at[p] = mt
		}
		if m.in[p.Dir()] == nil {
			m.in[p.Dir()] = map[string]bool{}
		}
		m.in[p.Dir()][p.Base()] = true
	}
	return m, nil
}

// inside returns the part of point strictly below root.
func inside(point, root string) (entry.Path, bool) {
	if root == "/" {
		return entry.Path(point), point != "/"
	}
	rest, ok := strings.CutPrefix(point, root)
	return entry.Path(rest), ok && strings.HasPrefix(rest, "/")
}

// parseMount splits at single spaces, which the kernel escapes in every field
// together with tab, newline and backslash, and with nothing else.
func parseMount(line string) (*Mount, bool) {
	f := strings.Split(line, " ")
	dash := 6 // behind the optional fields
	for dash < len(f) && f[dash] != "-" {
		dash++
	}
	if dash+2 >= len(f) || !strings.HasPrefix(f[4], "/") {
		return nil, false
	}
	id, err := strconv.ParseUint(f[0], 10, 64)
	parent, err2 := strconv.ParseUint(f[1], 10, 64)
	if err != nil || err2 != nil {
		return nil, false
	}
	return &Mount{ID: id, Parent: parent, BindRoot: unoctal(f[3]), Point: entry.Path(unoctal(f[4])), FSType: unoctal(f[dash+1]), Source: unoctal(f[dash+2])}, true
}

// unoctal undoes the \ooo escapes of mountinfo.
func unoctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Known reports whether there is a mount table at all: without /proc there is
// none.
func (m *Mounts) Known() bool { return len(m.byID) > 0 }

// ByID returns the mount with the given id, nil if it is not in the table.
func (m *Mounts) ByID(id uint64) *Mount { return m.byID[id] }

// At returns the topmost mount at p, nil if p is no mount point.
func (m *Mounts) At(p entry.Path) *Mount { return m.at[p] }

// In returns the names in directory p that are mount points, nil if none.
func (m *Mounts) In(p entry.Path) map[string]bool { return m.in[p] }

// Below returns the mounts below the root, topmost of each point, by path.
func (m *Mounts) Below() []*Mount {
	var r []*Mount
	for _, mt := range m.list {
		if m.at[mt.Point] == mt {
			r = append(r, mt)
		}
	}
	slices.SortFunc(r, func(a, b *Mount) int { return bytes.Compare(a.Point.Key(), b.Point.Key()) })
	return r
}

// CanHang reports whether a file system depends on a process or a server that
// may never answer.
func CanHang(fstype string) bool {
	switch fstype {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "autofs", "afs", "lustre", "glusterfs", "virtiofs", "fuseblk":
		return true
	}
	return fstype == "fuse" || strings.HasPrefix(fstype, "fuse.")
}
