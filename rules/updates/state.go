package updates

import (
	"context"
	"slices"
	"strings"
	"time"

	"intact/baseline/diff"
	"intact/rules"
	"intact/rules/pkgdb"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

const (
	dpkgDir  = entry.Path("/var/lib/dpkg")
	dpkgInfo = entry.Path("/var/lib/dpkg/info")
	maxList  = 64 << 20 // bytes of a list of files
)

// file is how dpkg begins the names of what it keeps of the package of u.
func file(u *Update, arch bool) string {
	p := u.New
	if p.Name == "" {
		p = u.Old
	}
	if arch {
		return p.Name + ":" + p.Arch
	}
	return p.Name
}

// beside explains what dpkg and rpm leave beside a conffile: the package's own next to
// one that was edited, or the edited one next to the package's.
func (x *Explainer) beside(ctx context.Context, c *diff.Change, take func(rules.Explanation)) {
	for _, suffix := range [...]string{".dpkg-dist", ".dpkg-new", ".rpmnew"} {
		if base, ok := strings.CutSuffix(string(c.Path), suffix); ok {
			x.Holder(entry.Path(base), func(u *Update, s *Said) bool {
				if s.Conffile && x.accounts(ctx, s, c) {
					take(x.doubtful(u, s))
				}
				return true
			})
		}
	}
	base, ok := strings.CutSuffix(string(c.Path), ".dpkg-old")
	if !ok {
		base, ok = strings.CutSuffix(string(c.Path), ".rpmsave")
	}
	if !ok || x.host.Was == nil {
		return
	}
	was, ok := x.host.Was(entry.Path(base))
	const same = entry.Mode | entry.UID | entry.GID | entry.Size | entry.Content | entry.Caps | entry.ACL | entry.XattrAttr
	if !ok || was.Kind != entry.File || c.New.Kind != entry.File || was.Have&same != same || c.New.Have&same != same || entry.Differ(was, c.New, same) != 0 {
		return
	}
	x.Holder(entry.Path(base), func(u *Update, s *Said) bool {
		if s.Conffile { // what an administrator wrote, and the baseline has: nobody signed it
			e := u.Explanation(Kind)
			if e.Level == rules.Signed {
				e.Level = rules.Attributed
			}
			take(e)
		}
		return true
	})
}

// afterwards is how long after a transaction was closed something may still be made
// by it.
const afterwards = time.Minute

// late reports whether c came too late to be of the transaction of u, a package that
// is as the baseline has it: what it left pending is still explained, what somebody
// does later is not.
func late(u *Update, c *diff.Change) bool {
	if u.Old != u.New {
		return false
	}
	until, ok := u.Until()
	return !ok || c.New == nil || c.New.Have&entry.Ctime == 0 || time.Unix(c.New.Ctime.Sec, 0).After(until)
}

// Until returns when all was made that the transaction of u made, if that is known.
func (u *Update) Until() (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, u.When)
	return t.Add(afterwards), err == nil
}

// saved attributes a configuration file that rpm leaves under another name when
// its package goes, to those of left: just as it was, for an administrator edited it.
func saved(c *diff.Change, left map[*Update]bool, take func(rules.Explanation)) {
	if string(c.Path) != string(c.From)+".rpmsave" || c.New.Kind != entry.File || c.Attrs&^(entry.Ctime|entry.Inode) != 0 {
		return
	}
	for u := range left {
		if e := u.Explanation(Kind); u.kind() == "rpm" && u.New.Name == "" { // no better than attributed: nothing of it is there any more
			take(e)
		}
	}
}

// state explains what dpkg keeps of its own: the control files and lists of the
// packages, and the status that follows from all of them; and what rpm does.
func (x *Explainer) state(ctx context.Context, c *diff.Change, take func(rules.Explanation)) {
	name := string(c.Path)
	switch c.Path.Dir() {
	case dpkgInfo:
		x.info(ctx, name[len(dpkgInfo)+1:], c, take)
	case dpkgDir:
		switch name[len(dpkgDir)+1:] {
		case "status":
			if c.Kind == diff.Changed && plain(c) && c.New.Have&entry.Content != 0 && x.host.Settled != nil && x.host.Settled(c.New.Digest) {
				x.all(c, take)
			}
		case "status-old":
			if c.New != nil && plain(c) && c.New.Have&entry.Content != 0 && x.host.SettledBefore != nil && x.host.SettledBefore(c.New.Digest) {
				x.all(c, take)
			} else {
				x.loose(c, take)
			}
		case "available", "available-old", "diversions-old", "statoverride-old":
			x.loose(c, take)
		}
	case dpkgDir.Join([]byte("triggers")):
		if base := name[len(dpkgDir)+len("/triggers/"):]; base == "File" || base == "Unincorp" {
			x.loose(c, take)
		}
	case "/var/lib/rpm", "/usr/lib/sysimage/rpm":
		x.database(ctx, c, take)
	}
}

