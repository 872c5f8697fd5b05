package watch

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// object is a directory, by whatever name.
type object struct{ device, inode uint64 }

// node is a directory that is watched, or that such a one lies below.
type node struct {
	path entry.Path
	obj  object
	kids map[string]*node
	held bool // it is watched
}

// tree is what is watched. The kernel watches objects: a directory that a bind
// mount shows at a second place has one watch, and its events carry the path by
// which it was watched first. One goroutine changes it; others ask by also and
// size. No lock is held while the backend is called: it may wait for who reads its
// events.
type tree struct {
	b    byDirectory // nil: none
	root node

	names map[object][]entry.Path // of what is watched; the first goes to the backend

	mu     sync.Mutex                  // guards what follows
	count  int                         // watches
	shared map[entry.Path][]entry.Path // other paths of an object, by its first
}

// reset starts over with a backend that watches nothing yet.
func (t *tree) reset(b byDirectory) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b, t.root, t.names = b, node{path: "/"}, map[object][]entry.Path{}
	t.count, t.shared = 0, map[entry.Path][]entry.Path{}
}

func (t *tree) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// find returns the node of p, nil if there is none and make is false.
func (t *tree) find(p entry.Path, make bool) *node {
	n := &t.root
	for _, c := range p.Components() {
		kid := n.kids[c]
		if kid == nil {
			if !make {
				return nil
			}
			kid = &node{path: n.path.Join([]byte(c))}
			if n.kids == nil {
				n.kids = map[string]*node{}
			}
			n.kids[c] = kid
		}
		n = kid
	}
	return n
}

// watch watches the directory open as d, which is called p.
func (t *tree) watch(p entry.Path, d *dirfd.Dir) error {
	var st dirfd.Stat
	if err := d.StatSelf(&st); err != nil {
		return err
	}
	obj := object{st.Device, st.Inode}
	if n := t.find(p, false); n != nil && n.held {
		if n.obj == obj {
			return nil
		}
		t.drop(n)
	}
	more := 0
	if len(t.names[obj]) == 0 {
		if t.b == nil {
			return unix.ENOSYS
		}
		if err := t.b.add(p, d); err != nil {
			return err
		}
		more = 1
	}
	n := t.find(p, true)
	n.obj, n.held = obj, true
	t.names[obj] = append(t.names[obj], p)
	t.share(obj, t.names[obj][0], more)
	return nil
}

// also returns the other paths of the directory that is watched as p.
func (t *tree) also(p entry.Path) []entry.Path {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shared[p] // replaced as a whole, never changed
}

// share notes by which paths obj is watched now.
func (t *tree) share(obj object, first entry.Path, count int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count += count
	if names := t.names[obj]; len(names) > 1 {
		t.shared[first] = slices.Clone(names[1:])
	} else {
		delete(t.shared, first)
	}
}

// forget ends all watches at and below p. It returns the other paths of what
// was watched by a path there: their watch has gone too.
func (t *tree) forget(p entry.Path) (orphans []entry.Path) {
	n := t.find(p, false)
	if n == nil {
		return nil
	}
	stack := []*node{n}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, k := range n.kids {
			stack = append(stack, k)
		}
		if n.held {
			orphans = append(orphans, t.drop(n)...)
		}
	}
	n.kids = nil
	if p != "/" {
		if up := t.find(p.Dir(), false); up != nil {
			delete(up.kids, p.Base())
		}
	}
	return orphans
}

// drop ends the watch of n. The first of the paths of an object is the one that
// the kernel's watch goes by.
func (t *tree) drop(n *node) (orphans []entry.Path) {
	n.held = false
	names := t.names[n.obj]
	switch at := slices.Index(names, n.path); {
	case at > 0:
		t.names[n.obj] = slices.Delete(names, at, at+1)
		t.share(n.obj, names[0], 0)
	case at == 0:
		if t.b != nil {
			t.b.remove(n.path)
		}
		orphans = slices.Clone(names[1:])
		delete(t.names, n.obj)
		t.share(n.obj, n.path, -1)
		for _, o := range orphans {
			if k := t.find(o, false); k != nil {
				k.held = false
			}
		}
	}
	return orphans
}
