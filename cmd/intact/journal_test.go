package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"intact/scanner/journal"
	"intact/scanner/journal/journaltest"
)

// A script writes files of the systemd journal with
//
//	journal new FILE ID [HEAD]  begin a file; ID is a number that tells it apart, HEAD its first sequence number
//	journal append FILE N       N entries more
//	journal online FILE         its writer is at work; append leaves it so until "offline"
//	journal offline FILE
//	journal archive FILE TO     archive and rename it, and begin FILE anew as the file with the next ID
//	journal forget FILE N       as if the last N entries had never been
//	journal edit FILE N         change a byte of the message of entry N
//	journal unlist FILE         take the first entry out of the list of all
//	journal break FILE          leave what is no journal
var journals = struct {
	sync.Mutex
	by map[string]*scripted
}{by: map[string]*scripted{}}

// scripted is a journal of a script, and how it was made.
type scripted struct {
	*journaltest.File
	id   int
	head uint64
}

func (s *scripted) lines(n int) {
	for range n {
		s.Append(fmt.Sprintf("MESSAGE=line %05d", s.Seq), fmt.Sprintf("_SYSTEMD_UNIT=u%d.service", s.Seq%3), "_HOSTNAME=h")
	}
}

func cmdJournal(ts *testscript.TestScript, args []string) {
	journals.Lock()
	defer journals.Unlock()
	name := ts.MkAbs(args[1])
	number := func(i int) int {
		n, err := strconv.Atoi(args[i])
		ts.Check(err)
		return n
	}
	j := journals.by[name]
	begin := func(id int, head uint64) {
		j = &scripted{journaltest.New(byte(id), 0x5e, head, id%2 == 0), id, head}
		journals.by[name] = j
	}
	switch args[0] {
	case "new":
		head := uint64(1)
		if len(args) > 3 {
			head = uint64(number(3))
		}
		begin(number(2), head)
	case "append":
		j.lines(number(2))
	case "online":
		j.SetState(journal.Online)
	case "offline":
		j.SetState(journal.Offline)
	case "archive":
		j.SetState(journal.Archived)
		put(ts, name, j.B) // in place, then renamed
		to := filepath.Join(filepath.Dir(name), args[2])
		ts.Check(os.Rename(name, to))
		journals.by[to] = j
		begin(j.id+1, j.Seq)
	case "forget":
		n := int(j.Entries()) - number(2)
		begin(j.id, j.head)
		j.lines(n)
	case "edit":
		at := indexOf(ts, j.B, fmt.Sprintf("line %05d", number(2)))
		j.B[at] ^= 1
	case "unlist":
		j.Unlist()
	case "break":
		copy(j.B[280:], "no object at all")
	default:
		ts.Fatalf("journal %s: not known", args[0])
	}
	put(ts, name, j.B)
}

// put writes a file in place, as journald does.
func put(ts *testscript.TestScript, name string, b []byte) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o640)
	ts.Check(err)
	_, err = f.WriteAt(b, 0)
	ts.Check(err)
	ts.Check(f.Truncate(int64(len(b))))
	ts.Check(f.Close())
}

func indexOf(ts *testscript.TestScript, b []byte, text string) int {
	for i := range len(b) - len(text) {
		if string(b[i:i+len(text)]) == text {
			return i
		}
	}
	ts.Fatalf("no %q there", text)
	return 0
}
