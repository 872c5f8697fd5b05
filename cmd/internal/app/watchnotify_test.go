package app

import (
	"io"
	"net"
	"path/filepath"
	"testing"
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
