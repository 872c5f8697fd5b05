package transaction

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// maxAhead is how far a transaction may lie in the future: the clock of a host that
// boots may be off by a time zone.
const maxAhead = 24 * time.Hour

// maxLooked bounds the names of a folder that are looked at.
const maxLooked = 1 << 20

// Future reports whether a transaction of that name, as it says, began in the
// future: a clock was wrong, or somebody forged it.
func Future(name string, now time.Time) bool {
	return IsName(name) && name[:len(nameTime)] > now.Add(maxAhead).UTC().Format(nameTime)
}

// List reads the transactions of a folder, the oldest first, and says which it
// could not read. Of more than it reads the newest count, and none that began or
// ended in the future: nothing that is made up can push out what is true. A folder
// that is not there has none. Open of dir must not wait, whatever a name leads to.
func List(dir fs.FS, now time.Time) (list []Transaction, problems []string, err error) {
	found, problems, err := listed(dir, now)
	if err != nil || len(found) == 0 {
		return nil, problems, err
	}
	left := int64(2 * MaxSize)
	for i, name := range slices.Backward(found) {
		b, err := read(dir, name, min(left, MaxSize))
		if errors.Is(err, fs.ErrNotExist) {
			continue // pruned meanwhile
		}
		if errors.Is(err, errLong) && left < MaxSize {
			problems = append(problems, fmt.Sprintf("%d old transactions are not read: all together they are too long", i+1))
			break
		}
		var t *Transaction
		if err == nil {
			left -= int64(len(b))
			t, err = Parse(name, b)
		}
		if err == nil && t.Ended.After(now.Add(maxAhead)) {
			err = errFuture
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("transaction %s: %v", name, err))
			continue
		}
		list = append(list, *t)
	}
	slices.Reverse(list)
	return list, problems, nil
}

// listed returns the names of the newest transactions, the oldest first.
func listed(dir fs.FS, now time.Time) (found, problems []string, err error) {
	old, ahead, example, looked := 0, 0, "", 0
	cut := func() {
		slices.Sort(found)
		if more := len(found) - MaxListed; more > 0 {
			old += more
			found = append(found[:0], found[more:]...)
		}
	}
	err = eachName(dir, func(name string) bool {
		switch looked++; {
		case looked > maxLooked:
			return false
		case !IsName(name):
		case Future(name, now):
			if ahead++; example == "" || name < example {
				example = name
			}
		default:
			if found = append(found, name); len(found) == 2*MaxListed {
				cut()
			}
		}
		return true
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	cut()
	if ahead > 0 {
		problems = append(problems, fmt.Sprintf("transaction %s: %v; there are %d of them", example, errFuture, ahead))
	}
	if old > 0 {
		problems = append(problems, fmt.Sprintf("%d old transactions are not read: there are over %d", old, MaxListed))
	}
	if looked > maxLooked {
		problems = append(problems, fmt.Sprintf("of over %d files not all are looked at", maxLooked))
	}
	return found, problems, err
}

// eachName calls do for the names in a folder until it returns false.
func eachName(dir fs.FS, do func(name string) bool) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return &fs.PathError{Op: "list", Path: ".", Err: fs.ErrInvalid}
	}
	for {
		list, err := d.ReadDir(1024)
		for _, e := range list {
			if !do(e.Name()) {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var (
	errLong   = errors.New("too long")
	errFuture = errors.New("it is of the future, and does not count")
)

// read reads a regular file of a folder.
func read(dir fs.FS, name string, most int64) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case st.Size() > most:
		return nil, errLong
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = errLong // it grew
	}
	return b, err
}

// FileList is the sorted list of the paths of a package, as pkgdb.Package sums it
// up.
type FileList []string

// NewFileList reads a list as dpkg keeps it, a path on each line: a list that
// dpkg did not write is none. The root is "/." there, and stays so: the digest is
// that of the lines.
func NewFileList(r io.Reader) (FileList, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxListBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxListBytes {
		return nil, fmt.Errorf("over %d bytes", MaxListBytes)
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return nil, errors.New("it ends amid a line")
	}
	if bytes.Count(b, []byte{'\n'}) > MaxListPaths {
		return nil, fmt.Errorf("over %d paths", MaxListPaths)
	}
	var l FileList
	i := -1
	for line := range bytes.SplitSeq(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'}) {
		switch i++; {
		case len(b) == 0:
		case len(line) == 0 || line[0] != '/' || bytes.IndexByte(line, 0) >= 0:
			return nil, fmt.Errorf("line %d is no path", i+1)
		default:
			l = append(l, string(line))
		}
	}
	slices.Sort(l)
	return l, nil
}

// Text is what is stored of the list: each path with a NUL behind it.
func (l FileList) Text() []byte {
	var b []byte
	for _, p := range l {
		b = append(append(b, p...), 0)
	}
	return b
}

// Digest is the BLAKE3 of Text, by which the list is named.
func (l FileList) Digest() digest.Digest { return digest.Sum(l.Text()) }

// ReadFileList reads the list of that name in the folder of transactions.
func ReadFileList(dir fs.FS, sum digest.Digest) (FileList, error) {
	b, err := read(dir, sum.String(), MaxListBytes)
	if err != nil {
		return nil, err
	}
	if digest.Sum(b) != sum {
		return nil, fmt.Errorf("%w: list %v holds another content", ErrMalformed, sum)
	}
	var l FileList
	for len(b) > 0 {
		p, rest, ok := bytes.Cut(b, []byte{0})
		if !ok || len(p) == 0 || p[0] != '/' || len(l) == MaxListPaths || len(l) > 0 && l[len(l)-1] > string(p) {
			return nil, fmt.Errorf("%w: list %v", ErrMalformed, sum)
		}
		l, b = append(l, string(p)), rest
	}
	return l, nil
}

// Paths returns those of the list that are paths of a file system.
func (l FileList) Paths() (out []entry.Path) {
	for _, s := range l {
		if p, err := entry.NewPath(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}
