package entry

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// capNames are the capabilities of linux/capability.h, by number, without
// "cap_".
var capNames = [...]string{
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
	"setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
	"ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
	"sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
	"lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
	"wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
}

// FileCaps is a decoded security.capability value: bit n of a set is
// capability n.
type FileCaps struct {
	Permitted   uint64
	Inheritable uint64
	Effective   bool
	RootID      uint32 // user namespace root that they are for; 0 outside of one
}

// The revisions of struct vfs_cap_data: head, then pairs of permitted and
// inheritable words, then the root id.
const (
	capRevision  = 0xff000000
	capEffective = 0x000001
	capV1        = 0x01000000
	capV2        = 0x02000000
	capV3        = 0x03000000
)

// DecodeCaps decodes the value of security.capability, revisions 1 to 3, as
// linux/capability.h lays it out.
func DecodeCaps(v []byte) (c FileCaps, ok bool) {
	if len(v) < 4 {
		return c, false
	}
	head := binary.LittleEndian.Uint32(v)
	words, size := 2, 20
	switch head & capRevision {
	case capV1:
		words, size = 1, 12
	case capV2:
	case capV3:
		size = 24
	default:
		return c, false
	}
	if len(v) != size || head&^(capRevision|capEffective) != 0 {
		return c, false
	}
	for i := range words {
		c.Permitted |= uint64(binary.LittleEndian.Uint32(v[4+8*i:])) << (32 * i)
		c.Inheritable |= uint64(binary.LittleEndian.Uint32(v[8+8*i:])) << (32 * i)
	}
	c.Effective = head&capEffective != 0
	if size == 24 {
		c.RootID = binary.LittleEndian.Uint32(v[20:])
	}
	return c, true
}

// TextCaps decodes the value of security.capability for people, in the manner
// of getcap(8): "cap_net_raw=ep", with the root id behind it if there is one.
func TextCaps(v []byte) string {
	c, ok := DecodeCaps(v)
	if !ok {
		return malformed(v)
	}
	effective := ""
	if c.Effective {
		effective = "e"
	}
	var parts []string
	for _, g := range [...]struct {
		set  uint64
		kind string
	}{
		{c.Permitted & c.Inheritable, effective + "ip"},
		{c.Permitted &^ c.Inheritable, effective + "p"},
		{c.Inheritable &^ c.Permitted, effective + "i"},
	} {
		if g.set != 0 {
			parts = append(parts, textCapSet(g.set)+"="+g.kind)
		}
	}
	if len(parts) == 0 {
		parts = []string{"=" + effective}
	}
	if c.RootID != 0 {
		parts = append(parts, fmt.Sprintf("[rootid=%d]", c.RootID))
	}
	return strings.Join(parts, " ")
}

func textCapSet(set uint64) string {
	if set == 1<<len(capNames)-1 {
		return "all"
	}
	var names []string
	for i := range 64 {
		switch {
		case set&(1<<i) == 0:
		case i < len(capNames):
			names = append(names, "cap_"+capNames[i])
		default:
			names = append(names, fmt.Sprintf("cap_%d", i))
		}
	}
	return strings.Join(names, ",")
}
