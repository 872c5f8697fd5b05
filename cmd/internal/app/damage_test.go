package app_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/app"
)

// baselined makes a small site with two generations and one pending change.
func baselined(t testing.TB) *site {
	t.Helper()
	s := newSite(t, "")
	s.state = filepath.Join(memory(t), "state")
	s.many(60)
	s.want(s.init(), 0)
	s.write("d00/changing", "one")
	s.want(s.check(), 1)
	s.want(s.accept(), 0)
	s.write("d00/changing", "two")
	return s
}

func (s *site) db(n int) string {
	return filepath.Join(s.state, "baseline", fmt.Sprintf("%010d.db", n))
}

func (s *site) statement(n int) string {
	return filepath.Join(s.state, "baseline", fmt.Sprintf("%010d.statement", n))
}

func (s *site) initForce() result {
	return s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.Init(ctx, e, app.InitOptions{Force: true, Output: app.Output{Format: "json"}})
	})
}

func (s *site) hostFile() string { return filepath.Join(s.state, "host") }

func (s *site) read(name string) []byte {
	s.t.Helper()
	b, err := os.ReadFile(name)
	s.must(err)
	return b
}

// put gives a file other bytes, as somebody who may write it.
func (s *site) put(name string, b []byte) {
	s.t.Helper()
	_ = os.Chmod(name, 0o600)
	s.must(os.WriteFile(name, b, 0o600))
}

// refused demands exit 4 and a report that holds nothing that was compared: what
// was scanned without a baseline is not verified, and rules say nothing of Nowhere.
func (s *site) refused(r result, what string) {
	s.t.Helper()
	if r.exit != 4 || r.err == nil {
		s.t.Errorf("%s: want exit 4, got %v", what, r)
		return
	}
	lines := parse(s.t, r.stdout)
	if len(lines) == 0 {
		return // no baseline: there is nothing to report
	}
	tr := trailer(s.t, lines)
	if n := len(lines); n < 3 || lines[0].Type != "header" || len(of(lines, "note"))+len(of(lines, "rule"))+2 != n || tr.Verdict != "untrusted" || tr.Exit != 4 || tr.Complete || tr.Pending != nil {
		s.t.Errorf("%s: the report holds more than a refusal: %v", what, r)
	}
	if tr.count(s.t, "selected") == 0 || tr.count(s.t, "selected") != tr.count(s.t, "unverified") {
		s.t.Errorf("%s: it was not scanned: %v", what, r)
	}
	for _, n := range []string{"verified", "changed", "added", "removed", "renamed"} {
		if tr.count(s.t, n) != 0 {
			s.t.Errorf("%s: a partial result: %v", what, r)
		}
	}
}

// quiet checks without writing to the state folder: many checks in a row
// should not have to make reports.
func quiet(o *app.CheckOptions) { o.NoState = true }

func TestEveryFlippedByte(t *testing.T) {
	onlyPlain(t)
	s := baselined(t)
	for _, tt := range []struct {
		name string
		step int
	}{{s.statement(2), 7}, {s.statement(1), 13}, {s.hostFile(), 3}, {s.db(2), 797}} {
		good := s.read(tt.name)
		for i := 0; i < len(good); i += tt.step {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			s.put(tt.name, bad)
			s.refused(s.check(quiet), fmt.Sprintf("%s: byte %d of %d", filepath.Base(tt.name), i, len(good)))
			if t.Failed() {
				return
			}
		}
		s.put(tt.name, good)
	}
	s.want(s.check(), 1)
}

func TestEveryTruncation(t *testing.T) {
	onlyPlain(t)
	s := baselined(t)
	for _, name := range []string{s.statement(2), s.statement(1), s.hostFile(), s.db(2)} {
		good := s.read(name)
		for n := 0; n < len(good); n += 1 + len(good)/60 {
			if name == s.hostFile() && n == len(good)-1 {
				continue // the id is whole, only the line is not ended
			}
			s.put(name, good[:n])
			s.refused(s.check(quiet), fmt.Sprintf("%s: %d of %d bytes", filepath.Base(name), n, len(good)))
		}
		s.put(name, append(bytes.Clone(good), 0))
		s.refused(s.check(quiet), filepath.Base(name)+": one byte more")
		s.put(name, good)
	}
	s.want(s.check(), 1)
}

