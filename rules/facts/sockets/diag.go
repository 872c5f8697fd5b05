package sockets

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"intact/rules/facts/netlink"
)

// The protocol of sock_diag(7): a request of 56 bytes behind a header of 16,
// answers of 72 bytes and attributes. Numbers are in the order of the host, but
// ports and addresses in that of the network.
const (
	sockDiagByFamily = 20
	reqSize          = 56
	msgSize          = 72
	inetDiagSKV6Only = 11
	listenTCP        = 1 << 10 // TCP_LISTEN
	openUDP          = 1 << 7  // TCP_CLOSE: a UDP socket that is connected to nobody
)

// maxAnswer bounds the bytes of one list of sockets, 64 MiB.
const maxAnswer = 64 << 20

// dump asks the kernel for the listeners of our own network namespace.
func dump(ctx context.Context) (out []Listener, err error) {
	for _, ask := range [...]struct {
		family, proto byte
		states        uint32
	}{{unix.AF_INET, unix.IPPROTO_TCP, listenTCP}, {unix.AF_INET6, unix.IPPROTO_TCP, listenTCP}, {unix.AF_INET, unix.IPPROTO_UDP, openUDP}, {unix.AF_INET6, unix.IPPROTO_UDP, openUDP}} {
		b := make([]byte, reqSize)
		b[0], b[1] = ask.family, ask.proto
		binary.NativeEndian.PutUint32(b[4:], ask.states)
		err := netlink.Ask(ctx, unix.NETLINK_INET_DIAG, sockDiagByFamily, unix.NLM_F_DUMP, b, maxAnswer, func(kind uint16, body []byte) error {
			return readDiag(kind, body, ask.proto, &out)
		})
		if err != nil {
			return out, fmt.Errorf("sock_diag: %w", err)
		}
	}
	return out, nil
}

// readDiag takes what one message says.
func readDiag(kind uint16, body []byte, proto byte, out *[]Listener) error {
	if kind != sockDiagByFamily {
		return nil
	}
	l, ok := parseDiag(body, proto)
	switch {
	case !ok:
		return netlink.ErrMalformed
	case len(*out) >= maxSockets:
		return fmt.Errorf("over %d sockets", maxSockets)
	case l.Port != 0:
		*out = append(*out, l)
	}
	return nil
}

// parseDiag reads one socket, struct inet_diag_msg.
func parseDiag(b []byte, proto byte) (l Listener, ok bool) {
	if len(b) < msgSize {
		return l, false
	}
	l.Proto = "tcp"
	if proto == unix.IPPROTO_UDP {
		l.Proto = "udp"
	}
	l.Port = int64(binary.BigEndian.Uint16(b[4:]))
	switch b[0] {
	case unix.AF_INET:
		l.Family, l.Addr = "ipv4", netip.AddrFrom4([4]byte(b[8:])).String()
	case unix.AF_INET6:
		l.Family, l.Addr = "ipv6", netip.AddrFrom16([16]byte(b[8:])).String()
	default:
		return l, false
	}
	if i := binary.NativeEndian.Uint32(b[40:]); i != 0 {
		l.Iface = ifaceName(int(i))
	}
	l.SocketUID, l.Inode = int64(binary.NativeEndian.Uint32(b[64:])), int64(binary.NativeEndian.Uint32(b[68:]))
	only := false
	err := netlink.Attributes(b[msgSize:], func(kind uint16, value []byte) error {
		if kind == inetDiagSKV6Only && len(value) > 0 {
			only = value[0] != 0
		}
		return nil
	})
	if err != nil {
		return l, false
	}
	l.DualStack = l.Addr == "::" && !only
	return l, true
}

// ifaceName is the name of an interface, its number where it has none any more.
func ifaceName(i int) string {
	if n := nameOf(i); n != "" {
		return n
	}
	return "#" + strconv.Itoa(i)
}
