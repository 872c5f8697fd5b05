// Package netlink asks the kernel over netlink(7) what there is, and takes its
// answers apart. It changes nothing, and reads no more than it was allowed to.
package netlink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// header is the size of struct nlmsghdr.
const header = 16

// Errors of asking. Those of the kernel itself are unix.Errno.
var (
	ErrInterrupted = errors.New("interrupted by a change") // ask again
	ErrTooMuch     = errors.New("more than is read")
	ErrMalformed   = errors.New("malformed answer")
)

// Ask sends one request to a family of netlink and calls each with every message
// that answers it: its kind and what stands behind its header. The body is valid
// during the call. With flags of a dump the answer ends where the kernel says so,
// else with its acknowledgement. No more than limit bytes are read. An error of
// each ends it and is returned.
func Ask(ctx context.Context, family int, kind, flags uint16, request []byte, limit int64, each func(kind uint16, body []byte) error) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return err
	}
	if flags&unix.NLM_F_DUMP == 0 {
		flags |= unix.NLM_F_ACK
	}
	b := make([]byte, header+len(request))
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(b[8:], sequence)
	copy(b[header:], request)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	return receive(ctx, fd, limit, each)
}

// sequence is the number of the one request of a socket.
const sequence = 1

func receive(ctx context.Context, fd int, limit int64, each func(kind uint16, body []byte) error) error {
	buf := make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, from, err := unix.Recvfrom(fd, buf, unix.MSG_TRUNC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
			continue // of another process, not of the kernel
		}
		if limit -= int64(n); n > len(buf) || limit < 0 {
			return fmt.Errorf("%w: %d bytes at once", ErrTooMuch, n)
		}
		if done, err := Split(buf[:n], sequence, each); done || err != nil {
			return err
		}
	}
}

// Split calls each with the messages of a datagram that answer a request, and
// reports whether one of them ends the answer.
func Split(b []byte, seq uint32, each func(kind uint16, body []byte) error) (done bool, err error) {
	for len(b) > 0 {
		if len(b) < header {
			return false, ErrMalformed
		}
		size := int(binary.NativeEndian.Uint32(b))
		if size < header || size > len(b) {
			return false, ErrMalformed
		}
		kind, flags, body := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), b[header:size]
		if binary.NativeEndian.Uint32(b[8:]) == seq {
			switch {
			case flags&unix.NLM_F_DUMP_INTR != 0:
				return false, ErrInterrupted
			case kind == unix.NLMSG_DONE:
				return true, nil
			case kind == unix.NLMSG_ERROR:
				if len(body) < 4 {
					return false, ErrMalformed
				}
				if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
					return false, unix.Errno(-code)
				}
				return true, nil
			default:
				if err := each(kind, body); err != nil {
					return false, err
				}
			}
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return false, nil
}

// flagBits are those of an attribute's type that say how it is stored.
const flagBits = unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER

// Attributes calls f with each attribute of a list (struct nlattr), its type
// without the bits that say how it is stored.
func Attributes(b []byte, f func(kind uint16, value []byte) error) error {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return ErrMalformed
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&^flagBits, b[4:size]); err != nil {
			return err
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}
