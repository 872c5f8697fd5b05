package main

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// ownNamespace starts the tests over in a mount namespace of their own where
// that is allowed: what they mount is seen by nobody else and goes with them,
// however they end.
func ownNamespace() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Getuid() != 0 || syscall.Unshare(syscall.CLONE_NEWNS) != nil {
		return
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return
	}
	// The thread that calls exec is the one that stays.
	_ = syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), namespaceVar+"=1"))
}

// mountable reports whether the tests can and may mount.
var mountable = sync.OnceValue(func() bool {
	if os.Getenv(namespaceVar) == "" {
		return false
	}
	dir, err := os.MkdirTemp("", "intact-mount-*")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	if err := syscall.Mount("probe", dir, "tmpfs", 0, "size=64k"); err != nil {
		return false
	}
	return syscall.Unmount(dir, syscall.MNT_DETACH) == nil
})

// cmdMount is "mount tmpfs DIR [SIZE]", 1m without, or "mount bind WHAT WHERE".
func cmdMount(ts *testscript.TestScript, args []string) {
	if !mountable() {
		ts.Fatalf("nothing can be mounted here: guard the script with [!mount] skip")
	}
	var to string
	switch {
	case len(args) >= 2 && len(args) <= 3 && args[0] == "tmpfs":
		size := "1m"
		if len(args) == 3 {
			size = args[2]
		}
		to = ts.MkAbs(name(ts, args[1]))
		ts.Check(os.MkdirAll(to, 0o755))
		ts.Check(syscall.Mount("scratch", to, "tmpfs", 0, "mode=0755,size="+size))
	case len(args) == 3 && args[0] == "bind":
		to = ts.MkAbs(name(ts, args[2]))
		ts.Check(syscall.Mount(ts.MkAbs(name(ts, args[1])), to, "", syscall.MS_BIND, ""))
	default:
		ts.Fatalf("usage: mount tmpfs DIR [SIZE], or mount bind WHAT WHERE")
	}
	ts.Defer(func() { _ = syscall.Unmount(to, syscall.MNT_DETACH|umountNoFollow) }) // it may be unmounted by now
}

const umountNoFollow = 8 // UMOUNT_NOFOLLOW, umount(2)

func cmdUmount(ts *testscript.TestScript, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: umount DIR")
	}
	to := filepath.Clean(ts.MkAbs(name(ts, args[0])))
	ts.Check(syscall.Unmount(to, syscall.MNT_DETACH|umountNoFollow))
}
