package baseline

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/scanner/digest"
)

const delegatedHost = "0123456789abcdef0123456789abcdef"

var delegatedOn = time.Date(2026, 11, 27, 8, 30, 0, 0, time.UTC)

func (k keyring) delegation(s seal.Signer, edit func(*Delegation)) *Delegation {
	k.t.Helper()
	d := &Delegation{Created: delegatedOn, Until: delegatedOn.Add(90 * 24 * time.Hour), Hosts: []string{delegatedHost}, Packages: []string{"lib*", "openssl"},
		Suites: []string{"stable-security"}, Operator: "ann\x1b", Signer: s.Key().Fingerprint, Reason: "security\nupdates"}
	if edit != nil {
		edit(d)
	}
	k.resign(d, s, DelegationNamespace)
	return d
}

func (k keyring) resign(d *Delegation, s seal.Signer, namespace string) {
	k.t.Helper()
	var err error
	if d.Armor, err = s.Sign(namespace, bytes.NewReader(d.Text())); err != nil {
		k.t.Fatal(err)
	}
}

func TestDelegationRoundTrip(t *testing.T) {
	k := keyring{t}
	d := k.delegation(k.key(), nil)
	got, err := ParseDelegation(d.Bytes())
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Fatalf("%v: %+v", err, got)
	}
	good := d.Bytes()
	for i := range len(d.Text()) {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if x, err := ParseDelegation(bad); err != nil && !errors.Is(err, ErrDelegation) || err == nil && x.Digest() == d.Digest() {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	for i := range good {
		if _, err := ParseDelegation(good[:i]); !errors.Is(err, ErrDelegation) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := ParseDelegation(append(good, '\n')); !errors.Is(err, ErrDelegation) {
		t.Error("text behind it is taken")
	}
}

func TestDelegationSound(t *testing.T) {
	k := keyring{t}
	key := k.key()
	for name, edit := range map[string]func(*Delegation){
		"no-host":       func(d *Delegation) { d.Hosts = []string{""} },
		"a-host-twice":  func(d *Delegation) { d.Hosts = []string{delegatedHost, delegatedHost} },
		"any-host":      func(d *Delegation) { d.Hosts = []string{"*"} },
		"bad-pattern":   func(d *Delegation) { d.Packages = []string{"lib["} },
		"blank":         func(d *Delegation) { d.Packages = []string{"a b"} },
		"control":       func(d *Delegation) { d.Packages = []string{"a\nsuites: x"} },
		"out-of-order":  func(d *Delegation) { d.Packages = []string{"b", "a"} },
		"no-suite":      func(d *Delegation) { d.Suites = nil },
		"suite-pattern": func(d *Delegation) { d.Suites = []string{"*"} },
		"no-end":        func(d *Delegation) { d.Until = d.Created },
		"before-it":     func(d *Delegation) { d.Until = d.Created.Add(-time.Hour) },
		"too-long":      func(d *Delegation) { d.Until = d.Created.Add(MaxDelegation + time.Second) },
		"no-signer":     func(d *Delegation) { d.Signer = "" },
		"long-reason":   func(d *Delegation) { d.Reason = strings.Repeat("x", MaxReason+1) },
		"many": func(d *Delegation) {
			d.Packages = nil
			for i := range maxDelegated + 1 {
				d.Packages = append(d.Packages, strings.Repeat("a", 3)+string(rune('a'+i/26/26%26))+string(rune('a'+i/26%26))+string(rune('a'+i%26)))
			}
		},
	} {
		d := k.delegation(key, edit)
		if _, err := ParseDelegation(d.Bytes()); d.Sound() == nil || !errors.Is(err, ErrDelegation) && name != "blank" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseDelegation(k.delegation(key, func(d *Delegation) { d.Until = d.Created.Add(MaxDelegation) }).Bytes()); err != nil {
		t.Error(err)
	}
}

func TestDelegationCovers(t *testing.T) {
	d := &Delegation{Packages: []string{"lib*", "openssl"}, Suites: []string{"forky", "stable-security"}}
	for _, tt := range []struct {
		name  string
		suite [2]string
		want  bool
	}{
		{"openssl", [2]string{"stable-security", ""}, true},
		{"libssl3", [2]string{"stable", "forky"}, true},
		{"openssl-client", [2]string{"stable-security", ""}, false},
		{"openssl", [2]string{"stable", "trixie"}, false},
		{"openssl", [2]string{"", ""}, false},
		{"", [2]string{"stable-security", ""}, false},
	} {
		if got := d.Covers(tt.name, tt.suite[:]...); got != tt.want {
			t.Errorf("%s of %q: %v", tt.name, tt.suite, got)
		}
	}
}

// A host's own key counts where an operator governs only under her word, for this
// host, at that time, and not to begin with.
func TestJudgeDelegated(t *testing.T) {
	k := keyring{t}
	host, ann, eve := k.key(), k.key(), k.key()
	const baselines = `namespaces="intact-baseline@v1"`
	const delegates = `namespaces="intact-baseline@v1,intact-delegate@v1"`
	own := k.list(HostPrincipal(delegatedHost), baselines, host)
	governed := &Trust{Host: own, Operators: k.list("ann@example", delegates, ann)}
	type caseOf struct {
		trust  *Trust
		d      *Delegation
		st     *statement.Statement
		beside []byte // of the statement; nil: that of d
		by     seal.Signer
	}
	for _, tt := range []struct {
		name string
		edit func(*caseOf)
		want error // nil: counts, by ann
	}{
		{"ordinary", func(*caseOf) {}, nil},
		{"last-moment", func(c *caseOf) { c.st.Created = c.d.Until }, nil},
		{"too-late", func(c *caseOf) { c.st.Created = c.d.Until.Add(time.Second) }, ErrSelfApproved},
		{"too-early", func(c *caseOf) { c.st.Created = c.d.Created.Add(-time.Second) }, ErrSelfApproved},
		{"other-host", func(c *caseOf) {
			c.d = k.delegation(ann, func(d *Delegation) { d.Hosts = []string{strings.Repeat("f", 32)} })
		}, ErrSelfApproved},
		{"beginning", func(c *caseOf) { c.st.Generation = 1 }, ErrSelfApproved},
		{"starts-over", func(c *caseOf) { c.st.Restart = true }, ErrSelfApproved},
		{"by-nobody-known", func(c *caseOf) { c.d = k.delegation(eve, nil) }, seal.ErrSigner},
		{"by-the-host", func(c *caseOf) { c.d = k.delegation(host, nil) }, ErrSelfApproved},
		{"by-the-host-under-a-name", func(c *caseOf) {
			c.trust = &Trust{Host: own, Operators: k.lists("ann@example "+delegates+" "+ann.Key().Line, "web1 namespaces=\"intact-delegate@v1\" "+host.Key().Line)}
			c.d = k.delegation(host, nil)
		}, ErrSelfApproved},
		{"names-another-signer", func(c *caseOf) {
			c.d = k.delegation(ann, func(d *Delegation) { d.Signer = eve.Key().Fingerprint })
		}, ErrSelfApproved},
		{"in-another-namespace", func(c *caseOf) { k.resign(c.d, ann, AcceptNamespace) }, seal.ErrNamespace},
		{"may-not-delegate", func(c *caseOf) {
			c.trust = &Trust{Host: own, Operators: k.list("ann@example", baselines, ann)}
		}, seal.ErrScope},
		{"not-valid-yet", func(c *caseOf) {
			c.trust = &Trust{Host: own, Operators: k.list("ann@example", `valid-after="20270101Z"`, ann)}
		}, seal.ErrNotYet},
		{"tampered", func(c *caseOf) {
			c.beside = bytes.Replace(c.d.Bytes(), []byte("openssl"), []byte("opensst"), 1)
		}, ErrUntrusted},
		{"another-one-beside", func(c *caseOf) { c.beside = k.delegation(ann, func(d *Delegation) { d.Reason = "x" }).Bytes() }, ErrUntrusted},
		{"none-beside", func(c *caseOf) { c.beside = []byte{} }, ErrUntrusted},
		{"says-operator", func(c *caseOf) { c.st.Authority, c.by = statement.Operator, ann }, ErrUntrusted},
		{"signed-by-another", func(c *caseOf) { c.by = eve }, seal.ErrSigner},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &caseOf{trust: governed, d: k.delegation(ann, nil), by: host, st: &statement.Statement{HostID: delegatedHost, Generation: 2, Previous: digest.Sum(nil),
				Note: statement.Note{Created: delegatedOn.Add(time.Hour), Authority: statement.Host}}}
			tt.edit(c)
			c.st.Delegation = c.d.Digest()
			if c.beside == nil {
				c.beside = c.d.Bytes()
			}
			armor := append(c.beside, k.sign(c.st, c.by, statement.Namespace)...)
			by, err := c.trust.Judge(c.st, armor)
			if !errors.Is(err, tt.want) || err != nil && !errors.Is(err, ErrUntrusted) {
				t.Fatalf("%+v, %v", by, err)
			}
			if (by.Delegator == "ann@example" && by.Delegation != nil && by.Authority == statement.Host) != (tt.want == nil) {
				t.Errorf("by %+v", by)
			}
		})
	}
	t.Run("named-nowhere", func(t *testing.T) {
		st := &statement.Statement{HostID: delegatedHost, Generation: 2, Note: statement.Note{Created: delegatedOn, Authority: statement.Host}}
		armor := append(k.delegation(ann, nil).Bytes(), k.sign(st, host, statement.Namespace)...)
		if _, err := governed.Judge(st, armor); !errors.Is(err, ErrUntrusted) {
			t.Error(err)
		}
	})
	t.Run("now", func(t *testing.T) {
		d := k.delegation(ann, nil)
		expired := &Trust{Operators: k.list("ann@example", `valid-before="20261201Z"`, ann)}
		for _, tt := range []struct {
			trust *Trust
			host  string
			at    time.Time
			want  error
		}{
			{governed, delegatedHost, delegatedOn.Add(time.Hour), nil}, {governed, delegatedHost, d.Until.Add(time.Second), ErrDelegation},
			{governed, strings.Repeat("f", 32), delegatedOn.Add(time.Hour), ErrDelegation}, {expired, delegatedHost, delegatedOn.Add(time.Hour), nil},
			{expired, delegatedHost, delegatedOn.Add(20 * 24 * time.Hour), seal.ErrExpired}, {&Trust{}, delegatedHost, delegatedOn, ErrDelegation},
		} {
			if _, err := tt.trust.Delegated(d, tt.host, tt.at); !errors.Is(err, tt.want) {
				t.Errorf("%v at %v: %v", tt.host, tt.at, err)
			}
		}
	})
}

func (k keyring) lists(lines ...string) *seal.Signers {
	k.t.Helper()
	l, err := seal.ParseSigners("list", []byte(strings.Join(lines, "\n")+"\n"))
	if err != nil {
		k.t.Fatal(err)
	}
	return l
}

// What a host signed under a delegation is no operator's word for what it had
// approved itself before.
func TestDelegationSettlesNothing(t *testing.T) {
	st := &statement.Statement{Generation: 1}
	own := Info{Statement: st, Err: ErrSelfApproved}
	next := Info{Statement: &statement.Statement{Generation: 2}, Signed: Signed{Authority: statement.Host, Delegation: &Delegation{}}}
	list := []Info{own, next}
	if settled(list); list[0].Err == nil {
		t.Error("settled by a delegation")
	}
	next.Signed = Signed{Authority: statement.Operator}
	list = slices.Concat([]Info{own}, []Info{next})
	if settled(list); list[0].Err != nil {
		t.Error("not settled by an operator")
	}
}

func FuzzParseDelegation(f *testing.F) {
	k := keyring{f}
	d := k.delegation(k.key(), nil)
	f.Add(d.Bytes())
	f.Add(d.Text())
	f.Add([]byte("format: intact.delegation/1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDelegation(b)
		if err == nil && (!bytes.Equal(d.Bytes(), b) || d.Sound() != nil) {
			t.Error("another spelling, or a bad one, is taken")
		}
	})
}
