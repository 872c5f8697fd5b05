package baseline

import (
	"bytes"

	"intact/scanner/entry"
)

// Covers reports whether the baseline holds p itself or anything below it.
// Damage shows as absence: see Err.
func (g *Generation) Covers(p entry.Path) bool {
	if _, _, ok := g.Lookup(p); ok {
		return true
	}
	c, err := g.cursor(bucketDirs)
	if err != nil {
		g.fault.CompareAndSwap(nil, &err)
		return false
	}
	c.names = true
	key := p.Key()
	found := c.seek(key) && (bytes.Equal(c.key, key) || bytes.HasPrefix(c.key, append(key, 0)))
	if err := c.close(); err != nil {
		g.fault.CompareAndSwap(nil, &err)
	}
	return found
}
