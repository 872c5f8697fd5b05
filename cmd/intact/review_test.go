package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"intact/report"
)

// desk is a host with findings, and a terminal to review them on.
type desk struct {
	t       *testing.T
	dir     string
	root    string // that is scanned, by --root
	sockets string
	tmux    []string // before a command of it
}

const deskPolicy = "version: 1\npaths: [{path: /, attributes: config}, {path: /usr/bin, attributes: binary}]\n"

// emptyDesk is a desk without a host.
func emptyDesk(t *testing.T, root, policy string) *desk {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed: reviews on a terminal are not tested")
	}
	d := &desk{t: t, dir: t.TempDir(), root: root}
	// The name of a socket must be short.
	sockets, err := os.MkdirTemp("", "tm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	d.sockets = sockets
	d.write("policy.yaml", policy)
	return d
}

// newDesk makes a baseline of a host below dir, changes the host and checks it.
func newDesk(t *testing.T, change func(d *desk)) *desk {
	t.Helper()
	d := emptyDesk(t, "host", deskPolicy)
	for i := range 30 {
		d.write(fmt.Sprintf("host/opt/app/a/%02d", i), "old")
	}
	d.write("host/opt/app/b/x", "old")
	d.write("host/usr/bin/ls", "old")
	d.write("host/etc/motd", "old")
	d.write("host/etc/cron.d/job", "old")
	d.intact(0, "init", "--quiet")
	change(d)
	d.intact(1, "check")
	return d
}

// usual changes three groups: /etc/motd, /opt/app and /usr/bin/ls.
func usual(d *desk) {
	d.write("host/etc/motd", "new")
	for i := range 30 {
		d.write(fmt.Sprintf("host/opt/app/a/%02d", i), "new")
	}
	d.write("host/opt/app/b/x", "new")
	d.write("host/usr/bin/ls", "new")
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	name = filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) read(name string) string {
	b, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// intact runs the program without a terminal.
func (d *desk) intact(code int, args ...string) string {
	d.t.Helper()
	c := exec.Command("intact", append([]string{"--config", "policy.yaml", "--state", "state", "--root", d.root}, args...)...)
	c.Dir = d.dir
	if d.root == "/" {
		c.Env = append(os.Environ(), nowhereVar+"=1")
	}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	c.Run()
	if got := c.ProcessState.ExitCode(); got != code {
		d.t.Fatalf("intact %q: exit %d, want %d\n%s%s", args, got, code, out.String(), errs.String())
	}
	return out.String()
}

// pending checks again, and returns what is found as severity, change, path and
// whether it is new.
func (d *desk) pending(code int) (list []string) {
	d.t.Helper()
	for rec, err := range report.Read(strings.NewReader(d.intact(code, "check", "--format", "json"))) {
		if err != nil {
			d.t.Fatal(err)
		}
		if f := rec.Finding; f != nil {
			list = append(list, fmt.Sprintf("%s %s %s %v", f.Severity, f.Change, f.Subject.Path, f.New))
		}
	}
	return list
}

// review begins a review on a new terminal. The first line of stty is the size of
// the screen, which a test may change.
func (d *desk) review(width, height int, env, args string) {
	d.t.Helper()
	// A server of its own for each: one that is ending takes no new session.
	name, err := os.MkdirTemp(d.sockets, "")
	if err != nil {
		d.t.Fatal(err)
	}
	d.tmux = []string{"-u", "-S", name + "/s", "-f", "/dev/null"}
	script := fmt.Sprintf(`trap : INT; cd %s && stty -a | sed 1d >before && %s intact --config policy.yaml --state state --root %s accept %s; echo "ended with $?"; stty -a | sed 1d >after; echo >ended; exec cat`,
		report.ShellQuote(d.dir), env, d.root, args)
	os.Remove(filepath.Join(d.dir, "ended"))
	if out, err := d.run("new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), "sh", "-c", script); err != nil {
		d.t.Fatalf("tmux: %v\n%s", err, out)
	}
	server := slices.Clone(d.tmux)
	d.t.Cleanup(func() { exec.Command("tmux", append(server, "kill-server")...).Run() })
}

func (d *desk) run(args ...string) (string, error) {
	c := exec.Command("tmux", append(slices.Clone(d.tmux), args...)...)
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=", "SHELL=/bin/sh")
	out, err := c.CombinedOutput()
	return string(out), err
}

// press sends keys, by the names that tmux has for them.
func (d *desk) press(keys ...string) {
	d.t.Helper()
	if out, err := d.run(append([]string{"send-keys"}, keys...)...); err != nil {
		d.t.Fatalf("tmux: %v\n%s", err, out)
	}
}

// see waits until the screen shows all of want.
func (d *desk) see(want ...string) string {
	d.t.Helper()
	var screen string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		screen, _ = d.run("capture-pane", "-p")
		if !slices.ContainsFunc(want, func(s string) bool { return !strings.Contains(screen, s) }) {
			return screen
		}
	}
	d.t.Fatalf("the screen does not show %q:\n%s", want, screen)
	return ""
}

