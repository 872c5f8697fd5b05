package manifest

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// ReadHead returns what a manifest says that it is about. Nothing of it is
// verified: it is good for telling which manifests are worth an Open.
func ReadHead(r io.Reader) (Head, error) {
	in := &lineReader{src: bufio.NewReaderSize(io.LimitReader(r, maxHead), maxLine)}
	if first, err := in.next(); err != nil || first != Format {
		return Head{}, ErrFormat
	}
	var lines []string
	for {
		line, err := in.next()
		if err != nil {
			return Head{}, fmt.Errorf("read head: %w", err)
		}
		if line == "" {
			break
		}
		lines = append(lines, line)
	}
	h, ok := parseHead(lines)
	if !ok {
		return Head{}, fmt.Errorf("%w: head of %s", ErrMalformed, strings.TrimSpace(Format))
	}
	return h, nil
}
