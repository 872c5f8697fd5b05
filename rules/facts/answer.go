package facts

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"intact/rules"
	"intact/scanner/dirfd"
)

// Host is what collectors of facts read: a running machine or an image of one.
type Host struct {
	Root *dirfd.Root // its files; the only way to them
	Live bool        // it runs here: /proc, sockets and child processes are its own. Of an image nothing outside Root is read
}

// Answer is what a collector found out about one kind of fact. Rows that were
// read before something went wrong stay in it; whoever judges must not take
// them for all there is unless Status is rules.OK.
type Answer[T any] struct {
	Rows   []T
	Status rules.Status
	Reason string // why Status is not OK, for people; may hold bytes from the disk, print it escaped
	Via    string // where the rows come from: a path, "netlink sock_diag", "sshd -T"
}

// Fail notes an error. The first one stays.
func (a *Answer[T]) Fail(err error) {
	if err != nil && a.Status == rules.OK {
		a.Status, a.Reason = AnswerStatus(err), err.Error()
	}
}

// AnswerStatus is what an error of reading files makes of an answer.
func AnswerStatus(err error) rules.Status {
	switch {
	case err == nil:
		return rules.OK
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return rules.Timeout
	case errors.Is(err, fs.ErrPermission):
		return rules.Denied
	case Missing(err):
		return rules.Absent
	}
	return rules.Failed
}

// Missing reports whether an error says that there is no such file.
func Missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// OfflineAnswer is the answer about what only a running host has.
func OfflineAnswer[T any](what string) Answer[T] {
	return Answer[T]{Status: rules.Offline, Reason: what + " can be read on the running host only"}
}

// Place is where in a file something was read. Line counts from 1; 0 says the
// whole file.
type Place struct {
	File string // absolute inside the root, any bytes
	Line int
}
