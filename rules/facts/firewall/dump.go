package firewall

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"intact/rules/facts/netlink"
)

// Bounds of what is read.
const (
	maxBytes    = 64 << 20 // of one list of the kernel
	maxRules    = 100_000
	maxChains   = 20_000
	maxSets     = 20_000
	maxElements = 1 << 16 // of one set; what has more is not spelled
	maxAll      = 1 << 18 // elements of all sets
	maxNested   = 128     // expressions of a rule
	maxTries    = 5       // while somebody changes the rules
)

var errMany = errors.New("the packet filter has more than is read")

// asker puts one question to nf_tables: netlink.Ask, or a record of it.
type asker func(ctx context.Context, kind, flags uint16, request []byte, limit int64, each func(kind uint16, body []byte) error) error

// ask is the asker of the running kernel.
func ask(ctx context.Context, kind, flags uint16, request []byte, limit int64, each func(kind uint16, body []byte) error) error {
	return netlink.Ask(ctx, unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags, request, limit, each)
}

// place names a table, or something in one.
type place struct {
	family      byte // NFPROTO_…
	table, name string
}

// rawChain is a chain as the kernel lists it.
type rawChain struct {
	place
	base             bool
	anonymous        bool // written inside of a rule; the kernel numbers it
	kind             string
	hook             uint32
	priority, policy int32
	devices          []string
}

// ruleset is all that the kernel has of nf_tables in one network namespace.
type ruleset struct {
	generation uint32
	dormant    map[place]bool // tables, without a name, that are switched off
	chains     []rawChain
	rules      map[place][][]byte // lists of expressions by chain, in order
	sets       map[place]*set
	count      int              // of rules
	elements   int              // of all sets
	aliases    map[place]string // of anonymous chains
	ifname     func(index uint32) string
}

func newRuleset() *ruleset {
	return &ruleset{dormant: map[place]bool{}, rules: map[place][][]byte{}, sets: map[place]*set{}, ifname: interfaceName}
}

// read gives the rules of one moment: it begins again where they change
// meanwhile.
func read(ctx context.Context, ask asker) (*ruleset, error) {
	var err error
	for range maxTries {
		var r *ruleset
		if r, err = readOnce(ctx, ask); err == nil {
			return r, nil
		}
		if !errors.Is(err, netlink.ErrInterrupted) {
			return r, err
		}
	}
	return nil, fmt.Errorf("the rules of the packet filter change all the time: %w", err)
}

// readOnce returns what was read before an error.
func readOnce(ctx context.Context, ask asker) (*ruleset, error) {
	r := newRuleset()
	if err := ask(ctx, unix.NFT_MSG_GETGEN, 0, header(0), maxBytes, r.take); err != nil {
		if errors.Is(err, unix.EINVAL) { // nfnetlink without nf_tables behind it
			err = unix.EOPNOTSUPP
		}
		return r, fmt.Errorf("nf_tables: %w", err)
	}
	for _, list := range [...]uint16{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE, unix.NFT_MSG_GETSET} {
		if err := ask(ctx, list, unix.NLM_F_DUMP, header(0), maxBytes, r.take); err != nil {
			return r, fmt.Errorf("nf_tables: %w", err)
		}
	}
	for _, s := range r.sorted() {
		if s.dynamic() {
			continue // who is in it today is not what the rules say
		}
		request := attribute(attribute(header(s.family), unix.NFTA_SET_ELEM_LIST_TABLE, s.table), unix.NFTA_SET_ELEM_LIST_SET, s.name)
		err := ask(ctx, unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, request, maxBytes, r.take)
		switch {
		case errors.Is(err, errSetFull):
			s.many, s.elements = true, nil
		case errors.Is(err, unix.ENOENT):
			return r, netlink.ErrInterrupted
		case err != nil:
			return r, fmt.Errorf("nf_tables: set %q: %w", s.name, err)
		}
	}
	before := r.generation
	if err := ask(ctx, unix.NFT_MSG_GETGEN, 0, header(0), maxBytes, r.take); err != nil {
		return r, fmt.Errorf("nf_tables: %w", err)
	}
	if r.generation != before {
		return r, netlink.ErrInterrupted
	}
	return r, nil
}

// header is struct nfgenmsg.
func header(family byte) []byte { return []byte{family, unix.NFNETLINK_V0, 0, 0} }

// attribute appends a text.
func attribute(b []byte, kind uint16, s string) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(s)+1))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(append(b, s...), 0)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func (r *ruleset) sorted() []*set {
	var out []*set
	for _, s := range r.sets {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *set) int { return a.compare(b.place) })
	return out
}