// databases are the files in which rpm keeps what is installed, by what goes
// with them: with the table of Berkeley DB one for each tag that is looked up,
// and what processes share.
var databases = map[string]string{"rpmdb.sqlite": "rpmdb.sqlite", "rpmdb.sqlite-wal": "rpmdb.sqlite", "rpmdb.sqlite-shm": "rpmdb.sqlite",
	"Packages.db": "Packages.db", "Index.db": "Packages.db",
	"Packages": "Packages", "Name": "Packages", "Basenames": "Packages", "Group": "Packages", "Requirename": "Packages", "Providename": "Packages",
	"Conflictname": "Packages", "Obsoletename": "Packages", "Triggername": "Packages", "Dirnames": "Packages", "Installtid": "Packages",
	"Sigmd5": "Packages", "Sha1header": "Packages", "Filetriggername": "Packages", "Transfiletriggername": "Packages", "Recommendname": "Packages",
	"Suggestname": "Packages", "Supplementname": "Packages", "Enhancename": "Packages",
	"__db.001": "Packages", "__db.002": "Packages", "__db.003": "Packages"}

// database attributes the database of rpm to itself, also where all that was
// installed is accepted already. Its headers are verified, and not what else is
// in the file: that is never vouched for.
func (x *Explainer) database(ctx context.Context, c *diff.Change, take func(rules.Explanation)) {
	name := c.Path.Base()
	main, ok := databases[name]
	if !ok || x.host.Vouched == nil {
		return
	}
	if c.Kind == diff.Removed && name == main || c.Kind != diff.Removed && !plain(c) || !x.host.Vouched(ctx, c.Path.Dir().Join([]byte(main))) {
		return
	}
	if c.Kind != diff.Removed && name == main { // what was verified is what the scan saw
		if c.New.Have&entry.Content == 0 || x.host.Contents == nil {
			return
		}
		if _, ok := x.host.Contents.SHA256(ctx, c.Path, c.New); !ok {
			return
		}
	}
	take(rules.Explanation{Source: "the records of rpm", Level: rules.Attributed, Kind: KindState})
}

// plain reports whether c brought a file as dpkg makes its own, of root and for
// everybody to read.
func plain(c *diff.Change) bool {
	e := c.New
	const need = entry.Mode | entry.UID | entry.GID
	const may = entry.Mode | entry.UID | entry.GID | entry.Size | entry.Content | entry.Mtime | entry.Ctime | entry.Inode
	return e.Kind == entry.File && e.Have&need == need && e.Mode == 0o644 && e.UID == 0 && e.GID == 0 && c.Attrs&^may == 0 &&
		(e.Have&entry.Caps == 0 || e.Caps == nil)
}

// loose attributes what dpkg writes anew, and nobody vouches for.
func (x *Explainer) loose(c *diff.Change, take func(rules.Explanation)) {
	if c.Kind != diff.Removed && !plain(c) {
		return
	}
	x.all(c, func(e rules.Explanation) {
		if e.Level == rules.Signed {
			e.Level = rules.Attributed
		}
		take(e)
	})
}

// all attributes c to all of the updates of dpkg: it follows from each of them.
func (x *Explainer) all(c *diff.Change, take func(rules.Explanation)) {
	var e rules.Explanation
	found := 0
	var keys []string
	claimed := "" // the latest of what cannot be shown any more
	for i := range x.updates {
		if x.updates[i].kind() != "dpkg" || late(&x.updates[i], c) {
			continue
		}
		found++
		one := x.updates[i].Explanation(KindState)
		if one.Key != "" && !slices.Contains(keys, one.Key) {
			keys = append(keys, one.Key)
		}
		claimed = max(claimed, one.Verified)
		switch {
		case found == 1:
			e = one
		case one.Rank() < e.Rank():
			e.Level = one.Level
		}
	}
	if found > 1 {
		slices.Sort(keys)
		e = rules.Explanation{Source: "the records of dpkg", Level: e.Level, Kind: KindState, Key: strings.Join(keys, " "), Verified: claimed}
		if claimed != "" {
			e.Claim = rules.HostClaimed
		}
	}
	if found > 0 {
		take(e)
	}
}

