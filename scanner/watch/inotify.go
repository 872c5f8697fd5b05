package watch

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// event says that something happened to path.
type event struct {
	path entry.Path
	// moved: the name came, went, or leads to another object than before.
	moved bool
	// whole: it may have happened anywhere at or below path.
	whole bool
	// tree: a directory was renamed, with all that lies below it.
	tree bool
	// who, if any, says who caused it, until next is called.
	who func() *By
}

func (e event) by() *By {
	if e.who == nil {
		return nil
	}
	return e.who()
}

// Errors of a backend.
var (
	errClosed   = errors.New("watch: closed")
	errOverflow = errors.New("watch: queue overflow")
	errElse     = errors.New("watch: the name leads elsewhere")
)

// backend delivers what happens. It is told where, by one of two ways.
type backend interface {
	// next waits for an event. errOverflow: some were lost. errClosed: there
	// will be none.
	next() (event, error)
	close()
}

// byDirectory is a backend that watches single directories.
type byDirectory interface {
	backend
	// add watches the directory that is open as d and called p. errElse: p led
	// to another one by then, nothing is watched.
	add(p entry.Path, d *dirfd.Dir) error
	// remove ends the watch of p, if there is one.
	remove(p entry.Path)
}

// byFileSystem is a backend that watches whole file systems.
type byFileSystem interface {
	backend
	// arrange watches what is mounted at places, and nothing else tells from now
	// on. It returns an error, or nil, for each of them.
	arrange(places []place) []error
}

// place is a mount that something hot lies on, open at its highest directory that
// is visible.
type place struct {
	path entry.Path
	dir  *dirfd.Dir
}

// inotify is the backend by inotify(7). Its watches do not tell of reads, so
// what intact reads itself causes no events.
type inotify struct {
	w      *fsnotify.Watcher
	prefix string // of the root: a path of this process
}

// newInotify watches below the root that is open as fd.
func newInotify(fd int) (backend, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &inotify{w, fmt.Sprintf("/proc/self/fd/%d", fd)}, nil
}

func (i *inotify) name(p entry.Path) string {
	if p == "/" {
		return i.prefix
	}
	return i.prefix + string(p)
}

// add hands fsnotify a path, because it tells watches apart by their paths: one
// of a descriptor would do, but its number is another directory's tomorrow. So
// it is looked afterwards where the path led. Who changes that in between causes
// an event of the directory above, which is watched already.
func (i *inotify) add(p entry.Path, d *dirfd.Dir) error {
	var want unix.Stat_t
	if err := unix.Fstat(d.FD(), &want); err != nil {
		return err
	}
	name := i.name(p)
	if err := i.w.Add(name); err != nil {
		return err
	}
	var got unix.Stat_t
	if err := unix.Stat(name, &got); err != nil || got.Dev != want.Dev || got.Ino != want.Ino {
		i.remove(p)
		return errElse
	}
	return nil
}

// remove has nobody to tell of an error: the watch may have gone by itself.
func (i *inotify) remove(p entry.Path) { _ = i.w.Remove(i.name(p)) }

func (i *inotify) next() (event, error) {
	for {
		select {
		case e, ok := <-i.w.Events:
			if !ok {
				return event{}, errClosed
			}
			p, under := strings.CutPrefix(e.Name, i.prefix)
			if !under {
				continue
			}
			if p == "" {
				p = "/"
			}
			return event{path: entry.Path(p), moved: e.Has(fsnotify.Create) || e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)}, nil
		case err, ok := <-i.w.Errors:
			switch {
			case !ok:
				return event{}, errClosed
			case errors.Is(err, fsnotify.ErrEventOverflow):
				return event{}, errOverflow
			}
			return event{}, err
		}
	}
}

func (i *inotify) close() { _ = i.w.Close() }
