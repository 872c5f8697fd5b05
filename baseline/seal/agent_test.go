package seal

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"
)

// startAgent runs a real ssh-agent that ends with the test.
func (b *bench) startAgent(args ...string) (socket string) {
	b.t.Helper()
	dir, err := os.MkdirTemp("", "agent") // the name of a socket must be short
	if err != nil {
		b.t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	c := exec.Command("ssh-agent", append([]string{"-D", "-a", socket}, args...)...)
	c.Env = append(os.Environ(), "SSH_ASKPASS=/bin/false", "SSH_ASKPASS_REQUIRE=force")
	if err := c.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = os.RemoveAll(dir)
	})
	for range 200 {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			b.t.Setenv("SSH_AUTH_SOCK", socket)
			return socket
		}
		time.Sleep(10 * time.Millisecond) // it says nothing when it listens
	}
	b.t.Fatal("ssh-agent does not listen")
	return ""
}

func TestAgent(t *testing.T) {
	b := newBench(t)
	b.key("ca", "ed25519")
	b.key("a", "ed25519")
	b.key("b", "ecdsa")
	b.key("rsa", "rsa")
	b.issue("c", "ca", "id", 5)
	socket := b.startAgent()
	if _, err := Agent("", ""); !isOnly(err, ErrAgent) || !strings.Contains(err.Error(), "no key") {
		t.Errorf("empty agent: %v", err)
	}
	b.run("ssh-add", "-q", "rsa")
	if _, err := Agent("", ""); !isOnly(err, ErrKeyType) || !errors.Is(err, ErrAgent) {
		t.Errorf("RSA alone: %v", err)
	}
	b.run("ssh-add", "-q", "a")
	signers := "ann " + b.line("a") + "\nann " + b.line("b") + "\nann " + b.line("c") + "\nann cert-authority " + b.line("ca") + "\n"
	check := func(name, key string, cert bool) {
		t.Helper()
		s, err := Agent(socket, name)
		if err != nil {
			t.Errorf("%.40q: %v", name, err)
			return
		}
		if s.Key().Line != b.line(key) || (s.Key().Cert != nil) != cert {
			t.Errorf("%.40q: %s, want %s", name, s.Key().Line, key)
		}
		armor, err := s.Sign(testNamespace, strings.NewReader("m"))
		if err != nil {
			t.Errorf("%.40q: %v", name, err)
			return
		}
		_, err = mustSigners(t, signers).Verify(strings.NewReader("m"), armor, want("ann"))
		if err != nil || !b.accepts(signers, armor, "m", "ann") {
			t.Errorf("%.40q: %v", name, err)
		}
	}
	check("", "a", false)
	b.run("ssh-add", "-q", "b")
	b.run("ssh-add", "-q", "c") // with its certificate
	_, err := Agent("", "")
	if !isOnly(err, ErrAgent) || strings.Count(err.Error(), "\n  SHA256:") != 3 {
		t.Errorf("several keys: %v", err)
	}
	a, _ := ParseKey(b.line("a"))
	c, _ := ParseKey(b.line("c"))
	check(a.Fingerprint, "a", false)
	check(b.line("b"), "b", false)
	check(b.line("b")+" a comment", "b", false)
	check(b.path("b.pub"), "b", false)
	check(c.Fingerprint, "c", true)
	check(b.path("c.pub"), "c", false)
	check(b.path("c-cert.pub"), "c", true)
	b.key("d", "ed25519")
	for want, sentinel := range map[string]error{
		"SHA256:x": ErrAgent, b.path("d.pub"): ErrAgent, b.path("a"): ErrKeyFile, b.path("none.pub"): fs.ErrNotExist, "ssh-ed25519 AAAA": ErrKeyFile, b.line("rsa"): ErrKeyType,
	} {
		if _, err := Agent("", want); !errors.Is(err, sentinel) {
			t.Errorf("%.40q: %v", want, err)
		}
	}

	// What ssh-keygen signs through the agent, we accept.
	_, err = mustSigners(t, signers).Verify(strings.NewReader("m"), b.theirs("a.pub", "m", "-U"), want("ann"))
	if err != nil {
		t.Error(err)
	}
	b.gone(socket)
}

// gone takes the key away from an agent in several ways between the choice and
// the signature.
func (b *bench) gone(socket string) {
	t := b.t
	t.Helper()
	s, err := Agent(socket, b.path("a.pub"))
	if err != nil {
		t.Fatal(err)
	}
	refuses := func(what string) {
		t.Helper()
		if _, err := s.Sign(testNamespace, strings.NewReader("m")); !isOnly(err, ErrAgent) {
			t.Errorf("%s: %v", what, err)
		}
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	client := agent.NewClient(conn)
	if err := client.Lock([]byte("x")); err != nil {
		t.Fatal(err)
	}
	refuses("locked")
	if _, err := Agent(socket, ""); !isOnly(err, ErrAgent) || !strings.Contains(err.Error(), "locked") {
		t.Errorf("locked: %v", err)
	}
	if err := client.Unlock([]byte("x")); err != nil {
		t.Fatal(err)
	}
	b.run("ssh-add", "-q", "-D")
	refuses("removed")
	b.run("ssh-add", "-q", "-c", "a")
	refuses("not confirmed")
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	refuses("no socket")
	if _, err := Agent(socket, ""); !isOnly(err, ErrAgent) {
		t.Errorf("no socket: %v", err)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	if _, err := Agent("", ""); !isOnly(err, ErrAgent) || !strings.Contains(err.Error(), "SSH_AUTH_SOCK") {
		t.Errorf("no agent: %v", err)
	}
}

// fakeAgent answers each request with the next of answers, then with nothing.
func fakeAgent(t *testing.T, answers ...[]byte) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var open []net.Conn
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open = append(open, c)
			if len(answers) > 0 {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = c.Write(answers[0])
				answers = answers[1:]
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range open {
			c.Close()
		}
		_ = os.RemoveAll(dir)
	})
	return filepath.Join(dir, "s")
}

// An agent that never answers is not waited for, and one that lies is found
// out.
func TestStrangeAgents(t *testing.T) {
	const short = 50 * time.Millisecond
	start := time.Now()
	_, err := openAgent(fakeAgent(t), "", short, short)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("silent: waited for %v", d)
	}
	if !isOnly(err, ErrAgent) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silent: %v", err)
	}
	s := newSigner(t, false)
	list := append([]byte{12, 0, 0, 0, 1}, append(field(s.key.blob), field([]byte("comment"))...)...) // SSH_AGENT_IDENTITIES_ANSWER
	got, err := openAgent(fakeAgent(t, field(list)), "", time.Second, short)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.Sign(testNamespace, strings.NewReader("m")); !isOnly(err, ErrAgent) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no touch: %v", err)
	}
	sig := append(field([]byte("ssh-ed25519")), field(make([]byte, 64))...)
	got, err = openAgent(fakeAgent(t, field(list), field(append([]byte{14}, field(sig)...))), "", time.Second, time.Second) // SSH_AGENT_SIGN_RESPONSE
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.Sign(testNamespace, strings.NewReader("m")); !isOnly(err, ErrSignature) {
		t.Errorf("wrong signature: %v", err)
	}
	for name, answer := range map[string][]byte{
		"long": {0xff, 0xff, 0xff, 0xff}, "empty": {0, 0, 0, 0}, "many keys": field([]byte{12, 0xff, 0xff, 0xff, 0xff}), "failure": field([]byte{5}), "other": field([]byte{99}),
	} {
		if _, err := openAgent(fakeAgent(t, answer), "", 200*time.Millisecond, short); !isOnly(err, ErrAgent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
