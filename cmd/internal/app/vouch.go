package app

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"intact/report"
	"intact/rules"
	"intact/rules/packages"
	"intact/rules/pkgdb"
	"intact/scanner"
	"intact/scanner/entry"
)

// maxVouched bounds the files whose packages are looked for.
const maxVouched = 200_000

// vouch collects, while a first baseline is made, the files that matter most,
// and then says which of them no package vouches for. It is an Observer.
type vouch struct {
	mu    sync.Mutex
	files []vouched // guarded by mu
	more  int64     // guarded by mu: beyond maxVouched
}

type vouched struct {
	path  entry.Path
	class packages.Class
}

// Entry implements scanner.Observer.
func (v *vouch) Entry(_ int, dir entry.Path, e *entry.Entry) {
	if e.Kind != entry.File {
		return
	}
	p := dir.Join(e.Name)
	c := packages.ClassOf(p, e)
	if c == "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.files) == maxVouched {
		v.more++
		return
	}
	v.files = append(v.files, vouched{p, c})
}

// findings asks the package database of the root. Where there is none, nothing
// can be said; notes tell what could not be looked at. With contents, packaged
// files are read once more and held against the digests of their packages.
func (v *vouch) findings(ctx context.Context, s *session, contents bool) (list []rules.Finding, notes []string, err error) {
	slices.SortFunc(v.files, func(a, b vouched) int { return bytes.Compare(a.path.Key(), b.path.Key()) })
	paths := make([]entry.Path, len(v.files))
	for i, f := range v.files {
		paths[i] = f.path
	}
	answers, err := s.owners(ctx, paths)
	if err != nil {
		return nil, nil, err
	}
	says := make([]said, len(answers))
	if contents {
		if err := v.compare(ctx, s, answers, says); err != nil {
			return nil, nil, err
		}
	}
	unknown, unread, reason := 0, 0, ""
	for i, a := range answers {
		switch f := v.files[i]; {
		case a.State == pkgdb.NoOwner:
			list = append(list, packages.Unowned(f.path, f.class))
		case a.State == pkgdb.Unknown:
			unknown, reason = unknown+1, a.Reason
		case says[i].other != "":
			list = append(list, packages.Differs(f.path, f.class, says[i].other))
		case says[i].unread:
			unread++
		}
	}
	if unknown > 0 {
		notes = append(notes, fmt.Sprintf("which package owns %s could not be told: %s", counted(unknown, "file"), reason))
	}
	if unread > 0 {
		notes = append(notes, fmt.Sprintf("%s could not be read to hold them against the digests of their packages", counted(unread, "file")))
	}
	if v.more > 0 {
		notes = append(notes, fmt.Sprintf("%d more programs, units and keys were not looked up in the package database", v.more))
	}
	return list, notes, nil
}

// said is what the package database says of the content of a file: nothing is
// said where nothing is set.
type said struct {
	other  string // the package that says that it is another
	unread bool   // it could not be read
}

// compare holds the content of owned files against the database, on all cores.
func (v *vouch) compare(ctx context.Context, s *session, answers []pkgdb.Answer, says []said) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	workers := runtime.NumCPU()
	rate := s.rate()
	if rate > 0 {
		workers = 1
	}
	for range workers {
		wg.Go(func() {
			x := scanner.NewExaminer(s.root, rate)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(answers) {
					return
				}
				if answers[i].State == pkgdb.Owned {
					says[i] = differs(ctx, x, v.files[i].path, answers[i].Owners)
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// differs reads p if one of the owners has a digest of it. One that says that
// the content is this settles it, and what the administrator may edit is never
// another.
func differs(ctx context.Context, x *scanner.Examiner, p entry.Path, owners []pkgdb.Owner) (r said) {
	defer func() {
		if recover() != nil {
			r = said{unread: true}
		}
	}()
	if !slices.ContainsFunc(owners, func(o pkgdb.Owner) bool { return o.HasDigest() }) {
		return said{}
	}
	look, err := x.Path(ctx, p, nil)
	if err != nil || look.Entry.Have&entry.Content == 0 {
		return said{unread: true}
	}
	for i := range owners {
		switch o := &owners[i]; {
		case o.Conffile || o.Loose || o.HasDigest() && o.Holds(look.MD5, look.SHA256):
			return said{}
		case o.HasDigest():
			r.other = o.Package
		}
	}
	return r
}

// tell writes what nobody vouches for into the report of an init.
func (v *vouch) tell(ctx context.Context, p *paper, contents bool) error {
	list, notes, err := v.findings(ctx, p.s, contents)
	if err != nil {
		return err
	}
	for _, f := range list {
		f.FirstSeen, f.New = p.head.Started, true
		for i := range f.Reasons {
			f.Reasons[i] = report.Prose(f.Reasons[i])
		}
		if err := p.w.Finding(f); err != nil {
			return err
		}
	}
	p.s.remark(notes...)
	return nil
}
