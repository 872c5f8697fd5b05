package watch

import (
	"slices"

	"intact/scanner/entry"
)

// Reason says why events may be missing.
type Reason string

// The reasons, as they stand in reports.
const (
	ReasonOverflow    Reason = "the kernel's queue of events overflowed"
	ReasonLimit       Reason = "the limit of watches is reached"
	ReasonMoved       Reason = "a file system was mounted or unmounted"
	ReasonUnavailable Reason = "inotify is not available"
	ReasonBackend     Reason = "events could not be read"
	ReasonUnwatched   Reason = "it cannot be watched"
	ReasonHangs       Reason = "it lies on a file system that can hang"
	ReasonFault       Reason = "a fault of intact itself"
)

// Loss is a place whose events may be missing, with all that lies below it.
type Loss struct {
	Path   entry.Path
	Reason Reason
	Detail string // the error, "" if the reason says it all; unescaped
	Open   bool   // nothing watches the place; else it is to be looked at again
}

// maxLosses bounds the places that are told one by one, of each reason.
const maxLosses = 64

// losses are those that are not closed.
type losses struct {
	list []loss
	last uint64
}

type loss struct {
	Loss
	id     uint64
	issued bool // a batch went out that has the place
}

// add notes a loss, at the place above where there are many.
func (l *losses) add(n Loss) {
	count := 0
	for i := range l.list {
		o := &l.list[i]
		if o.Reason != n.Reason {
			continue
		}
		if n.Path.Under(o.Path) && (o.Open || !n.Open) {
			l.last++
			o.issued, o.id = false, l.last // a batch that is out does not have it
			return
		}
		count++
	}
	if count >= maxLosses {
		for _, o := range l.list {
			if o.Reason == n.Reason {
				n.Path = common(n.Path, o.Path)
				n.Open = n.Open || o.Open
			}
		}
	}
	l.list = slices.DeleteFunc(l.list, func(o loss) bool { return o.Reason == n.Reason && o.Path.Under(n.Path) })
	l.last++
	l.list = append(l.list, loss{Loss: n, id: l.last})
}

// common is the deepest directory at or above both.
func common(a, b entry.Path) entry.Path {
	for !b.Under(a) {
		a = a.Dir()
	}
	return a
}

// issue returns the losses that a batch with these hints makes good: it has their
// places as a whole. Others wait for one that does.
func (l *losses) issue(hints []Hint) (ids []uint64) {
	has := func(p entry.Path) bool {
		return slices.ContainsFunc(hints, func(h Hint) bool { return h.Deep && p.Under(h.Dir) })
	}
	for i := range l.list {
		if !l.list[i].issued && has(l.list[i].Path) {
			l.list[i].issued = true
			ids = append(ids, l.list[i].id)
		}
	}
	return ids
}

// done closes losses whose places were looked at, where a watch stands.
func (l *losses) done(ids []uint64) {
	l.list = slices.DeleteFunc(l.list, func(o loss) bool { return o.issued && !o.Open && slices.Contains(ids, o.id) })
}

// open returns the places that nothing watches.
func (l *losses) open() (out []entry.Path) {
	for _, o := range l.list {
		if o.Open {
			out = append(out, o.Path)
		}
	}
	return out
}

// stand notes that watches stand at and below p now. It reports whether any was
// missing there.
func (l *losses) stand(p entry.Path) (any bool) {
	for i := range l.list {
		if o := &l.list[i]; o.Open && o.Path.Under(p) {
			o.Open, o.issued, any = false, false, true
		}
	}
	return any
}

// reissue takes back what a batch was to make good.
func (l *losses) reissue(ids []uint64) {
	for i := range l.list {
		if slices.Contains(ids, l.list[i].id) {
			l.list[i].issued = false
		}
	}
}
