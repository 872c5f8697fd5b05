package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Errors of a chain of reports. All mean that what is kept is not what was
// written.
var (
	ErrMissing   = errors.New("missing")
	ErrEdited    = errors.New("edited or replaced")
	ErrForeign   = errors.New("not of this host")
	ErrSignature = errors.New("not signed as it should be")
)

// Judge verifies the signature over body, which is all of a report; armor is
// nil where it has none. It may read body more than once, from the beginning.
type Judge func(h Header, body io.ReadSeeker, armor []byte) error

// Fault is what is wrong with one report, or with a run of missing ones.
type Fault struct {
	Seq  uint64
	Last uint64 // of a run, else Seq
	Err  error  // wraps one of the errors of a chain, or of a Reader
}

func (f Fault) Error() string {
	if f.Last > f.Seq {
		return fmt.Sprintf("reports %d to %d: %v", f.Seq, f.Last, f.Err)
	}
	return fmt.Sprintf("report %d: %v", f.Seq, f.Err)
}

// Walked says what Verify went over.
type Walked struct {
	Reports     int
	First, Last uint64
	Head        string // "sha256:…" of the last one
	Pruned      uint64 // reports up to there were deleted by retention, as a later report says
}

// Verify reads all reports of the archive and checks that each is what was
// written, is signed, and follows from the one before. hostID is "" where any
// host is right, as long as it stays the same. It holds no more than a line of
// a report in memory. What is missing behind the last report shows only to
// those who received it.
func (a *Archive) Verify(ctx context.Context, hostID string, judge Judge) (Walked, []Fault, error) {
	list, err := a.List()
	if err != nil || len(list) == 0 {
		return Walked{}, nil, err
	}
	c := chain{judge: judge, host: hostID, signatures: a.signatures()}
	for _, s := range list {
		if err := ctx.Err(); err != nil {
			return c.walked, c.faults, err
		}
		c.add(ctx, s)
	}
	if err := ctx.Err(); err != nil {
		return c.walked, c.faults, err
	}
	c.begin(list)
	for _, n := range c.signatures {
		if _, ok := slices.BinarySearchFunc(list, n, func(s Stored, n uint64) int { return int(s.Seq) - int(n) }); !ok && n > c.walked.Pruned {
			c.fault(n, fmt.Errorf("%w: only its signature is there", ErrMissing))
		}
	}
	slices.SortStableFunc(c.faults, func(a, b Fault) int { return int(a.Seq) - int(b.Seq) })
	return c.walked, c.faults, nil
}

// signatures returns the numbers of the signatures, ascending.
func (a *Archive) signatures() (list []uint64) {
	des, _ := os.ReadDir(a.dir) // List has read it before
	for _, de := range des {
		if name, ok := strings.CutSuffix(de.Name(), sigSuffix); ok {
			if n, _, ok := parseName(name); ok {
				list = append(list, n)
			}
		}
	}
	return list
}

type chain struct {
	judge      Judge
	host       string
	signatures []uint64
	walked     Walked
	faults     []Fault

	first Header // of the first one that could be read
	last  Header
	begun bool
	known bool // the digest of the report before is Head
}

func (c *chain) fault(seq uint64, err error) { c.faults = append(c.faults, Fault{seq, seq, err}) }

// add verifies one report behind those that went before.
func (c *chain) add(ctx context.Context, s Stored) {
	if n := c.walked.Last; n > 0 && s.Seq > n+1 {
		c.faults = append(c.faults, Fault{n + 1, s.Seq - 1, ErrMissing})
		c.known = false
	} else if s.Seq == n && n > 0 {
		c.fault(n, fmt.Errorf("%w: there are two of that number", ErrEdited))
	}
	h, sum, err := c.verify(ctx, s)
	if err != nil {
		c.fault(s.Seq, err)
	}
	if c.walked.Reports == 0 {
		c.walked.First = s.Seq
	}
	c.walked.Reports++
	c.walked.Last = s.Seq
	if sum != "" {
		if h.ID != "" && c.known && h.Prev != c.walked.Head {
			c.fault(s.Seq-1, fmt.Errorf("%w: report %d was written behind %s, and this is %s", ErrEdited, s.Seq, h.Prev, c.walked.Head))
		}
		c.walked.Head, c.known = sum, true
	} else {
		c.known = false
	}
	if h.ID == "" {
		return
	}
	if !c.begun {
		c.first, c.begun = h, true
	}
	c.last = h
}

// verify reads one report whole. The digest is "" if it could not be read to
// its end, the header empty if that could not be.
func (c *chain) verify(ctx context.Context, s Stored) (h Header, sum string, err error) {
	h, sum, err = s.Inspect(ctx, func(h Header, body io.ReadSeeker, armor []byte) error {
		if err := c.belongs(s, h); err != nil {
			return err
		}
		return c.judge(h, body, armor)
	}, nil)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrMissing
	}
	return h, sum, err
}

// belongs makes sure that a report stands where it was written.
func (c *chain) belongs(s Stored, h Header) error {
	switch {
	case h.Seq != s.Seq || h.Kind != s.Kind:
		return fmt.Errorf("%w: it is report %d, a %s", ErrEdited, h.Seq, h.Kind)
	case c.host == "":
		c.host = h.Host.ID
	case h.Host.ID != c.host:
		return fmt.Errorf("%w: of %q", ErrForeign, h.Host.ID)
	}
	if c.begun && h.Host.Epoch < c.last.Host.Epoch {
		return fmt.Errorf("%w: its epoch %d comes behind %d", ErrEdited, h.Host.Epoch, c.last.Host.Epoch)
	}
	return nil
}

// begin judges where the chain begins: with the first report, or behind what
// the newest one says was deleted.
func (c *chain) begin(list []Stored) {
	if !c.begun {
		return
	}
	kept := c.last.Checkpoint
	c.walked.Pruned = kept.Seq
	first := list[0].Seq
	switch {
	case first == 1 && c.first.Seq == 1:
		if c.first.Prev != "" {
			c.fault(1, fmt.Errorf("%w: it names a report before it", ErrEdited))
		}
	case first > kept.Seq+1:
		c.faults = append(c.faults, Fault{kept.Seq + 1, first - 1, ErrMissing})
	case first == kept.Seq+1 && c.first.Seq == first && c.first.Prev != kept.Digest:
		c.fault(first, fmt.Errorf("%w: it does not follow what was deleted before it", ErrEdited))
	}
}
