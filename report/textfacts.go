package report

import (
	"strings"

	"intact/rules"
)

// plain prints the attributes of what is no file: their names are not those of
// the table of entries, though some are spelled alike.
func (t *text) plain(f *rules.Finding) {
	whole := f.Change == "added" || f.Change == "removed"
	var all []string
	for _, v := range f.Attributes {
		old, now := plainValue(v.Old, v.OldKnown), plainValue(v.New, v.NewKnown)
		if !whole {
			t.difference(&v, old+" → "+now)
			continue
		}
		val, shown := v.New, now
		if f.Change == "removed" {
			val, shown = v.Old, old
		}
		if val != "" || t.Verbose {
			all = append(all, Escape(v.Name)+" "+shown)
		}
	}
	if len(all) > 0 {
		name := "is"
		if f.Change == "removed" {
			name = "was"
		}
		t.detail(name, strings.Join(all, ", "))
	}
}

// difference prints one attribute: of one with several lines those that differ.
func (t *text) difference(v *rules.Value, short string) {
	old, now := strings.Split(v.Old, "\n"), strings.Split(v.New, "\n")
	name := Escape(v.Name)
	if len(old)+len(now) == 2 || !v.OldKnown || !v.NewKnown {
		t.detail(name, short)
		return
	}
	for _, l := range missing(old, now) {
		t.detail(name, "- "+Escape(l))
		name = ""
	}
	for _, l := range missing(now, old) {
		t.detail(name, "+ "+Escape(l))
		name = ""
	}
	if name != "" {
		t.detail(name, "the same, in another order")
	}
}

func plainValue(s string, known bool) string {
	switch {
	case !known:
		return none
	case s == "":
		return `""`
	}
	return Escape(s)
}
