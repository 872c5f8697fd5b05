package firewall

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/facttest"
	"intact/rules/facts/netlink"
)

var update = flag.Bool("update", false, "record what the kernel says of the rules of the tests")

// apart runs f in a network namespace of its own, on a thread that ends with it.
func apart(t *testing.T, tools []string, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a network namespace of its own needs root")
	}
	for _, name := range tools {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED: there is no %s", name)
		}
	}
	done := make(chan struct{})
	skip := ""
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread is not used again
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			skip = "SKIPPED: no network namespace: " + err.Error()
			return
		}
		if _, err := read(context.Background(), ask); err != nil {
			skip = "SKIPPED: this kernel has no nf_tables: " + err.Error()
			return
		}
		f()
	}()
	if <-done; skip != "" {
		t.Skip(skip)
	}
}

// run runs a program with a text on its standard input, in the network namespace
// of its caller.
func run(t *testing.T, stdin, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	c.Stdin = strings.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s %q: %v\n%s", name, args, err, out)
	}
}

// record keeps what an asker is told, as the kernel frames it.
func record(ask asker, into *[]byte) asker {
	return func(ctx context.Context, kind, flags uint16, request []byte, limit int64, each func(uint16, []byte) error) error {
		return ask(ctx, kind, flags, request, limit, func(kind uint16, body []byte) error {
			*into = append(*into, message(kind, body)...)
			return each(kind, body)
		})
	}
}

