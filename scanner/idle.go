package scanner

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// lowest is the nice value of who gives way to everybody.
const lowest = 19

// Idle gives the calling goroutine a thread of its own, with the lowest priority
// for the processor and the idle class for disks, ioprio_set(2). The thread ends
// with the goroutine: no other inherits that. Where the kernel refuses, the work
// is done all the same.
func Idle() {
	const ioprioIdle = 3 << 13 // IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)
	const ofProcess = 1        // IOPRIO_WHO_PROCESS, which means a thread
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, lowest)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ofProcess, 0, ioprioIdle)
}
