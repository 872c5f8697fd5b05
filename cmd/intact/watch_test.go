package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A script has one watcher at a time:
//
//	watch ARG…           start intact watch --format json, and wait for its line ready
//	watchfew N ARG…      the same in a user namespace that may have N watches
//	seen WANT…           wait for reports with these findings; no others may be in them
//	seenmany N RULE DIR  wait for findings of that rule about N paths below DIR, and no others
//	noted TEXT           wait for a report with a note that has TEXT, and no finding
//	told TEXT            wait until stderr has TEXT
//	reload               send SIGHUP, and wait until it has worked
//	ended CODE           wait until it ends by itself
//	seenmass DIR HOST    see encrypt_test.go
//	unwatch TERM|INT     end it; nothing may be left that no seen took
//
// What seen, seenmany and noted took is in stdout.

// watchPatience bounds each wait.
const watchPatience = time.Minute

// tail is what a process printed so far.
type tail struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.more)
	t.more = make(chan struct{})
	return t.text.Write(b)
}

// take returns the whole reports that are there, and what to wait for until there
// are more.
func (t *tail) take() (string, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := bytes.LastIndex(t.text.Bytes(), []byte(`{"type":"trailer"`))
	if i >= 0 {
		if n := bytes.IndexByte(t.text.Bytes()[i:], '\n'); n >= 0 {
			return string(t.text.Next(i + n + 1)), t.more
		}
	}
	return "", t.more
}

func (t *tail) all() (string, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String(), t.more
}

// watcher is a running intact watch.
type watcher struct {
	cmd       *exec.Cmd
	out, errs *tail
	ended     chan struct{}
	told      map[string]string // values of each finding that was taken, by what describes it
}

// again reports whether a finding was taken before with other values: a look may
// have come between the making of a file and the writing of it.
func (w *watcher) again(ts *testscript.TestScript, r record) bool {
	key := strings.Join(describe(ts, r), " ")
	now := fmt.Sprint(r.Attributes)
	before, known := w.told[key]
	w.told[key] = now
	return known && before != now
}

// watchers are those of the scripts that run now.
type watchers struct {
	mu sync.Mutex
	by map[*testscript.TestScript]*watcher
}

func watchCommands() map[string]func(*testscript.TestScript, []string) {
	all := &watchers{by: map[*testscript.TestScript]*watcher{}}
	own := map[string]func(*testscript.TestScript, []string){
		"watch": func(ts *testscript.TestScript, args []string) {
			all.start(ts, intactCmd(ts, append([]string{"watch", "--format=json"}, args...)))
		},
		"watchfew": func(ts *testscript.TestScript, args []string) {
			cmd := intactCmd(ts, append([]string{"watch", "--format=json"}, args[1:]...))
			sh := exec.Command("/bin/sh", append([]string{"-c", `echo "$0" > /proc/sys/user/max_inotify_watches && exec "$@"`, args[0]}, cmd.Args...)...)
			ids := func(id int) []syscall.SysProcIDMap {
				return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
			}
			sh.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids(os.Getuid()), GidMappings: ids(os.Getgid())}
			all.start(ts, sh)
		},
		"seen":     func(ts *testscript.TestScript, args []string) { all.of(ts).seen(ts, args) },
		"seenmany": func(ts *testscript.TestScript, args []string) { all.of(ts).seenMany(ts, args) },
		"seenmass": func(ts *testscript.TestScript, args []string) { all.of(ts).seenMass(ts, args) },
		"noted":    func(ts *testscript.TestScript, args []string) { all.of(ts).noted(ts, args) },
		"told":     func(ts *testscript.TestScript, args []string) { all.of(ts).says(ts, args[0]) },
		"reload": func(ts *testscript.TestScript, _ []string) {
			w := all.of(ts)
			ts.Check(w.cmd.Process.Signal(syscall.SIGHUP))
			w.says(ts, "reloaded\n")
		},
		"ended":   func(ts *testscript.TestScript, args []string) { all.of(ts).endedBy(ts, args) },
		"unwatch": func(ts *testscript.TestScript, args []string) { all.of(ts).end(ts, args) },
	}
	maps.Copy(own, encryptCommands())
	return own
}

func (all *watchers) of(ts *testscript.TestScript) *watcher {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.by[ts] == nil {
		ts.Fatalf("nothing watches")
	}
	return all.by[ts]
}

func (all *watchers) start(ts *testscript.TestScript, cmd *exec.Cmd) {
	w := &watcher{cmd: cmd, out: &tail{more: make(chan struct{})}, errs: &tail{more: make(chan struct{})}, ended: make(chan struct{}), told: map[string]string{}}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), environment(ts), w.out, w.errs
	if s := ts.Getenv("NOTIFY_SOCKET"); s != "" {
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+s)
	}
	ts.Check(cmd.Start())
	go func() {
		_ = cmd.Wait() // the state tells
		close(w.ended)
	}()
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it has ended where all is well
		<-w.ended
	})
	all.mu.Lock()
	all.by[ts] = w
	all.mu.Unlock()
	w.says(ts, "ready\n")
}

