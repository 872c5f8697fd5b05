package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/cmd/internal/app"
	"intact/scanner/entry"
)

const drawn = 13 // buckets of 256 that are 5 %: the first ones here

// byChance draws the first buckets.
type byChance struct{}

func (byChance) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func quick(o *app.CheckOptions) { o.Quick = true }

func withPaths(paths ...string) func(*app.CheckOptions) {
	return func(o *app.CheckOptions) { o.Paths = paths }
}

// quickSite is a site whose files were made an hour before the last full check,
// which all of them were read in. It returns their names.
func quickSite(t *testing.T) (s *site, names []string) {
	t.Helper()
	s = newSite(t, "")
	s.steady()
	s.chance = byChance{}
	for i := range 400 {
		names = append(names, fmt.Sprintf("d%d/f%03d", i%7, i))
		s.write(names[i], fmt.Sprint("text ", i))
	}
	s.want(s.init(), 0)
	s.ahead = time.Hour
	s.want(s.check(), 0)
	s.ahead = 2 * time.Hour
	return s, names
}

// steady skips where quick checks trust nothing.
func (s *site) steady() {
	s.t.Helper()
	var fs unix.Statfs_t
	s.must(unix.Statfs(s.tree, &fs))
	if !slices.Contains([]int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC}, int64(fs.Type)) {
		s.t.Skipf("NOT TESTED: no file of this file system (%#x) is trusted: set TMPDIR", fs.Type)
	}
}

func (s *site) open() (*baseline.Store, *baseline.Generation) {
	s.t.Helper()
	store, err := baseline.OpenStore(s.state)
	s.must(err)
	store.Signer, err = seal.OpenKey(filepath.Join(s.state, "keys/baseline"), nil)
	s.must(err)
	g, err := store.Open(context.Background(), 0)
	s.must(err)
	return store, g
}

func (s *site) readAges() (*baseline.Ages, error) {
	s.t.Helper()
	store, g := s.open()
	defer g.Close()
	return store.Ages(g.Statement())
}

func (s *site) ages() *baseline.Ages {
	s.t.Helper()
	a, err := s.readAges()
	s.must(err)
	return a
}

func (s *site) agesFile() string { return filepath.Join(s.state, "baseline", "ages") }

func (s *site) agesText() string {
	s.t.Helper()
	b, err := os.ReadFile(s.agesFile())
	s.must(err)
	return string(b)
}

func (s *site) path(name string) entry.Path { return entry.Path(filepath.Join(s.tree, name)) }

// find returns a file that is in a drawn bucket, or in none.
func (s *site) find(names []string, isDrawn bool) string {
	s.t.Helper()
	a := s.ages()
	for _, n := range names {
		if (a.Mark(s.path(n))[0] < drawn) == isDrawn {
			return n
		}
	}
	s.t.Fatal("no such file")
	return ""
}

// below makes the content of a file another one than the baseline's, with
// everything else as it is: what an intruder who writes to the disk past the
// file system leaves. Here it is the baseline that is made anew.
func (s *site) below(name string) {
	s.t.Helper()
	store, g := s.open()
	defer g.Close()
	old, set, ok := g.Lookup(s.path(name))
	if !ok {
		s.t.Fatalf("%s is not in the baseline", name)
	}
	lie := old.Clone()
	lie.Digest[0]++
	ch := &diff.Change{Kind: diff.Changed, Path: s.path(name), Attrs: entry.Content, Old: old, New: lie, OldSet: set, NewSet: set}
	picks := iter.Seq2[*diff.Change, error](func(yield func(*diff.Change, error) bool) { yield(ch, nil) })
	_, err := g.Apply(context.Background(), store, picks, nil, statement.Note{Created: time.Now(), Reason: "test", Approver: "test", Authority: statement.Host})
	s.must(err)
}

