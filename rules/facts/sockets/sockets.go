// Package sockets tells who listens on a running host: every TCP socket that
// accepts connections and every UDP socket that takes what anybody sends, in
// each network namespace that some process is in, with the process behind it.
package sockets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"intact/rules"
	"intact/rules/facts"
)

// Listener is a socket that strangers can send to.
type Listener struct {
	Proto     string `cel:"proto"`      // tcp or udp
	Family    string `cel:"family"`     // ipv4 or ipv6
	Addr      string `cel:"addr"`       // the address that it is bound to, as 0.0.0.0, ::1
	Port      int64  `cel:"port"`       // 1 … 65535
	DualStack bool   `cel:"dual_stack"` // bound to ::, and takes IPv4 too
	Wildcard  bool   `cel:"wildcard"`   // on every address
	Loopback  bool   `cel:"loopback"`   // on addresses of the host itself only
	Scope     string `cel:"scope"`      // wildcard, loopback, link, private, multicast, public
	Iface     string `cel:"iface"`      // interface that it is bound to or that has its address; * for all of them, "" if none is known
	Netns     string `cel:"netns"`      // host, or other for a network namespace that is not ours
	SocketUID int64  `cel:"socket_uid"` // user that made it
	Inode     int64  `cel:"inode"`      // changes at each start

	Owned      bool   `cel:"owned"`       // a process has it open
	OwnerKnown bool   `cel:"owner_known"` // false: none was found, and some processes could not be asked
	PID        int64  `cel:"pid"`         // the lowest one that has it; changes at each start
	Processes  int64  `cel:"processes"`   // that were seen to have it open
	UID        int64  `cel:"uid"`         // effective user of the process
	UIDKnown   bool   `cel:"uid_known"`
	Exe        string `cel:"exe"` // its program, any bytes
	ExeKnown   bool   `cel:"exe_known"`
	ExeDeleted bool   `cel:"exe_deleted"` // the program's file is gone or replaced
	ExeMemory  bool   `cel:"exe_memory"`  // the program never was a file
	ExeForeign bool   `cel:"exe_foreign"` // exe leads to it in another mount namespace only, as a container's
	Unit       string `cel:"unit"`        // systemd unit by its control group, "" if none
	UnitKnown  bool   `cel:"unit_known"`

	Package      string `cel:"package"` // that owns exe, "" if none; filled by whoever knows packages
	PackageKnown bool   `cel:"package_known"`
}

// Interface is a network interface of the host's own namespace.
type Interface struct {
	Name      string   `cel:"name"`
	Addresses []string `cel:"addresses"` // with their prefix lengths, as 10.0.0.1/24
	Up        bool     `cel:"up"`
	Loopback  bool     `cel:"loopback"`
	Tunnel    bool     `cel:"tunnel"` // WireGuard, tun or tap, IPsec, GRE and the like
	Kind      string   `cel:"kind"`   // as the kernel calls it: wireguard, tun, bridge, …; "" for a plain device
}

// ephemeral is the range that the kernel takes ports from by itself, by its
// default (ip_local_port_range of ip(7)).
const (
	ephemeralFirst = 32768
	ephemeralLast  = 60999
)

// Key tells one listener from others over restarts: of UDP sockets on a port
// that the kernel chose, the program stands for the port.
func (l Listener) Key() string {
	port := strconv.FormatInt(l.Port, 10)
	if l.chosen() {
		port = "*"
	}
	return fmt.Sprintf("%s %s/%s %s exe=%q", l.Netns, l.Proto, port, l.Scope, l.Exe)
}

// serial is what tells one unit made at run time from the next of its kind.
var serial = regexp.MustCompile(`[0-9a-f]{12,}|[0-9]+`)

// lasting is the name of a unit over restarts: scopes, as of a login session or
// a container, and services of systemd-run(1) have a number or digest in theirs.
func lasting(unit string) string {
	if !strings.HasSuffix(unit, ".scope") && !strings.HasPrefix(unit, "run-") {
		return unit
	}
	return serial.ReplaceAllString(unit, "*")
}

// chosen reports whether the kernel chose the port.
func (l Listener) chosen() bool {
	return l.Proto == "udp" && l.Port >= ephemeralFirst && l.Port <= ephemeralLast && l.ExeKnown
}

// Compared spells what is compared of a listener. That its program is not what
// the path leads to here, but in another mount namespace, is.
func (l Listener) Compared() string {
	s := fmt.Sprintf("uid=%s unit=%s package=%s", known(l.UIDKnown, strconv.FormatInt(l.UID, 10)), known(l.UnitKnown, lasting(l.Unit)), known(l.PackageKnown, l.Package))
	if l.ExeKnown && l.ExeForeign {
		s += ` foreign="true"`
	}
	return s
}

