package scanner_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// coldFiles writes files that are not in the page cache, of sizes around what
// is read first.
func coldFiles(p *place) map[string]digest.Digest {
	want := map[string]digest.Digest{}
	sizes := []int{1, 4096, 32<<10 - 1, 32 << 10, 32<<10 + 1, 200_000}
	for _, dir := range []struct {
		name string
		n    int
	}{{"/few", 40}, {"/wide", entry.PartSize + 300}} {
		for i := range dir.n {
			b := random(sizes[i%len(sizes)])
			if i >= 60 {
				b = b[:1]
			}
			name := fmt.Sprintf("%s/f%04d", dir.name, i)
			p.write(name, string(b))
			want[name] = digest.Sum(b)
		}
	}
	p.write("/few/large", string(random(9<<20)))
	want["/few/large"] = digest.Sum(random(9 << 20))
	unix.Sync()
	for name := range want {
		f, err := os.Open(p.host(name))
		p.must(err, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
	}
	return want
}

// Files that the disk has to be waited for, in any number, give what others
// give, in order, and are not in the page cache afterwards.
func TestColdFiles(t *testing.T) {
	for _, o := range []scanner.Options{{Workers: 1}, scanner.Options{Workers: 8}.AtRest()} {
		p := newPlace(t)
		want := coldFiles(p)
		before := map[string]int{} // the kernel drops what it can
		var kept []string
		warm := 0
		for name := range want {
			if before[name] = resident(t, p.host(name)); before[name] > 0 {
				warm++
			}
		}
		if warm > len(want)/2 {
			t.Skipf("%d of %d files stay in the page cache whatever is asked", warm, len(want))
		}
		k := p.scan(p.policy(), o)
		k.noGaps()
		for name, sum := range want {
			if e := k.entry(entry.Path(name)); e.Digest != sum || e.Hashed != e.Size {
				t.Errorf("%s: digest %s of %d bytes, want %s", name, e.Digest, e.Hashed, sum)
			}
			if n := resident(t, p.host(name)); n > 0 && before[name] == 0 {
				kept = append(kept, name)
			}
		}
		// Whoever looks at a page just then keeps it, the kernel itself too.
		if len(kept) > len(want)/100 {
			t.Errorf("%d of %d files are in the page cache, none was: %s …", len(kept), len(want), kept[0])
		}
		if k.stats.Files != int64(len(want)) {
			t.Errorf("%d files, want %d", k.stats.Files, len(want))
		}
	}
}

// A bug about one file that waits costs that one alone.
func TestPanicOfWaiting(t *testing.T) {
	p := newPlace(t)
	for _, bad := range []string{"f0000", "f0007", "f0015", "f0016", "f0039", "large"} {
		want := coldFiles(p)
		o := observer(func(dir entry.Path, e *entry.Entry) {
			if dir == "/few" && string(e.Name) == bad {
				panic("a bug")
			}
		})
		k := newTaken(t, p.policy())
		before := descriptors(t)
		k = p.attempt(context.Background(), k, p.policy(), scanner.Options{Workers: 2}, nil, o)
		p.must(k.err)
		if g := k.gapsOf(entry.Path("/few/" + bad)); len(k.gaps) != 1 || len(g) != 1 || g[0].Reason != scanner.ReasonPanic || g[0].Attrs != 0 {
			t.Errorf("%s: gaps %+v", bad, k.gaps)
		}
		for name, sum := range want {
			e := k.find(entry.Path(name))
			if lost := strings.HasSuffix(name, "/"+bad) && strings.HasPrefix(name, "/few/"); lost != (e == nil) || e != nil && e.Digest != sum {
				t.Errorf("%s: %s is %+v", bad, name, e)
			}
		}
		if n := descriptors(t); n != before {
			t.Errorf("%s: %d descriptors are open, %d were", bad, n, before)
		}
	}
}

// Where all that are at work are held up, others take their place.
func TestHeldUp(t *testing.T) {
	p := newPlace(t)
	atWork := runtime.NumCPU() + 1
	for i := range atWork + 1 {
		p.write(fmt.Sprintf("/d%02d/f", i), "x")
	}
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		var mu sync.Mutex
		held := 0
		o := observer(func(_ entry.Path, e *entry.Entry) {
			if e.Kind != entry.File {
				return
			}
			mu.Lock()
			held++
			last := held > atWork
			mu.Unlock()
			if last {
				close(free)
			}
			<-free
		})
		k := p.attempt(context.Background(), newTaken(t, p.policy()), p.policy(), scanner.Options{Workers: atWork + 2}, nil, o)
		if k.err != nil || k.stats.Files != int64(atWork+1) {
			t.Errorf("%d files, %v", k.stats.Files, k.err)
		}
	})
}
