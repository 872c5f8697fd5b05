package baseline

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"intact/baseline/seal"
	"intact/baseline/statement"
)

// keyring makes keys and lists of signers.
type keyring struct{ t testing.TB }

func (k keyring) key() seal.Signer {
	k.t.Helper()
	name := filepath.Join(k.t.TempDir(), "key")
	if _, err := seal.Generate(name, "test"); err != nil {
		k.t.Fatal(err)
	}
	s, err := seal.OpenKey(name, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}

func (k keyring) list(principal, options string, s seal.Signer) *seal.Signers {
	k.t.Helper()
	l, err := seal.ParseSigners("list", []byte(principal+" "+options+" "+s.Key().Line+"\n"))
	if err != nil {
		k.t.Fatal(err)
	}
	return l
}

func (k keyring) sign(st *statement.Statement, s seal.Signer, namespace string) []byte {
	k.t.Helper()
	st.Signer = s.Key().Fingerprint
	b, err := s.Sign(namespace, bytes.NewReader(st.Text()))
	if err != nil {
		k.t.Fatal(err)
	}
	return b
}

func TestJudge(t *testing.T) {
	k := keyring{t}
	host, operator, other := k.key(), k.key(), k.key()
	id := HostPrincipal("0123456789abcdef0123456789abcdef")
	st := func() *statement.Statement {
		return &statement.Statement{HostID: "0123456789abcdef0123456789abcdef", Generation: 1, Note: statement.Note{Created: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}}
	}
	const baselines = `namespaces="intact-baseline@v1"`
	own, ops := k.list(id, baselines, host), k.list("ann@example", baselines, operator)
	alone, governed := &Trust{Host: own}, &Trust{Host: own, Operators: ops}
	tests := []struct {
		name  string
		trust *Trust
		key   seal.Signer // nil: not signed
		ns    string
		want  error
		by    statement.Authority
	}{
		{"host-alone", alone, host, statement.Namespace, nil, statement.Host},
		{"other-alone", alone, other, statement.Namespace, seal.ErrSigner, statement.None},
		{"unsigned", alone, nil, "", ErrUnsigned, ""},
		{"another-namespace", alone, host, "intact-report@v1", seal.ErrNamespace, ""},
		{"operator-where-governed", governed, operator, statement.Namespace, nil, statement.Operator},
		{"host-where-governed", governed, host, statement.Namespace, ErrSelfApproved, statement.Host},
		{"other-where-governed", governed, other, statement.Namespace, seal.ErrSigner, statement.None},
		{"operators-who-sign-something-else", &Trust{Host: own, Operators: k.list("ann", `namespaces="git"`, operator)}, host, statement.Namespace, nil, statement.Host},
		{"not-an-operator-of-baselines", &Trust{Host: own, Operators: k.list("ann", `namespaces="git"`, operator)}, operator, statement.Namespace, seal.ErrScope, statement.None},
		{"expired-since", &Trust{Operators: k.list("ann", `valid-before="20260103Z"`, operator)}, operator, statement.Namespace, nil, statement.Operator},
		{"expired-before", &Trust{Operators: k.list("ann", `valid-before="20260101Z"`, operator)}, operator, statement.Namespace, seal.ErrExpired, statement.None},
		{"another-hosts-key", &Trust{Operators: k.list("host:ffffffffffffffffffffffffffffffff", baselines, other)}, other, statement.Namespace, seal.ErrPrincipal, statement.None},
		{"host-in-a-responders-list", &Trust{Operators: k.list(id, baselines, host)}, host, statement.Namespace, nil, statement.Host},
		{"host-under-another-name", &Trust{Operators: k.list("web1", baselines, host)}, host, statement.Namespace, nil, statement.Host},
		{"no-list", &Trust{}, other, statement.Namespace, nil, statement.None},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := st()
			s.Authority = statement.Operator
			if tt.key == host || strings.HasPrefix(tt.name, "other-alone") {
				s.Authority = statement.Host
			}
			var armor []byte
			if tt.key != nil {
				armor = k.sign(s, tt.key, tt.ns)
			}
			by, err := tt.trust.Judge(s, armor)
			if !errors.Is(err, tt.want) || err != nil && !errors.Is(err, ErrUntrusted) || by.Authority != tt.by {
				t.Errorf("%+v, %v", by, err)
			}
		})
	}
	t.Run("of-another-text", func(t *testing.T) {
		s := st()
		s.Authority = statement.Host
		armor := k.sign(s, host, statement.Namespace)
		s.Entries++
		if _, err := alone.Judge(s, armor); !errors.Is(err, seal.ErrSignature) {
			t.Error(err)
		}
	})
	t.Run("says-operator", func(t *testing.T) {
		s := st()
		s.Authority = statement.Operator
		if _, err := alone.Judge(s, k.sign(s, host, statement.Namespace)); !errors.Is(err, ErrUntrusted) {
			t.Error(err)
		}
	})
	t.Run("names-another-signer", func(t *testing.T) {
		s := st()
		s.Signer = other.Key().Fingerprint
		armor, err := host.Sign(statement.Namespace, bytes.NewReader(s.Text()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alone.Judge(s, armor); !errors.Is(err, ErrUntrusted) {
			t.Error(err)
		}
	})
}

// A store with Trust signs what it writes and opens only what is signed so.
func TestSignedStore(t *testing.T) {
	k := keyring{t}
	key, other := k.key(), k.key()
	s := newStore(t)
	id, err := s.HostID()
	if err != nil {
		t.Fatal(err)
	}
	s.Signer, s.Trust = key, &Trust{Host: k.list(HostPrincipal(id), "", key)}
	if _, err := tryCommit(s); err != nil {
		t.Fatal(err)
	}
	g := open(t, s)
	if by := g.Signed(); by.Authority != statement.Host || by.Fingerprint != key.Key().Fingerprint || g.Statement().Signer != by.Fingerprint {
		t.Errorf("%+v", by)
	}
	var text bytes.Buffer
	if err := g.Export(context.Background(), &text); err != nil {
		t.Fatal(err)
	}
	x, err := ReadExport(context.Background(), bytes.NewReader(text.Bytes()), ExportSink{})
	if err != nil || !bytes.Equal(x.Signature, g.Signature()) {
		t.Errorf("export: %q, %v", x.Signature, err)
	}
	if _, err := s.Trust.Judge(x.Statement, x.Signature); err != nil {
		t.Error(err)
	}
	name := s.signaturePath(1)
	good := slurp(t, name)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 7)
		rewrite(t, name, bad)
		if _, err := s.Open(context.Background(), 0); !errors.Is(err, ErrUntrusted) {
			t.Fatalf("byte %d of the signature: %v", i, err)
		}
	}
	rewrite(t, name, good)
	// Nothing follows what is not trusted, and nothing that would not be is written.
	s.Signer = other
	if _, err := tryCommit(s); !errors.Is(err, seal.ErrSigner) {
		t.Errorf("signed by a stranger: %v", err)
	}
	if n, _ := s.Latest(); n != 1 {
		t.Errorf("generation %d was written", n)
	}
	s.Signer = broken{key}
	if _, err := tryCommit(s); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a signer that fails: %v", err)
	}
	s.Signer = key
	if st, err := tryCommit(s); err != nil || st.Generation != 2 {
		t.Errorf("%v, %v", st, err)
	}
	infos, err := s.List()
	if err != nil || len(infos) != 2 || infos[0].Err != nil || infos[1].Signed.Authority != statement.Host {
		t.Errorf("%+v, %v", infos, err)
	}
}

