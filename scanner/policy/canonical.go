package policy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"intact/scanner/entry"
)

// # The canonical text
//
// What a baseline stores and what Digest covers: the first line, then rules,
// excludes and skipped file-system types, each kind sorted by its quoted
// pattern, one a line, each line ending in a newline:
//
//	intact.policy/1
//	rule "/usr" compare=type,mode dirs=type [log] [sweep] [hot] [one_filesystem] [severity=high] [entries=9] [nanoseconds=9]
//	exclude "/usr/share/doc/**"
//	skip "tmpfs"
//
// In quotes, bytes other than printable ASCII, " and \ are written \xHH. Neither
// positions, names of groups nor the order of lines are in it: equal text
// means equal effect.

const canonicalHead = "intact.policy/1\n"

// ErrCanonical is wrapped by every error of ParseCanonical.
var ErrCanonical = errors.New("malformed stored policy")

// Canonical returns the deterministic text that stands for p: equal texts mean
// equal effect. Patterns that do not compile are kept as they are.
func (p *Policy) Canonical() []byte {
	var rules, excludes, skips []string
	for i := range p.Rules {
		rules = append(rules, canonicalRule(&p.Rules[i]))
	}
	for _, x := range p.Excludes {
		excludes = append(excludes, "exclude "+quote(norm(x.Pattern))+"\n")
	}
	for _, t := range p.skip() {
		skips = append(skips, "skip "+quote(t)+"\n")
	}
	var b bytes.Buffer
	b.WriteString(canonicalHead)
	for _, list := range [][]string{rules, excludes, skips} {
		slices.Sort(list)
		for _, l := range slices.Compact(list) {
			b.WriteString(l)
		}
	}
	return b.Bytes()
}

func canonicalRule(r *Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rule %s compare=%s dirs=%s", quote(norm(r.Pattern)), r.Set.Mask&entry.All, r.Set.DirMask&entry.All)
	for _, f := range []struct {
		word string
		set  bool
	}{{"log", r.Set.Log}, {"sweep", r.Set.Sweep}, {"hot", r.Hot}, {"one_filesystem", r.OneFS}} {
		if f.set {
			b.WriteString(" " + f.word)
		}
	}
	if r.Severity != "" {
		b.WriteString(" severity=" + r.Severity)
	}
	if r.Budget.Entries != 0 {
		fmt.Fprintf(&b, " entries=%d", r.Budget.Entries)
	}
	if r.Budget.Time != 0 {
		fmt.Fprintf(&b, " nanoseconds=%d", int64(r.Budget.Time))
	}
	b.WriteByte('\n')
	return b.String()
}

// quote does not use strconv: what that deems printable changes with Unicode.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// unquote reads a quoted text at the start of s and returns what follows.
func unquote(s string) (text, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", false
	}
	var b []byte
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return string(b), s[i+1:], true
		case c == '\\':
			if i+3 >= len(s) || s[i+1] != 'x' {
				return "", "", false
			}
			v, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				return "", "", false
			}
			b = append(b, byte(v))
			i += 3
		default:
			b = append(b, c)
		}
	}
	return "", "", false
}

// storedFile stands as the file name in positions of a policy that was read
// from a baseline; the line is that of the canonical text.
const storedFile = "the baseline's policy"

// ParseCanonical is the strict inverse of Canonical: it refuses any text that
// Canonical does not write. Every error wraps ErrCanonical.
func ParseCanonical(b []byte) (*Policy, error) {
	if !bytes.HasPrefix(b, []byte(canonicalHead)) {
		return nil, fmt.Errorf("%w: not of version 1", ErrCanonical)
	}
	p := &Policy{Name: storedFile, Skip: []string{}}
	line := 1
	for text := range strings.Lines(string(b[len(canonicalHead):])) {
		line++
		if err := p.parseLine(strings.TrimSuffix(text, "\n"), Pos{storedFile, line, 1}); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrCanonical, line, err)
		}
	}
	if err := p.duplicates(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCanonical, err)
	}
	if !bytes.Equal(p.Canonical(), b) {
		return nil, fmt.Errorf("%w: not in canonical form", ErrCanonical)
	}
	return p, nil
}

func (p *Policy) parseLine(text string, pos Pos) error {
	word, rest, _ := strings.Cut(text, " ")
	pattern, rest, ok := unquote(rest)
	if !ok {
		return errors.New("quoted text")
	}
	switch word {
	case "rule":
		r := Rule{Pattern: pattern, Pos: pos}
		if err := r.parseOptions(rest); err != nil {
			return err
		}
		p.Rules = append(p.Rules, r)
		return nil
	case "exclude":
		p.Excludes = append(p.Excludes, Exclude{pattern, pos})
	case "skip":
		if err := checkType(pattern); err != nil {
			return err
		}
		p.Skip = append(p.Skip, pattern)
	default:
		return fmt.Errorf("unknown word %q", word)
	}
	if rest != "" {
		return errors.New("trailing text")
	}
	return nil
}

func (r *Rule) parseOptions(rest string) error {
	for _, f := range strings.Fields(rest) {
		word, value, _ := strings.Cut(f, "=")
		var err error
		switch word {
		case "compare":
			r.Set.Mask, err = parseAttrs(value)
		case "dirs":
			r.Set.DirMask, err = parseAttrs(value)
		case "log":
			r.Set.Log = true
		case "sweep":
			r.Set.Sweep = true
		case "hot":
			r.Hot = true
		case "one_filesystem":
			r.OneFS = true
		case "severity":
			r.Severity = value
			if rank(value) < 0 {
				err = errors.New("severity")
			}
		case "entries":
			r.Budget.Entries, err = strconv.ParseInt(value, 10, 64)
		case "nanoseconds":
			var n int64
			n, err = strconv.ParseInt(value, 10, 64)
			r.Budget.Time = time.Duration(n)
		default:
			err = fmt.Errorf("unknown word %q", word)
		}
		if err != nil {
			return err
		}
	}
	if (r.Set.Mask&r.Set.DirMask)&entry.Type == 0 || min(r.Budget.Entries, int64(r.Budget.Time)) < 0 {
		return errors.New("rule without type, or with a negative budget")
	}
	r.Group = groupOf(r.Set)
	return nil
}

func parseAttrs(s string) (a entry.Attr, err error) {
	for name := range strings.SplitSeq(s, ",") {
		bit, ok := entry.ParseAttr(name)
		if !ok {
			err = cmp.Or(err, fmt.Errorf("unknown attribute %q", name))
		}
		a |= bit
	}
	return a, err
}
