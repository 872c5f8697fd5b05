package app

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"intact/report"
	"intact/rules/integrity"
	"intact/rules/logs"
	"intact/scanner/entry"
	"intact/scanner/journal"
)

// journalPlace tells files of the systemd journal in one directory apart,
// whatever their names.
type journalPlace struct {
	dir  entry.Path
	file journal.ID
}

// KnownJournal implements scanner.Logs.
func (b *logBook) KnownJournal(dir entry.Path, file journal.ID) (int64, bool) {
	n, ok := b.files[journalPlace{dir, file}]
	return n, ok
}

// valid reports whether a log was read as a journal.
func (s *seenLog) valid() bool { return s != nil && s.journal != nil && s.journal.Invalid == "" }

// journaled reports whether what is known or seen under a name is a journal.
func (d *logDir) journaled(name string) bool {
	l := d.old[name]
	return l != nil && l.Journal != nil || d.seen[name].valid()
}

// same reports whether a journal that is seen begins with what was known of that
// file, which stood under the name was.
func (d *logDir) same(s *seenLog, was string) bool {
	l := d.old[was]
	return s.valid() && l.Journal != nil && s.journal.File == l.Journal.File && s.known != nil && *s.known == l.Content
}

// journals follows the files of the journal among names, and takes them from
// there.
func (f *logFollower) journals(d *logDir, names map[string]bool) {
	var known []logs.JournalKnown
	var seen []logs.JournalSeen
	byFile := map[journal.ID]string{}
	families := map[string]*logs.Family{}
	var mine []string
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if !d.journaled(n) {
			continue
		}
		delete(names, n)
		mine = append(mine, n)
		if l := d.old[n]; l != nil && l.Journal != nil {
			known = append(known, logs.JournalKnown{Name: n, Facts: *l.Journal})
			byFile[l.Journal.File] = n
		}
		if families[journal.Base(n)] == nil {
			families[journal.Base(n)] = &logs.Family{Head: journal.Base(n), Fates: map[string]logs.Fate{}, Fresh: map[string]bool{}}
		}
	}
	for _, n := range mine {
		if s := d.seen[n]; s != nil && s.journal != nil {
			was, ok := byFile[s.journal.File]
			seen = append(seen, logs.JournalSeen{Name: n, Facts: s.journal.Facts, Valid: s.valid(), Keeps: ok && d.same(s, was)})
		}
	}
	j := logs.FollowJournals(known, seen)
	f.logs.rotated += j.Rotated
	for _, n := range mine {
		fam := families[journal.Base(n)]
		l, s := d.old[n], d.seen[n]
		if s != nil {
			fam.Seen = append(fam.Seen, logs.Seen{Name: n})
		} else {
			fam.Known = append(fam.Known, logs.Known{Name: n})
		}
		fam.Fresh[n] = j.Fresh[n]
		if fate, ok := j.Fates[n]; ok {
			fam.Fates[n] = fate
			if fate.Lost {
				d.said[n] = f.journalLoss(d, n, j.Old[n])
			}
		}
		switch b := d.base[n]; {
		case l != nil && l.Journal == nil, l != nil && s != nil && !s.valid(): // one of the two is no journal
			fam.Fates[n] = logs.Fate{Lost: true}
			if l.Journal != nil {
				d.said[n] = f.journalLoss(d, n, false)
			}
		case l == nil && b != nil && (s.sum != b.Digest || s.hashed != b.Hashed): // nothing was known since the baseline
			fam.Fates[n] = f.sought(d, n, mine)
		}
	}
	for _, head := range slices.Sorted(maps.Keys(families)) {
		f.family(d, families[head])
	}
	for _, g := range j.Gaps {
		f.logs.events = append(f.logs.events, integrity.LogLost(d.path.Join([]byte(g.Name)), "changed", true,
			fmt.Sprintf("sequence numbers %d to %d are in no file: one that came before this one is missing", g.From, g.To)))
	}
}

