package sshd

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
)

// startSSHD runs a real daemon on loopback and returns it and its port when it
// listens. It ends with the test.
func startSSHD(t *testing.T, config string, args ...string) (*exec.Cmd, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, fmt.Appendf(nil, "ListenAddress 127.0.0.1:%d\nPidFile %s.pid\nHostKey /etc/ssh/ssh_host_ed25519_key\n%s", port, file, config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), Binary, append([]string{"-D", "-e", "-f", file}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Server listening on") {
			go func() {
				for lines.Scan() {
				}
			}()
			return cmd, port
		}
	}
	t.Skip("SKIPPED: sshd does not start here: ", lines.Text())
	return nil, 0
}

// The daemon that runs is found with its options, and with it whether its files
// are younger than what it has read.
func TestRunning(t *testing.T) {
	realSSHD(t)
	cmd, _ := startSSHD(t, "", "-o", "UseDNS yes")
	root, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	found, err := running(t.Context(), facts.HostProc())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(d daemon) bool { return d.pid == cmd.Process.Pid })
	if i < 0 {
		t.Fatalf("not among %+v", found)
	}
	g := parseArgs(found[i].args)
	if g.file == "" || !slices.Contains(g.lines, "UseDNS yes") || time.Since(found[i].started).Abs() > time.Minute {
		t.Fatalf("got %+v, %+v", found[i], g)
	}
	r := &reader{host: facts.Host{Root: root, Live: true}, opts: &Options{}, given: g}
	row := func() Server {
		if status, why := r.load(t.Context()); status != rules.OK {
			t.Fatalf("%v %s", status, why)
		}
		r.facts.Files = r.conf.files(root)
		return r.describe(found[i:i+1], nil, 0).Rows[0]
	}
	if s := row(); !s.Running || !s.Examined || s.Unloaded || !s.LoadedKnown || s.ConfigFile != g.file || !slices.Contains(s.Options, "-o UseDNS yes") {
		t.Errorf("got %+v", s)
	}
	r.contexts(t.Context())
	if c := r.facts.Contexts; c.Status != rules.OK || !c.Rows[0].UseDNS || c.Rows[0].UseDNSAt != "command line of sshd" || len(c.Rows[0].Disagrees) > 0 {
		t.Errorf("got %v %s, %+v", c.Status, c.Reason, c.Rows)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(g.file, later, later); err != nil {
		t.Fatal(err)
	}
	if s := row(); !s.Unloaded || s.ConfigNewestIn != g.file {
		t.Errorf("younger files: got %+v", s)
	}
	// After a SIGHUP the pid file is younger than the start.
	v := r.conf.Effective(nil)["pidfile"]
	if err := os.Chtimes(v.Lines[0], later, later); err != nil {
		t.Fatal(err)
	}
	if s := row(); s.Unloaded {
		t.Errorf("loaded again: got %+v", s)
	}
}

