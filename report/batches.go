package report

import (
	"fmt"
	"io"
	"sync"

	"intact/rules"
)

// How a report is read by several goroutines: in batches of whole lines, each
// worked on by one of them, and handed back in order. What is in memory does
// not grow with the report.
const (
	batchBytes   = 64 << 10
	batchWorkers = 2
	batchCount   = batchWorkers + 2
)

// batch is a run of whole lines, and what a goroutine made of them.
type batch struct {
	data  []byte
	ends  []int // of the lines in data, newlines included
	ended error // what came behind the last line, nil: more lines

	text    string // data, of which all that is decoded are parts
	records []inLine
	found   []rules.Finding // those of records
	err     error           // of the line behind records
	ready   chan struct{}
}

// inLine is a record and the line that it was read from.
type inLine struct {
	Record
	rank int // position in kinds
	line string
}

// decode calls do for each line until one gives an error.
func (b *batch) decode(do func(line string) error) {
	start := 0
	for _, end := range b.ends {
		if b.err = do(b.text[start : end-1]); b.err != nil {
			return
		}
		start = end
	}
}

// keep puts a record in the batch, and f in it.
func (b *batch) keep(r inLine, f *rules.Finding) {
	if f != nil {
		if cap(b.found) < len(b.ends) {
			b.found = make([]rules.Finding, 0, len(b.ends)) // which is not moved any more
		}
		b.found = append(b.found, *f)
		r.Finding = &b.found[len(b.found)-1]
	}
	b.records = append(b.records, r)
}

// fill reads lines into b. It returns false when there are no more.
func (b *batch) fill(rd *Reader) bool {
	b.data, b.ends, b.ended = b.data[:0], b.ends[:0], nil
	for len(b.data) < batchBytes {
		line, err := rd.line()
		if err != nil {
			b.ended = err
			return false
		}
		b.data = append(append(b.data, line...), '\n')
		b.ends = append(b.ends, len(b.data))
	}
	return true
}

// clean makes room for other lines; what was decoded is let go.
func (b *batch) clean() {
	clear(b.records)
	clear(b.found)
	b.text, b.records, b.found, b.err = "", b.records[:0], b.found[:0], nil
	if cap(b.data) > 4*batchBytes {
		b.data = nil
	}
}

// inBatches reads src to its end. Goroutines of its own call work for each
// batch, then use is called for each in order. It returns the first error of
// use, when nothing of it runs any more.
func inBatches(src io.Reader, work func(*batch), use func(*batch) error) error {
	free := make(chan *batch, batchCount)
	todo := make(chan *batch, batchCount)
	order := make(chan *batch, batchCount)
	for range batchCount {
		free <- &batch{}
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		defer close(order)
		defer close(todo)
		rd := NewReader(src)
		for more := true; more; {
			select {
			case b := <-free:
				more = b.fill(rd)
				b.ready = make(chan struct{})
				todo <- b // both have room for all that there are
				order <- b
			case <-stop:
				return
			}
		}
	})
	for range batchWorkers {
		all.Go(func() {
			for b := range todo {
				b.work(work)
			}
		})
	}
	var err error
	for b := range order {
		<-b.ready
		if err != nil {
			continue
		}
		if err = use(b); err != nil {
			close(stop)
			continue
		}
		b.clean()
		free <- b
	}
	all.Wait()
	return err
}

func (b *batch) work(do func(*batch)) {
	defer close(b.ready)
	defer func() {
		if p := recover(); p != nil {
			b.err = fmt.Errorf("internal error: %v", p)
		}
	}()
	b.text = string(b.data)
	do(b)
}

// readAll reads a report as Reader.Next does and gives do every record in order
// with its line. Findings lack their lists. A text holds its whole batch in
// memory: what is kept of many must be cloned.
func readAll(src io.Reader, do func(r *inLine)) error {
	work := func(b *batch) {
		var scratch rules.Finding
		var last lastTime
		b.decode(func(line string) (err error) {
			r := inLine{line: line}
			if isFinding(line) {
				r.Finding = emptied(&scratch)
			}
			if r.rank, err = decodeInto(&r.Record, line, &last); err != nil {
				return err
			}
			if r.Finding == nil {
				b.keep(r, nil)
				return nil
			}
			f := scratch
			f.Attributes, f.Reasons, f.Links, f.Attack = nil, nil, nil, nil
			b.keep(r, &f)
			return nil
		})
	}
	var o order
	n := 0
	return inBatches(src, work, func(b *batch) error {
		for i := range b.records {
			r := &b.records[i]
			n++
			if err := o.next(r.rank, &r.Record); err != nil {
				return lineError(n, err)
			}
			do(r)
		}
		err := b.err
		if err == nil && b.ended != nil {
			err = o.ended(b.ended)
		}
		if err != nil && err != io.EOF {
			return lineError(n+1, err)
		}
		return nil
	})
}

// emptied returns f with nothing in it but the room of its lists.
func emptied(f *rules.Finding) *rules.Finding {
	// Cleared: each text holds what it is a part of.
	clear(f.Attributes)
	clear(f.Reasons)
	clear(f.Attack)
	*f = rules.Finding{Attributes: f.Attributes[:0], Reasons: f.Reasons[:0], Attack: f.Attack[:0]}
	return f
}
