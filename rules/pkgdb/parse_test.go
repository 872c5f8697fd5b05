package pkgdb

import (
	"strings"
	"testing"
)

func FuzzParseSum(f *testing.F) {
	f.Add([]byte("b1946ac92492d2347c6235b4d2611184  usr/bin/tool"))
	f.Add([]byte("B1946AC92492D2347C6235B4D2611184 *./a b\xff"))
	f.Fuzz(func(t *testing.T, line []byte) {
		sum, path, ok := parseSum(line)
		if ok != (sum != "") && ok || ok && (len(sum) != 32 || path[0] != '/' || !strings.HasSuffix(string(line), path[1:])) {
			t.Errorf("%q: %q %q", line, sum, path)
		}
	})
}

func FuzzParseConffile(f *testing.F) {
	f.Add([]byte(" /etc/a b b1946ac92492d2347c6235b4d2611184 obsolete"))
	f.Add([]byte("\t/etc/x newconffile remove-on-upgrade"))
	f.Fuzz(func(t *testing.T, line []byte) {
		path, sum, ok := parseConffile(line)
		if ok && (path[0] != '/' || sum != "" && len(sum) != 32 || !strings.Contains(string(line), path)) {
			t.Errorf("%q: %q %q", line, path, sum)
		}
	})
}

func FuzzParseOverride(f *testing.F) {
	f.Add("root #12 4755 /usr/bin/a b\xff")
	f.Add("root root 99999 /x")
	f.Add("root root 4755 ../x")
	f.Fuzz(func(t *testing.T, line string) {
		p, o, ok := parseOverride(line)
		if ok && (p[0] != '/' || o.Mode > 0o7777 || o.User == "" || o.Group == "" || !strings.HasSuffix(line, string(p))) {
			t.Errorf("%q: %q %+v", line, p, o)
		}
	})
}
