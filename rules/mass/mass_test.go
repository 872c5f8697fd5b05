package mass

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/baseline/diff"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

func entryOf(b []byte, mode uint16) *entry.Entry {
	if b == nil {
		return nil
	}
	return &entry.Entry{Kind: entry.File, Have: entry.Content | entry.Size | entry.Mode, Size: int64(len(b)), Mode: mode, Digest: digest.Sum(b)}
}

// world is what a host looked like and looks like. moved are new paths by old
// ones, of objects that are known to be the same.
type world struct {
	before, after tree
	moved         map[string]string
}

func (w *world) mode(p string) uint16 {
	if strings.Contains(p, "/bin/") {
		return 0o755
	}
	return 0o644
}

// changes are those between both, in the order of paths.
func (w *world) changes() (out []*diff.Change) {
	paths := map[string]bool{}
	for _, t := range []tree{w.before, w.after} {
		for p := range t {
			paths[p] = true
		}
	}
	is := map[string]bool{}
	for _, to := range w.moved {
		is[to] = true
	}
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		old, now := entryOf(w.before[p], w.mode(p)), entryOf(w.after[p], w.mode(p))
		c := &diff.Change{Path: entry.Path(p), Old: old, New: now}
		to := w.moved[p]
		switch {
		case to != "":
			c.Kind, c.Path, c.From, c.Attrs = diff.Renamed, entry.Path(to), entry.Path(p), entry.Content
			c.New = entryOf(w.after[to], w.mode(p))
		case is[p]:
			continue
		case old == nil:
			c.Kind = diff.Added
		case now == nil:
			c.Kind = diff.Removed
		case old.Digest != now.Digest:
			c.Kind, c.Attrs = diff.Changed, entry.Content
		default:
			continue
		}
		out = append(out, c)
	}
	return out
}

