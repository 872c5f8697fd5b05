package sshd

import (
	"io/fs"
	"syscall"
)

// owner returns the numeric user that owns a file, ^0 where the system does not say.
func owner(info fs.FileInfo) uint32 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Uid
	}
	return ^uint32(0)
}

func group(info fs.FileInfo) uint32 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Gid
	}
	return ^uint32(0)
}
