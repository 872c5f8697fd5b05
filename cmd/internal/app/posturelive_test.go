package app

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// worldVar makes of the test program the first process of a world: its own
// mounts, network and processes. What it starts and mounts goes with it, however
// it ends.
const worldVar = "INTACT_TEST_WORLD"

const sshdBinary = "/usr/sbin/sshd"

// saidLive is what a rule finds in the weak world: $EXE is the program of this
// test, $UNIT the unit that a process was put into, $STALE that or its program.
type saidLive struct{ rule, subject, severity, says string }

var liveTable = []saidLive{
	{"ssh.root-login", "everybody", "high", "root may log in (yes) by /etc/ssh/sshd_config.d/10-weak.conf:2"},
	{"ssh.password-auth", "address 127.0.0.1,::1", "high", "passwords are taken, by /etc/ssh/sshd_config:7"},
	{"ssh.kbdint-password", "everybody", "high", "KbdInteractiveAuthentication by /etc/ssh/sshd_config:4, UsePAM by /etc/ssh/sshd_config:5"},
	{"ssh.dropin-shadowed", "permitrootlogin", "high", "no at /etc/ssh/sshd_config:3 never counts: yes at /etc/ssh/sshd_config.d/10-weak.conf:2 does"},
	{"ssh.match-weakens", "passwordauthentication below address 127.0.0.1,::1", "high", "yes at /etc/ssh/sshd_config:7, weaker than no"},
	{"ssh.access-list", "everybody", "medium", "neither AllowUsers nor AllowGroups"},
	{"ssh.authkeys", `"root" "/root/.ssh/authorized_keys" SHA256:X4ZflkzD1Cpb3TnPaM09WI1uSEEPkOogj+URVk289Yk`, "medium", "/root/.ssh/authorized_keys:1: a key for root without restriction"},
	{"ssh.config-unloaded", "sshd", "low", "/etc/ssh/sshd_config was changed at"},
	{"ssh.live-offers-password", "nobody@127.0.0.1:22", "high", "keyboard-interactive password"},
	{"net.unlisted", `host tcp/23 wildcard exe="$EXE"`, "high", "tcp/23 on 0.0.0.0"},
	{"net.unlisted", `host udp/5353 wildcard exe="$EXE"`, "high", "udp/5353 on 0.0.0.0"},
	{"net.unlisted", `host udp/111 wildcard exe="$EXE"`, "high", "udp/111 on ::"},
	{"net.unlisted", `host tcp/6379 wildcard exe="$EXE"`, "high", "tcp/6379 on ::"},
	{"net.unlisted", `host tcp/8099 loopback exe="$EXE"`, "low", "tcp/8099 on 127.0.0.1"},
	{"net.unlisted", `host udp/8099 loopback exe="$EXE"`, "low", "udp/8099 on ::1"},
	{"net.unlisted", `other tcp/8022 wildcard exe="/usr/sbin/sshd"`, "high", "tcp/8022 on 0.0.0.0"},
	{"net.wildcard-private", `host tcp/9000 wildcard exe="$EXE"`, "medium", "tcp/9000 is private and listens on 0.0.0.0"},
	{"net.no-owner", `host tcp/2099 wildcard exe=""`, "high", "belongs to no process"},
	{"net.owner-suspicious", `host tcp/4444 wildcard exe="/dev/shm/.x"`, "critical", "lies where everybody can write"},
	{"net.owner-suspicious", `host tcp/2023 wildcard exe="/opt/daemon"`, "high", "was deleted or replaced"},
	{"net.cleartext", `host tcp/23 wildcard exe="$EXE"`, "high", "without encryption"},
	{"net.mdns", `host udp/5353 wildcard exe="$EXE"`, "medium", "mDNS answers on udp/5353"},
	{"net.db-exposed", `host tcp/6379 wildcard exe="$EXE"`, "critical", "tcp/6379"},
	{"net.legacy-services", "udp/111", "medium", "udp/111 is open"},
	{"svc.exposed-root", "$UNIT", "medium", "lacks NoNewPrivileges"},
	{"upd.stale-procs", "$STALE", "high", "runs /opt/daemon"},
	{"upd.reboot", "kernel", "medium", "newer kernel"},
}

