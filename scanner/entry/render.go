package entry

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Text returns an attribute of e in the spelling of JSON reports: mode as four
// octal digits, numbers in decimal, times in RFC 3339 UTC with nanoseconds,
// digests in hex; ACL, capabilities, flags and extended attributes decoded.
// False means that e has no such attribute or that it could not be read. A
// symbolic link's target, a label and names of extended attributes are given
// as they are: any bytes, for the renderer to escape.
func Text(bit Attr, e *Entry) (string, bool) {
	if e == nil || bit&e.Have == 0 || bit&Applicable(e.Kind) == 0 {
		return "", false
	}
	if bit == Caps && e.Caps == nil || bit == Btime && e.Btime == (Time{}) {
		return "", false
	}
	switch bit {
	case Type:
		return textType(e), true
	case Mode:
		return fmt.Sprintf("%04o", e.Mode), true
	case UID:
		return strconv.FormatUint(uint64(e.UID), 10), true
	case GID:
		return strconv.FormatUint(uint64(e.GID), 10), true
	case Size:
		return strconv.FormatInt(e.Size, 10), true
	case Mtime:
		return TextTime(e.Mtime), true
	case Ctime:
		return TextTime(e.Ctime), true
	case Btime:
		return TextTime(e.Btime), true
	case Inode:
		return strconv.FormatUint(e.Inode, 10), true
	case Nlink:
		return strconv.FormatUint(uint64(e.Nlink), 10), true
	case Device:
		return textDevice(e.Device), true
	case Target:
		return string(e.Target), true
	case Content:
		return e.Digest.String(), true
	case XattrAttr:
		return textXattr(e.Xattr), len(e.Xattr) > 0
	case ACL:
		return textACLs(e), e.ACL != nil || e.DefACL != nil
	case Caps:
		return TextCaps(e.Caps), true
	case SELinux:
		return string(e.Label), e.Label != nil
	case Flags:
		return TextFlags(e.Flags), true
	}
	return "", false
}

func malformed(b []byte) string { return fmt.Sprintf("malformed (%d bytes)", len(b)) }

func textType(e *Entry) string {
	if e.Kind == CharDevice || e.Kind == BlockDevice {
		return e.Kind.String() + " " + textDevice(e.Rdev)
	}
	return e.Kind.String()
}

// textDevice splits a device number as makedev(3) of glibc joins it.
func textDevice(d uint64) string {
	major := d>>8&0xfff | d>>32&^0xfff
	minor := d&0xff | d>>12&0xffffff00
	return fmt.Sprintf("%d:%d", major, minor)
}

// The seconds of the years 1 and 9999, which RFC 3339 can write.
const (
	firstSecond = -62135596800
	lastSecond  = 253402300799
)

// TextTime returns t in RFC 3339, UTC, with nanoseconds; a time that has no
// such form as @seconds.nanoseconds.
func TextTime(t Time) string {
	if t.Sec < firstSecond || t.Sec > lastSecond || t.Nsec > 999_999_999 {
		return fmt.Sprintf("@%d.%09d", t.Sec, t.Nsec)
	}
	// The layout without a fraction is the one that is written fast.
	var room [len("2006-01-02T15:04:05.000000000Z")]byte
	b := time.Unix(t.Sec, 0).UTC().AppendFormat(room[:0], time.RFC3339)
	b[len(b)-1] = '.'
	for n, unit := t.Nsec, uint32(100_000_000); unit > 0; unit /= 10 {
		b = append(b, '0'+byte(n/unit%10))
	}
	return string(append(b, 'Z'))
}

func textXattr(list []Xattr) string {
	var b strings.Builder
	for i, x := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%d bytes, %s)", x.Name, x.Size, hex.EncodeToString(x.Value[:8]))
	}
	return b.String()
}

// Tags of a POSIX ACL entry, from linux/posix_acl.h.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

// TextACL decodes the value of system.posix_acl_access or _default (version 2
// of linux/posix_acl_xattr.h), as "user::rw-,user:65534:r--,…".
func TextACL(v []byte) string { return textACL(v, "") }

func textACLs(e *Entry) string {
	var parts []string
	if e.ACL != nil {
		parts = append(parts, textACL(e.ACL, ""))
	}
	if e.DefACL != nil {
		parts = append(parts, textACL(e.DefACL, "default:"))
	}
	return strings.Join(parts, ",")
}

func textACL(v []byte, prefix string) string {
	const head, size, version = 4, 8, 2
	if len(v) < head || (len(v)-head)%size != 0 || binary.LittleEndian.Uint32(v) != version {
		return prefix + malformed(v)
	}
	var parts []string
	for b := v[head:]; len(b) > 0; b = b[size:] {
		perm := binary.LittleEndian.Uint16(b[2:])
		id := strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b[4:])), 10)
		var who string
		switch binary.LittleEndian.Uint16(b) {
		case aclUserObj:
			who = "user::"
		case aclUser:
			who = "user:" + id + ":"
		case aclGroupObj:
			who = "group::"
		case aclGroup:
			who = "group:" + id + ":"
		case aclMask:
			who = "mask::"
		case aclOther:
			who = "other::"
		default:
			return prefix + malformed(v)
		}
		if perm&^7 != 0 {
			return prefix + malformed(v)
		}
		parts = append(parts, prefix+who+rwx(perm))
	}
	return strings.Join(parts, ",")
}

func rwx(perm uint16) string {
	b := []byte("rwx")
	for i := range b {
		if perm&(4>>i) == 0 {
			b[i] = '-'
		}
	}
	return string(b)
}

// flagLetters are the letters of lsattr(1) for the bits of linux/fs.h, by bit.
const flagLetters = "suc" + "Sia" + "dA" + "ZBmEI?jtDThe" + "V??C?x??N" + "PF?"

// TextFlags returns inode flags as the letters of lsattr(1), those without a
// letter as +0xBITS; "" for none.
func TextFlags(f uint32) string {
	var b strings.Builder
	var rest uint32
	for i := range 32 {
		switch {
		case f&(1<<i) == 0:
		case i < len(flagLetters) && flagLetters[i] != '?':
			b.WriteByte(flagLetters[i])
		default:
			rest |= 1 << i
		}
	}
	if rest != 0 {
		fmt.Fprintf(&b, "+0x%x", rest)
	}
	return b.String()
}
