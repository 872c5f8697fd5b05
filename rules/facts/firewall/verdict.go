package firewall

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"intact/rules/facts/netlink"
)

// verdict is how a rule ends.
type verdict struct {
	code  int32
	chain string // of a jump or goto
}

// Verdicts beside NF_DROP, NF_ACCEPT and NF_QUEUE.
const (
	verdictDrop     = 0
	verdictAccept   = 1
	verdictQueue    = 3
	verdictContinue = -1
	verdictBreak    = -2
	verdictJump     = -3
	verdictGoto     = -4
	verdictReturn   = -5
)

func readVerdict(b []byte) *verdict {
	v := &verdict{}
	netlink.Attributes(b, func(k uint16, b []byte) error {
		switch k {
		case unix.NFTA_VERDICT_CODE:
			v.code = int32(number(b))
		case unix.NFTA_VERDICT_CHAIN:
			v.chain = text(b)
		}
		return nil
	})
	return v
}

func (v verdict) String() string {
	switch v.code {
	case verdictDrop:
		return "drop"
	case verdictAccept:
		return "accept"
	case verdictContinue:
		return "continue"
	case verdictBreak:
		return "break"
	case verdictJump:
		return "jump " + word(v.chain)
	case verdictGoto:
		return "goto " + word(v.chain)
	case verdictReturn:
		return "return"
	}
	if v.code&0xff == verdictQueue {
		return "queue"
	}
	return fmt.Sprintf("verdict %d", v.code)
}

// word writes a name that anybody may have chosen.
func word(s string) string {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("_-./", c) >= 0) {
			return strconv.Quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}
