package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/rogpeppe/go-internal/testscript"
)

// The operations of the script command tree. A NAME is relative to the current
// folder; folders above it are made.
//
//	dir NAME               file NAME TEXT         append NAME TEXT
//	link NAME TARGET       hard NAME OLD          fifo NAME
//	socket NAME            char NAME MAJOR MINOR  block NAME MAJOR MINOR
//	sparse NAME SIZE       write NAME OFFSET TEXT mode NAME OCTAL
//	owner NAME UID GID     xattr NAME KEY TEXT    noxattr NAME KEY
//	cap NAME BITS          acl NAME UID BITS      flags NAME none|nodump|immutable
//	time NAME SECONDS      rm NAME…               mv OLD NEW
//	many DIR COUNT         names DIR              fill NAME SIZE
//
// time sets the modification time of a link itself; owner does nothing for an
// ordinary user; cap takes the permitted set in hexadecimal.

const (
	flagImmutable = 0x10 // FS_IMMUTABLE_FL, ioctl_iflags(2)
	flagNoDump    = 0x40
	getFlagsCmd   = 0x80086601 // FS_IOC_GETFLAGS on 64 bits
	setFlagsCmd   = 0x40086602
)

func cmdTree(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: tree OP NAME…")
	}
	op := args[0]
	var a []string
	for _, w := range args[1:] {
		a = append(a, name(ts, w))
	}
	file := ts.MkAbs(a[0])
	if op != "rm" {
		ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
	}
	rest := a[1:]
	want := map[string]int{"dir": 0, "fifo": 0, "socket": 0, "names": 0, "noxattr": 1, "xattr": 2, "owner": 2, "char": 2, "block": 2, "write": 2, "acl": 2}
	if n, ok := want[op]; op != "rm" && (ok && len(rest) != n || !ok && len(rest) != 1) {
		ts.Fatalf("tree %s: wrong number of words", op)
	}
	if make, ok := makers[op]; ok {
		ts.Check(make(file, rest))
		return
	}
	switch op {
	case "hard":
		ts.Check(os.Link(ts.MkAbs(rest[0]), file))
	case "mv":
		ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(rest[0])), 0o755))
		ts.Check(os.Rename(file, ts.MkAbs(rest[0])))
	case "rm":
		for _, n := range a {
			if _, err := os.Lstat(ts.MkAbs(n)); err != nil {
				ts.Fatalf("%v", err)
			}
			ts.Check(os.RemoveAll(ts.MkAbs(n)))
		}
	case "flags":
		bits := map[string]uint64{"none": 0, "nodump": flagNoDump, "immutable": flagImmutable}[rest[0]]
		ts.Defer(func() { _ = setFlags(file, 0) }) // it may be gone
		ts.Check(setFlags(file, bits))
	default:
		ts.Fatalf("there is no operation %q", op)
	}
}

