package baseline

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"intact/scanner/entry"
)

// endless gives a request of so many unchanged directories, and looks at the heap
// on the way.
type endless struct {
	buf        bytes.Buffer
	next, last int
	heap       uint64
}

func (e *endless) Read(p []byte) (int, error) {
	for e.buf.Len() < len(p) && e.next < e.last {
		key := append([]byte{bucketDirs}, entry.Path(fmt.Sprintf("/a/directory/like/many/%09d", e.next)).Key()...)
		b := append([]byte{frameUnchanged}, appendBytes(nil, key)...)
		b = append(b, make([]byte, 32)...)
		e.buf.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...))
		if e.next++; e.next%(e.last/4) == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			e.heap = max(e.heap, m.HeapAlloc)
		}
	}
	return e.buf.Read(p)
}

// TestRequestMemory: what does not change takes no memory of whoever reads it.
func TestRequestMemory(t *testing.T) {
	now := small()
	now.file("/etc/passwd", 99)
	l := liarOf(t, ask(t, small(), now).request)
	l.pairs = l.pairs[:3] // the bucket m
	l.honest = true
	text := l.text(t)
	head := text[:len(text)-4] // without the end frame
	heap := func(n int) uint64 {
		e := &endless{last: n}
		e.buf.Write(head)
		if _, err := ReadRequest(context.Background(), e, RequestSink{}); !errors.Is(err, ErrRequest) {
			t.Fatal(err)
		}
		if e.heap == 0 || e.next != n {
			t.Fatalf("it was not read: %d", e.next)
		}
		return e.heap
	}
	few, many := heap(1000), heap(400_000)
	t.Logf("%d bytes for 1,000 directories, %d for 400,000", few, many)
	if many > few+(1<<20) {
		t.Error("it grows")
	}
}
