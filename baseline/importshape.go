package baseline

import (
	"errors"
	"fmt"
)

// What a line may hold before it is decoded, which takes hundreds of bytes for
// an element of two: see shape.
const (
	maxSets    = 1 << 16
	maxNesting = 8
	fewItems   = 64 // as many as there are attributes
	leastItem  = 40 // bytes of an entry, an extended attribute or a set
)

// shape refuses a line that would take far more memory than it is long: an array
// of the line has at most that many elements, and many elements in any array
// are no shorter than what is ever written.
func shape(line []byte, most int) error {
	var commas [maxNesting]int
	var array [maxNesting]bool
	depth, many := 0, 0
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case '"':
			for i++; i < len(line) && line[i] != '"'; i++ {
				if line[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth++; depth == maxNesting {
				return errors.New("nested too deeply")
			}
			array[depth], commas[depth] = c == '[', 0
		case '}', ']':
			depth = max(depth-1, 0)
		case ',':
			if !array[depth] {
				continue
			}
			commas[depth]++
			if depth == 2 && commas[depth] >= most {
				return fmt.Errorf("more than %d elements", most)
			}
			if commas[depth] >= fewItems {
				many++
			}
		}
	}
	if many > len(line)/leastItem {
		return errors.New("elements that are too short")
	}
	return nil
}