func (p place) compare(o place) int {
	if p.family != o.family {
		return int(p.family) - int(o.family)
	}
	if c := strings.Compare(p.table, o.table); c != 0 {
		return c
	}
	return strings.Compare(p.name, o.name)
}

// take adds one message of the kernel.
func (r *ruleset) take(kind uint16, body []byte) error {
	if len(body) < 4 {
		return netlink.ErrMalformed
	}
	family, body := body[0], body[4:]
	switch kind &^ (unix.NFNL_SUBSYS_NFTABLES << 8) {
	case unix.NFT_MSG_NEWGEN:
		return netlink.Attributes(body, func(k uint16, v []byte) error {
			if k == unix.NFTA_GEN_ID {
				r.generation = number(v)
			}
			return nil
		})
	case unix.NFT_MSG_NEWTABLE:
		return r.takeTable(family, body)
	case unix.NFT_MSG_NEWCHAIN:
		return r.takeChain(family, body)
	case unix.NFT_MSG_NEWRULE:
		return r.takeRule(family, body)
	case unix.NFT_MSG_NEWSET:
		return r.takeSet(family, body)
	case unix.NFT_MSG_NEWSETELEM:
		return r.takeElements(family, body)
	}
	return nil
}

func (r *ruleset) takeTable(family byte, body []byte) error {
	t := place{family: family}
	var flags uint32
	err := netlink.Attributes(body, func(k uint16, v []byte) error {
		switch k {
		case unix.NFTA_TABLE_NAME:
			t.table = text(v)
		case unix.NFTA_TABLE_FLAGS:
			flags = number(v)
		}
		return nil
	})
	if len(r.dormant) < maxChains && flags&1 != 0 { // NFT_TABLE_F_DORMANT
		r.dormant[t] = true
	}
	return err
}

func (r *ruleset) takeChain(family byte, body []byte) error {
	if len(r.chains) >= maxChains {
		return fmt.Errorf("%w: over %d chains", errMany, maxChains)
	}
	c := rawChain{place: place{family: family}, policy: -1}
	err := netlink.Attributes(body, func(k uint16, v []byte) error {
		switch k {
		case unix.NFTA_CHAIN_TABLE:
			c.table = text(v)
		case unix.NFTA_CHAIN_NAME:
			c.name = text(v)
		case unix.NFTA_CHAIN_TYPE:
			c.kind = text(v)
		case chainFlags:
			c.anonymous = number(v)&4 != 0 // NFT_CHAIN_BINDING
		case unix.NFTA_CHAIN_POLICY:
			c.policy = int32(number(v))
		case unix.NFTA_CHAIN_HOOK:
			c.base = true
			return c.takeHook(v)
		}
		return nil
	})
	r.chains = append(r.chains, c)
	return err
}

func (c *rawChain) takeHook(v []byte) error {
	return netlink.Attributes(v, func(k uint16, v []byte) error {
		switch k {
		case unix.NFTA_HOOK_HOOKNUM:
			c.hook = number(v)
		case unix.NFTA_HOOK_PRIORITY:
			c.priority = int32(number(v))
		case unix.NFTA_HOOK_DEV:
			c.devices = append(c.devices, text(v))
		case hookDevices:
			return netlink.Attributes(v, func(_ uint16, v []byte) error {
				c.devices = append(c.devices, text(v))
				return nil
			})
		}
		return nil
	})
}

// chainFlags is NFTA_CHAIN_FLAGS of nf_tables.h.
const chainFlags = 10

// hookDevices is NFTA_HOOK_DEVS of nf_tables.h.
const hookDevices = 4

func (r *ruleset) takeRule(family byte, body []byte) error {
	if r.count++; r.count > maxRules {
		return fmt.Errorf("%w: over %d rules", errMany, maxRules)
	}
	at := place{family: family}
	var expressions []byte
	err := netlink.Attributes(body, func(k uint16, v []byte) error {
		switch k {
		case unix.NFTA_RULE_TABLE:
			at.table = text(v)
		case unix.NFTA_RULE_CHAIN:
			at.name = text(v)
		case unix.NFTA_RULE_EXPRESSIONS:
			expressions = slices.Clone(v)
		}
		return nil
	})
	r.rules[at] = append(r.rules[at], expressions)
	return err
}

// number reads an attribute of at most 4 bytes, in the order of the network as
// all numbers of nf_tables are.
func number(v []byte) (n uint32) {
	for _, b := range v[:min(len(v), 4)] {
		n = n<<8 | uint32(b)
	}
	return n
}

func number64(v []byte) (n uint64) {
	for _, b := range v[:min(len(v), 8)] {
		n = n<<8 | uint64(b)
	}
	return n
}

// text reads an attribute that ends at its first NUL.
func text(v []byte) string {
	s, _, _ := strings.Cut(string(v), "\x00")
	return s
}
