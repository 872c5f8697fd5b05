package floor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// longest is the length in bytes from which a path is not prolonged: the
// kernel takes 4,096, and a name may have 255.
const longest = 3000

// openDir are the flags for directories, openFile those for regular files. A
// file may have become something else since it was listed: a link is not
// followed and a FIFO not waited for.
const (
	openDir  = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOATIME
	openFile = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOATIME
)

// dir is one directory: path, which ends with a NUL, is relative to the
// descriptor at.
type dir struct {
	at   int
	path []byte
}

// tree is what is known before the clock starts.
type tree struct {
	dirs    []dir
	files   int   // regular files, by their type in the listing
	anchors []int // open directories below which paths start anew
}

func (t *tree) close() {
	for _, fd := range t.anchors {
		// Opened for reading: there is nothing to lose.
		_ = unix.Close(fd)
	}
}

// list finds all directories below top. Those that cannot be read stay in the
// list and are an error of each measurement.
func list(top string) (*tree, error) {
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	t := &tree{anchors: []int{fd}, dirs: []dir{{fd, []byte(".\x00")}}}
	buf := make([]byte, dentsSize)
	for i := 0; i < len(t.dirs); i++ { // grows meanwhile
		if err := t.expand(i, buf); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

// expand appends the directories inside directory i.
func (t *tree) expand(i int, buf []byte) error {
	d := t.dirs[i]
	fd, errno := openat(d.at, d.path, openDir)
	if errno != 0 {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	at, prefix := d.at, d.path[:len(d.path)-1]
	if len(prefix) > longest {
		kept, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("keep a deep directory: %w", err)
		}
		t.anchors = append(t.anchors, kept)
		at, prefix = kept, []byte(".")
	}
	for {
		n, errno := getdents(fd, buf)
		if errno != 0 || n == 0 {
			return nil
		}
		for rest := buf[:n]; len(rest) > 0; {
			var e dirent
			if e, rest = nextEntry(rest); e.dots() {
				continue
			}
			switch e.kind {
			case unix.DT_REG:
				t.files++
			case unix.DT_DIR:
				path := bytes.Join([][]byte{prefix, e.name}, []byte("/"))
				t.dirs = append(t.dirs, dir{at, path})
			case unix.DT_UNKNOWN:
				return errNoTypes
			}
		}
	}
}

var errNoTypes = errors.New("the file system does not tell types in its listings")

// dirent is one record of a listing; name ends with a NUL.
type dirent struct {
	kind byte
	name []byte
}

func (e dirent) dots() bool {
	n := e.name
	return n[0] == '.' && (n[1] == 0 || n[1] == '.' && n[2] == 0)
}

// nextEntry cuts the first record off b: inode and offset of 8 bytes, length
// of 2, type of 1, then the name, padded with NULs.
func nextEntry(b []byte) (dirent, []byte) {
	const head = 19
	size := int(binary.NativeEndian.Uint16(b[16:]))
	name := b[head:size]
	return dirent{b[18], name[:bytes.IndexByte(name, 0)+1]}, b[size:]
}
