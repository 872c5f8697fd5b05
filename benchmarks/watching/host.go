// Package watching runs intact watch on trees that it makes: random changes until
// what the watcher reported is held against a check, and figures of how fast it is
// and what it costs.
package watching

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Host is a root with one hot folder, and a state folder for it.
type Host struct {
	Intact  string // the binary
	Dir     string // holds all that is made; empty at first
	Backend string // of intact watch; "" for its default
}

// Root is the scanned root.
func (h *Host) Root() string { return filepath.Join(h.Dir, "root") }

// Hot is the folder that is watched.
func (h *Host) Hot() string { return filepath.Join(h.Root(), "hot") }

// Out is a folder of the root, on the same file system, that nobody looks at.
func (h *Host) Out() string { return filepath.Join(h.Root(), "out") }

func (h *Host) state() string { return filepath.Join(h.Dir, "state") }

// Prepare makes the folders and the policy.
func (h *Host) Prepare() error {
	for _, d := range []string{h.Hot(), h.Out()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	policy := "version: 1\npaths: [{path: /hot, attributes: config, hot: true}]\n"
	return os.WriteFile(h.config(), []byte(policy), 0o600)
}

func (h *Host) config() string { return filepath.Join(h.Dir, "policy.yaml") }

func (h *Host) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, h.Intact, append([]string{"--config", h.config(), "--state", h.state(), "--root", h.Root()}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+h.Dir)
	return cmd
}

// Init takes the baseline.
func (h *Host) Init(ctx context.Context) error {
	_, err := h.run(ctx, 0, "init", "--quiet", "--reason", "start")
	return err
}

// run runs one command that must end with one of the exit codes up to most.
func (h *Host) run(ctx context.Context, most int, args ...string) ([]byte, error) {
	cmd := h.command(ctx, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if e, is := errors.AsType[*exec.ExitError](err); is && e.ExitCode() >= 0 && e.ExitCode() <= most {
		err = nil
	}
	if err != nil {
		return out, fmt.Errorf("intact %s: %w: %s", strings.Join(args, " "), err, errs.Bytes())
	}
	return out, nil
}

// Line is what a line of a report has, as far as it is needed here.
type Line struct {
	Type    string `json:"type"`
	Set     string `json:"set"`
	Subject struct {
		Path string `json:"path"`
		B64  []byte `json:"path_b64"`
	} `json:"subject"`
	Change     string          `json:"change"`
	From       string          `json:"from"`
	Attributes json.RawMessage `json:"attributes"` // of a finding: a list of Attribute
	Links      []string        `json:"links"`      // other names of the file, for which this stands
	Text       string          `json:"text"`
	Pending    string          `json:"pending"`
	Complete   bool            `json:"complete"`
}

// Attribute is one attribute of a finding.
type Attribute struct {
	Name string  `json:"name"`
	New  *string `json:"new"`
}

// Name returns the path of a finding as bytes.
func (l *Line) Name() string {
	if len(l.Subject.B64) > 0 {
		return string(l.Subject.B64)
	}
	return l.Subject.Path
}

// Watcher is a running intact watch.
type Watcher struct {
	cmd   *exec.Cmd
	errs  lines
	ended chan struct{}
	err   error // why it ended; after ended

	mu      sync.Mutex // guards what follows
	reports int
	last    time.Time // when a line came
}

// lines are what a process wrote to stderr.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Watch starts intact watch, and waits until it is ready. tell gets each line of
// its reports as it comes.
func (h *Host) Watch(ctx context.Context, tell func(*Line)) (*Watcher, error) {
	args := []string{"watch", "--format", "json"}
	if h.Backend != "" {
		args = append(args, "--backend", h.Backend)
	}
	w := &Watcher{cmd: h.command(ctx, args...), ended: make(chan struct{}), last: time.Now()}
	w.cmd.Stderr = &w.errs
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(w.ended)
		err := w.read(out, tell)
		if err != nil {
			_ = w.cmd.Process.Kill() // it would wait for who reads
		}
		w.err = errors.Join(err, w.cmd.Wait())
	}()
	for !strings.Contains(w.errs.String(), "ready\n") {
		select {
		case <-w.ended:
			return nil, fmt.Errorf("intact watch: %w: %s", w.err, w.errs.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return w, nil
}

func (w *Watcher) read(out io.Reader, tell func(*Line)) error {
	in := bufio.NewReaderSize(out, 1<<16)
	for {
		text, err := in.ReadBytes('\n')
		if err == io.EOF { // a line that was begun is one of who was killed
			return nil
		}
		if err != nil {
			return err
		}
		var l Line
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("a line of a report: %w", err)
		}
		w.mu.Lock()
		w.last = time.Now()
		if l.Type == "trailer" {
			w.reports++
		}
		w.mu.Unlock()
		tell(&l)
	}
}

// Reports is how many reports it printed.
func (w *Watcher) Reports() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reports
}

// Said is what it wrote to stderr.
func (w *Watcher) Said() string { return w.errs.String() }

// kill ends it as a lack of memory does.
func (w *Watcher) kill() {
	_ = w.cmd.Process.Kill() // it may have ended
	<-w.ended
}

// Stop ends it as an administrator does.
func (w *Watcher) Stop() error {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-w.ended
	if code := w.cmd.ProcessState.ExitCode(); code != 130 {
		return fmt.Errorf("intact watch ended with %v, not 130: %s", w.cmd.ProcessState, w.errs.String())
	}
	return nil
}

// Quiet waits until nothing was printed, and no processor time spent to speak of,
// for that long.
func (w *Watcher) Quiet(ctx context.Context, quiet, most time.Duration) error {
	late := time.Now().Add(most)
	since, spent := time.Now(), w.CPU()
	for time.Now().Before(late) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.ended:
			return fmt.Errorf("intact watch ended: %w: %s", w.err, w.errs.String())
		case <-time.After(100 * time.Millisecond):
		}
		w.mu.Lock()
		last := w.last
		w.mu.Unlock()
		if now := w.CPU(); last.After(since) || now-spent > 50*time.Millisecond {
			since, spent = time.Now(), now
		} else if time.Since(since) >= quiet {
			return nil
		}
	}
	return fmt.Errorf("it is not quiet after %v", most)
}

// tick is the unit of times in /proc/PID/stat.
const tick = time.Second / 100

// CPU is the processor time that it spent, 0 when it cannot be told.
func (w *Watcher) CPU() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * tick
}

// Memory is its resident memory now and at most until now, in bytes.
func (w *Watcher) Memory() (now, most int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = n << 10
		case "VmHWM:":
			most = n << 10
		}
	}
	return now, most
}