// found demands that a check found content changes of just these files.
func (s *site) found(r result, names ...string) *quickLine {
	s.t.Helper()
	s.want(r, min(len(names), 1))
	lines := parse(s.t, r.stdout)
	var got, want []string
	for _, l := range of(lines, "finding") {
		got = append(got, l.path+" "+strings.Join(l.attributes, ","))
	}
	for _, n := range names {
		want = append(want, string(s.path(n))+" content")
	}
	if !slices.Equal(got, want) {
		s.t.Fatalf("found %q, want %q", got, want)
	}
	end := trailer(s.t, lines)
	sum := int64(0)
	for _, c := range []string{"verified", "changed", "added", "removed", "renamed", "unverified", "known_gaps"} {
		sum += end.count(s.t, c)
	}
	if sum != end.count(s.t, "selected") {
		s.t.Fatalf("%d selected, %d with an outcome", end.count(s.t, "selected"), sum)
	}
	return end.Quick
}

func TestQuick(t *testing.T) {
	s, names := quickSite(t)
	before := s.ages()
	in := int64(0) // files in drawn buckets
	for _, n := range names {
		if before.Mark(s.path(n))[0] < drawn {
			in++
		}
	}
	q := s.found(s.check(quick))
	if q == nil || q.Files != 400 || q.Trusted != 400-in || q.Share != 5 || q.Every != 30 || q.Oldest == nil || !q.Oldest.Equal(before.Read[255]) {
		t.Fatalf("got %+v, want 400 files and %d trusted since %v", q, 400-in, before.Read[255])
	}
	after := s.ages()
	if after.Salt != before.Salt {
		t.Error("the salt is another one")
	}
	for b := range after.Read {
		if moved := after.Read[b].After(before.Read[b]); moved != (b < drawn) || !moved && after.Read[b] != before.Read[b] {
			t.Errorf("bucket %d: from %v to %v", b, before.Read[b], after.Read[b])
		}
	}
	if full := s.found(s.check()); full != nil {
		t.Errorf("a full check says %+v", full)
	}
	if oldest, _ := s.ages().Span(); !oldest.After(after.Read[0]) {
		t.Error("a full check did not renew all ages")
	}
	// The state folder lies outside of what is looked at here; init resets.
	salt := s.ages().Salt
	s.want(s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		return app.Init(ctx, e, app.InitOptions{Force: true, Output: app.Output{Format: "json"}})
	}), 0)
	if s.ages().Salt == salt {
		t.Error("init --force kept the salt")
	}
}

// What was written shortly before the scan that read it, or after, is read
// again; so is what was accepted, until a later scan has read it.
func TestQuickFresh(t *testing.T) {
	s := newSite(t, "")
	s.steady()
	s.chance = byChance{}
	s.write("a", "a")
	s.write("b", "b")
	s.want(s.init(), 0)
	trusted := func(want int64, when string) {
		t.Helper()
		if q := s.found(s.check(quick, func(o *app.CheckOptions) { o.NoState = true })); q.Trusted != want {
			t.Errorf("%s: %d files trusted, want %d", when, q.Trusted, want)
		}
	}
	trusted(0, "right after init")
	s.ahead = 240 * time.Hour
	trusted(0, "long after init, which ran while the files were written")
	s.want(s.check(), 0)
	s.ahead += time.Hour
	s.found(s.check(quick))
	var free []string
	for _, n := range []string{"a", "b"} {
		if s.ages().Mark(s.path(n))[0] >= drawn {
			free = append(free, n)
		}
	}
	trusted(int64(len(free)), "read long after it was written")
	s.must(os.WriteFile(filepath.Join(s.tree, "a"), []byte("c"), 0o644), os.Chtimes(filepath.Join(s.tree, "a"), time.Now(), time.Now().Add(1000*time.Hour)))
	s.want(s.check(quick), 1)
	s.want(s.accept(), 0)
	s.want(s.check(), 0)
	s.ahead += time.Hour
	left := int64(0)
	if slices.Contains(free, "b") {
		left = 1
	}
	trusted(left, "with a modification time in the future")
}

