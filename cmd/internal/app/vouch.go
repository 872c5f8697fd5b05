package app

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"intact/rules"
	"intact/rules/packages"
	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// maxVouched bounds the files whose packages are looked for.
const maxVouched = 200_000

// vouchBatch is how many of them the package database is asked about in one pass.
const vouchBatch = 50_000

// vouch collects, while a first baseline is made, the files that matter most,
// and then says which of them no package vouches for. It is an Observer.
type vouch struct {
	mu    sync.Mutex
	files []vouched // guarded by mu
	more  int64     // guarded by mu: beyond maxVouched
}

// vouched is what is held against packages of a file. It is smaller than an entry.
type vouched struct {
	path     entry.Path
	class    packages.Class
	have     entry.Attr
	mode     uint16
	uid, gid uint32
	size     int64
	digest   digest.Digest
	caps     []byte
}

func (f *vouched) entry() *entry.Entry {
	return &entry.Entry{Kind: entry.File, Have: f.have, Mode: f.mode, UID: f.uid, GID: f.gid, Size: f.size, Digest: f.digest, Caps: f.caps}
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
	const have = entry.Mode | entry.UID | entry.GID | entry.Size | entry.Content | entry.Caps
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.files) == maxVouched {
		v.more++
		return
	}
	v.files = append(v.files, vouched{p, c, e.Have & have, e.Mode, e.UID, e.GID, e.Size, e.Digest, bytes.Clone(e.Caps)})
}

// findings asks the package database of the root and the manifests that are
// stored. Where there is no database, nothing can be said; notes tell what could
// not be looked at. With contents, packaged files of which no signature says what
// they hold are read once more and held against the digests of their packages.
func (v *vouch) findings(ctx context.Context, s *session, contents bool) (list []rules.Finding, notes []string, err error) {
	slices.SortFunc(v.files, func(a, b vouched) int { return bytes.Compare(a.path.Key(), b.path.Key()) })
	y, err := s.newSayings(ctx)
	if err != nil {
		return nil, nil, err
	}
	for files := range slices.Chunk(v.files, vouchBatch) {
		asked := make([]seen, len(files))
		for i := range files {
			asked[i] = seen{files[i].path, files[i].entry()}
		}
		known, err := y.ask(ctx, asked)
		if err != nil {
			return nil, nil, err
		}
		if contents {
			if err := y.settleAll(ctx, asked, known); err != nil {
				return nil, nil, err
			}
		}
		for i := range files {
			if f, ok := packages.Standing(files[i].path, files[i].class, &known[i].Words); ok {
				list = append(list, f)
			}
		}
	}
	notes = y.notes()
	if v.more > 0 {
		notes = append(notes, fmt.Sprintf("%d more programs, units and keys were not looked up in the package database", v.more))
	}
	return list, notes, nil
}

// settleAll is settle on all cores.
func (y *sayings) settleAll(ctx context.Context, files []seen, known []saying) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	workers := runtime.NumCPU()
	rate := y.s.rate()
	if rate > 0 {
		workers = 1
	}
	for range workers {
		wg.Go(func() {
			x := scanner.NewExaminer(y.s.root, rate)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return
				}
				y.settle(ctx, x, files[i], &known[i])
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// tell writes what nobody vouches for into the report of an init.
func (v *vouch) tell(ctx context.Context, p *paper, contents bool) error {
	list, notes, err := v.findings(ctx, p.s, contents)
	if err != nil {
		return err
	}
	for _, f := range list {
		f.FirstSeen, f.New = p.head.Started, true
		prose(&f)
		if err := p.w.Finding(f); err != nil {
			return err
		}
	}
	p.s.remark(notes...)
	return nil
}
