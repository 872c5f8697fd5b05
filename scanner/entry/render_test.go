package entry

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"intact/scanner/digest"
)

func le32(v ...uint32) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

// acl builds a version 2 value of triples tag, permissions, id.
func acl(v ...uint32) []byte {
	b := le32(2)
	for i := 0; i+2 < len(v); i += 3 {
		b = binary.LittleEndian.AppendUint16(b, uint16(v[i]))
		b = binary.LittleEndian.AppendUint16(b, uint16(v[i+1]))
		b = binary.LittleEndian.AppendUint32(b, v[i+2])
	}
	return b
}

func TestTextCaps(t *testing.T) {
	for _, tc := range []struct {
		name  string
		value []byte
		want  string
	}{
		{"v1", le32(0x01000001, 1<<13, 0), "cap_net_raw=ep"},
		{"v2-permitted", le32(0x02000000, 1<<12|1<<13, 0, 0, 0), "cap_net_admin,cap_net_raw=p"},
		{"v2-high-word", le32(0x02000001, 0, 0, 1<<7, 0), "cap_bpf=??"},
		{"v2-inheritable-too", le32(0x02000001, 1<<10, 1<<10|1<<7, 0, 0), "cap_net_bind_service=eip cap_setuid=ei"},
		{"v2-all", le32(0x02000001, 0xffffffff, 0, 0x1ff, 0), "all=ep"},
		{"v2-unknown-number", le32(0x02000000, 0, 0, 1<<31, 0), "cap_63=p"},
		{"v2-none", le32(0x02000000, 0, 0, 0, 0), "="},
		{"v3-root-id", le32(0x03000001, 1<<21, 0, 0, 0, 100000), "cap_sys_admin=ep [rootid=100000]"},
		{"v3-short", le32(0x03000001, 1<<21, 0, 0, 0), "malformed (20 bytes)"},
		{"v2-long", le32(0x02000001, 1, 0, 0, 0, 0), "malformed (24 bytes)"},
		{"v4", le32(0x04000001, 1, 0, 0, 0), "malformed (20 bytes)"},
		{"unknown-flag", le32(0x02000002, 1, 0, 0, 0), "malformed (20 bytes)"},
		{"empty", []byte{}, "malformed (0 bytes)"},
	} {
		want := strings.Replace(tc.want, "??", "ep", 1)
		if got := TextCaps(tc.value); got != want {
			t.Errorf("%s: got %q, want %q", tc.name, got, want)
		}
	}
	if capNames[21] != "sys_admin" || capNames[39] != "bpf" || len(capNames) != 41 {
		t.Error("the table of capabilities has slipped")
	}
}