// info explains a file below /var/lib/dpkg/info.
func (x *Explainer) info(ctx context.Context, name string, c *diff.Change, take func(rules.Explanation)) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return
	}
	i, ok := x.names[name[:dot]]
	if !ok || x.failed[i] != nil {
		return
	}
	u, ext := &x.updates[i], name[dot+1:]
	if u.Gone() {
		if c.Kind == diff.Removed || ext == "list" && u.New.Name != "" && plain(c) && x.rest(ctx, u, c) {
			take(u.Explanation(Kind))
		}
		return
	}
	if u.Source == nil {
		return
	}
	s, has := u.Source.Control(ext)
	switch {
	case c.Kind == diff.Removed:
		if !has && ext != "list" && ext != "md5sums" {
			take(u.Explanation(Kind))
		}
	case has:
		s.Kind, s.User, s.Group = entry.File, "root", "root"
		if x.accounts(ctx, &s, c) {
			take(u.Explanation(Kind))
		}
	case ext == "list" && plain(c):
		if kept, ok := x.lists(ctx, u, c); ok {
			e := u.Explanation(Kind)
			if kept && e.Level == rules.Signed {
				e.Level = rules.Attributed
			}
			take(e)
		}
	case ext == "md5sums" && plain(c) && !late(u, c): // dpkg made it of what it unpacked
		e := u.Explanation(Kind)
		if e.Level == rules.Signed {
			e.Level = rules.Attributed
		}
		take(e)
	}
}

// lists reports whether the list of files that c brought is that of what the
// package holds. kept says that it has paths of the version before as well: dpkg
// lists a configuration file further on that the package does not hold any more.
func (x *Explainer) lists(ctx context.Context, u *Update, c *diff.Change) (kept, ok bool) {
	if x.host.Read == nil {
		return false, false
	}
	b, ok := x.host.Read(ctx, c.Path, c.New, maxList)
	if !ok {
		return false, false
	}
	want := map[entry.Path]bool{}
	for p, err := range u.Source.Paths() {
		if err != nil {
			return false, false
		}
		want[p] = true
	}
	delete(want, "/")
	var more []entry.Path
	for line := range strings.Lines(string(b)) {
		p := entry.Path(strings.TrimSuffix(line, "\n"))
		switch {
		case p == "/." || p == "/":
		case want[p]:
			delete(want, p)
		default:
			more = append(more, p)
		}
	}
	if len(want) > 0 {
		return false, false
	}
	return len(more) > 0, len(more) == 0 || x.hadAll(u, more)
}

// rest reports whether the list of files that c brought is what is left of the one
// before: dpkg lists configuration files, and the folders they are in, until a
// package is purged.
func (x *Explainer) rest(ctx context.Context, u *Update, c *diff.Change) bool {
	if x.host.Read == nil {
		return false
	}
	b, ok := x.host.Read(ctx, c.Path, c.New, maxList)
	if !ok {
		return false
	}
	var paths []entry.Path
	for line := range strings.Lines(string(b)) {
		if p := entry.Path(strings.TrimSuffix(line, "\n")); p != "/." && p != "/" {
			paths = append(paths, p)
		}
	}
	return x.hadAll(u, paths)
}

// hadAll reports whether the version before held all of paths.
func (x *Explainer) hadAll(u *Update, paths []entry.Path) bool {
	if u.Held == nil {
		return false
	}
	missing := map[entry.Path]bool{}
	for _, p := range paths {
		missing[p] = true
	}
	for p := range u.Held {
		delete(missing, p)
	}
	return len(missing) == 0
}

// Settled reports whether what is installed is what the baseline has and the
// updates say, so that there is nothing else in the status.
func Settled(before, now []pkgdb.Package, updates []Update) bool {
	type key struct{ kind, name, arch, version string }
	of := func(p pkgdb.Package) key { return key{p.Kind, p.Name, p.Arch, p.Version} }
	said := map[key]bool{}
	for i := range updates {
		u := &updates[i]
		if u.New.Status == pkgdb.Held && u.Old.Status != pkgdb.Held {
			return false // no package asks for that
		}
		said[of(u.New)] = true
	}
	was := map[key]digest.Digest{}
	for _, p := range before {
		was[of(p)] = p.Stanza
	}
	is := map[key]bool{}
	for _, p := range now {
		is[of(p)] = true
		if stanza, ok := was[of(p)]; !said[of(p)] && (!ok || stanza != p.Stanza) {
			return false
		}
	}
	old := map[key]bool{}
	for i := range updates {
		old[of(updates[i].Old)] = true
	}
	for _, p := range before {
		if !is[of(p)] && !old[of(p)] {
			return false
		}
	}
	return true
}
