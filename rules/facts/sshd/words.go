package sshd

import (
	"errors"
	"strings"
)

const blank = " \t\r\n"

var errQuotes = errors.New("invalid quotes")

// keyword splits a line into its keyword and what stands behind it, as sshd
// does: white space or one "=" ends it, and it may stand in double quotes. An
// empty first word is passed over. ok is false where nothing is said: no word,
// a comment, a quote that does not end.
func keyword(s string) (word, after string, ok bool) {
	s = strings.TrimRight(s, blank+"\f")
	s = strings.TrimLeft(s, blank)
	word, after, ok = delimited(s)
	if ok && word == "" {
		word, after, ok = delimited(after)
	}
	return word, after, ok && word != "" && word[0] != '#'
}

func delimited(s string) (word, after string, ok bool) {
	i := strings.IndexAny(s, blank+`"=`)
	if i < 0 {
		return s, "", true
	}
	if s[i] == '"' {
		// What stands before the quote belongs to the word too.
		end := strings.IndexByte(s[i+1:], '"')
		if end < 0 {
			return "", "", false
		}
		return s[:i] + s[i+1:i+1+end], strings.TrimLeft(s[i+end+2:], blank), true
	}
	after = strings.TrimLeft(s[i+1:], blank)
	if s[i] != '=' && strings.HasPrefix(after, "=") {
		after = strings.TrimLeft(after[1:], blank)
	}
	return s[:i], after, true
}

// split cuts arguments at blanks and tabs; quotes of both kinds join, a
// backslash frees a quote, itself and, outside of quotes, a blank. A "#" where a
// word would begin ends the line.
func split(s string) ([]string, error) {
	var out []string
	for i := 0; i < len(s); {
		if s[i] == ' ' || s[i] == '\t' {
			i++
			continue
		}
		if s[i] == '#' {
			break
		}
		var word []byte
		var quote byte
	inside:
		for ; i < len(s); i++ {
			c := s[i]
			switch {
			case c == '\\' && i+1 < len(s) && (s[i+1] == '\'' || s[i+1] == '"' || s[i+1] == '\\' || quote == 0 && s[i+1] == ' '):
				i++
				word = append(word, s[i])
			case quote == 0 && (c == ' ' || c == '\t'):
				break inside
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			case quote != 0 && c == quote:
				quote = 0
			default:
				word = append(word, c)
			}
		}
		if quote != 0 {
			return nil, errQuotes
		}
		out = append(out, string(word))
	}
	return out, nil
}
