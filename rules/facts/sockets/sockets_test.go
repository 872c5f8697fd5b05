package sockets

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"intact/rules"
	"intact/rules/facts"
)

// TestMain makes this test the listener that others start: it prints its ports
// and stays until its input ends.
func TestMain(m *testing.M) {
	if os.Getenv("SOCKETS_TEST_LISTEN") == "" {
		os.Exit(m.Run())
	}
	// A namespace of its own has its loopback down; the wildcard needs none.
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// listen starts a copy of this test as a listener and returns its port.
func listen(t *testing.T, exe string, attr *syscall.SysProcAttr) (port int64, pid int) {
	t.Helper()
	c := exec.Command(exe)
	c.Env, c.SysProcAttr = []string{"SOCKETS_TEST_LISTEN=1"}, attr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Wait() })
	line, _ := bufio.NewReader(out).ReadString('\n')
	if _, err := fmt.Sscan(line, &port); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return port, c.Process.Pid
}

func find(rows []Listener, netns, proto, family string, port int64) *Listener {
	i := slices.IndexFunc(rows, func(l Listener) bool {
		return l.Netns == netns && l.Proto == proto && l.Family == family && l.Port == port
	})
	if i < 0 {
		return nil
	}
	return &rows[i]
}

func live(t *testing.T) facts.Answer[Listener] {
	t.Helper()
	a, _ := Collect(context.Background(), facts.Host{Live: true})
	if a.Status != rules.OK {
		t.Fatalf("%s: %s", a.Status, a.Reason)
	}
	return a
}

func TestOwnListeners(t *testing.T) {
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		network, at     string
		proto, family   string
		addr, scope     string
		wildcard, local bool
		dual            bool
	}{
		{"tcp4", "127.0.0.1:0", "tcp", "ipv4", "127.0.0.1", "loopback", false, true, false},
		{"tcp4", "0.0.0.0:0", "tcp", "ipv4", "0.0.0.0", "wildcard", true, false, false},
		{"tcp6", "[::1]:0", "tcp", "ipv6", "::1", "loopback", false, true, false},
		{"tcp", "[::]:0", "tcp", "ipv6", "::", "wildcard", true, false, true},
		{"tcp6", "[::]:0", "tcp", "ipv6", "::", "wildcard", true, false, false},
		{"udp4", "127.0.0.1:0", "udp", "ipv4", "127.0.0.1", "loopback", false, true, false},
		{"udp6", "[::1]:0", "udp", "ipv6", "::1", "loopback", false, true, false},
	} {
		t.Run(c.network+c.at, func(t *testing.T) {
			var port int
			if strings.HasPrefix(c.network, "udp") {
				l, err := net.ListenPacket(c.network, c.at)
				if err != nil {
					t.Skipf("SKIPPED: no %s here: %v", c.network, err)
				}
				defer l.Close()
				port = l.LocalAddr().(*net.UDPAddr).Port
			} else {
				l, err := net.Listen(c.network, c.at)
				if err != nil {
					t.Skipf("SKIPPED: no %s here: %v", c.network, err)
				}
				defer l.Close()
				port = l.Addr().(*net.TCPAddr).Port
			}
			got := find(live(t).Rows, "host", c.proto, c.family, int64(port))
			if got == nil {
				t.Fatal("not seen")
			}
			if got.Addr != c.addr || got.Scope != c.scope || got.Wildcard != c.wildcard || got.Loopback != c.local || got.DualStack != c.dual ||
				!got.Owned || !got.OwnerKnown || got.PID != int64(os.Getpid()) || got.Exe != me || got.ExeDeleted || got.ExeMemory || got.ExeForeign ||
				!got.UIDKnown || got.UID != int64(os.Geteuid()) || got.SocketUID != int64(os.Geteuid()) {
				t.Errorf("%+v", *got)
			}
			if iface := map[bool]string{true: "*", false: "lo"}[c.wildcard]; got.Iface != iface {
				t.Errorf("interface %q", got.Iface)
			}
			list, err := procListeners("/proc/self")
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(list, func(l Listener) bool { return l.Inode == got.Inode })
			if i < 0 || list[i].Addr != got.Addr || list[i].Port != got.Port || list[i].SocketUID != got.SocketUID {
				t.Error("the table of /proc does not say the same")
			}
		})
	}
}

// A connected UDP socket takes nothing from strangers.
func TestConnectedIsNoListener(t *testing.T) {
	c, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		t.Skip("SKIPPED: ", err)
	}
	defer c.Close()
	if l := find(live(t).Rows, "host", "udp", "ipv4", int64(c.LocalAddr().(*net.UDPAddr).Port)); l != nil {
		t.Errorf("%+v", *l)
	}
}