// says waits for a line on stderr.
func (w *watcher) says(ts *testscript.TestScript, line string) {
	late := time.After(watchPatience)
	for {
		text, more := w.errs.all()
		if strings.Contains(text, line) {
			return
		}
		w.wait(ts, more, late, "the line "+line)
	}
}

func (w *watcher) wait(ts *testscript.TestScript, more <-chan struct{}, late <-chan time.Time, what string) {
	select {
	case <-more:
	case <-w.ended:
		errs, _ := w.errs.all()
		ts.Fatalf("it ended (%v) before %s: %s", w.cmd.ProcessState, what, errs)
	case <-late:
		errs, _ := w.errs.all()
		ts.Fatalf("no %s: %s", what, errs)
	}
}

// until takes reports until enough is content with all that was taken.
func (w *watcher) until(ts *testscript.TestScript, what string, enough func(list []record) bool) {
	late := time.After(watchPatience)
	var taken strings.Builder
	defer func() { fmt.Fprint(ts.Stdout(), taken.String()) }()
	var list []record
	for !enough(list) {
		text, more := w.out.take()
		if text == "" {
			w.wait(ts, more, late, fmt.Sprintf("%s, only\n%s", what, taken.String()))
			continue
		}
		harmless(ts, "stdout", text)
		taken.WriteString(text)
		for one := range strings.SplitSeq(text, "{\"type\":\"header\"") {
			if one != "" {
				list = append(list, readout(ts, "{\"type\":\"header\""+one, nil)...)
			}
		}
	}
}

func (w *watcher) seen(ts *testscript.TestScript, wants []string) {
	left, judged := slices.Clone(wants), 0
	w.until(ts, fmt.Sprintf("findings %q", wants), func(list []record) bool {
		for ; judged < len(list); judged++ {
			r := list[judged]
			if r.Type != "finding" {
				continue
			}
			got, again := describe(ts, r), w.again(ts, r)
			i := slices.IndexFunc(left, func(want string) bool { return agrees(got, words(want)) })
			if i < 0 && again {
				continue
			}
			if i < 0 {
				ts.Fatalf("not wanted: '%s' besides %q", strings.Join(got, " "), wants)
			}
			left = slices.Delete(left, i, i+1)
		}
		return len(left) == 0
	})
}

func (w *watcher) seenMany(ts *testscript.TestScript, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	paths, judged := map[string]bool{}, 0
	w.until(ts, fmt.Sprintf("findings %q", args), func(list []record) bool {
		for ; judged < len(list); judged++ {
			r := list[judged]
			if r.Type != "finding" {
				continue
			}
			again := w.again(ts, r)
			if r.Rule != args[1] || !strings.HasPrefix(r.Subject.Path, args[2]+"/") || paths[r.Subject.Path] && !again {
				ts.Fatalf("not wanted, or twice: %q", describe(ts, r))
			}
			paths[r.Subject.Path] = true
		}
		return len(paths) == want
	})
}

func (w *watcher) noted(ts *testscript.TestScript, args []string) {
	judged := 0
	w.until(ts, "note "+args[0], func(list []record) bool {
		for ; judged < len(list); judged++ {
			if r := list[judged]; r.Type == "finding" && !w.again(ts, r) {
				ts.Fatalf("not wanted: %q", describe(ts, r))
			}
		}
		return slices.ContainsFunc(list, func(r record) bool { return r.Type == "note" && strings.Contains(r.Text, args[0]) })
	})
}

func (w *watcher) endedBy(ts *testscript.TestScript, args []string) {
	select {
	case <-w.ended:
	case <-time.After(watchPatience):
		ts.Fatalf("it does not end")
	}
	errs, _ := w.errs.all()
	fmt.Fprint(ts.Stderr(), errs)
	out, _ := w.out.take()
	fmt.Fprint(ts.Stdout(), out)
	if got := fmt.Sprint(w.cmd.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("it ended with %s, want %s: %s", got, args[0], errs)
	}
}

func (w *watcher) end(ts *testscript.TestScript, args []string) {
	sig := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT}[args[0]]
	ts.Check(w.cmd.Process.Signal(sig))
	select {
	case <-w.ended:
	case <-time.After(watchPatience):
		ts.Fatalf("it does not end")
	}
	errs, _ := w.errs.all()
	fmt.Fprint(ts.Stderr(), errs)
	harmless(ts, "stderr", errs)
	if got := w.cmd.ProcessState.ExitCode(); got != 130 {
		ts.Fatalf("it ended with %v, want 130: %s", w.cmd.ProcessState, errs)
	}
	rest, _ := w.out.take()
	for one := range strings.SplitSeq(rest, "{\"type\":\"header\"") {
		if one == "" {
			continue
		}
		for _, r := range readout(ts, "{\"type\":\"header\""+one, nil) {
			if r.Type == "finding" && !w.again(ts, r) {
				ts.Fatalf("nobody asked for: %s", rest)
			}
		}
	}
}
