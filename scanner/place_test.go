package scanner_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"intact/scanner"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// place is a folder that is scanned as "/".
type place struct {
	t   testing.TB
	dir string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	return &place{t, t.TempDir()}
}

func (p *place) must(errs ...error) {
	p.t.Helper()
	for _, err := range errs {
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *place) host(name string) string { return filepath.Join(p.dir, name) }

func (p *place) mkdir(name string) {
	p.t.Helper()
	p.must(os.MkdirAll(p.host(name), 0o755))
}

func (p *place) write(name, text string) {
	p.t.Helper()
	p.mkdir(filepath.Dir(name))
	p.must(os.WriteFile(p.host(name), []byte(text), 0o644))
}

func (p *place) appendTo(name, text string) {
	p.t.Helper()
	f, err := os.OpenFile(p.host(name), os.O_WRONLY|os.O_APPEND, 0)
	p.must(err)
	_, err = f.WriteString(text)
	p.must(err, f.Close())
}

// policy makes a policy of lines of "paths"; without any everything is
// compared as config.
func (p *place) policy(lines ...string) *policy.Effective {
	p.t.Helper()
	if len(lines) == 0 {
		lines = []string{"{path: /, attributes: config}"}
	}
	text := "version: 1\nfilesystems: {skip: []}\npaths:\n"
	for _, l := range lines {
		text += "  - " + l + "\n"
	}
	pol, err := policy.Parse("test", []byte(text))
	p.must(err)
	eff, err := policy.Union(pol, pol, nil)
	p.must(err)
	return eff
}

// taken is a sink that keeps everything, and the past for a later scan.
type taken struct {
	t     testing.TB
	sets  entry.Sets
	stats scanner.Stats
	err   error

	mu     sync.Mutex
	blocks map[string]*entry.Block
	packed map[string]entry.Packed
	gaps   []scanner.Gap
	failAt int // Dir fails at this call
	calls  int
}

var errSink = fmt.Errorf("the sink is full")

func (k *taken) Dir(_ int, b *entry.Block) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.calls++; k.calls == k.failAt {
		return errSink
	}
	c := &entry.Block{Dir: b.Dir, Part: b.Part, Next: bytes.Clone(b.Next)}
	for i := range b.Entries {
		c.Entries = append(c.Entries, *b.Entries[i].Clone())
	}
	key := string(entry.PartKey(b.Dir, b.Part))
	if k.blocks[key] != nil {
		k.t.Errorf("part %d of %q delivered twice", b.Part, b.Dir)
	}
	k.blocks[key] = c
	k.packed[key], _ = b.Pack(nil, nil, k.sets)
	return nil
}

func (k *taken) Gap(_ int, g scanner.Gap) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gaps = append(k.gaps, g)
	return nil
}

// prior makes a finished scan the past of another.
type prior struct{ *taken }

func (p prior) Dir(key []byte, part uint32) (entry.Packed, bool) {
	if part > 0 && !bytes.Contains(key, []byte{0, 0}) {
		d, _, _ := entry.ParseKey(key)
		key = entry.PartKey(d, part)
	}
	v, ok := p.packed[string(key)]
	return v, ok
}

func newTaken(t testing.TB, eff *policy.Effective) *taken {
	return &taken{t: t, sets: eff.Sets(), blocks: map[string]*entry.Block{}, packed: map[string]entry.Packed{}}
}

// scan runs a scan that must not fail.
func (p *place) scan(eff *policy.Effective, o scanner.Options, obs ...scanner.Observer) *taken {
	p.t.Helper()
	k := p.attempt(context.Background(), newTaken(p.t, eff), eff, o, nil, obs...)
	p.must(k.err)
	return k
}

func (p *place) scanFrom(eff *policy.Effective, o scanner.Options, old *taken) *taken {
	p.t.Helper()
	k := p.attempt(context.Background(), newTaken(p.t, eff), eff, o, prior{old})
	p.must(k.err)
	return k
}

func (p *place) attempt(ctx context.Context, k *taken, eff *policy.Effective, o scanner.Options, old scanner.Prior, obs ...scanner.Observer) *taken {
	p.t.Helper()
	r, err := dirfd.Open(p.dir)
	p.must(err)
	defer r.Close()
	k.stats, k.err = scanner.Run(ctx, r, eff, o, old, k, obs...)
	if n := r.OpenDirs(); n != 1 {
		p.t.Errorf("%d directories are open after the scan, want the root alone", n)
	}
	k.wellFormed()
	return k
}

// wellFormed checks what every delivered block must be.
func (k *taken) wellFormed() {
	k.t.Helper()
	for _, b := range k.blocks {
		if len(b.Entries) > entry.PartSize {
			k.t.Errorf("%q part %d: %d entries", b.Dir, b.Part, len(b.Entries))
		}
		for i := 1; i < len(b.Entries); i++ {
			if bytes.Compare(b.Entries[i-1].Name, b.Entries[i].Name) >= 0 {
				k.t.Errorf("%q part %d: %q before %q", b.Dir, b.Part, b.Entries[i-1].Name, b.Entries[i].Name)
			}
		}
		if k.err != nil {
			continue
		}
		if b.Next == nil {
			if k.blocks[string(entry.PartKey(b.Dir, b.Part+1))] != nil {
				k.t.Errorf("%q part %d does not say that another part follows", b.Dir, b.Part)
			}
			continue
		}
		if len(b.Entries) != entry.PartSize {
			k.t.Errorf("%q part %d is not the last and has %d entries", b.Dir, b.Part, len(b.Entries))
		}
		next := k.blocks[string(entry.PartKey(b.Dir, b.Part+1))]
		if next == nil || len(next.Entries) == 0 || !bytes.Equal(next.Entries[0].Name, b.Next) {
			k.t.Errorf("%q part %d: the next part does not begin with %q", b.Dir, b.Part, b.Next)
		}
	}
}

// find returns the entry of a path, nil if it was not delivered.
func (k *taken) find(p entry.Path) *entry.Entry {
	dir, base := p.Dir(), p.Base()
	for _, b := range k.blocks {
		if b.Dir != dir {
			continue
		}
		for i := range b.Entries {
			if string(b.Entries[i].Name) == base {
				return &b.Entries[i]
			}
		}
	}
	return nil
}

func (k *taken) entry(p entry.Path) *entry.Entry {
	k.t.Helper()
	e := k.find(p)
	if e == nil {
		k.t.Fatalf("%q was not delivered; gaps %+v", p, k.gaps)
	}
	return e
}

// paths lists everything that was delivered, sorted.
func (k *taken) paths() (r []string) {
	for _, b := range k.blocks {
		for i := range b.Entries {
			r = append(r, string(b.Dir.Join(b.Entries[i].Name)))
		}
	}
	slices.Sort(r)
	return r
}

// gapsOf lists the gaps of one path.
func (k *taken) gapsOf(p entry.Path) (r []scanner.Gap) {
	for _, g := range k.gaps {
		if g.Path == p {
			r = append(r, g)
		}
	}
	return r
}

func (k *taken) noGaps() {
	k.t.Helper()
	if len(k.gaps) > 0 {
		k.t.Errorf("%d gaps, the first %+v", len(k.gaps), k.gaps[0])
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	l, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func long(n int) string { return strings.Repeat("n", n) }
