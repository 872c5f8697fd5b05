package entry

import (
	"bytes"
	"math/bits"
	"strings"
)

// Attr is a set of attributes, one bit each.
type Attr uint32

// The attributes. The bit numbers are part of the stored format.
const (
	Type Attr = 1 << iota
	Mode
	UID
	GID
	Size
	Mtime
	Ctime
	Inode
	Nlink
	Device
	Target
	Content
	XattrAttr
	ACL
	Caps
	SELinux
	Flags
	Btime // recorded for pairing; never compared, not a policy word

	// All are the attributes that a policy can name.
	All = Btime - 1
)

// Info is one row of the attribute table.
type Info struct {
	Bit     Attr
	Name    string // in policies and in JSON reports
	Label   string // in text reports
	Applies func(Kind) bool
	Equal   func(a, b *Entry) bool
	// put and get are of the packed form; ref is what e is told against.
	put func(w *writer, e, ref *Entry)
	get func(r *reader, e, ref *Entry)
}

func anyKind(Kind) bool     { return true }
func fileOnly(k Kind) bool  { return k == File }
func linkOnly(k Kind) bool  { return k == Symlink }
func noLink(k Kind) bool    { return k != Symlink }
func fileOrDir(k Kind) bool { return k == File || k == Dir }

// Table returns the attribute table, one row per attribute in bit order.
// Codec, diff, policy and report all read it.
func Table() []Info { return table[:] }

// The table is written once and never changed.
var table = [...]Info{
	{Type, "type", "type", anyKind, func(a, b *Entry) bool { return a.Kind == b.Kind && a.Rdev == b.Rdev }, putType, getType},
	{Mode, "mode", "mode", anyKind, func(a, b *Entry) bool { return a.Mode == b.Mode }, putMode, getMode},
	{UID, "uid", "owner", anyKind, func(a, b *Entry) bool { return a.UID == b.UID }, putUID, getUID},
	{GID, "gid", "group", anyKind, func(a, b *Entry) bool { return a.GID == b.GID }, putGID, getGID},
	{Size, "size", "size", anyKind, func(a, b *Entry) bool { return a.Size == b.Size }, putSize, getSize},
	{Mtime, "mtime", "modified", anyKind, func(a, b *Entry) bool { return a.Mtime == b.Mtime }, putMtime, getMtime},
	{Ctime, "ctime", "changed", anyKind, func(a, b *Entry) bool { return a.Ctime == b.Ctime }, putCtime, getCtime},
	{Inode, "inode", "inode", anyKind, func(a, b *Entry) bool { return a.Inode == b.Inode }, putInode, getInode},
	{Nlink, "nlink", "links", anyKind, func(a, b *Entry) bool { return a.Nlink == b.Nlink }, putNlink, getNlink},
	{Device, "device", "device", anyKind, func(a, b *Entry) bool { return a.Device == b.Device }, putDevice, getDevice},
	{Target, "target", "target", linkOnly, func(a, b *Entry) bool { return bytes.Equal(a.Target, b.Target) }, putTarget, getTarget},
	{Content, "content", "content", fileOnly, func(a, b *Entry) bool { return a.Digest == b.Digest && a.Hashed == b.Hashed }, putContent, getContent},
	{XattrAttr, "xattr", "xattr", anyKind, equalXattr, putXattr, getXattr},
	{ACL, "acl", "acl", noLink, func(a, b *Entry) bool { return same(a.ACL, b.ACL) && same(a.DefACL, b.DefACL) }, putACL, getACL},
	{Caps, "caps", "capabilities", fileOnly, func(a, b *Entry) bool { return same(a.Caps, b.Caps) }, putCaps, getCaps},
	{SELinux, "selinux", "label", anyKind, func(a, b *Entry) bool { return same(a.Label, b.Label) }, putLabel, getLabel},
	{Flags, "flags", "flags", fileOrDir, func(a, b *Entry) bool { return a.Flags == b.Flags }, putFlags, getFlags},
	{Btime, "btime", "born", anyKind, func(a, b *Entry) bool { return a.Btime == b.Btime }, putBtime, getBtime},
}

// same tells absence from emptiness: an attribute that appears is a change.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func equalXattr(a, b *Entry) bool {
	if len(a.Xattr) != len(b.Xattr) {
		return false
	}
	for i, x := range a.Xattr {
		y := b.Xattr[i]
		if !bytes.Equal(x.Name, y.Name) || x.Size != y.Size || x.Value != y.Value {
			return false
		}
	}
	return true
}

// Applicable returns the attributes that an object of kind k can have.
func Applicable(k Kind) Attr {
	if int(k) >= len(applicable) {
		return 0
	}
	return applicable[k]
}

var applicable = func() (t [BlockDevice + 1]Attr) {
	for k := range t {
		for i := range table {
			if table[i].Applies(Kind(k)) {
				t[k] |= table[i].Bit
			}
		}
	}
	return t
}()

// Differ returns the attributes of mask that both entries have and that are
// not equal. Attributes that only one side could read are not in it: see
// Lost. A different Kind gives Type alone.
func Differ(old, now *Entry, mask Attr) (d Attr) {
	if old.Kind != now.Kind {
		return Type
	}
	for m := mask & Applicable(old.Kind) & old.Have & now.Have; m != 0; m &= m - 1 {
		row := &table[bits.TrailingZeros32(uint32(m))]
		if !row.Equal(old, now) {
			d |= row.Bit
		}
	}
	return d
}

// Lost returns the attributes of mask that apply to a's kind, that a has and
// b has not: verified before, unverified now.
func Lost(a, b *Entry, mask Attr) Attr {
	if a.Kind != b.Kind {
		return 0
	}
	return mask & Applicable(a.Kind) & a.Have &^ b.Have
}

// Rows returns the table rows of the attributes in a, in bit order.
func (a Attr) Rows() []Info {
	var r []Info
	for m := a & (All | Btime); m != 0; m &= m - 1 {
		r = append(r, table[bits.TrailingZeros32(uint32(m))])
	}
	return r
}

// String returns the names in bit order, joined by commas.
func (a Attr) String() string {
	var s []string
	for _, r := range a.Rows() {
		s = append(s, r.Name)
	}
	return strings.Join(s, ",")
}

// ParseAttr returns the bit of one attribute name.
func ParseAttr(name string) (Attr, bool) {
	for i := range table {
		if table[i].Name == name && table[i].Bit&All != 0 {
			return table[i].Bit, true
		}
	}
	return 0, false
}
