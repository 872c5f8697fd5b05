package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"intact/cmd/internal/cli"
	"intact/scanner/digest"
)

// The scripts in testdata/script drive the program as a user does. Besides
// the commands of testscript they have these, N being an exit status that must
// come out exactly:
//
//	exitcode N PROGRAM ARG…   run any program
//	run N ARG…                run intact $FLAGS ARG…
//	init N ARG…, check N ARG… the same with --format json, and the report that
//	                          comes out obeys what all reports must obey
//	asuser N ARG…             run intact $USERFLAGS ARG… as an ordinary user, alone on the host unless ALONE=no
//	interrupted SIGNAL FILE ARG…
//	                          run; when FILE is open send SIGNAL; 130 must come out
//	during FILE ARG… -- N ARG…
//	                          the same with SIGTERM, after a run that starts while
//	                          FILE is open and must end with N
//	findings WANT…            the report in stdout has these findings, no others
//	gaps WANT…                and these gaps, no others
//	jsonhas TYPE KEY=VALUE…   a record of it has these values; jsonnot: none has
//	tree OP NAME…             make and change files; see tree_test.go
//	flip FILE OFFSET          invert a byte in place
//	mount KIND ARG… DIR       tmpfs and bind mounts, undone at the end
//	journal OP FILE ARG…      write a file of the systemd journal; see journal_test.go
//	watch ARG…                see watch_test.go for this and what belongs to it
//	listen FILE PROTO ADDR VAR
//	                          a program of that name listens; VAR has the port
//
// "env INTACT_TEST_CLOCK=36h" puts the program's clock ahead. Names in double
// quotes are Go strings, so that they can be any bytes.

const (
	namespaceVar = "INTACT_TEST_NAMESPACE"
	clockVar     = "INTACT_TEST_CLOCK" // how far the program's clock is ahead, as 36h
	toolVar      = "INTACT_TEST_TOOL"  // the binary of the tests and its digest, see toolText
	ordinary     = 65534               // the user of asuser
)

func TestMain(m *testing.M) {
	if where := os.Getenv(listenVar); where != "" {
		listener(where)
		return
	}
	if filepath.Base(os.Args[0]) != "intact" && os.Getenv(namespaceVar) == "" {
		ownNamespace()
	}
	syscall.Umask(0o022)
	if filepath.Base(os.Args[0]) != "intact" {
		if err := os.Setenv(toolVar, toolText()); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, map[string]func(){"intact": func() {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		os.Exit(cli.MainOf(ctx, cli.Known{Now: clock, Tool: toolDigest(), Prepare: prepare}, os.Args, os.Stdin, os.Stdout, os.Stderr))
	}})
}

// clock is the clock of the program in scripts.
func clock() time.Time {
	ahead, _ := time.ParseDuration(os.Getenv(clockVar)) // none: 0
	return time.Now().Add(ahead)
}

// toolText says which file the binary is and what its digest is, so that not each
// of the thousands of processes of the scripts reads it.
func toolText() string {
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return ""
	}
	return selfID() + " " + digest.Sum(b).String()
}

// toolDigest is the digest that the process above said, if that is about the file
// that this process runs; else zero, and it is read.
func toolDigest() (d digest.Digest) {
	id, text, _ := strings.Cut(os.Getenv(toolVar), " ")
	if id != "" && id == selfID() {
		d, _ = digest.Parse(text)
	}
	return d
}

// selfID names the file that this process runs as it is now.
func selfID() string {
	var st syscall.Stat_t
	if err := syscall.Stat("/proc/self/exe", &st); err != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d:%d:%d", st.Dev, st.Ino, st.Size, st.Mtim.Nano())
}

func TestScript(t *testing.T) {
	testscript.Run(t, params("testdata/script"))
}

// TestPending runs the scripts for what is known not to work yet. It fails
// until it does, so it must be asked for.
func TestPending(t *testing.T) {
	if os.Getenv("INTACT_TEST_PENDING") == "" {
		t.Skip("set INTACT_TEST_PENDING to run the scripts for what does not work yet")
	}
	if list, err := filepath.Glob("testdata/script/pending/*.txtar"); err != nil || len(list) == 0 {
		t.Skip("nothing is pending")
	}
	testscript.Run(t, params("testdata/script/pending"))
}

