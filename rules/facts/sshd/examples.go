package sshd

import (
	"net/netip"
	"strings"
)

// maxTexts is how many examples are made of one test: for its own sake one would
// do.
const maxTexts = 64

// wildcards fills patterns of names.
var wildcards = strings.NewReplacer("*", "x", "?", "x")

// texts returns words that the patterns of such tests match, one for each that
// is not negated.
func texts(tests criteria, kind string) []string {
	var out []string
	for _, t := range tests {
		if t.kind != kind {
			continue
		}
		for part := range strings.SplitSeq(t.arg, ",") {
			if part == "" || part[0] == '!' || len(part) > 255 {
				continue
			}
			if out = append(out, wildcards.Replace(part)); len(out) >= maxTexts {
				break
			}
		}
	}
	return out
}

// addresses returns addresses that such tests match.
func addresses(tests criteria, kind string) []string {
	var out []string
	for _, t := range tests {
		if t.kind != kind {
			continue
		}
		for part := range strings.SplitSeq(t.arg, ",") {
			if len(out) >= maxTexts {
				break
			}
			if a, ok := addressLike(strings.TrimPrefix(part, "!")); ok {
				out = append(out, a)
			}
		}
	}
	return out
}

// addressLike returns an address in a network, or one that a pattern matches.
func addressLike(part string) (string, bool) {
	if len(part) > 64 {
		return "", false
	}
	if p, isNet, good := network(part); isNet && good {
		if a, ok := neighbour(p); ok && !p.IsSingleIP() {
			return a.String(), true
		}
		return p.Addr().String(), true
	}
	for _, fill := range []string{"1", "1.1", "1.1.1", "1:1", "1.1.1.1"} {
		s := strings.ReplaceAll(strings.ReplaceAll(part, "*", fill), "?", "1")
		if a, err := netip.ParseAddr(s); err == nil && like(a.String(), part) {
			return a.String(), true
		}
	}
	return "", false
}
