package app

import (
	"intact/baseline"
	"intact/baseline/diff"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// tied adds to the places of a look those that waiting changes tie to them: where a
// file was renamed to is not looked at without where it came from, or the half of
// the change that is elsewhere would be forgotten.
func (c *check) tied(places []entry.Path) ([]entry.Path, error) {
	sum, err := c.lastPending()
	if err != nil || sum == (digest.Digest{}) {
		return places, err
	}
	set, err := c.store.OpenPending(sum)
	if err != nil {
		return places, nil // previous says that the history is lost
	}
	defer set.Close()
	t := ties{have: make(map[entry.Path]bool, len(places)), above: map[entry.Path]bool{}}
	for _, p := range places {
		t.add(p)
	}
	for grown := true; grown; {
		if grown, err = t.follow(set); err != nil {
			return places, nil
		}
	}
	return t.places, nil
}

// ties collects places.
type ties struct {
	places []entry.Path
	have   map[entry.Path]bool
	above  map[entry.Path]bool // directories above places
}

func (t *ties) add(p entry.Path) {
	t.places = append(t.places, p)
	t.have[p] = true
	for p != "/" && !t.above[p.Dir()] {
		p = p.Dir()
		t.above[p] = true
	}
}

func (t *ties) holds(p entry.Path) bool {
	for !t.have[p] {
		if p == "/" {
			return false
		}
		p = p.Dir()
	}
	return true
}

// follow reads the changes once. It reports whether a place was added.
func (t *ties) follow(set *baseline.Pending) (grown bool, err error) {
	for e, err := range set.Encoded() {
		if err != nil {
			return grown, err
		}
		path, others, err := diff.Tied(e.Bytes)
		if err != nil {
			return grown, err
		}
		if len(others) == 0 {
			continue
		}
		// Where a place lay below a directory that moved, a look finds the directory gone.
		concerned := t.holds(path)
		for _, p := range others {
			concerned = concerned || t.holds(p) || t.above[p]
		}
		for _, p := range append(others, path) {
			if concerned && !t.holds(p) {
				t.add(p)
				grown = true
			}
		}
	}
	return grown, nil
}
