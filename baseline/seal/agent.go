package seal

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// How long an agent may take: to list its keys, and to sign, which may wait
// for a touch or for somebody to confirm.
const (
	agentListTime = 10 * time.Second
	agentSignTime = 2 * time.Minute
)

// agentSigner signs through an ssh-agent. Each signature is one connection.
type agentSigner struct {
	socket string
	key    Key
	wait   time.Duration // for a signature
}

// Agent finds a key in the ssh-agent that listens at socket, "" for that of
// SSH_AUTH_SOCK. FIDO, PKCS#11 and TPM keys come this way. What want says:
//
//	SHA256:…               a fingerprint
//	ssh-ed25519 AAAA…      a public key or a certificate
//	/home/ann/.ssh/id.pub  a file with one of these
//	""                     the only usable key there is
//
// A fingerprint, and "", take the certificate of a key where the agent holds
// one. Errors wrap ErrAgent, ErrKeyFile or ErrKeyType; if several keys fit,
// the error lists them.
func Agent(socket, want string) (Signer, error) {
	return openAgent(socket, want, agentListTime, agentSignTime)
}

func openAgent(socket, want string, list, sign time.Duration) (Signer, error) {
	if socket == "" {
		if socket = os.Getenv("SSH_AUTH_SOCK"); socket == "" {
			return nil, fmt.Errorf("%w: no socket given, and SSH_AUTH_SOCK is not set", ErrAgent)
		}
	}
	pick, err := parseWant(want)
	if err != nil {
		return nil, err
	}
	var held []*agent.Key
	err = talk(socket, list, func(a agent.Agent) error {
		held, err = a.List()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w at %q: list keys: %w", ErrAgent, socket, err)
	}
	key, err := choose(held, want, pick)
	if err != nil {
		return nil, fmt.Errorf("%w at %q: %w", ErrAgent, socket, err)
	}
	return &agentSigner{socket: socket, key: key, wait: sign}, nil
}

func (s *agentSigner) Key() Key { return s.key }

func (s *agentSigner) Sign(namespace string, message io.Reader) ([]byte, error) {
	return sign(s.key, namespace, message, func(b []byte) (sig *ssh.Signature, err error) {
		err = talk(s.socket, s.wait, func(a agent.Agent) error {
			sig, err = a.Sign(&agent.Key{Format: s.key.wireType(), Blob: s.key.blob}, b)
			return err
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, fmt.Errorf("%w at %q: no signature by key %s within %v (does it wait for a touch?): %w", ErrAgent, s.socket, s.key.Fingerprint, s.wait, err)
		case err != nil:
			return nil, fmt.Errorf("%w at %q: no signature by key %s (locked, removed, or refused by its owner): %w", ErrAgent, s.socket, s.key.Fingerprint, err)
		}
		return sig, nil
	})
}

// talk opens a connection for one exchange. Its error may wrap
// os.ErrDeadlineExceeded.
func talk(socket string, wait time.Duration, exchange func(agent.Agent) error) error {
	deadline := time.Now().Add(wait)
	c, err := (&net.Dialer{Deadline: deadline}).Dial("unix", socket)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	// Without Close the client starts no goroutine. It writes errors of the
	// connection out as text, so they are kept here.
	w := &watched{conn: c}
	if err := exchange(agent.NewClient(w)); err != nil {
		if w.err != nil {
			return w.err
		}
		return err
	}
	return nil
}

// watched keeps the last error of a connection.
type watched struct {
	conn net.Conn
	err  error
}

func (w *watched) Read(p []byte) (n int, err error) {
	if n, err = w.conn.Read(p); err != nil {
		w.err = err
	}
	return n, err
}

func (w *watched) Write(p []byte) (n int, err error) {
	if n, err = w.conn.Write(p); err != nil {
		w.err = err
	}
	return n, err
}

// parseWant returns what decides whether a key is the wanted one.
func parseWant(want string) (func(Key) bool, error) {
	if want == "" {
		return func(Key) bool { return true }, nil
	}
	if strings.HasPrefix(want, "SHA256:") {
		return func(k Key) bool { return k.Fingerprint == want }, nil
	}
	line := want
	if t, _, isLine := strings.Cut(want, " "); !isLine || !accepted(t) && !acceptedCert(t) && !refused(t) {
		data, err := readKeyFile(want, false)
		if err != nil {
			return nil, err
		}
		if line = string(data); strings.HasPrefix(line, "-----BEGIN") {
			return nil, fmt.Errorf("%w: %q is not a public key: name the file that ends in .pub", ErrKeyFile, want)
		}
	}
	wanted, err := ParseKey(line)
	if err != nil {
		return nil, fmt.Errorf("wanted key %q: %w", want, err)
	}
	return func(k Key) bool { return string(k.blob) == string(wanted.blob) }, nil
}

// choose returns the one key that fits. A plain key gives way to a certificate
// of it that fits too.
func choose(held []*agent.Key, want string, pick func(Key) bool) (Key, error) {
	var usable, fit []Key
	for _, h := range held {
		k, err := parseKey(h.Blob)
		if err != nil {
			continue
		}
		usable = append(usable, k)
		if pick(k) {
			fit = append(fit, k)
		}
	}
	certified := map[string]bool{}
	for _, k := range fit {
		certified[k.Line] = certified[k.Line] || k.Cert != nil
	}
	fit = slices.DeleteFunc(fit, func(k Key) bool { return k.Cert == nil && certified[k.Line] })
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		return Key{}, fmt.Errorf("several keys fit, name one of them:%s", list(fit))
	case len(held) == 0:
		return Key{}, errors.New("it holds no key, or is locked")
	case len(usable) == 0:
		return Key{}, fmt.Errorf("%w: none of its %d keys can be used", ErrKeyType, len(held))
	}
	return Key{}, fmt.Errorf("it does not hold %q; it holds:%s", want, list(usable))
}

// list names keys for a message, each on a line of its own.
func list(keys []Key) string {
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "\n  %s %s", k.Fingerprint, k.Type)
		if k.Cert != nil {
			fmt.Fprintf(&b, ", certificate %q with serial %d", k.Cert.ID, k.Cert.Serial)
		}
	}
	return b.String()
}

// wireType returns the type that the wire form begins with.
func (k Key) wireType() string {
	if k.Cert == nil {
		return k.Type
	}
	t, _, _ := strings.Cut(k.Cert.Line, " ")
	return t
}
