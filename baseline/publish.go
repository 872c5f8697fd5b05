package baseline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"intact/baseline/statement"
	"intact/scanner/digest"
)

// What is kept of old generations: see expired.
const (
	keepNewest = 10
	keepMonths = 12
)

func (s *Store) tempName() string {
	return s.path(baselineDir, "generation-"+rand.Text()+fileSuffix+tempSuffix)
}

// publish makes a written file the next generation: the file gets its name,
// then the signature, then the statement; the latter is the moment of commit. from, if not nil, is
// the generation that must still be the newest. The temporary file is gone
// afterwards in any case.
func (s *Store) publish(ctx context.Context, out *written, policy digest.Digest, note statement.Note, from *statement.Statement) (st *statement.Statement, err error) {
	defer os.Remove(out.name)
	lock, err := s.commitLock()
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	prev, host, err := s.newest()
	var over *restart
	if errors.As(err, &over) && s.Restart {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if from != nil && (prev == nil || prev.Digest() != from.Digest()) {
		return nil, ErrStale
	}
	st = following(out, policy, note, prev, host)
	if over != nil {
		st.Generation, st.Restart = over.from+1, true
		st.Reason = strings.TrimSpace(st.Reason + " (" + over.note() + ")")
	}
	if st.Pruned, err = s.expired(st); err != nil {
		return nil, err
	}
	if s.Signer != nil {
		st.Signer = s.Signer.Key().Fingerprint
		if s.Under != nil {
			st.Delegation = s.Under.Digest()
		}
	}
	// What a reader would make of it is what is returned.
	if st, err = statement.Parse(st.Text()); err != nil {
		return nil, err
	}
	armor, err := s.sign(st)
	if err != nil {
		return nil, err
	}
	if err := s.commit(ctx, out.name, st, armor); err != nil {
		return nil, err
	}
	return st, nil
}

// following makes the statement of a written file that is to follow prev, nil
// for the first one. What it prunes is still to be said.
func following(out *written, policy digest.Digest, note statement.Note, prev *statement.Statement, host string) *statement.Statement {
	st := &statement.Statement{
		HostID: host, Generation: 1, File: out.digest, FileSize: out.size, Root: out.root, Policy: policy,
		Directories: out.dirs, Entries: out.entries, Note: note,
	}
	if note.Created.IsZero() {
		st.Created = time.Now()
	}
	if prev != nil {
		st.Generation, st.Previous = prev.Generation+1, prev.Digest()
	}
	return st
}

// commit gives the file from and its statement their names. The caller holds
// the commit lock. Where that fails, the old state stands, and a proposed file
// has its own name again.
func (s *Store) commit(ctx context.Context, from string, st *statement.Statement, armor []byte) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	db := s.dbPath(st.Generation)
	if from != db {
		if err := s.putFile(from, db); err != nil {
			return err
		}
	}
	name, sig := s.statementPath(st.Generation), s.signaturePath(st.Generation)
	var err error
	if armor != nil {
		err = s.writeFile(sig, armor, 0o400)
	} else if err = os.Remove(sig); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = s.writeFile(name, st.Text(), 0o400)
	}
	if err != nil {
		if _, gone := os.Lstat(name); errors.Is(gone, fs.ErrNotExist) {
			if from == s.proposedPath() || from == db {
				os.Rename(db, s.proposedPath())
			} else {
				os.Remove(db) // a full disk needs the room
			}
			os.Remove(sig)
		}
		return err
	}
	s.prune(st)
	// It was made to follow the generation before this one.
	os.Remove(s.proposedPath())
	return nil
}

// newest returns the statement that the next one follows, nil if there is
// none, and the host id. Where that is not trusted, the error is a restart; what
// could be read of it is returned as well.
func (s *Store) newest() (*statement.Statement, string, error) {
	host, err := s.HostID()
	if err != nil {
		return nil, "", err
	}
	n, err := s.Latest()
	if err != nil || n == 0 {
		return nil, host, err
	}
	st, err := s.readStatement(n, host)
	if err == nil {
		_, _, err = s.judge(st)
	}
	for _, e := range []error{ErrDamaged, ErrForeign, ErrUntrusted} {
		if errors.Is(err, e) {
			return st, host, &restart{n, err}
		}
	}
	return st, host, err
}

// restart is the error of a generation that only a new beginning can follow.
type restart struct {
	from uint64
	error
}

func (r *restart) Unwrap() error { return r.error }

// maxWhy bounds what a reason says of the error, in bytes.
const maxWhy = 512

// note is what the next generation says of it.
func (r *restart) note() string {
	why := r.Error()
	return fmt.Sprintf("started over from generation %d, which was not trusted: %s", r.from, why[:min(len(why), maxWhy)])
}

// putFile gives a finished generation file its name. A file that stands there
// was left by an interrupted commit: no statement speaks of it.
func (s *Store) putFile(from, to string) error {
	f, err := os.Open(from) // it may be closed to writing already, and is synced all the same
	if err != nil {
		return err
	}
	return finish(f, to, 0o400)
}