// look adds what changed to b, as a look at now.
func (w *world) look(t testing.TB, b *Burst, now time.Time) (v Verdict, tell bool) {
	t.Helper()
	buf := make([]byte, BufferSize)
	for _, c := range w.changes() {
		cand, ok := CandidateOf(c)
		if !ok {
			continue
		}
		if cand.At != "" {
			content := w.after[string(cand.At)]
			is, err := cand.Encrypted(buf, func(b []byte, off int64) error {
				if n := copy(b, content[off:]); n < len(b) {
					return fmt.Errorf("read of %d bytes at %d of %d", len(b), off, len(content))
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", cand.At, err)
			}
			if !is {
				continue
			}
		}
		b.Add(&cand, now)
	}
	return b.Judge(now)
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Each style of encryption is told, with all files; what is left alone in a file
// may hide some of them, never all.
func TestEncrypted(t *testing.T) {
	files := office(t, 60)
	for _, c := range []struct {
		name   string
		rename func(string) string
		blocks func(int) bool
		least  int
	}{
		{"in place", same, whole, 60},
		{"another name", appended, whole, 60},
		{"another extension", other, whole, 60},
		{"random names", drawn, whole, 60},
		{"only the beginning", same, headOnly, 60},
		{"the beginning, another name", appended, headOnly, 60},
		// texts alone: the others keep the beginning that tells their format
		{"every sixteenth block", same, sixteenth, 20},
	} {
		w := world{before: files, after: sealed(t, files, c.rename, c.blocks)}
		if c.name == "every sixteenth block" {
			w.before = texts(90, 150<<10)
			w.after = sealed(t, w.before, c.rename, c.blocks)
		}
		v, tell := w.look(t, NewBurst(Window), start)
		if !tell || v.Files < c.least || v.Dirs < 5 || v.NumKinds < 2 || v.Common != "/srv/share" || len(v.Examples) != 3 {
			t.Errorf("%s: told %v: %+v", c.name, tell, v)
		}
		for _, e := range v.Examples {
			if w.before[string(e)] == nil {
				t.Errorf("%s: %q was never there", c.name, e)
			}
		}
	}
	moved := map[string]string{}
	for p := range files {
		moved[p] = appended(p)
	}
	w := world{before: files, after: sealed(t, files, appended, whole), moved: moved}
	if v, tell := w.look(t, NewBurst(Window), start); !tell || v.Files != 60 {
		t.Errorf("encrypted and renamed: told %v: %+v", tell, v)
	}
}

func texts(n, size int) tree {
	all := tree{}
	for i := range n {
		all[fmt.Sprintf("/srv/share/d%d/f%d%s", i%5, i, []string{".txt", ".csv"}[i%2])] = prose(i, size)
	}
	return all
}

// What happens on healthy hosts is not told.
func TestHarmless(t *testing.T) {
	none := tree{}
	many := func(n int, name string, content func(i int) []byte) tree {
		all := tree{}
		for i := range n {
			all[fmt.Sprintf(name, i%7, i)] = content(i)
		}
		return all
	}
	with := func(list ...tree) tree {
		all := tree{}
		for _, l := range list {
			maps.Copy(all, l)
		}
		return all
	}
	jpeg := func(i int) []byte { return append([]byte("\xff\xd8\xff\xe0"), noise(i, 2000)...) }
	random := func(n int) func(int) []byte { return func(i int) []byte { return noise(i, n) } }
	renewed := func(n int) func(int) []byte { return func(i int) []byte { return noise(1000+i, n) } }
	gz := func(seed int) func(int) []byte {
		return func(i int) []byte { return packed(t, prose(seed+i, 3000)) }
	}
	text := func(seed int) func(int) []byte { return func(i int) []byte { return prose(seed+i, 1500) } }
	bin := func(seed int) func(int) []byte { return func(i int) []byte { return elf(seed+i, 1500) } }
	logs := func(gen, ext string, content func(int) []byte) tree {
		return many(30, "/var/log/a%d/app%d.log."+gen+ext, content)
	}
	for name, w := range map[string]world{
		"unpacked pictures and archives": {before: none, after: with(many(300, "/srv/in%d/a%d.jpg", jpeg), many(300, "/srv/in%d/a%d.zip", func(i int) []byte { return document(t, i, 900) }))},
		"photos imported, old ones moved away": {before: many(90, "/srv/new%d/x%d.jpg", jpeg),
			after: many(90, "/srv/new%d/y%d.jpg", func(i int) []byte { return jpeg(i + 500) })},
		"an upgrade of 2,000 programs, their documents and firmware": {
			before: with(many(2000, "/usr/bin/p%d-%d", bin(0)), many(200, "/usr/share/doc/d%d/c%d.gz", gz(0)), many(90, "/lib/firmware/f%d/%d.bin", random(7000)), many(90, "/usr/lib/l%d/%d.so.1", bin(5000))),
			after:  with(many(2000, "/usr/bin/p%d-%d", bin(9000)), many(200, "/usr/share/doc/d%d/c%d.gz", gz(300)), many(90, "/lib/firmware/f%d/%d.bin", renewed(7000)), many(90, "/usr/lib/l%d/%d.so.1", bin(15000)))},
		"a checkout": {before: with(many(700, "/srv/src%d/f%d.go", text(0)), many(300, "/srv/src%d/old%d.md", text(0))),
			after: with(many(700, "/srv/src%d/f%d.go", text(9000)), many(300, "/srv/src%d/new%d.md", text(7000)), many(300, "/srv/src%d/.git/objects/ab/%d", func(i int) []byte { return append([]byte("x\x9c"), noise(i, 3000)...) }))},
		"logs rotated and compressed": {before: with(logs("1", "", text(0)), logs("2", ".gz", gz(50))),
			after: with(logs("1", "", text(100)), logs("2", ".gz", gz(0)), logs("3", ".gz", gz(50)))},
		"logs compressed in their place":  {before: logs("1", "", text(0)), after: logs("1", ".gz", gz(0))},
		"compressed by what has no magic": {before: many(90, "/srv/www%d/app%d.js", text(0)), after: many(90, "/srv/www%d/app%d.js.br", random(3000))},
		"pictures and sound converted": {before: with(many(150, "/srv/a%d/%d.png", func(i int) []byte { return picture(t, i, 900) }), many(150, "/srv/a%d/%d.wav", func(i int) []byte { return append([]byte("RIFF"), noise(i, 900)...) })),
			after: with(many(150, "/srv/a%d/%d.jxl", func(i int) []byte { return append([]byte("\xff\x0a"), noise(i, 900)...) }), many(150, "/srv/a%d/%d.aac", func(i int) []byte { return append([]byte("\xff\xf1"), noise(i, 900)...) }))},
		"keys renewed": {before: with(many(90, "/etc/keys%d/k%d.key", random(2048)), many(90, "/etc/keys%d/k%d.p12", random(3048)), many(90, "/etc/keys%d/seed%d.txt", random(32))),
			after: with(many(90, "/etc/keys%d/k%d.key", renewed(2048)), many(90, "/etc/keys%d/k%d.p12", renewed(3048)), many(90, "/etc/keys%d/seed%d.txt", renewed(32)))},
		"certificates renewed": {before: many(90, "/etc/keys%d/c%d.pem", text(0)), after: many(90, "/etc/keys%d/c%d.pem", text(100))},
		"blobs of a database": {before: with(many(400, "/var/lib/db/%d/%d", random(1024)), many(90, "/var/lib/db/%d/%d.sst", random(1024))),
			after: with(many(400, "/var/lib/db/%d/%d", renewed(1024)), many(90, "/var/lib/db/%d/9%d.sst", renewed(1024)))},
		"a backup":             {before: many(3, "/srv/dump%d/%d.sql", text(0)), after: many(1, "/srv/dump%d/%d.sql.enc", random(1<<20))},
		"secrets encrypted":    {before: many(400, "/srv/pass%d/%d.gpg", random(900)), after: many(400, "/srv/pass%d/%d.gpg", renewed(900))},
		"texts are gone":       {before: many(400, "/srv/a%d/%d.txt", text(0)), after: none},
		"texts are pages now":  {before: many(90, "/srv/a%d/%d.txt", text(0)), after: many(90, "/srv/a%d/%d.html", text(50))},
		"one kind, one folder": {before: many(19, "/srv/a%[1]d/%[2]d.txt", text(0)), after: many(19, "/srv/a%[1]d/%[2]d.txt", random(5000))},
		"below the sizes told": {before: office(t, 60), after: sealed(t, shortened(office(t, 60)), same, whole)},
	} {
		if v, tell := w.look(t, NewBurst(0), start); tell {
			t.Errorf("%s: told: %+v", name, v)
		}
	}
}

func shortened(all tree) tree {
	for p, b := range all {
		all[p] = b[:MinBytes-1]
	}
	return all
}

// A burst is told once, whatever comes on top of it, and once more when it has
// grown tenfold; the next one is told again.
func TestToldOnce(t *testing.T) {
	b := NewBurst(Window)
	now := start
	told := []int{}
	step := func(from, to int) {
		files := office(t, to)
		for p := range office(t, from) {
			delete(files, p)
		}
		w := world{before: files, after: sealed(t, files, same, whole)}
		if v, tell := w.look(t, b, now); tell {
			told = append(told, v.Files)
			b.Told(v)
			if v.Since != start && now.Sub(start) < time.Hour {
				t.Errorf("since %v", v.Since)
			}
		}
		now = now.Add(20 * time.Second)
	}
	step(0, 15)
	step(15, 30) // 30 in two looks: enough
	step(0, 30)  // again in the same minute: the same files
	step(30, 290)
	step(290, 299)
	step(299, 310)
	step(310, 312)
	if fmt.Sprint(told) != "[30 310]" {
		t.Errorf("told %v", told)
	}
	now = now.Add(time.Hour)
	step(0, 25)
	if fmt.Sprint(told) != "[30 310 25]" {
		t.Errorf("told %v", told)
	}
	// A verdict that no report has is told by the next look.
	b = NewBurst(Window)
	w := world{before: office(t, 40), after: sealed(t, office(t, 40), same, whole)}
	for range 2 {
		if _, tell := w.look(t, b, now); !tell {
			t.Error("not told")
		}
	}
}

// Files that come slower than the window are not a burst; where it has no end they
// are. A name gone and the one that came for it may be in two looks.
func TestWindow(t *testing.T) {
	files := office(t, 60)
	names := slices.Sorted(maps.Keys(files))
	for _, window := range []time.Duration{Window, 0} {
		b := NewBurst(window)
		tells := 0
		for i, p := range names {
			w := world{before: tree{p: files[p]}, after: sealed(t, tree{p: files[p]}, same, whole)}
			if _, tell := w.look(t, b, start.Add(time.Duration(i)*10*time.Second)); tell {
				tells++
			}
		}
		if (tells > 0) != (window == 0) {
			t.Errorf("window %v: told %d times", window, tells)
		}
	}
	b := NewBurst(Window)
	made := sealed(t, files, appended, whole)
	w := world{before: tree{}, after: made}
	if v, tell := w.look(t, b, start); tell {
		t.Errorf("nothing is gone: %+v", v)
	}
	w = world{before: files, after: tree{}}
	if v, tell := w.look(t, b, start.Add(3*time.Second)); !tell || v.Files != 60 {
		t.Errorf("told %v: %+v", tell, v)
	}
	b = NewBurst(Window)
	empty := tree{}
	for p := range files {
		empty[p] = []byte{}
	}
	maps.Copy(made, empty)
	w = world{before: files, after: made}
	if v, tell := w.look(t, b, start); !tell || v.Files != 60 {
		t.Errorf("emptied: told %v: %+v", tell, v)
	}
}

// Memory is bounded, and the oldest go first.
func TestBound(t *testing.T) {
	b := NewBurst(0)
	for i := range maxEvents + 500 {
		b.Add(&Candidate{Role: Gone, Of: entry.Path(fmt.Sprintf("/a/%d.txt", i)), Kind: Kind{".txt", true}}, start)
	}
	for i := range 30 {
		b.Add(&Candidate{Role: Lost, Of: entry.Path(fmt.Sprintf("/b%d/%d%s", i%3, i, []string{".txt", ".png"}[i%2])), Kind: Kind{[]string{".txt", ".png"}[i%2], true}}, start)
	}
	if len(b.known) != maxEvents || len(b.events[Lost]) != 30 || len(b.events[Gone]) != maxEvents-30 || b.events[Gone][0].of != "/a/530.txt" {
		t.Errorf("%d known, %d lost, %d gone from %q on", len(b.known), len(b.events[Lost]), len(b.events[Gone]), b.events[Gone][0].of)
	}
	if v, tell := b.Judge(start); !tell || v.Files != 30 || v.Common != "/" {
		t.Errorf("told %v: %+v", tell, v)
	}
}
