package hashlist_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"intact/rules/hashlist"
)

const (
	good  = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
	other = "886b67480dbe73b406ad83a1dd6d9596f93089d90c220ccfc91944c95f1c68c4"
	sha1  = "f572d396fae9206628714fb2ce00f72e94f2258f"
	md5   = "b1946ac92492d2347c6235b4d2611184"
)

// search looks for good in a list and returns the lines that have it.
func search(text string) (hits []string, err error) {
	want, _ := hex.DecodeString(good)
	err = hashlist.Search(strings.NewReader(text), "list", func(d [hashlist.Size]byte) bool { return string(d[:]) == string(want) },
		func(h hashlist.Hit) { hits = append(hits, fmt.Sprintf("%d%s", h.Line, h.Algorithm)) })
	return hits, err
}

func TestSearch(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"bare":         {good, []string{"1"}},
		"sums":         {"# c\n\n" + other + "  a b\n" + strings.ToUpper(good) + " *n\n" + good + "  again\n", []string{"4", "5"}},
		"crlf":         {"\ufeff" + good + "\r\n", []string{"1"}},
		"escaped":      {`\` + good + "  a\\nb\n", []string{"1"}},
		"prefixed":     {"sha256:" + good + "\nblake3:" + good + "  x\n", []string{"1sha256", "2blake3"}},
		"tagged":       {"SHA256 (a) = b) = " + good + "\nBLAKE3 (x) = " + good + "\n", []string{"1sha256", "2blake3"}},
		"hashdeep":     {"%%%% HASHDEEP-1.0\n%%%% size,sha256,filename\n## x\n#\n6," + good + ",a,b\"c\n7," + other + ",x\n", []string{"5sha256"}},
		"nothing":      {"%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n", nil},
		"nsrl":         {"\"SHA-1\",\"FileName\",\"SHA-256\"\r\n\"" + sha1 + "\",\"a \"\"b\"\", c\",\"" + strings.ToUpper(good) + "\"\r\n", []string{"2sha256"}},
		"csv unquoted": {"sha256,sha1,md5,file\n" + good + "," + sha1 + "," + md5 + ",\"broken\n", []string{"2sha256"}},
		"no hit":       {other + "\n", nil},
	} {
		if got, err := search(tt.text); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, tt.want)
		}
	}
}

func TestSearchRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		line int
		want error
	}{
		"empty":         {"", 1, hashlist.ErrEmpty},
		"comments":      {"# a\n# b\n", 2, hashlist.ErrEmpty},
		"words":         {other + "\nhello\n", 2, hashlist.ErrMalformed},
		"short":         {good[1:], 1, hashlist.ErrMalformed},
		"long":          {good + "0", 1, hashlist.ErrMalformed},
		"no hex":        {"g" + good[1:], 1, hashlist.ErrMalformed},
		"md5":           {other + "\n" + md5 + "  x\n", 2, hashlist.ErrWeak},
		"sha1":          {sha1 + "  x\n", 1, hashlist.ErrWeak},
		"md5 tag":       {"MD5 (x) = " + md5, 1, hashlist.ErrWeak},
		"open tag":      {"SHA256 (x = " + good, 1, hashlist.ErrMalformed},
		"nsrl old":      {`"SHA-1","MD5","CRC32","FileName"` + "\n", 1, hashlist.ErrWeak},
		"hashdeep md5":  {"%%%% HASHDEEP-1.0\n%%%% size,md5,filename\n", 2, hashlist.ErrWeak},
		"hashdeep cut":  {"%%%% HASHDEEP-1.0\n%%%% size,sha256,filename\n6," + good + "\n", 3, hashlist.ErrMalformed},
		"csv cut":       {"\"SHA-1\",\"SHA-256\"\n\"" + sha1 + "\"\n", 2, hashlist.ErrMalformed},
		"csv open":      {"\"SHA-1\",\"SHA-256\"\n\"" + sha1 + "\n", 2, hashlist.ErrMalformed},
		"csv weak cell": {"\"SHA-1\",\"SHA-256\"\n\"" + sha1 + "\",\"" + sha1 + "\"\n", 2, hashlist.ErrWeak},
	} {
		_, err := search(tt.text)
		if le, ok := errors.AsType[*hashlist.LineError](err); !ok || le.Line != tt.line || !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want line %d: %v", name, err, tt.line, tt.want)
		}
	}
	if _, err := search(good + "\n" + strings.Repeat("x", 1<<20)); err == nil || !strings.Contains(err.Error(), `"list":2: longer`) {
		t.Errorf("a line without an end: %v", err)
	}
}

// endless gives the same lines n times.
type endless struct {
	line string
	left int
	rest string
}

func (e *endless) Read(b []byte) (int, error) {
	if e.rest == "" {
		if e.left == 0 {
			return 0, io.EOF
		}
		e.left--
		e.rest = e.line
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// A list is never held: memory does not depend on its length.
func TestSearchMemory(t *testing.T) {
	run := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := hashlist.Search(&endless{line: strings.Repeat(other+"  name\n", 100), left: n}, "list", func([hashlist.Size]byte) bool { return false }, nil)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	if few, many := run(10), run(3000); many > few+1<<20 {
		t.Errorf("%d bytes for a thousand lines, %d for 300 thousand", few, many)
	}
}

// Whatever a list holds, a hit is a line that spells the digest.
func FuzzSearch(f *testing.F) {
	f.Add(good + "  x\n" + other + " *y\n")
	f.Add("%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## x\n6," + md5 + "," + good + ",a,b\n")
	f.Add("\"SHA-1\",\"MD5\",\"FileName\",\"SHA-256\"\n\"" + sha1 + "\",\"" + md5 + "\",\"a \"\"b\"\", c\",\"" + good + "\"\n")
	f.Add("BLAKE3 (x) = " + good + "\nsha256:" + good + "\n\\" + good + "  a\\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		_ = hashlist.Search(strings.NewReader(text), "list", func([hashlist.Size]byte) bool { return true }, func(h hashlist.Hit) {
			if h.Line < 1 || h.Line > len(lines) || !strings.Contains(strings.ToLower(lines[h.Line-1]), hex.EncodeToString(h.Digest[:])) {
				t.Errorf("%q: %+v", text, h)
			}
		})
	})
}