// ended waits for the end of a review, and holds the terminal against what it
// was.
func (d *desk) ended(code int) string {
	d.t.Helper()
	screen := d.see(fmt.Sprintf("ended with %d", code))
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if _, err := os.Stat(filepath.Join(d.dir, "ended")); err == nil {
			break
		}
	}
	if before, after := d.read("before"), d.read("after"); before != after {
		d.t.Errorf("the terminal is not as it was:\n%s\n%s", before, after)
	}
	return screen
}

// baseline lists the files of the state folder that a review must leave alone.
func (d *desk) baseline() (s string) {
	for _, dir := range []string{"baseline", "reports", "pending"} {
		list, err := os.ReadDir(filepath.Join(d.dir, "state", dir))
		if err != nil {
			d.t.Fatal(err)
		}
		for _, e := range list {
			s += e.Name() + " "
			if !e.IsDir() {
				b, _ := os.ReadFile(filepath.Join(d.dir, "state", dir, e.Name()))
				s += fmt.Sprintln(len(b))
			}
		}
	}
	return s
}

func (d *desk) wants(got, want []string) {
	d.t.Helper()
	if !slices.Equal(got, want) {
		d.t.Errorf("got  %q\nwant %q", got, want)
	}
}

// One group of three is accepted; the others are still there in the next check
// and the next review, with their time.
func TestReviewOneOfThree(t *testing.T) {
	d := newDesk(t, usual)
	d.review(80, 24, "", "")
	d.see("0 of 3 answered", "HIGH      /usr/bin/ls", "MEDIUM    /etc/motd", "MEDIUM    /opt/app", "31 changed", "new in this report")
	d.press("n")
	d.see("1 of 3 answered", "> ", "/etc/motd\n  MEDIUM, changed")
	d.press("n")
	d.see("31 changes: 31 changed; 31 medium")
	d.press("y")
	d.see("To be accepted: 31 changes", "Stays pending:  2 changes", "Accept 31 changes? [y/N]")
	d.press("y")
	d.see("Why?")
	d.press("ticket 17", "Enter")
	d.ended(0)
	if list := d.intact(0, "baseline", "list"); !strings.Contains(list, "ticket 17") {
		t.Errorf("no generation with the reason:\n%s", list)
	}
	d.wants(d.pending(1), []string{"medium changed /etc/motd false", "high changed /usr/bin/ls false"})
	d.review(80, 24, "", "--reason 'ticket 18'")
	d.see("0 of 2 answered", "pending   since 20")
	d.press("y")
	d.see("1 of 2 answered")
	d.press("y")
	d.see("Accept 2 changes? [y/N]")
	d.press("y")
	d.ended(0)
	d.wants(d.pending(0), nil)
}

func TestReviewSplit(t *testing.T) {
	d := newDesk(t, usual)
	d.review(80, 24, "", "--reason x")
	d.see("0 of 3 answered")
	d.press("/")
	d.press("/opt/**/x", "Enter")
	d.see(">   MEDIUM    /opt/app")
	d.press("s")
	d.see("0 of 4 answered", "/opt/app/a ", "/opt/app/b/x")
	d.press("/", "b/x", "Enter")
	d.see(">   MEDIUM    /opt/app/b/x")
	d.press("y")
	d.see("1 of 4 answered")
	d.press("f")
	d.see("Accept 1 change? [y/N]", "y /opt/app/b/x")
	d.press("y")
	d.ended(0)
	if got := d.pending(1); len(got) != 32 || slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "/opt/app/b") }) {
		t.Errorf("pending: %q", got)
	}
}

