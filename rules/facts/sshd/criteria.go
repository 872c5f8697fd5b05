package sshd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Client is a connection as Match blocks see it.
type Client struct {
	User, Host, Addr, LocalAddr string
	LocalPort                   int
	Groups                      []string // of User
	GroupsKnown                 bool     // false: nobody said which groups User is in
}

// criterion is one test of a Match line.
type criterion struct {
	kind   string // in lower case
	arg    string
	equals bool // written kind=arg
}

// criteria are the tests of one Match line; all must hold.
type criteria []criterion

// maxTests is more than anybody writes; sshd has no limit.
const maxTests = 64

var errMatch = errors.New("bad Match condition")

// parseCriteria reads the arguments of Match. A kind that is not known is kept:
// whether it matches is open.
func parseCriteria(args []string) (criteria, error) {
	var out criteria
	for len(args) > 0 {
		kind := strings.ToLower(args[0])
		kind, arg, joined := strings.Cut(kind, "=")
		if joined { // OpenSSH 10 takes user=name too
			arg = args[0][len(kind)+1:]
		}
		args = args[1:]
		switch kind {
		case "all":
			if len(out) > 0 || len(args) > 0 || joined {
				return nil, fmt.Errorf("%w: \"all\" stands with other tests", errMatch)
			}
			return criteria{{kind: "all"}}, nil
		case "invalid-user":
			out = append(out, criterion{kind: kind})
			continue
		}
		if !joined {
			if len(args) == 0 {
				return nil, fmt.Errorf("%w: no argument of %q", errMatch, kind)
			}
			arg, args = args[0], args[1:]
		}
		c := criterion{kind: kind, arg: arg, equals: joined}
		if err := c.check(); err != nil {
			return nil, err
		}
		if out = append(out, c); len(out) > maxTests {
			return nil, fmt.Errorf("%w: over %d tests", errMatch, maxTests)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no test", errMatch)
	}
	return out, nil
}

func (c criterion) check() error {
	switch c.kind {
	case "address", "localaddress":
		if _, ok := inNetworks("", c.arg); !ok {
			return fmt.Errorf("%w: %q is no list of addresses", errMatch, c.arg)
		}
	case "localport":
		if n, err := strconv.ParseUint(c.arg, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%w: %q is no port", errMatch, c.arg)
		}
	}
	return nil
}

// String writes the line again, each test once and in one spelling.
func (cs criteria) String() string {
	words := make([]string, len(cs))
	for i, c := range cs {
		words[i] = c.kind
		if c.arg != "" || c.kind != "all" && c.kind != "invalid-user" {
			words[i] += " " + quoted(c.arg)
		}
	}
	return strings.Join(words, " ")
}

func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\"'#\\") {
		return strconv.Quote(s)
	}
	return s
}

// brief is a text as it stands, or its beginning and its digest: a line may have
// megabytes, and stands in every row that is below it.
func brief(s string) string {
	const enough = 512
	if len(s) <= enough {
		return s
	}
	return fmt.Sprintf("%s… (SHA-256 %x)", s[:enough/2], sha256.Sum256([]byte(s)))
}

// everyone reports a Match line that holds always.
func (cs criteria) everyone() bool { return len(cs) == 1 && cs[0].kind == "all" }

// holds tells whether all tests hold for a client.
func (cs criteria) holds(c *Client) tri {
	got := yes
	for _, t := range cs {
		got = min(got, t.holds(c))
	}
	return got
}

func (t criterion) holds(c *Client) tri {
	switch t.kind {
	case "all":
		return yes
	case "user":
		return truth(c.User != "" && inList(c.User, t.arg) == 1)
	case "group":
		return t.group(c)
	case "host":
		return truth(c.Host != "" && inList(strings.ToLower(c.Host), strings.ToLower(t.arg)) == 1)
	case "address":
		got, _ := inNetworks(c.Addr, t.arg)
		return truth(got == 1)
	case "localaddress":
		got, _ := inNetworks(c.LocalAddr, t.arg)
		return truth(got == 1)
	case "localport":
		return truth(strconv.Itoa(c.LocalPort) == strings.TrimLeft(t.arg, "0"))
	case "rdomain":
		return no // a client that is asked about comes from none
	}
	return maybe
}

func (t criterion) group(c *Client) tri {
	if !c.GroupsKnown {
		return maybe
	}
	got := no
	for _, g := range c.Groups {
		switch inList(g, t.arg) {
		case -1:
			return no
		case 1:
			got = yes
		}
	}
	return got
}
