package app

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"intact/rules/packages"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/manifest"
	"intact/scanner"
	"intact/scanner/entry"
)

// sayings asks packages about files: the database of the root and the stored
// manifests. It is asked about many at a time; settle may be called by several.
type sayings struct {
	s     *session
	users *idNames
	books *books
	over  map[entry.Path]pkgdb.Override
	kept  map[string]string // the versions that the baseline knows, by the key of their rows

	overErr error
	broken  int64 // owners that say nothing because the database contradicts itself
	unknown int64 // files whose owner could not be told
	reason  string
	unread  atomic.Int64 // files that could not be held against digests
}

// seen is a file as the scan saw it.
type seen struct {
	path  entry.Path
	entry *entry.Entry // nil: it is gone
}

// saying is what is known of one file.
type saying struct {
	packages.Words
	owners []pkgdb.Owner // that the first words of List are of
}

// newSayings reads what is asked again and again.
func (s *session) newSayings(ctx context.Context) (*sayings, error) {
	y := &sayings{s: s, users: readAccounts(s.root)}
	var err error
	if y.books, err = s.library(ctx); err != nil {
		return nil, err
	}
	if y.over, y.overErr = pkgdb.Overrides(ctx, packageRoot{s.root}); ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return y, nil
}

// ask answers for each of list. What only a second reading can tell is left to
// settle.
func (y *sayings) ask(ctx context.Context, list []seen) ([]saying, error) {
	paths := make([]entry.Path, len(list))
	for i, f := range list {
		paths[i] = f.path
	}
	answers, err := y.s.owners(ctx, paths)
	if err != nil {
		return nil, err
	}
	type use struct{ at, owner int }
	wanted := map[bookKey][]use{}
	out := make([]saying, len(list))
	for i := range answers {
		a, w := &answers[i], &out[i]
		if a.State == pkgdb.Unknown {
			y.unknown++
			y.reason = a.Reason
		}
		w.Known = a.State == pkgdb.Owned || a.State == pkgdb.NoOwner
		w.owners = a.Owners
		for k := range a.Owners {
			o := &a.Owners[k]
			if o.Level == pkgdb.None {
				y.broken++
			}
			if o.Displaced && list[i].entry != nil {
				continue // what is there is not this package's, and that nobody signed
			}
			w.List = append(w.List, y.word(list[i].entry, o))
			if key := y.books.key(o); len(y.books.names[key]) > 0 {
				wanted[key] = append(wanted[key], use{i, k})
			}
		}
		if list[i].entry != nil {
			w.Override = y.override(&list[i], a.Owners)
		}
	}
	keys := map[bookKey]bool{}
	for key := range wanted {
		keys[key] = true
	}
	if err := y.books.prove(ctx, keys); err != nil {
		return nil, err
	}
	for key, uses := range wanted {
		for _, name := range y.books.names[key] {
			y.books.read(name, key, func(m *manifest.Manifest) error {
				for _, u := range uses {
					w := &out[u.at]
					word, ok, err := y.signed(m, list[u.at].entry, &w.owners[u.owner])
					if err != nil {
						return err
					}
					if ok {
						w.List = append(w.List, word)
					}
				}
				return nil
			})
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return out, nil
}

// word is what the database says of a file, but for its content.
func (y *sayings) word(e *entry.Entry, o *pkgdb.Owner) packages.Word {
	w := packages.Word{Package: o.Package + " " + o.Version, Signed: o.Level == pkgdb.Signed, Conffile: o.Conffile,
		Loose: o.Loose || o.Ghost || o.Displaced}
	f := strings.Fields(o.Status)
	w.Installed = len(f) > 0 && f[len(f)-1] == "installed"
	name, arch, _ := strings.Cut(o.Package, ":")
	if arch == "" {
		arch = o.Arch
	}
	if v := y.kept["dpkg "+name+":"+arch]; v != "" && v == o.Version {
		w.Kept = v
	}
	if o.File != nil && o.Level != pkgdb.None && e != nil {
		w.Stated, w.Caps, w.Beside = true, true, besides(e, o.File, y.users)
	}
	return w
}

// signed is what a manifest says of a file.
func (y *sayings) signed(m *manifest.Manifest, e *entry.Entry, o *pkgdb.Owner) (w packages.Word, ok bool, err error) {
	said, ok, err := m.Lookup(o.Listed)
	if err != nil || !ok {
		return w, false, err
	}
	w = y.word(nil, o)
	w.Signed, w.Conffile = true, w.Conffile || said.Conffile
	if e == nil {
		return w, true, nil
	}
	w.Stated, w.Beside = true, besides(e, fileOf(&said, y.users), y.users)
	if e.Kind != entry.File || said.Kind != entry.File || e.Have&entry.Content == 0 {
		return w, true, nil
	}
	content, err := m.Content(said)
	if err != nil {
		return w, false, err
	}
	w.Content = packages.Other
	if content.BLAKE3 == e.Digest {
		w.Content = packages.Same
	}
	return w, true, nil
}

// override says what dpkg-statoverride asks for, if that is what is there.
func (y *sayings) override(f *seen, owners []pkgdb.Owner) string {
	o, ok := y.over[f.path]
	for i := 0; i < len(owners) && !ok; i++ {
		o, ok = y.over[owners[i].Listed]
	}
	const want = entry.Mode | entry.UID | entry.GID
	e := f.entry
	if !ok || e.Have&want != want || e.Mode&0o7777 != o.Mode || !y.is(o.User, e.UID, y.users.User) || !y.is(o.Group, e.GID, y.users.Group) {
		return ""
	}
	return fmt.Sprintf("%s %s %04o", o.User, o.Group, o.Mode)
}

// is reports whether an account of statoverride is the one with this number.
func (y *sayings) is(name string, id uint32, of func(uint32) string) bool {
	return name == of(id) || name == fmt.Sprintf("#%d", id) || name == "root" && id == 0
}

// settle reads a file once more where only that tells what the database says of
// its content. A file that is not the one that was scanned any more is not held
// against anything.
func (y *sayings) settle(ctx context.Context, x *scanner.Examiner, f seen, w *saying) {
	need := f.entry != nil && f.entry.Kind == entry.File && f.entry.Have&entry.Content != 0
	for _, k := range w.List {
		need = need && !(k.Signed && k.Content == packages.Same)
	}
	digests := false
	for i := range w.owners {
		digests = digests || w.owners[i].HasDigest() && w.owners[i].Level != pkgdb.None
	}
	if !need || !digests {
		return
	}
	look, err := examine(ctx, x, f.path)
	if err != nil || look.Entry.Have&entry.Content == 0 || look.Entry.Digest != f.entry.Digest {
		y.unread.Add(1)
		return
	}
	for i := range w.owners {
		switch o := &w.owners[i]; {
		case !o.HasDigest() || o.Level == pkgdb.None:
		case o.Holds(look.MD5, look.SHA256):
			w.List[i].Content = packages.Same
		default:
			w.List[i].Content = packages.Other
		}
	}
}

// examine is Examiner.Path; a bug in it is an error.
func examine(ctx context.Context, x *scanner.Examiner, p entry.Path) (l *scanner.Look, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	return x.Path(ctx, p, nil)
}

// notes tell what could not be looked at, and why.
func (y *sayings) notes() (notes []string) {
	if y.unknown > 0 {
		notes = append(notes, fmt.Sprintf("which package owns %s could not be told: %s", counted(int(y.unknown), "file"), y.reason))
	}
	if y.broken > 0 {
		notes = append(notes, fmt.Sprintf("what %s in the package database say of files does not count: they are damaged", counted(int(y.broken), "record")))
	}
	if n := y.unread.Load(); n > 0 {
		notes = append(notes, fmt.Sprintf("%s could not be read to hold them against the digests of their packages", counted(int(n), "file")))
	}
	if y.overErr != nil {
		notes = append(notes, fmt.Sprintf("what dpkg-statoverride asks for does not count: %v", y.overErr))
	}
	if n := y.books.note(); n != "" {
		notes = append(notes, n)
	}
	return notes
}
