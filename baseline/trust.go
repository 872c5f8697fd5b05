package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"intact/baseline/seal"
	"intact/baseline/statement"
)

// Errors about who signed a statement. All but ErrUntrusted wrap it.
var (
	ErrUntrusted    = errors.New("baseline is not signed by whom it should be")
	ErrUnsigned     = fmt.Errorf("%w: it has no signature", ErrUntrusted)
	ErrSelfApproved = fmt.Errorf("%w: only the host's own key signed, and an operator is named", ErrUntrusted)
)

// HostPrincipal is how lists of signers name a host's own keys. Every other
// principal is an operator.
func HostPrincipal(hostID string) string { return hostPrefix + hostID }

const hostPrefix = "host:"

// Trust says whose signature a statement needs. If Operators names somebody who
// is no host for statements, only they approve; else the host's own key does.
type Trust struct {
	Host      *seal.Signers // the host's own keys under its HostPrincipal; nil: not known here
	Operators *seal.Signers // nil: there is no such list
}

// Governed reports whether an operator is named, for statements or for lists of
// them.
func (t *Trust) Governed() bool { return t != nil && len(t.OperatorNames()) > 0 }

// OperatorNames returns the patterns of those who may approve.
func (t *Trust) OperatorNames() (names []string) {
	if t.Operators == nil {
		return nil
	}
	for _, ns := range []string{statement.Namespace, AcceptNamespace} {
		for _, p := range t.Operators.Principals(ns) {
			if IsOperator(p) && !slices.Contains(names, p) {
				names = append(names, p)
			}
		}
	}
	return names
}

// IsOperator reports whether a pattern of a list names somebody who is no host.
// A pattern that excludes names nobody.
func IsOperator(principal string) bool {
	return !strings.HasPrefix(principal, hostPrefix) && !strings.HasPrefix(principal, "!")
}

// Signed is who signed a statement, as far as is known.
type Signed struct {
	Fingerprint string
	Principal   string              // "" where no list names the key
	Authority   statement.Authority // None where no list names the key

	// Delegation is what Delegator, an operator, allowed the host that signed; nil
	// where it signed by its own right, or no operator's list is there to tell.
	Delegation *Delegation
	Delegator  string
}

// Judge verifies the signature of a statement. It is judged at the time that
// the statement gives itself, so that a key that has expired since does no
// harm; a revoked key never counts. Without any list it only says which key
// signed. Signed is set along with ErrSelfApproved. An operator may have signed a
// list of statements in its place: see approval.go. A host's own key may sign
// under an operator's delegation, see delegation.go: whether all that it accepted
// is covered, the statement alone does not tell.
func (t *Trust) Judge(st *statement.Statement, armor []byte) (Signed, error) {
	if len(armor) == 0 {
		return Signed{}, ErrUnsigned
	}
	d, armor, err := cutDelegation(st, armor)
	if err != nil {
		return Signed{}, err
	}
	e, err := endorsementOf(st, armor)
	if err != nil {
		return Signed{}, err
	}
	key, err := seal.Check(e.reader(), e.armor, e.namespace)
	if err != nil {
		return Signed{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	by := Signed{Fingerprint: key.Fingerprint, Authority: statement.None}
	if st.Signer != by.Fingerprint {
		return by, fmt.Errorf("%w: %s signed it, and it names %q", ErrUntrusted, by.Fingerprint, st.Signer)
	}
	if t.Host == nil && t.Operators == nil {
		return by, nil
	}
	err = seal.ErrSigner
	if t.Operators != nil {
		by.Principal, err = e.verified(t.Operators, seal.Want{At: st.Created})
	}
	if err == nil {
		// A reader may know a host's key under any name.
		by.Authority = st.Authority
		if under, err := t.delegated(st, by, d); err == nil {
			by = under
		} // else the reader trusts the key by itself
		return by, nil
	}
	for _, list := range []*seal.Signers{t.Host, t.Operators} {
		if list == nil {
			continue
		}
		p, hostErr := e.verified(list, seal.Want{Principal: HostPrincipal(st.HostID), At: st.Created})
		if hostErr == nil {
			by.Principal, by.Authority = p, statement.Host
			switch {
			case st.Authority != statement.Host:
				return by, fmt.Errorf("%w: it says authority %s, and the key is the host's own", ErrUntrusted, st.Authority)
			case t.Governed() && d == nil:
				return by, ErrSelfApproved
			}
			return t.delegated(st, by, d)
		}
		if errors.Is(err, seal.ErrSigner) {
			err = hostErr
		}
	}
	return by, fmt.Errorf("%w: %w", ErrUntrusted, err)
}

// delegated judges the delegation beside a statement that was signed as it says.
// Where nobody governs, the host needs none.
func (t *Trust) delegated(st *statement.Statement, by Signed, d *Delegation) (Signed, error) {
	if d == nil || !t.Governed() {
		return by, nil
	}
	who, err := t.underDelegation(st, d)
	if err != nil {
		return by, fmt.Errorf("%w: %w", ErrSelfApproved, err)
	}
	by.Delegation, by.Delegator = d, who
	return by, nil
}

// maxSignature bounds the file of a signature, in bytes, with the list that it
// may be of, or the delegation before it.
const maxSignature = maxList + seal.MaxArmor

// readSignature returns the signature of a statement, nil where there is none.
func (s *Store) readSignature(gen uint64) ([]byte, error) {
	name := s.signaturePath(gen)
	b, err := readSmall(name, maxSignature)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("read signature %q: %w", name, cause(err))
	case err != nil:
		return nil, fmt.Errorf("read signature %q: %w: %w", name, ErrDamaged, cause(err))
	}
	return b, nil
}

// judge verifies a statement that was read. A store without Trust takes all.
func (s *Store) judge(st *statement.Statement) (armor []byte, by Signed, err error) {
	if s.Trust == nil {
		return nil, by, nil
	}
	if armor, err = s.readSignature(st.Generation); err == nil {
		by, err = s.Trust.Judge(st, armor)
	}
	if err != nil {
		err = fmt.Errorf("generation %d: %w", st.Generation, err)
	}
	return armor, by, err
}

// sign makes the signature of a new statement and judges it as a reader would.
func (s *Store) sign(st *statement.Statement) ([]byte, error) {
	if s.Signer == nil {
		return nil, nil
	}
	armor, err := s.Signer.Sign(statement.Namespace, bytes.NewReader(st.Text()))
	if err != nil {
		return nil, fmt.Errorf("sign generation %d: %w", st.Generation, err)
	}
	if s.Under != nil {
		armor = append(s.Under.Bytes(), armor...)
	}
	if s.Trust != nil {
		if _, err := s.Trust.Judge(st, armor); err != nil {
			return nil, fmt.Errorf("sign generation %d: %w", st.Generation, err)
		}
	}
	return armor, nil
}
