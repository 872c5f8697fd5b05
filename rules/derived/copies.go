package derived

import (
	"context"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// copied: a script put what was there aside, under the name with a suffix. It is
// that if the baseline has the same content at the name without; and it may be read
// and run by nobody who could not read and run that. Whose it is says the package
// that holds the original, or that makes it.
func (x *explainer) copied(_ context.Context, c *diff.Change) answer {
	r, ok := x.world.(Rememberer)
	dot := strings.LastIndexByte(string(c.Path), '.')
	if !ok || dot <= len(c.Path.Dir()) {
		return nothing
	}
	of := c.Path[:dot]
	was, ok := r.Was(of)
	const need = entry.Mode | entry.Size | entry.Content
	if !ok || was.Kind != entry.File || need&^was.Have != 0 || was.Hashed != was.Size ||
		was.Size != c.New.Size || was.Digest != c.New.Digest || c.New.Mode&^was.Mode != 0 {
		return nothing
	}
	a := answer{level: rules.Attributed, sources: []entry.Path{of}}
	if row := x.table.row(of, was); row != nil && row.how != "copy" {
		for _, w := range row.trigger {
			if strings.HasPrefix(w, "/") {
				a.sources = append(a.sources, entry.Path(w))
			}
		}
	}
	return a
}
