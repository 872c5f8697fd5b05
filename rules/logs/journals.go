package logs

import (
	"bytes"
	"cmp"
	"slices"

	"intact/scanner/journal"
)

// JournalKnown is what was known of a file of the systemd journal.
type JournalKnown struct {
	Name string
	journal.Facts
}

// JournalSeen is a file of the systemd journal as it is now.
type JournalSeen struct {
	Name  string
	Facts journal.Facts
	Valid bool // it could be read; else Facts may say what its header does
	Keeps bool // it begins with what was known of the file, under whatever name
}

// JournalGap are sequence numbers that no file has.
type JournalGap struct {
	Name     string // of the file behind them
	From, To uint64
}

// Journals is what became of the journal's files in one directory. The fate of a
// file is Lost where it is nowhere, or where what was known of it is not in it any
// more; Old says of those that everything older is gone with it.
type Journals struct {
	Fates   map[string]Fate // by the name it was known under
	Old     map[string]bool // of what is Lost
	Fresh   map[string]bool // files of a writer that came in since
	Gaps    []JournalGap
	Rotated int64 // files that were archived since
}

// FollowJournals finds the journals that were known among those that are seen.
// journald renames a file when it is full and never writes to it again; it deletes
// archived files alone, the oldest first.
func FollowJournals(known []JournalKnown, seen []JournalSeen) *Journals {
	j := &Journals{Fates: map[string]Fate{}, Old: map[string]bool{}, Fresh: map[string]bool{}}
	at := map[journal.ID]*JournalSeen{}
	for i := range seen {
		s := &seen[i]
		if before := at[s.Facts.File]; s.Facts.File != (journal.ID{}) && (before == nil || s.Keeps && !before.Keeps) {
			at[s.Facts.File] = s
		}
	}
	ids := map[journal.ID]bool{}
	var gone []*JournalKnown
	order := make([]*JournalKnown, 0, len(known))
	for i := range known {
		k := &known[i]
		ids[k.File] = true
		order = append(order, k)
	}
	slices.SortFunc(order, older)
	for _, k := range order {
		switch s := at[k.File]; {
		case s == nil:
			gone = append(gone, k)
		case s.Keeps:
			j.Fates[k.Name] = Fate{To: s.Name}
			if s.Name != k.Name && closed(s) {
				j.Rotated++
			}
		default:
			j.Fates[k.Name] = Fate{Lost: true}
		}
	}
	came := false
	for i := range seen {
		s := &seen[i]
		if s.Valid && !ids[s.Facts.File] {
			j.Fresh[s.Name] = true
			if closed(s) {
				came = true
				j.Rotated++
			}
		}
	}
	j.drop(order, gone, came || j.Rotated > 0)
	j.gaps(known, seen)
	return j
}

// closed reports whether nobody writes to a file any more.
func closed(s *JournalSeen) bool {
	return s.Valid && s.Facts.State == journal.Archived || journal.Unclean(s.Name)
}

// older orders files as journald deletes them.
func older(a, b *JournalKnown) int {
	if x, y := a.State == journal.Archived || journal.Unclean(a.Name), b.State == journal.Archived || journal.Unclean(b.Name); x != y {
		if x {
			return -1
		}
		return 1
	}
	if a.Seqnum == b.Seqnum {
		return cmp.Or(cmp.Compare(a.Head, b.Head), cmp.Compare(a.Name, b.Name))
	}
	return cmp.Or(cmp.Compare(a.First, b.First), bytes.Compare(a.Seqnum[:], b.Seqnum[:]), cmp.Compare(a.Name, b.Name))
}

// drop judges the files that are nowhere. order and gone go from the oldest to
// the newest. came says that files were archived since.
func (j *Journals) drop(order, gone []*JournalKnown, came bool) {
	nowhere := map[*JournalKnown]bool{}
	for _, k := range gone {
		nowhere[k] = true
	}
	stays := false // something older does
	for i, k := range order {
		is := k.State == journal.Archived || journal.Unclean(k.Name)
		switch {
		case !nowhere[k]:
			stays = stays || is && k.Entries > 0
			continue
		case k.Entries == 0:
			j.Fates[k.Name] = Fate{Dropped: true}
			continue
		case stays || !is && !came:
			j.Fates[k.Name] = Fate{Lost: true}
			continue
		}
		last := !is
		if is && !came { // the newest one that was archived: nothing made it go
			last = i+1 == len(order) || order[i+1].State != journal.Archived && !journal.Unclean(order[i+1].Name)
		}
		j.Fates[k.Name] = Fate{Lost: last, Dropped: !last}
		j.Old[k.Name] = last
	}
}

// gaps looks for sequence numbers that are passed over between one file and the
// next of the same sequence, behind what was known: a file that came and went.
func (j *Journals) gaps(known []JournalKnown, seen []JournalSeen) {
	cover := map[journal.ID]uint64{} // up to where a sequence was known
	for i := range known {
		k := &known[i]
		if k.Entries > 0 {
			cover[k.Seqnum] = max(cover[k.Seqnum], k.Tail)
		}
	}
	for i := range known {
		k := &known[i]
		if j.Fates[k.Name].Lost && k.Tail == cover[k.Seqnum] {
			delete(cover, k.Seqnum) // told already
		}
	}
	list := make([]*JournalSeen, 0, len(seen))
	for i := range seen {
		s := &seen[i]
		if !s.Valid && journal.Unclean(s.Name) {
			return // nobody knows what it has
		}
		if s.Valid && s.Facts.Entries > 0 {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *JournalSeen) int {
		return cmp.Or(cmp.Compare(a.Facts.Head, b.Facts.Head), cmp.Compare(a.Name, b.Name))
	})
	for _, s := range list {
		to, ok := cover[s.Facts.Seqnum]
		if !ok {
			continue
		}
		if s.Facts.Head > to && s.Facts.Head-to > 1 {
			j.Gaps = append(j.Gaps, JournalGap{s.Name, to + 1, s.Facts.Head - 1})
		}
		cover[s.Facts.Seqnum] = max(to, s.Facts.Tail)
	}
}
