package watch

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/scanner/actor"
	"intact/scanner/entry"
)

// writers is how many processes of each kind the test about who did it runs; with
// INTACT_WHO_WRITERS more of them.
func writers(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("INTACT_WHO_WRITERS"))
	if err != nil {
		return 100
	}
	t.Logf("%d writers", n)
	return n
}

// writer is a shell that writes a file, and what it does then.
type writer struct {
	cmd  *exec.Cmd
	hold io.Closer // it ends when this is closed
	path entry.Path
}

func (r *rig) writer(name string, then string) writer {
	r.t.Helper()
	p := entry.Path("/etc/" + name + "/f")
	must(r.t, os.Mkdir(r.dir+string(p.Dir()), 0o755))
	cmd := exec.Command("/bin/sh", "-c", `echo x > "$1"; `+then, "writer", r.dir+string(p))
	hold, err := cmd.StdinPipe()
	must(r.t, err)
	must(r.t, cmd.Start())
	return writer{cmd, hold, p}
}

// end waits for the hints that the writer is the reason for, and ends it.
func (r *rig) end(list []writer) {
	r.t.Helper()
	var paths []entry.Path
	for _, w := range list {
		paths = append(paths, w.path)
	}
	r.sees(paths...)
	r.until("who", func([]Hint) bool {
		return !slices.ContainsFunc(paths, func(p entry.Path) bool { return len(r.by[p]) == 0 })
	})
	r.clear()
	for _, w := range list {
		w.hold.Close()
		_ = w.cmd.Wait() // whatever it says
	}
}

// named counts the writers that have a name, and fails where it is not theirs.
func (r *rig) named(list []writer, program string) (n int) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range list {
		live := false
		var all []actor.Actor
		for _, b := range r.by[w.path] {
			list, _ := b.Who(w.path)
			all = append(all, list...)
		}
		for _, a := range all {
			if !a.Live && (a.Exe != "" || a.Command != nil || a.Parents != nil) {
				r.t.Errorf("a name of one that is not known: %+v", a)
			}
			if !a.Live {
				continue
			}
			live = true
			if a.PID != w.cmd.Process.Pid || a.Exe != program || !slices.Equal(a.Command, w.cmd.Args[:1:1]) && !slices.Equal(a.Command, w.cmd.Args) || len(a.Parents) > 0 && a.Parents[0].PID != os.Getpid() {
				r.t.Errorf("WRONG: %q was written by %d %q, not by %+v", w.path, w.cmd.Process.Pid, w.cmd.Args, a)
			}
		}
		if live {
			n++
		}
	}
	return n
}

func shell(t *testing.T) string {
	t.Helper()
	p, err := filepath.EvalSymlinks("/bin/sh")
	must(t, err)
	return p
}

// Who is there when the event is read has a name, and nobody has another's.
func TestWho(t *testing.T) {
	r := fanRig(t, hotEtc, "/etc")
	n, sh := writers(t), shell(t)
	const crowd = 20
	for k, c := range []struct {
		name, then string
		all        bool // must have a name
	}{
		{"that stay", "read x", true},
		{"that end", ":", false},
		{"that become another program", "exec cat", false},
	} {
		begin, named, number := time.Now(), 0, 0
		for number < n {
			var list []writer
			for range crowd {
				list = append(list, r.writer(fmt.Sprintf("w%d-%d", k, number), c.then))
				number++
			}
			r.end(list)
			named += r.named(list, sh)
			for _, w := range list {
				must(t, os.RemoveAll(r.dir+string(w.path.Dir())))
			}
		}
		t.Logf("of %d writers %s %d have a name; %v", number, c.name, named, time.Since(begin))
		if c.all && named != number {
			t.Errorf("of %d writers %s %d have a name", number, c.name, named)
		}
	}
}

// The number of a process may be another's by the time that it is read.
func TestWhoReused(t *testing.T) {
	c := newCulprits()
	c.devices = map[uint64]bool{}
	var st unix.Stat_t
	must(t, unix.Stat("/proc/self/exe", &st))
	c.devices[st.Dev] = true
	there, inode := true, uint64(5)
	c.alive = func(int32) bool { return there }
	c.unique = func(int32) uint64 { return inode }
	pid := int32(os.Getpid())
	first := c.of(pid, 3)
	if !first.Live || first.told().Live {
		t.Errorf("live %v; told before the queue was empty %v", first.Live, first.told())
	}
	if again := c.of(pid, 4); again != first {
		t.Error("the same process is read twice")
	}
	inode = 6
	if other := c.of(pid, 4); other == first {
		t.Error("another process of that number is taken for the first")
	}
	c.rest()
	if !first.told().Live {
		t.Error("nothing came meanwhile, and it is not known")
	}
	there = false
	if b := c.of(pid, 4); b.Live || b.Exe != "" {
		t.Errorf("gone, and has a name: %+v", b)
	}
	there = true
	if b := c.of(pid, unix.FAN_NOPIDFD); b.Live {
		t.Errorf("gone before, and has a name: %+v", b)
	}
	b := c.of(pid, 4)
	c.turned(pid)
	c.rest()
	if b.told().Live || b.told().Exe != "" {
		t.Error("another program since, and has a name")
	}
	clear(c.devices)
	if b := c.of(pid, 4); b.Live {
		t.Error("nobody tells of programs there, and it has a name")
	}
}

// Whatever happens, what is remembered is bounded, and that there was more is said.
func TestSuspects(t *testing.T) {
	s := newSuspects()
	long := make([]byte, 1000)
	for i := range 20_000 {
		p := entry.Path(fmt.Sprintf("/etc/%d", i%(2*maxSuspected)))
		s.add(p, &By{Actor: actor.Actor{PID: i, Live: true, Exe: string(long)}}, false)
	}
	if len(s.paths) > maxSuspected || s.bytes > maxByBytes+4096 || !s.dropped {
		t.Errorf("%d paths, %d bytes, dropped %v", len(s.paths), s.bytes, s.dropped)
	}
	s = newSuspects()
	for i := range 10 {
		b := &By{Actor: actor.Actor{PID: i, Live: true}}
		b.state.Store(settled)
		s.add("/etc/f", b, false)
		s.add("/etc/f", b, false)
	}
	s.add("/etc/d", &By{Actor: actor.Actor{PID: 77}}, true)
	b := Batch{who: s}
	if list, more := b.Who("/etc/f"); len(list) != maxByPath || !more {
		t.Errorf("%d, more %v", len(list), more)
	}
	if list, more := b.Who("/etc/d/x/y"); len(list) != 1 || list[0].PID != 77 || more {
		t.Errorf("below what was moved: %+v, %v", list, more)
	}
	if list, _ := b.Who("/etc/f/x"); len(list) != 0 {
		t.Errorf("below what was not moved: %+v", list)
	}
	var again suspects = newSuspects()
	again.merge(s)
	if len(again.paths) != 2 || !again.paths["/etc/f"].more {
		t.Errorf("merged: %+v", again)
	}
}