// makers need nothing of the script.
var makers = map[string]func(file string, a []string) error{
	"dir":  func(f string, a []string) error { return os.MkdirAll(f, 0o755) },
	"file": func(f string, a []string) error { return os.WriteFile(f, []byte(a[0]), 0o644) },
	"append": func(f string, a []string) error {
		h, err := os.OpenFile(f, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = h.WriteString(a[0])
		return errors.Join(err, h.Close())
	},
	"link":   func(f string, a []string) error { return os.Symlink(a[0], f) },
	"fifo":   func(f string, a []string) error { return syscall.Mkfifo(f, 0o644) },
	"socket": func(f string, a []string) error { return makeSocket(f) },
	"char":   func(f string, a []string) error { return makeNode(f, syscall.S_IFCHR, a) },
	"block":  func(f string, a []string) error { return makeNode(f, syscall.S_IFBLK, a) },
	"sparse": func(f string, a []string) error {
		n, err := strconv.ParseInt(a[0], 0, 64)
		return errors.Join(err, os.WriteFile(f, nil, 0o644), os.Truncate(f, n))
	},
	"fill": func(f string, a []string) error {
		n, err := strconv.Atoi(a[0])
		return errors.Join(err, os.WriteFile(f, bytes.Repeat([]byte{'x'}, n), 0o644))
	},
	"write": func(f string, a []string) error {
		at, err := strconv.ParseInt(a[0], 0, 64)
		if err != nil {
			return err
		}
		return writeAt(f, at, []byte(a[1]))
	},
	"mode": func(f string, a []string) error {
		m, err := strconv.ParseUint(a[0], 8, 12)
		return errors.Join(err, syscall.Chmod(f, uint32(m)))
	},
	"owner": func(f string, a []string) error {
		uid, err := strconv.Atoi(a[0])
		gid, err2 := strconv.Atoi(a[1])
		if err := errors.Join(err, err2); err != nil || os.Getuid() != 0 {
			return err
		}
		return os.Lchown(f, uid, gid)
	},
	"xattr":   func(f string, a []string) error { return setXattr(f, a[0], []byte(a[1])) },
	"noxattr": func(f string, a []string) error { return syscall.Removexattr(f, a[0]) },
	"cap": func(f string, a []string) error {
		bits, err := strconv.ParseUint(a[0], 16, 32)
		return errors.Join(err, setXattr(f, "security.capability", capability(uint32(bits))))
	},
	"acl": func(f string, a []string) error {
		uid, err := strconv.ParseUint(a[0], 10, 32)
		bits, err2 := strconv.ParseUint(a[1], 8, 16)
		return errors.Join(err, err2, setXattr(f, "system.posix_acl_access", accessACL(uint32(uid), uint16(bits))))
	},
	"time": func(f string, a []string) error { return setTime(f, a[0]) },
	"many": func(f string, a []string) error {
		n, err := strconv.Atoi(a[0])
		for i := 0; i < n && err == nil; i++ {
			p := filepath.Join(f, strconv.Itoa(i/100), strconv.Itoa(i))
			err = errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(p), 0o644))
		}
		return err
	},
	"names": func(f string, a []string) error {
		if err := os.MkdirAll(f, 0o755); err != nil {
			return err
		}
		for _, n := range hostileNames {
			if err := os.WriteFile(filepath.Join(f, n), []byte(n), 0o644); err != nil {
				return err
			}
		}
		return nil
	},
}

// hostileNames are names in many scripts and names that are made to deceive.
var hostileNames = []string{
	"العربية", "አማርኛ", "Հայերեն", "বাংলা", "བོད་ཡིག", "ᏣᎳᎩ", "中文", "漢字かな交じり", "Ελληνικά", "ગુજરાતી",
	"ਗੁਰਮੁਖੀ", "한국어", "עברית", "हिन्दी", "ಕನ್ನಡ", "ქართული", "ខ្មែរ", "ລາວ", "മലയാളം", "ᠮᠣᠩᠭᠣᠯ",
	"မြန်မာ", "ଓଡ଼ିଆ", "Русский", "සිංහල", "ܣܘܪܝܝܐ", "தமிழ்", "తెలుగు", "ไทย", "ދިވެހި", "ⵜⴰⵎⴰⵣⵉⵖⵜ", "𐌲𐌿𐍄𐌹𐍃𐌺", "𓀀𓂀",
	"e\u0301", "\u00e9", // the same to the eye, two names to the system
	"😀👩‍👩‍👧‍👦🏳️‍🌈", "(parentheses) [brackets] {braces}", "quote'\"`", "$HOME `id` $(id)", "a,b;c|d&e", "back\\slash\\n", "*?[a-z]**", "-rf", "--", " leading and trailing ", "%s%n%d",
	"new\nline", "\n", "tab\there", "carriage\rreturn", "esc\x1b[31mred\x1b[0m", "title\x1b]0;owned\x07", "bell\x07", "del\x7f", "c1\u009b31m", "bidi\u202egnp.exe", "isolate\u2066x\u2069", "zero\u200bwidth", "line\u2028separator",
	"invalid\xff\xfe", "\xc3\x28", "cut\xe2\x82", "over\xc0\xaflong", "surrogate\xed\xa0\x80", "\x80", "=cmd|' \\C calc'!A0", "<script>alert(1)<!--", "{\"type\":\"trailer\"}", "CON", "...", "~",
}

