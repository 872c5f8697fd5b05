package derived

import (
	"context"
	"strings"

	"intact/scanner/entry"
)

// aliased are the folders of "/" that are links into /usr where it is merged.
var aliased = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// merged returns the other name that p has where /usr is merged.
func merged(p entry.Path) (entry.Path, bool) {
	s, inUsr := strings.CutPrefix(string(p), "/usr/")
	s = strings.TrimPrefix(s, "/")
	first, _, _ := strings.Cut(s, "/")
	for _, a := range aliased {
		if first == a {
			if inUsr {
				return entry.Path("/" + s), true
			}
			return entry.Path("/usr/" + s), true
		}
	}
	return "", false
}

// clean returns s where it is an absolute path in its only spelling.
func clean(s string) (entry.Path, bool) {
	p, err := entry.NewPath(s)
	return p, err == nil && string(p) == s && len(p) <= entry.MaxKey
}

// leads gives where the link at p with that target leads, by its text alone.
func leads(p entry.Path, target []byte) (entry.Path, bool) {
	s := string(target)
	if !strings.HasPrefix(s, "/") {
		s = string(p.Dir()) + "/" + s
	}
	to, err := entry.NewPath(s)
	return to, err == nil && len(target) > 0
}

// maxHops bounds how many links are followed.
const maxHops = 8

// look gives the entry that p leads to, links of its last name followed, under
// either name that it has where /usr is merged.
func (x *explainer) look(ctx context.Context, p entry.Path) (*entry.Entry, bool) {
	for range maxHops {
		e, ok := x.world.Look(ctx, p)
		if !ok {
			alias, has := merged(p)
			if !has {
				return nil, false
			}
			if e, ok = x.world.Look(ctx, alias); !ok {
				return nil, false
			}
			p = alias
		}
		if e.Kind != entry.Symlink {
			return e, true
		}
		if p, ok = leads(p, e.Target); !ok {
			return nil, false
		}
	}
	return nil, false
}