func TestDeletedProgram(t *testing.T) {
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, replaced := range []bool{false, true} {
		exe := filepath.Join(t.TempDir(), "a \x1b[31m\nserver")
		b, err := os.ReadFile(me)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(exe, b, 0o700); err != nil {
			t.Fatal(err)
		}
		port, pid := listen(t, exe, nil)
		if l := find(live(t).Rows, "host", "tcp", "ipv4", port); l == nil || l.ExeDeleted || l.Exe != exe {
			t.Fatalf("%+v", l)
		}
		os.Remove(exe)
		if replaced {
			os.WriteFile(exe, []byte("other"), 0o700)
		}
		if l := find(live(t).Rows, "host", "tcp", "ipv4", port); l == nil || !l.ExeDeleted || l.Exe != exe || l.PID != int64(pid) || l.ExeMemory {
			t.Fatalf("replaced %v: %+v", replaced, l)
		}
	}
}

func TestOtherNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a network namespace of its own needs root")
	}
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	port, pid := listen(t, me, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET})
	rows := live(t).Rows
	if l := find(rows, "other", "tcp", "ipv4", port); l == nil || l.PID != int64(pid) || l.Exe != me || !l.Wildcard {
		t.Fatalf("%+v", l)
	}
	if l := find(rows, "host", "tcp", "ipv4", port); l != nil && l.PID == int64(pid) {
		t.Fatal("it is not in our namespace")
	}
}

