package scanner_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/journal"
	"intact/scanner/journal/journaltest"
)

// knownLogs is a scanner.Logs that knows so many bytes of each journal.
type knownLogs struct {
	length int64
	looks  map[string]scanner.LogLook
}

func (k *knownLogs) Known(entry.Path, []byte) (int64, bool) { return 3, true }
func (k *knownLogs) KnownJournal(_ entry.Path, file journal.ID) (int64, bool) {
	return k.length, file[0] == 1
}

func (k *knownLogs) Saw(_ int, _ entry.Path, l *scanner.LogLook) {
	c := *l
	k.looks[string(l.Entry.Name)] = c
}

func TestJournal(t *testing.T) {
	p := newPlace(t)
	lines := func(f *journaltest.File, n int) {
		for range n {
			f.Append(fmt.Sprintf("MESSAGE=%d", f.Seq), "A=b")
		}
		p.write("/log/system.journal", string(f.B))
	}
	f := journaltest.New(1, 2, 1, true)
	p.mkdir("/log")
	lines(f, 10)
	eff := p.policy("{path: /log, attributes: log}")
	old := p.scan(eff, scanner.Options{})
	was := *old.entry("/log/system.journal")
	lines(f, 10)
	see := func(k *knownLogs) entry.Entry {
		t.Helper()
		o := scanner.Options{Workers: 1}
		if k != nil {
			k.looks, o.Logs = map[string]scanner.LogLook{}, k
		}
		got := p.scanFrom(eff, o, old)
		got.noGaps()
		return *got.entry("/log/system.journal")
	}
	// What was known is where it was, whoever asks, and whatever else is known.
	for _, k := range []*knownLogs{nil, {length: was.Hashed}, {length: was.Hashed - 1}, {length: was.Hashed + 1}, {length: 1 << 40}} {
		e := see(k)
		if e.Digest != was.Digest || e.Hashed != was.Hashed {
			t.Errorf("known %+v: %d bytes, want %d", k, e.Hashed, was.Hashed)
		}
		if k == nil {
			continue
		}
		l := k.looks["system.journal"]
		if l.Journal == nil || l.Journal.Entries != 20 || l.Size <= was.Hashed || (l.Known == nil) != (k.length > l.Size) ||
			k.length == was.Hashed && *l.Known != was.Digest {
			t.Errorf("known %d: %+v", k.length, l)
		}
	}
	// One that is malformed is a log as any other, and says why.
	whole := string(f.B)
	p.write("/log/system.journal", strings.Replace(whole, "MESSAGE=3", "MESSAGE\x003", 1)[:len(whole)-8])
	k := &knownLogs{length: was.Hashed}
	b, err := os.ReadFile(p.host("/log/system.journal"))
	p.must(err)
	if e := see(k); e.Digest != digest.Sum(b) || k.looks["system.journal"].Journal.Invalid == "" {
		t.Errorf("%+v, %+v", e, k.looks)
	}
}

// A baseline of before journals were read has the bytes of the file.
func TestJournalAsBytes(t *testing.T) {
	p := newPlace(t)
	f := journaltest.New(1, 2, 1, false).Append("MESSAGE=x").SetState(journal.Archived)
	p.mkdir("/log")
	p.write("/log/system@1.journal", string(f.B))
	eff := p.policy("{path: /log, attributes: log}")
	old := p.scan(eff, scanner.Options{})
	for key, b := range old.blocks {
		for i := range b.Entries {
			if e := &b.Entries[i]; e.Kind == entry.File {
				e.Digest, e.Hashed = digest.Sum(f.B), int64(len(f.B))
			}
		}
		old.packed[key], _ = b.Pack(nil, nil, old.sets)
	}
	if e := p.scanFrom(eff, scanner.Options{}, old).entry("/log/system@1.journal"); e.Digest != digest.Sum(f.B) {
		t.Error("the bytes that the baseline has are there, and it says no")
	}
	f.B[300] ^= 1
	p.write("/log/system@1.journal", string(f.B))
	if e := p.scanFrom(eff, scanner.Options{}, old).entry("/log/system@1.journal"); e.Digest == digest.Sum(f.B) && e.Hashed == int64(len(f.B)) && e.Digest == old.entry("/log/system@1.journal").Digest {
		t.Error("another byte is not seen")
	}
}

// Above a size a log that is mostly holes is a gap; what a baseline has of one is
// held against it, and a small one is read.
func TestHollowLog(t *testing.T) {
	p := newPlace(t)
	p.write("/log/big", "x")
	p.must(os.Truncate(p.host("/log/big"), 1<<40))
	p.write("/log/small", "x")
	p.must(os.Truncate(p.host("/log/small"), 8<<20))
	k := p.scan(p.policy("{path: /log, attributes: log}"), scanner.Options{})
	if g := k.gapsOf("/log/big"); len(k.gaps) != 1 || len(g) != 1 || g[0].Reason != scanner.ReasonHoles || g[0].Attrs != entry.Content {
		t.Errorf("gaps %+v", k.gaps)
	}
	if e := k.entry("/log/small"); e.Have&entry.Content == 0 || e.Hashed != 8<<20 {
		t.Errorf("%+v", e)
	}
}
