package packages

import (
	"cmp"
	"fmt"
	"slices"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// The rules of the set.
const (
	ruleUnowned  = "pkg.unowned"
	ruleDiffers  = "pkg.differs"
	ruleMode     = "pkg.mode"
	ruleOwner    = "pkg.owner"
	ruleCaps     = "pkg.caps"
	ruleMissing  = "pkg.missing"
	ruleConffile = "pkg.conffile"
)

// Content is what a package says of the content that was found.
type Content uint8

// What can be said of content.
const (
	Unsaid Content = iota
	Same
	Other
)

// Beside is one thing other than the content that is not as a package has it.
type Beside struct {
	Name string // type, mode, user, group, target or capabilities
	Want string // "" for none
}

// Word is what one package says of a path.
type Word struct {
	Package   string // with its version, for people
	Signed    bool   // a verified signature vouches for it; else the local database alone says so
	Installed bool   // and not only known, or half removed
	Conffile  bool   // the administrator may edit it
	Loose     bool   // the package does not hold it to what it brought
	Content   Content
	Stated    bool     // Beside was asked for: what is not in it is as the package has it
	Caps      bool     // and of capabilities it says something too
	Beside    []Beside // what is not
	Kept      string   // the version that it has had since the baseline, "" if it is another or not known
}

// Words are what is known of one path.
type Words struct {
	Known    bool // the database could be asked; else nothing is judged
	List     []Word
	Override string // mode and owner that dpkg-statoverride(1) asks for and that are there; "" if none
}

func (w *Words) owned() bool { return len(w.List) > 0 }

// verdict is one reason for a finding; the gravest names it.
type verdict struct {
	rule     string
	severity rules.Severity
	reason   string
}

// Change judges what packages say of a change: at most one finding, the gravest,
// with the reasons of all. Directories are not judged: packages share them.
func Change(c *diff.Change, w *Words) (rules.Finding, bool) {
	if !Asked(c) || !w.Known {
		return rules.Finding{}, false
	}
	var list []verdict
	class := Class("")
	switch {
	case c.New == nil:
		class = ClassOf(c.Path, c.Old)
		list = w.gone(class)
	case !w.owned():
		class = ClassOf(c.Path, c.New)
		list = unowned(c, class)
	default:
		class = ClassOf(c.Path, c.New)
		list = w.changed(c)
	}
	if len(list) == 0 {
		return rules.Finding{}, false
	}
	f := w.finding(c.Path, class, list)
	f.Subject.Kind = cmp.Or(c.New, c.Old).Kind.String()
	f.Change, f.From, f.Diff = c.Kind.String(), string(c.From), c
	return f, true
}

// Asked reports whether packages have anything to say of a change: of files and
// links that were seen.
func Asked(c *diff.Change) bool {
	e := cmp.Or(c.New, c.Old)
	switch {
	case c.Folded || e == nil || c.Kind == diff.Unverified || c.Kind == diff.Regained:
		return false
	case e.Kind == entry.File || e.Kind == entry.Symlink:
		return true
	}
	return e.Kind != entry.Dir && c.Attrs&entry.Type != 0
}

// matters are the attributes by which what nobody owns becomes another thing.
const matters = entry.Type | entry.Content | entry.Size | entry.Mode | entry.UID | entry.GID | entry.Caps

// unowned judges what no package owns. Keys are never a package's.
func unowned(c *diff.Change, class Class) []verdict {
	if class == "" || class == Key || c.Kind == diff.Changed && c.Attrs&matters == 0 {
		return nil
	}
	return []verdict{{ruleUnowned, severityOf(class), "no package owns it"}}
}

// gone judges a path that is not there any more.
func (w *Words) gone(class Class) (list []verdict) {
	for _, k := range w.List {
		switch {
		case !k.Installed || k.Loose:
		case k.Conffile:
			list = append(list, verdict{ruleConffile, rules.Low, "a configuration file of package " + k.Package + " is gone"})
		case class != "":
			list = append(list, verdict{ruleMissing, rules.High, "package " + k.Package + " is installed, and what it brought here is gone"})
		default:
			list = append(list, verdict{ruleMissing, rules.Medium, "package " + k.Package + " is installed, and what it brought here is gone"})
		}
	}
	return list
}

// changed judges what a package owns.
func (w *Words) changed(c *diff.Change) []verdict {
	list := w.content()
	touched := c.Kind != diff.Changed || c.Attrs&(entry.Content|entry.Size|entry.Type) != 0
	if v, ok := w.kept(); ok && touched && c.Kind == diff.Changed && len(list) == 0 {
		list = append(list, v)
	}
	if k := w.conffile(); k != nil && touched {
		v := verdict{ruleConffile, rules.Low, "a configuration file of package " + k.Package + " was edited"}
		if k.Content == Same {
			v.severity, v.reason = rules.Info, "a configuration file of package "+k.Package+" is as the package has it"
		}
		list = append(list, v)
	}
	list = append(list, w.beside()...)
	if !touched && w.conffile() == nil && !w.loose() {
		list = append(list, w.since(c)...)
	}
	return list
}

// content judges the content. A package that says that it is this settles it, but
// the local database does not settle what a signature says.
func (w *Words) content() []verdict {
	said := map[bool]map[Content]string{true: {}, false: {}}
	for _, k := range w.List {
		if !k.Conffile && !k.Loose {
			said[k.Signed][k.Content] = k.Package
		} else if !k.Signed {
			said[false][Same] = k.Package
		}
	}
	switch signed, local := said[true], said[false]; {
	case signed[Same] != "" || w.conffile() != nil && signed[Other] == "":
		return nil
	case signed[Other] != "":
		v := verdict{ruleDiffers, rules.Critical, "its content is not what is signed of package " + signed[Other]}
		if local[Same] != "" {
			v.reason += ", although the local database says so: that was edited too"
		}
		return []verdict{v}
	case local[Same] == "" && local[Other] != "":
		return []verdict{{ruleDiffers, rules.High, "its content is not what the local database says of package " + local[Other]}}
	}
	return nil
}

// kept judges content that was changed and that the local database knows, though
// its package has been the same version since the baseline.
func (w *Words) kept() (verdict, bool) {
	for _, k := range w.List {
		if k.Signed {
			return verdict{}, false
		}
	}
	for _, k := range w.List {
		if k.Kept != "" && k.Content == Same && !k.Conffile && !k.Loose {
			return verdict{ruleDiffers, rules.High, "package " + k.Package + " is of the version that the baseline knows, and this content is not: it and the local database were edited, or it was put right"}, true
		}
	}
	return verdict{}, false
}

func (w *Words) conffile() *Word {
	for i := range w.List {
		if w.List[i].Conffile {
			return &w.List[i]
		}
	}
	return nil
}

func (w *Words) loose() bool {
	return slices.ContainsFunc(w.List, func(k Word) bool { return k.Loose })
}

// states reports whether some package says of an attribute what it is to be.
func (w *Words) states(attr entry.Attr) bool {
	return slices.ContainsFunc(w.List, func(k Word) bool { return k.Stated && (k.Caps || attr != entry.Caps) })
}

// beside judges mode, owner, target and capabilities by the packages that say
// something of them: one that finds nothing settles it, except that what is not
// signed does not settle what is.
func (w *Words) beside() (list []verdict) {
	signed := slices.ContainsFunc(w.List, func(k Word) bool { return k.Signed && k.Stated })
	var best *Word
	for i := range w.List {
		switch k := &w.List[i]; {
		case !k.Stated || k.Loose || signed && !k.Signed:
		case len(k.Beside) == 0:
			return nil
		case best == nil:
			best = k
		}
	}
	if best == nil {
		return nil
	}
	who := "the package database says of package "
	if best.Signed {
		who = "is signed of package "
	}
	for _, b := range best.Beside {
		rule := ruleOf(b.Name)
		v := verdict{rule, rules.High, fmt.Sprintf("its %s is not what %s%s: %s", b.Name, who, best.Package, cmp.Or(b.Want, "none"))}
		if rule == ruleDiffers && best.Signed {
			v.severity = rules.Critical
		}
		if best.Conffile && rule != ruleDiffers {
			v.severity = rules.Medium
		}
		list = append(list, w.overridden(v))
	}
	return list
}

// ruleOf returns the rule about an attribute.
func ruleOf(name string) string {
	switch name {
	case "mode":
		return ruleMode
	case "user", "group":
		return ruleOwner
	case "capabilities":
		return ruleCaps
	}
	return ruleDiffers
}

// overridden lowers what the administrator asked for: the local file that says so
// vouches for nothing, so it is not silent.
func (w *Words) overridden(v verdict) verdict {
	if w.Override != "" && (v.rule == ruleMode || v.rule == ruleOwner) {
		v.severity, v.reason = rules.Low, v.reason+"; dpkg-statoverride asks for "+w.Override
	}
	return v
}

// since judges mode, owner and capabilities by the baseline, where no package says
// what they are: the content is the package's still.
func (w *Words) since(c *diff.Change) (list []verdict) {
	say := func(rule string, attr entry.Attr, what string) {
		if c.Attrs&attr != 0 && !w.states(attr) {
			list = append(list, w.overridden(verdict{rule, rules.High, "its " + what + " changed and the content did not: package " + w.List[0].Package + " brought nothing new"}))
		}
	}
	say(ruleMode, entry.Mode, "mode")
	say(ruleOwner, entry.UID|entry.GID, "owner")
	say(ruleCaps, entry.Caps, "capabilities")
	return list
}

// Standing judges a file as it stands, whether it changed or not: at most one
// finding.
func Standing(p entry.Path, class Class, w *Words) (rules.Finding, bool) {
	switch {
	case !w.Known:
		return rules.Finding{}, false
	case !w.owned():
		return Unowned(p, class), true
	}
	list := append(w.content(), w.beside()...)
	if len(list) == 0 {
		return rules.Finding{}, false
	}
	return w.finding(p, class, list), true
}

// finding makes the verdicts one.
func (w *Words) finding(p entry.Path, class Class, list []verdict) rules.Finding {
	slices.SortStableFunc(list, func(a, b verdict) int { return cmp.Compare(b.severity, a.severity) })
	f := finding(p, class, list[0].rule, list[0].reason)
	f.Severity, f.RawSeverity = list[0].severity, list[0].severity
	for _, v := range list[1:] {
		if !slices.Contains(f.Reasons, v.reason) {
			f.Reasons = append(f.Reasons, v.reason)
		}
	}
	if f.Rule == ruleConffile {
		f.Attack = nil
	}
	return f
}

func severityOf(class Class) rules.Severity {
	for _, k := range kinds {
		if k.class == class {
			return k.severity
		}
	}
	return rules.Info
}
