package scanner

import (
	"intact/scanner/dirfd"
	"intact/scanner/policy"
)

// mostWaiting is how many files of one listing may be open while their first
// bytes are on the way from the disk.
const mostWaiting = 16

// waiting is a file whose content was asked for and not there yet.
type waiting struct {
	opening
	index int // of its entry
	name  dirfd.Name
	d     policy.Decision
}

// wait leaves the file of the last slot open until what peek asked for has
// come: the disk works on many requests at once, and this worker goes on. The
// file is closed by settle.
func (l *listing) wait(n dirfd.Name, d policy.Decision, o *opening) {
	w := l.w
	w.met.misses++
	w.met.device = o.st.Device
	w.waiting = append(w.waiting, waiting{*o, len(l.job.block.Entries) - 1, n, d})
	if len(w.waiting) >= w.mostWaiting {
		l.settle()
	}
}

// settle finishes the files that wait. An entry that a bug costs is taken out.
func (l *listing) settle() {
	w := l.w
	list := w.waiting
	w.waiting = nil // theirs is closed below, whatever happens
	gone := 0
	for i := range list {
		h := &list[i]
		h.index -= gone
		if w.ctx.Err() != nil {
			h.Close()
			continue
		}
		if l.settled(h) {
			continue
		}
		gone++
		b := &l.job.block
		b.Entries = append(b.Entries[:h.index], b.Entries[h.index+1:]...)
		if h.index < len(l.job.later) {
			l.job.later = append(l.job.later[:h.index], l.job.later[h.index+1:]...)
		}
	}
	w.waiting = list[:0]
}

// abandon closes what a bug left waiting.
func (w *worker) abandon() {
	for i := range w.waiting {
		w.waiting[i].Close()
	}
	w.waiting = w.waiting[:0]
}

// settled reads the content of one file that waited.
func (l *listing) settled(h *waiting) (ok bool) {
	defer h.Close()
	defer func() {
		if r := recover(); r != nil {
			l.w.recovered(Gap{Path: l.t.path.Join(h.name.Bytes())}, r)
		}
	}()
	e := &l.job.block.Entries[h.index]
	l.w.opened(e, l.w.sets[h.d.Set], &h.opening, l.t, h.name)
	l.keep(e, h.d)
	return true
}
