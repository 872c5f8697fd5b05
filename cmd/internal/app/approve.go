package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/report"
	"intact/scanner/digest"
)

// ApproveOptions of Approve.
type ApproveOptions struct {
	Requests   []string // files
	SignWith   string   // the operator's key, see session.signer
	Reason     string   // without a terminal it stands for consent
	Output     string   // of one request the file, of several the folder; "": beside each request
	ExpectRoot string   // of the baseline in force; a file with "/" in its name may hold those of several requests
	DryRun     bool     // show, sign nothing
}

// Approve shows what hosts ask for in their requests, and signs it. It runs
// where the operator's key is, and needs nothing else of intact there. A request
// that does not hold what it says is refused, and then nothing is signed.
func Approve(ctx context.Context, e *Env, o ApproveOptions) (Outcome, error) {
	_, _, asks := e.terminals()
	switch {
	case len(o.Requests) == 0:
		return Outcome{}, usageError("accept --approve: say which: REQUEST…")
	case len(o.Requests) > baseline.MaxApproved:
		return Outcome{}, usageError("accept --approve: %d requests at most", baseline.MaxApproved)
	case o.ExpectRoot != "" && len(o.Requests) > 1 && !strings.Contains(o.ExpectRoot, "/"):
		return Outcome{}, usageError("accept --approve: one --expect-root is for one request; for several give a file, ./FILE, with one root on each line")
	case o.SignWith == "" && !o.DryRun:
		return Outcome{}, usageError("accept --approve: --sign-with KEY is needed, or --dry-run")
	case strings.TrimSpace(o.Reason) == "" && !o.DryRun && !asks:
		return Outcome{}, usageError("accept --approve: there is no terminal to ask on: --reason TEXT stands for consent")
	}
	s, err := open(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	a := &approval{session: s, o: o, in: bufio.NewReader(e.Stdin), trust: &baseline.Trust{Operators: s.store.Trust.Operators}}
	if o.ExpectRoot != "" {
		if a.pins, err = readPins(o.ExpectRoot); err != nil {
			return Outcome{}, usageError("--expect-root: %w", err)
		}
	}
	if a.names, err = a.outputs(); err != nil {
		return Outcome{}, err
	}
	if !o.DryRun {
		if a.key, err = s.signer(o.SignWith); err != nil {
			return Outcome{}, fmt.Errorf("--sign-with: %w", err)
		}
	}
	return a.run(ctx, asks)
}

type approval struct {
	*session
	o     ApproveOptions
	in    *bufio.Reader
	trust *baseline.Trust // the operator's own list; nothing of a host counts here
	pins  []statement.Pin // roots, one of which each baseline in force must have; none: --expect-root was not given
	names []string        // of the approvals
	key   seal.Signer
}

// outputs are the names of the files to write. None may stand for two.
func (a *approval) outputs() ([]string, error) {
	var out []string
	for _, r := range a.o.Requests {
		name := r + ".approval"
		switch {
		case a.o.Output != "" && len(a.o.Requests) == 1:
			name = a.o.Output
		case a.o.Output != "":
			if info, err := os.Stat(a.o.Output); err != nil || !info.IsDir() {
				return nil, usageError("accept --approve: --output %q is no folder, and there are several requests", a.o.Output)
			}
			name = filepath.Join(a.o.Output, filepath.Base(name))
		}
		if slices.Contains(out, name) {
			return nil, usageError("accept --approve: two approvals would be named %q", name)
		}
		out = append(out, name)
	}
	return out, nil
}

func (a *approval) run(ctx context.Context, asks bool) (Outcome, error) {
	var list []*statement.Statement
	var all []*summary
	for _, name := range a.o.Requests {
		st, sum, err := a.show(ctx, name)
		if err != nil {
			return Outcome{}, fmt.Errorf("accept --approve %q: %w", name, err)
		}
		if slices.ContainsFunc(list, func(x *statement.Statement) bool { return x.HostID == st.HostID }) {
			return Outcome{}, usageError("accept --approve %q: there is another request of host %s: one can be applied", name, st.HostID)
		}
		list, all = append(list, st), append(all, sum)
	}
	if a.o.DryRun {
		a.env.print("\nnothing was signed\n")
		return Done(), nil
	}
	if asks {
		if err := a.consent(all); err != nil {
			return Outcome{}, err
		}
	}
	made, err := a.sign(ctx, list)
	if err != nil {
		return Outcome{}, err
	}
	for i, m := range made {
		if err := replaceFile(a.names[i], func(w io.Writer) error { _, err := w.Write(m.Text()); return err }); err != nil {
			return Outcome{}, err
		}
		a.env.print("approved: host %s, generation %d, root %s: %s\n", m.Statement.HostID, m.Statement.Generation, m.Statement.Short(), report.Escape(a.names[i]))
	}
	a.env.print("keep, to give with --expect-root next time:\n")
	for _, m := range made {
		a.env.print("  %s\n", m.Statement.Short())
	}
	return Done(), nil
}

// sign makes the approvals of the statements with one signature. It is of the
// statement itself where there is one, and the key may sign that.
func (a *approval) sign(ctx context.Context, list []*statement.Statement) ([]*baseline.Approval, error) {
	var digests []digest.Digest
	for i, st := range list {
		st.Created, st.Approver, st.Authority = a.env.Now().UTC(), a.approver(), statement.Operator
		st.Signer, st.Reason = a.key.Key().Fingerprint, a.o.Reason
		// What a reader would make of it is what is signed.
		st, err := statement.Parse(st.Text())
		if err != nil {
			return nil, err
		}
		list[i] = st
		digests = append(digests, st.Digest())
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if len(list) == 1 && a.maySign(statement.Namespace) {
		armor, err := a.key.Sign(statement.Namespace, strings.NewReader(string(list[0].Text())))
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		return a.judged(list, armor)
	}
	text := baseline.ListText(digests)
	armor, err := a.key.Sign(baseline.AcceptNamespace, strings.NewReader(string(text)))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return a.judged(list, append(text, armor...))
}

// maySign reports whether the key may sign in a namespace, as far as the list
// here says: one that is for lists alone signs a list of one.
func (a *approval) maySign(namespace string) bool {
	if a.trust.Operators == nil {
		return true
	}
	k := a.key.Key()
	lists := false
	for _, l := range a.trust.Operators.Lines() {
		if l.Key.Line != k.Line && (k.Cert == nil || l.Key.Line != k.Cert.CA.Line) {
			continue
		}
		if l.Allows(namespace) {
			return true
		}
		lists = lists || l.Allows(baseline.AcceptNamespace)
	}
	return !lists
}

// judged makes approvals and judges them as the hosts will.
func (a *approval) judged(list []*statement.Statement, signature []byte) ([]*baseline.Approval, error) {
	var out []*baseline.Approval
	for _, st := range list {
		one, err := baseline.ParseApproval((&baseline.Approval{Statement: st, Signature: signature}).Text())
		if err == nil {
			_, err = a.trust.Judge(one.Statement, one.Signature)
		}
		if err != nil {
			return nil, fmt.Errorf("accept --approve: %w", err)
		}
		out = append(out, one)
	}
	return out, nil
}

// vouched says in words who signed the statement in force, or refuses it. What
// no operator whom a list here names signed needs a root that the operator
// brought along; unseen says that it was so. A host's own key is no better there
// than one that nobody knows: whoever is root on the host signs with it.
func (a *approval) vouched(q *baseline.Request) (who string, unseen bool, err error) {
	st := q.Present
	pinned := slices.ContainsFunc(a.pins, func(p statement.Pin) bool { return p.Matches(st.Root) })
	if len(a.pins) > 0 && !pinned {
		want := string(a.pins[0])
		if n := len(a.pins); n > 1 {
			want = fmt.Sprintf("one of %d others", n)
		}
		return "", false, fmt.Errorf("%w: the root in force is %s, and --expect-root says %s", errUnexpected, st.Root.Named(), want)
	}
	by, err := a.trust.Judge(st, q.Signature)
	switch {
	case errors.Is(err, baseline.ErrSelfApproved), err == nil && by.Authority == statement.Host:
		who = "signed by the host's own key " + by.Fingerprint
		if by.Delegation != nil {
			who += " under a delegation of " + by.Delegator
		}
		if !pinned {
			return "", false, fmt.Errorf("%w: only the host's own key vouches for generation %d in force, and so does whoever is root there: give --expect-root with the root that init or the last accept printed, from a place that is not the host", baseline.ErrUntrusted, st.Generation)
		}
	case err == nil && by.Authority == statement.Operator:
		return "signed by " + by.Principal + " with " + by.Fingerprint, false, nil
	case err != nil && !errors.Is(err, seal.ErrSigner):
		return "", false, err
	default:
		who = "signed by " + by.Fingerprint + ", which nobody here knows"
		if !pinned {
			return "", false, fmt.Errorf("%w: the baseline in force is %s: give --trusted-signers, or --expect-root with a root that did not come from the host", baseline.ErrUntrusted, who)
		}
	}
	return who + "; its root is the one expected", true, nil
}

// whenOf is a statement's time for people.
func whenOf(st *statement.Statement) string { return st.Created.UTC().Format(time.RFC3339) }
