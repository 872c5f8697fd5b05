package baseline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"syscall"

	"intact/baseline/diff"
	"intact/baseline/seal"
	"intact/baseline/statement"
)

// Proposal is a generation that was made and is not in force: no statement in
// the store names it. It waits, staged, for an operator elsewhere.
type Proposal struct {
	s    *Store
	g    *Generation // in force
	next *Generation
	name string // temporary, "" once it is staged
}

// Propose makes the generation that Apply would publish, and its statement but
// for what the operator says. The error is that of Apply.
func (g *Generation) Propose(ctx context.Context, s *Store, picks iter.Seq2[*diff.Change, error], rows []diff.RowChange, note statement.Note) (*Proposal, error) {
	p, err := g.propose(ctx, s, picks, rows, note)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	return p, nil
}

func (g *Generation) propose(ctx context.Context, s *Store, picks iter.Seq2[*diff.Change, error], rows []diff.RowChange, note statement.Note) (p *Proposal, err error) {
	out, err := g.build(ctx, s, picks, rows)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.Remove(out.name)
		}
	}()
	prev, host, err := s.newest()
	if err != nil {
		return nil, err
	}
	if prev == nil || prev.Digest() != g.st.Digest() {
		return nil, ErrStale
	}
	note.Authority, note.Approver, note.Signer = statement.Operator, "", ""
	st := following(out, g.st.Policy, note, prev, host)
	if st.Pruned, err = s.expired(st); err != nil {
		return nil, err
	}
	if st, err = statement.Parse(st.Text()); err != nil {
		return nil, err
	}
	f, err := openRegular(out.name)
	if err != nil {
		return nil, err
	}
	next, err := openGeneration(ctx, f, st)
	if err != nil {
		return nil, err
	}
	return &Proposal{s, g, next, out.name}, nil
}

// Statement returns the proposed statement.
func (p *Proposal) Statement() *statement.Statement { return p.next.st }

// WriteRequest writes what an operator needs to approve it: see ReadRequest.
func (p *Proposal) WriteRequest(ctx context.Context, w io.Writer) error {
	if err := writeRequest(ctx, w, p.g, p.next); err != nil {
		return fmt.Errorf("write request: %w", cause(err))
	}
	return nil
}

// Stage puts the file beside the baseline, in the place of one that was staged
// before.
func (p *Proposal) Stage() error {
	if err := p.s.putFile(p.name, p.s.proposedPath()); err != nil {
		return fmt.Errorf("stage the proposed generation: %w", err)
	}
	p.name = ""
	return nil
}

// Close drops what is not staged.
func (p *Proposal) Close() error {
	err := p.next.Close()
	if p.name != "" {
		err = errors.Join(err, os.Remove(p.name))
	}
	return err
}

// ErrNotStaged means that there is no file for an approval here.
var ErrNotStaged = errors.New("the proposed generation is not here any more")

// Install publishes the staged generation with the statement and signature of an
// approval. The approval must be by an operator whom Trust names, for this host,
// for a statement behind the one in force, and the staged file must be the one
// that it speaks of, verified as one that is opened. Errors wrap ErrUntrusted,
// ErrForeign, ErrApproval or ErrNotStaged; the old state stands then.
func (s *Store) Install(ctx context.Context, a *Approval) (Signed, error) {
	by, err := s.install(ctx, a)
	if err != nil {
		return by, fmt.Errorf("apply: %w", err)
	}
	return by, nil
}

func (s *Store) install(ctx context.Context, a *Approval) (by Signed, err error) {
	lock, err := s.commitLock()
	if err != nil {
		return by, err
	}
	defer lock.Unlock()
	prev, host, err := s.newest()
	if errors.Is(err, ErrSelfApproved) {
		// That alone an operator mends: the approval names the statement that the
		// host signed itself.
		err = s.standAlone()
	}
	if err != nil {
		return by, err
	}
	if prev == nil {
		return by, ErrNoBaseline
	}
	if err := a.follows(prev, host); err != nil {
		return by, err
	}
	if by, err = s.Trust.approved(a); err != nil {
		return by, err
	}
	name, err := s.staged(ctx, a.Statement)
	if err != nil {
		return by, err
	}
	return by, s.commit(ctx, name, a.Statement, a.Signature)
}

