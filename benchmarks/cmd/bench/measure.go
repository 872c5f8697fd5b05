package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sample is what one run of one command cost.
type sample struct {
	wall     time.Duration
	cpu      time.Duration // user and system, of the command and the children it waited for
	rss      int64         // bytes, peak of the largest single process
	rssFloor int64         // bytes below which rss cannot be told from the harness itself
	anon     int64         // bytes, highest sampled sum of anonymous memory; 0 when the run was too short
	noise    time.Duration // CPU time that others burnt meanwhile
	baseline int64         // bytes on disk after an init
	timeout  bool          // killed; wall is the limit
}

// meter runs commands one at a time under the same conditions.
type meter struct {
	timeout  time.Duration // of one run
	idleWait time.Duration // longest wait for a quiet machine
	rest     time.Duration // between the change of files and the check
	cold     bool          // drop the page, dentry and inode caches first
	self     string        // this program, for the floor
}

const (
	sampleEvery = 5 * time.Millisecond
	idleStep    = 400 * time.Millisecond
	idleShare   = 0.06 // of all cores' time: below it the machine counts as quiet
)

// command is one run: argv in dir, with stdout in the file NAME.out there and
// stderr beside it.
type command struct {
	name string
	argv []string
	dir  string
	exit int // the status that it must end with
}

func (c command) output() string { return filepath.Join(c.dir, c.name+".out") }

// run measures c. A run that ends in another way than it should is an error
// with the end of its stderr, except for a time-out, which is a result.
func (m meter) run(ctx context.Context, c command) (s sample, err error) {
	out, err := os.Create(c.output())
	if err != nil {
		return s, fmt.Errorf("create output file: %w", err)
	}
	defer out.Close()
	errOut, err := os.Create(c.output() + ".err")
	if err != nil {
		return s, fmt.Errorf("create output file: %w", err)
	}
	defer errOut.Close()
	if err := m.prepare(ctx); err != nil {
		return s, err
	}
	limit, stop := context.WithTimeout(ctx, m.timeout)
	defer stop()
	cmd := exec.CommandContext(limit, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, out, errOut
	// Its own group, so that a pipeline dies as a whole.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	s.rssFloor = statusField("self", "VmHWM:")
	before, start := cpuTimes(), time.Now()
	if err := cmd.Start(); err != nil {
		return s, fmt.Errorf("start %q: %w", c.argv[0], err)
	}
	end := make(chan struct{})
	peak := make(chan int64, 1)
	go func() { peak <- sampleAnon(cmd.Process.Pid, end) }()
	err = cmd.Wait()
	s.wall = time.Since(start)
	close(end)
	s.anon = <-peak
	s.charge(cmd.ProcessState, before)
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	if limit.Err() != nil {
		s.timeout, s.wall = true, m.timeout
		return s, nil
	}
	return s, c.judge(err, cmd.ProcessState, errOut, out)
}

// judge turns what Wait returned into the error of a run.
func (c command) judge(err error, p *os.ProcessState, streams ...*os.File) error {
	var status *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &status):
	case p.ExitCode() == c.exit:
		return nil
	case err == nil:
		err = errors.New("exit status 0")
	}
	if c.exit != 0 {
		err = fmt.Errorf("%w, not %d", err, c.exit)
	}
	return fmt.Errorf("%q: %w%s", strings.Join(c.argv, " "), err, tail(streams...))
}

func (s *sample) charge(p *os.ProcessState, before times) {
	s.cpu = p.UserTime() + p.SystemTime()
	if ru, ok := p.SysUsage().(*syscall.Rusage); ok {
		s.rss = ru.Maxrss * 1024 // Linux counts it in KiB
	}
	s.noise = max(0, cpuTimes().busy-before.busy-s.cpu)
}

// prepare brings the machine to the state in which every run starts.
func (m meter) prepare(ctx context.Context) error {
	if m.cold {
		if err := dropCaches(); err != nil {
			return err
		}
	}
	// The kernel counts the harness's own peak to a child's ru_maxrss, so
	// the harness must be small and forget that it once was not.
	debug.FreeOSMemory()
	// Best effort: without it the floor is higher, and shown.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5\n"), 0)
	for end := time.Now().Add(m.idleWait); time.Now().Before(end); {
		a := cpuTimes()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(idleStep):
		}
		b := cpuTimes()
		if total := b.total - a.total; total > 0 && float64(b.busy-a.busy) < idleShare*float64(total) {
			break
		}
	}
	return nil
}

// dropCaches empties the page cache and those of names and inodes.
func dropCaches() error {
	unix.Sync() // what is dirty is not dropped
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0); err != nil {
		return fmt.Errorf("drop caches (needs root): %w", err)
	}
	return nil
}

// tail returns the last lines of the first stream that has any, for an error.
func tail(streams ...*os.File) string {
	for _, f := range streams {
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil || size == 0 {
			continue
		}
		b := make([]byte, min(size, 600))
		n, err := f.ReadAt(b, size-int64(len(b)))
		if err != nil && !errors.Is(err, io.EOF) {
			continue
		}
		return fmt.Sprintf(": %q", bytes.TrimSpace(b[:n]))
	}
	return ""
}

// times are CPU times of the whole machine since boot, all cores together.
type times struct{ busy, total time.Duration }

// cpuTimes reads the first line of /proc/stat: user nice system idle iowait
// irq softirq steal, in hundredths of a second.
func cpuTimes() (t times) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	fields := strings.Fields(string(line))
	for i, f := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return t
		}
		d := time.Duration(n) * (time.Second / 100)
		t.total += d
		if idle := i == 3 || i == 4; !idle {
			t.busy += d
		}
	}
	return t
}

// sampleAnon returns the highest sum of anonymous memory of pid and its
// descendants until end is closed. Children of other threads than the first of
// a process are not seen; none of the measured tools has any.
func sampleAnon(pid int, end <-chan struct{}) (peak int64) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		peak = max(peak, anonBelow(strconv.Itoa(pid), 0))
		select {
		case <-end:
			return peak
		case <-tick.C:
		}
	}
}

func anonBelow(pid string, depth int) int64 {
	sum := statusField(pid, "RssAnon:")
	if depth > 8 {
		return sum
	}
	b, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return sum // gone, or a kernel that does not list children
	}
	for child := range strings.FieldsSeq(string(b)) {
		sum += anonBelow(child, depth+1)
	}
	return sum
}

// statusField returns a memory field of /proc/PID/status in bytes, 0 if it
// cannot be read: processes end at any moment.
func statusField(pid, field string) int64 {
	b, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	_, rest, ok := bytes.Cut(b, []byte("\n"+field))
	if !ok {
		return 0
	}
	f := bytes.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(string(f[0]), 10, 64)
	if err != nil {
		return 0
	}
	return n * 1024
}