func makeSocket(file string) error {
	// Names of sockets are short: bind it elsewhere and move it.
	dir, err := os.MkdirTemp(filepath.Dir(file), "s")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fd, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer fd.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "/proc/self/fd/" + strconv.Itoa(int(fd.Fd())) + "/s", Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return errors.Join(l.Close(), os.Rename(filepath.Join(dir, "s"), file))
}

func makeNode(file string, kind uint32, a []string) error {
	major, err := strconv.Atoi(a[0])
	minor, err2 := strconv.Atoi(a[1])
	return errors.Join(err, err2, syscall.Mknod(file, kind|0o600, major<<8|minor))
}

func writeAt(file string, at int64, b []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

func cmdFlip(ts *testscript.TestScript, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	at, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(name(ts, args[0])), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	ts.Check(err)
	b[0] ^= 0xff
	_, err = f.WriteAt(b, at)
	ts.Check(err)
}

func bytesOf(s string) *byte {
	p, err := syscall.BytePtrFromString(s)
	if err != nil {
		return new(byte)
	}
	return p
}

// setXattr sets an attribute of the object itself, be it a link.
func setXattr(file, key string, value []byte) error {
	v := append(value, 0) // never an empty slice
	_, _, e := syscall.Syscall6(syscall.SYS_LSETXATTR, uintptr(unsafe.Pointer(bytesOf(file))), uintptr(unsafe.Pointer(bytesOf(key))),
		uintptr(unsafe.Pointer(&v[0])), uintptr(len(value)), 0, 0)
	if e != 0 {
		return &os.PathError{Op: "setxattr " + key + " " + hex.EncodeToString(value), Path: file, Err: e}
	}
	return nil
}

// capability is a vfs_cap_data of version 2 with the effective bit,
// capabilities(7).
func capability(permitted uint32) []byte {
	var b []byte
	for _, v := range []uint32{0x02000001, permitted, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// accessACL is a posix_acl_xattr of mode 0644 with one more user.
func accessACL(uid uint32, bits uint16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	const nobody = 0xffffffff
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, nobody}, {2, bits, uid}, {4, 4, nobody}, {0x10, 4 | bits, nobody}, {0x20, 4, nobody}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

func setFlags(file string, bits uint64) error {
	fd, err := syscall.Open(file, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var now uint64
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), getFlagsCmd, uintptr(unsafe.Pointer(&now))); e != 0 {
		return e
	}
	now = now&^(flagImmutable|flagNoDump) | bits
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), setFlagsCmd, uintptr(unsafe.Pointer(&now))); e != 0 {
		return e
	}
	return nil
}

// setTime sets the modification time of the object itself, be it a link.
func setTime(file, seconds string) error {
	whole, frac, _ := strings.Cut(seconds, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	nsec, err2 := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	const (
		omit, noFollow = 1<<30 - 2, 0x100 // UTIME_OMIT, AT_SYMLINK_NOFOLLOW
		here           = ^uintptr(99)     // AT_FDCWD, -100
	)
	t := [2]syscall.Timespec{{Nsec: omit}, syscall.NsecToTimespec(time.Unix(sec, nsec).UnixNano())}
	_, _, e := syscall.Syscall6(syscall.SYS_UTIMENSAT, here, uintptr(unsafe.Pointer(bytesOf(file))), uintptr(unsafe.Pointer(&t[0])), noFollow, 0, 0)
	if e != 0 {
		return &os.PathError{Op: "utimensat", Path: file, Err: e}
	}
	return nil
}
