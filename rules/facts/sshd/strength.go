package sshd

import (
	"slices"
	"strconv"
	"strings"
)

// ranks order the values of options, the strongest first.
var ranks = map[string][]string{
	"permitrootlogin":                 {"no", "forced-commands-only", "prohibit-password", "yes"},
	"passwordauthentication":          {"no", "yes"},
	"kbdinteractiveauthentication":    {"no", "yes"},
	"permitemptypasswords":            {"no", "yes"},
	"hostbasedauthentication":         {"no", "yes"},
	"hostbasedusesnamefrompacketonly": {"no", "yes"},
	"gssapiauthentication":            {"no", "yes"},
	"kerberosauthentication":          {"no", "yes"},
	"ignorerhosts":                    {"yes", "shosts-only", "no"},
	"x11forwarding":                   {"no", "yes"},
	"x11uselocalhost":                 {"yes", "no"},
	"allowagentforwarding":            {"no", "yes"},
	"disableforwarding":               {"yes", "no"},
	"permittty":                       {"no", "yes"},
	"permituserrc":                    {"no", "yes"},
	"gatewayports":                    {"no", "clientspecified", "yes"},
	"refuseconnection":                {"yes", "no"},
}

// forwards says which ways a value of AllowTcpForwarding and its like opens.
var forwards = map[string]int{"no": 0, "local": 1, "remote": 2, "yes": 3, "point-to-point": 1, "ethernet": 2}

// weaker reports that b guards less than a. What cannot be compared is not
// weaker.
func weaker(name string, a, b []string) bool {
	if slices.Equal(a, b) {
		return false
	}
	if order, ok := ranks[name]; ok && len(a) == 1 && len(b) == 1 {
		return slices.Index(order, b[0]) > slices.Index(order, a[0])
	}
	switch name {
	case "allowtcpforwarding", "allowstreamlocalforwarding", "permittunnel":
		return len(a) == 1 && len(b) == 1 && forwards[b[0]]&^forwards[a[0]] != 0
	case "allowusers", "allowgroups":
		return len(a) > 0 && !within(b, a)
	case "denyusers", "denygroups":
		return !within(a, b)
	case "permitopen", "permitlisten":
		return len(a) == 1 && len(b) == 1 && a[0] != "any" && (b[0] == "any" || b[0] != "none" && !within(strings.Fields(b[0]), strings.Fields(a[0])))
	case "maxauthtries", "maxsessions":
		return number64(b) > number64(a)
	case "requiredrsasize":
		return number64(b) < number64(a)
	case "clientaliveinterval", "clientalivecountmax":
		return number64(a) > 0 && (number64(b) == 0 || number64(b) > number64(a))
	case "authenticationmethods":
		return len(a) == 1 && len(b) == 1 && factors(b[0]) < factors(a[0])
	case "forcecommand", "chrootdirectory":
		return len(a) == 1 && a[0] != "none" && len(b) == 1 && b[0] == "none"
	case "pubkeyacceptedalgorithms", "hostbasedacceptedalgorithms", "casignaturealgorithms":
		return !within(commas(b), commas(a))
	}
	return false
}

// within reports that many holds all of few.
func within(few, many []string) bool {
	set := make(map[string]bool, len(many))
	for _, m := range many {
		set[m] = true
	}
	return !slices.ContainsFunc(few, func(s string) bool { return !set[s] })
}

func number64(lines []string) int64 {
	if len(lines) != 1 {
		return 0
	}
	n, err := strconv.ParseInt(lines[0], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// factors is the number of methods that the easiest of the lists asks for.
func factors(lists string) int {
	least := 0
	for l := range strings.FieldsSeq(lists) {
		n := strings.Count(l, ",") + 1
		if l == "any" {
			n = 0
		}
		if least == 0 || n < least {
			least = n
		}
		if l == "any" {
			return 0
		}
	}
	return least
}
