package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

// spell writes an event as the kernel does.
func spell(mask uint64, pid, pidfd int32, names ...rawName) []byte {
	b := make([]byte, metaSize)
	b[4] = unix.FANOTIFY_METADATA_VERSION
	binary.NativeEndian.PutUint16(b[6:], metaSize)
	binary.NativeEndian.PutUint64(b[8:], mask)
	binary.NativeEndian.PutUint32(b[16:], uint32(0xffffffff))
	binary.NativeEndian.PutUint32(b[20:], uint32(pid))
	info := func(kind byte, body []byte) {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		h := []byte{kind, 0, 0, 0}
		binary.NativeEndian.PutUint16(h[2:], uint16(infoSize+len(body)))
		b = append(append(b, h...), body...)
	}
	for i, n := range names {
		kind := byte(unix.FAN_EVENT_INFO_TYPE_DFID_NAME)
		if len(names) == 2 {
			kind = [2]byte{unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME}[i]
		}
		info(kind, append(append(append([]byte{}, n.handle...), n.name...), 0))
	}
	if pidfd != 0 {
		info(unix.FAN_EVENT_INFO_TYPE_PIDFD, binary.NativeEndian.AppendUint32(nil, uint32(pidfd)))
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

func handleOf(fs byte, id uint32, name string) rawName {
	h := make([]byte, fsidSize+handleHead+4)
	h[0] = fs
	binary.NativeEndian.PutUint32(h[fsidSize:], 4)
	binary.NativeEndian.PutUint32(h[fsidSize+4:], 1)
	binary.NativeEndian.PutUint32(h[fsidSize+handleHead:], id)
	return rawName{h, []byte(name)}
}

func FuzzEvent(f *testing.F) {
	f.Add(spell(unix.FAN_CREATE, 12, 5, handleOf(1, 2, "name")))
	f.Add(spell(unix.FAN_RENAME|unix.FAN_ONDIR, 12, -1, handleOf(1, 2, "from"), handleOf(1, 3, "\xff\n")))
	f.Add(append(spell(unix.FAN_ATTRIB, 1, 0, handleOf(1, 2, ".")), spell(unix.FAN_Q_OVERFLOW, 0, 0)...))
	f.Add(spell(unix.FAN_CREATE, 1, 0, handleOf(1, 2, "a/b")))
	f.Add(spell(unix.FAN_CREATE, 1, 0, handleOf(1, 2, "..")))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			e, rest, err := cutEvent(b)
			if len(rest) >= len(b) {
				t.Fatalf("%d bytes left of %d", len(rest), len(b))
			}
			for _, n := range e.at[:e.names] {
				if s := string(n.name); s == "" || s == ".." || strings.ContainsAny(s, "/\x00") {
					t.Errorf("name %q", s)
				}
				if len(n.handle) < fsidSize+handleHead || len(n.handle) > fsidSize+handleHead+maxHandle {
					t.Errorf("handle of %d bytes", len(n.handle))
				}
				if h := n.fileHandle(); h.Size() != len(n.handle)-fsidSize-handleHead {
					t.Errorf("handle of %d bytes, not %d", h.Size(), len(n.handle))
				}
			}
			if err != nil && !errors.Is(err, errEvent) {
				t.Error(err)
			}
			b = rest
		}
	})
}

func TestEvents(t *testing.T) {
	e, rest, err := cutEvent(append(spell(unix.FAN_RENAME, 12, 5, handleOf(1, 2, "from"), handleOf(1, 3, "to")), 1, 2))
	if err != nil || len(rest) != 2 || e.mask != unix.FAN_RENAME || e.pid != 12 || e.pidfd != 5 || e.names != 2 || string(e.at[0].name) != "from" || string(e.at[1].name) != "to" {
		t.Errorf("%+v, %d left, %v", e, len(rest), err)
	}
	if e, _, err := cutEvent(spell(unix.FAN_CREATE, 12, 7, handleOf(1, 2, "a/b"))); !errors.Is(err, errEvent) || e.names != 0 {
		t.Errorf("%+v, %v", e, err)
	}
}

// lost is a backend that loses events when it is told to.
type lost struct {
	byFileSystem
	mu   *sync.Mutex
	lose *int
}

func (l lost) next() (event, error) {
	e, err := l.byFileSystem.next()
	l.mu.Lock()
	defer l.mu.Unlock()
	if *l.lose > 0 && err == nil {
		*l.lose--
		return event{}, errOverflow
	}
	return e, err
}

func fanRig(t *testing.T, lines string, dirs ...string) *rig {
	t.Helper()
	return start(t, effective(t, lines), Options{Backend: Fanotify}, dirs...)
}

func TestFanotifyOverflow(t *testing.T) {
	f, err := newFanotify(unix.AT_FDCWD, -1)
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: %v", err)
	}
	f.rest = spell(unix.FAN_Q_OVERFLOW, 0, 0)
	if _, err := f.next(); !errors.Is(err, errOverflow) {
		t.Errorf("an overflow is %v", err)
	}
	f.rest = spell(unix.FAN_MODIFY, 1, 0) // of a file that was opened by its handle
	if e, err := f.next(); err != nil || e.path != "/" || !e.whole {
		t.Errorf("an event that is nowhere is %+v, %v", e, err)
	}
	f.close()
	var mu sync.Mutex
	lose := 0
	r := start(t, effective(t, hotEtc), Options{Backend: Fanotify, backend: func(fd int) (backend, error) {
		f, err := newFanotify(fd, -1)
		return lost{f, &mu, &lose}, err
	}}, "/etc/a", "/out/x")
	mu.Lock()
	lose = 4
	mu.Unlock()
	must(t, os.Rename(r.dir+"/etc/a", r.dir+"/out/a"))
	must(t, os.Rename(r.dir+"/out/x", r.dir+"/etc/a"))
	r.until("a rescan of everything", func(told []Hint) bool { return holds(told, "/") && len(r.Losses()) == 0 })
	r.settled()
	r.write("/etc/a/f", "x")
	r.sees("/etc/a/f")
}