func TestWrongBaselines(t *testing.T) {
	s, other := baselined(t), baselined(t)
	for _, tt := range []struct {
		name string
		do   func(s *site)
	}{
		{"empty db", func(s *site) { s.put(s.db(2), nil) }},
		{"empty statement", func(s *site) { s.put(s.statement(2), nil) }},
		{"empty host id", func(s *site) { s.put(s.hostFile(), nil) }},
		{"db of another host", func(s *site) { s.put(s.db(2), s.read(other.db(2))) }},
		{"statement of another host", func(s *site) { s.put(s.statement(2), s.read(other.statement(2))) }},
		{"host id of another host", func(s *site) { s.put(s.hostFile(), s.read(other.hostFile())) }},
		{"generation of another host", func(s *site) {
			s.put(s.db(2), s.read(other.db(2)))
			s.put(s.statement(2), s.read(other.statement(2)))
		}},
		{"all of another host but its id", func(s *site) {
			for n := range 2 {
				s.put(s.db(n+1), s.read(other.db(n+1)))
				s.put(s.statement(n+1), s.read(other.statement(n+1)))
			}
		}},
		{"db of the generation before", func(s *site) { s.put(s.db(2), s.read(s.db(1))) }},
		{"statement of the generation before", func(s *site) { s.put(s.statement(2), s.read(s.statement(1))) }},
		{"swapped", func(s *site) {
			a, b := s.read(s.db(1)), s.read(s.db(2))
			s.put(s.db(1), b)
			s.put(s.db(2), a)
			a, b = s.read(s.statement(1)), s.read(s.statement(2))
			s.put(s.statement(1), b)
			s.put(s.statement(2), a)
		}},
		{"newest db deleted", func(s *site) { s.must(os.Remove(s.db(2))) }},
		{"statement before deleted", func(s *site) { s.must(os.Remove(s.statement(1))) }},
		{"all statements deleted", func(s *site) { s.must(os.Remove(s.statement(1)), os.Remove(s.statement(2))) }},
		{"host id deleted", func(s *site) { s.must(os.Remove(s.hostFile())) }},
		{"db renamed to be newer", func(s *site) {
			s.must(os.Rename(s.db(2), s.db(3)), os.Rename(s.statement(2), s.statement(3)))
		}},
		{"number of generations overflows", func(s *site) {
			s.put(filepath.Join(s.state, "baseline", "9999999999.statement"), s.read(s.statement(2)))
		}},
		{"zeros of the same length", func(s *site) { s.put(s.db(2), make([]byte, len(s.read(s.db(2))))) }},
		{"huge sparse db", func(s *site) { s.put(s.db(2), nil); s.must(os.Truncate(s.db(2), 1<<40)) }},
		{"huge sparse statement", func(s *site) { s.put(s.statement(2), nil); s.must(os.Truncate(s.statement(2), 1<<40)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := s.copyOf(t)
			tt.do(c)
			c.refused(c.check(quiet), "check --no-state")
			c.refused(c.check(), "check")
			if r := c.verify(); r.exit != 4 {
				t.Errorf("baseline verify: %v", r)
			}
			if r := c.accept(); r.exit == 0 {
				t.Errorf("accept: %v", r)
			}
		})
	}
	s.want(s.check(), 1)
}

// Each file of a baseline, and what must not stand in its place: nothing may
// hang, be followed or be read as if it were good.
func TestStrangeObjects(t *testing.T) {
	s := baselined(t)
	kinds := map[string]func(name string) error{
		"directory": func(n string) error { return os.Mkdir(n, 0o700) },
		"fifo":      func(n string) error { return unix.Mkfifo(n, 0o600) },
		"link to the real file": func(n string) error {
			return os.Symlink(filepath.Base(n)+".real", n)
		},
		"link to itself":    func(n string) error { return os.Symlink(filepath.Base(n), n) },
		"link to nowhere":   func(n string) error { return os.Symlink("nowhere", n) },
		"link to /dev/zero": func(n string) error { return os.Symlink("/dev/zero", n) },
		"socket":            func(n string) error { return unix.Mknod(n, unix.S_IFSOCK|0o600, 0) },
	}
	files := map[string]func(*site) string{
		"db": func(s *site) string { return s.db(2) }, "statement": func(s *site) string { return s.statement(2) },
		"statement before": func(s *site) string { return s.statement(1) }, "host": (*site).hostFile,
	}
	for file, name := range files {
		for kind, create := range kinds {
			t.Run(file+" as "+kind, func(t *testing.T) {
				c := s.copyOf(t)
				c.must(os.Rename(name(c), name(c)+".real"), create(name(c)))
				within(t, func() {
					c.refused(c.check(quiet), "check --no-state")
					c.refused(c.check(), "check")
				})
			})
		}
	}
	for _, file := range []string{"lock", "reports", "pending", "baseline"} {
		for kind, create := range kinds {
			t.Run(file+" as "+kind, func(t *testing.T) {
				c := s.copyOf(t)
				p := filepath.Join(c.state, file)
				c.must(os.RemoveAll(p), create(p))
				within(t, func() {
					r := c.check()
					if file == "lock" && r.exit == 1 && kind == "socket" || kind == "directory" && (file == "reports" || file == "pending") {
						return // an empty folder, as on the first day
					}
					if r.exit == 0 || r.exit == 1 || r.exit == 130 || r.err == nil {
						t.Errorf("check: %v", r)
					}
					if len(of(parse(t, r.stdout), "finding")) > 0 {
						t.Errorf("findings in a report that failed: %v", r)
					}
				})
			})
		}
	}
}

// within runs do and fails the test if it hangs.
func within(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("hangs")
	}
}

