// Package scanner turns a root and a policy into directory blocks. It says
// what is true now; it sees the past only through Prior.
package scanner

import (
	"context"
	"time"

	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/journal"
)

// Sink receives what a scan finds. Its methods are called concurrently, w is
// the number of the calling worker, 0 ≤ w < Options.Workers; calls with the
// same w never overlap. A block and its entries are valid only during the
// call. An error ends the scan.
type Sink interface {
	Dir(w int, b *entry.Block) error
	Gap(w int, g Gap) error
}

// Prior is what is known of the past: the stored value of one directory part.
// The value must stay valid until the scan ends. It is used concurrently.
type Prior interface {
	Dir(key []byte, part uint32) (entry.Packed, bool)
}

// Observer sees every selected entry as it passes, for facts that ride the
// walk. The same rules as for Sink apply.
type Observer interface {
	Entry(w int, dir entry.Path, e *entry.Entry)
}

// Logs follows the logs of a scan beyond what Prior has of them. The same rules
// as for Sink apply. With it logs are read whole, not just as far as Prior
// knows them.
type Logs interface {
	// Known returns how many bytes of a log were there when it was last seen.
	Known(dir entry.Path, name []byte) (length int64, ok bool)
	// KnownJournal is Known of a file of the systemd journal, under whatever name:
	// how long the stream was that stands for it.
	KnownJournal(dir entry.Path, file journal.ID) (length int64, ok bool)
	Saw(w int, dir entry.Path, l *LogLook)
}

// LogLook is a log as a scan read it.
type LogLook struct {
	Entry *entry.Entry   // as it is delivered
	Size  int64          // bytes that were read; of a journal, of its stream
	Whole digest.Digest  // of all of them
	Known *digest.Digest // of the first bytes, as many as Logs.Known said; nil where it is shorter

	Journal *JournalLook // nil: no file of the systemd journal, by its name
	known   int64
}

// Reason says why something could not be verified.
type Reason string

// The reasons, as they stand in reports.
const (
	ReasonPermission  Reason = "permission denied"
	ReasonBusy        Reason = "changed while read"
	ReasonIO          Reason = "I/O error"
	ReasonTimeout     Reason = "time-out"
	ReasonLease       Reason = "lease held"
	ReasonVanished    Reason = "vanished while scanned"
	ReasonRootGone    Reason = "root vanished"
	ReasonHidden      Reason = "hidden by a mount"
	ReasonBudget      Reason = "budget exhausted"
	ReasonPathTooLong Reason = "path too long"
	ReasonUnsupported Reason = "not supported by the kernel or file system"
	ReasonPanic       Reason = "internal error"
	ReasonReplaced    Reason = "replaced while scanned"
	ReasonResources   Reason = "out of descriptors or memory"
	ReasonHoles       Reason = "a log that is mostly holes is not read"
)

// Passing reports whether another scan may well do without this gap: it says
// something about the moment, not about who may read what.
func (r Reason) Passing() bool {
	switch r {
	case ReasonBusy, ReasonTimeout, ReasonLease, ReasonVanished, ReasonBudget, ReasonPanic, ReasonReplaced, ReasonResources:
		return true
	}
	return false
}

// Gap is something that was selected and could not be read, whole or in part.
type Gap struct {
	Path    entry.Path
	Reason  Reason
	Detail  string     // the error text, "" if the reason says it all; unescaped
	Attrs   entry.Attr // what is unknown of an entry that was delivered; 0: nothing was delivered
	Subtree bool       // nothing below Path was seen either
}

// Stats counts one scan.
type Stats struct {
	Selected int64 // entries delivered under the baseline's policy, and gaps without an entry
	Dirs     int64 // directories listed
	Files    int64 // regular files delivered
	Bytes    int64 // bytes of content read
	Gaps     int64
	Trusted  int64            // regular files whose content was not read because of Options.Trust
	Skipped  []Skip           // mounts that the policy passes over
	Widened  map[string]int64 // paths that only the present configuration selects, by policy line
	Narrowed map[string]int64 // paths that the present configuration would drop or compare less of, by policy line
}

// Skip is a mount that was passed over because of its file-system type.
type Skip struct {
	Path   entry.Path
	FSType string
}

// Isolated names a mount that is scanned apart.
type Isolated struct {
	Path   entry.Path
	FSType string
}

// Options of a scan. The zero value is usable.
type Options struct {
	Workers  int       // 0: chosen from the machine
	MaxRate  int64     // bytes of content per second, 0: unlimited
	Progress *Progress // updated while scanning, may be nil
	// TempDir is where the names of directories are sorted that take more than
	// NameMemory bytes all together (0: 16 MiB); "": in memory.
	TempDir    string
	NameMemory int
	// Hidden are paths that are not entered: what the baseline knows there is
	// covered by a mount or its mount is gone. Each is a gap.
	Hidden map[entry.Path]Reason
	// Limit, if any, are the only paths looked at, with what is below them. A
	// directory above them is delivered with just the names that lead to them.
	Limit []entry.Path
	// Shallow makes each of Limit a directory of which its own names alone are
	// looked at, with what lies in directories there that Prior has nothing of
	// because there was nothing to keep.
	Shallow bool
	// Flat looks at the names of Limit alone, and at nothing below those that are
	// directories.
	Flat bool
	// Pace, if any, takes the place of MaxRate: it is called behind every buffer of n
	// bytes of content, and with 0 before a directory, and returns when it may go on.
	Pace func(ctx context.Context, n int)
	// Idle gives way to everything else on this machine: see Idle.
	Idle bool
	// Trust, if any, is asked about each regular file whose size, times, inode
	// and device are those of old, its entry in Prior. If it returns true the
	// content is not read and old's digest is delivered. It is called
	// concurrently, and never for logs.
	Trust func(dir entry.Path, old *entry.Entry) bool
	// Own, if any, says which names the caller's own files have. Such a name is
	// passed over if it is a regular file that nobody can run: a directory of
	// that name, a link, a program are looked at like everything else. It is
	// called concurrently.
	Own func(dir entry.Path, name []byte) bool
	// Logs, if any, follows the logs. File systems that are scanned by Isolate
	// are not among them.
	Logs Logs
	// Isolate scans a mounted file system that can hang in another process
	// and delivers what it finds below the mount point to the sink as worker
	// w; the entry of the mount point itself is returned, nil if it is not
	// selected. Nil: such file systems are gaps.
	Isolate func(ctx context.Context, m Isolated, w int, sink Sink) (*entry.Entry, error)
	// atRest is how long before the scan comes to it a file must have changed
	// last for nothing to be going on any more; tests set it. 0: a minute.
	atRest time.Duration
	// Enter is the mount that this process was started to scan for another.
	Enter entry.Path
}
