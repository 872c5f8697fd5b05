package sshd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"intact/rules"
	"intact/rules/facts"
)

// Offer is what a listening daemon offers a user before any credential: what
// it does, whatever its files say. Lists are cut at 32 words of 64 bytes.
type Offer struct {
	Addr        string   `cel:"addr"` // address:port that was asked
	User        string   `cel:"user"`
	Methods     []string `cel:"methods"` // sorted: password, publickey, keyboard-interactive, …; "none" alone: it lets the user in without one
	Version     string   `cel:"version"` // what the server calls itself
	Kex         string   `cel:"kex"`     // what both agreed on
	Cipher      string   `cel:"cipher"`
	HostKeyType string   `cel:"host_key_type"`
	HostKey     string   `cel:"host_key"` // fingerprint, SHA256:…
}

// Key identifies the row.
func (o Offer) Key() string { return o.User + "@" + o.Addr }

// probeTime bounds one handshake, from connecting on.
const probeTime = 5 * time.Second

var errHeard = errors.New("heard enough")

// Offered asks daemons at addresses of this host what they offer users. It is
// for those who ask for it: each question leaves a line in the daemon's log,
// and with PerSourcePenalties counts against the address it comes from. Nothing
// but the method "none" is ever sent. Addresses that are not loopback or this
// host's own are the caller's responsibility.
func Offered(ctx context.Context, at []netip.AddrPort, users []string) facts.Answer[Offer] {
	out := facts.Answer[Offer]{Status: rules.OK, Via: "handshake"}
	for _, a := range at {
		for _, u := range users {
			o, err := offered(ctx, a, u)
			if err == nil {
				out.Rows = append(out.Rows, o)
				continue
			}
			out.Status, out.Reason = rules.Failed, fmt.Sprintf("%s at %s: %v", u, a, err)
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || ctx.Err() != nil {
				out.Status = rules.Timeout
			}
		}
	}
	return out
}

func offered(ctx context.Context, at netip.AddrPort, user string) (Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return Offer{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	o := Offer{Addr: at.String(), User: user}
	heard := false
	config := &ssh.ClientConfig{
		User: user,
		// No credential follows, so that it matters to nobody who answers.
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			o.HostKeyType, o.HostKey = clip(key.Type()), ssh.FingerprintSHA256(key)
			return nil
		},
		AuthCallback: func(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			heard = true
			o.told(c.Metadata, c.AllowedMethods, c.Algorithms)
			return nil, errHeard
		},
	}
	c, channels, requests, err := ssh.NewClientConn(conn, at.String(), config)
	switch {
	case err == nil: // "none" was enough
		go ssh.DiscardRequests(requests)
		go func() {
			for range channels {
			}
		}()
		o.Methods, o.Version = []string{"none"}, clip(string(c.ServerVersion()))
		c.Close()
		return o, nil
	case heard:
		return o, nil
	}
	return Offer{}, err
}

func (o *Offer) told(m ssh.ConnMetadata, methods []string, a ssh.NegotiatedAlgorithms) {
	const enough = 32
	o.Version = clip(string(m.ServerVersion()))
	o.Kex, o.Cipher = clip(a.KeyExchange), clip(a.Read.Cipher)
	for _, s := range methods[:min(len(methods), enough)] {
		o.Methods = append(o.Methods, clip(s))
	}
	slices.Sort(o.Methods)
	o.Methods = slices.Compact(o.Methods)
}

// clip bounds a word that a server has chosen.
func clip(s string) string {
	const enough = 64
	return strings.Clone(s[:min(len(s), enough)])
}
