package scanner

import "time"

// AtRest makes the scan take every file for one that nobody writes to.
func (o Options) AtRest() Options {
	o.atRest = -1000 * time.Hour
	return o
}
