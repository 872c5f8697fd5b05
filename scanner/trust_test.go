package scanner_test

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"intact/scanner"
	"intact/scanner/entry"
)

// asked notes which files Trust is asked about.
type asked struct {
	mu    sync.Mutex
	names []string // guarded by mu
	say   bool
}

func (a *asked) trust(dir entry.Path, old *entry.Entry) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names = append(a.names, string(dir.Join(old.Name)))
	return a.say
}

func TestTrust(t *testing.T) {
	p := newPlace(t)
	const many = 3*entry.PartSize + 5
	for i := range many {
		p.write(fmt.Sprintf("/wide/f%05d", i), "same")
	}
	for _, n := range []string{"kept", "edited", "touched", "replaced", "longer", "gone"} {
		p.write("/d/"+n, "old "+n)
	}
	p.write("/log/l", "line\n")
	eff := p.policy("{path: /, attributes: all}", "{path: /log, attributes: log}")
	before := p.scan(eff, scanner.Options{})
	past := time.Now().Add(-time.Hour)
	p.must(os.WriteFile(p.host("/d/edited"), []byte("new edited"), 0o644)) // same length
	p.must(os.Chtimes(p.host("/d/touched"), past, past))
	p.must(os.WriteFile(p.host("/d/tmp"), []byte("old replaced"), 0o644), os.Rename(p.host("/d/tmp"), p.host("/d/replaced")))
	p.appendTo("/d/longer", "!")
	p.must(os.Remove(p.host("/d/gone")))
	p.write("/d/new", "new")

	for _, say := range []bool{true, false} {
		a := &asked{say: say}
		now := p.scanFrom(eff, scanner.Options{Trust: a.trust}, before)
		now.noGaps()
		slices.Sort(a.names)
		if len(a.names) != many+1 || a.names[0] != "/d/kept" || a.names[1] != "/wide/f00000" || a.names[many] != fmt.Sprintf("/wide/f%05d", many-1) {
			t.Errorf("asked about %d files, among them %q", len(a.names), a.names[:min(3, len(a.names))])
		}
		want := int64(0)
		if say {
			want = many + 1
		}
		if now.stats.Trusted != want {
			t.Errorf("%d files trusted, want %d", now.stats.Trusted, want)
		}
		full := p.scan(eff, scanner.Options{})
		for _, path := range full.paths() {
			a, b := full.entry(entry.Path(path)), now.entry(entry.Path(path))
			if d := entry.Differ(a, b, entry.All); d != 0 || a.Have != b.Have || a.Hashed != b.Hashed {
				t.Errorf("%s: %v differs from a scan that reads", path, d)
			}
		}
	}

	// What is trusted is not read: a wrong stored digest stays.
	lie := before.entry("/d/kept")
	lie.Digest[0]++
	key := string(entry.Path("/d").Key())
	before.packed[key], _ = before.blocks[key].Pack(nil, nil, eff.Sets())
	now := p.scanFrom(eff, scanner.Options{Trust: (&asked{say: true}).trust}, before)
	if got := now.entry("/d/kept"); got.Digest != lie.Digest {
		t.Error("the file was read")
	}
}
