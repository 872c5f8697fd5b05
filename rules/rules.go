// Package rules is the vocabulary of judgement: findings, severities, sets.
// It does no I/O.
package rules

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"time"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

// Severity orders findings.
type Severity uint8

// The severities, in order.
const (
	Info Severity = iota
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"info", "low", "medium", "high", "critical"}

// String returns the word used in policies and reports.
func (s Severity) String() string { return severityNames[min(s, Critical)] }

// ParseSeverity is the inverse of String.
func ParseSeverity(name string) (Severity, error) {
	for i, n := range severityNames {
		if n == name {
			return Severity(i), nil
		}
	}
	return 0, fmt.Errorf("unknown severity %q: want info, low, medium, high or critical", name)
}

// Subject is what a finding is about.
type Subject struct {
	Kind string // file, dir, symlink, …, mount, policy, baseline, manifest
	Path string // any bytes; empty where the subject is not a path
	Name string // of a subject that is not a path
}

// Value is one attribute of a finding, before and after.
type Value struct {
	Name string // attribute name of the entry table
	Old  string // JSON spelling; "" with OldNone: there was none
	New  string
	// Known tells an absent or unknown value from an empty one.
	OldKnown, NewKnown bool
}

// Finding is a rule's statement about a subject. Findings are never dropped.
type Finding struct {
	Set         string // integrity, policy, mounts, …
	Rule        string // stable rule id, e.g. fim.content
	Severity    Severity
	RawSeverity Severity // before an explanation lowered it
	Subject     Subject
	Change      string // added removed changed renamed replaced, "" where none
	From        string // renamed: old path, any bytes
	Count       int64  // entries that this finding stands for besides its subject
	Attributes  []Value
	Reasons     []string // why this severity, for people; no terminal control bytes
	Attack      []string // ATT&CK technique ids
	Links       []string // other names of the same inode
	SHA256      string   // of the content that is there now, 64 hex digits; "" where it was not computed
	Explained   *Explanation
	FirstSeen   time.Time
	Window      string  // id of the maintenance window that the change falls into, "" if none
	Actors      []Actor // who caused it, where a watcher knows; some of them if ActorsMore is set
	ActorsMore  bool
	New         bool         // not in the pending set of the previous check
	Diff        *diff.Change // what it judges, nil for rows and policy; for renderers and the pending set
}

// Contents gives the SHA-256 of content that the scan has read, for explainers
// whose source knows no other digest.
type Contents interface {
	// SHA256 returns the digest of what p holds. False means that it could not
	// be had for the very bytes that seen, the entry of the scan, is about:
	// nothing may then be said of them.
	SHA256(ctx context.Context, p entry.Path, seen *entry.Entry) ([sha256.Size]byte, bool)
}

// Facts gives posture facts to a rule set.
type Facts interface {
	Rows(kind string) ([]diff.Row, Status)
}

// Status says how reading a fact went: ok, denied, absent, offline, failed,
// timeout. Everything but ok makes a rule unknown.
type Status string

// The states of a fact. Absent is a host without the thing that was asked for.
const (
	OK      Status = "ok"
	Denied  Status = "denied"
	Absent  Status = "absent"
	Offline Status = "offline" // an image: only the running host has it
	Failed  Status = "failed"
	Timeout Status = "timeout"
)

// Explainer attributes changes. It is asked about each change, mostly in key
// order, and again about some of them: the same answer must come out.
type Explainer interface {
	Explain(context.Context, *diff.Change) (Explanation, bool)
}

// Input is what a set judges.
type Input struct {
	Changes iter.Seq2[*diff.Change, error] // in key order, folded ones included
	Rows    []diff.RowChange
	Facts   Facts
	Explain Explainer
	Floor   func(path string) Severity // least severity that the policy asks for a change of path
}

// Set is a named list of rules.
type Set interface {
	Name() string
	Judge(ctx context.Context, in Input, emit func(Finding) error) error
}
