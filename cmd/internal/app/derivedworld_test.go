package app

import (
	"os"
	"path/filepath"
	"testing"

	"intact/scanner"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// What is verified at the end of a link that was turned is not what the link led to.
func TestStraight(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"real", "real/deep"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"same": "real/file", "first": "turned", "turned": "real/file", "folder": "/real", "real/own": "file", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "real/file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w := &derivedWorld{c: &check{session: &session{root: root}}, x: scanner.NewExaminer(root, 0), asked: true, known: true, changed: newPathSet(), signed: newPathSet(), turned: newPathSet()}
	for _, p := range []entry.Path{"/same", "/first", "/turned", "/folder/file", "/real/own", "/real/file", "/loop"} {
		w.changed.add(p) // so that each is looked at
	}
	w.turned.add("/turned")
	w.turned.add("/folder")
	for p, want := range map[entry.Path]bool{"/same": true, "/real/own": true, "/real/file": true, "/turned": false, "/first": false, "/folder/file": false, "/loop": false} {
		if got := w.straight(t.Context(), p); got != want {
			t.Errorf("%s: %v", p, got)
		}
	}
}
