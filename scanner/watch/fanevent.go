package watch

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// rawEvent is one event as fanotify(7) gives it. What it points at lies in the
// buffer that it was read from.
type rawEvent struct {
	mask  uint64
	pid   int32
	pidfd int32 // owned by who has the event; negative: none
	at    [2]rawName
	names int // how many of at there are; two: from, to
}

// rawName is a name in a directory that is known by its handle.
type rawName struct {
	handle []byte // file system id, length, type, handle: the same for the same directory
	name   []byte // "." for the directory itself
}

// Sizes in bytes, see linux/fanotify.h.
const (
	metaSize   = 24
	infoSize   = 4
	fsidSize   = 8
	handleHead = 8   // length and type
	maxHandle  = 128 // MAX_HANDLE_SZ
)

var errEvent = errors.New("watch: malformed event of fanotify")

// cutEvent takes the first event off b. One that cannot be understood is an
// error, and its descriptor, if it was found, is in the event all the same.
func cutEvent(b []byte) (e rawEvent, rest []byte, err error) {
	e.pidfd = unix.FAN_NOPIDFD
	if len(b) < metaSize {
		return e, nil, fmt.Errorf("%w: %d bytes", errEvent, len(b))
	}
	size := binary.NativeEndian.Uint32(b)
	head := int(binary.NativeEndian.Uint16(b[6:]))
	if uint64(size) > uint64(len(b)) || head < metaSize || head > int(size) || b[4] != unix.FANOTIFY_METADATA_VERSION {
		return e, nil, fmt.Errorf("%w: version %d, %d of %d bytes", errEvent, b[4], size, len(b))
	}
	e.mask = binary.NativeEndian.Uint64(b[8:])
	e.pid = int32(binary.NativeEndian.Uint32(b[20:]))
	info, rest := b[head:size], b[size:]
	for len(info) > 0 {
		if len(info) < infoSize {
			return e, rest, fmt.Errorf("%w: record of %d bytes", errEvent, len(info))
		}
		n := int(binary.NativeEndian.Uint16(info[2:]))
		if n < infoSize || n > len(info) {
			return e, rest, fmt.Errorf("%w: record says %d bytes of %d", errEvent, n, len(info))
		}
		if err := e.record(info[0], info[infoSize:n]); err != nil {
			return e, rest, err
		}
		info = info[n:]
	}
	return e, rest, nil
}

// record takes one record of additional information. Those of other kinds are
// passed over: later kernels may have some.
func (e *rawEvent) record(kind byte, b []byte) error {
	switch kind {
	case unix.FAN_EVENT_INFO_TYPE_PIDFD:
		if len(b) < 4 {
			return fmt.Errorf("%w: process of %d bytes", errEvent, len(b))
		}
		e.pidfd = int32(binary.NativeEndian.Uint32(b))
	case unix.FAN_EVENT_INFO_TYPE_DFID_NAME, unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME,
		unix.FAN_EVENT_INFO_TYPE_DFID:
		n, err := cutName(b, kind != unix.FAN_EVENT_INFO_TYPE_DFID)
		if err != nil {
			return err
		}
		if e.names == len(e.at) {
			return fmt.Errorf("%w: over %d names", errEvent, len(e.at))
		}
		e.at[e.names] = n
		e.names++
	}
	return nil
}

// cutName reads a handle and, if there is one, the name behind it.
func cutName(b []byte, named bool) (rawName, error) {
	if len(b) < fsidSize+handleHead {
		return rawName{}, fmt.Errorf("%w: handle of %d bytes", errEvent, len(b))
	}
	n := binary.NativeEndian.Uint32(b[fsidSize:])
	if n > maxHandle || int(n) > len(b)-fsidSize-handleHead {
		return rawName{}, fmt.Errorf("%w: handle says %d bytes of %d", errEvent, n, len(b))
	}
	end := fsidSize + handleHead + int(n)
	r := rawName{handle: b[:end], name: []byte(".")}
	if !named {
		return r, nil
	}
	name := b[end:]
	for i, c := range name {
		switch {
		case c == '/':
			return rawName{}, fmt.Errorf("%w: name with a slash", errEvent)
		case c == 0 && i > 0:
			r.name = name[:i]
			if string(r.name) == ".." {
				return rawName{}, fmt.Errorf("%w: name %q", errEvent, r.name)
			}
			return r, nil
		case c == 0:
			return rawName{}, fmt.Errorf("%w: empty name", errEvent)
		}
	}
	return rawName{}, fmt.Errorf("%w: name without end", errEvent)
}

// fileHandle is the handle for open_by_handle_at(2).
func (n rawName) fileHandle() unix.FileHandle {
	b := n.handle[fsidSize:]
	return unix.NewFileHandle(int32(binary.NativeEndian.Uint32(b[4:])), b[handleHead:])
}

// fsid is the id of the file system that the directory lies on.
func (n rawName) fsid() fsid { return fsid(n.handle[:fsidSize]) }
