package posture

import (
	_ "embed"
	"strings"
)

// The list of ATT&CK techniques, and the day on which it was made. A line is an
// id of version 19, or an old id, a blank and the id that it has now.
//
//go:embed attack.txt
var attackList string

const attackDate = "2026-11-27"

// technique returns the id that a technique has in ATT&CK v19. Ids that were
// given up lead to those that took their place.
func technique(id string) (now string, ok bool) {
	if strings.ContainsAny(id, " \n#") || id == "" {
		return "", false
	}
	for l := range strings.Lines(attackList) {
		old, now, moved := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		switch {
		case old != id:
		case moved:
			return now, true
		default:
			return id, true
		}
	}
	return "", false
}