// standAlone reports as an error what keeps the host from coming under an
// operator by an approval: something older than what it approved itself.
func (s *Store) standAlone() error {
	list, err := s.List()
	if err != nil {
		return err
	}
	n := ownBeginning(list)
	if n == len(list) {
		return nil
	}
	err = fmt.Errorf("%w: generation %d is no beginning by the host alone", ErrUntrusted, list[n].Generation)
	if list[n].Err != nil && !errors.Is(list[n].Err, ErrSelfApproved) {
		err = fmt.Errorf("%w: %w", err, list[n].Err)
	}
	return fmt.Errorf("%w; what the host's own key signed since counts for nothing: init --force --sign-with KEY starts over under the operator", err)
}

// follows says whether an approval is for the generation behind prev.
func (a *Approval) follows(prev *statement.Statement, host string) error {
	st := a.Statement
	switch {
	case st.HostID != host:
		return fmt.Errorf("%w: the approval is for host %s (%s), this is %s", ErrForeign, st.HostID, st.HostName, host)
	case st.Digest() == prev.Digest():
		return fmt.Errorf("%w: generation %d is in force already, by this very approval", ErrApproval, st.Generation)
	case st.Generation <= prev.Generation:
		return fmt.Errorf("%w: it is for generation %d, and generation %d is in force", ErrApproval, st.Generation, prev.Generation)
	case st.Restart:
		return fmt.Errorf("%w: it starts over", ErrApproval)
	case st.Policy != prev.Policy:
		return fmt.Errorf("%w: it is for another policy", ErrApproval)
	}
	if err := st.Follows(prev); err != nil {
		return fmt.Errorf("%w: %w", ErrApproval, err)
	}
	for _, n := range st.Pruned {
		if n >= prev.Generation {
			return fmt.Errorf("%w: it prunes generation %d", ErrApproval, n)
		}
	}
	return nil
}

// approved judges an approval more strictly than a statement that is in force:
// an operator must have signed it, with a key that is good now as well.
func (t *Trust) approved(a *Approval) (Signed, error) {
	if !t.Governed() {
		return Signed{}, fmt.Errorf("%w: no operator is named here: configure trusted_signers", ErrUntrusted)
	}
	by, err := t.Judge(a.Statement, a.Signature)
	if err != nil {
		return by, err
	}
	if by.Authority != statement.Operator || !IsOperator(by.Principal) {
		return by, fmt.Errorf("%w: no operator signed it", ErrUntrusted)
	}
	d, err := endorsementOf(a.Statement, a.Signature)
	if err != nil {
		return by, err
	}
	_, err = d.verified(t.Operators, seal.Want{})
	if err != nil {
		return by, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return by, nil
}

// staged returns the name of the file that st speaks of, opened and verified. A
// commit that was interrupted may have given it its last name already.
func (s *Store) staged(ctx context.Context, st *statement.Statement) (string, error) {
	var other error
	for _, name := range []string{s.proposedPath(), s.dbPath(st.Generation)} {
		f, err := s.openStaged(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if err := checkFile(ctx, f, st); err != nil {
			f.Close()
			if ctx.Err() != nil {
				return "", err
			}
			other = err
			continue
		}
		g, err := openGeneration(ctx, f, st)
		if err != nil {
			return "", fmt.Errorf("open %q: %w", name, err)
		}
		return name, g.Close()
	}
	if other != nil {
		return "", fmt.Errorf("%w: another file is staged in its place", ErrNotStaged)
	}
	return "", ErrNotStaged
}

// openStaged opens a file that is to become a generation. Who else owns it, or
// has another name for it, could write to it behind every check; what is no
// regular file nobody staged.
func (s *Store) openStaged(name string) (*os.File, error) {
	bad := func(what string, args ...any) error {
		return fmt.Errorf("%w: the staged file %q %s: remove it, and accept --export again", ErrApproval, name, fmt.Sprintf(what, args...))
	}
	var dir, st syscall.Stat_t
	if err := syscall.Stat(s.path(baselineDir), &dir); err != nil {
		return nil, fmt.Errorf("look at %q: %w", s.path(baselineDir), err)
	}
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, bad("is no regular file")
	}
	f, err := openRegular(name)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, cause(err))
	}
	err = syscall.Fstat(int(f.Fd()), &st)
	switch me := uint32(os.Geteuid()); {
	case err != nil:
		err = fmt.Errorf("look at %q: %w", name, err)
	case st.Uid != 0 && st.Uid != me && st.Uid != dir.Uid:
		err = bad("belongs to user %d", st.Uid)
	case st.Nlink != 1:
		err = bad("has %d names", st.Nlink)
	default:
		return f, nil
	}
	f.Close()
	return nil, err
}

// Staged reports whether a generation waits for an operator.
func (s *Store) Staged() bool {
	_, err := os.Lstat(s.proposedPath())
	return err == nil
}