func params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		Setup:               setup,
		Condition:           condition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                commands(),
	}
}

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	plain := func(f func(*testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("this command cannot be negated")
			}
			f(ts, args)
		}
	}
	all := map[string]func(*testscript.TestScript, bool, []string){
		"exitcode":    plain(cmdExitcode),
		"run":         plain(cmdRun),
		"init":        plain(func(ts *testscript.TestScript, args []string) { reported(ts, "init", args) }),
		"check":       plain(func(ts *testscript.TestScript, args []string) { reported(ts, "check", args) }),
		"asuser":      plain(cmdAsUser),
		"interrupted": plain(cmdInterrupted),
		"during":      plain(cmdDuring),
		"findings":    plain(cmdFindings),
		"gaps":        plain(cmdGaps),
		"jsonhas":     plain(func(ts *testscript.TestScript, args []string) { jsonHas(ts, args, true) }),
		"jsonnot":     plain(func(ts *testscript.TestScript, args []string) { jsonHas(ts, args, false) }),
		"tree":        plain(cmdTree),
		"flip":        plain(cmdFlip),
		"forge":       plain(cmdForge),
		"mount":       plain(cmdMount),
		"umount":      plain(cmdUmount),
		"listen":      plain(cmdListen),
		"journal":     plain(cmdJournal),
		"mapped":      plain(cmdMapped),
	}
	for name, f := range watchCommands() {
		all[name] = plain(f)
	}
	return all
}

// setup gives a script a home of its own and a policy that selects nothing
// that exists, so that the one of the machine is never read.
func setup(e *testscript.Env) error {
	program, err := exec.LookPath("intact")
	if err != nil {
		return err
	}
	// The folders above are for the user who runs the tests alone.
	for _, dir := range []string{filepath.Dir(e.WorkDir), filepath.Dir(filepath.Dir(program))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	home := filepath.Join(e.WorkDir, "user")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		if err := os.Chown(home, ordinary, ordinary); err != nil {
			return err
		}
	}
	config := filepath.Join(e.WorkDir, "policy.yaml")
	if _, err := os.Lstat(config); errors.Is(err, os.ErrNotExist) {
		text := "version: 1\npaths: [{path: /nonexistent, attributes: presence}]\n"
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			return err
		}
	}
	flags := "--state=" + filepath.Join(e.WorkDir, "state") + " --config=" + config
	if info, err := os.Stat(filepath.Join(e.WorkDir, "host")); err == nil && info.IsDir() {
		flags += " --root=" + filepath.Join(e.WorkDir, "host")
	} else if name := filepath.Base(e.WorkDir); !strings.HasPrefix(name, "script-posture") && name != "script-services" && name != "script-xdg" {
		e.Setenv(nowhereVar, "1")
	}
	e.Setenv("FLAGS", flags)
	e.Setenv("USERFLAGS", "--state="+filepath.Join(home, "state")+" --config="+config)
	e.Setenv("HOME", home)
	e.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	e.Setenv("XDG_STATE_HOME", filepath.Join(home, "state-home"))
	e.Setenv("TZ", "UTC")
	e.Setenv(toolVar, os.Getenv(toolVar))
	if snippets, err := filepath.Abs("../../packaging"); err == nil {
		e.Setenv("SNIPPETS", snippets)
	}
	e.Setenv("GORACE", os.Getenv("GORACE"))
	return nil
}

func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Getuid() == 0, nil
	case "mount":
		return mountable(), nil
	case "long": // the build server has the time
		return os.Getenv("INTACT_LONG") != "" && !testing.Short(), nil
	case "steady": // quick checks trust files of this file system
		var fs syscall.Statfs_t
		err := syscall.Statfs(os.TempDir(), &fs)
		return slices.Contains([]int64{0xef53, 0x58465342, 0x9123683e, 0xf2f52010}, int64(fs.Type)), err // ext, xfs, btrfs, f2fs
	case "caps", "acl", "flags":
		return features()[name], nil
	}
	return false, fmt.Errorf("there is no condition %q", name)
}

// features are those of the file system that the scripts work on.
var features = sync.OnceValue(func() map[string]bool {
	f := map[string]bool{}
	file, err := os.CreateTemp("", "intact-feature-*")
	if err != nil {
		return f
	}
	defer os.Remove(file.Name())
	defer file.Close()
	f["caps"] = setXattr(file.Name(), "security.capability", capability(1)) == nil
	f["acl"] = setXattr(file.Name(), "system.posix_acl_access", accessACL(ordinary, 4)) == nil
	if setFlags(file.Name(), flagNoDump) == nil && os.Getuid() == 0 {
		f["flags"] = setFlags(file.Name(), flagImmutable) == nil && setFlags(file.Name(), 0) == nil
	}
	return f
})

// exited runs cmd, keeps its output for the script and demands its status. It
// returns what was printed to stdout.
func exited(ts *testscript.TestScript, want string, cmd *exec.Cmd) string {
	var out, errs strings.Builder
	cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	fmt.Fprint(ts.Stdout(), out.String())
	fmt.Fprint(ts.Stderr(), errs.String())
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		ts.Fatalf("%v", err)
	}
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != want {
		ts.Fatalf("%s exited with %s (%v), want %s", filepath.Base(cmd.Path), got, cmd.ProcessState, want)
	}
	harmless(ts, "stdout", out.String())
	harmless(ts, "stderr", errs.String())
	return out.String()
}