// Content below unchanged times is found when its bucket is drawn, after so many
// days, and by every full check; and what was found is not trusted again.
func TestQuickBelowTheTimes(t *testing.T) {
	s, names := quickSite(t)
	hidden := s.find(names, false)
	s.below(hidden)
	if q := s.found(s.check(quick)); q.Trusted == 0 { // the limit of what quick means
		t.Error("nothing is trusted")
	}
	s.ahead = 32 * 24 * time.Hour
	if q := s.found(s.check(quick), hidden); q.Trusted != 0 {
		t.Errorf("%d files trusted after a month", q.Trusted)
	}
	// Everything is young again but for the bucket with the finding.
	s.ahead += time.Hour
	if !s.ages().Read[s.ages().Mark(s.path(hidden))[0]].IsZero() {
		t.Error("the bucket of other content counts as read")
	}
	if q := s.found(s.check(quick), hidden); q.Trusted == 0 {
		t.Error("nothing is trusted")
	}
	s.must(os.RemoveAll(filepath.Join(s.state, "pending"))) // by the ages alone
	s.must(os.Mkdir(filepath.Join(s.state, "pending"), 0o700))
	s.found(s.check(quick), hidden)
	s.want(s.accept(), 0)
	s.found(s.check(quick))
	s.ahead += time.Hour
	if q := s.found(s.check(quick)); q.Trusted == 0 {
		t.Error("nothing is trusted after accept")
	}

	shown := s.find(names, true)
	s.below(shown)
	s.found(s.check(quick), shown)
	s.want(s.accept(), 0)
	s.found(s.check(quick))

	// A check of some paths finds it: the next quick check must too.
	s.below(hidden)
	s.found(s.check(withPaths(filepath.Join(s.tree, hidden))), hidden)
	s.found(s.check(quick), hidden)
}

// What the last check reported is read though its times are the baseline's
// again.
func TestQuickReported(t *testing.T) {
	s, names := quickSite(t)
	name := s.find(names, false)
	s.write(name, "changed")
	s.want(s.check(), 1)
	store, g := s.open()
	old, set, _ := g.Lookup(s.path(name))
	now := old.Clone()
	var st unix.Stat_t
	s.must(unix.Stat(filepath.Join(s.tree, name), &st))
	now.Size, now.Hashed = st.Size, st.Size
	now.Mtime, now.Ctime = entry.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}, entry.Time{Sec: st.Ctim.Sec, Nsec: uint32(st.Ctim.Nsec)}
	ch := &diff.Change{Kind: diff.Changed, Path: s.path(name), Attrs: entry.Size | entry.Mtime | entry.Ctime, Old: old, New: now, OldSet: set, NewSet: set}
	_, err := g.Apply(context.Background(), store, func(yield func(*diff.Change, error) bool) { yield(ch, nil) }, nil, statement.Note{Created: time.Now(), Reason: "test", Approver: "test", Authority: statement.Host})
	s.must(err, g.Close())
	if q := s.found(s.check(quick), name); q.Trusted == 0 {
		t.Error("nothing is trusted")
	}
	// Without knowing what was reported nothing is trusted.
	list, err := filepath.Glob(filepath.Join(s.state, "pending", "*"))
	s.must(err)
	for _, n := range list {
		s.must(os.WriteFile(n, []byte("damaged"), 0o600))
	}
	r := s.check(quick)
	if q := s.found(r, name); q.Trusted != 0 || !bytes.Contains(r.stdout, []byte("what the last check reported cannot be read")) {
		t.Errorf("%d files trusted: %v", q.Trusted, r)
	}
}

func TestQuickClock(t *testing.T) {
	s, _ := quickSite(t)
	for _, c := range []struct {
		ahead time.Duration
		reads bool // everything
	}{{time.Hour - 48*time.Hour, true}, {50 * time.Hour, false}, {time.Hour - time.Minute, true}, {31 * 24 * time.Hour, true}} {
		s.ahead = c.ahead
		if q := s.found(s.check(quick, func(o *app.CheckOptions) { o.NoState = true })); (q.Trusted == 0) != c.reads {
			t.Errorf("with the clock %v ahead %d files are trusted", c.ahead, q.Trusted)
		}
	}
	s.ahead = -46 * time.Hour // and with the state kept: no file is reported, and the ages follow the clock
	s.found(s.check(quick))
	s.ahead = 2 * time.Hour
	s.found(s.check())
	s.ahead = 3 * time.Hour
	if q := s.found(s.check(quick)); q.Trusted == 0 {
		t.Error("nothing is trusted after the clock was put right")
	}
}

