package scanner

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

const xattrAttrs = entry.XattrAttr | entry.ACL | entry.Caps | entry.SELinux

// openedMeta reads extended attributes and inode flags of an open object.
func (w *worker) openedMeta(e *entry.Entry, set entry.Set, fd int, dir entry.Path) {
	need := set.For(e.Kind)
	if need&xattrAttrs != 0 {
		err := w.xattrs.OfFD(fd, func(name, value []byte) { addXattr(e, name, value) })
		w.xattrsDone(e, need, dir, err)
	}
	if need&entry.Flags != 0 {
		v, err := dirfd.Flags(fd)
		if err != nil {
			w.gap(Gap{Path: dir.Join(e.Name), Reason: reasonOf(err), Detail: detailOf(err), Attrs: entry.Flags})
			return
		}
		e.Flags = v
		e.Have |= entry.Flags
	}
}

// namedMeta reads extended attributes of an object that is not opened.
func (w *worker) namedMeta(e *entry.Entry, set entry.Set, dir *dirfd.Dir, n dirfd.Name, in entry.Path) {
	need := set.For(e.Kind)
	if need&xattrAttrs != 0 {
		err := w.xattrs.OfName(dir, n, func(name, value []byte) { addXattr(e, name, value) })
		w.xattrsDone(e, need, in, err)
	}
}

func (w *worker) xattrsDone(e *entry.Entry, need entry.Attr, dir entry.Path, err error) {
	if err == nil {
		slices.SortFunc(e.Xattr, func(a, b entry.Xattr) int { return bytes.Compare(a.Name, b.Name) })
		e.Have |= xattrAttrs & entry.Applicable(e.Kind)
		return
	}
	e.Xattr, e.ACL, e.DefACL, e.Caps, e.Label = nil, nil, nil, nil, nil
	if !errors.Is(err, unix.ENOENT) {
		w.gap(Gap{Path: dir.Join(e.Name), Reason: reasonOf(err), Detail: detailOf(err), Attrs: need & xattrAttrs})
	}
}

func addXattr(e *entry.Entry, name, value []byte) {
	v := append([]byte{}, value...)
	switch string(name) {
	case "system.posix_acl_access":
		e.ACL = v
		return
	case "system.posix_acl_default":
		e.DefACL = v
		return
	case "security.selinux":
		e.Label = bytes.TrimSuffix(v, []byte{0})
		return
	case "security.capability":
		if e.Kind == entry.File {
			e.Caps = v
			return
		}
	}
	e.Xattr = append(e.Xattr, entry.Xattr{Name: append([]byte{}, name...), Size: uint32(len(value)), Value: digest.Sum(value)})
}

// reasonOf sorts an error of a system call.
func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return ReasonPermission
	case errors.Is(err, unix.EAGAIN):
		return ReasonLease
	case errors.Is(err, unix.ETIMEDOUT):
		return ReasonTimeout
	case errors.Is(err, unix.ENOENT):
		return ReasonVanished
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENXIO), errors.Is(err, errReplaced):
		return ReasonReplaced
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
		return ReasonUnsupported
	case errors.Is(err, unix.ENAMETOOLONG):
		return ReasonPathTooLong
	case errors.Is(err, errBudget):
		return ReasonBudget
	case errors.Is(err, errPanic):
		return ReasonPanic
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return ReasonResources
	}
	return ReasonIO
}

// detailOf returns the error's text unless the reason says it all.
func detailOf(err error) string {
	if err == nil || errors.Is(err, unix.EACCES) || errors.Is(err, errBudget) || err == errReplaced {
		return ""
	}
	return err.Error()
}

// mountOf identifies a mount within this scan: its id, or on kernels before
// 5.8 the device.
func mountOf(st *dirfd.Stat) uint64 {
	if st.Mount != 0 {
		return st.Mount
	}
	return st.Device | 1<<63
}

// pseudoFS names file systems whose sizes do not tell how much can be read.
func pseudoFS(fstype string) bool {
	switch fstype {
	case "proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "configfs", "efivarfs", "bpf", "selinuxfs":
		return true
	}
	return false
}

// firstFrame returns the place of a panic from a stack dump.
func firstFrame(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") && i+3 < len(lines) {
			for _, f := range lines[i+2:] {
				if strings.HasPrefix(f, "\t") && !strings.Contains(f, "/runtime/") {
					f = strings.TrimSpace(f)
					return f[strings.LastIndexByte(f, '/')+1:]
				}
			}
		}
	}
	return "unknown place"
}

// budget bounds what one user-writable root may cost.
type budget struct {
	path  entry.Path
	limit policy.Budget

	mu      sync.Mutex
	start   time.Time // guarded by mu: of the first look at it
	entries int64     // guarded by mu
	told    bool      // guarded by mu
}

// budgets hands out one budget for each topmost path of a rule that has one.
type budgets struct {
	mu sync.Mutex
	by map[entry.Path]*budget // guarded by mu
}

// of returns the budget of directory p. A rule that matches p itself has one of
// its own; inside a root with a budget that is so for every rule, so that what
// fills the rest of the root does not cost the paths that a rule names.
func (b *budgets) of(d policy.Decision, p entry.Path, parent *budget) *budget {
	if d.Rule == nil || !d.Here {
		return parent
	}
	limit := d.Rule.Budget
	if limit == (policy.Budget{}) {
		if parent == nil {
			return nil
		}
		limit = parent.limit
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.by == nil {
		b.by = map[entry.Path]*budget{}
	}
	if b.by[p] == nil {
		b.by[p] = &budget{path: p, limit: limit}
	}
	return b.by[p]
}

func (b *budget) spend(n int) {
	if b != nil {
		b.mu.Lock()
		b.entries += int64(n)
		b.mu.Unlock()
	}
}

func (b *budget) exhausted() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limit.Entries > 0 && b.entries >= b.limit.Entries || b.late()
}

// overtime reports whether the time alone is used up, for the middle of a file.
func (b *budget) overtime() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.late()
}

// late is for callers that hold mu.
func (b *budget) late() bool {
	if b.start.IsZero() {
		b.start = time.Now()
	}
	return b.limit.Time > 0 && time.Since(b.start) > b.limit.Time
}

// overBudget reports an exhausted budget once, for its whole root.
func (w *worker) overBudget(t *task) {
	b := t.budget
	b.mu.Lock()
	told := b.told
	b.told = true
	b.mu.Unlock()
	if !told {
		w.gap(Gap{Path: b.path, Reason: ReasonBudget, Subtree: true})
	}
}
