// Package facttest makes images of hosts for the tests of collectors, and checks
// what holds for the rows of all of them.
package facttest

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"intact/rules/facts"
	"intact/scanner/dirfd"
)

// Fifo is a file that nobody writes to.
const Fifo = "\x00fifo"

// Link is a file that leads to target.
func Link(target string) string { return "\x00link" + target }

// Image writes a tree and opens it as the root of a host. A name that ends in a
// slash is an empty folder.
func Image(t testing.TB, files map[string]string) facts.Host {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch target, link := strings.CutPrefix(text, "\x00link"); {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case text == Fifo:
			err = syscall.Mkfifo(p, 0o600)
		case link:
			err = os.Symlink(target, p)
		default:
			err = os.WriteFile(p, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return facts.Host{Root: r}
}

// Nowhere is a host without anything, for tests under the live root: what else the
// machine of the tests listens on or lacks is none of their findings. Its folder
// has no name, so nobody can put anything there.
func Nowhere() *facts.Host {
	dir, err := os.MkdirTemp("", "nowhere")
	if err != nil {
		panic(err)
	}
	r, err := dirfd.Open(dir)
	if err == nil {
		err = os.Remove(dir)
	}
	if err != nil {
		panic(err)
	}
	return &facts.Host{Root: r}
}

var snake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// Tags checks that every field of a row has a name of its own in expressions, and
// a type that they know.
func Tags(t testing.TB, rows ...any) {
	t.Helper()
	for _, row := range rows {
		typ := reflect.TypeOf(row)
		seen := map[string]bool{}
		for i := range typ.NumField() {
			f := typ.Field(i)
			tag := f.Tag.Get("cel")
			if !f.IsExported() || !snake.MatchString(tag) || seen[tag] {
				t.Errorf("%s.%s: name %q", typ.Name(), f.Name, tag)
			}
			seen[tag] = true
			switch f.Type {
			case reflect.TypeFor[string](), reflect.TypeFor[int64](), reflect.TypeFor[bool](), reflect.TypeFor[[]string](), reflect.TypeFor[time.Time]():
			default:
				t.Errorf("%s.%s: type %v", typ.Name(), f.Name, f.Type)
			}
		}
	}
}

// Row is one that takes part in drift.
type Row interface {
	Key() string
	Compared() string
}

// Keys checks that no two rows have the same key.
func Keys[T Row](t testing.TB, rows []T) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.Key()] {
			t.Errorf("two rows %s", r.Key())
		}
		seen[r.Key()] = true
		r.Compared()
	}
}
