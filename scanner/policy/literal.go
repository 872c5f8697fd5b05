package policy

import "intact/scanner/entry"

// Literal returns the pattern that matches exactly p.
func Literal(p entry.Path) string { return escape(string(p)) }