func TestReviewDetailsAndUndo(t *testing.T) {
	d := newDesk(t, usual)
	d.review(80, 24, "", "")
	d.see("0 of 3 answered")
	d.press("d")
	d.see("HIGH      changed   /usr/bin/ls", "why           a command has other bytes", "ATT&CK T1554", "the end")
	d.press("q")
	d.see("0 of 3 answered")
	d.press("End", "d")
	d.see("/opt/app/a/00", "space next page")
	d.press("Space")
	d.see("/opt/app/a/02")
	d.press("b")
	d.see("/opt/app/a/00")
	d.press("q", "y")
	d.see("1 of 3 answered", "y MEDIUM    /opt/app")
	d.press("u")
	d.see("0 of 3 answered", "  MEDIUM    /opt/app")
	d.press("u")
	d.see("nothing to undo")
	d.press("?")
	d.see("undo the last answer")
	d.press("q", "f")
	d.see("Nothing is taken.")
	d.press("y")
	d.see("nothing is taken: q ends the review")
	d.press("q")
	d.see("accept nothing? [y/N]")
	d.press("y")
	d.ended(130)
}

func TestReviewCritical(t *testing.T) {
	d := newDesk(t, func(d *desk) {
		d.write("host/etc/motd", "new")
		d.write("host/etc/ld.so.preload", "/tmp/x.so")
	})
	d.review(80, 24, "NO_COLOR=1", "--reason x")
	d.see("CRITICAL  /etc", "y takes no critical finding")
	d.press("y")
	d.see("1 critical finding not taken", ">   CRITICAL  /etc/ld.so.preload", "y MEDIUM    /etc/motd", "is loaded into every program")
	d.press("y")
	d.see("Type yes to take it:")
	d.press("y", "Enter")
	d.see("not taken", "1 of 3 answered")
	d.press("n")
	d.see(">   CRITICAL  preload", "2 of 3 answered")
	d.press("n")
	d.see("Accept 1 change?")
	d.press("y")
	d.ended(0)
	d.wants(d.pending(1), []string{"critical added /etc/ld.so.preload false", "critical added  false"})
	d.review(80, 24, "", "--reason x")
	d.see("0 of 2 answered")
	d.press("y")
	d.see("Type yes to take it:")
	d.press("yes", "Enter")
	d.see("1 of 2 answered")
	d.press("y")
	d.see("Type yes to take it:")
	d.press("yes", "Enter")
	d.see("Accept 2 changes?")
	d.press("y")
	d.ended(0)
	d.wants(d.pending(0), nil)
}

// However a review is left before its end, nothing is written.
func TestReviewLeft(t *testing.T) {
	d := newDesk(t, usual)
	was := d.baseline()
	for _, c := range []struct {
		name, env, args string
		keys            []string
		see             string
		code            int
	}{
		{"quit", "", "", []string{"y", "q", "y"}, "nothing was accepted", 130},
		{"interrupt", "", "", []string{"y", "C-c"}, "interrupt", 130},
		{"interrupt-details", "", "", []string{"d", "C-c"}, "interrupt", 130},
		{"interrupt-reason", "", "", []string{"y", "f", "y", "why", "C-c"}, "interrupt", 130},
		{"end-of-file", "", "", []string{"y", "C-d"}, "nothing was accepted", 130},
		{"dry-run", "", "--dry-run", []string{"y", "f", "y"}, "changed\t/usr/bin/ls", 0},
		{"dumb-interrupt", "TERM=dumb", "", []string{"y", "Enter", "C-c"}, "interrupt", 130},
		{"dumb-end-of-file", "TERM=dumb", "", []string{"y", "Enter", "C-d"}, "nothing was accepted", 130},
		{"no-suspend", "", "", []string{"C-z", "C-\\", "q", "y"}, "nothing was accepted", 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &desk{t: t, dir: d.dir, root: d.root, sockets: d.sockets}
			d.review(80, 24, c.env, c.args)
			d.see("/usr/bin/ls")
			d.press(c.keys...)
			screen := d.ended(c.code)
			if join := strings.NewReplacer(" ", "", "\n", "", "\t", ""); !strings.Contains(join.Replace(screen), join.Replace(c.see)) {
				t.Errorf("no %q on the screen:\n%s", c.see, screen)
			}
			if d.baseline() != was {
				t.Errorf("the state folder was written to:\n%s\n%s", was, d.baseline())
			}
		})
	}
}

