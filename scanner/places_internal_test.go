package scanner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
)

// line makes directories 0/1/2/… below a root and their places, none of them
// kept open.
func line(t *testing.T, c *places, levels int) (top string, all []*place) {
	t.Helper()
	top = t.TempDir()
	r, err := dirfd.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	c.root = r.Dir()
	r.Close()
	t.Cleanup(c.close)
	all = []*place{{}}
	dir := top
	for i := range levels {
		dir = filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		n, err := dirfd.NewName(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		var st dirfd.Stat
		d, err := dirfd.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		here := d.Dir()
		if err := here.StatSelf(&st); err != nil {
			t.Fatal(err)
		}
		here.Release()
		d.Close()
		all = append(all, &place{parent: all[i], name: n, seen: objectID{st.Device, st.Inode}, mount: mountOf(&st)})
	}
	return top, all
}

// A place that was closed is found again, and only if every directory on the
// way is the one that was listed.
func TestReach(t *testing.T) {
	c := newPlaces(8)
	top, all := line(t, c, 40)
	last := all[len(all)-1]
	reach := func() error {
		d, err := c.reach(last)
		if err != nil {
			return err
		}
		defer d.Release()
		return last.is(d, new(dirfd.Stat))
	}
	if err := reach(); err != nil {
		t.Fatal(err)
	}
	if n := c.kept.Len(); n != 2 {
		t.Errorf("%d directories are kept, want the last two", n)
	}
	forget := func() {
		for c.kept.Len() > 0 {
			c.drop(c.kept.Front().Value.(*kept))
		}
	}
	at := filepath.Join(top, "0", "1", "2")
	for what, put := range map[string]func() error{
		"another directory": func() error {
			return errors.Join(os.MkdirAll(filepath.Join(at, "3"), 0o755), os.Rename(at+".old/3/4", at+"/3/4"))
		},
		"a link to it": func() error { return os.Symlink(at+".old", at) },
		"a file":       func() error { return os.WriteFile(at, nil, 0o644) },
		"nothing":      func() error { return nil },
	} {
		if err := errors.Join(os.Rename(at, at+".old"), put()); err != nil {
			t.Fatal(err)
		}
		if err := reach(); err != nil {
			t.Errorf("%s: what is open is not used: %v", what, err)
		}
		forget()
		if err := reach(); !errors.Is(err, errReplaced) || reasonOf(err) != ReasonReplaced {
			t.Errorf("%s: got %v", what, err)
		}
		_ = os.Rename(at+"/3/4", at+".old/3/4")
		if err := errors.Join(os.RemoveAll(at), os.Rename(at+".old", at)); err != nil {
			t.Fatal(err)
		}
		if err := reach(); err != nil {
			t.Errorf("after %s: %v", what, err)
		}
	}
	forget()
	if os.Geteuid() != 0 || unix.Mount(at, at, "", unix.MS_BIND, "") != nil {
		return
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	if err := reach(); last.mount>>63 == 0 && !errors.Is(err, errReplaced) {
		t.Errorf("the same directory through another mount: got %v", err)
	}
}