// TestRulesLive shows rules that judge the running host, and those about sshd
// that users look at most, failing and passing on real services.
func TestRulesLive(t *testing.T) {
	if os.Getenv(worldVar) != "" {
		inWorld(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a network of its own needs root")
	}
	for _, p := range []string{sshdBinary, "/usr/bin/ssh-keygen"} {
		if _, err := os.Stat(p); err != nil {
			t.Skip("SKIPPED: real services are tried with OpenSSH: ", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestRulesLive$", "-test.v")
	cmd.Env = append(os.Environ(), worldVar+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch {
	case cmd.Process == nil:
		t.Skip("SKIPPED: no world of its own: ", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "SKIPPED"):
		t.Skipf("%s", out)
	}
}

// must ends the test on an error of what prepares it.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func put(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600))
}

// world is what runs in it.
type world struct {
	t    *testing.T
	ends []func()
}

func (w *world) end() {
	for _, f := range slices.Backward(w.ends) {
		f()
	}
	w.ends = nil
}

// furnish replaces what the rules read of the host by folders of the world, and
// brings its network up.
func (w *world) furnish() {
	must(w.t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, ""))
	for _, dir := range []string{"/etc/ssh", "/run", "/opt", "/boot", "/root", "/dev/shm", "/var/lib/apt/lists"} {
		if _, err := os.Stat(dir); err == nil {
			must(w.t, unix.Mount("world", dir, "tmpfs", 0, "mode=0755"))
		}
	}
	must(w.t, os.Mkdir("/run/sshd", 0o755))
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(w.t, err)
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	must(w.t, err)
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	must(w.t, unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo))
}

// daemon starts an sshd, or a copy of it under another name, and returns when it
// listens.
func (w *world) daemon(binary string, flags uintptr, args ...string) *exec.Cmd {
	w.t.Helper()
	if binary != sshdBinary {
		b, err := os.ReadFile(sshdBinary)
		must(w.t, err, os.WriteFile(binary, b, 0o755))
	}
	cmd := exec.Command(binary, append([]string{"-D", "-e"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	says, err := cmd.StderrPipe()
	must(w.t, err, cmd.Start())
	w.ends = append(w.ends, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(says)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Server listening on") {
			go func() {
				for lines.Scan() {
				}
			}()
			return cmd
		}
	}
	w.t.Fatalf("%s does not start: %v", binary, cmd.Wait())
	return nil
}

// listen holds a socket of this process.
func (w *world) listen(network, at string) {
	w.t.Helper()
	if strings.HasPrefix(network, "tcp") {
		l, err := net.Listen(network, at)
		must(w.t, err)
		w.ends = append(w.ends, func() { l.Close() })
		return
	}
	l, err := net.ListenPacket(network, at)
	must(w.t, err)
	w.ends = append(w.ends, func() { l.Close() })
}

// orphan makes a listening socket that no process has: it lies in a message that
// nobody fetches.
func (w *world) orphan(at string) {
	l, err := net.Listen("tcp4", at)
	must(w.t, err)
	f, err := l.(*net.TCPListener).File()
	must(w.t, err)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(w.t, err, unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(int(f.Fd())), nil, 0), f.Close(), l.Close())
	w.ends = append(w.ends, func() { unix.Close(pair[0]); unix.Close(pair[1]) })
}

// unit puts a process into a control group that is called like a unit of systemd,
// "" where this host does not let us.
func (w *world) unit(pid int) string {
	dir := w.t.TempDir()
	if unix.Mount("world", dir, "cgroup2", 0, "") != nil {
		return ""
	}
	name := fmt.Sprintf("intact-test-%d.service", time.Now().UnixNano())
	group := filepath.Join(dir, name)
	w.ends = append(w.ends, func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if os.Mkdir(group, 0o755) != nil {
		return ""
	}
	back := func() {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		_ = os.Remove(group)
	}
	w.ends = append(w.ends, back)
	if os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0) != nil {
		return ""
	}
	return name
}

const liveConfig = `services:
  - {name: required, port: 443, class: public}
  - {name: allowed, port: 8443, class: public}
  - {name: hidden, port: 9000, class: private}
`

func inWorld(t *testing.T) {
	w := &world{t: t}
	defer w.end()
	w.furnish()
	must(t, exec.Command("/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/ssh/ssh_host_ed25519_key").Run())
	put(t, "/etc/ssh/rules.d/live.yaml", "intact: rules/v1\nset: live\nrules:\n  - {id: ssh.live-offers-password, enabled: true}\n")
	const probing = "posture: {probe_ssh: true, rules: /etc/ssh/rules.d}\n"
	o := PostureOptions{Sets: []string{"ssh", "net", "svc", "upd"}}

	put(t, "/etc/ssh/sshd_config", `Include /etc/ssh/sshd_config.d/*.conf
PasswordAuthentication no
PermitRootLogin no
KbdInteractiveAuthentication yes
UsePAM yes
Match Address 127.0.0.1,::1
  PasswordAuthentication yes
`)
	put(t, "/etc/ssh/sshd_config.d/10-weak.conf", "# made by an installer\nPermitRootLogin yes\n")
	put(t, "/root/.ssh/authorized_keys", ed25519Key+" root\n")
	unit := w.weaken()
	weak := judgeRoot(t, "/", liveConfig+probing, o)
	self, err := os.Executable()
	must(t, err)
	skipped := ""
	for _, c := range liveTable {
		if c.rule == "svc.exposed-root" && unit == "" {
			skipped = c.rule + ": this host has no control groups that a test may make"
			continue
		}
		subject := strings.NewReplacer("$EXE", self, "$UNIT", unit, "$STALE", cmp.Or(unit, "/opt/daemon")).Replace(c.subject)
		r := weak[c.rule]
		if s := r.about(subject, "fail"); r.verdict != "fail" || s == nil || s.severity != c.severity || !strings.Contains(s.reasons, c.says) {
			t.Errorf("%s, %s in the weak world: %+v", c.rule, subject, r)
		}
	}
	delete(weak, "ssh.live-offers-password") // the user's configuration does not turn it on
	nothingPasses(t, weak, judgeAsUser(t, "/", liveConfig))
	// What is declared and listens is fine, what is declared and does not is not asked for.
	for _, s := range weak["net.unlisted"].subjects {
		if strings.Contains(s.name, "/443 ") || strings.Contains(s.name, "/8443 ") || strings.Contains(s.name, "/9000 ") {
			t.Errorf("declared: %+v", s)
		}
	}
	// Asked about nobody in particular, the daemon's files say no. It takes passwords all the same.
	if out, err := exec.Command(sshdBinary, "-T").Output(); err != nil || !strings.Contains(string(out), "\npasswordauthentication no\n") {
		t.Errorf("%v %s", err, out)
	}
	w.end()

	must(t, os.Remove("/etc/ssh/sshd_config.d/10-weak.conf"), os.RemoveAll("/run/systemd"))
	put(t, "/etc/ssh/sshd_config", "PasswordAuthentication no\nPermitRootLogin no\nKbdInteractiveAuthentication no\nUsePAM yes\nAllowUsers root\n")
	put(t, "/root/.ssh/authorized_keys", "restrict "+ed25519Key+" root\n")
	w.kernels(false)
	w.daemon(sshdBinary, 0)
	mended := judgeRoot(t, "/", "services: [{name: ssh, port: 22, class: public}]\n"+probing, o)
	for _, c := range liveTable {
		if r := mended[c.rule]; r.verdict != "pass" {
			t.Errorf("%s in the mended world: %+v", c.rule, r)
		}
	}
	if skipped != "" && !t.Failed() {
		t.Skip("SKIPPED: ", skipped)
	}
}

// kernels makes /boot, with a newer kernel than the one that runs or without.
func (w *world) kernels(newer bool) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	must(w.t, err)
	running := strings.TrimSpace(string(release))
	_, rest, _ := strings.Cut(running, ".")
	put(w.t, "/boot/vmlinuz-"+running, "none")
	if next := "/boot/vmlinuz-999." + rest; newer {
		put(w.t, next, "none")
	} else {
		must(w.t, os.RemoveAll(next))
	}
}

// weaken starts what rules must find, and returns the unit of one daemon.
func (w *world) weaken() (unit string) {
	w.kernels(true)
	w.daemon(sshdBinary, 0)
	later := time.Now().Add(time.Hour)
	must(w.t, os.Chtimes("/etc/ssh/sshd_config", later, later))
	for _, l := range [][2]string{{"tcp4", "0.0.0.0:23"}, {"tcp4", "0.0.0.0:443"}, {"tcp4", "0.0.0.0:9000"}, {"tcp6", "[::]:6379"}, {"tcp4", "127.0.0.1:8099"},
		{"udp4", "0.0.0.0:5353"}, {"udp6", "[::]:111"}, {"udp6", "[::1]:8099"}} {
		w.listen(l[0], l[1])
	}
	w.orphan("0.0.0.0:2099")
	own := []string{"-f", "/dev/null", "-h", "/etc/ssh/ssh_host_ed25519_key", "-o", "PidFile=none", "-p"}
	w.daemon("/dev/shm/.x", 0, append(own, "4444")...)
	w.daemon(sshdBinary, syscall.CLONE_NEWNET, append(own, "8022")...)
	deleted := w.daemon("/opt/daemon", 0, append(own, "2023")...)
	must(w.t, os.Remove("/opt/daemon"), os.MkdirAll("/run/systemd/system", 0o755))
	return w.unit(deleted.Process.Pid)
}
