package transaction

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// List reads the transactions of a folder, the oldest first, and says which it
// could not read. Of more than it reads the newest count. A folder that is not
// there has none.
func List(dir fs.FS) (list []Transaction, problems []string, err error) {
	all, err := fs.ReadDir(dir, ".")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var found []string
	for _, f := range all {
		if IsName(f.Name()) {
			found = append(found, f.Name())
		}
	}
	slices.Sort(found)
	if more := len(found) - MaxListed; more > 0 {
		problems = append(problems, fmt.Sprintf("%d old transactions are not read: there are over %d", more, MaxListed))
		found = found[more:]
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
		if err != nil {
			problems = append(problems, fmt.Sprintf("transaction %s: %v", name, err))
			continue
		}
		list = append(list, *t)
	}
	slices.Reverse(list)
	return list, problems, nil
}

var errLong = errors.New("too long")

// read reads a regular file of a folder.
func read(dir fs.FS, name string, most int64) ([]byte, error) {
	st, err := fs.Stat(dir, name)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, err
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = errLong
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
	var l FileList
	for i, line := range bytes.Split(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'}) {
		switch {
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
		if !ok || len(p) == 0 || p[0] != '/' || len(l) > 0 && l[len(l)-1] > string(p) {
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
