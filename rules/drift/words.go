package drift

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"intact/rules"
	"intact/scanner/digest"
)

// Unknown is what stands, without quotes, for an attribute that could not be told.
// It is not held against any other. In quotes it is a value like all: somebody
// may call his shell or his file of keys so.
const Unknown = "unknown"

// ErrValue is wrapped by errors about the value of a row.
var ErrValue = errors.New("malformed value of a fact")

// word is one name="value" of a row.
type word struct {
	name, value string
	untold      bool // Unknown
}

// parse reads the value of a row: words with one blank between, each value
// quoted as strconv.Quote does, or without blanks and quotes.
func parse(value []byte) (out []word, err error) {
	for rest := string(value); rest != ""; {
		name, v, ok := strings.Cut(rest, "=")
		if !ok || name == "" || strings.ContainsAny(name, " \"") {
			return nil, fmt.Errorf("%w: %.60q", ErrValue, rest)
		}
		if strings.HasPrefix(v, `"`) {
			quoted, err := strconv.QuotedPrefix(v)
			if err != nil {
				return nil, fmt.Errorf("%w: %.60q", ErrValue, rest)
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("%w: %.60q", ErrValue, rest)
			}
			out, rest = append(out, word{name: name, value: text}), v[len(quoted):]
		} else {
			text, _, _ := strings.Cut(v, " ")
			out, rest = append(out, word{name, text, text == Unknown}), v[len(text):]
		}
		if rest != "" {
			var blank bool
			if rest, blank = strings.CutPrefix(rest, " "); !blank || rest == "" {
				return nil, fmt.Errorf("%w: %.60q", ErrValue, value)
			}
		}
	}
	return out, nil
}

// attributes are the words of a row by their names, in order. What a name has
// several times is one value, in lines. One that could not be told is Unknown.
func attributes(value []byte) (names []string, values map[string]string, err error) {
	words, err := parse(value)
	if err != nil {
		return nil, nil, err
	}
	values = map[string]string{}
	for _, w := range words {
		if old, ok := values[w.name]; ok {
			values[w.name] = old + "\n" + w.value
			continue
		}
		names = append(names, w.name)
		values[w.name] = w.value
	}
	return names, values, nil
}

// untold are the names of those that could not be told.
func untold(value []byte) map[string]bool {
	words, _ := parse(value)
	out := map[string]bool{}
	for _, w := range words {
		if w.untold {
			out[w.name] = true
		}
	}
	return out
}

// Differ lists what differs between two values of one row in the order of the
// attributes. What is unknown in one of them does not.
func Differ(old, now []byte) (list []rules.Value, err error) {
	was, a, err := attributes(old)
	if err != nil {
		return nil, err
	}
	is, b, err := attributes(now)
	if err != nil {
		return nil, err
	}
	for _, n := range is {
		if !slices.Contains(was, n) {
			was = append(was, n)
		}
	}
	x, y := untold(old), untold(now)
	for _, n := range was {
		v := rules.Value{Name: n}
		v.Old, v.OldKnown = a[n]
		v.New, v.NewKnown = b[n]
		if v.Old == v.New && v.OldKnown == v.NewKnown || x[n] || y[n] {
			continue
		}
		list = append(list, v)
	}
	return list, nil
}

// Bounds of what a baseline keeps of one row, in bytes. Whoever writes a crontab
// writes as long a line as he likes.
const (
	maxKey   = 4 << 10
	maxValue = 64 << 10
)

// ShortKey is the key of a row as it is stored: of a very long one the beginning
// and the digest of all of it.
func ShortKey(key string) string {
	if len(key) <= maxKey {
		return key
	}
	return key[:maxKey/2] + "… " + digest.Sum([]byte(key)).Named()
}

// ShortValue is likewise the value of a row. One without attributes gets one
// that says that the row is there: a row without a value is none.
func ShortValue(value string) string {
	switch {
	case value == "":
		return `present="yes"`
	case len(value) <= maxValue:
		return value
	}
	words, err := parse([]byte(value))
	if err != nil {
		return "digest=" + strconv.Quote(digest.Sum([]byte(value)).Named())
	}
	const long = 1 << 10
	var b strings.Builder
	for i, w := range words {
		if b.Len() > maxValue {
			// Many short words, as of a setting with ten thousand values.
			fmt.Fprintf(&b, " rest=%q", digest.Sum([]byte(value)).Named())
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		if w.untold {
			b.WriteString(w.name + "=" + Unknown)
			continue
		}
		if len(w.value) > long {
			w.value = w.value[:long] + "… " + digest.Sum([]byte(w.value)).Named()
		}
		b.WriteString(w.name + "=" + strconv.Quote(w.value))
	}
	return b.String()
}
