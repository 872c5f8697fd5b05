package scanner

import (
	"sync"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// maxLinks caps the table of hard links; beyond it every name is hashed.
const maxLinks = 1 << 20

// linkTable remembers the digest of files with several names, so that each
// inode is read once.
type linkTable struct {
	mu sync.Mutex
	by map[objectID]*link // guarded by mu
}

// link is one inode. The fields behind ready are set before it is closed.
type link struct {
	ready  chan struct{}
	stat   dirfd.Stat
	ok     bool
	sum    digest.Digest
	hashed int64
}

// claim returns nil for a file with one name; else the inode's link, owned by
// the first caller.
func (t *linkTable) claim(st *dirfd.Stat) *claimed {
	if st.Nlink < 2 || st.Size == 0 {
		return nil
	}
	id := objectID{st.Device, st.Inode}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[objectID]*link{}
	}
	if l := t.by[id]; l != nil {
		return &claimed{l, false}
	}
	if len(t.by) == maxLinks {
		return nil
	}
	l := &link{ready: make(chan struct{})}
	t.by[id] = l
	return &claimed{l, true}
}

// claimed is one worker's view of a link.
type claimed struct {
	*link
	mine bool
}

// known waits for the owner and takes its digest if the inode has not changed
// since. The owner hashes inline and never waits, so this ends.
func (c *claimed) known(e *entry.Entry, st *dirfd.Stat) bool {
	if c == nil || c.mine {
		return false
	}
	<-c.ready
	if !c.ok || !c.stat.Same(st) {
		return false
	}
	e.Digest, e.Hashed = c.sum, c.hashed
	e.Have |= entry.Content
	return true
}

// settle publishes the owner's result.
func (c *claimed) settle(e *entry.Entry, st *dirfd.Stat, ok bool) {
	if c == nil || !c.mine {
		return
	}
	c.stat, c.ok, c.sum, c.hashed = *st, ok && e.Hashed == st.Size, e.Digest, e.Hashed
	close(c.ready)
}
