package entry

const times = Mtime | Ctime | Btime

// time returns the field of one of times.
func (e *Entry) time(bit Attr) *Time {
	switch bit {
	case Mtime:
		return &e.Mtime
	case Ctime:
		return &e.Ctime
	}
	return &e.Btime
}

// expect returns what a time of e is taken to be unless something else is
// written: the one before it in the same entry, as a file has that was written
// once; else the same time of ref.
func expect(bit, known Attr, e, ref *Entry) Time {
	switch {
	case bit == Btime && known&Ctime != 0:
		return e.Ctime
	case bit != Mtime && known&Mtime != 0:
		return e.Mtime
	}
	return *ref.time(bit)
}

func unexpectedTimes(e, ref *Entry, m, known Attr) (d Attr) {
	for m &= times; m != 0; m &= m - 1 {
		if bit := m & -m; *e.time(bit) != expect(bit, known, e, ref) {
			d |= bit
		}
	}
	return d
}

// A time is written as its distance from another: in seconds if the nanoseconds
// are the same, as whole seconds come from archives, else in nanoseconds. The
// lowest bit tells seconds. No distance in seconds is zero: its code announces
// a time by itself, seconds and nanoseconds. That is how a time is written that
// is further away than fits, or where one of both has no less than a second of
// nanoseconds, as damaged file systems give.
const (
	second   = 1_000_000_000
	maxDelta = 1 << 32 // seconds: 136 years; as nanoseconds below 2^62
	alone    = 1
)

// timeCode returns the code of t against ref. Seconds wrap around.
func timeCode(t, ref Time) uint64 {
	sec := t.Sec - ref.Sec
	switch {
	case t == ref:
		return 0
	case t.Nsec >= second || ref.Nsec >= second || sec <= -maxDelta || sec >= maxDelta:
		return alone
	case t.Nsec == ref.Nsec:
		return zigzag(sec)<<1 | 1
	}
	return zigzag(sec*second+int64(t.Nsec)-int64(ref.Nsec)) << 1
}

// codedTime is the inverse of timeCode for all but alone.
func codedTime(code uint64, ref Time) Time {
	d := unzigzag(code >> 1)
	if code == 0 || code&1 != 0 {
		return Time{ref.Sec + d, ref.Nsec}
	}
	sec, nsec := ref.Sec+d/second, d%second+int64(ref.Nsec)
	if nsec < 0 {
		sec, nsec = sec-1, nsec+second
	}
	return Time{sec + nsec/second, uint32(nsec % second)}
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

func (w *writer) time(t, ref Time) {
	code := timeCode(t, ref)
	w.uint(code)
	if code == alone {
		w.int(t.Sec)
		w.uint(uint64(t.Nsec))
	}
}

func (r *reader) time(ref Time) (t Time) {
	code := r.uint()
	if code == alone {
		t.Sec = r.int()
		t.Nsec = uint32(r.narrow(30))
	} else {
		t = codedTime(code, ref)
	}
	if timeCode(t, ref) != code {
		r.fail("time")
	}
	return t
}