// Names come escaped and cut, on screens of any size.
func TestReviewHostileNames(t *testing.T) {
	d := newDesk(t, func(d *desk) {
		d.write("host/etc/cron.d/\x1b[31mred\x1b]0;x\a", "x")
		d.write("host/etc/cron.d/new\nline\r\u202etxt", "x")
		d.write("host/etc/cron.d/\xff\xfe", "x")
		d.write("host/etc/cron.d/"+strings.Repeat("long", 60), "x")
		d.write("host/etc/cron.d/日本語"+strings.Repeat("語", 70), "x")
	})
	d.review(80, 24, "", "")
	d.see("0 of 1 answered", "5 added")
	d.press("s")
	screen := d.see("0 of 5 answered", `\x1b[31mred\x1b]0;x\x07`, `new\nline\r\u202etxt`, `\xff\xfe`, "longlong", "日本語")
	lines := strings.Split(strings.TrimRight(screen, "\n"), "\n")
	if len(lines) > 24 || !strings.HasPrefix(lines[0], "accept: report ") || !strings.HasSuffix(lines[len(lines)-1], "? help") {
		t.Errorf("the screen is torn:\n%s", screen)
	}
	for i := range 5 {
		if l := lines[2+i]; !strings.Contains(l, "HIGH") || !strings.HasSuffix(l, "1 added") {
			t.Errorf("row %d: %q", i, l)
		}
	}
	for _, size := range []string{"50x12", "132x40", "40x8"} {
		w, h, _ := strings.Cut(size, "x")
		if out, err := d.run("resize-window", "-x", w, "-y", h); err != nil {
			t.Fatalf("tmux: %v\n%s", err, out)
		}
		d.press("d")
		d.see("q to the groups", "added     /etc/cron.d/")
		d.press("q")
		d.see("HIGH, added", "?")
	}
	d.press("q", "y")
	d.ended(130)
}

// A terminal that can do nothing is asked line by line.
func TestReviewDumb(t *testing.T) {
	d := newDesk(t, usual)
	d.review(80, 50, "TERM=dumb", "")
	d.see("/usr/bin/ls", "Take? ")
	d.press("d", "Enter")
	d.see("a command has other bytes", "the end")
	d.press("q", "Enter")
	d.press("yes", "Enter") // the rest of a line is no answer
	d.see("/etc/motd\n")
	d.press("/motd", "Enter")
	d.press("Enter")
	d.see("31 changes")
	d.press("f", "Enter")
	d.see("Accept 1 change?")
	d.press("y", "Enter")
	d.see("Why?")
	d.press("by hand", "Enter")
	screen := d.ended(0)
	if strings.Contains(screen, "\x1b") {
		t.Errorf("a terminal that can do nothing was sent escapes:\n%q", screen)
	}
	if got := d.pending(1); len(got) != 32 {
		t.Errorf("pending: %q", got)
	}
}

