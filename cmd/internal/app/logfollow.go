package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"intact/baseline/ledger"
	"intact/report"
	"intact/rules/integrity"
	"intact/rules/logs"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
	"intact/scanner/policy"
)

// logFollower is one pass over the directories of logs.
type logFollower struct {
	*check
	ctx    context.Context
	twice  *scanner.Twice
	gaps   known
	budget int64 // bytes that may still be read again
	decide func(entry.Path) policy.Decision
	sets   entry.Sets
}

// logDir is what there is of the logs in one directory, by name.
type logDir struct {
	path entry.Path
	base map[string]*entry.Entry
	old  map[string]*ledger.Log
	seen map[string]*seenLog
	said map[string]logLoss // what is known of lost journals
}

// dir follows the logs of one directory.
func (f *logFollower) dir(path entry.Path, old map[string]*ledger.Log) {
	d := &logDir{path, f.baseLogs(path), old, map[string]*seenLog{}, map[string]logLoss{}}
	list := f.logs.seen[path]
	for i := range list {
		d.seen[list[i].name] = &list[i]
	}
	names := map[string]bool{}
	for _, m := range []func(func(string) bool){maps.Keys(d.base), maps.Keys(d.old), maps.Keys(d.seen)} {
		for n := range m {
			names[n] = true
		}
	}
	var knew []logs.Known
	var sees []logs.Seen
	for _, n := range slices.Sorted(maps.Keys(names)) {
		p := path.Join([]byte(n))
		s := d.seen[n]
		if f.watch != nil && !f.watch.parts.Hold(p) { // not looked at: as it was
			if l := d.old[n]; l != nil {
				f.logs.next = append(f.logs.next, *l)
			}
			delete(d.old, n)
			delete(d.base, n)
			delete(names, n)
			continue
		}
		if at := f.decide(p); s == nil && (!at.Select || !f.sets[at.Set].Log) {
			delete(d.old, n) // it is no log any more: what the policy says of that is told elsewhere
			delete(d.base, n)
			delete(names, n)
			continue
		}
		if s == nil && f.gaps.has(p) {
			if l := d.old[n]; l != nil {
				f.logs.next = append(f.logs.next, *l) // as it was: nobody knows better
			}
			delete(names, n)
			continue
		}
		if d.journaled(n) {
			continue
		}
		k, known := d.known(n)
		if known {
			knew = append(knew, k)
		}
		if s != nil {
			sees = append(sees, logs.Seen{Name: n, Inode: s.inode, Born: s.born, Length: s.size, Content: s.whole, Keeps: known && d.keeps(n)})
		}
	}
	f.journals(d, names)
	for _, fam := range logs.Families(knew, sees) {
		fam.Follow(func(s *logs.Seen, k *logs.Known, packed bool) bool {
			return f.begins(path.Join([]byte(s.Name)), d.seen[s.Name], k, packed)
		})
		f.family(d, fam)
		for i := range fam.Known {
			delete(names, fam.Known[i].Name)
		}
		for i := range fam.Seen {
			delete(names, fam.Seen[i].Name)
		}
	}
	for n := range names { // neither known nor seen: gone
		if l, b := d.old[n], d.base[n]; b != nil && l.Held.Base == b.Digest {
			f.logs.next = append(f.logs.next, *l)
			f.logs.quiet[path.Join([]byte(n))] = nil
		}
	}
}

// part takes what the ledger says of a directory that the scan saw a part of:
// nothing is followed there, and what stands where it stood is as it was.
func (f *logFollower) part(path entry.Path, old map[string]*ledger.Log) {
	d := &logDir{path, f.baseLogs(path), old, map[string]*seenLog{}, map[string]logLoss{}}
	list := f.logs.seen[path]
	for i := range list {
		d.seen[list[i].name] = &list[i]
	}
	like := slices.Collect(maps.Values(d.base))
	for n, l := range old {
		var base digest.Digest
		if b := d.base[n]; b != nil {
			base = b.Digest
		}
		if s := d.seen[n]; l.Held.OK && l.Held.Base == base && (s == nil) == l.Gone && (s == nil || d.keeps(n)) {
			f.logs.quiet[path.Join([]byte(n))] = like
		}
	}
}

// known returns what was known of a name: by the ledger, else by the baseline.
func (d *logDir) known(name string) (logs.Known, bool) {
	if l := d.old[name]; l != nil {
		return logs.Known{Name: name, Inode: l.Inode, Born: l.Born, Length: l.Length, Content: l.Content}, !l.Gone
	}
	if b := d.base[name]; b != nil {
		return logs.Known{Name: name, Inode: b.Inode, Born: b.Btime, Length: b.Hashed, Content: b.Digest}, true
	}
	return logs.Known{}, false
}

// keeps reports whether a log that is seen begins with what was known of it.
func (d *logDir) keeps(name string) bool {
	s := d.seen[name]
	l := d.old[name]
	if d.journaled(name) {
		if l != nil {
			return d.same(s, name)
		}
	} else if l != nil {
		return s.known != nil && *s.known == l.Content
	}
	b := d.base[name]
	return s.sum == b.Digest && s.hashed == b.Hashed
}