// Ages that cannot be used are no reason not to check: everything is read.
func TestQuickBadAges(t *testing.T) {
	onlyPlain(t)
	s, _ := quickSite(t)
	good := s.agesText()
	other, _ := quickSite(t)
	for name, plant := range map[string]func() error{
		"absent":  func() error { return nil },
		"empty":   func() error { return os.WriteFile(s.agesFile(), nil, 0o600) },
		"cut":     func() error { return os.WriteFile(s.agesFile(), []byte(good[:len(good)/2]), 0o600) },
		"flipped": func() error { return os.WriteFile(s.agesFile(), []byte(strings.Replace(good, "2", "3", 1)), 0o600) },
		"foreign": func() error { return os.WriteFile(s.agesFile(), []byte(other.agesText()), 0o600) },
		"hostile": func() error { return os.WriteFile(s.agesFile(), []byte("host-id: \x1b[31m\n"), 0o600) },
		"fifo":    func() error { return unix.Mkfifo(s.agesFile(), 0o600) },
		"link":    func() error { return os.Symlink("/dev/zero", s.agesFile()) },
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			s.must(os.Remove(s.agesFile()), plant())
			r := s.check(quick)
			q := s.found(r)
			notes := of(parse(t, r.stdout), "note")
			if q.Trusted != 0 || q.Oldest != nil || len(notes) != 1 || !strings.Contains(notes[0].Text, "everything was read") {
				t.Errorf("%d files trusted, notes %v", q.Trusted, notes)
			}
			s.ahead += time.Hour // they were written again
			if q := s.found(s.check(quick)); q.Trusted == 0 {
				t.Error("nothing is trusted with new ages")
			}
		})
	}
	s.must(os.Remove(s.agesFile()), os.MkdirAll(filepath.Join(s.agesFile(), "x"), 0o700))
	for range 2 { // what cannot be written is told, and nothing is trusted
		r := s.check(quick)
		if q := s.found(r); q.Trusted != 0 || !strings.Contains(r.stderr, "next quick check will read everything") {
			t.Errorf("%d files trusted: %v", q.Trusted, r)
		}
	}
}

// Who writes ages, and who leaves them.
func TestQuickKeepsAges(t *testing.T) {
	s, names := quickSite(t)
	text := s.agesText()
	same := func(what string) {
		t.Helper()
		if s.agesText() != text {
			t.Errorf("%s wrote ages", what)
			text = s.agesText()
		}
	}
	noState := func(o *app.CheckOptions) { o.NoState = true }
	some := withPaths(filepath.Join(s.tree, "d1"), filepath.Join(s.tree, "d2"))
	only := func(o *app.CheckOptions) { o.Only = []string{"integrity"} }
	for what, opts := range map[string][]func(*app.CheckOptions){
		"--no-state": {noState}, "--quick --no-state": {quick, noState}, "PATHs": {some}, "--quick PATHs": {quick, some},
		"--only": {only}, "--quick --only": {quick, only},
	} {
		q := s.found(s.check(opts...))
		same(what)
		if (q != nil) != strings.Contains(what, "quick") || q != nil && q.Trusted == 0 {
			t.Errorf("%s: %+v", what, q)
		}
	}
	if q := s.found(s.check(quick, some)); q.Files > 120 {
		t.Errorf("of two folders %d files are counted", q.Files)
	}
	s.write(names[0], "other")
	s.want(s.check(), 1)
	text = s.agesText()
	s.want(s.accept(), 0)
	same("accept")
	export := filepath.Join(filepath.Dir(s.tree), "export")
	s.must(os.WriteFile(export, s.export(), 0o600))
	if r := s.check(quick, func(o *app.CheckOptions) { o.Baseline = export }); r.exit != 2 || !strings.Contains(r.err.Error(), "--baseline") {
		t.Errorf("--quick with --baseline: %v", r)
	}
	// A scan that breaks off.
	stopped := errors.New("stopped")
	r := s.run(func(ctx context.Context, e *app.Env) (app.Outcome, error) {
		ctx, stop := context.WithCancelCause(ctx)
		stop(stopped)
		return app.Check(ctx, e, app.CheckOptions{Output: app.Output{Format: "json"}})
	})
	if r.exit == 0 || r.exit == 1 {
		t.Errorf("stopped: %v", r)
	}
	same("a check that broke off")
	s.found(s.check(func(o *app.CheckOptions) { o.Baseline = export }))
	same("--baseline")
}
