package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/report"
)

// keepWindows is for how long after its end a maintenance window is kept.
const keepWindows = 90 * 24 * time.Hour

// WindowOptions of WindowOpen and WindowClose.
type WindowOptions struct {
	Until    string
	Reason   string
	SignWith string // an operator's key; "": the host's key for reports
}

// WindowOpen opens a maintenance window.
func WindowOpen(e *Env, o WindowOptions) (Outcome, error) {
	began, now := time.Now(), e.Now().UTC()
	if strings.TrimSpace(o.Reason) == "" || len(o.Reason) > baseline.MaxReason {
		return Outcome{}, usageError("window open: --reason TEXT is needed, of %d bytes at most: it stands in reports", baseline.MaxReason)
	}
	if o.Until == "" {
		return Outcome{}, usageError("window open: --until T is needed: a time, or how long from now as 4h or 2d")
	}
	until, err := parseUntil(o.Until, now, time.Local)
	switch {
	case err != nil:
		return Outcome{}, usageError("window open: --until: %w", err)
	case !until.After(now):
		return Outcome{}, usageError("window open: --until: %s UTC has passed", when(until))
	case until.Sub(now) > baseline.MaxWindow:
		return Outcome{}, usageError("window open: --until: %s UTC is more than 7 days from now", when(until))
	}
	return hosting(e, "window open", func(s *session) error {
		list, host, err := s.goodWindows("window open")
		if err != nil {
			return err
		}
		if n := len(list); n > 0 && now.Before(list[n-1].End()) {
			return usageError("window open: window %s is there, until %s UTC: windows do not overlap, intact window close ends it", list[n-1].ID, when(list[n-1].End()))
		}
		w := baseline.Window{ID: newID(), HostID: host, Opened: now, Until: until.UTC(), OpenedBy: s.approverCut(), Reason: o.Reason}
		if err := s.signWindow(&w, o.SignWith); err != nil {
			return err
		}
		if err := s.store.PutWindows(append(lastingWindows(list, now), w), host); err != nil {
			return err
		}
		afterTick(began)
		e.print("maintenance window %s is open until %s UTC: what changes is reported and marked, and nothing is accepted\n", w.ID, when(w.Until))
		return nil
	})
}

// WindowClose ends the window that is open before its time.
func WindowClose(e *Env, o WindowOptions) (Outcome, error) {
	began, now := time.Now(), e.Now().UTC()
	if len(o.Reason) > baseline.MaxReason {
		return Outcome{}, usageError("window close: --reason is longer than %d bytes", baseline.MaxReason)
	}
	return hosting(e, "window close", func(s *session) error {
		list, host, err := s.goodWindows("window close")
		if err != nil {
			return err
		}
		n := len(list)
		if n == 0 || !now.Before(list[n-1].End()) || !list[n-1].Closed.IsZero() {
			return usageError("window close: no maintenance window is open")
		}
		w := &list[n-1]
		w.Closed = w.Opened
		if now.After(w.Opened) { // else the clock went back
			w.Closed = now
		}
		w.ClosedBy, w.Closing = s.approverCut(), o.Reason
		if err := s.signWindow(w, o.SignWith); err != nil {
			return err
		}
		if err := s.store.PutWindows(list, host); err != nil {
			return err
		}
		afterTick(began)
		e.print("maintenance window %s is closed\n", w.ID)
		return nil
	})
}

// WindowList prints the windows that are kept, the oldest first.
func WindowList(e *Env) (Outcome, error) {
	now, bad := e.Now(), false
	out, err := reading(e, func(s *session) error {
		host, err := s.store.HostID()
		if err != nil {
			return err
		}
		list, err := s.windows(host)
		if err != nil {
			return windowsError("window list", s, err)
		}
		for i := range list {
			w := &list[i]
			state := "over"
			switch {
			case now.Before(w.Opened):
				state = "to come"
			case !w.Closed.IsZero():
				state = "closed"
			case now.Before(w.Until):
				state = "open"
			}
			by, err := s.judgeWindow(w)
			if err != nil {
				bad, state = true, "NOT TRUSTED: "+report.Prose(err.Error())
			}
			e.print("%s  %s  %s  %s  by %s, signed by %s: %s", w.ID, when(w.Opened), when(w.End()), state, report.Escape(w.OpenedBy), report.Escape(by), report.Prose(w.Reason))
			if w.Closing != "" {
				e.print("; closed by %s: %s", report.Escape(w.ClosedBy), report.Prose(w.Closing))
			}
			e.print("\n")
		}
		return nil
	})
	if err == nil && bad {
		out.Add(ExitTrust)
	}
	return out, err
}

