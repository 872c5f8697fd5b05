package entry

import (
	"bytes"

	"intact/scanner/digest"
)

// One put and get per attribute; the table in attr.go names them.

func putType(w *writer, e *Entry) {
	w.b = append(w.b, byte(e.Kind))
	if e.Kind == CharDevice || e.Kind == BlockDevice {
		w.uint(e.Rdev)
	}
}

func getType(r *reader, e *Entry) {
	k := r.take(1)
	if r.err != nil || k[0] == 0 || Kind(k[0]) > BlockDevice {
		r.fail("type")
		return
	}
	e.Kind = Kind(k[0])
	if e.Kind == CharDevice || e.Kind == BlockDevice {
		e.Rdev = r.uint()
	}
}

func putMode(w *writer, e *Entry)   { w.uint(uint64(e.Mode)) }
func getMode(r *reader, e *Entry)   { e.Mode = uint16(r.narrow(12)) }
func putUID(w *writer, e *Entry)    { w.uint(uint64(e.UID)) }
func getUID(r *reader, e *Entry)    { e.UID = uint32(r.narrow(32)) }
func putGID(w *writer, e *Entry)    { w.uint(uint64(e.GID)) }
func getGID(r *reader, e *Entry)    { e.GID = uint32(r.narrow(32)) }
func putSize(w *writer, e *Entry)   { w.uint(uint64(e.Size)) }
func getSize(r *reader, e *Entry)   { e.Size = int64(r.narrow(63)) }
func putNlink(w *writer, e *Entry)  { w.uint(uint64(e.Nlink)) }
func getNlink(r *reader, e *Entry)  { e.Nlink = uint32(r.narrow(32)) }
func putFlags(w *writer, e *Entry)  { w.uint(uint64(e.Flags)) }
func getFlags(r *reader, e *Entry)  { e.Flags = uint32(r.narrow(32)) }
func putTarget(w *writer, e *Entry) { w.bytes(e.Target) }
func getTarget(r *reader, e *Entry) { e.Target = r.bytes() }
func putCaps(w *writer, e *Entry)   { w.optional(e.Caps) }
func getCaps(r *reader, e *Entry)   { e.Caps = r.optional() }
func putLabel(w *writer, e *Entry)  { w.optional(e.Label) }
func getLabel(r *reader, e *Entry)  { e.Label = r.optional() }

func putACL(w *writer, e *Entry) {
	w.optional(e.ACL)
	w.optional(e.DefACL)
}

func getACL(r *reader, e *Entry) {
	e.ACL = r.optional()
	e.DefACL = r.optional()
}

// Inode, device and modification time are written as differences from the
// previous entry of the same part, wrapping: close to zero in practice.

func putInode(w *writer, e *Entry) {
	w.int(int64(e.Inode - w.prev.inode))
	w.prev.inode = e.Inode
}

func getInode(r *reader, e *Entry) {
	e.Inode = r.prev.inode + uint64(r.int())
	r.prev.inode = e.Inode
}

func putDevice(w *writer, e *Entry) {
	w.int(int64(e.Device - w.prev.device))
	w.prev.device = e.Device
}

func getDevice(r *reader, e *Entry) {
	e.Device = r.prev.device + uint64(r.int())
	r.prev.device = e.Device
}

func putMtime(w *writer, e *Entry) { w.time(e.Mtime) }
func getMtime(r *reader, e *Entry) { e.Mtime = r.time() }
func putCtime(w *writer, e *Entry) { w.time(e.Ctime) }
func getCtime(r *reader, e *Entry) { e.Ctime = r.time() }
func putBtime(w *writer, e *Entry) { w.time(e.Btime) }
func getBtime(r *reader, e *Entry) { e.Btime = r.time() }

// time writes the seconds as a difference from the last time written.
func (w *writer) time(t Time) {
	w.int(t.Sec - w.prev.mtime)
	w.uint(uint64(t.Nsec))
	w.prev.mtime = t.Sec
}

func (r *reader) time() (t Time) {
	t.Sec = r.prev.mtime + r.int()
	t.Nsec = uint32(r.narrow(30))
	r.prev.mtime = t.Sec
	return t
}

func putContent(w *writer, e *Entry) { w.b = append(w.b, e.Digest[:]...) }
func getContent(r *reader, e *Entry) { copy(e.Digest[:], r.take(digest.Size)) }

func putXattr(w *writer, e *Entry) {
	w.uint(uint64(len(e.Xattr)))
	for _, x := range e.Xattr {
		w.bytes(x.Name)
		w.uint(uint64(x.Size))
		w.b = append(w.b, x.Value[:]...)
	}
}

func getXattr(r *reader, e *Entry) {
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
