package review

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
)

// terminal is a screen and a keyboard. Between enter and leave it sends each
// key by itself and shows nothing by itself.
type terminal struct {
	in, out *os.File
	raw     bool // keys come one by one
	screen  bool // it understands more than lines
	was     *unix.Termios
	wake    [2]int // a pipe: something else than a key has happened
	winch   chan os.Signal
	done    chan struct{}
	stop    func() bool
	keys    decoder
}

// What is written to the terminal: another screen, no wrapping, pasted text
// marked; and back.
const (
	enterScreen = "\x1b[?1049h\x1b[?7l\x1b[?2004h"
	leaveScreen = "\x1b[0m\x1b[?25h\x1b[?2004l\x1b[?7h\x1b[?1049l"
)

// enter takes the terminal over. leave must follow, whatever happens.
func enter(ctx context.Context, in, out *os.File) (*terminal, error) {
	t := &terminal{in: in, out: out, screen: os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""}
	if err := unix.Pipe2(t.wake[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	if was, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS); err == nil && t.screen {
		raw := *was
		raw.Lflag &^= unix.ICANON | unix.ECHO
		// Interrupt stays a signal. Quit and suspend would leave the terminal as
		// it is now.
		raw.Cc[unix.VQUIT], raw.Cc[unix.VSUSP] = 0, 0
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		// What was typed before there was a question is no answer.
		if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETSF, &raw); err == nil {
			t.was, t.raw = was, true
		}
	}
	t.screen = t.screen && t.raw
	t.stop = context.AfterFunc(ctx, t.poke)
	t.winch, t.done = make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(t.winch, unix.SIGWINCH)
	go func() {
		defer close(t.done)
		for range t.winch {
			t.poke()
		}
	}()
	if t.screen {
		t.write(enterScreen)
	}
	return t, nil
}

// poke ends a wait for keys.
func (t *terminal) poke() { unix.Write(t.wake[1], []byte{0}) }

// leave gives the terminal back as it was.
func (t *terminal) leave() {
	if t.screen {
		t.write(leaveScreen)
	}
	if t.was != nil {
		unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETS, t.was)
	}
	signal.Stop(t.winch)
	close(t.winch)
	<-t.done
	if !t.stop() {
		return // it may be poking now: the pipe ends with the process
	}
	unix.Close(t.wake[0])
	unix.Close(t.wake[1])
}

func (t *terminal) write(s string) { io.WriteString(t.out, s) }

func (t *terminal) size() (width, height int) {
	ws, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 || ws.Row == 0 {
		return 80, 24
	}
	return int(ws.Col), int(ws.Row)
}

// wait returns what was typed, nothing if the screen has another size, io.EOF
// at the end.
func (t *terminal) wait(ctx context.Context) ([]stroke, error) {
	fds := []unix.PollFd{{Fd: int32(t.in.Fd()), Events: unix.POLLIN}, {Fd: int32(t.wake[0]), Events: unix.POLLIN}}
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return nil, fmt.Errorf("terminal: %w", err)
		}
		if fds[1].Revents != 0 {
			var b [64]byte
			unix.Read(t.wake[0], b[:])
			if err := ctx.Err(); err != nil {
				return nil, context.Cause(ctx)
			}
			return nil, nil
		}
		if fds[0].Revents != 0 {
			return t.read()
		}
	}
}

// maxLine is the longest line that a terminal gives: n_tty(4).
const maxLine = 4096

func (t *terminal) read() ([]stroke, error) {
	var b [maxLine]byte
	n, err := unix.Read(int(t.in.Fd()), b[:])
	switch {
	case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		return nil, nil
	case err != nil || n <= 0: // a terminal that is gone gives EIO
		return nil, io.EOF
	}
	return t.keys.decode(b[:n]), nil
}

// draw shows a frame.
func (t *terminal) draw(f frame) {
	if !t.screen {
		t.write(strings.Join(f.lines, "\n"))
		if !f.cursor {
			t.write("\n")
		}
		return
	}
	var b strings.Builder
	b.WriteString("\x1b[?25l\x1b[H")
	for i, l := range f.lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		// Erased first: behind a full line the cursor stands on its last column.
		b.WriteString("\x1b[2K" + l + "\x1b[0m")
	}
	if f.cursor {
		b.WriteString("\x1b[?25h")
	}
	t.write(b.String())
}
