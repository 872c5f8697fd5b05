package firewall

import (
	"slices"
	"strings"
)

// The chains and tables of container engines, by their names; a name that ends in
// * stands for what begins so. Chain.Container says which they are.
var (
	containerChains = []string{
		"DOCKER", "DOCKER-BRIDGE", "DOCKER-CT", "DOCKER-FORWARD", "DOCKER-INGRESS", "DOCKER-INTERNAL", "DOCKER-ISOLATION-STAGE-*",
		"NETAVARK-*", "NETAVARK_*", "CNI-*",
	}
	containerTables = []string{"docker-bridges", "netavark"}
	adminChains     = []string{"DOCKER-USER", "CNI-ADMIN"}
)

// isContainer goes by names. None of the engines hooks a chain of containerChains
// into the path of packets itself: one with a hook is called so to be overlooked.
func isContainer(table, chain string, hooked bool) bool {
	if slices.Contains(adminChains, chain) {
		return false
	}
	return slices.Contains(containerTables, table) || !hooked && slices.ContainsFunc(containerChains, func(p string) bool {
		begin, open := strings.CutSuffix(p, "*")
		return chain == p || open && strings.HasPrefix(chain, begin)
	})
}

// banned reports whether a chain or set is one that fail2ban fills.
func banned(table, name string) bool {
	return strings.HasPrefix(name, "f2b-") || strings.HasPrefix(table, "f2b-")
}

// lasting are the rules that do not come and go by themselves.
func (c Chain) lasting() (out []string) {
	for _, r := range c.Rules {
		switch {
		case banned(c.Table, c.Name) && isBan(r):
		case c.Type == "nat" && c.Hook == "postrouting" && ofContainer(r):
		default:
			out = append(out, r)
		}
	}
	return out
}

// isBan reports whether a rule does no more than turn one address away.
func isBan(rule string) bool {
	f := strings.Fields(rule)
	return len(f) >= 4 && (f[0] == "ip" || f[0] == "ip6") && f[1] == "saddr" && (f[3] == "drop" || f[3] == "reject")
}

// ofContainer reports whether a rule behind the routing is one that comes with a
// container: it leads to a chain of its network, or lets it reach itself by its
// published address.
func ofContainer(rule string) bool {
	f := strings.Fields(rule)
	n := len(f)
	if n >= 2 && f[n-2] == "jump" && isContainer("", f[n-1], false) {
		return true
	}
	return n >= 7 && f[n-1] == "masquerade" && f[0] == f[3] && f[1] == "saddr" && f[4] == "daddr" && f[2] == f[5]
}
