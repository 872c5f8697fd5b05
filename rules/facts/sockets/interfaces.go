package sockets

import (
	"bytes"
	"net"
	"os"

	"intact/rules"
	"intact/rules/facts"
)

// interfaces reads the interfaces of our network namespace.
func interfaces() facts.Answer[Interface] {
	a := facts.Answer[Interface]{Status: rules.OK, Via: "netlink rtnetlink"}
	list, err := net.Interfaces()
	if err != nil {
		a.Status, a.Reason = statusOf(err), err.Error()
		return a
	}
	for _, i := range list {
		row := Interface{Name: i.Name, Up: i.Flags&net.FlagUp != 0, Loopback: i.Flags&net.FlagLoopback != 0}
		addrs, err := i.Addrs()
		if err != nil {
			a.Status, a.Reason = statusOf(err), err.Error()
		}
		for _, x := range addrs {
			row.Addresses = append(row.Addresses, x.String())
		}
		row.Kind = kindOf(i.Name)
		switch row.Kind {
		case "wireguard", "tun", "tap", "xfrm", "ipip", "sit", "gre", "vti", "ppp":
			row.Tunnel = true
		}
		a.Rows = append(a.Rows, row)
	}
	return a
}

// kindOf asks sysfs what an interface is. Only the kernel writes there.
func kindOf(name string) string {
	dir := "/sys/class/net/" + name
	if b, err := os.ReadFile(dir + "/uevent"); err == nil {
		for line := range bytes.Lines(b) {
			if k, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("DEVTYPE=")); ok {
				return string(k)
			}
		}
	}
	if b, err := os.ReadFile(dir + "/tun_flags"); err == nil {
		if bytes.Contains(b, []byte("0x")) && len(b) >= 4 && b[len(bytes.TrimSpace(b))-1]&2 != 0 {
			return "tap"
		}
		return "tun"
	}
	b, err := os.ReadFile(dir + "/type") // ARPHRD_… of if_arp.h
	if err != nil {
		return ""
	}
	return map[string]string{"512": "ppp", "768": "ipip", "776": "sit", "778": "gre", "65534": "tun"}[string(bytes.TrimSpace(b))]
}

// nameOf is the name of an interface by its number, "" if there is none.
func nameOf(i int) string {
	n, err := net.InterfaceByIndex(i)
	if err != nil {
		return ""
	}
	return n.Name
}