// copyOf is the same site with a copy of the state folder.
func (s *site) copyOf(t testing.TB) *site {
	t.Helper()
	c := *s
	c.t, c.state = t, filepath.Join(memory(t), "state")
	err := filepath.WalkDir(s.state, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := c.state + strings.TrimPrefix(p, s.state)
		if d.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		return os.WriteFile(to, s.read(p), 0o600)
	})
	c.must(err)
	return &c
}

func TestNoBaseline(t *testing.T) {
	s := newSite(t, "")
	s.write("a", "1")
	for _, made := range []string{"", "baseline", "reports"} {
		if made != "" {
			s.must(os.MkdirAll(filepath.Join(s.state, made), 0o700))
		}
		for what, r := range map[string]result{"check": s.check(), "check --no-state": s.check(quiet), "verify": s.verify()} {
			if r.exit != 4 || !strings.Contains(fmt.Sprint(r.err), "no baseline: run intact init") || len(r.stdout) > 0 {
				t.Errorf("%s, folder %q: %v", what, made, r)
			}
		}
		if r := s.accept(); r.exit == 0 || r.err == nil {
			t.Errorf("accept, folder %q: %v", made, r)
		}
	}
	if _, err := os.Stat(filepath.Join(s.state, "baseline", "0000000001.db")); err == nil {
		t.Error("a check made a baseline")
	}
}

