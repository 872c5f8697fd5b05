package scanner

import "sync/atomic"

// Progress holds running counts of a scan for a display. All fields may be
// read at any time.
type Progress struct {
	Files atomic.Int64
	Bytes atomic.Int64
}
