package transaction

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"intact/rules/pkgdb/manifest"
	"intact/scanner/digest"
)

var (
	began  = time.Date(2026, 11, 27, 2, 30, 0, 0, time.UTC)
	name   = NewName(began, [8]byte{1, 2, 3, 4, 5, 6, 7, 8})
	stored = strings.Repeat("ab", 32) + "-" + strings.Repeat("cd", 32)
)

func sample() *Transaction {
	return &Transaction{
		Name: name, Began: began, Ended: began.Add(time.Minute), Manager: Apt,
		Command:   "apt-get -o 'a\n\x1b[31m\u202e\xff' upgrade",
		Unchecked: []string{"APT::Get::AllowUnauthenticated"}, Problems: []string{"lists: \"none\""},
		Packages: []Package{
			{Name: "hostname", Arch: "amd64", Old: "3.23", New: "3.23+nmu1", Action: Unpack, Level: manifest.Signed, Manifest: stored, List: digest.Sum([]byte("x"))},
			{Name: "dash", Arch: "amd64", New: "1:0.5~1", Action: Unpack, Level: manifest.None, Problem: Uncaptured + "\x00 \xfe"},
			{Name: "gone", Arch: "all", Old: "1", Action: Remove, Level: manifest.None},
		},
	}
}

func text(t testing.TB, x *Transaction) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := x.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	one := text(t, sample())
	for i, c := range one {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("byte %d is %q", i, c)
		}
	}
	got, err := Parse(name, one)
	if err != nil {
		t.Fatal(err)
	}
	if two := text(t, got); !bytes.Equal(one, two) || got.Command != sample().Command || !slices.Equal(got.Packages, sample().Packages) || got.Name != name {
		t.Errorf("got\n%s\nwant\n%s", two, one)
	}
}

