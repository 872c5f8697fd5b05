package sshd

import (
	"slices"
)

// agree compares what the parser and the daemon say of one option. The order of
// sockets is the system library's.
func agree(name string, ours, theirs []string) bool {
	if name == "listenaddress" {
		ours, theirs = slices.Sorted(slices.Values(ours)), slices.Sorted(slices.Values(theirs))
		ours, theirs = slices.Compact(ours), slices.Compact(theirs)
	}
	if len(ours) == 1 && len(theirs) == 0 && ours[0] == "none" {
		return true
	}
	return slices.Equal(ours, theirs)
}
