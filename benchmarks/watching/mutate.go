package watching

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// writer changes the hot folder at random, as the others do at the same time: what
// one makes another moves, fills or deletes. Errors are part of that.
type writer struct {
	host *Host
	rand *rand.Rand
	done *atomic.Int64 // changes that worked
	bind bool          // folders are mounted over others now and then
	hard bool          // files get second names
	made *atomic.Int64 // of second names, numbered
}

// step makes one change.
func (w *writer) step() {
	ways := []func() error{
		w.create, w.create, w.create, w.create, w.mkdir, w.mkdir, w.write, w.write, w.appendTo, w.appendTo, w.rename, w.rename, w.remove, w.remove,
		w.chmod, w.chmod, w.mkdir, w.mkdir, w.moveDir, w.removeAll, w.symlink, w.save,
	}
	if w.hard {
		ways = append(ways, w.link, w.writeLink, w.unlink)
	} else { // a file of which one name goes where nobody looks has no events there
		ways = append(ways, w.moveOut, w.moveIn, w.replaceDir)
	}
	if w.bind && w.rand.IntN(500) == 0 {
		ways = []func() error{w.mount}
	}
	if ways[w.rand.IntN(len(ways))]() == nil {
		w.done.Add(1)
	}
}

// folder is one that may be there, at most four levels down.
func (w *writer) folder() string {
	p := w.host.Hot()
	for range w.rand.IntN(5) {
		p = filepath.Join(p, fmt.Sprintf("d%d", w.rand.IntN(5)))
	}
	return p
}

func (w *writer) below() string {
	return filepath.Join(w.folder(), fmt.Sprintf("d%d", w.rand.IntN(5)))
}

// names are the ends of names of files: a name is bytes.
var names = [...]string{"", "", "", "", "\n", "\x1b[2J", "\xff\xfe", " ", "\u202e", "'", "\\", ",", "~", ".swp"}

func (w *writer) file() string {
	return filepath.Join(w.folder(), fmt.Sprintf("f%d%s", w.rand.IntN(12), names[w.rand.IntN(len(names))]))
}

func (w *writer) outside() string {
	return filepath.Join(w.host.Out(), fmt.Sprintf("o%d", w.rand.IntN(8)))
}

func (w *writer) content() []byte {
	b := make([]byte, w.rand.IntN(600))
	for i := range b {
		b[i] = byte(w.rand.Uint32())
	}
	return b
}

func (w *writer) put(name string, flags int) error {
	f, err := os.OpenFile(name, flags|os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(w.content())
	return firstOf(err, f.Close())
}

func firstOf(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) create() error   { return w.put(w.file(), os.O_CREATE|os.O_EXCL) }
func (w *writer) write() error    { return w.put(w.file(), os.O_TRUNC) }
func (w *writer) appendTo() error { return w.put(w.file(), os.O_APPEND) }
func (w *writer) rename() error   { return os.Rename(w.file(), w.file()) }
func (w *writer) remove() error   { return unix.Unlink(w.file()) }
func (w *writer) mkdir() error    { return os.Mkdir(w.below(), 0o755) }
func (w *writer) moveDir() error  { return os.Rename(w.below(), w.below()) }
func (w *writer) symlink() error  { return os.Symlink(w.file(), w.file()) }

// lasting is how many second names are there at a time. One that comes and goes
// between two looks leaves no trace that anybody could see.
const lasting = 300

func (w *writer) second(n int64) string {
	return filepath.Join(w.host.Hot(), "links", fmt.Sprintf("l%d", n))
}

func (w *writer) link() error {
	from := w.file()
	if _, err := os.Lstat(from); err != nil {
		return err
	}
	return os.Link(from, w.second(w.made.Add(1)))
}

func (w *writer) writeLink() error {
	return w.put(w.second(w.made.Load()-int64(w.rand.IntN(lasting))), os.O_APPEND)
}

func (w *writer) unlink() error { return unix.Unlink(w.second(w.made.Load() - lasting)) }

func (w *writer) chmod() error {
	name := w.file()
	if w.rand.IntN(4) == 0 {
		name = w.below()
	}
	modes := [...]uint32{0o600, 0o644, 0o755, 0o4755, 0o1777, 0o700}
	return unix.Fchmodat(unix.AT_FDCWD, name, modes[w.rand.IntN(len(modes))], 0)
}

// save is what an editor does.
func (w *writer) save() error {
	name := w.file()
	if err := w.put(name+".new", os.O_CREATE|os.O_TRUNC); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func (w *writer) moveOut() error { return os.Rename(w.below(), w.outside()) }
func (w *writer) moveIn() error  { return os.Rename(w.outside(), w.below()) }

func (w *writer) removeAll() error {
	if w.rand.IntN(4) == 0 {
		return os.RemoveAll(w.outside())
	}
	return os.RemoveAll(w.below())
}

// replaceDir puts another folder, with something in it, in the place of one.
func (w *writer) replaceDir() error {
	name := w.below()
	if err := os.Rename(name, w.outside()); err != nil {
		return err
	}
	deep := filepath.Join(name, fmt.Sprintf("d%d", w.rand.IntN(5)), fmt.Sprintf("d%d", w.rand.IntN(5)))
	if err := os.MkdirAll(deep, 0o755); err != nil {
		return err
	}
	return w.put(filepath.Join(deep, "f1"), os.O_CREATE)
}

// mount shows one folder at the place of another, or ends that.
func (w *writer) mount() error {
	if w.rand.IntN(2) == 0 {
		return unix.Unmount(w.below(), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	return unix.Mount(w.below(), w.below(), "", unix.MS_BIND, "")
}