func message(kind uint16, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(append(b, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0), body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// replay takes a record apart.
func replay(t testing.TB, name string) *ruleset {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("SKIPPED: the records are of a machine with the lowest byte first")
	}
	r := newRuleset()
	if _, err := netlink.Split(b, 1, r.take); err != nil {
		t.Fatal(err)
	}
	return r
}

// bothWays gives check the rules that make makes in the kernel, and those that it
// gave when they were recorded.
func bothWays(t *testing.T, name string, tools []string, make func(), check func(t *testing.T, r *ruleset)) {
	t.Run("kernel", func(t *testing.T) {
		apart(t, tools, func() {
			if make(); t.Failed() {
				return
			}
			var said []byte
			r, err := read(context.Background(), record(ask, &said))
			if err != nil {
				t.Error(err)
				return
			}
			check(t, r)
			if *update {
				if err := os.WriteFile(filepath.Join("testdata", name), said, 0o644); err != nil {
					t.Error(err)
				}
			}
		})
	})
	t.Run("recorded", func(t *testing.T) { check(t, replay(t, name)) })
}

// chain finds a chain among rows.
func chain(t *testing.T, rows []Chain, key string) Chain {
	t.Helper()
	i := slices.IndexFunc(rows, func(c Chain) bool { return c.Key() == key })
	if i < 0 {
		t.Errorf("no chain %s", key)
		return Chain{}
	}
	return rows[i]
}

func compareRules(t *testing.T, got Chain, want []string) {
	t.Helper()
	for i := range max(len(got.Rules), len(want)) {
		g, w := "none", "none"
		if i < len(got.Rules) {
			g = got.Rules[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("%s, rule %d:\n got %s\nwant %s", got.Key(), i+1, g, w)
		}
	}
}

// written are rules for nft, and how they are spelled where it is not the same.
var written = []struct{ rule, want string }{
	{"ct state established,related accept", ""},
	{"ct state vmap { invalid : drop, established : accept, related : accept }", ""},
	{`iif "lo" accept`, ""},
	{`iifname "docker*" accept`, ""},
	{`iifname { "eth0", "eth1" } tcp dport 22 accept`, ""},
	{"tcp dport @allowed accept", "tcp dport @allowed { 22, 80, 443 } accept"},
	{"tcp dport @allowed drop", ""},
	{"tcp dport != @allowed accept", "tcp dport != @allowed { 22, 80, 443 } accept"},
	{"ip saddr @black drop", ""},
	{"ip saddr @black accept", "ip saddr @black { 10.0.0.0/8, 192.0.2.1-192.0.2.9, 203.0.113.5 } accept"},
	{"ip saddr 10.0.0.0/8 tcp dport 22 counter accept", "ip saddr 10.0.0.0/8 tcp dport 22 accept"},
	{"ip saddr 10.1.2.0/23 udp dport 1000-2000 accept", ""},
	{"ip6 saddr fe80::/10 icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept", "ip6 saddr fe80::/10 icmpv6 type { 134, 135 } accept"},
	{"ip6 daddr 2001:db8::/32 accept", ""},
	{"meta l4proto { tcp, udp } th dport 53 accept", ""},
	{"ip protocol icmp icmp type 8 limit rate 5/second burst 7 packets accept", ""},
	{"limit rate over 10 kbytes/minute drop", "limit rate over 10240 bytes/minute burst 0 bytes drop"},
	{"tcp flags & (fin|syn|rst|ack) == syn drop", "tcp flags & 0x17 == 0x02 drop"},
	{"tcp sport 1 tcp dport 2 accept", ""},
	{"ip saddr 1.2.3.4 ip daddr 5.6.7.8 accept", ""},
	{"tcp dport != 22 drop", ""},
	{"ip saddr . tcp dport { 10.0.0.1 . 22, 10.0.0.2 . 80-90 } accept", ""},
	{"meta mark 0x10 accept", ""},
	{"meta mark & 0xff == 0x10 accept", ""},
	{"meta skuid 1000 accept", ""},
	{"ct status dnat accept", ""},
	{"fib daddr type local accept", ""},
	{"fib saddr . iif oif missing drop", ""},
	{"add @dyn { ip saddr }", ""},
	{"ip saddr @dyn accept", ""},
	{`tcp dport 22 log prefix "ssh x " group 3 accept`, ""},
	{"tcp dport 23 reject", ""},
	{"tcp dport 24 reject with tcp reset", ""},
	{"ip protocol tcp reject with icmp host-unreachable", ""},
	{"tcp dport 33 reject with icmpx admin-prohibited", ""},
	{"tcp dport 25 jump other", ""},
	{"tcp dport vmap { 26 : jump other, 27 : goto other, 28-30 : drop }", ""},
	{"ct mark set 0x1", ""},
	{"meta mark set ct mark", ""},
	{"ip ttl < 5 drop", ""},
	{"tcp dport >= 60000 drop", ""},
	{"@th,160,8 1 accept", "@th,160,8 0x01 accept"},
	{"ct count over 10 drop", ""},
	{"quota over 10 bytes drop", ""},
	{"ip frag-off & 0x1fff != 0 drop", "ip frag-off & 0x1fff != 0x0000 drop"},
	{"meta l4proto tcp accept", ""},
	{"meta nfproto ipv4 accept", ""},
	{"ct original ip daddr 1.2.3.4 accept", ""},
	{"tcp dport { 22 } accept", "tcp dport 22 accept"},
	{"ip saddr { 10.0.0.0/8, 172.16.0.0/12 } accept", ""},
	{"tcp dport != { 22, 23 } accept", ""},
	{"ip saddr != 10.0.0.0/8 drop", ""},
	{"ip saddr & 255.0.255.0 == 1.0.3.0 drop", "ip saddr & 0xff00ff00 == 1.0.3.0 drop"},
	{"notrack", ""},
	{"tcp dport 1-65535 counter name c1", ""},
}

// ruleText is what nft reads: sets, the rules above, and chains of nat.
func ruleText() string {
	var b strings.Builder
	b.WriteString(`table inet filter {
	set allowed { type inet_service; elements = { 22, 80, 443 }; }
	set black { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1-192.0.2.9, 203.0.113.5 }; }
	set dyn { type ipv4_addr; flags dynamic,timeout; timeout 1h; elements = { 192.0.2.66 }; }
	map ports { type inet_service : ipv4_addr; elements = { 80 : 10.1.1.1, 443 : 10.1.1.2 }; }
	counter c1 { }
	chain other {
		return
	}
	chain end {
		iif "lo" accept
		drop
	}
	chain input {
		type filter hook input priority -5; policy accept;
`)
	for _, w := range written {
		b.WriteString("\t\t" + w.rule + "\n")
	}
	b.WriteString(`		udp dport 9 jump {
			ip saddr 192.0.2.1 accept
			drop
		}
		udp dport 10 goto {
			accept
		}
		jump other
		goto end
	}
	chain nat {
		type nat hook prerouting priority -100;
		tcp dport 8080 dnat ip to 10.0.0.1:80
		tcp dport 8081 redirect to :81
		ip daddr 192.0.2.1 tcp dport { 1000, 2000-2005 } dnat ip to 10.0.0.2
		dnat ip to tcp dport map @ports
		dnat ip addr . port to tcp dport map { 90 : 10.0.0.3 . 9090 }
		udp dport 53 dnat ip6 to [fd00::1]:5353
		iifname "lo" tcp dport 7 dnat ip to 10.0.0.9
		ip saddr 198.51.100.0/24 tcp dport 99 dnat ip to 10.0.0.4-10.0.0.9:1000-1010 random,persistent
		tcp dport vmap { 5 : jump five, 6 : accept }
		numgen random mod 2 0 tcp dport 66 dnat ip to 10.0.0.66
		tcp dport != 22 tcp dport < 20 dnat ip to 192.0.2.200
		accept
		tcp dport 1 dnat ip to 10.0.0.1
	}
	chain five {
		tcp dport 4 dnat ip to 10.0.0.4
		dnat ip to 10.0.0.5
	}
	chain post {
		type nat hook postrouting priority 100;
		oifname "eth0" masquerade random
		ip saddr 10.0.0.0/8 snat ip to 192.0.2.1
	}
}
table netdev x {
	chain i {
		type filter hook ingress device "lo" priority -500; policy accept;
	}
}
table arp a {
	chain i {
		type filter hook input priority 0;
		arp operation request drop
	}
}
table bridge b {
	chain f {
		type filter hook forward priority 0;
		ether type ip ip saddr 1.2.3.4 drop
	}
}
table ip d {
	flags dormant
	chain i {
		type filter hook input priority 0; policy drop;
	}
	chain p {
		type nat hook prerouting priority 0;
		tcp dport 1 dnat to 10.0.0.1
	}
}
`)
	return b.String()
}

func TestNFT(t *testing.T) {
	bothWays(t, "nft.netlink", []string{"nft"}, func() { run(t, ruleText(), "nft", "-f", "-") }, func(t *testing.T, r *ruleset) {
		w := newWalk(r, []string{"192.0.2.200"})
		rows := w.rows()
		var want []string
		for _, w := range written {
			if w.want == "" {
				w.want = w.rule
			}
			want = append(want, w.want)
		}
		input := chain(t, rows, "inet filter input")
		compareRules(t, input, append(want, "udp dport 9 jump input/1", "udp dport 10 goto input/2", "jump other", "goto end"))
		if !input.Base || input.Type != "filter" || input.Hook != "input" || input.Priority != -5 || input.Policy != "accept" || input.Rest != "drop" || input.Complex != 0 {
			t.Errorf("%+v", input)
		}
		if c := chain(t, rows, "ip d i"); c.Policy != "drop" || c.Rest != "accept" || !c.Dormant || !strings.Contains(c.Compared(), `dormant="true"`) {
			t.Errorf("%+v", c)
		}
		if c := chain(t, rows, "netdev x i"); !slices.Equal(c.Devices, []string{"lo"}) || c.Hook != "ingress" || !strings.Contains(c.Compared(), `hook="ingress lo"`) {
			t.Errorf("%+v", c)
		}
		if c := chain(t, rows, "inet filter end"); c.Base || c.Rest != "drop" || c.Policy != "" {
			t.Errorf("%+v", c)
		}
		if c := chain(t, rows, "inet filter nat"); c.Complex != 1 || c.Rest != "accept" || !strings.HasPrefix(c.Rules[9], "complex(numgen blake3:") {
			t.Errorf("%d %s %q", c.Complex, c.Rest, c.Rules)
		}
		compareRules(t, chain(t, rows, "inet filter input/1"), []string{"ip saddr 192.0.2.1 accept", "drop"})
		compareRules(t, chain(t, rows, "inet filter input/2"), []string{"accept"})
		compareRules(t, chain(t, rows, "arp a i"), []string{"@nh,48,16 0x0001 drop"})
		compareRules(t, chain(t, rows, "bridge b f"), []string{"ip saddr 1.2.3.4 drop"})
		compareRules(t, chain(t, rows, "inet filter post"), []string{`oifname "eth0" masquerade random`, "ip saddr 10.0.0.0/8 snat ip to 192.0.2.1"})
		facttest.Keys(t, rows)
		comparePublished(t, w.published(),
			"ip tcp/8080@* dnat 10.0.0.1 80",
			"inet tcp/8081@* redirect  81 host",
			"ip tcp/1000@192.0.2.1 dnat 10.0.0.2 ", "ip tcp/2000-2005@192.0.2.1 dnat 10.0.0.2 ",
			"ip tcp/80@* dnat 10.1.1.1 ", "ip tcp/443@* dnat 10.1.1.2 ", "ip tcp/90@* dnat 10.0.0.3 9090",
			"ip6 udp/53@* dnat fd00::1 5353",
			`ip tcp/7@*%"lo" dnat 10.0.0.9  loopback`,
			"ip tcp/99@* dnat 10.0.0.4-10.0.0.9 1000-1010 from 198.51.100.0/24",
			"ip tcp/5@* dnat 10.0.0.5 ",
			"ip tcp/66@* dnat 10.0.0.66 ",
			"ip tcp/0-19@* dnat 192.0.2.200  host",
		)
	})
}

func comparePublished(t *testing.T, rows []Published, want ...string) {
	t.Helper()
	var got []string
	for _, p := range rows {
		s := fmt.Sprintf("%s %s %s %s", p.Key(), p.Action, p.ToAddr, p.ToPort)
		if p.ToHost {
			s += " host"
		}
		if p.Loopback {
			s += " loopback"
		}
		if p.From != "" {
			s += " from " + p.From
		}
		if p.Container {
			s += " container"
		}
		if !p.Known {
			s += " ?"
		}
		got = append(got, s)
	}
	if !slices.Equal(got, want) {
		t.Errorf("published\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// commands are for iptables-nft or, with 6 before them, for ip6tables-nft.
const commands = `
-P INPUT DROP
-P FORWARD DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m state --state NEW --dport 22 -j ACCEPT
-A INPUT -m conntrack ! --ctstate INVALID,UNTRACKED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -i br+ -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443,8000:8010 -j ACCEPT
-A INPUT -p udp -m udp --sport 68 --dport 67 -m comment --comment dhcp -j ACCEPT
-A INPUT -s 10.0.0.0/8 -p tcp --dport 100:200 -j LOG --log-prefix UFW --log-level 3
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -p udp -j REJECT
-A INPUT -j REJECT --reject-with icmp-admin-prohibited
-A INPUT -m addrtype --dst-type MULTICAST,BROADCAST -j DROP
-A INPUT -m mark --mark 0x1/0xff -j ACCEPT
-A INPUT -m hashlimit --hashlimit-above 5/sec --hashlimit-name x --hashlimit-mode srcip -j DROP
-A INPUT -p tcp --syn -j ACCEPT
-A INPUT -p tcp ! --dport 22 -j DROP
-A INPUT -p icmp --icmp-type echo-request -j ACCEPT
-A INPUT ! -s 1.2.3.4/32 -j DROP
-N f2b-sshd
-A f2b-sshd -s 192.0.2.66/32 -j REJECT --reject-with icmp-port-unreachable
-A f2b-sshd -j RETURN
-I INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
-N DOCKER
-N DOCKER-USER
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -j DOCKER
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
-t nat -N DOCKER
-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-t nat -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-t nat -A DOCKER -i docker0 -j RETURN
-t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
-t nat -A DOCKER -d 127.0.0.1/32 ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:81
-t nat -A DOCKER -d 192.0.2.7/32 ! -i docker0 -p udp -m udp --dport 5000:5010 -j DNAT --to-destination 172.17.0.3:5000-5010
-t nat -N NETAVARK-HOSTPORT-DNAT
-t nat -N NETAVARK-DN-1D8721804F16F
-t nat -N NETAVARK-1D8721804F16F
-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j NETAVARK-HOSTPORT-DNAT
-t nat -A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 9000 -m comment --comment pod -j NETAVARK-DN-1D8721804F16F
-t nat -A NETAVARK-DN-1D8721804F16F -p tcp -m tcp --dport 9000 -j DNAT --to-destination 10.88.0.2:90
-t nat -A PREROUTING -p tcp --dport 3128 -j REDIRECT --to-ports 3129
-t nat -A PREROUTING -d 192.0.2.8 -j NETMAP --to 10.0.0.8
-t nat -A POSTROUTING -s 10.88.0.2/32 -j NETAVARK-1D8721804F16F
-t nat -A POSTROUTING -o eth0 -p udp -j SNAT --to-source 192.0.2.1-192.0.2.5:1000-2000
6 -P INPUT DROP
6 -A INPUT -p ipv6-icmp --icmpv6-type 128/0 -j ACCEPT
6 -A INPUT -s fe80::/10 -p tcp -j REJECT
6 -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination [fd00::2]:80
`

func TestIPTables(t *testing.T) {
	bothWays(t, "iptables.netlink", []string{"iptables-nft", "ip6tables-nft"}, func() {
		for line := range strings.Lines(commands) {
			f := strings.Fields(line)
			switch {
			case len(f) == 0:
			case f[0] == "6":
				run(t, "", "ip6tables-nft", f[1:]...)
			default:
				run(t, "", "iptables-nft", f...)
			}
		}
	}, func(t *testing.T, r *ruleset) {
		w := newWalk(r, nil)
		rows := w.rows()
		input := chain(t, rows, "ip filter INPUT")
		if i := 14; len(input.Rules) > i && strings.HasPrefix(input.Rules[i], "complex(match blake3:") && strings.HasSuffix(input.Rules[i], ") drop") {
			input.Rules[i] = "hashlimit"
		}
		compareRules(t, input, []string{
			"tcp dport 22 jump f2b-sshd",
			"ct state established,related accept",
			"ct state new tcp dport 22 accept",
			"ct state != invalid,untracked accept",
			`iifname "lo" accept`,
			`iifname "br*" accept`,
			"tcp dport { 80, 443, 8000-8010 } accept",
			"udp sport 68 udp dport 67 accept",
			`ip saddr 10.0.0.0/8 tcp dport 100-200 log prefix "UFW" level 3`,
			"meta l4proto tcp reject with tcp reset",
			"meta l4proto udp reject",
			"reject with icmp admin-prohibited",
			"fib daddr type { broadcast, multicast } drop",
			"meta mark & 0xff == 0x1 accept",
			"hashlimit",
			"tcp flags & 0x17 == 0x02 accept",
			"tcp dport != 22 drop",
			"icmp type 8 accept",
			"ip saddr != 1.2.3.4 drop",
		})
		if input.Policy != "drop" || input.Rest != "reject" || input.Complex != 1 {
			t.Errorf("%+v", input)
		}
		compareRules(t, chain(t, rows, "ip6 filter INPUT"), []string{"icmpv6 type 128 icmpv6 code 0 accept", "meta l4proto tcp ip6 saddr fe80::/10 reject"})
		if c := chain(t, rows, "ip filter f2b-sshd"); strings.Contains(c.Compared(), "192.0.2.66") || !strings.Contains(c.Compared(), `rule="return"`) || len(c.Rules) != 2 {
			t.Errorf("%+v\n%s", c, c.Compared())
		}
		if c := chain(t, rows, "ip nat POSTROUTING"); len(c.Rules) != 4 || c.Compared() != `type="nat" hook="postrouting" priority="100" policy="accept" rule="oifname != \"docker0\" ip saddr 172.17.0.0/16 masquerade" rule="oifname \"eth0\" meta l4proto udp snat to 192.0.2.1-192.0.2.5:1000-2000"` {
			t.Errorf("%+v\n%s", c, c.Compared())
		}
		for key, of := range map[string]bool{"ip nat DOCKER": true, "ip nat NETAVARK-DN-1D8721804F16F": true, "ip filter DOCKER-USER": false, "ip nat PREROUTING": false} {
			if chain(t, rows, key).Container != of {
				t.Errorf("%s: of containers is not %t", key, of)
			}
		}
		facttest.Keys(t, rows)
		comparePublished(t, w.published(),
			"ip tcp/8080@* dnat 172.17.0.2 80 container",
			"ip tcp/8081@127.0.0.1 dnat 172.17.0.2 81 loopback container",
			"ip udp/5000-5010@192.0.2.7 dnat 172.17.0.3 5000-5010 container",
			"ip tcp/9000@* dnat 10.88.0.2 90 container",
			"ip tcp/3128@* redirect  3129 host",
			"ip */*@192.0.2.8 by nat PREROUTING unknown   ?",
			"ip6 tcp/8080@* dnat fd00::2 80",
		)
	})
}

// A kernel that answers with errors, or with something else each time.
func TestRead(t *testing.T) {
	gen := func(n byte) []byte { return append(header(0), 8, 0, 1, 0, 0, 0, 0, n) }
	set := append(header(1), attribute(attribute(nil, 1, "t"), 2, "s")...)
	for name, c := range map[string]struct {
		say    map[uint16]error
		moves  int // times that the rules change
		status rules.Status
	}{
		"nothing there":       {nil, 0, rules.OK},
		"changes twice":       {nil, 2, rules.OK},
		"changes all along":   {nil, 100, rules.Failed},
		"not root":            {map[uint16]error{unix.NFT_MSG_GETGEN: unix.EPERM}, 0, rules.Denied},
		"no nf_tables":        {map[uint16]error{unix.NFT_MSG_GETGEN: unix.EINVAL}, 0, rules.Absent},
		"no netlink":          {map[uint16]error{unix.NFT_MSG_GETGEN: unix.EPROTONOSUPPORT}, 0, rules.Absent},
		"no such family":      {map[uint16]error{unix.NFT_MSG_GETGEN: unix.EAFNOSUPPORT}, 0, rules.Absent},
		"chains fail":         {map[uint16]error{unix.NFT_MSG_GETCHAIN: unix.EIO}, 0, rules.Failed},
		"interrupted for all": {map[uint16]error{unix.NFT_MSG_GETRULE: netlink.ErrInterrupted}, 0, rules.Failed},
		"a set goes":          {map[uint16]error{unix.NFT_MSG_GETSETELEM: unix.ENOENT}, 0, rules.Failed},
		"a set is too large":  {map[uint16]error{unix.NFT_MSG_GETSETELEM: errSetFull}, 0, rules.OK},
		"cancelled":           {map[uint16]error{unix.NFT_MSG_GETRULE: context.Canceled}, 0, rules.Timeout},
		"too much":            {map[uint16]error{unix.NFT_MSG_GETRULE: netlink.ErrTooMuch}, 0, rules.Failed},
	} {
		n := 0
		fake := func(_ context.Context, kind, _ uint16, _ []byte, _ int64, each func(uint16, []byte) error) error {
			if err := c.say[kind]; err != nil {
				return err
			}
			switch kind {
			case unix.NFT_MSG_GETGEN:
				n++
				return each(unix.NFT_MSG_NEWGEN, gen(byte(min(n, 2*c.moves))))
			case unix.NFT_MSG_GETSET:
				return each(unix.NFT_MSG_NEWSET, set)
			}
			return nil
		}
		a := collect(context.Background(), live(t, nil), fake, nil)
		if a.Chains.Status != c.status || a.Published.Status != c.status || c.status == rules.OK != (a.Chains.Reason == "") {
			t.Errorf("%s: %s %q, %s, not %s", name, a.Chains.Status, a.Chains.Reason, a.Published.Status, c.status)
		}
	}
}

func live(t testing.TB, files map[string]string) facts.Host {
	all := map[string]string{"proc/net/dev": ""}
	for k, v := range files {
		all[k] = v
	}
	h := facttest.Image(t, all)
	h.Live = true
	return h
}

func never(context.Context, uint16, uint16, []byte, int64, func(uint16, []byte) error) error {
	return errors.New("asked")
}

func TestLegacy(t *testing.T) {
	h := live(t, map[string]string{"proc/net/ip_tables_names": "nat\nfilter\nnat\n", "proc/net/ip6_tables_names": "raw\n"})
	a := collect(context.Background(), h, func(context.Context, uint16, uint16, []byte, int64, func(uint16, []byte) error) error {
		return unix.EOPNOTSUPP
	}, nil)
	if a.Legacy.Status != rules.OK || fmt.Sprint(a.Legacy.Rows) != "[{ip nat} {ip filter} {ip6 raw}]" {
		t.Errorf("%+v", a.Legacy)
	}
	if a.Chains.Status != rules.Absent || a.Published.Status != rules.OK || len(a.Published.Rows) != 1 || a.Published.Rows[0].Known || a.Published.Rows[0].Key() != "ip iptables-legacy nat" {
		t.Errorf("%+v %+v", a.Chains, a.Published)
	}
	facttest.Keys(t, a.Legacy.Rows)
	facttest.Tags(t, Chain{}, Legacy{}, Published{})
	if a := legacy(facttest.Image(t, nil)); a.Status != rules.Absent {
		t.Errorf("no proc: %+v", a)
	}
	if a := legacy(live(t, map[string]string{"proc/net/ip_tables_names": facttest.Fifo})); a.Status != rules.Failed {
		t.Errorf("a FIFO: %+v", a)
	}
}

// A kernel is not asked for a module that it has not loaded.
func TestLoaded(t *testing.T) {
	base := map[string]string{"proc/modules": "ext4 1 0 - Live 0x0\n", "proc/sys/kernel/osrelease": "6.1.0\n", "lib/modules/6.1.0/modules.builtin": "kernel/net/ipv4/x.ko\n"}
	a := collect(context.Background(), live(t, base), never, nil)
	if a.Chains.Status != rules.Absent || a.Published.Status != rules.Absent {
		t.Errorf("%+v", a.Chains)
	}
	for name, more := range map[string]string{
		"sys/module/nf_tables/refcnt": "1\n", "lib/modules/6.1.0/modules.builtin": "kernel/net/netfilter/nf_tables.ko\n",
		"proc/sys/kernel/osrelease": "6.2.0\n",
	} {
		files := map[string]string{name: more}
		for k, v := range base {
			if files[k] == "" {
				files[k] = v
			}
		}
		if a := collect(context.Background(), live(t, files), never, nil); !strings.HasSuffix(a.Chains.Reason, "asked") {
			t.Errorf("%s: %+v", name, a.Chains)
		}
	}
}

func TestImage(t *testing.T) {
	a := Collect(context.Background(), facttest.Image(t, map[string]string{"proc/net/ip_tables_names": "nat\n"}))
	if a.Chains.Status != rules.Offline || a.Legacy.Status != rules.Offline || a.Published.Status != rules.Offline || len(a.Legacy.Rows)+len(a.Published.Rows) > 0 {
		t.Errorf("%+v", a)
	}
}

// What comes and goes by itself is not compared; what hides behind it is.
func TestCompared(t *testing.T) {
	base := Chain{Family: "ip", Table: "filter", Name: "f2b-sshd", Rules: []string{"ip saddr 192.0.2.1 reject", "return"}}
	same := base
	same.Rules = []string{"ip saddr 192.0.2.9 drop", "ip saddr 192.0.2.1 reject", "return"}
	if base.Compared() != same.Compared() {
		t.Error("a ban is compared")
	}
	for _, r := range []string{"ip saddr 192.0.2.1 accept", "ip saddr 192.0.2.1 tcp dport 22 accept", "jump DOCKER", "return"} {
		other := base
		other.Rules = append([]string{r}, base.Rules...)
		if base.Compared() == other.Compared() {
			t.Errorf("%s is not compared", r)
		}
	}
	plain := Chain{Family: "ip", Table: "filter", Name: "INPUT", Base: true, Type: "filter", Hook: "input", Policy: "drop", Rules: []string{"ip saddr 192.0.2.1 drop"}}
	for _, change := range []func(c *Chain){
		func(c *Chain) { c.Rules = nil }, func(c *Chain) { c.Rules = []string{"jump CNI-x", c.Rules[0]} }, func(c *Chain) { c.Policy = "accept" },
		func(c *Chain) { c.Priority = 1 }, func(c *Chain) { c.Hook = "forward" }, func(c *Chain) { c.Dormant = true }, func(c *Chain) { c.Type = "route" },
	} {
		other := plain
		if change(&other); other.Compared() == plain.Compared() || other.Key() != plain.Key() {
			t.Errorf("%s %s", other.Key(), other.Compared())
		}
	}
	for _, c := range []struct {
		table, chain string
		hooked, of   bool
	}{{"filter", "DOCKER", false, true}, {"filter", "DOCKER", true, false}, {"x", "NETAVARK-EVIL", true, false}, {"netavark", "INPUT", true, true}} {
		if got := isContainer(c.table, c.chain, c.hooked); got != c.of {
			t.Errorf("%+v: %t", c, got)
		}
	}
	evil := Chain{Family: "ip", Table: "a b", Name: "x\" hook=\"\n\x1b"}
	if k := evil.Key(); k != `ip "a b" "x\" hook=\"\n\x1b"` {
		t.Error(k)
	}
}

func FuzzTake(f *testing.F) {
	for _, name := range []string{"nft.netlink", "iptables.netlink"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRuleset()
		r.ifname = func(i uint32) string { return fmt.Sprint("#", i) }
		netlink.Split(b, 1, r.take)
		w := newWalk(r, nil)
		rows := w.rows()
		for _, c := range rows {
			c.Compared()
			for _, rule := range c.Rules {
				if strings.ContainsAny(rule, "\n\x1b\x00") {
					t.Errorf("%q", rule)
				}
			}
		}
		for _, p := range w.published() {
			if p.FirstPort > p.LastPort || p.FirstPort < 0 || p.LastPort > maxPort || p.Key() == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}

// numbered is an attribute of a number, nested one of others.
func numbered(kind uint16, n uint32) []byte {
	b := binary.NativeEndian.AppendUint16(nil, 8)
	return binary.BigEndian.AppendUint32(binary.NativeEndian.AppendUint16(b, kind), n)
}

func nested(kind uint16, v ...[]byte) []byte {
	all := slices.Concat(v...)
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(all)))
	b = append(binary.NativeEndian.AppendUint16(b, kind|unix.NLA_F_NESTED), all...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// expression is one as the kernel lists it.
func expression(name string, data ...[]byte) []byte {
	return nested(unix.NFTA_LIST_ELEM, attribute(nil, unix.NFTA_EXPR_NAME, name), nested(unix.NFTA_EXPR_DATA, data...))
}

// Chains that lead to each other many times over are not followed for ever.
func TestCircle(t *testing.T) {
	r := newRuleset()
	for i := range 8 {
		at := place{family: unix.NFPROTO_IPV4, table: "nat", name: fmt.Sprint("c", i)}
		r.chains = append(r.chains, rawChain{place: at, base: i == 0, kind: "nat", policy: -1})
		to := nested(unix.NFTA_DATA_VERDICT, numbered(unix.NFTA_VERDICT_CODE, 1<<32+verdictJump), attribute(nil, unix.NFTA_VERDICT_CHAIN, fmt.Sprint("c", (i+1)%8)))
		for range 50 {
			r.rules[at] = append(r.rules[at], expression("immediate", numbered(unix.NFTA_IMMEDIATE_DREG, 0), nested(unix.NFTA_IMMEDIATE_DATA, to)))
		}
	}
	w := newWalk(r, nil)
	if rows := w.rows(); len(rows) != 8 || rows[0].Rules[0] != "jump c1" || rows[0].Rest != "accept" {
		t.Errorf("%+v", rows[0])
	}
	if rows := w.published(); len(rows) > 0 || !errors.Is(w.err, errMany) {
		t.Errorf("%d rows: %v", len(rows), w.err)
	}
}

// A chain written inside of a rule gets a name that lasts, but never that of
// another chain.
func TestAnonymous(t *testing.T) {
	lead := func(to string) []byte {
		v := nested(unix.NFTA_DATA_VERDICT, numbered(unix.NFTA_VERDICT_CODE, 1<<32+verdictJump), attribute(nil, unix.NFTA_VERDICT_CHAIN, to))
		return expression("immediate", numbered(unix.NFTA_IMMEDIATE_DREG, 0), nested(unix.NFTA_IMMEDIATE_DATA, v))
	}
	r := newRuleset()
	add := func(name string, anonymous bool, rules ...[]byte) {
		at := place{unix.NFPROTO_INET, "t", name}
		r.chains = append(r.chains, rawChain{place: at, anonymous: anonymous})
		r.rules[at] = rules
	}
	add("__chain7", true, lead("__chain8"))
	add("__chain8", true)
	add("__chain9", true)
	add("a", false, lead("__chain7"), lead("__chain9"))
	add("a/2", false, lead("a"))
	add("__chain10", true)
	var got []string
	for _, c := range newWalk(r, nil).rows() {
		got = append(got, c.Name+": "+strings.Join(c.Rules, ", "))
	}
	want := []string{"__chain10: ", "__chain9: ", "a: jump a/1, jump __chain9", "a/1: jump a/1/1", "a/1/1: ", "a/2: jump a"}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// What is not understood is told by its name and its bytes.
func TestComplex(t *testing.T) {
	r := newRuleset()
	at := place{family: unix.NFPROTO_INET, table: "t", name: "c"}
	spelled := func(list ...[]byte) string { return spellRule(r.decode(at, slices.Concat(list...))) }
	one, other := spelled(expression("tproxy", numbered(1, 1))), spelled(expression("tproxy", numbered(1, 2)))
	if !strings.HasPrefix(one, "complex(tproxy blake3:") || one == other {
		t.Errorf("%s, %s", one, other)
	}
	if s := spelled(expression("x\x1b\"\n")); !strings.HasPrefix(s, `complex("x\x1b\"\n" blake3:`) {
		t.Error(s)
	}
	// What it does to the registers is not known: the field is not that of before.
	meta := expression("meta", numbered(unix.NFTA_META_DREG, unix.NFT_REG_1), numbered(unix.NFTA_META_KEY, unix.NFT_META_L4PROTO))
	cmp := expression("cmp", numbered(unix.NFTA_CMP_SREG, unix.NFT_REG_1), numbered(unix.NFTA_CMP_OP, 0), nested(unix.NFTA_CMP_DATA, numbered(unix.NFTA_DATA_VALUE, 6)))
	if s := spelled(meta, expression("new"), cmp); strings.Count(s, "complex(") != 2 || strings.Contains(s, "l4proto") {
		t.Error(s)
	}
	if s := spelled(meta, cmp[:len(cmp)-4]); !strings.Contains(s, "complex(rule ") {
		t.Errorf("a list that ends early: %s", s)
	}
	if s := spelled(slices.Repeat([][]byte{meta}, maxNested+1)...); !strings.Contains(s, "complex(rule ") {
		t.Errorf("too many expressions: %s", s)
	}
}

// Of a large set a change is seen too; of one that is too large to read, that it is.
func TestLargeSets(t *testing.T) {
	at := place{family: unix.NFPROTO_INET, table: "t", name: "s"}
	spelled := func(n int, last uint32) string {
		r := newRuleset()
		if err := r.takeSet(at.family, slices.Concat(attribute(attribute(nil, unix.NFTA_SET_TABLE, "t"), unix.NFTA_SET_NAME, "s"), numbered(unix.NFTA_SET_KEY_LEN, 4))); err != nil {
			t.Fatal(err)
		}
		s := r.sets[at]
		for i := range n {
			e := nested(unix.NFTA_LIST_ELEM, nested(unix.NFTA_SET_ELEM_KEY, numbered(unix.NFTA_DATA_VALUE, uint32(i))))
			if i == n-1 {
				e = nested(unix.NFTA_LIST_ELEM, nested(unix.NFTA_SET_ELEM_KEY, numbered(unix.NFTA_DATA_VALUE, last)))
			}
			err := r.takeElements(at.family, slices.Concat(attribute(attribute(nil, unix.NFTA_SET_ELEM_LIST_TABLE, "t"), unix.NFTA_SET_ELEM_LIST_SET, "s"), nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, e)))
			if errors.Is(err, errSetFull) {
				s.many, s.elements = true, nil
				break
			}
		}
		r.sets[at] = s
		return spellRule(r.decode(place{at.family, "t", "c"}, slices.Concat(
			expression("meta", numbered(unix.NFTA_META_DREG, unix.NFT_REG_1), numbered(unix.NFTA_META_KEY, unix.NFT_META_SKUID)),
			expression("lookup", attribute(nil, unix.NFTA_LOOKUP_SET, "s"), numbered(unix.NFTA_LOOKUP_SREG, unix.NFT_REG_1)))))
	}
	if s := spelled(0, 0); s != "meta skuid @s { }" {
		t.Error(s)
	}
	if a, b := spelled(100, 1000), spelled(100, 1001); !strings.HasPrefix(a, "meta skuid @s { 100 elements blake3:") || a == b {
		t.Errorf("%s, %s", a, b)
	}
	if s := spelled(maxElements+1, 1<<30); s != "meta skuid @s { over 65536 elements }" {
		t.Error(s)
	}
}

func BenchmarkDecode(b *testing.B) {
	r := replay(b, "nft.netlink")
	for b.Loop() {
		w := newWalk(r, nil)
		w.rows()
		w.published()
	}
}
