// Package entry is the vocabulary of a scan: paths, attributes, entries and
// the packed form of a directory. It does no I/O.
//
// # The packed directory
//
// A baseline holds one value per directory part:
//
//	BLAKE3(compared) ‖ uint32 big-endian len(compared) ‖ compared ‖ recorded
//
// The compared part holds the names and the attributes that the attribute set
// of each entry compares; the recorded part holds the rest of what was read
// (inode, times, size), used for pairing and in reports but never compared.
// An attribute that is as in the last entry of its kind is not written, nor is a
// time that is the one before it in the same entry. Nothing compared is told
// against something recorded. Packing is canonical: equal entries give equal
// bytes, and Unpack refuses every other spelling. See codec.go.
package entry

import (
	"intact/scanner/digest"
)

// Kind is the type of a file-system object.
type Kind uint8

// The kinds. KindUnknown is never stored.
const (
	KindUnknown Kind = iota
	File
	Dir
	Symlink
	FIFO
	Socket
	CharDevice
	BlockDevice
)

var kindNames = [...]string{"unknown", "file", "dir", "symlink", "fifo", "socket", "char device", "block device"}

// String returns the name used in reports.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// ParseKind is the inverse of String.
func ParseKind(s string) (Kind, bool) {
	for i, n := range kindNames {
		if i > 0 && n == s {
			return Kind(i), true
		}
	}
	return KindUnknown, false
}

// Time is a file time: seconds since 1970 and nanoseconds below one second,
// as statx(2) gives them; all of its range is kept.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Before reports whether t is earlier than u.
func (t Time) Before(u Time) bool { return t.Sec < u.Sec || t.Sec == u.Sec && t.Nsec < u.Nsec }

// Xattr is one extended attribute. Values are kept as size and digest only:
// they may hold secrets.
type Xattr struct {
	Name  []byte
	Size  uint32
	Value digest.Digest
}

// Entry is one object with what was read of it. Fields outside Have are
// meaningless. Slices may point into a buffer of the producer: who keeps an
// entry beyond the call that delivered it must Clone it.
type Entry struct {
	Name   []byte // one component; empty only for "/" itself
	Set    uint16 // index into the attribute-set table
	Kind   Kind
	Have   Attr   // what is known; the rest could not be read
	Mode   uint16 // permission bits with setuid, setgid, sticky: 07777
	UID    uint32
	GID    uint32
	Nlink  uint32
	Flags  uint32 // FS_IOC_GETFLAGS, without the flags a kernel changes by itself
	Rdev   uint64 // of a device node: part of its type
	Size   int64
	Inode  uint64
	Device uint64 // st_dev of the file system
	Mtime  Time
	Ctime  Time
	Btime  Time          // zero if unknown
	Target []byte        // of a symbolic link
	Digest digest.Digest // BLAKE3 of the content
	Hashed int64         // bytes under Digest: Size, except in a log whose old prefix was verified
	Xattr  []Xattr       // sorted by name; without those decoded below
	ACL    []byte        // raw system.posix_acl_access value, nil if none
	DefACL []byte        // raw system.posix_acl_default value, nil if none
	Caps   []byte        // raw security.capability value, nil if none
	Label  []byte        // security.selinux value without trailing NUL, nil if none
}

// Clone returns a copy that shares no memory with e.
func (e *Entry) Clone() *Entry {
	c := *e
	c.Name = clone(e.Name)
	c.Target, c.ACL, c.DefACL, c.Caps, c.Label = clone(e.Target), clone(e.ACL), clone(e.DefACL), clone(e.Caps), clone(e.Label)
	if e.Xattr != nil {
		c.Xattr = make([]Xattr, len(e.Xattr))
		for i, x := range e.Xattr {
			c.Xattr[i] = Xattr{clone(x.Name), x.Size, x.Value}
		}
	}
	return &c
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// Set is an attribute set: what the policy compares of an entry.
type Set struct {
	Mask    Attr // of everything but directories
	DirMask Attr // of directories
	Log     bool // content may grow; the old prefix must stay
	Sweep   bool // only setuid, setgid, capabilities, devices and executables are kept
}

// For returns the attributes that are compared of an object of kind k. Type is
// always among them.
func (s Set) For(k Kind) Attr {
	m := s.Mask
	if k == Dir {
		m = s.DirMask
	}
	return (m | Type) & Applicable(k)
}

// Sets is the attribute-set table of a baseline; Entry.Set indexes it.
type Sets []Set

// Block is one directory, or one part of a long one, as the scanner saw it.
type Block struct {
	Dir     Path
	Part    uint32  // 0 for the first or only part
	Next    []byte  // first name of the next part, nil in the last
	Entries []Entry // sorted by name, at most PartSize
}

// PartSize is the number of names after which a directory continues in the
// next part.
const PartSize = 1024