// A path of the policy that became a link is a row: a group of its own.
func TestReviewRows(t *testing.T) {
	d := newDesk(t, func(d *desk) {
		d.write("host/etc/motd", "new")
		host := filepath.Join(d.dir, "host")
		if err := os.Rename(host+"/usr/bin", host+"/usr/sbin"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("sbin", host+"/usr/bin"); err != nil {
			t.Fatal(err)
		}
	})
	d.review(80, 24, "", "--reason x")
	d.see("/usr/bin, links of the policy")
	d.press("End", "Home", "Down")
	d.see("\n/usr/bin, links of the policy")
	d.press("d")
	d.see("a path of the policy has become a link")
	d.press("q", "y", "f")
	d.see("Accept 1 change?")
	d.press("y")
	d.ended(0)
	if got := d.intact(0, "baseline", "export"); !strings.Contains(got, `"alias"`) {
		t.Errorf("the link is not in the baseline:\n%s", got)
	}
}

// On the live host: a mount is a group, intact's own files want a yes, and what
// the mount hides cannot be accepted.
func TestReviewMountAndSelf(t *testing.T) {
	if !mountable() {
		t.Skip("nothing can be mounted here: reviews of mounts are not tested")
	}
	d := emptyDesk(t, "/", "")
	live := filepath.Join(d.dir, "live")
	d.write("policy.yaml", fmt.Sprintf("version: 1\npaths: [{path: %q, attributes: config}]\n", live))
	d.write("live/hidden/x", "old")
	d.write("live/etc/motd", "old")
	d.intact(0, "init", "--quiet")
	hidden := filepath.Join(live, "hidden")
	if err := syscall.Mount("scratch", hidden, "tmpfs", 0, "size=1m,mode=0755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(hidden, syscall.MNT_DETACH|umountNoFollow) })
	d.write("policy.yaml", d.read("policy.yaml")+"# more\n")
	d.intact(1, "check")
	d.review(140, 24, "", "--reason x")
	d.see("0 of 3 answered", ">   CRITICAL  "+d.dir+"/policy.yaml, intact itself", "HIGH      "+hidden+", mounts", "lost coverage")
	d.press("d")
	d.see("trust.self", "size")
	d.press("q", "y")
	d.see("Type yes to take it:")
	d.press("yes", "Enter")
	d.see("1 of 3 answered", "\n"+hidden+", mounts", "hides files of the baseline")
	d.press("n")
	d.see("2 of 3 answered", "lost coverage cannot be accepted")
	d.press("y")
	d.see("what could not be read was not verified")
	d.press("n")
	d.see("To be accepted: 1 change", "Stays pending:  2 changes")
	d.press("y")
	d.ended(0)
	for _, f := range d.pending(1) {
		if strings.Contains(f, "policy.yaml") {
			t.Errorf("still pending: %s", f)
		}
	}
}

// A review holds no lock while it asks, and waits for it at the end. What it
// chose is not accepted on top of something else.
func TestReviewBesideOthers(t *testing.T) {
	d := newDesk(t, usual)
	d.review(80, 24, "", "--reason x")
	d.see("0 of 3 answered")
	d.pending(1) // a check runs
	d.press("y", "f")
	d.see("Accept 1 change?")
	lock, err := os.OpenFile(filepath.Join(d.dir, "state/lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	d.press("y")
	d.see("waiting, Ctrl-C gives up")
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	d.ended(0)
	if got := d.pending(1); len(got) != 32 {
		t.Errorf("pending: %q", got)
	}

	d.review(80, 24, "", "--reason x")
	d.see("0 of 2 answered")
	d.intact(0, "accept", "--path", "/opt/**", "--reason", "beside")
	d.press("y", "f")
	d.see("Accept 1 change?")
	was := d.baseline()
	d.press("y")
	d.see("something else was")
	d.ended(2)
	if d.baseline() != was {
		t.Error("the state folder was written to")
	}
}

// What a manifest explains is one group, wherever it is, apart from what it does
// not explain beside it.
func TestReviewExplained(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is missing: openssh-client")
	}
	d := newDesk(t, func(d *desk) {
		run := func(command string) {
			c := exec.Command("sh", "-c", command)
			c.Dir = d.dir
			if out, err := c.CombinedOutput(); err != nil {
				d.t.Fatalf("%s: %v\n%s", command, err, out)
			}
		}
		run(`ssh-keygen -q -t ed25519 -N '' -C ci -f ci && echo "ci@example namespaces=\"intact-expect@v1\" $(cat ci.pub)" >signers && echo "signing: {trusted_signers: $PWD/signers}" >>policy.yaml`)
		usual(d)
		run("intact expect --make host/opt/app --prefix /opt/app --label App --output app && intact expect --make host/usr/bin --prefix /usr/bin --label App --output bin")
		run("for m in app bin; do ssh-keygen -q -Y sign -f ci -n intact-expect@v1 $m; done")
		d.intact(0, "expect", "app", "bin")
		d.write("host/opt/app/a/00", "evil")
	})
	d.review(120, 40, "", "--reason x")
	d.see("0 of 3 answered", "App (signed)", "31 changed", "/opt/app/a/00", "/etc/motd")
	d.press("n")
	d.see("1 of 3 answered")
	d.press("n")
	d.see("2 of 3 answered", ">   INFO      App (signed)")
	d.press("y")
	d.see("Accept 31 changes? [y/N]")
	d.press("y")
	d.ended(0)
	d.wants(d.pending(1), []string{"medium changed /etc/motd false", "medium changed /opt/app/a/00 false"})
}
