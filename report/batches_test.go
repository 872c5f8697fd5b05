package report

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"intact/rules"
)

// manyFindings is a report of more batches than there are at once.
func manyFindings(t *testing.T, n int) []byte {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Header(header())
	for i := range n {
		w.Finding(rules.Finding{Set: "s", Rule: "r", Severity: rules.Severity(i % 2), Change: "changed",
			Subject: file(fmt.Sprintf("/d%04d/%05d-%s", i/30, i, strings.Repeat("x", i%500)))})
	}
	if err := w.Trailer(trailer(Findings, 1, Counts{})); err != nil {
		t.Fatal(err)
	}
	if b.Len() < (batchCount+3)*batchBytes {
		t.Fatalf("only %d bytes", b.Len())
	}
	return b.Bytes()
}

// A report that is read in batches gives the records and the errors that
// Reader gives, wherever it is damaged or cut off.
func TestBatches(t *testing.T) {
	good := manyFindings(t, 6000)
	goroutines := runtime.NumGoroutine()
	check := func(name string, report []byte) {
		t.Helper()
		want := map[string]int{}
		rd, err := NewReader(bytes.NewReader(report)), error(nil)
		for err == nil {
			var r Record
			if r, err = rd.Next(); r.Finding != nil {
				want[r.Finding.Subject.Path]++
			}
		}
		if err == io.EOF {
			err = nil
		}
		got, order := map[string]int{}, ""
		err2 := readAll(bytes.NewReader(report), func(r *inLine) {
			if r.Finding != nil {
				if p := r.Finding.Subject.Path; p <= order {
					t.Errorf("%s: %q behind %q", name, p, order)
				}
				order = r.Finding.Subject.Path
				got[order]++
			}
		})
		if fmt.Sprint(err) != fmt.Sprint(err2) || len(got) != len(want) {
			t.Errorf("%s: %d findings, %v; want %d, %v", name, len(got), err2, len(want), err)
		}
		var out bytes.Buffer
		if err3 := Text(&out, bytes.NewReader(report), TextOptions{}); fmt.Sprint(err) != fmt.Sprint(err3) || err != nil && out.Len() > 0 {
			t.Errorf("%s: text: %v, want %v; %d bytes", name, err3, err, out.Len())
		}
	}
	check("whole", good)
	for at := 1000; at < len(good); at += len(good) / 20 {
		check("cut off", good[:at])
		check("damaged", append(append(bytes.Clone(good[:at]), 0), good[at+1:]...))
		line := at + bytes.IndexByte(good[at:], '\n') + 1
		check("line gone", append(bytes.Clone(good[:line]), good[line+1+bytes.IndexByte(good[line:], '\n'):]...))
	}
	for range 1000 {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines are left", n-goroutines)
	}
}

// A bug in reading a line must not end the process.
func TestBatchPanic(t *testing.T) {
	err := inBatches(strings.NewReader("a\nb\n"), func(*batch) { panic("boo") }, func(b *batch) error { return b.err })
	if err == nil || !strings.Contains(err.Error(), "boo") {
		t.Errorf("got %v", err)
	}
}