// windows reads the windows of the host, none where there is no file.
func (s *session) windows(host string) ([]baseline.Window, error) {
	list, err := s.store.Windows(host)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

// goodWindows is windows for what writes them: each must be signed as it should.
func (s *session) goodWindows(command string) (list []baseline.Window, host string, err error) {
	if host, err = s.store.HostID(); err != nil {
		return nil, "", err
	}
	if list, err = s.windows(host); err != nil {
		return nil, "", windowsError(command, s, err)
	}
	for i := range list {
		if _, err := s.judgeWindow(&list[i]); err != nil {
			return nil, "", windowsError(command, s, fmt.Errorf("window %s: %w", list[i].ID, err))
		}
	}
	return list, host, nil
}

func windowsError(command string, s *session, err error) error {
	return usageErrorAs(ExitTrust, "%s: %w: find out who wrote it, then move %q away", command, err, s.store.WindowsPath())
}

// lastingWindows leaves out what is over for so long that it is not kept, and
// the oldest where there would be too many.
func lastingWindows(list []baseline.Window, now time.Time) []baseline.Window {
	for len(list) > 0 && (now.Sub(list[0].End()) > keepWindows || len(list) >= baseline.MaxWindows) {
		list = list[1:]
	}
	return list
}

// approverCut is approver in what a window has room for.
func (s *session) approverCut() string {
	by := s.approver()
	return by[:min(len(by), baseline.MaxReason)]
}

// windowNamespace is what a window is signed for. The lists of signers that
// there are name these namespaces, and no baseline and no report begins as a
// window does.
func windowNamespace(a statement.Authority) string {
	if a == statement.Operator {
		return statement.Namespace
	}
	return report.Namespace
}

// signWindow signs with an operator's key, or with the host's for reports, and
// judges the signature as a check will.
func (s *session) signWindow(w *baseline.Window, given string) (err error) {
	var k seal.Signer
	if w.Authority = statement.Host; given == "" {
		s.store.Trust.Host = s.own // of this host, wherever the list comes from
		k, err = s.reportSigner()
	} else {
		w.Authority = statement.Operator
		if k, err = s.signer(given); err != nil {
			err = fmt.Errorf("--sign-with: %w", err)
		} else {
			err = s.trusts(k)
		}
	}
	if err != nil {
		return err
	}
	w.Signer = k.Key().Fingerprint
	if w.Armor, err = k.Sign(windowNamespace(w.Authority), bytes.NewReader(w.Text())); err != nil {
		return fmt.Errorf("sign the window: %w", err)
	}
	if _, err := s.judgeWindow(w); err != nil {
		return usageErrorAs(ExitTrust, "sign the window: %w", err)
	}
	return nil
}

// judgeWindow says who signed a window: the host, or an operator of its lists.
// It is judged at the time that the window gives itself, as baselines are.
func (s *session) judgeWindow(w *baseline.Window) (by string, err error) {
	want := seal.Want{Namespace: windowNamespace(w.Authority), At: w.Signed()}
	lists := []*seal.Signers{s.store.Trust.Operators}
	if w.Authority == statement.Host {
		want.Principal = baseline.HostPrincipal(w.HostID)
		lists = []*seal.Signers{s.store.Trust.Host, s.store.Trust.Operators}
	}
	err = fmt.Errorf("%w: no list of signers is there", seal.ErrSigner)
	for _, l := range lists {
		if l == nil {
			continue
		}
		id, e := l.Verify(bytes.NewReader(w.Text()), w.Armor, want)
		if e != nil {
			err = e
			continue
		}
		if id.Key.Fingerprint != w.Signer {
			return "", fmt.Errorf("%s signed it, and it names %s", id.Key.Fingerprint, w.Signer)
		}
		for _, p := range id.Principals {
			if w.Authority == statement.Host || baseline.IsOperator(p) {
				return p, nil
			}
		}
		err = fmt.Errorf("%w: the key is of %q", seal.ErrPrincipal, id.Principals)
	}
	return "", err
}

// afterTick waits, some milliseconds, until the clock that the kernel stamps
// files by has passed t: what is changed from now on lies behind t.
func afterTick(t time.Time) {
	for range 100 {
		var at unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &at); err != nil || !time.Unix(at.Unix()).Before(t) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
