package entry

import (
	"bytes"

	"intact/scanner/digest"
)

// One put and get per attribute; the table in attr.go names them.

func putType(w *writer, e, _ *Entry) {
	w.b = append(w.b, byte(e.Kind))
	if isDevice(e.Kind) {
		w.uint(e.Rdev)
	}
}

func getType(r *reader, e, _ *Entry) {
	k := r.take(1)
	if r.err != nil || k[0] == 0 || Kind(k[0]) > BlockDevice {
		r.fail("type")
		return
	}
	e.Kind = Kind(k[0])
	if isDevice(e.Kind) {
		e.Rdev = r.uint()
	}
}

// isDevice reports whether the device number is part of the type.
func isDevice(k Kind) bool { return k == CharDevice || k == BlockDevice }

func putMode(w *writer, e, _ *Entry)   { w.uint(uint64(e.Mode)) }
func getMode(r *reader, e, _ *Entry)   { e.Mode = uint16(r.narrow(12)) }
func putUID(w *writer, e, _ *Entry)    { w.uint(uint64(e.UID)) }
func getUID(r *reader, e, _ *Entry)    { e.UID = uint32(r.narrow(32)) }
func putGID(w *writer, e, _ *Entry)    { w.uint(uint64(e.GID)) }
func getGID(r *reader, e, _ *Entry)    { e.GID = uint32(r.narrow(32)) }
func putSize(w *writer, e, _ *Entry)   { w.uint(uint64(e.Size)) }
func getSize(r *reader, e, _ *Entry)   { e.Size = int64(r.narrow(63)) }
func putNlink(w *writer, e, _ *Entry)  { w.uint(uint64(e.Nlink)) }
func getNlink(r *reader, e, _ *Entry)  { e.Nlink = uint32(r.narrow(32)) }
func putFlags(w *writer, e, _ *Entry)  { w.uint(uint64(e.Flags)) }
func getFlags(r *reader, e, _ *Entry)  { e.Flags = uint32(r.narrow(32)) }
func putTarget(w *writer, e, _ *Entry) { w.bytes(e.Target) }
func getTarget(r *reader, e, _ *Entry) { e.Target = r.bytes() }
func putCaps(w *writer, e, _ *Entry)   { w.optional(e.Caps) }
func getCaps(r *reader, e, _ *Entry)   { e.Caps = r.optional() }
func putLabel(w *writer, e, _ *Entry)  { w.optional(e.Label) }
func getLabel(r *reader, e, _ *Entry)  { e.Label = r.optional() }

func putACL(w *writer, e, _ *Entry) {
	w.optional(e.ACL)
	w.optional(e.DefACL)
}

func getACL(r *reader, e, _ *Entry) {
	e.ACL = r.optional()
	e.DefACL = r.optional()
}

// An inode is written as the difference from that of ref, wrapping: files of a
// directory are often made one after the other.

func putInode(w *writer, e, ref *Entry) { w.int(int64(e.Inode - ref.Inode)) }
func getInode(r *reader, e, ref *Entry) { e.Inode = ref.Inode + uint64(r.int()) }
func putDevice(w *writer, e, _ *Entry)  { w.uint(e.Device) }
func getDevice(r *reader, e, _ *Entry)  { e.Device = r.uint() }

// A time that is not as expected is told against the same one of ref: that of
// the file which a package manager unpacked before. The time of birth is told
// against the one before it in the entry, which is closer in all that was
// measured.

func putMtime(w *writer, e, ref *Entry) { w.time(e.Mtime, ref.Mtime) }
func getMtime(r *reader, e, ref *Entry) { e.Mtime = r.time(ref.Mtime) }
func putCtime(w *writer, e, ref *Entry) { w.time(e.Ctime, ref.Ctime) }
func getCtime(r *reader, e, ref *Entry) { e.Ctime = r.time(ref.Ctime) }
func putBtime(w *writer, e, ref *Entry) { w.time(e.Btime, expect(Btime, w.known, e, ref)) }
func getBtime(r *reader, e, ref *Entry) { e.Btime = r.time(expect(Btime, r.known, e, ref)) }

func putContent(w *writer, e, _ *Entry) { w.b = append(w.b, e.Digest[:]...) }
func getContent(r *reader, e, _ *Entry) { copy(e.Digest[:], r.take(digest.Size)) }

func putXattr(w *writer, e, _ *Entry) {
	w.uint(uint64(len(e.Xattr)))
	for _, x := range e.Xattr {
		w.bytes(x.Name)
		w.uint(uint64(x.Size))
		w.b = append(w.b, x.Value[:]...)
	}
}

func getXattr(r *reader, e, _ *Entry) {
	e.Xattr = nil // ref's, which are not e's to append to
	n := r.uint()
	if n > uint64(len(r.b))/(digest.Size+2) {
		r.fail("xattr count")
		return
	}
	for range n {
		var x Xattr
		x.Name = r.bytes()
		x.Size = uint32(r.narrow(32))
		copy(x.Value[:], r.take(digest.Size))
		if k := len(e.Xattr); r.err == nil && k > 0 && bytes.Compare(e.Xattr[k-1].Name, x.Name) >= 0 {
			r.fail("xattr order")
		}
		e.Xattr = append(e.Xattr, x)
	}
}