func TestImageIsOffline(t *testing.T) {
	a, b := Collect(context.Background(), facts.Host{})
	if a.Status != rules.Offline || len(a.Rows) != 0 || b.Status != rules.Offline || len(b.Rows) != 0 {
		t.Errorf("%+v %+v", a, b)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if a, _ := Collect(ctx, facts.Host{Live: true}); a.Status == rules.OK {
		t.Error("ok, and it did not look")
	}
}

func TestKey(t *testing.T) {
	base := Listener{Netns: "host", Proto: "udp", Port: 39141, Scope: "wildcard", Exe: "/usr/sbin/avahi-daemon", ExeKnown: true, PID: 1, Inode: 2}
	moved := base
	moved.Port, moved.PID, moved.Inode = 41000, 3, 4
	if base.Key() != moved.Key() || base.Compared() != moved.Compared() {
		t.Error("a port that the kernel chose is compared")
	}
	moved.Port = 5353
	if base.Key() == moved.Key() {
		t.Error("a port of its own is not")
	}
	evil := base
	evil.Exe = "x\" uid=\"0"
	if strings.Contains(evil.Key(), `x" `) {
		t.Errorf("%s", evil.Key())
	}
}

func TestLasting(t *testing.T) {
	for unit, want := range map[string]string{
		"ssh.service":                             "ssh.service",
		"getty@tty1.service":                      "getty@tty1.service",
		"session-12.scope":                        "session-*.scope",
		"session-c3.scope":                        "session-c*.scope",
		"docker-0123456789abcdef0123456789.scope": "docker-*.scope",
		"libpod-conmon-0123456789abcdef.scope":    "libpod-conmon-*.scope",
		"run-u17.service":                         "run-u*.service",
		"run-r0123456789abcdef.service":           "run-r*.service",
		"init.scope":                              "init.scope",
		"":                                        "",
	} {
		l := Listener{Unit: unit, UnitKnown: true}
		if got := lasting(unit); got != want || !strings.Contains(l.Compared(), strconv.Quote(want)) {
			t.Errorf("%q: %q, want %q; %s", unit, got, want, l.Compared())
		}
	}
}

func TestDrift(t *testing.T) {
	of := func(proto string, port int64, family, scope, exe, unit string) Listener {
		return Listener{Netns: "host", Proto: proto, Port: port, Family: family, Scope: scope, Wildcard: scope == "wildcard", Exe: exe, ExeKnown: exe != "", Unit: unit, UnitKnown: true}
	}
	web := of("tcp", 443, "ipv4", "wildcard", "/usr/sbin/nginx", "nginx.service")
	dns := of("udp", 53, "ipv4", "private", "/usr/sbin/named", "named.service")
	ask := of("udp", 41000, "ipv4", "wildcard", "/usr/sbin/named", "named.service")
	for name, c := range map[string]struct {
		in   []Listener
		want int
	}{
		"workers":                      {[]Listener{web, web, web}, 1},
		"the other family":             {[]Listener{web, of("tcp", 443, "ipv6", "wildcard", "/usr/sbin/nginx", "nginx.service")}, 2},
		"another unit":                 {[]Listener{web, of("tcp", 443, "ipv4", "wildcard", "/usr/sbin/nginx", "evil.service")}, 2},
		"another program":              {[]Listener{web, of("tcp", 443, "ipv4", "private", "/usr/bin/nc", "nginx.service")}, 2},
		"one address beside all":       {[]Listener{of("tcp", 443, "ipv4", "private", "/usr/sbin/nginx", "nginx.service"), web}, 1},
		"another port beside all":      {[]Listener{of("tcp", 444, "ipv4", "private", "/usr/sbin/nginx", "nginx.service"), web}, 2},
		"two leases":                   {[]Listener{dns, dns}, 1},
		"all beside one address":       {[]Listener{dns, of("udp", 53, "ipv4", "wildcard", "/usr/sbin/named", "named.service")}, 1},
		"questions of a resolver":      {[]Listener{dns, ask, ask}, 1},
		"questions of nobody else":     {[]Listener{ask, ask}, 1},
		"questions of another unit":    {[]Listener{dns, of("udp", 41000, "ipv4", "wildcard", "/usr/sbin/named", "")}, 2},
		"a chosen port of TCP":         {[]Listener{web, of("tcp", 41000, "ipv4", "wildcard", "/usr/sbin/nginx", "nginx.service")}, 2},
		"programs that nobody may see": {[]Listener{of("udp", 53, "ipv4", "wildcard", "", ""), of("udp", 53, "ipv4", "private", "", ""), of("udp", 41000, "ipv4", "wildcard", "", "")}, 3},
	} {
		if got := Drift(c.in); len(got) != c.want {
			t.Errorf("%s: %d rows, want %d: %+v", name, len(got), c.want, got)
		}
		back := slices.Clone(c.in)
		slices.Reverse(back)
		if got := Drift(back); len(got) != c.want {
			t.Errorf("%s, backwards: %d rows, want %d", name, len(got), c.want)
		}
	}
}

func TestReadTable(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	for _, c := range []struct {
		in, err string
		n       int
	}{
		{head, "", 0},
		{head + "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000 100 0 0 10 0\n", "", 1},
		{head + "   0: 0100007F:1F90 00000000:0000 01 00000000:00000000 00:00000000 00000000  1000        0 12345 1\n", "", 0},
		{head + "   0: 0100007F:0000 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1\n", "", 0},
		{head + "   0: 0100007F 00000000:0000 0A 0 0 0 1000 0 12345 1\n", "line 2", 0},
		{head + "short\n", "line 2", 0},
		{head + "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  -1        0 12345 1\n", "line 2", 0},
		{head + strings.Repeat("x", 70<<10) + "\n", "too long", 0},
	} {
		var out []Listener
		err := readTable(strings.NewReader(c.in), "tcp", "ipv4", "0A", &out)
		if len(out) != c.n || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%.150q: %v, %v", c.in, out, err)
		}
		if c.n == 1 && (out[0].Addr != "127.0.0.1" || out[0].Port != 8080 || out[0].SocketUID != 1000 || out[0].Inode != 12345) {
			t.Errorf("%+v", out[0])
		}
	}
}

func FuzzReadTable(f *testing.F) {
	f.Add([]byte("   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0  0  0 1 1\n"), true)
	f.Add([]byte("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		family := map[bool]string{true: "ipv6", false: "ipv4"}[six]
		var out []Listener
		readTable(bytes.NewReader(b), "tcp", family, "0A", &out)
		for i := range out {
			if place(&out[i], nil); out[i].Port < 1 || out[i].Port > 65535 || out[i].Scope == "" {
				t.Errorf("%+v", out[i])
			}
		}
	})
}

func FuzzReadDiag(f *testing.F) {
	f.Add(make([]byte, msgSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out []Listener
		readDiag(sockDiagByFamily, b, syscall.IPPROTO_TCP, &out)
	})
}

func BenchmarkCollect(b *testing.B) {
	for b.Loop() {
		if a, _ := Collect(context.Background(), facts.Host{Live: true}); a.Status != rules.OK {
			b.Fatal(a.Reason)
		}
	}
}

// What is unknown stands without quotes, and a program behind a mount is another.
func TestCompared(t *testing.T) {
	l := Listener{Exe: "/usr/sbin/sshd", ExeKnown: true, Unit: "unknown", UnitKnown: true}
	if got := l.Compared(); got != `uid=unknown unit="unknown" package=unknown` {
		t.Error(got)
	}
	if l.ExeForeign = true; l.Compared() != `uid=unknown unit="unknown" package=unknown foreign="true"` {
		t.Error(l.Compared())
	}
}
