package pkgdb

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"intact/scanner/entry"
)

// errLine is a line that no dpkg writes: the database is not to be used.
var errLine = errors.New("not a line of a dpkg database")

// eachLine calls do for every line, without its newline.
func eachLine(ctx context.Context, r io.Reader, do func([]byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 4096), maxLine)
	n := 0
	for s.Scan() {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := do(s.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s.Err()
}

// diversions looks for the paths that were asked for in the file of
// dpkg-divert(1): three lines each, the path, where it is diverted to, and the
// package that diverts it, ":" for the administrator.
func (q *query) diversions(ctx context.Context) error {
	found := map[string][]spelling{}
	n, total := 0, 0
	var from, to string
	err := q.each(ctx, dpkgDiversions, func(line []byte) error {
		switch n++; n % 3 {
		case 1:
			from = string(line)
		case 2:
			to = string(line)
		default:
			by := string(line)
			if !strings.HasPrefix(from, "/") || !strings.HasPrefix(to, "/") || by == "" {
				return errLine
			}
			for i := range q.wanted[from] {
				q.wanted[from][i].by = by
			}
			for _, s := range q.wanted[to] {
				if total++; total > maxDiverted {
					return fmt.Errorf("over %d diversions to what was asked for", maxDiverted)
				}
				found[from] = append(found[from], spelling{index: s.index, by: by, diverted: true})
			}
		}
		return nil
	})
	if err == nil && n%3 != 0 {
		err = fmt.Errorf("read %q: %w: it ends amid a diversion", dpkgDiversions, errLine)
	}
	for from, list := range found {
		for _, s := range list {
			q.want(from, s)
		}
	}
	return err
}

// lists reads the list of files of every package once.
func (q *query) lists(ctx context.Context) error {
	return q.eachListed(ctx, func(pkg, path string) error {
		for _, s := range q.wanted[path] {
			q.claim(pkg, path, s)
		}
		return nil
	})
}

// eachListed calls do for each line of each list.
func (q *query) eachListed(ctx context.Context, do func(pkg, path string) error) error {
	return q.root.List(dpkgInfo, func(name string, _ entry.Kind) error {
		pkg, ok := packageOf(name, ".list")
		if !ok {
			return nil
		}
		return q.each(ctx, dpkgInfo.Join([]byte(name)), func(line []byte) error {
			if !listLine(line) {
				return errLine
			}
			return do(pkg, string(line))
		})
	})
}

// listLine reports whether a line of a .list names a path. dpkg writes "/." for
// the root; an empty list is an empty file.
func listLine(line []byte) bool { return len(line) > 0 && line[0] == '/' }

// claim notes that pkg lists a path, unless its file was diverted away from it.
func (q *query) claim(pkg, listed string, s spelling) {
	name, _, _ := strings.Cut(pkg, ":")
	if s.by != "" && (name == s.by) == s.diverted {
		return // by lists its own file here, all others have theirs elsewhere
	}
	a := &q.out[s.index]
	o := Owner{Package: pkg, Listed: entry.Path(listed), Diverted: s.diverted, Level: Local}
	for _, have := range a.Owners {
		if have.Package == pkg {
			return // under another spelling
		}
	}
	if len(a.Owners) == maxOwners {
		a.More++
		return
	}
	a.Owners = append(a.Owners, o)
	q.owned[pkg] = append(q.owned[pkg], claim{s.index, len(a.Owners) - 1})
}

func (q *query) owner(c claim) *Owner { return &q.out[c.index].Owners[c.owner] }

// sums reads the .md5sums of the packages that own something.
func (q *query) sums(ctx context.Context) error {
	for _, pkg := range slices.Sorted(maps.Keys(q.owned)) {
		by := map[string][]claim{}
		for _, c := range q.owned[pkg] {
			l := string(q.owner(c).Listed)
			by[l] = append(by[l], c)
		}
		err := q.each(ctx, dpkgInfo.Join([]byte(pkg+".md5sums")), func(line []byte) error {
			sum, path, ok := parseSum(line)
			if !ok {
				return errLine
			}
			for _, c := range by[path] {
				q.owner(c).MD5 = sum
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// parseSum reads "md5  path", the path without its first slash, as
// dh_md5sums(1) writes it, and returns it with the slash. Some packages write
// "./" or the slash itself.
func parseSum(line []byte) (sum, path string, ok bool) {
	const digits = 32
	if len(line) < digits+3 || line[digits] != ' ' || line[digits+1] != ' ' && line[digits+1] != '*' {
		return "", "", false
	}
	sum = strings.ToLower(string(line[:digits]))
	if _, err := hex.DecodeString(sum); err != nil {
		return "", "", false
	}
	path = strings.TrimPrefix(string(line[digits+2:]), ".")
	return sum, "/" + strings.TrimPrefix(path, "/"), true
}

// stanza is what one package of the status says, as far as it was read.
type stanza struct {
	name, arch, version, status string
	conffiles                   bool // the lines now read are of that field
	sums                        map[string]string
}

// status reads version, state and conffiles of the packages that own something.
func (q *query) status(ctx context.Context) error {
	if len(q.owned) == 0 {
		return nil
	}
	listed := map[string]bool{} // what conffile lines are kept for
	for _, claims := range q.owned {
		for _, c := range claims {
			listed[string(q.owner(c).Listed)] = true
		}
	}
	if err := q.stanzas(ctx, dpkgStatus, listed); err != nil {
		return err
	}
	files, err := journal(q.root)
	if err != nil {
		return err
	}
	for _, f := range files { // what a later one says of a package stands
		if err := q.stanzas(ctx, f, listed); err != nil {
			return err
		}
	}
	return nil
}

// stanzas reads the status, or a file of its journal.
func (q *query) stanzas(ctx context.Context, p entry.Path, listed map[string]bool) error {
	st := stanza{sums: map[string]string{}}
	err := q.each(ctx, p, func(line []byte) error {
		if len(line) == 0 {
			q.apply(&st)
			st = stanza{sums: map[string]string{}}
			return nil
		}
		return st.line(line, listed)
	})
	q.apply(&st)
	return err
}

// line reads one line of a stanza, deb-control(5).
func (s *stanza) line(line []byte, listed map[string]bool) error {
	if line[0] == ' ' || line[0] == '\t' {
		if s.conffiles {
			if path, sum, ok := parseConffile(line); ok && listed[path] {
				s.sums[path] = sum
			}
		}
		return nil
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return errLine
	}
	v := string(bytes.TrimSpace(value))
	s.conffiles = false
	switch string(name) {
	case "Package":
		s.name = v
	case "Architecture":
		s.arch = v
	case "Version":
		s.version = v
	case "Status":
		s.status = v
	case "Conffiles":
		s.conffiles = true
	}
	return nil
}

// parseConffile reads " path md5", with "obsolete" or "remove-on-upgrade"
// behind it; the path may hold spaces. Of one that was never installed the
// digest is "newconffile": then sum is "".
func parseConffile(line []byte) (path, sum string, ok bool) {
	l := strings.TrimSpace(string(line))
	for _, flag := range []string{" obsolete", " remove-on-upgrade"} {
		l = strings.TrimSuffix(l, flag)
	}
	i := strings.LastIndexByte(l, ' ')
	if i < 1 || l[0] != '/' {
		return "", "", false
	}
	path, sum = l[:i], strings.ToLower(l[i+1:])
	if b, err := hex.DecodeString(sum); err != nil || len(b) != 16 {
		sum = ""
	}
	return path, sum, true
}

// apply gives what a stanza says to those who own something.
func (q *query) apply(s *stanza) {
	if s.name == "" {
		return
	}
	for _, pkg := range []string{s.name, s.name + ":" + s.arch} {
		for _, c := range q.owned[pkg] {
			o := q.owner(c)
			o.Arch, o.Version, o.Status = s.arch, s.version, s.status
			if o.Conffile { // an earlier stanza said so
				o.Conffile, o.MD5 = false, ""
			}
			if sum, ok := s.sums[string(o.Listed)]; ok {
				o.Conffile, o.MD5 = true, sum
			}
		}
	}
}
