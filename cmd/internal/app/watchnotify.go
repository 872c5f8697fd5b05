package app

import (
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"intact/scanner"
)

// notifier tells systemd how the watcher is, sd_notify(3). Where nobody wants to
// know it does nothing.
type notifier struct {
	conn net.Conn
	end  chan struct{}
	all  *sync.WaitGroup

	*pulse
	tick <-chan time.Time // whoever does the work says by did that this came; nil without a watchdog
}

// pulse shows whether the watcher gets on: an idle one turns in its loop, one that
// looks counts what it has seen.
type pulse struct {
	count atomic.Int64
	scan  atomic.Pointer[scanner.Progress] // of the look that runs, or of the last one
	last  int64                            // of moved
}

// did says that something was done. nil: nobody wants to know.
func (p *pulse) did() {
	if p != nil {
		p.count.Add(1)
	}
}

// reads lets the counters of a scan count.
func (p *pulse) reads(scan *scanner.Progress) {
	if p != nil {
		p.did()
		p.scan.Store(scan)
	}
}

// moved reports whether anything was done since it was asked last. It is for one
// goroutine.
func (p *pulse) moved() bool {
	now := p.count.Load()
	if s := p.scan.Load(); s != nil {
		now += s.Files.Load() + s.Bytes.Load()
	}
	moved := now != p.last
	p.last = now
	return moved
}

func newNotifier(e *Env) notifier {
	n := notifier{end: make(chan struct{}), all: new(sync.WaitGroup), pulse: new(pulse)}
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
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || usec < 4 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n
	}
	// A loop that turns in time is seen to, whichever of the two ticks first.
	often := time.Duration(usec) * time.Microsecond / 4
	turns, asks := time.NewTicker(often), time.NewTicker(often)
	n.tick = turns.C
	n.all.Go(func() {
		defer turns.Stop()
		defer asks.Stop()
		for {
			select {
			case <-asks.C:
				n.feed()
			case <-n.end:
				return
			}
		}
	})
	return n
}

// feed tells the watchdog that the watcher gets on, if it does.
func (n notifier) feed() {
	if n.moved() {
		n.say("WATCHDOG=1")
	}
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
