package deb_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/manifest"
)

// Several packages are looked for in one pass; what is wrong with one stops no
// other, and a file that is exchanged between the two readings gains nothing.
func TestRecordAll(t *testing.T) {
	k := keyring(t)
	good := built(t, "tool", "1", "xz", map[string]string{"usr/bin/tool": "program"})
	other := built(t, "other", "2", "gzip", map[string]string{"usr/bin/other": "program"})
	index := stanza("tool", "1", good) + stanza("listed", "1", nil)
	lists := fstest.MapFS{
		"x_InRelease":                      {Data: signed(t, release("", listed("main/binary-all/Packages", index)))},
		"x_main_binary-all_Packages":       {Data: []byte(index)},
		"y_InRelease":                      {Data: []byte("not signed\n")},
		"y_main_binary-all_Packages":       {Data: []byte(index)},
		"x-updates_main_binary-i_Packages": {Data: []byte("another repository's\n")},
	}
	opened := map[string]int{}
	open := func(name string) (io.ReadCloser, error) {
		opened[name]++
		b := map[string][]byte{"a": good, "b": other, "c": good[:100], "e": good}[name]
		if name == "e" && opened[name] == 2 {
			b = other
		}
		if b == nil {
			return nil, fs.ErrNotExist
		}
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	var got []string
	problems, err := deb.Lists{Dir: lists, Ring: k, Now: now}.Record(t.Context(), []string{"a", "b", "c", "d", "e"}, open, t.TempDir(), func(name string, r deb.Recorded) error {
		if r.Err != nil {
			got = append(got, name+" error")
			return nil
		}
		var b bytes.Buffer
		sum, err := r.Write(&b)
		if err != nil {
			return err
		}
		m, err := manifest.Open(sum, bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			return err
		}
		got = append(got, name+" "+m.Head.Package+" "+string(m.Head.Level))
		return nil
	})
	if want := "a tool signed, b other local, c error, d error, e other local"; strings.Join(got, ", ") != want || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "y_InRelease") {
		t.Errorf("problems: %v", problems)
	}
	full := errors.New("disk full")
	if _, err := (deb.Lists{Dir: lists, Ring: k, Now: now}).Record(t.Context(), []string{"a", "b"}, open, "", func(string, deb.Recorded) error { return full }); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := (deb.Lists{Dir: lists, Ring: k, Now: now}).Record(ctx, []string{"a"}, open, "", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
