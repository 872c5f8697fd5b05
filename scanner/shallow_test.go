package scanner_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"intact/scanner"
	"intact/scanner/entry"
)

// storedDirs are the directories that the past has something of.
func storedDirs(k *taken) (dirs []entry.Path) {
	for _, b := range k.blocks {
		if b.Part == 0 && len(b.Entries) > 0 {
			dirs = append(dirs, b.Dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// pastOf is what a baseline keeps of a scan: no empty directory.
func pastOf(k *taken) *taken {
	for key, b := range k.blocks {
		if len(b.Entries) == 0 {
			delete(k.packed, key)
		}
	}
	return k
}

// However the stored directories are shared out, shallow scans of the shares see
// what one scan of everything sees: each path once, what came since in empty
// directories and below those that a sweep keeps nothing of included.
func TestShallow(t *testing.T) {
	p := newPlace(t)
	random := rand.New(rand.NewPCG(7, 7))
	for i := range 150 {
		p.write(fmt.Sprintf("/srv/d%d/e%d/f%02d", i%5, i%11, i), fmt.Sprint(i))
		p.write(fmt.Sprintf("/swept/d%d/e%d/f%02d", i%5, i%11, i), fmt.Sprint(i))
	}
	for _, d := range []string{"/srv/empty/in/in", "/srv/d1/empty", "/swept/none/in"} {
		p.must(os.MkdirAll(p.host(d), 0o755))
	}
	p.must(os.Chmod(p.host("/swept/d2/e3/f47"), 0o755))
	eff := p.policy("{path: /srv, attributes: [type, content, mode]}", "{path: /swept, attributes: sweep}")
	old := pastOf(p.scan(eff, scanner.Options{}))
	dirs := storedDirs(old)

	p.write("/srv/empty/in/in/new", "x")
	p.write("/srv/d1/empty/new", "x")
	p.write("/swept/none/in/new", "x")
	p.must(os.Chmod(p.host("/swept/none/in/new"), 0o4755))
	p.write("/srv/d2/newdir/deeper/new", "x") // of which its own name tells
	want := p.scan(eff, scanner.Options{}).paths()
	want = slices.DeleteFunc(want, func(s string) bool { return entry.Path(s).Under("/srv/d2/newdir") && s != "/srv/d2/newdir" })

	for _, most := range []int{1, 3, len(dirs)} {
		got := map[string]int{}
		random.Shuffle(len(dirs), func(i, j int) { dirs[i], dirs[j] = dirs[j], dirs[i] })
		paced := 0
		for share := range slices.Chunk(dirs, most) {
			o := scanner.Options{Workers: 1, Limit: share, Shallow: true, Idle: true, Pace: func(context.Context, int) { paced++ }}
			k := p.attempt(context.Background(), newTaken(t, eff), eff, o, prior{old})
			p.must(k.err)
			k.noGaps()
			for _, b := range k.blocks {
				_, stored := old.packed[string(b.Dir.Key())]
				if stored && !slices.Contains(share, b.Dir) {
					continue // on the way
				}
				for i := range b.Entries {
					got[string(b.Dir.Join(b.Entries[i].Name))]++
				}
			}
		}
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
			t.Errorf("%d at a time: got %q, want %q", most, names, want)
		}
		for name, n := range got {
			if n != 1 && name != "/srv" && name != "/swept" { // "/" is stored, and on the way of all
				t.Errorf("%d at a time: %q %d times", most, name, n)
			}
		}
		if paced == 0 {
			t.Error("nobody asked for the pace")
		}
	}
}
