package osupdates

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"intact/rules"
	"intact/scanner/entry"
)

// rpmCaches is where dnf keeps what it knows of its repositories, for people;
// cacheFolders are all places.
const rpmCaches = "/var/cache/dnf"

var cacheFolders = []entry.Path{"/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/zypp/raw"}

// Limits of the caches of rpm's repositories.
const (
	maxRepomd  = 1 << 20
	maxCaches  = 1024
	maxXMLText = 1 << 20 // of one value
)

var errRepodata = errors.New("not the metadata of a repository")

// cache is what is kept of one repository.
type cache struct {
	repo       Repository
	dir        entry.Path // its folder repodata
	revised    time.Time  // as repomd.xml says
	primary    entry.Path // list of packages
	updateinfo entry.Path // list of advisories, "" if it has none
	priority   int64      // of the repository: less goes first
	exclude    []string   // globs of packages that it does not give
}

// repomd is the index of a repository's metadata.
type repomd struct {
	Revision string `xml:"revision"`
	Data     []struct {
		Type     string `xml:"type,attr"`
		Location struct {
			Href string `xml:"href,attr"`
		} `xml:"location"`
		Timestamp string `xml:"timestamp"`
	} `xml:"data"`
}

// caches finds what is kept of the enabled repositories. missing names those
// without any.
func (h *host) caches() (out []cache, missing []string) {
	repos := h.rpmRepositories()
	main := sectionNamed(h.ini("/etc/dnf/dnf.conf"), "main")
	best := map[string]cache{}
	for _, top := range cacheFolders {
		for _, name := range h.list(top, maxCaches, true) {
			id := repoOf(name)
			for _, r := range repos {
				if !r.Enabled || r.Suite != id && r.Suite != name {
					continue
				}
				c, ok := h.cache(r, top.Join([]byte(name)).Join([]byte("repodata")))
				if old, is := best[r.Suite]; ok && (!is || c.revised.After(old.revised)) {
					best[r.Suite] = c
				}
			}
		}
	}
	for _, r := range repos {
		c, ok := best[r.Suite]
		switch {
		case !r.Enabled:
		case !ok:
			missing = append(missing, r.Suite)
		default:
			delete(best, r.Suite)
			c.exclude = append(c.exclude, words(main.value("exclude", ""))...)
			c.exclude = append(c.exclude, words(main.value("excludepkgs", ""))...)
			out = append(out, c)
		}
	}
	return out, missing
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
}

// repoOf returns the id of the repository that a folder of dnf's cache is of:
// "baseos" of "baseos-0123456789abcdef".
func repoOf(name string) string {
	if i := strings.LastIndexByte(name, '-'); i > 0 && len(name)-i == 17 && strings.Trim(name[i+1:], "0123456789abcdef") == "" {
		return name[:i]
	}
	return name
}

// cache reads repomd.xml in a folder.
func (h *host) cache(r Repository, dir entry.Path) (c cache, ok bool) {
	p := dir.Join([]byte("repomd.xml"))
	b, ok := h.read(p, maxRepomd)
	if !ok {
		return c, false
	}
	var md repomd
	if err := decode(b, &md); err != nil {
		h.add(fmt.Errorf("%q: %w: %v", p, errRepodata, err))
		return c, false
	}
	c = cache{repo: r, dir: dir, priority: 99}
	c.revised = unixTime(md.Revision)
	for _, d := range md.Data {
		at := dir.Join([]byte(path.Base("/" + d.Location.Href)))
		if t := unixTime(d.Timestamp); c.revised.Before(t) {
			c.revised = t
		}
		switch d.Type {
		case "primary":
			c.primary = at
		case "updateinfo":
			c.updateinfo = at
		}
	}
	for _, o := range r.Options {
		switch name, v, _ := strings.Cut(o, "="); name {
		case "priority":
			if n, err := strconv.ParseInt(v, 10, 32); err == nil {
				c.priority = n
			}
		case "exclude", "excludepkgs":
			c.exclude = words(v)
		}
	}
	return c, c.primary != ""
}

// unixTime reads seconds since 1970, the zero time where s is none.
func unixTime(s string) time.Time {
	sec, _, _ := strings.Cut(strings.TrimSpace(s), ".")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err != nil || n <= 0 || n > 1<<35 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// decode reads one element; entities that it does not know are errors, and
// nothing is fetched or expanded.
func decode(b []byte, into any) error {
	d := xml.NewDecoder(bytes.NewReader(b))
	d.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) {
		if strings.EqualFold(charset, "utf-8") {
			return in, nil
		}
		return nil, fmt.Errorf("charset %.40q", charset)
	}
	return d.Decode(into)
}

// element returns a piece from where the element begins that it holds; nil if
// there is none.
func element(raw []byte, name string) []byte {
	for i := 0; ; {
		j := bytes.Index(raw[i:], []byte("<"+name))
		if j < 0 {
			return nil
		}
		i += j
		if after := i + 1 + len(name); after < len(raw) && bytes.IndexByte([]byte(" \t\r\n>"), raw[after]) >= 0 {
			return raw[i:]
		}
		i++
	}
}

// eachElement calls do for each element of a list that has a byte sequence wanted
// says yes to.
func (h *host) eachElement(ctx context.Context, p entry.Path, c cut, name string, wanted func(raw []byte) bool, do func(raw []byte) error) error {
	f, err := h.Root.OpenFile(p)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.each(ctx, string(p), f, func(raw []byte, line int) error {
		e := element(raw, name)
		if e == nil || !wanted(e) {
			return nil
		}
		if err := do(e); err != nil {
			return fmt.Errorf("line %d: %w: %v", line, errRepodata, err)
		}
		return nil
	})
}

// rpmLists says how fresh the caches are; false where there are no repositories
// of rpm.
func (h *host) rpmLists(now time.Time) ([]List, bool) {
	all, missing := h.caches()
	if len(all)+len(missing) == 0 {
		return nil, false
	}
	state := rules.Failed
	if len(all) == 0 {
		state = rules.Absent
	}
	for _, id := range missing {
		h.is(state, fmt.Sprintf("nothing is kept of repository %q", id))
	}
	var rows []List
	for _, c := range all {
		l := List{URI: withoutSecrets(c.repo.URI), Suite: c.repo.Suite, File: string(c.dir.Join([]byte("repomd.xml"))), Date: c.revised, DateKnown: !c.revised.IsZero()}
		if l.DateKnown {
			l.AgeSeconds = int64(now.Sub(l.Date) / time.Second)
		}
		l.Security = c.updateinfo != ""
		rows = append(rows, l)
	}
	slices.SortFunc(rows, func(a, b List) int { return cmp.Compare(a.Suite, b.Suite) })
	return rows, true
}