func TestLockHeld(t *testing.T) {
	s := newSite(t, "")
	s.write("a", "1")
	s.want(s.init(), 0)
	s.write("a", "22")
	s.want(s.check(), 1)
	// Another process holds the lock while it waits for a name to be given.
	f, err := os.OpenFile(filepath.Join(s.state, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	s.must(err, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	defer f.Close()
	_, err = fmt.Fprintf(f, "4711\n\"init\"\n2030-01-02T03:04:05Z\n")
	s.must(err)
	long := time.Unix(1_000_000_000, 0)
	s.must(os.Chtimes(s.state, long, long))
	for what, r := range map[string]result{"check": s.check(), "accept": s.accept(), "init --force": s.initForce()} {
		if text := fmt.Sprint(r.err); r.exit != 3 || !strings.Contains(text, "4711") || !strings.Contains(text, "init") {
			t.Errorf("%s: want exit 3 with process and command, got %v", what, r)
		}
	}
	if st, err := os.Stat(s.state); err != nil || !st.ModTime().Equal(long) {
		t.Errorf("the state folder of another was written to: %v", err)
	}
	s.want(s.check(quiet), 1)
	for what, text := range map[string]string{"empty": "", "binary": "\x00\xff\n\n\n", "hostile": "1\n\"\\x1b[31m\\nx\"\n2030-01-02T03:04:05Z\n", "long": strings.Repeat("9", 9000)} {
		s.must(f.Truncate(0))
		_, err := f.WriteAt([]byte(text), 0)
		s.must(err)
		if r := s.check(); r.exit != 3 || strings.ContainsAny(fmt.Sprint(r.err), "\x1b\x00") {
			t.Errorf("lock file %s: %v", what, r)
		}
	}
	s.must(f.Close())
	s.want(s.check(), 1)
}

// The real program while another one really works.
func TestLockHeldByProcess(t *testing.T) {
	s := newSite(t, "")
	s.many(400)
	s.want(s.init(), 0)
	s.write("big", strings.Repeat("x", 3<<20))
	c := s.child("check", "--max-rate", "1M", "--format", "json")
	s.must(c.Start())
	for { // until it has written who it is
		if b := s.read(filepath.Join(s.state, "lock")); bytes.Contains(b, fmt.Appendf(nil, "%d\n", c.Process.Pid)) {
			break
		}
		if err := c.Process.Signal(syscall.Signal(0)); err != nil {
			t.Fatal("the other process ended")
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
	r := s.check()
	if text := fmt.Sprint(r.err); r.exit != 3 || !strings.Contains(text, fmt.Sprint(c.Process.Pid)) || !strings.Contains(text, "check") {
		t.Errorf("want exit 3 with process and command, got %v", r)
	}
	s.must(c.Process.Kill())
	_ = c.Wait()
	s.want(s.check(), 1)
	if l := s.temps(); len(l) > 0 {
		t.Errorf("left behind: %q", l)
	}
}

func TestReadOnlyState(t *testing.T) {
	needRoot(t)
	s := newSite(t, "")
	s.many(30)
	s.smallState("2m")
	s.want(s.init(), 0)
	s.write("d00/changing", "new")
	if err := unix.Mount("intact-test", s.state, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("cannot remount read-only: %v", err)
	}
	r := s.want(s.check(quiet), 1)
	if n := len(of(parse(t, r.stdout), "finding")); n != 1 {
		t.Errorf("%d findings, want 1", n)
	}
	if r := s.check(); r.exit != 2 || !strings.Contains(fmt.Sprint(r.err), "read-only") {
		t.Errorf("check on a read-only state folder: %v", r)
	}
	if r := s.verify(); r.exit != 0 {
		t.Errorf("verify on a read-only state folder: %v", r)
	}
	if r := s.initForce(); r.exit != 2 || r.err == nil {
		t.Errorf("init on a read-only state folder: %v", r)
	}
}

// An ordinary user without rights to the state folder.
func TestStateOfAnother(t *testing.T) {
	needRoot(t)
	s := newSite(t, "")
	s.state = filepath.Join(memory(t), "state")
	s.write("a", "1")
	s.want(s.init(), 0)
	for p := s.tree; p != "/tmp" && p != "/"; p = filepath.Dir(p) {
		s.must(os.Chmod(p, 0o755))
	}
	s.must(os.Chmod(filepath.Dir(s.state), 0o755), os.Chmod(s.config, 0o644))
	bin := filepath.Join(filepath.Dir(s.state), "intact")
	self, err := os.Executable()
	s.must(err, os.WriteFile(bin, s.read(self), 0o755))
	user := func(args ...string) (int, string) {
		c := exec.Command(bin, append([]string{"--config", s.config, "--state", s.state}, args...)...)
		c.Env = []string{childEnv + "=site", "HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := c.CombinedOutput()
		if _, ok := err.(*exec.ExitError); err != nil && !ok {
			t.Skipf("cannot run as another user: %v", err)
		}
		return c.ProcessState.ExitCode(), string(out)
	}
	for _, mode := range []fs.FileMode{0o700, 0o755, 0o000} {
		s.must(os.Chmod(s.state, mode))
		for _, args := range [][]string{{"check"}, {"init"}, {"init", "--force"}, {"accept", "--all", "--reason", "x"}} {
			code, out := user(args...)
			if code != 2 || !strings.Contains(out, "permission denied") {
				t.Errorf("mode %o, %q: want exit 2 with the reason, got %d: %s", mode, args, code, out)
			}
		}
	}
	// A folder that cannot even be made.
	s.state = filepath.Join(filepath.Dir(s.state), "none", "state")
	if code, out := user("init"); code != 2 || !strings.Contains(out, "permission denied") {
		t.Errorf("init in a folder that cannot be made: got %d: %s", code, out)
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}
