package derived

import (
	"bytes"
	"context"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// maxModules bounds modules.dep in bytes: Debian's kernel has 600 KiB.
const maxModules = 16 << 20

// parseModules reads modules.dep, lines of "MODULE: MODULE…", below dir. Each
// module is named once.
func parseModules(dir entry.Path, b []byte) ([]entry.Path, bool) {
	var out []entry.Path
	seen := map[entry.Path]bool{}
	if len(b) == 0 || b[len(b)-1] != '\n' || bytes.IndexByte(b, 0) >= 0 {
		return nil, false
	}
	for line := range strings.Lines(string(b)) {
		first, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			return nil, false
		}
		for _, name := range append([]string{first}, strings.Fields(rest)...) {
			if strings.HasPrefix(name, "/") {
				return nil, false
			}
			p, ok := clean(string(dir) + "/" + name)
			if !ok || !p.Under(dir) || !module(p.Base()) || len(out) >= maxSources {
				return nil, false
			}
			if !seen[p] {
				seen[p] = true
				out = append(out, p)
			}
		}
	}
	return out, true
}

func module(name string) bool {
	for _, packed := range []string{".gz", ".xz", ".zst"} {
		name = strings.TrimSuffix(name, packed)
	}
	return len(name) > len(".ko") && strings.HasSuffix(name, ".ko")
}

// modules: every module that is named is a verified file of a package.
func (x *explainer) modules(ctx context.Context, c *diff.Change) answer {
	b, ok := x.read(ctx, c, maxModules)
	if !ok {
		return nothing
	}
	paths, ok := parseModules(c.Path.Dir(), b)
	if !ok || len(paths) == 0 {
		return nothing
	}
	for _, p := range paths {
		if ctx.Err() != nil || !x.owned(ctx, p) {
			return nothing
		}
	}
	return answer{level: rules.Signed, sources: paths}
}
