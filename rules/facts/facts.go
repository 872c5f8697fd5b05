// Package facts reads facts about a host for rules to judge. It judges nothing
// and trusts nothing: what /proc shows of a process, the process may have
// chosen. Every reading is bounded.
package facts

import (
	"errors"
	"io/fs"
	"syscall"
)

// Status says what became of reading a fact.
type Status uint8

// The states. What is not Known is never taken for "nothing there".
const (
	Unread Status = iota // not asked for, or this host has no such thing
	Known                // read to its end
	Gone                 // its subject ended meanwhile: no error
	Denied               // another user's
	Failed               // could not be read, or not understood
)

var statusNames = [...]string{"unread", "known", "gone", "permission denied", "failed"}

// String returns the words that reports use.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "failed"
}

// StatusOf sorts an error of reading below /proc: a process that ends takes its
// files with it (ENOENT), and open ones answer ESRCH.
func StatusOf(err error) Status {
	switch {
	case err == nil:
		return Known
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return Gone
	case errors.Is(err, fs.ErrPermission):
		return Denied
	}
	return Failed
}
