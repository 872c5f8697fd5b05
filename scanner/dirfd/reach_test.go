package dirfd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"intact/scanner/entry"
)

// image makes a root with links inside and to the outside.
func image(t *testing.T) (*Root, string) {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for _, d := range []string{"usr/bin", "empty"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"usr/bin/tool", "../outside"} {
		if err := os.WriteFile(filepath.Join(root, f), []byte(f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"bin": "/usr/bin", "out": dir, "up": "..", "loop": "loop", "usr/bin/link": "tool", "file": "usr/bin/tool"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, root
}

func TestReach(t *testing.T) {
	r, root := image(t)
	before := r.OpenDirs()
	for _, tt := range []struct {
		path, free entry.Path
		kind       entry.Kind
		err        error
	}{
		{"/usr/bin/tool", "/usr/bin/tool", entry.File, nil},
		{"/bin/tool", "/usr/bin/tool", entry.File, nil},
		{"/bin/link", "/usr/bin/link", entry.Symlink, nil},
		{"/bin", "/bin", entry.Symlink, nil},
		{"/up/usr/bin", "/usr/bin", entry.Dir, nil}, // ".." ends at the root
		{"/", "/", entry.Dir, nil},
		{"/loop", "/loop", entry.Symlink, nil},
		{"/loop/x", "", 0, ErrTooManyLinks},
		{"/out/outside", "", 0, unix.ENOENT},
		{"/none/x", "", 0, unix.ENOENT},
		{"/file/x", "", 0, unix.ENOENT},
	} {
		at, n, free, err := r.Reach(tt.path)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.path, err, tt.err)
		}
		if err != nil {
			if at != nil {
				t.Errorf("%s: a folder with an error", tt.path)
			}
			continue
		}
		var st Stat
		if n == nil {
			err = at.StatSelf(&st)
		} else {
			err = at.Stat(n, false, &st)
		}
		at.Release()
		if err != nil || free != tt.free || st.Kind != tt.kind {
			t.Errorf("%s: %s, %v, %v; want %s, %v", tt.path, free, st.Kind, err, tt.free, tt.kind)
		}
	}
	// A folder that is swapped for a link after it was reached leads nowhere else.
	at, n, _, err := r.Reach("/usr/bin/tool")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "usr"), filepath.Join(root, "old")); err != nil {
		t.Fatal(err)
	}
	f, err := at.OpenFile(n)
	at.Release()
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if n := r.OpenDirs(); n != before {
		t.Errorf("%d directories are open, %d before", n, before)
	}
}

func TestList(t *testing.T) {
	r, root := image(t)
	var want []string
	for i := range 6000 { // several blocks of names
		want = append(want, fmt.Sprintf("%0200d", i))
		if err := os.WriteFile(filepath.Join(root, "empty", want[i]), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	if err := r.List("/empty", func(n string, k entry.Kind) error { got = append(got, n); return nil }); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	got = nil
	if err := r.List("/bin", func(n string, k entry.Kind) error { got = append(got, n+" "+k.String()); return nil }); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"link symlink", "tool file"}) {
		t.Errorf("got %q", got)
	}
	stop := errors.New("stop")
	if err := r.List("/", func(string, entry.Kind) error { return stop }); err != stop {
		t.Errorf("got %v", err)
	}
	for _, p := range []entry.Path{"/none", "/usr/bin/tool", "/out"} {
		if err := r.List(p, func(n string, _ entry.Kind) error { t.Errorf("%s: %q", p, n); return nil }); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: %v", p, err)
		}
	}
}
