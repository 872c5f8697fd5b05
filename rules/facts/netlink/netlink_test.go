package netlink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// message is one as the kernel writes them.
func message(kind, flags uint16, seq uint32, body []byte) []byte {
	b := make([]byte, header, header+len(body)+3)
	binary.NativeEndian.PutUint32(b, uint32(header+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	binary.NativeEndian.PutUint32(b[8:], seq)
	b = append(b, body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func code(n int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

func TestSplit(t *testing.T) {
	stop := errors.New("enough")
	for name, c := range map[string]struct {
		in   [][]byte
		got  string // bodies
		done bool
		err  error
	}{
		"several, the last ends it": {[][]byte{message(20, 2, 1, []byte("abc")), message(20, 2, 1, []byte("d")), message(unix.NLMSG_DONE, 2, 1, code(0))}, "abc|d|", true, nil},
		"goes on":                   {[][]byte{message(20, 2, 1, []byte("abc"))}, "abc|", false, nil},
		"of another request":        {[][]byte{message(20, 2, 7, []byte("abc")), message(unix.NLMSG_DONE, 2, 7, nil)}, "", false, nil},
		"acknowledged":              {[][]byte{message(20, 0, 1, []byte("x")), message(unix.NLMSG_ERROR, 0, 1, code(0))}, "x|", true, nil},
		"refused":                   {[][]byte{message(unix.NLMSG_ERROR, 0, 1, code(-int32(unix.EPERM)))}, "", false, unix.EPERM},
		"interrupted":               {[][]byte{message(20, unix.NLM_F_DUMP_INTR, 1, []byte("x"))}, "", false, ErrInterrupted},
		"an error without a code":   {[][]byte{message(unix.NLMSG_ERROR, 0, 1, nil)}, "", false, ErrMalformed},
		"half a header":             {[][]byte{make([]byte, 5)}, "", false, ErrMalformed},
		"longer than it is":         {[][]byte{message(20, 0, 1, []byte("abcd"))[:18]}, "", false, ErrMalformed},
		"shorter than its header":   {[][]byte{make([]byte, header)}, "", false, ErrMalformed},
		"not wanted":                {[][]byte{message(20, 0, 1, []byte("stop")), message(20, 0, 1, []byte("y"))}, "stop|", false, stop},
	} {
		var got []byte
		done, err := Split(bytes.Join(c.in, nil), 1, func(_ uint16, b []byte) error {
			got = append(append(got, b...), '|')
			if string(b) == "stop" {
				return stop
			}
			return nil
		})
		if string(got) != c.got || done != c.done || !errors.Is(err, c.err) {
			t.Errorf("%s: %q %v %v", name, got, done, err)
		}
	}
}

// The kernel's own answer: rtnetlink lists at least one interface, and what is
// longer than allowed is not read.
func TestAsk(t *testing.T) {
	n := 0
	each := func(kind uint16, body []byte) error {
		if kind == unix.RTM_NEWLINK && len(body) >= unix.SizeofIfInfomsg {
			n++
			return Attributes(body[unix.SizeofIfInfomsg:], func(uint16, []byte) error { return nil })
		}
		return nil
	}
	ask := func(ctx context.Context, limit int64) error {
		return Ask(ctx, unix.NETLINK_ROUTE, unix.RTM_GETLINK, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfInfomsg), limit, each)
	}
	if err := ask(context.Background(), 1<<20); err != nil || n == 0 {
		t.Errorf("%d interfaces: %v", n, err)
	}
	if err := ask(context.Background(), 100); !errors.Is(err, ErrTooMuch) {
		t.Errorf("more than 100 bytes: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ask(ctx, 1<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := Ask(context.Background(), unix.NETLINK_ROUTE, 9999, 0, nil, 1<<20, each); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("no such request: %v", err)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(append(message(20, 2, 1, []byte("\x08\x00\x01\x80\x01\x02\x03\x04")), message(unix.NLMSG_DONE, 2, 1, code(0))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		Split(b, 1, func(_ uint16, body []byte) error {
			total += len(body)
			return Attributes(body, func(_ uint16, v []byte) error {
				total += len(v)
				return nil
			})
		})
		if total > 2*len(b) {
			t.Errorf("%d bytes of %d", total, len(b))
		}
	})
}
