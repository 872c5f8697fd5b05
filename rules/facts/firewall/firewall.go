// Package firewall reads the packet filter of a running host: every chain of
// nf_tables in its network namespace with its rules in one spelling, the tables
// that iptables-legacy keeps beside it, and the ports that address translation
// leads elsewhere. It asks the kernel over netlink, runs no program and changes
// nothing. Of an image it reads nothing.
//
// A rule is written much as nft(8) lists it, without counters, comments and
// handles: "tcp dport 22 ct state new accept". Sets are written with what is in
// them. Matches and targets that iptables writes are spelled like those of nft.
// An expression that is not understood is "complex(NAME blake3:…)" with a digest
// of its bytes, so that a change of it is seen.
package firewall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/entry"
)

// maxFile bounds a file that is read, in bytes.
const maxFile = 4 << 20

// Chain is a chain of nf_tables.
type Chain struct {
	Family   string   `cel:"family"` // ip, ip6, inet, arp, bridge, netdev
	Table    string   `cel:"table"`
	Name     string   `cel:"chain"`
	Base     bool     `cel:"base"`     // packets enter it by a hook; else by a jump
	Type     string   `cel:"type"`     // filter, nat, route; "" of a chain that is none of base
	Hook     string   `cel:"hook"`     // prerouting, input, forward, output, postrouting, ingress, egress; ""
	Devices  []string `cel:"devices"`  // interfaces of a hook that belongs to some
	Priority int64    `cel:"priority"` // lower ones come first
	Policy   string   `cel:"policy"`   // accept or drop, "" of a chain that is none of base
	Dormant  bool     `cel:"dormant"`  // its table is switched off
	Rest     string   `cel:"rest"`     // what becomes of a packet that no rule with a condition takes: accept, drop, reject, queue; "" it returns
	Rules    []string `cel:"rules"`    // in order, one spelling
	Complex  int64    `cel:"complex"`  // rules of which something is not understood
	// Container engines make it and change it as containers come and go: it takes
	// no part in drift. Docker's DOCKER, DOCKER-BRIDGE, DOCKER-CT, DOCKER-FORWARD,
	// DOCKER-INGRESS, DOCKER-INTERNAL, DOCKER-ISOLATION-STAGE-…, and the tables
	// docker-bridges; podman's NETAVARK-…, NETAVARK_… and the table netavark; those of CNI,
	// CNI-… without CNI-ADMIN. Of those named by their chain none has a hook. DOCKER-USER and CNI-ADMIN are the administrator's.
	Container bool `cel:"container"`
}

// Key tells chains apart.
func (c Chain) Key() string { return c.Family + " " + word(c.Table) + " " + word(c.Name) }

// Compared spells what is compared of a chain. Left out are rules by which
// fail2ban bans an address in a chain of its own, and, behind the routing of a nat
// table, those that lead to chains of containers or let one reach itself.
func (c Chain) Compared() string {
	out := fmt.Sprintf("type=%q hook=%q priority=%q policy=%q", c.Type, strings.TrimSpace(c.Hook+" "+strings.Join(c.Devices, " ")), strconv.FormatInt(c.Priority, 10), c.Policy)
	if c.Dormant {
		out += ` dormant="true"`
	}
	for _, r := range c.lasting() {
		out += fmt.Sprintf(" rule=%q", r)
	}
	return out
}

// Legacy is a table of iptables-legacy, which nf_tables does not know. What is in
// it is not read.
type Legacy struct {
	Family string `cel:"family"` // ip, ip6
	Table  string `cel:"table"`  // filter, nat, mangle, raw, security
}

// Key tells tables apart.
func (l Legacy) Key() string { return l.Family + " " + word(l.Table) }

// Compared is empty: there is the table, or not.
func (l Legacy) Compared() string { return "" }

// Answers are what was found out about the packet filter.
type Answers struct {
	Chains    facts.Answer[Chain]
	Legacy    facts.Answer[Legacy]
	Published facts.Answer[Published]
}

// Collect reads the packet filter of the host.
func Collect(ctx context.Context, h facts.Host) Answers {
	if !h.Live {
		return Answers{facts.OfflineAnswer[Chain]("the packet filter"), facts.OfflineAnswer[Legacy]("the packet filter"), facts.OfflineAnswer[Published]("published ports")}
	}
	return collect(ctx, h, ask, hostAddresses())
}