// sought looks for what the baseline has of a journal in the others.
func (f *logFollower) sought(d *logDir, name string, names []string) logs.Fate {
	b, probes := d.base[name], 0
	for _, n := range names {
		s := d.seen[n]
		if n == name || !s.valid() || journal.Base(n) != journal.Base(name) || s.size < b.Hashed {
			continue
		}
		if probes++; probes > maxJournalProbes {
			break
		}
		if sum, err := f.twice.JournalPrefix(f.ctx, d.path.Join([]byte(n)), b.Hashed); err == nil && sum != nil && *sum == b.Digest {
			return logs.Fate{To: n}
		}
	}
	f.logs.words[d.path.Join([]byte(name))] = logLoss{"no journal begins with the entries that the baseline knows of this one", true}
	return logs.Fate{Lost: true}
}

// maxJournalProbes bounds how many journals are read again for one.
const maxJournalProbes = 64

// journalLoss says what became of what was known of a journal. old: it is gone
// with all that was older.
func (f *logFollower) journalLoss(d *logDir, name string, old bool) logLoss {
	k := d.old[name].Journal
	since := when(f.logs.last.Time)
	span := fmt.Sprintf("sequence numbers %d to %d, of %s to %s UTC,", k.Head, k.Tail, micro(k.First), micro(k.Last))
	if k.Entries == 0 {
		span = "a journal without entries"
	}
	var s *seenLog
	for _, n := range slices.Sorted(maps.Keys(d.seen)) {
		if l := d.seen[n]; l.journal != nil && l.journal.File == k.File && (s == nil || l.valid() && !s.valid()) {
			s = l
		}
	}
	if here := d.seen[name]; s == nil && here != nil && here.journal != nil && here.journal.Invalid != "" {
		s = here
	}
	switch {
	case s == nil && old:
		return logLoss{fmt.Sprintf("%s are gone, with all that was older: journald deletes so much only where the journal is small, or somebody asks for it", span), false}
	case s == nil:
		return logLoss{fmt.Sprintf("%s which were here at %s UTC, are gone: no file has them, and journald would have deleted others first", span, since), true}
	case !s.valid():
		return logLoss{fmt.Sprintf("no valid journal any more: %s; it had %s at %s UTC", report.Prose(s.journal.Invalid), span, since), true}
	case s.journal.Entries < k.Entries || s.journal.Tail < k.Tail:
		return logLoss{fmt.Sprintf("the journal is shorter than at %s UTC: it had %d entries up to number %d, and has %d up to number %d", since, k.Entries, k.Tail, s.journal.Entries, s.journal.Tail), true}
	case k.State == journal.Archived && s.journal.State != journal.Archived:
		return logLoss{fmt.Sprintf("an archived journal was opened for writing again: it had %s at %s UTC", span, since), true}
	case k.State == journal.Archived:
		return logLoss{fmt.Sprintf("an archived journal was changed, which nothing does: it had %s at %s UTC", span, since), true}
	}
	return logLoss{fmt.Sprintf("the journal was edited: %s are not those of %s UTC", span, since), true}
}

// micro writes a time of the journal.
func micro(t uint64) string {
	if t > 1<<53 {
		return "no time"
	}
	return when(time.UnixMicro(int64(t)))
}

// lostJournal tells what a journal lost, by itself or with the change that is
// reported of it anyway.
func (f *logFollower) lostJournal(p entry.Path, loss logLoss, s *seenLog, alone bool) (grave bool) {
	if !alone {
		f.logs.words[p] = loss
		return loss.grave
	}
	change := "changed"
	if s == nil {
		change = "removed"
	}
	f.logs.events = append(f.logs.events, integrity.LogLost(p, change, loss.grave, loss.words))
	return loss.grave
}

// nocow is a flag that journald sets on a file it writes to and takes away later.
const nocow = 0x00800000

// journalKin is e without what journald notes in a file of its own alone.
func journalKin(e *entry.Entry) *entry.Entry {
	if e.Kind != entry.File || !journal.Named(string(e.Name)) {
		return e
	}
	k := *e
	k.Flags &^= nocow
	k.Xattr = slices.DeleteFunc(slices.Clone(e.Xattr), func(x entry.Xattr) bool { return string(x.Name) == "user.crtime_usec" })
	return &k
}