type broken struct{ seal.Signer }

func (broken) Sign(string, io.Reader) ([]byte, error) { return nil, io.ErrClosedPipe }

func tryCommit(s *Store) (*statement.Statement, error) {
	b, err := s.NewBuilder(1, testSets, testPolicy)
	if err != nil {
		return nil, err
	}
	defer b.Abort()
	note := testNote
	note.Authority = statement.Host
	return b.Commit(context.Background(), note)
}

// What signing and verifying cost of a generation of 1,000,000 entries, beyond
// the digest of its root and of its file, which opening it is.
func BenchmarkTrust(b *testing.B) {
	const n = 1_000_000
	k, s := keyring{b}, newStore(b)
	w, err := s.NewBuilder(1, testSets, testPolicy)
	if err != nil {
		b.Fatal(err)
	}
	for blk := range synthetic(n) {
		if err := w.Dir(0, blk); err != nil {
			b.Fatal(err)
		}
	}
	host, err := s.HostID()
	if err != nil {
		b.Fatal(err)
	}
	s.Signer = k.key()
	s.Trust = &Trust{Host: k.list(HostPrincipal(host), `namespaces="intact-baseline@v1"`, s.Signer)}
	note := testNote
	note.Authority = statement.Host
	st, err := w.Commit(context.Background(), note)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("sign", func(b *testing.B) { // and verify, as a reader would
		for b.Loop() {
			if _, err := s.sign(st); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := s.judge(st); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			g, err := s.Open(context.Background(), 0)
			if err != nil {
				b.Fatal(err)
			}
			g.Close()
		}
	})
}