// Drift gives what is compared from one day to the next. Sockets of one program,
// user and unit that no stranger can tell apart are one: of workers that share a
// port, of addresses of one scope that come and go with a lease, on one address
// beside all of them. A port that the kernel chose is none beside another of the
// same program: who asks others has one open while he waits for the answer.
func Drift(list []Listener) (out []Listener) {
	type who struct{ netns, exe, compared string }
	type what struct{ key, compared, family string }
	type door struct {
		who
		proto, family string
		port          int64
	}
	settled, open, seen := map[who]bool{}, map[door]bool{}, map[what]bool{}
	at := func(l Listener) (who, door) {
		w := who{l.Netns, l.Exe, l.Compared()}
		return w, door{w, l.Proto, l.Family, l.Port}
	}
	for _, l := range list {
		w, d := at(l)
		settled[w] = settled[w] || l.ExeKnown && !l.chosen()
		open[d] = open[d] || l.ExeKnown && l.Wildcard
	}
	for _, l := range list {
		w, d := at(l)
		k := what{l.Key(), w.compared, l.Family}
		if seen[k] || l.chosen() && settled[w] || !l.Wildcard && open[d] {
			continue
		}
		seen[k] = true
		out = append(out, l)
	}
	return out
}

// known quotes what is known. What is not stands without quotes.
func known(ok bool, s string) string {
	if !ok {
		return "unknown"
	}
	return strconv.Quote(s)
}

// maxSockets bounds the listening sockets of all namespaces.
const maxSockets = 1 << 20

// Collect gives the listeners and the interfaces of the host. A socket that no
// process was seen to have is among them.
func Collect(ctx context.Context, h facts.Host) (facts.Answer[Listener], facts.Answer[Interface]) {
	if !h.Live {
		return facts.OfflineAnswer[Listener]("what listens"), facts.OfflineAnswer[Interface]("network interfaces")
	}
	ifaces := interfaces()
	return collect(ctx, facts.HostProc(), ifaces), ifaces
}

func collect(ctx context.Context, proc facts.Proc, ifaces facts.Answer[Interface]) facts.Answer[Listener] {
	a := facts.Answer[Listener]{Status: rules.OK, Via: "netlink sock_diag"}
	fail := func(err error) {
		if a.Status == rules.OK {
			a.Status, a.Reason = statusOf(err), err.Error()
		}
	}
	list, err := dump(ctx)
	if err != nil { // a kernel without the module, a sandbox without netlink
		if list, err = procListeners(proc.Dir + "/self"); err != nil {
			fail(err)
		}
		a.Via = proc.Dir + "/net"
	}
	for i := range list {
		list[i].Netns = "host"
	}
	more, asked, err := owners(ctx, proc, list)
	if err != nil {
		fail(err)
	}
	a.Rows = more
	for i := range a.Rows {
		l := &a.Rows[i]
		l.OwnerKnown = l.Owned || asked
		place(l, ifaces.Rows)
	}
	slices.SortFunc(a.Rows, order)
	if ctx.Err() != nil {
		a.Status, a.Reason = rules.Timeout, ctx.Err().Error()
	}
	return a
}

func statusOf(err error) rules.Status {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return rules.Denied
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return rules.Timeout
	}
	return rules.Failed
}

// order puts listeners as people read them: by port, then by all the rest.
func order(a, b Listener) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Netns, b.Netns), cmp.Compare(a.Family, b.Family),
		cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Exe, b.Exe), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Inode, b.Inode))
}

// place fills in what follows from the address.
func place(l *Listener, ifaces []Interface) {
	addr, err := netip.ParseAddr(l.Addr)
	if err != nil {
		l.Scope = "public" // what cannot be read is not taken for harmless
		return
	}
	addr = addr.Unmap()
	switch {
	case addr.IsUnspecified():
		l.Wildcard, l.Scope = true, "wildcard"
		if l.Iface == "" {
			l.Iface = "*"
		}
	case addr.IsLoopback():
		l.Loopback, l.Scope = true, "loopback"
	case addr.IsMulticast():
		l.Scope = "multicast"
	case addr.IsLinkLocalUnicast():
		l.Scope = "link"
	case addr.IsPrivate():
		l.Scope = "private"
	default:
		l.Scope = "public"
	}
	if l.Netns != "host" || l.Iface != "" {
		return
	}
	for i := range ifaces {
		for _, p := range ifaces[i].Addresses {
			if have, err := netip.ParsePrefix(p); err == nil && have.Addr().WithZone("").Unmap() == addr.WithZone("") {
				l.Iface = ifaces[i].Name
				return
			}
		}
	}
	if l.Loopback {
		l.Iface = "lo" // all of 127.0.0.0/8 is the host itself
	}
}
