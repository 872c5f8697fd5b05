package derived

import (
	"context"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// maxUnit bounds a unit file in bytes.
const maxUnit = 1 << 20

// unit: a link to a verified unit of a package that asks to be linked there. To
// enable it is a choice all the same, so that the class is attributed.
func (x *explainer) unit(ctx context.Context, c *diff.Change) answer {
	to, ok := leads(c.Path, c.New.Target)
	if !ok || !unitFolder(to.Dir()) || !sameUnit(c.Path.Base(), to.Base()) || !x.owned(ctx, to) {
		return nothing
	}
	b, ok := x.world.Reference(ctx, to, maxUnit)
	if !ok {
		return nothing
	}
	key, wanter := "WantedBy", c.Path.Dir().Base()
	if s, ok := strings.CutSuffix(wanter, ".wants"); ok {
		wanter = s
	} else {
		key, wanter = "RequiredBy", strings.TrimSuffix(wanter, ".requires")
	}
	if !asksFor(string(b), key, wanter) {
		return nothing
	}
	return answer{level: rules.Attributed, sources: []entry.Path{to}}
}

func unitFolder(dir entry.Path) bool {
	if alias, ok := merged(dir); ok && !dir.Under("/usr") {
		dir = alias
	}
	return dir == "/usr/lib/systemd/system" || dir == "/usr/lib/systemd/user"
}

// sameUnit reports whether a link called name may lead to the unit file: of the
// same name, or the template of an instance.
func sameUnit(name, file string) bool {
	if name == file {
		return true
	}
	at := strings.IndexByte(name, '@')
	dot := strings.LastIndexByte(name, '.')
	return at > 0 && dot > at && name[:at+1]+name[dot:] == file
}

// asksFor reports whether the section Install of a unit names the wanter.
func asksFor(unit, key, wanter string) bool {
	install := false
	for line := range strings.Lines(unit) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			install = line == "[Install]"
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !install || !ok || strings.TrimSpace(k) != key {
			continue
		}
		for _, w := range strings.Fields(v) {
			if w == wanter {
				return true
			}
		}
	}
	return false
}
