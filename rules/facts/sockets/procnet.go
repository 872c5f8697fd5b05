package sockets

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// tables are the files of proc_net(5) that list sockets.
var tables = [...]struct{ name, proto, family, state string }{
	{"tcp", "tcp", "ipv4", "0A"}, {"tcp6", "tcp", "ipv6", "0A"}, {"udp", "udp", "ipv4", "07"}, {"udp6", "udp", "ipv6", "07"},
}

// procListeners reads the listeners of the network namespace of a process from
// its directory below /proc. A kernel without IPv6 has no table of it.
func procListeners(process string) ([]Listener, error) {
	var out []Listener
	read := 0
	for _, t := range tables {
		f, err := os.Open(process + "/net/" + t.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return out, fmt.Errorf("read listeners: %w", err)
		}
		err = readTable(f, t.proto, t.family, t.state, &out)
		f.Close()
		if err != nil {
			return out, fmt.Errorf("read listeners: %s/net/%s: %w", process, t.name, err)
		}
		read++
	}
	if read == 0 {
		return nil, fmt.Errorf("read listeners: %s/net: %w", process, fs.ErrNotExist)
	}
	return out, nil
}

// readTable reads the sockets of one table that are in a state.
func readTable(r io.Reader, proto, family, state string, out *[]Listener) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 4096), 64<<10)
	for n := 1; s.Scan(); n++ {
		f := strings.Fields(s.Text())
		if n == 1 && len(f) > 0 && f[0] == "sl" {
			continue
		}
		l := Listener{Proto: proto, Family: family}
		ok := len(f) >= 10 && len(f[3]) == 2
		if ok && f[3] != state {
			continue
		}
		if ok {
			var at netip.AddrPort
			if at, ok = parseAddr(f[1], family); ok {
				l.Addr, l.Port = at.Addr().String(), int64(at.Port())
			}
			uid, err1 := strconv.ParseUint(f[7], 10, 32)
			inode, err2 := strconv.ParseUint(f[9], 10, 63)
			ok = ok && err1 == nil && err2 == nil
			l.SocketUID, l.Inode = int64(uid), int64(inode)
		}
		if !ok {
			return fmt.Errorf("line %d: not a socket: %.80q", n, s.Text())
		}
		l.DualStack = l.Addr == "::" // the table does not say whether IPv4 is left out
		if l.Port != 0 {
			*out = append(*out, l)
		}
		if len(*out) > maxSockets {
			return fmt.Errorf("over %d sockets", maxSockets)
		}
	}
	return s.Err()
}

// littleEndian tells how this machine spells numbers, as the table does.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// parseAddr reads ADDRESS:PORT in hexadecimal, the address in words of the
// machine's order.
func parseAddr(s, family string) (netip.AddrPort, bool) {
	a, p, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(a)
	port, err2 := strconv.ParseUint(p, 16, 16)
	want := 4
	if family == "ipv6" {
		want = 16
	}
	if !ok || err != nil || err2 != nil || len(b) != want || len(p) != 4 {
		return netip.AddrPort{}, false
	}
	if littleEndian {
		for i := 0; i < len(b); i += 4 {
			slices.Reverse(b[i : i+4])
		}
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr, uint16(port)), ok
}
