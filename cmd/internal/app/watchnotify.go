package app

import (
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// notifier tells systemd how the watcher is, sd_notify(3). Where nobody wants to
// know it does nothing.
type notifier struct {
	conn net.Conn
	end  chan struct{}
	all  *sync.WaitGroup
}

func newNotifier(e *Env) notifier {
	n := notifier{end: make(chan struct{}), all: new(sync.WaitGroup)}
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return n
	}
	var err error
	if n.conn, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"}); err != nil {
		e.warn("NOTIFY_SOCKET: %v", err)
		n.conn = nil
		return n
	}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || usec < 2 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n
	}
	every := time.NewTicker(time.Duration(usec) * time.Microsecond / 2)
	n.all.Go(func() {
		defer every.Stop()
		for {
			select {
			case <-every.C:
				n.say("WATCHDOG=1")
			case <-n.end:
				return
			}
		}
	})
	return n
}

// say sends one state. That nobody reads it is nothing to end for.
func (n notifier) say(state string) {
	if n.conn != nil {
		_, _ = n.conn.Write([]byte(state))
	}
}

func (n notifier) close() {
	close(n.end)
	n.all.Wait()
	if n.conn != nil {
		_ = n.conn.Close()
	}
}
