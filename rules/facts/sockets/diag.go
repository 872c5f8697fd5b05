package sockets

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The protocol of sock_diag(7): a request of 56 bytes behind a header of 16,
// answers of 72 bytes and attributes. Numbers are in the order of the host, but
// ports and addresses in that of the network.
const (
	sockDiagByFamily = 20
	reqSize          = 56
	msgSize          = 72
	nlHeader         = 16
	inetDiagSKV6Only = 11
	listenTCP        = 1 << 10 // TCP_LISTEN
	openUDP          = 1 << 7  // TCP_CLOSE: a UDP socket that is connected to nobody
)

// dump asks the kernel for the listeners of our own network namespace.
func dump(ctx context.Context) ([]Listener, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	var out []Listener
	buf := make([]byte, 64<<10)
	for seq, ask := range [...]struct {
		family, proto byte
		states        uint32
	}{{unix.AF_INET, unix.IPPROTO_TCP, listenTCP}, {unix.AF_INET6, unix.IPPROTO_TCP, listenTCP}, {unix.AF_INET, unix.IPPROTO_UDP, openUDP}, {unix.AF_INET6, unix.IPPROTO_UDP, openUDP}} {
		b := make([]byte, nlHeader+reqSize)
		binary.NativeEndian.PutUint32(b, uint32(len(b)))
		binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
		binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		binary.NativeEndian.PutUint32(b[8:], uint32(seq+1))
		b[16], b[17] = ask.family, ask.proto
		binary.NativeEndian.PutUint32(b[20:], ask.states)
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		for done := false; !done; {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			n, from, err := unix.Recvfrom(fd, buf, unix.MSG_TRUNC)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("sock_diag: %w", err)
			}
			if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
				continue // of another process, not of the kernel
			}
			if n > len(buf) {
				return nil, fmt.Errorf("sock_diag: an answer of %d bytes", n)
			}
			if done, err = readDiag(buf[:n], uint32(seq+1), ask.proto, &out); err != nil {
				return nil, fmt.Errorf("sock_diag: %w", err)
			}
			if len(out) > maxSockets {
				return out, fmt.Errorf("sock_diag: over %d sockets", maxSockets)
			}
		}
	}
	return out, nil
}

var errDiag = errors.New("malformed answer")

// readDiag takes what one datagram says, and reports whether it is the last.
func readDiag(b []byte, seq uint32, proto byte, out *[]Listener) (done bool, err error) {
	for len(b) > 0 {
		if len(b) < nlHeader {
			return false, errDiag
		}
		size := int(binary.NativeEndian.Uint32(b))
		if size < nlHeader || size > len(b) {
			return false, errDiag
		}
		kind, flags, body := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), b[nlHeader:size]
		if binary.NativeEndian.Uint32(b[8:]) == seq {
			switch {
			case flags&unix.NLM_F_DUMP_INTR != 0:
				return false, errors.New("interrupted by a change")
			case kind == unix.NLMSG_DONE:
				return true, nil
			case kind == unix.NLMSG_ERROR:
				if len(body) < 4 {
					return false, errDiag
				}
				return false, unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
			case kind == sockDiagByFamily:
				l, ok := parseDiag(body, proto)
				if !ok {
					return false, errDiag
				}
				if l.Port != 0 {
					*out = append(*out, l)
				}
			}
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return false, nil
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
	for rest := b[msgSize:]; len(rest) >= 4; {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < 4 || size > len(rest) {
			return l, false
		}
		if binary.NativeEndian.Uint16(rest[2:]) == inetDiagSKV6Only && size > 4 {
			only = rest[4] != 0
		}
		rest = rest[min((size+3)&^3, len(rest)):]
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
