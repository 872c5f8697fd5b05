package watch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"intact/scanner/entry"
)

func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSettle(quietFor, longest)
		ctx, stop := context.WithCancel(t.Context())
		out := make(chan Batch)
		var all sync.WaitGroup
		all.Go(func() { s.run(ctx, out) })
		begin := time.Now()
		after := func(want time.Duration, what string) {
			t.Helper()
			b := <-out
			if got := time.Since(begin); got != want || len(b.Hints) == 0 {
				t.Errorf("%s: %v behind the first, with %s", what, got, words(b.Hints))
			}
		}
		s.name("/etc", "a", nil, false)
		after(quietFor, "one")

		begin = time.Now()
		s.name("/etc", "a", nil, false)
		time.Sleep(200 * time.Millisecond)
		s.name("/etc", "b", nil, false)
		after(200*time.Millisecond+quietFor, "two")

		begin = time.Now()
		all.Go(func() {
			for range 8 { // never quiet
				s.name("/etc", "a", nil, false)
				time.Sleep(100 * time.Millisecond)
			}
		})
		after(longest, "many")
		begin = time.Now()
		after(200*time.Millisecond+quietFor, "the rest")

		s.name("/etc", "a", nil, false) // nobody receives: it waits, and nobody waits for it
		time.Sleep(time.Minute)
		s.name("/etc", "b", nil, false)
		time.Sleep(time.Second)
		if b := <-out; len(b.Hints[0].Names) != 1 {
			t.Errorf("a batch grew: %s", words(b.Hints))
		}
		if b := <-out; string(b.Hints[0].Names[0]) != "b" {
			t.Errorf("%s", words(b.Hints))
		}
		stop()
		all.Wait()
	})
}

// Whatever is added, memory is bounded and nothing added is left out.
func TestHintsBounded(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 3 {
		h := newHints()
		var all []entry.Path
		for range 30_000 {
			p := entry.Path("/")
			for range 1 + rnd.IntN(6) {
				p = p.Join(fmt.Appendf(nil, "d%d", rnd.IntN(4+20*round)))
			}
			all = append(all, p)
			if rnd.IntN(10) == 0 {
				h.addDeep(p)
			} else {
				h.add(p.Dir(), p.Base())
			}
			if len(h.names) > maxDirs || len(h.deep.paths) > maxDirs || h.bytes > maxBytes {
				t.Fatalf("%d directories, %d trees, %d bytes", len(h.names), len(h.deep.paths), h.bytes)
			}
		}
		told := h.take()
		told2 := entry.NewParts(pathsOf(told))
		for _, p := range all {
			if !told2.Hold(p) {
				t.Fatalf("%q is left out", p)
			}
		}
		if !h.empty() {
			t.Error("not empty")
		}
	}
	h := newHints()
	for i := range maxNames + 1 {
		h.add("/etc", fmt.Sprint(i))
	}
	h.add("/usr", strings.Repeat("x", maxBytes+1))
	if got := words(h.take()); got != `"/etc" [] deep=true, "/usr" [] deep=true` {
		t.Error(got)
	}
}

func pathsOf(told []Hint) (out []entry.Path) {
	for _, h := range told {
		if h.Deep {
			out = append(out, h.Dir)
		}
		for _, n := range h.Names {
			out = append(out, h.Dir.Join(n))
		}
	}
	return out
}

// Whatever happens, hints lead to each path that is another than before.
func TestMutations(t *testing.T) {
	for seed := range uint64(3) {
		r := start(t, effective(t, hotEtc), Options{}, "/etc", "/outside")
		before := survey(t, r.dir+"/etc")
		var all sync.WaitGroup
		for i := range uint64(4) {
			all.Go(func() { mutate(r.dir, rand.New(rand.NewPCG(seed, i)), 400) })
		}
		all.Wait()
		after := survey(t, r.dir+"/etc")
		var want []entry.Path
		for p, s := range after {
			if before[p] != s {
				want = append(want, entry.Path("/etc"+p))
			}
		}
		for p := range before {
			if _, ok := after[p]; !ok {
				want = append(want, entry.Path("/etc"+p))
			}
		}
		r.sees(want...)
		// The watches stand where the directories are.
		var last []entry.Path
		r.settled()
		for p, s := range after {
			if strings.HasPrefix(s, "dir") {
				if os.WriteFile(r.dir+"/etc"+p+"/last", []byte("x"), 0o644) == nil {
					last = append(last, entry.Path("/etc"+p+"/last"))
				}
			}
		}
		r.sees(last...)
		if len(want) < 10 || len(last) < 5 {
			t.Errorf("too little happened: %d paths, %d directories", len(want), len(last))
		}
	}
}

// mutate does n random things in the folders etc and outside of dir.
func mutate(dir string, rnd *rand.Rand, n int) {
	some := func(top string) string {
		p := dir + top
		for range 1 + rnd.IntN(4) {
			p += fmt.Sprintf("/%c", 'a'+rnd.IntN(4))
		}
		return p
	}
	for range n {
		p := some("/etc")
		switch rnd.IntN(8) {
		case 0, 1:
			os.MkdirAll(p, 0o755)
		case 2, 3:
			os.WriteFile(p, fmt.Append(nil, rnd.Int()), 0o644)
		case 4:
			os.Rename(p, some("/etc"))
		case 5:
			os.Rename(p, some("/outside"))
		case 6:
			os.Rename(some("/outside"), p)
		case 7:
			if rnd.IntN(3) == 0 {
				os.RemoveAll(p)
			} else {
				os.Remove(p)
			}
		}
	}
}

// survey returns what is at and below dir, by path.
func survey(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		s := "dir"
		if !d.IsDir() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s = "file " + string(b)
		}
		if p != dir {
			all[strings.TrimPrefix(p, dir)] = s
		}
		return nil
	}))
	return all
}
