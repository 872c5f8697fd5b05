package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/scanner/digest"
)

// An approval is a text: a line with the version, the statement, its signature.
//
//	intact.approval/1
//	format: intact.statement/2
//	…
//	digest: blake3:…
//	-----BEGIN SSH SIGNATURE-----
//	…
//
// The signature is one of the statement in the namespace statement.Namespace, or
// of a list that names it in AcceptNamespace. The list stands before the
// signature then, here as in the file of the statement's signature:
//
//	intact.accept/1
//	blake3:…             digests of statements, each once, ascending
//
// There is one spelling of each.
const (
	approvalMagic = "intact.approval/1\n"
	listMagic     = "intact.accept/1\n"

	maxList = 1 << 20 // bytes of a list, some 14,000 hosts
)

// AcceptNamespace is what a signature of a list of statements is made for.
const AcceptNamespace = "intact-accept@v1"

// MaxApproval bounds an approval, in bytes.
const MaxApproval = int64(len(approvalMagic)) + statement.MaxSize + maxSignature

// MaxApproved is how many statements one signature can cover.
const MaxApproved = (maxList - len(listMagic)) / listLine

// listLine is the length of a digest's line.
const listLine = len("blake3:") + 2*digest.Size + 1

// ErrApproval is wrapped by what is wrong with an approval besides its
// signature.
var ErrApproval = errors.New("the approval cannot be applied")

// Approval is a statement that an operator signed elsewhere.
type Approval struct {
	Statement *statement.Statement
	Signature []byte // as it stands beside a statement: armored, behind the list if it is of one
}

// Text returns the one spelling of a.
func (a *Approval) Text() []byte {
	return slices.Concat([]byte(approvalMagic), a.Statement.Text(), a.Signature)
}

// ParseApproval reads what Text wrote. The signature is not judged. Errors wrap
// ErrApproval.
func ParseApproval(text []byte) (*Approval, error) {
	rest, ok := bytes.CutPrefix(text, []byte(approvalMagic))
	if !ok || int64(len(text)) > MaxApproval {
		return nil, fmt.Errorf("%w: it is no approval of a version that is known here", ErrApproval)
	}
	// No other line of a statement begins so: all values are on the line of their key.
	at := bytes.Index(rest, []byte("\ndigest: "))
	end := -1
	if at >= 0 {
		end = bytes.IndexByte(rest[at+1:], '\n')
	}
	if end < 0 {
		return nil, fmt.Errorf("%w: it holds no statement", ErrApproval)
	}
	end += at + 2
	st, err := statement.Parse(rest[:end])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrApproval, err)
	}
	return &Approval{st, bytes.Clone(rest[end:])}, nil
}

// ListText returns the list of statements that one signature covers, at most
// MaxApproved.
func ListText(list []digest.Digest) []byte {
	names := make([]string, 0, len(list))
	for _, d := range list {
		names = append(names, d.Named()+"\n")
	}
	slices.Sort(names)
	return []byte(listMagic + strings.Join(slices.Compact(names), ""))
}

// endorsement is what a signature beside a statement is of.
type endorsement struct {
	message   []byte
	armor     []byte
	namespace string
}

// endorsementOf reads the signature beside st. A list must be in its one
// spelling and name st. Errors wrap ErrUntrusted.
func endorsementOf(st *statement.Statement, signature []byte) (e endorsement, err error) {
	if !bytes.HasPrefix(signature, []byte(listMagic)) {
		return endorsement{st.Text(), signature, statement.Namespace}, nil
	}
	bad := func(what string) (endorsement, error) {
		return e, fmt.Errorf("%w: the list of statements %s", ErrUntrusted, what)
	}
	end := bytes.Index(signature, []byte("\n-")) + 1
	if end < len(listMagic) || end > maxList {
		return bad("has no signature")
	}
	e = endorsement{signature[:end], signature[end:], AcceptNamespace}
	var names []string
	for line := range strings.Lines(string(e.message[len(listMagic):])) {
		name := strings.TrimSuffix(line, "\n")
		if d, err := digest.Parse(name); err != nil || d.Named() != name {
			return bad("is malformed")
		}
		names = append(names, name)
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		return bad("is not in order")
	}
	if st.Authority != statement.Operator {
		return bad("is none of an operator")
	}
	if _, ok := slices.BinarySearch(names, st.Digest().Named()); !ok {
		return bad("does not name this one")
	}
	return e, nil
}

func (e *endorsement) reader() io.Reader { return bytes.NewReader(e.message) }

// verified returns the principal of list that signed: the wanted one, or with ""
// an operator. The namespace is that of e; no time means now.
func (e *endorsement) verified(list *seal.Signers, want seal.Want) (string, error) {
	want.Namespace = e.namespace
	if want.At.IsZero() {
		want.At = time.Now()
	}
	id, err := list.Verify(e.reader(), e.armor, want)
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(id.Principals, func(p string) bool { return want.Principal != "" || IsOperator(p) }); i >= 0 {
		return id.Principals[i], nil
	}
	return "", fmt.Errorf("%w: the key is of %q", seal.ErrPrincipal, id.Principals)
}