func TestTextACL(t *testing.T) {
	for _, tc := range []struct {
		name  string
		value []byte
		want  string
	}{
		{"full", acl(1, 6, 0xffffffff, 2, 4, 65534, 4, 4, 0xffffffff, 8, 7, 10, 16, 4, 0xffffffff, 32, 0, 0xffffffff),
			"user::rw-,user:65534:r--,group::r--,group:10:rwx,mask::r--,other::---"},
		{"no-entries", acl(), ""},
		{"version-1", le32(1), "malformed (4 bytes)"},
		{"cut", acl(1, 6, 0)[:9], "malformed (9 bytes)"},
		{"tag", acl(3, 6, 0), "malformed (12 bytes)"},
		{"permissions", acl(1, 8, 0), "malformed (12 bytes)"},
		{"empty", []byte{}, "malformed (0 bytes)"},
	} {
		if got := TextACL(tc.value); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestTextFlags(t *testing.T) {
	for _, tc := range []struct {
		flags uint32
		want  string
	}{
		{0, ""}, {0x10, "i"}, {0x20, "a"}, {0x30, "ia"}, {0x80000, "e"}, {0x800000, "C"}, {0x100000, "V"},
		{0x10000000 | 0x20000000 | 0x40000000, "NPF"}, {0x2000, "+0x2000"}, {0x80000010, "i+0x80000000"},
	} {
		if got := TextFlags(tc.flags); got != tc.want {
			t.Errorf("%#x: got %q, want %q", tc.flags, got, tc.want)
		}
	}
}

func TestText(t *testing.T) {
	e := &Entry{
		Kind: File, Have: (All | Btime) &^ Target, Mode: 0o4755, UID: 0, GID: 4294967294, Size: 12, Inode: 1 << 63, Nlink: 2,
		Device: 8<<8 | 1, Mtime: Time{1700000000, 5}, Ctime: Time{-1, 999999999}, Digest: digest.Digest{0xab},
		Xattr: []Xattr{{[]byte("user.a\n"), 12, digest.Digest{1, 2}}, {[]byte("user.b"), 0, digest.Digest{}}},
		ACL:   acl(1, 6, 0), DefACL: acl(1, 7, 0), Caps: le32(0x02000001, 1<<13, 0, 0, 0), Label: []byte("a:b\x1b"), Flags: 0x10,
	}
	for _, tc := range []struct {
		bit  Attr
		want string
	}{
		{Type, "file"}, {Mode, "4755"}, {UID, "0"}, {GID, "4294967294"}, {Size, "12"}, {Inode, "9223372036854775808"},
		{Nlink, "2"}, {Device, "8:1"}, {Mtime, "2023-11-14T22:13:20.000000005Z"}, {Ctime, "1969-12-31T23:59:59.999999999Z"},
		{Content, hex.EncodeToString(e.Digest[:])}, {XattrAttr, "user.a\n (12 bytes, 0102000000000000), user.b (0 bytes, 0000000000000000)"},
		{ACL, "user::rw-,default:user::rwx"}, {Caps, "cap_net_raw=ep"}, {SELinux, "a:b\x1b"}, {Flags, "i"},
	} {
		if got, ok := Text(tc.bit, e); got != tc.want || !ok {
			t.Errorf("%v: got %q, %v, want %q", tc.bit, got, ok, tc.want)
		}
	}
	bare := &Entry{Kind: File, Have: All &^ Mode}
	for _, bit := range []Attr{Mode, Target, XattrAttr, ACL, Caps, SELinux, Btime} {
		if got, ok := Text(bit, bare); ok || got != "" {
			t.Errorf("%v of a bare entry: %q", bit, got)
		}
	}
	for _, tc := range []struct {
		got, want string
	}{
		{first(Text(Flags, bare)), ""},
		{first(Text(Target, &Entry{Kind: Symlink, Have: Target, Target: []byte("\xff\n")})), "\xff\n"},
		{first(Text(Type, &Entry{Kind: CharDevice, Have: Type, Rdev: 1<<8 | 3})), "char device 1:3"},
		{first(Text(Type, &Entry{Kind: BlockDevice, Have: Type, Rdev: 0x000120006783459a})), "block device 74565:424090"},
		{TextTime(Time{1 << 62, 5}), "@4611686018427387904.000000005"},
		{TextTime(Time{0, 1 << 30}), "@0.1073741824"},
		{first(Text(Mode, nil)), ""},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

func first(s string, _ bool) string { return s }

func TestTextTime(t *testing.T) {
	for _, sec := range []int64{firstSecond, -1, 0, 951782400, 1_700_000_000, lastSecond} {
		for _, nsec := range []uint32{0, 1, 10, 123_456_789, 500_000_000, 999_999_999} {
			want := time.Unix(sec, int64(nsec)).UTC().Format("2006-01-02T15:04:05.000000000Z")
			if got := TextTime(Time{sec, nsec}); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}

// What is decoded for people is printable whatever the bytes are.
func FuzzText(f *testing.F) {
	f.Add(acl(1, 6, 0, 2, 4, 65534), le32(0x02000001, 1, 0, 0, 0), uint32(0x10), int64(0), uint32(0))
	f.Add(le32(2), le32(0x03000001, 1, 2, 3, 4, 5), uint32(1<<31), int64(-1), uint32(1<<31))
	f.Fuzz(func(t *testing.T, a, c []byte, flags uint32, sec int64, nsec uint32) {
		e := &Entry{Kind: File, Have: All | Btime, ACL: a, DefACL: c, Caps: c, Flags: flags, Mtime: Time{sec, nsec}, Device: uint64(sec)}
		for _, row := range Table() {
			s, _ := Text(row.Bit, e)
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%s: %q", row.Name, s)
			}
		}
		if got, ok := DecodeCaps(c); ok && TextCaps(c) == malformed(c) {
			t.Errorf("%x decodes to %+v and is malformed", c, got)
		}
	})
}