// A configuration that sshd refuses gives its words and the parser's place, and
// no value that a rule may use.
func TestRefused(t *testing.T) {
	realSSHD(t)
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("Port 22\nPasswordAuthentication \x1b[31mmaybe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r := &reader{host: facts.Host{Root: root, Live: true}, opts: &Options{}, given: given{file: file, options: []string{"-f", file}}}
	if status, why := r.load(t.Context()); status != rules.OK {
		t.Fatalf("%v %s", status, why)
	}
	r.contexts(t.Context())
	c := r.facts.Contexts
	if c.Status != rules.Failed || !strings.Contains(c.Reason, "line 2: unsupported option") || !strings.Contains(c.Reason, file+":2: PasswordAuthentication:") {
		t.Errorf("got %v %q", c.Status, c.Reason)
	}
}

// A difference between the two is kept, and the daemon is believed.
func TestDisagreement(t *testing.T) {
	var c Context
	c.fill(map[string]Value{
		"usepam": {Lines: []string{"no"}, Known: true, At: []facts.Place{{File: "/c", Line: 3}}}, "maxsessions": {Lines: []string{"3"}, Known: true}, "allowusers": {Lines: []string{"a"}, Known: true},
	}, map[string][]string{"usepam": {"yes"}, "maxsessions": {"3"}})
	if !slices.Equal(c.Disagrees, []string{"allowusers", "usepam"}) || !c.UsePAM || !c.UsePAMKnown || c.MaxSessions != 3 || !c.AllowUsersKnown || c.AllowUsers != nil {
		t.Errorf("got %+v", c)
	}
}

func TestBounds(t *testing.T) {
	b := &bounded{limit: 4}
	fmt.Fprint(b, "abc")
	fmt.Fprint(b, "def")
	if b.String() != "abcd" || !b.over {
		t.Errorf("got %q", b.String())
	}
	// What does not answer is given up.
	slow := filepath.Join(t.TempDir(), "slow")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (asks{binary: slow}).ask(ctx, nil); err == nil {
		t.Errorf("got %v", err)
	}
}

// On a host with many Match blocks each kind of connection is asked about, the
// daemon and the parser agree, and it takes a fraction of a second.
func TestAskedAboutAll(t *testing.T) {
	realSSHD(t)
	var b strings.Builder
	b.WriteString("PasswordAuthentication no\n")
	for i := range 12 {
		fmt.Fprintf(&b, "Match User u%d,v%d Address 10.%d.0.0/16\nPasswordAuthentication yes\nMaxAuthTries %d\n", i, i, i, i+1)
	}
	b.WriteString("Match Group root,nogroup Host *.example.net\nX11Forwarding yes\nMatch LocalPort 2222\nPermitRootLogin no\n")
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	v, err := ReadVersion(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	opts := &Options{AccountsKnown: true, Accounts: []Account{{Name: "root", Groups: []string{"root"}}, {Name: "nobody", Groups: []string{"nogroup"}}}}
	r := &reader{host: facts.Host{Root: root, Live: true}, opts: opts, version: v, given: given{file: file, options: []string{"-f", file}}}
	if status, why := r.load(t.Context()); status != rules.OK {
		t.Fatalf("%v %s", status, why)
	}
	start := time.Now()
	r.contexts(t.Context())
	c := r.facts.Contexts
	t.Logf("%d connections in %v", len(c.Rows), time.Since(start))
	if c.Status != rules.OK || c.Via != "sshd -T -C" || len(c.Rows) < 6+12 {
		t.Fatalf("got %v %s, %d rows", c.Status, c.Reason, len(c.Rows))
	}
	passwords, tries := 0, map[int64]bool{}
	for _, row := range c.Rows {
		if len(row.Disagrees) > 0 {
			t.Errorf("%s: %q", row.Label, row.Disagrees)
		}
		if row.PasswordAuthentication {
			passwords++
		}
		tries[row.MaxAuthTries] = true
	}
	if passwords < 12 || len(tries) < 12 {
		t.Errorf("passwords in %d contexts, %d values of MaxAuthTries", passwords, len(tries))
	}
}

// Whatever this machine's own daemon has, the two agree on it.
func TestThisHost(t *testing.T) {
	realSSHD(t)
	root, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f := Collect(t.Context(), facts.Host{Root: root, Live: true}, Options{})
	if f.Contexts.Status != rules.OK {
		t.Skipf("SKIPPED: %s", f.Contexts.Reason)
	}
	for _, c := range f.Contexts.Rows {
		if len(c.Disagrees) > 0 {
			t.Errorf("%s: %q", c.Label, c.Disagrees)
		}
	}
	if len(f.Contexts.Rows) == 0 || len(f.Settings.Rows) < 60 || len(f.Directives.Rows) == 0 || len(f.Files.Rows) == 0 || len(f.Server.Rows) == 0 {
		t.Errorf("got %+v", f)
	}
}
