package firewall

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// walk turns the rules of the kernel into rows.
type walk struct {
	*ruleset
	own     []string       // addresses of the host
	hooked  map[place]bool // chains that packets enter by a hook
	endings map[place][]ending
	rests   map[place]string
	budget  int // rules that may still be followed
	found   []Published
	err     error
}

// ending is a rule without a condition that ends the way of a packet, or leads it
// elsewhere.
type ending struct {
	word    string // accept, drop, reject, queue; return
	verdict *verdict
}

func newWalk(r *ruleset, own []string) *walk {
	r.nameAnonymous()
	hooked := map[place]bool{}
	for _, c := range r.chains {
		if c.base {
			hooked[c.place] = true
		}
	}
	return &walk{ruleset: r, own: own, hooked: hooked, endings: map[place][]ending{}, rests: map[place]string{}, budget: 2 * maxRules}
}

var families = map[byte]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_ARP: "arp", unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_IPV6: "ip6"}

var hooks = map[byte][]string{
	unix.NFPROTO_ARP:    {"input", "output", "forward"},
	unix.NFPROTO_NETDEV: {"ingress", "egress"},
}

// inetHooks are those of all other families.
var inetHooks = []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}

func hookName(family byte, n uint32) string {
	list := hooks[family]
	if list == nil {
		list = inetHooks
	}
	if int64(n) < int64(len(list)) {
		return list[n]
	}
	return "unknown"
}

// rows gives all chains with their rules.
func (w *walk) rows() []Chain {
	var out []Chain
	for _, c := range w.chains {
		row := Chain{Family: families[c.family], Table: c.table, Name: c.name, Base: c.base, Dormant: w.dormant[place{family: c.family, table: c.table}], Container: isContainer(c.table, c.name, c.base), Rules: []string{}, Devices: []string{}}
		if c.base {
			row.Type, row.Hook, row.Priority = c.kind, hookName(c.family, c.hook), int64(c.priority)
			row.Devices = append(row.Devices, c.devices...)
			slices.Sort(row.Devices)
			row.Devices = slices.Compact(row.Devices) // a single one is listed twice
			row.Policy = map[bool]string{true: "drop", false: "accept"}[c.policy == verdictDrop]
		}
		for _, b := range w.rules[c.place] {
			terms := w.decode(c.place, b)
			row.Rules = append(row.Rules, spellRule(terms))
			if slices.ContainsFunc(terms, func(t term) bool { return t.complex }) {
				row.Complex++
			}
			if e, ok := endingOf(terms); ok {
				w.endings[c.place] = append(w.endings[c.place], e)
			}
		}
		out = append(out, row)
	}
	for i, c := range w.chains {
		out[i].Rest = w.rest(c.place, 0)
		if !c.base {
			continue
		}
		if out[i].Rest == "" || out[i].Rest == "return" {
			out[i].Rest = out[i].Policy
		}
		if out[i].Dormant {
			out[i].Rest = "accept"
		}
	}
	slices.SortStableFunc(out, order)
	return out
}

// spellRule writes a rule. What is in a named set is written but where the rule
// turns packets away: lists of whom to block change every day.
func spellRule(terms []term) string {
	away := slices.ContainsFunc(terms, func(t term) bool {
		return t.reject || t.verdict != nil && t.verdict.code == verdictDrop
	})
	var words []string
	for _, t := range terms {
		switch {
		case t.long != "" && !away:
			words = append(words, t.long)
		case t.text != "":
			words = append(words, t.text)
		}
	}
	return strings.Join(words, " ")
}

// endingOf says how a rule without conditions ends.
func endingOf(terms []term) (e ending, ok bool) {
	for _, t := range terms {
		switch {
		case t.conditional:
			return e, false
		case t.reject:
			return ending{word: "reject"}, true
		case t.nat != nil:
			return ending{word: "accept"}, true
		case t.verdict != nil && t.verdict.code != verdictContinue && t.verdict.code != verdictBreak:
			return ending{word: t.verdict.String(), verdict: t.verdict}, true
		}
	}
	return e, false
}

// maxDepth is that of jumps; the kernel allows 16.
const maxDepth = 16

// rest follows a packet that no condition takes.
func (w *walk) rest(chain place, depth int) string {
	if r, ok := w.rests[chain]; ok || depth > maxDepth {
		return r
	}
	w.rests[chain] = "" // if it comes back
	for _, e := range w.endings[chain] {
		if e.verdict == nil || e.verdict.chain == "" {
			w.rests[chain] = e.word
			return e.word
		}
		to := w.rest(place{chain.family, chain.table, e.verdict.chain}, depth+1)
		if to != "" && to != "return" || e.verdict.code == verdictGoto {
			w.rests[chain] = to
			return to
		}
	}
	return ""
}
