package seal

import "strings"

// matchList reports whether one of the patterns matches s and none of those
// with "!" before them does (match_pattern_list of OpenSSH).
func matchList(patterns []string, s string) bool {
	found := false
	for _, p := range patterns {
		p, excludes := strings.CutPrefix(p, "!")
		if !matchPattern(p, s) {
			continue
		}
		if excludes {
			return false
		}
		found = true
	}
	return found
}

// matchPattern reports whether pattern matches all of s: "*" stands for any
// bytes, "?" for one. It takes time len(pattern)·len(s) at most.
func matchPattern(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // the last "*", and where in s it was tried to end
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
