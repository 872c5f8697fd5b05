package scanner

import (
	"sync"

	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// maxLinks caps the table of hard links, at some 150 bytes each; beyond it
// every name is hashed.
const maxLinks = 1 << 16

// linkTable remembers the digest of files with several names, so that each
// inode is read once. An inode is forgotten with the last of its names.
type linkTable struct {
	mu      sync.Mutex
	settled *sync.Cond         // some link was settled; made with by
	by      map[objectID]*link // guarded by mu
}

// link is one inode. linkTable.mu guards it.
type link struct {
	left    uint32 // names that were not seen yet
	done    bool   // what follows is set
	ok      bool
	size    int64 // all of it is under sum
	mtime   entry.Time
	ctime   entry.Time
	content digest.Digest
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
		t.settled = sync.NewCond(&t.mu)
	}
	if l := t.by[id]; l != nil {
		if l.left--; l.left == 0 {
			delete(t.by, id)
		}
		return &claimed{t, l, false}
	}
	if len(t.by) >= maxLinks {
		return nil
	}
	l := &link{left: st.Nlink - 1}
	t.by[id] = l
	return &claimed{t, l, true}
}

// claimed is one worker's view of a link.
type claimed struct {
	table *linkTable
	link  *link
	mine  bool
}

// known waits for the owner and takes its digest if the inode has not changed
// since. The owner hashes inline and never waits, so this ends.
func (c *claimed) known(e *entry.Entry, st *dirfd.Stat) bool {
	if c == nil || c.mine {
		return false
	}
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	for !c.link.done {
		c.table.settled.Wait()
	}
	l := c.link
	if !l.ok || l.size != st.Size || l.mtime != st.Mtime || l.ctime != st.Ctime || st.Kind != entry.File {
		return false
	}
	e.Digest, e.Hashed = l.content, l.size
	e.Have |= entry.Content
	return true
}

// settle publishes the owner's result.
func (c *claimed) settle(e *entry.Entry, st *dirfd.Stat, ok bool) {
	if c == nil || !c.mine {
		return
	}
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	l := c.link
	l.done, l.ok = true, ok && e.Hashed == st.Size
	l.size, l.mtime, l.ctime, l.content = st.Size, st.Mtime, st.Ctime, e.Digest
	c.table.settled.Broadcast()
}
