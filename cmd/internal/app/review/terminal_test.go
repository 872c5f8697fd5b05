package review

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"intact/baseline/diff"
)

// pty returns both ends of a pseudo-terminal.
func pty(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	return keyboard, tty
}

// broken is a Source with a fault.
type broken struct{ memory }

func (broken) Details(context.Context, []int32) ([][]string, error) { panic("a fault") }

// A fault of ours leaves the terminal as it was.
func TestPanicRestores(t *testing.T) {
	t.Setenv("TERM", "xterm")
	keyboard, tty := pty(t)
	was, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	m := memory{{path: "/a", kind: diff.Added}}
	d, err := NewDialog(t.Context(), m.items(), broken{m})
	if err != nil {
		t.Fatal(err)
	}
	shown := make(chan string)
	go func() {
		var b strings.Builder
		pressed := false
		buf := make([]byte, 4096)
		for {
			n, err := keyboard.Read(buf)
			b.Write(buf[:n])
			if !pressed && strings.Contains(b.String(), "details") {
				pressed = true // the question is there: what comes before it is thrown away
				io.WriteString(keyboard, "d")
			}
			if err != nil { // the other end is closed
				shown <- b.String()
				return
			}
		}
	}()
	func() {
		defer func() {
			if r := recover(); r != "a fault" {
				t.Errorf("recovered %v", r)
			}
		}()
		d.Run(t.Context(), tty, tty)
	}()
	now, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || *now != *was {
		t.Errorf("the terminal is not as it was: %v, %+v, want %+v", err, now, was)
	}
	tty.Close()
	if s := <-shown; !strings.HasSuffix(s, leaveScreen) {
		t.Errorf("the screen is not left: %q", s)
	}
}