// harmless demands that nothing printed could steer a terminal.
func harmless(ts *testscript.TestScript, where, text string) {
	if !utf8.ValidString(text) {
		ts.Fatalf("%s is not valid UTF-8: %q", where, text)
	}
	for _, r := range text {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)) {
			ts.Fatalf("%s has an unescaped %U: %q", where, r, text)
		}
	}
}

func environment(ts *testscript.TestScript) (env []string) {
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "TZ", "SUDO_USER", "GORACE", clockVar, toolVar} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func cmdExitcode(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exitcode N PROGRAM ARG…")
	}
	exited(ts, args[0], exec.Command(program(ts, args[1]), args[2:]...))
}

func program(ts *testscript.TestScript, name string) string {
	file, err := exec.LookPath(name)
	ts.Check(err)
	return file
}

// intactCmd is intact with the script's flags.
func intactCmd(ts *testscript.TestScript, args []string) *exec.Cmd {
	for i, a := range args {
		args[i] = name(ts, a)
	}
	return exec.Command(program(ts, "intact"), append(strings.Fields(ts.Getenv("FLAGS")), args...)...)
}

// name reads a word that may be a Go string.
func name(ts *testscript.TestScript, word string) string {
	if !strings.HasPrefix(word, `"`) {
		return word
	}
	s, err := strconv.Unquote(word)
	if err != nil {
		ts.Fatalf("%s: %v", word, err)
	}
	return strings.ReplaceAll(s, "$WORK", ts.Getenv("WORK"))
}

func cmdRun(ts *testscript.TestScript, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: run N ARG…")
	}
	exited(ts, args[0], intactCmd(ts, args[1:]))
}

// reported runs a command that makes a report and checks the report.
func reported(ts *testscript.TestScript, command string, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: %s N ARG…", command)
	}
	cmd := intactCmd(ts, append([]string{command, "--format=json"}, args[1:]...))
	readout(ts, exited(ts, args[0], cmd), &args[0])
}

func asOrdinary() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}}
}

func cmdAsUser(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: asuser N ARG…")
	}
	cmd := exec.Command(program(ts, "intact"), append(strings.Fields(ts.Getenv("USERFLAGS")), args[1:]...)...)
	if os.Getuid() == 0 && ts.Getenv("ALONE") != "no" {
		// What else listens and runs on the machine of the tests is none of the host's.
		if alone, err := exec.LookPath("unshare"); err == nil {
			id := strconv.Itoa(ordinary)
			cmd.Args = append([]string{alone, "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups"}, cmd.Args...)
			cmd.Path = alone
		} else {
			cmd.SysProcAttr = asOrdinary()
		}
	} else if os.Getuid() == 0 {
		cmd.SysProcAttr = asOrdinary()
	}
	text := exited(ts, args[0], cmd)
	if slices.Contains(args, "--format=json") {
		readout(ts, text, &args[0])
	}
}

func cmdInterrupted(ts *testscript.TestScript, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT}
	if len(args) < 3 || signals[args[0]] == 0 {
		ts.Fatalf("usage: interrupted TERM|INT FILE ARG…")
	}
	out, errs := stopped(ts, ts.MkAbs(args[1]), args[2:], signals[args[0]], func() {})
	fmt.Fprint(ts.Stdout(), out)
	fmt.Fprint(ts.Stderr(), errs)
}

func cmdDuring(ts *testscript.TestScript, args []string) {
	i := slices.Index(args, "--")
	if i < 2 || i+2 >= len(args) {
		ts.Fatalf("usage: during FILE ARG… -- N ARG…")
	}
	stopped(ts, ts.MkAbs(args[0]), args[1:i], syscall.SIGTERM, func() { cmdRun(ts, args[i+1:]) })
}

// stopped runs intact until it has file open, which is the moment that
// matters; calls meanwhile, sends the signal and demands 130.
func stopped(ts *testscript.TestScript, file string, args []string, sig syscall.Signal, meanwhile func()) (stdout, stderr string) {
	cmd := intactCmd(ts, args)
	var out, errs strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), environment(ts), &out, &errs
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the state tells
		close(ended)
	}()
	defer func() {
		_ = cmd.Process.Kill() // it has ended where all is well
		<-ended
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for sent := false; ; {
		select {
		case <-ended:
			if got := cmd.ProcessState.ExitCode(); !sent || got != 130 {
				ts.Fatalf("ended with %v, signal sent: %v, want 130: %s", cmd.ProcessState, sent, errs.String())
			}
			harmless(ts, "stdout", out.String())
			return out.String(), errs.String()
		case <-tick.C:
			if !sent && hasOpen(cmd.Process.Pid, file) {
				meanwhile()
				ts.Check(cmd.Process.Signal(sig))
				sent = true
			}
		}
	}
}

func hasOpen(pid int, file string) bool {
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(links, func(l string) bool {
		to, err := os.Readlink(l)
		return err == nil && to == file
	})
}
