package app

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"intact/scanner"
)

func TestNotifier(t *testing.T) {
	at := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", at)
	t.Setenv("WATCHDOG_USEC", "2000")
	n := newNotifier(&Env{Stderr: io.Discard})
	n.say("READY=1")
	<-n.tick
	n.did()
	want := map[string]bool{"READY=1": true, "WATCHDOG=1": true}
	b := make([]byte, 100)
	for len(want) > 0 {
		k, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		delete(want, string(b[:k]))
	}
	n.close()

	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	n = newNotifier(&Env{Stderr: io.Discard})
	n.say("READY=1") // nobody listens: nothing happens
	n.close()
	t.Setenv("NOTIFY_SOCKET", "")
	n = newNotifier(&Env{Stderr: io.Discard})
	n.say("READY=1")
	n.close()
}

// The watchdog is fed by who gets on: by turns of the loop, or by what a look
// reads. One that hangs starves.
func TestPulse(t *testing.T) {
	p := new(pulse)
	var scan scanner.Progress
	for _, step := range []struct {
		name string
		do   func()
		want bool
	}{
		{"nothing yet", func() {}, false},
		{"a turn", p.did, true},
		{"it hangs", func() {}, false},
		{"a look begins", func() { p.reads(&scan) }, true},
		{"it hangs before it reads", func() {}, false},
		{"a long file", func() { scan.Bytes.Add(1 << 30) }, true},
		{"files", func() { scan.Files.Add(1) }, true},
		{"it hangs in one", func() {}, false},
		{"the next look", func() { p.reads(new(scanner.Progress)) }, true},
	} {
		step.do()
		if got := p.moved(); got != step.want {
			t.Errorf("%s: moved is %v", step.name, got)
		}
	}
}

func TestGuarded(t *testing.T) {
	if err := guarded("look", func() error { panic("index out of range") }); !errors.Is(err, errWatchFault) || !strings.Contains(err.Error(), "index") {
		t.Error(err)
	}
	if err := guarded("look", func() error { return io.EOF }); err != io.EOF {
		t.Error(err)
	}
}