// expired returns the generation files that the commit of st deletes: all but
// the newest ten and the newest of each of the last twelve months that have
// one. Generations whose statement cannot be read stay.
func (s *Store) expired(st *statement.Statement) ([]uint64, error) {
	files, err := s.generations(fileSuffix)
	if err != nil {
		return nil, err
	}
	slices.Reverse(files)
	kept, months := 1, map[string]bool{st.Created.UTC().Format("2006-01"): true}
	var out []uint64
	for _, n := range files {
		if n >= st.Generation {
			continue
		}
		old, err := s.readStatement(n, st.HostID)
		if err != nil {
			continue
		}
		month := old.Created.Format("2006-01")
		monthly := !months[month] && len(months) < keepMonths
		if monthly {
			months[month] = true
		}
		if kept < keepNewest {
			kept++
			continue
		}
		if !monthly {
			out = append(out, n)
		}
	}
	slices.Reverse(out)
	return out, nil
}

// prune deletes what st says. A failure leaves a file too many, which the next
// commit names again.
func (s *Store) prune(st *statement.Statement) {
	for _, n := range st.Pruned {
		os.Remove(s.dbPath(n))
	}
}

// Info is one generation of a store. Look at Err first: where the statement is
// missing or cannot be read, Statement is nil; where only the chain is broken
// there, both are set.
type Info struct {
	Generation uint64
	Statement  *statement.Statement // may be nil if Err is set, never else
	Present    bool                 // the generation file is there
	Pruned     bool                 // a later statement says that the file was deleted
	Size       int64                // of the file, in bytes
	Signed     Signed               // who signed, as far as it is known
	Err        error                // of the statement, the chain or the signature; wraps ErrDamaged, ErrForeign or ErrUntrusted
}

// List returns all generations, oldest first, with their statements verified
// and chained. What is wrong with one of them is its Info.Err, not an error of
// List; its Statement may then be nil. A run of missing statements is one Info.
// The files are not opened: see Verify.
func (s *Store) List() ([]Info, error) {
	latest, err := s.Latest()
	if err != nil || latest == 0 {
		return nil, err
	}
	host, err := s.HostID()
	if errors.Is(err, fs.ErrNotExist) { // there is a generation, so there was one
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	have, err := s.generations(stmtSuffix)
	if err != nil {
		return nil, err
	}
	var out []Info
	pruned := map[uint64]bool{}
	var prev *statement.Statement
	for n, gap := uint64(1), false; n <= latest; n++ {
		if _, ok := slices.BinarySearch(have, n); !ok {
			if !gap { // one line for a run of missing ones: their number is the attacker's
				out = append(out, Info{Generation: n, Err: fmt.Errorf("%w: statement %d is missing", ErrDamaged, n)})
			}
			gap, prev = true, nil
			n = have[nextIndex(have, n)] - 1
			continue
		}
		in := Info{Generation: n}
		in.Statement, in.Err = s.readStatement(n, host)
		if in.Err == nil {
			if err := in.Statement.Follows(prev); err != nil {
				in.Err = fmt.Errorf("%w: %w", ErrDamaged, err)
			} else {
				_, in.Signed, in.Err = s.judge(in.Statement)
			}
			for _, p := range in.Statement.Pruned {
				pruned[p] = true
			}
		}
		if fi, err := os.Lstat(s.dbPath(n)); err == nil && fi.Mode().IsRegular() {
			in.Present, in.Size = true, fi.Size()
		}
		prev, gap = in.Statement, false
		out = append(out, in)
	}
	for i := range out {
		out[i].Pruned = pruned[out[i].Generation]
	}
	settled(out)
	return out, nil
}

// settled takes back what is said against statements that the host approved
// itself where an operator's statement follows: it names them, so they were in
// force when the operator looked. Nobody looked at one under a delegation.
func settled(list []Info) {
	n := ownBeginning(list)
	if n == len(list) || list[n].Err != nil || list[n].Statement.Restart || list[n].Signed.Authority == statement.None || list[n].Signed.Delegation != nil {
		return
	}
	for i := range n {
		list[i].Err = nil
	}
}

// ownBeginning returns how many generations, from the first one on, the host
// approved itself before an operator was named. Behind an operator's generation,
// one that cannot be judged or a new beginning there is none: nobody could tell
// a stand-alone host from one that went on behind the operator's back.
func ownBeginning(list []Info) (n int) {
	for n < len(list) && errors.Is(list[n].Err, ErrSelfApproved) && !list[n].Statement.Restart {
		n++
	}
	return n
}

func nextIndex(list []uint64, n uint64) int {
	i, _ := slices.BinarySearch(list, n)
	return i
}

// Verify opens generation gen (0: the newest) as Open does, then decodes every
// block, and checks the whole chain of statements. What it finds wrong is
// returned as errors that wrap ErrDamaged, ErrForeign or ErrUntrusted, one each.
func (s *Store) Verify(ctx context.Context, gen uint64) ([]error, error) {
	var bad []error
	infos, err := s.List()
	if err != nil {
		return nil, err
	}
	for i, in := range infos {
		if in.Err != nil {
			bad = append(bad, in.Err)
		}
		if !in.Present && !in.Pruned && in.Statement != nil && i < len(infos)-1 {
			bad = append(bad, fmt.Errorf("%w: the file of generation %d is gone and was not pruned", ErrDamaged, in.Generation))
		}
	}
	g, err := s.Open(ctx, gen)
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrForeign) || errors.Is(err, ErrUntrusted) {
		return append(bad, err), nil
	}
	if err != nil {
		return bad, err
	}
	defer g.Close()
	for _, err := range g.Entries() {
		if ctx.Err() != nil {
			return bad, context.Cause(ctx)
		}
		if err != nil {
			bad = append(bad, err)
		}
	}
	return bad, nil
}
