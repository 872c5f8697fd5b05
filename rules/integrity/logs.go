package integrity

import (
	"fmt"

	"intact/rules"
	"intact/rules/logs"
	"intact/scanner/entry"
)

// LogLost is the finding about a log that lost what a look before this one
// found in it, though it differs from the baseline in nothing else, or in nothing
// new. grave says that it was cut or rewritten where it stands.
func LogLost(path entry.Path, change string, grave bool, reason string) rules.Finding {
	row := table[order(ruleLog)]
	s := rules.Medium
	if grave || logs.Identity(string(path)) {
		s = rules.High
	}
	return rules.Finding{Set: "integrity", Rule: row.ID, Severity: s, RawSeverity: s, Change: change,
		Subject: rules.Subject{Kind: entry.File.String(), Path: string(path)}, Reasons: []string{reason}, Attack: row.Attack}
}

// logContent judges a log that does not continue what it said.
func (j *judge) logContent(path string, old, now *entry.Entry) {
	both := old.Have & now.Have
	switch {
	case j.logWords(path):
	case both&entry.Inode != 0 && old.Inode != now.Inode:
		j.say(ruleLog, logGrade(path), fmt.Sprintf("another file has taken its place, and no generation has its first %d bytes", old.Hashed))
	case both&entry.Size != 0 && now.Size < old.Hashed:
		j.say(ruleLog, rules.High, fmt.Sprintf("the log is shorter than it was: bytes %d to %d are gone", now.Size, old.Hashed))
	default:
		j.say(ruleLog, rules.High, fmt.Sprintf("what the log said has been rewritten: bytes 0 to %d", old.Hashed))
	}
}

// logGone judges a log that is not there any more.
func (j *judge) logGone(path string) {
	if !j.logWords(path) {
		j.say(ruleLog, logGrade(path), "what this log said is gone")
	}
}

// logWords judges by what is known of the log since the baseline was made, if
// anything is: what the baseline had may be in a generation by now.
func (j *judge) logWords(path string) bool {
	if j.o.Log == nil {
		return false
	}
	words, grave := j.o.Log(path)
	switch {
	case words == "":
		return false
	case grave:
		j.say(ruleLog, rules.High, words)
	default:
		j.say(ruleLog, logGrade(path), words)
	}
	return true
}

// logGrade is how grave it is that a log is gone, or another one is in its place.
func logGrade(path string) rules.Severity {
	if logs.Identity(path) {
		return rules.High
	}
	return rules.Medium
}