// family says for each name of a family whether what the baseline has there is
// accounted for, what was lost, and what the next look is held against.
func (f *logFollower) family(d *logDir, fam *logs.Family) {
	came := maps.Clone(fam.Fresh)
	for from, fate := range fam.Fates {
		if fate.To != "" && fate.To != from {
			came[fate.To] = true
		}
	}
	like, names := []*entry.Entry(nil), map[string]bool{}
	for i := range fam.Known {
		names[fam.Known[i].Name] = true
	}
	for i := range fam.Seen {
		names[fam.Seen[i].Name] = true
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if b := d.base[n]; b != nil {
			like = append(like, b)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		p, b, l, s := d.path.Join([]byte(n)), d.base[n], d.old[n], d.seen[n]
		fate, known := fam.Fates[n]
		lost := known && fate.Lost
		held := ledger.Held{OK: d.base[fam.Head] != nil}
		if b != nil {
			held = ledger.Held{OK: true, Base: b.Digest}
		}
		if l != nil {
			held.OK = l.Held.OK && l.Held.Base == held.Base
		}
		direct := b != nil && s != nil && s.sum == b.Digest && s.hashed == b.Hashed || b == nil && s == nil
		held.OK = direct || held.OK && (!lost || b == nil) && (s == nil || known && d.keeps(n) || came[n] || n == fam.Head)
		if held.OK && !direct {
			f.logs.quiet[p] = like
		}
		if !held.OK {
			held.Base = digest.Digest{}
		}
		switch {
		case lost && l != nil && l.Journal != nil:
			grave := f.lostJournal(p, d.said[n], s, direct || b == nil)
			held.Cut = grave && !held.OK
		case lost && l != nil && l.Length > 0: // an empty one had nothing to lose but itself
			k, _ := d.known(n)
			grave := f.lost(p, fam, k, s, direct || b == nil)
			held.Cut = grave && !held.OK
		case l != nil && l.Held.Cut && !held.OK:
			held.Cut = true
			f.logs.words[p] = logLoss{"a check before this one found it cut or rewritten: its report says which bytes are gone", true}
		}
		switch {
		case s != nil:
			log := ledger.Log{Path: p, Inode: s.inode, Born: s.born, Length: s.size, Content: s.whole, Held: held}
			if s.valid() {
				log.Journal = &s.journal.Facts
			}
			if l != nil {
				log.Cadence = l.Cadence
			}
			if n == fam.Head {
				log.Cadence = f.pace(p, log.Cadence, fam)
			}
			f.logs.next = append(f.logs.next, log)
		case b != nil && held.OK:
			f.logs.next = append(f.logs.next, ledger.Log{Path: p, Gone: true, Held: held})
		}
	}
}

// lost says what a log lost since the last look: by itself, or with the change
// that is reported of it anyway.
func (f *logFollower) lost(p entry.Path, fam *logs.Family, k logs.Known, s *seenLog, alone bool) (grave bool) {
	change := "changed"
	grave = true
	var words string
	since := when(f.logs.last.Time)
	switch {
	case s == nil:
		grave, change = false, "removed"
		words = fmt.Sprintf("bytes 0 to %d, which were here at %s UTC, are gone: no generation of %s has them", k.Length, since, report.Escape(fam.Head))
	case s.inode != k.Inode || s.born != k.Born:
		grave = false
		words = fmt.Sprintf("another file has taken its place, and bytes 0 to %d, which were here at %s UTC, are in no generation", k.Length, since)
	case s.size < k.Length:
		words = fmt.Sprintf("shorter than at %s UTC: bytes %d to %d are gone", since, s.size, k.Length)
	default:
		words = fmt.Sprintf("rewritten: bytes 0 to %d are not those of %s UTC", k.Length, since)
	}
	if alone {
		f.logs.events = append(f.logs.events, integrity.LogLost(p, change, grave, words))
	} else {
		f.logs.words[p] = logLoss{words, grave}
	}
	return grave
}

// pace notes a rotation, and tells one that left generations out or came too
// soon.
func (f *logFollower) pace(p entry.Path, c ledger.Cadence, fam *logs.Family) ledger.Cadence {
	f.logs.rotated += fam.Rotated
	next, hasty := logs.Pace(c, fam.Rotated, f.paper.head.Started.Unix())
	if len(fam.Missing) > 0 {
		var list []string
		for _, n := range fam.Missing {
			list = append(list, fmt.Sprint(n))
		}
		f.logs.events = append(f.logs.events, integrity.LogLost(p, "changed", false, "rotated, and generation "+strings.Join(list, ", ")+" is missing between the log and what was in it"))
	}
	if hasty {
		f.logs.events = append(f.logs.events, integrity.LogLost(p, "changed", false,
			fmt.Sprintf("rotated %d times in %s, and never before at less than %s: rotation pushes old lines out", fam.Rotated,
				ago(time.Duration(f.paper.head.Started.Unix()-c.Last)*time.Second), ago(time.Duration(c.Least)*time.Second))))
	}
	return next
}