func collect(ctx context.Context, h facts.Host, ask asker, own []string) (a Answers) {
	a.Legacy = legacy(h)
	a.Chains = facts.Answer[Chain]{Status: rules.OK, Via: "netlink nf_tables"}
	a.Published = facts.Answer[Published]{Status: rules.OK, Via: "netlink nf_tables"}
	var r *ruleset
	err := errNotLoaded
	if loaded(h) {
		r, err = read(ctx, ask)
	}
	if err != nil {
		a.Chains.Status, a.Chains.Reason = statusOf(err), err.Error()
	}
	if r != nil {
		w := newWalk(r, own)
		a.Chains.Rows = w.rows()
		a.Published.Rows = w.published()
		if w.err != nil {
			a.Published.Fail(w.err)
		}
	}
	if a.Chains.Status != rules.OK {
		a.Published.Status, a.Published.Reason = a.Chains.Status, a.Chains.Reason
	}
	for _, l := range a.Legacy.Rows {
		if l.Table == "nat" {
			a.Published.Rows = append(a.Published.Rows, Published{Family: l.Family, Table: l.Table, Action: "unknown", Addr: "*", LastPort: maxPort, Legacy: true})
		}
	}
	filtered(a.Published.Rows, a.Chains.Rows, a.Legacy.Rows)
	switch {
	case a.Published.Status == rules.Absent && len(a.Published.Rows) > 0:
		a.Published.Status, a.Published.Reason = rules.OK, "" // no nf_tables, and others that have some
	case a.Published.Status == rules.OK && a.Legacy.Status != rules.OK:
		a.Published.Status, a.Published.Reason = a.Legacy.Status, a.Legacy.Reason
	}
	return a
}

var errNotLoaded = fmt.Errorf("the kernel has not loaded nf_tables: %w", unix.ENOENT)

// statusOf sorts the errors of the kernel: one without nf_tables says so in many
// ways.
func statusOf(err error) rules.Status {
	for _, none := range [...]syscall.Errno{unix.ENOPROTOOPT, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, unix.ENOSYS, unix.ECONNREFUSED} {
		if errors.Is(err, none) {
			return rules.Absent
		}
	}
	return facts.AnswerStatus(err)
}

// loaded reports whether nf_tables may be there. To ask a kernel for a module
// that it has not loaded would load it, and a check must not change the host.
func loaded(h facts.Host) bool {
	if _, err := h.Root.ReadFile("/proc/modules", maxFile); err != nil {
		return true // it knows no modules: all it has is built in
	}
	if _, err := h.Root.ReadFile("/sys/module/nf_tables/refcnt", 64); !facts.Missing(err) {
		return true
	}
	release, err := h.Root.ReadFile("/proc/sys/kernel/osrelease", 256)
	name := strings.TrimSpace(string(release))
	if err != nil || name == "" || strings.ContainsAny(name, "/\x00") {
		return true
	}
	for _, dir := range [...]string{"/lib/modules/", "/usr/lib/modules/"} {
		b, err := h.Root.ReadFile(entry.Path(dir+name+"/modules.builtin"), maxFile)
		if err == nil {
			return strings.Contains(string(b), "/nf_tables.ko")
		}
	}
	return true
}

// legacy reads which tables x_tables has made. A kernel without them has no such
// file.
func legacy(h facts.Host) facts.Answer[Legacy] {
	a := facts.Answer[Legacy]{Status: rules.OK, Via: "/proc/net/ip_tables_names"}
	if err := h.Root.List("/proc/net", func(string, entry.Kind) error { return errSeen }); err != nil && !errors.Is(err, errSeen) {
		a.Fail(err)
		return a
	}
	for _, f := range [...]struct{ family, file string }{{"ip", "/proc/net/ip_tables_names"}, {"ip6", "/proc/net/ip6_tables_names"}} {
		b, err := h.Root.ReadFile(entry.Path(f.file), 64<<10)
		if err != nil && !facts.Missing(err) {
			a.Fail(err)
		}
		for name := range strings.FieldsSeq(string(b)) {
			l := Legacy{f.family, name}
			if !slices.Contains(a.Rows, l) && len(a.Rows) < 1000 {
				a.Rows = append(a.Rows, l)
			}
		}
	}
	return a
}

var errSeen = errors.New("there is one")

// interfaceName is the name of an interface, its number where it has none any
// more.
func interfaceName(i uint32) string {
	if n, err := net.InterfaceByIndex(int(i)); err == nil {
		return n.Name
	}
	return "#" + strconv.FormatUint(uint64(i), 10)
}

// hostAddresses are those of the host's interfaces, without their lengths.
func hostAddresses() (out []string) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil // what cannot be told is not taken for the host's own
	}
	for _, a := range list {
		s, _, _ := strings.Cut(a.String(), "/")
		out = append(out, s)
	}
	return out
}

// order puts chains in the order of their names.
func order(a, b Chain) int {
	return cmp.Or(strings.Compare(a.Family, b.Family), strings.Compare(a.Table, b.Table), strings.Compare(a.Name, b.Name))
}