func TestWriteRefuses(t *testing.T) {
	for what, spoil := range map[string]func(*Transaction){
		"fraction":   func(x *Transaction) { x.Began = x.Began.Add(1) },
		"no time":    func(x *Transaction) { x.Began = time.Time{} },
		"manager":    func(x *Transaction) { x.Manager = "yum" },
		"blank":      func(x *Transaction) { x.Packages[0].Name = "a b" },
		"newline":    func(x *Transaction) { x.Packages[0].New = "1\nend 0" },
		"dash":       func(x *Transaction) { x.Packages[0].Old = "-" },
		"no arch":    func(x *Transaction) { x.Packages[0].Arch = "" },
		"no new":     func(x *Transaction) { x.Packages[0].New = "" },
		"action":     func(x *Transaction) { x.Packages[0].Action = "trust" },
		"level":      func(x *Transaction) { x.Packages[0].Level = "certain" },
		"no paper":   func(x *Transaction) { x.Packages[0].Manifest = "" },
		"a path":     func(x *Transaction) { x.Packages[0].Manifest = "../" + stored[3:] },
		"empty text": func(x *Transaction) { x.Problems = []string{""} },
		"long":       func(x *Transaction) { x.Command = strings.Repeat("x", maxText+1) },
	} {
		x := sample()
		spoil(x)
		var b bytes.Buffer
		if err := x.Write(&b); !errors.Is(err, ErrMalformed) || b.Len() > 0 {
			t.Errorf("%s: wrote %d bytes, %v", what, b.Len(), err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(text(t, sample()))
	for what, bad := range map[string]string{
		"empty":     "",
		"format":    strings.Replace(good, "/1", "/2", 1),
		"truncated": good[:len(good)-2],
		"more":      good + "x\n",
		"blank":     strings.Replace(good, "\nmanager", "\n\nmanager", 1),
		"count":     strings.Replace(good, "end 3", "end 2", 1),
		"order":     strings.Replace(good, "manager apt\ncommand", "command", 1) + "manager apt\n",
		"twice":     strings.Replace(good, "manager apt\n", "manager apt\nmanager apt\n", 1),
		"time":      strings.Replace(good, "02:30:00Z", "04:30:00+02:00", 1),
		"time2":     strings.Replace(good, "ended 2026", "ended 02026", 1),
		"spelling":  strings.Replace(good, `"APT`, `"\x41PT`, 1),
		"raw quote": strings.Replace(good, `"APT::Get::AllowUnauthenticated"`, "`APT`", 1),
		"word":      strings.Replace(good, "manager", "mangler", 1),
		"columns":   strings.Replace(good, " remove none - - -", " remove none", 1),
		"named":     strings.Replace(good, digest.Sum([]byte("x")).String(), digest.Sum([]byte("x")).Named(), 1),
	} {
		if bad == good {
			t.Fatalf("%s: nothing spoiled", what)
		}
		if x, err := Parse(name, []byte(bad)); err == nil {
			t.Errorf("%s: %+v", what, x)
		}
	}
	for _, other := range []string{"", "x", "20261127T023001Z-0102030405060708", name + "0", "../" + name} {
		if _, err := Parse(other, []byte(good)); err == nil {
			t.Errorf("called %q", other)
		}
	}
}

// TestEveryByte changes every byte: nothing is read that is written otherwise.
func TestEveryByte(t *testing.T) {
	good := text(t, sample())
	for i := range good {
		for _, c := range []byte{good[i] ^ 1, ' ', '\n', '-', 0} {
			if c == good[i] {
				continue
			}
			bad := bytes.Clone(good)
			bad[i] = c
			if x, err := Parse(name, bad); err == nil && !bytes.Equal(text(t, x), bad) {
				t.Fatalf("byte %d as %q is read as something else", i, c)
			}
		}
	}
}

func TestList(t *testing.T) {
	later := sample()
	later.Began = began.Add(time.Hour)
	later.Ended = time.Time{}
	laterName := NewName(later.Began, [8]byte{})
	broken := NewName(began.Add(time.Second), [8]byte{9})
	dir := fstest.MapFS{
		laterName: {Data: text(t, later)}, name: {Data: text(t, sample())},
		broken: {Data: []byte("garbage\x1b[31m")}, "other": {Data: []byte("x")},
		strings.Repeat("ab", 32): {Data: []byte("x")},
	}
	list, problems, err := List(dir, began.Add(2*time.Hour))
	if err != nil || len(list) != 2 || list[0].Name != name || list[1].Name != laterName || !list[1].Ended.IsZero() {
		t.Errorf("list %+v, %v", list, err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], broken) {
		t.Errorf("problems %q", problems)
	}
	if list, problems, err := List(fstest.MapFS{}, began); len(list)+len(problems) > 0 || err != nil {
		t.Errorf("empty: %v, %q, %v", list, problems, err)
	}
}

// What is of the future pushes out nothing and does not count, however much of it
// there is.
func TestListFuture(t *testing.T) {
	now := began.Add(time.Hour)
	dir := fstest.MapFS{name: {Data: text(t, sample())}}
	put := func(began, ended time.Time, id byte, n int) {
		x := sample()
		x.Began, x.Ended = began, ended
		dir[NewName(began, [8]byte{id, byte(n >> 8), byte(n)})] = &fstest.MapFile{Data: text(t, x)}
	}
	for i := range MaxListed + 10 {
		put(began.AddDate(70, 0, 0), time.Time{}, 1, i)
	}
	put(now.Add(maxAhead), time.Time{}, 2, 0) // a clock in another time zone
	put(now.Add(maxAhead+time.Second), time.Time{}, 3, 0)
	put(began, began.AddDate(1, 0, 0), 4, 0)
	list, problems, err := List(dir, now)
	if err != nil || len(list) != 2 || list[0].Name != name || !list[1].Began.Equal(now.Add(maxAhead)) {
		t.Errorf("got %d transactions, %v", len(list), err)
	}
	said := strings.Join(problems, "\n")
	for _, want := range []string{"there are 4107 of them", NewName(began, [8]byte{4}) + ": it is of the future"} {
		if !strings.Contains(said, want) {
			t.Errorf("problems %q lack %q", problems, want)
		}
	}
	if len(problems) != 2 {
		t.Errorf("problems %q", problems)
	}
}

// Of more than are read the newest are, and a file that is too long is not read.
func TestListMany(t *testing.T) {
	dir := fstest.MapFS{}
	for i := range 2*MaxListed + 100 {
		x := sample()
		x.Began = began.Add(time.Duration(i) * time.Second)
		x.Packages = nil
		dir[NewName(x.Began, [8]byte{})] = &fstest.MapFile{Data: text(t, x)}
	}
	list, problems, err := List(dir, began.AddDate(1, 0, 0))
	if err != nil || len(list) != MaxListed || !list[0].Began.Equal(began.Add((MaxListed+100)*time.Second)) {
		t.Errorf("%d transactions, %v", len(list), err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "4196 old transactions are not read") {
		t.Errorf("problems %q", problems)
	}
}

func TestFileList(t *testing.T) {
	l, err := NewFileList(strings.NewReader("/usr/bin/b\n/.\n/usr\n/usr/bin/a\x1b\xff\n"))
	if err != nil || !slices.Equal(l, FileList{"/.", "/usr", "/usr/bin/a\x1b\xff", "/usr/bin/b"}) {
		t.Fatalf("%q, %v", l, err)
	}
	if got := string(l.Text()); got != "/.\x00/usr\x00/usr/bin/a\x1b\xff\x00/usr/bin/b\x00" {
		t.Errorf("text %q", got)
	}
	sum := l.Digest()
	dir := fstest.MapFS{sum.String(): {Data: l.Text()}}
	if got, err := ReadFileList(dir, sum); err != nil || !slices.Equal(got, l) {
		t.Errorf("read %q, %v", got, err)
	}
	dir[sum.String()].Data = []byte("/usr\x00")
	if got, err := ReadFileList(dir, sum); err == nil {
		t.Errorf("another list: %q", got)
	}
	for _, bad := range []string{"usr\n", "/usr", "/a\n\n", "\n", "/a\x00b\n"} {
		if l, err := NewFileList(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: %q", bad, l)
		}
	}
	for _, bad := range []string{"/b\x00/a\x00", "a\x00", "/a", "\x00"} {
		sum := digest.Sum([]byte(bad))
		if l, err := ReadFileList(fstest.MapFS{sum.String(): {Data: []byte(bad)}}, sum); err == nil {
			t.Errorf("stored %q: %q", bad, l)
		}
	}
	if l, err := NewFileList(strings.NewReader("")); err != nil || len(l) > 0 {
		t.Errorf("empty: %q, %v", l, err)
	}
}

// What is all ends of lines takes no memory for each of them.
func TestManyLines(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: counts memory, in the suite itself")
	}
	newlines := bytes.Repeat([]byte{'\n'}, MaxSize-len(Format)-1)
	paths := bytes.Repeat([]byte("/\n"), MaxListBytes/2)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Parse(name, append([]byte(Format+"\n"), newlines...)); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	if l, err := NewFileList(bytes.NewReader(paths)); err == nil {
		t.Errorf("%d paths", len(l))
	}
	stored := bytes.ReplaceAll(paths, []byte{'\n'}, []byte{0})
	sum := digest.Sum(stored)
	if l, err := ReadFileList(fstest.MapFS{sum.String(): {Data: stored}}, sum); err == nil {
		t.Errorf("%d paths", len(l))
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<30 {
		t.Errorf("%d MiB were taken", took>>20)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text(f, sample()))
	f.Add([]byte(Format + "\nbegan 2026-11-27T02:30:00Z\nmanager dpkg\nend 0\n"))
	f.Add([]byte(Format + "\nbegan 2026-11-27T02:30:00Z\nmanager apt\nproblem \"\\u202e\"\nend 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Parse(name, b)
		if err == nil && !bytes.Equal(text(t, x), b) {
			t.Errorf("%q is spelled %q", b, text(t, x))
		}
	})
}
