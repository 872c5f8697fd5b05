package app

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"intact/cmd/internal/config"
	"intact/report"
	"intact/rules/packages"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/pgp"
	"intact/rules/updates"
	"intact/scanner/entry"
)

// owners asks the package database of the root, under the pinned keys.
func (s *session) owners(ctx context.Context, paths []entry.Path) ([]pkgdb.Answer, error) {
	t := pkgdb.Trust{RPM: s.rpmKeys(), At: s.env.Now()}
	return t.Owners(ctx, packageRoot{s.root}, paths)
}

// rpmKeys reads the configured keys, once. A file that cannot be read pins
// nothing, and that is said: levels go down.
func (s *session) rpmKeys() *pgp.Keyring {
	if s.rpmRing != nil {
		return s.rpmRing
	}
	s.rpmRing = &pgp.Keyring{}
	for _, name := range s.cfg.Packages.RPMKeys {
		b, err := config.ReadKeyring(name)
		if err == nil {
			err = s.rpmRing.Add(b)
		}
		if err != nil {
			s.env.warn("packages: rpm_keys: %q: %v: its keys do not count", name, err)
		}
	}
	return s.rpmRing
}

// kinds are the types of files by the bits of st_mode.
var kinds = map[uint16]entry.Kind{unix.S_IFREG: entry.File, unix.S_IFDIR: entry.Dir, unix.S_IFLNK: entry.Symlink,
	unix.S_IFCHR: entry.CharDevice, unix.S_IFBLK: entry.BlockDevice, unix.S_IFIFO: entry.FIFO, unix.S_IFSOCK: entry.Socket}

// besides holds type, mode, owner, target and capabilities against a package.
func besides(e *entry.Entry, f *pkgdb.File, users *idNames) (list []packages.Beside) {
	if f == nil || e.Have == 0 {
		return nil
	}
	add := func(name, want string) { list = append(list, packages.Beside{Name: name, Want: want}) }
	if m := f.Mode; m != nil {
		if k := kinds[*m&unix.S_IFMT]; k != e.Kind {
			add("type", k.String())
			return list
		}
		if perm := *m & 0o7777; e.Kind != entry.Symlink && e.Have&entry.Mode != 0 && uint32(perm) != uint32(e.Mode)&0o7777 {
			add("mode", fmt.Sprintf("%04o", perm))
		}
	}
	// An image without its accounts still has a superuser.
	if e.Have&entry.UID != 0 && f.User != "" && f.User != users.User(e.UID) && (e.UID != 0 || f.User != "root") {
		add("user", f.User)
	}
	if e.Have&entry.GID != 0 && f.Group != "" && f.Group != users.Group(e.GID) && (e.GID != 0 || f.Group != "root") {
		add("group", f.Group)
	}
	if e.Kind == entry.Symlink && e.Have&entry.Target != 0 && f.Target != string(e.Target) {
		add("target", f.Target)
	}
	if e.Kind == entry.File && e.Have&entry.Caps != 0 && !f.NoCaps {
		has, _ := entry.Text(entry.Caps, e)
		if want := updates.PlainCaps(f.Caps); want != has {
			add("capabilities", want)
		}
	}
	return list
}

// levelWords says how far a package's word goes.
func levelWords(o *pkgdb.Owner) string {
	switch {
	case o.Level == pkgdb.Signed:
		return pkgdb.Vouched
	case o.Level == pkgdb.None:
		return pkgdb.Broken
	case o.Why != "":
		return pkgdb.Unverified
	}
	return pkgdb.Weakness
}

// packageLines say more of the owners: who signed, or why nobody counts, and
// what is not as the package has it.
func (s *subject) packageLines() (lines []string) {
	for i := range s.pkg.Owners {
		o := &s.pkg.Owners[i]
		name := "package " + report.Escape(o.Package)
		if i < len(s.beside) {
			for _, b := range s.beside[i] {
				lines = append(lines, fmt.Sprintf("%s has %s %s", name, b.Name, orNone(b.Want)))
			}
		}
		switch {
		case o.Why != "":
			lines = append(lines, name+" is not verified: "+report.Prose(o.Why))
		case o.Key != "":
			lines = append(lines, name+" is signed by "+report.Escape(o.Key))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// orNone spells a value, which may be empty.
func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return report.Escape(s)
}
