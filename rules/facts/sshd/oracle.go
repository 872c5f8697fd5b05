package sshd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// The daemon is asked within bounds: it answers in 20 ms and 8 KB.
const (
	askTime = 5 * time.Second
	maxTold = 1 << 20
)

// Errors of asking the daemon.
var (
	errAsk    = errors.New("sshd -T refuses")
	errUnable = errors.New("sshd -T cannot answer here") // for a reason that is not the configuration
	errTime   = errors.New("sshd -T does not answer")
)

// bounded keeps the beginning of what is written to it.
type bounded struct {
	bytes.Buffer
	limit int
	over  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := b.limit - b.Len(); len(p) > room {
		b.over = true
		b.Buffer.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// asks is how the daemon of this host is asked: its file, and the options that
// the running one was started with.
type asks struct {
	binary  string
	options []string
}

// ask runs "sshd -T -C client" with an empty environment and returns what it
// prints, by keyword. Without a client it asks without -C.
func (a asks) ask(ctx context.Context, c *Client) (map[string][]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, errTime)
	defer cancel()
	args := append([]string{"-T"}, a.options...)
	if c != nil {
		args = append(args, "-C", c.spec())
	}
	cmd := exec.CommandContext(ctx, a.binary, args...)
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.WaitDelay = time.Second
	out, complaint := &bounded{limit: maxTold}, &bounded{limit: 4096}
	cmd.Stdout, cmd.Stderr = out, complaint
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, refusal(err, complaint.String())
	case out.over:
		return nil, fmt.Errorf("%w: it prints over %d bytes", errUnable, maxTold)
	}
	return printed(out.String()), nil
}

// refusal tells what is wrong with the configuration from what is wrong around
// it.
func refusal(err error, complaint string) error {
	complaint = strings.TrimSpace(complaint)
	kind := errAsk
	for _, s := range []string{"no hostkeys available", "Missing privilege separation directory", "must be owned by root", "Privilege separation user"} {
		if strings.Contains(complaint, s) {
			kind = errUnable
		}
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		kind = errUnable
	}
	if complaint == "" {
		return fmt.Errorf("%w: %v", kind, err)
	}
	return fmt.Errorf("%w: %s", kind, complaint)
}

// spec writes a client as -C takes it.
func (c *Client) spec() string {
	return "user=" + c.User + ",host=" + c.Host + ",addr=" + c.Addr + ",laddr=" + c.LocalAddr + ",lport=" + strconv.Itoa(c.LocalPort)
}

// askable reports whether -C can carry the client: a comma ends a value there.
func (c *Client) askable() bool {
	return !slices.ContainsFunc([]string{c.User, c.Host, c.Addr, c.LocalAddr}, func(s string) bool { return s == "" || strings.ContainsAny(s, ",\x00") })
}

// printed reads the lines of sshd -T.
func printed(s string) map[string][]string {
	out := map[string][]string{}
	for l := range strings.Lines(s) {
		name, value, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		if name == "permitrootlogin" && value == "without-password" {
			value = "prohibit-password"
		}
		out[name] = append(out[name], value)
	}
	return out
}

// untrusted says why the daemon's file had better not be run, "" if it may be:
// somebody else than root could have written it.
func untrusted(root *dirfd.Root, binary string) string {
	s, _, err := stat(root, binary)
	switch {
	case err != nil:
		return err.Error()
	case s.Kind != entry.File:
		return binary + " is no regular file"
	case s.Mode&0o022 != 0 || s.UID != 0:
		return "others than root may write " + binary
	}
	return ""
}