// What a directory was called is not what it is called, and its handle is the same.
func testRenamed(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc), Options{Backend: k}, "/etc/a/b", "/out/c/d")
	r.write("/etc/a/b/f", "x")
	r.write("/out/c/d/f", "x")
	r.sees("/etc/a/b/f")
	for i := range 5 {
		r.clear()
		must(t, os.Rename(r.dir+"/etc/a", fmt.Sprintf("%s/etc/a%d", r.dir, i)))
		must(t, os.Rename(r.dir+"/out/c", r.dir+"/etc/c"))
		r.sees(entry.Path(fmt.Sprintf("/etc/a%d/b/f", i)), "/etc/a/b/f", "/etc/c/d/f")
		r.settled()
		for _, p := range []entry.Path{entry.Path(fmt.Sprintf("/etc/a%d/b/f", i)), "/etc/c/d/f"} {
			r.write(string(p), "again")
			r.sees(p)
			r.only(p.Dir(), "f")
			r.clear()
		}
		must(t, os.Rename(fmt.Sprintf("%s/etc/a%d", r.dir, i), r.dir+"/etc/a"))
		must(t, os.Rename(r.dir+"/etc/c", r.dir+"/out/c"))
		r.sees("/etc/a/b/f", "/etc/c/d/f")
		r.settled()
		r.write("/out/c/d/f", "unseen")
	}
}

// Directories that are gone before anybody looks are told by what they were in.
func testGone(t *testing.T, k Kind) {
	r := start(t, effective(t, hotEtc), Options{Backend: k}, "/etc/d")
	for i := range 30 {
		d := fmt.Sprintf("/etc/d/x%d (deleted)", i)
		must(t, os.MkdirAll(r.dir+d+"/y/z", 0o755))
		r.write(d+"/y/z/f", "x")
		must(t, os.RemoveAll(r.dir+d))
		r.sees(entry.Path(d))
	}
}

func TestLookup(t *testing.T) {
	var opened int
	answer := error(unix.ESTALE)
	l := newLookup(unix.AT_FDCWD)
	l.opens = func(int, rawName) (int, error) {
		opened++
		return -1, answer
	}
	find := func(fs byte, id uint32) ([]entry.Path, bool) {
		l.open[7] = -1 // as if it were open
		defer clear(l.open)
		l.host = "/"
		return l.find(handleOf(fs, id, "x"))
	}
	l.set([]mounted{{path: "/m", id: 7, fsid: fsid{1}}})
	l.news = false
	if p, whole := find(2, 1); len(p) != 0 || whole || opened != 0 {
		t.Errorf("of a file system that is not watched: %q, %v, opened %d", p, whole, opened)
	}
	if p, whole := find(1, 1); len(p) != 0 || whole {
		t.Errorf("of one that is gone: %q, %v", p, whole)
	}
	answer = unix.EMFILE
	if p, whole := find(1, 2); len(p) != 1 || p[0] != "/m" || !whole {
		t.Errorf("of one that cannot be found: %q, %v", p, whole)
	}
	answer = unix.ESTALE
	for i := range uint32(3 * maxKnown) {
		find(1, i)
		if len(l.known) > maxKnown || l.bytes > maxKnownBytes {
			t.Fatalf("%d known, %d bytes", len(l.known), l.bytes)
		}
	}
	opened = 0
	if find(1, 3*maxKnown-1); opened != 0 {
		t.Error("what was found is not known")
	}
	l.forget()
	if find(1, 3*maxKnown-1); opened != 1 {
		t.Error("what was forgotten is known")
	}
}

// One file system that fanotify cannot watch is enough for inotify.
func TestFallBack(t *testing.T) {
	pol := effective(t, hotEtc+"  - {path: /etc/m, attributes: config, hot: true}\n")
	r := start(t, pol, Options{Backend: Auto}, "/etc/m", "/o/lower/sub", "/o/upper", "/o/work")
	if k, why := r.Backend(); k != Fanotify {
		t.Skipf("SKIPPED, NOT TESTED: %s", why)
	}
	opts := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work,nfs_export=off", r.dir+"/o")
	if err := unix.Mount("overlay", r.dir+"/etc/m", "overlay", 0, opts); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: no overlayfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(r.dir+"/etc/m", unix.MNT_DETACH) })
	r.until("inotify", func([]Hint) bool { k, _ := r.Backend(); return k == Inotify && len(r.Losses()) == 0 && r.Watches() > 2 })
	if _, why := r.Backend(); !strings.Contains(why, "/etc/m") {
		t.Errorf("why: %s", why)
	}
	r.settled()
	r.write("/etc/m/sub/f", "x")
	r.sees("/etc/m/sub/f")
	if _, err := New(r.dir, pol, Options{Backend: Fanotify}); !errors.Is(err, ErrFanotify) {
		t.Errorf("fanotify there: %v", err)
	}
}
