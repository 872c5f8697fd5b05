package drift

import (
	"slices"
	"strings"

	"intact/rules"
)

// Files is what a check knows of the files that rows are read from.
type Files struct {
	Said    func(path string) *rules.Explanation // of a change of the file in this very check, nil: none
	Changed func(path string) bool               // whether there was a change
	Held    func(path string) bool               // whether its content is compared: without a change it is as it was
}

// fromFiles are the attributes of a unit that follow from its files alone.
var fromFiles = []string{"fragment", "dropins", "digest", "exec", "user"}

// plainStates are those that need no link, or follow from the links alone.
var plainStates = []string{"enabled", "disabled", "static", notFound}

// notFound is the state of a unit whose file is gone.
const notFound = "not-found"

// folders are where links enable units.
var folders = [...]string{"/etc/systemd/system/", "/usr/lib/systemd/system/", "/lib/systemd/system/", "/usr/local/lib/systemd/system/"}

// Files names the files that a row is read from, before and now, and the links that
// enable it.
func (m Move) Files() (files, links []string) {
	switch m.Kind {
	case anchor, cron, pam, preload:
		if f := m.source(); f != "" {
			files = append(files, f)
		}
	case unit:
		a, b, added := m.sides()
		files = union(fileList(a), fileList(b))
		for _, w := range added {
			links = append(links, m.linksOf(w)...)
		}
	}
	return files, links
}

// source is the one file that all of a row follows from, "" if there is none:
// that of a job or of a line of PAM, what names a folder of libraries, and the
// certificate of an authority that a distribution ships.
func (m Move) source() string {
	switch m.Kind {
	case cron, pam:
		f, _ := firstQuoted(m.Key)
		return f
	case preload:
		// KEY is KIND "file" "name" INDEX
		rest, ok := strings.CutPrefix(m.Key, "folder ")
		f, is := firstQuoted(rest)
		if a, b, _ := m.sides(); !ok || !is || a["exposed"] != "" || b["exposed"] != "" {
			return ""
		}
		return f
	case anchor:
		a, b, _ := m.sides()
		if m.New == nil {
			b = a
		} else if m.Old == nil {
			a = b
		}
		if a["local"] == "true" || b["local"] == "true" || a["source"] != b["source"] {
			return ""
		}
		return a["source"]
	}
	return ""
}

// Telling names the files of a unit that a package should have: its own one, and
// drop-ins that came or went.
func (m Move) Telling() (out []string) {
	if m.Kind != unit {
		return nil
	}
	a, b, _ := m.sides()
	was, is := strings.Fields(a["dropins"]), strings.Fields(b["dropins"])
	for _, f := range union(was, is) {
		if slices.Contains(was, f) != slices.Contains(is, f) {
			out = append(out, f)
		}
	}
	for _, side := range []map[string]string{b, a} {
		if f := side["fragment"]; f != "" {
			return append(out, f)
		}
	}
	return out
}

// sides are the attributes before and now, and the units that start this one in
// one of them only.
func (m Move) sides() (a, b map[string]string, wanted []string) {
	_, a, err1 := attributes(m.Old)
	_, b, err2 := attributes(m.New)
	if err1 != nil || err2 != nil {
		return nil, nil, nil
	}
	was, is := strings.Fields(a["wanted"]), strings.Fields(b["wanted"])
	for _, w := range union(was, is) {
		if slices.Contains(was, w) != slices.Contains(is, w) {
			wanted = append(wanted, w)
		}
	}
	return a, b, wanted
}

// linksOf are the places where a link may say that another unit starts this one.
func (m Move) linksOf(by string) (out []string) {
	name, ok := firstQuoted(m.Key)
	if !ok {
		return nil
	}
	for _, dir := range folders {
		for _, kind := range [...]string{".wants/", ".requires/", ".upholds/"} {
			out = append(out, dir+by+kind+name)
		}
	}
	return out
}

func fileList(a map[string]string) (out []string) {
	if f := a["fragment"]; f != "" {
		out = append(out, f)
	}
	return append(out, strings.Fields(a["dropins"])...)
}

func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

// Explain gives the weakest explanation of the files that m is read from. Nil:
// something about it does not follow from what is explained.
func (m Move) Explain(w Files) (weakest *rules.Explanation) {
	take := func(path string) bool {
		x := w.Said(path)
		if x == nil {
			return false
		}
		if weakest == nil || x.Rank() < weakest.Rank() {
			weakest = x
		}
		return true
	}
	switch m.Kind {
	case anchor, cron, pam, preload:
		if f := m.source(); f == "" || !take(f) {
			return nil
		}
		return weakest
	case unit:
	default:
		return nil
	}
	a, b, wanted := m.sides()
	if a == nil || b == nil {
		return nil
	}
	list, err := Differ(m.Old, m.New)
	if err != nil || !m.followsFrom(list, wanted) {
		return nil
	}
	was, is := fileList(a), fileList(b)
	for _, f := range union(was, is) {
		both := slices.Contains(was, f) && slices.Contains(is, f)
		switch {
		case w.Changed(f) || !both:
			if !take(f) {
				return nil
			}
		case !w.Held(f):
			return nil // it may be what changed
		}
	}
	for _, by := range wanted {
		n := 0
		for _, l := range m.linksOf(by) {
			if !w.Changed(l) {
				continue
			}
			if n++; !take(l) {
				return nil
			}
		}
		if n == 0 {
			return nil
		}
	}
	return weakest
}

// followsFrom reports whether all that differs follows from files and from the
// links that wanted is about.
func (m Move) followsFrom(list []rules.Value, wanted []string) bool {
	for _, v := range list {
		switch {
		case slices.Contains(fromFiles, v.Name), v.Name == "wanted":
		case v.Name != "state":
			return false
		case v.OldKnown && !slices.Contains(plainStates, v.Old), v.NewKnown && !slices.Contains(plainStates, v.New):
			return false
		case (v.Old == "enabled" || v.New == "enabled") && len(wanted) == 0 && v.Old != notFound && v.New != notFound:
			return false // by a link that is not known here
		}
	}
	return true
}
