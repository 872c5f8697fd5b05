package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/baseline/diff"
	"intact/report"
	"intact/rules"
	"intact/rules/drift"
	"intact/rules/facts/firewall"
	"intact/rules/facts/kernel"
	"intact/rules/facts/preload"
	"intact/rules/facts/sockets"
	"intact/rules/facts/units"
	"intact/scanner/digest"
)

const (
	// rowFact is the kind of the rows about what a host has besides files. Key:
	// the kind of fact, a blank, and what tells it from others of its kind; behind
	// it "#" and a number where that does not. Value: what is compared, as words.
	rowFact = "fact"
	// rowFacts says how reading a kind of fact went. Key: the kind; value: words,
	// status=… and of users secret=…, which names the key of their digests.
	rowFacts = "facts"
)

// driftKind is a kind of row and the fact that it is made of.
type driftKind struct{ name, fact string }

// driftKinds are sorted by name.
func driftKinds() []driftKind {
	return []driftKind{
		{"anchor", "tls.anchors"}, {"boot", "kernel.boot"}, {"cron", "units.cron"}, {"firewall", "firewall.chains"}, {"group", "accounts.groups"}, {"key", "accounts.keys"},
		{"listener", "net.listeners"}, {"member", "accounts.members"}, {"module", "kernel.modules"}, {"pam", "pam.entries"}, {"preload", "preload.entries"},
		{"repository", "updates.repositories"}, {"signing-key", "updates.signing_keys"}, {"sshd", "sshd.settings"}, {"sudo", "accounts.sudo"},
		{"sudo-setting", "accounts.sudo_settings"}, {"sysctl", "kernel.sysctl"}, {"unit", "units.units"}, {"user", "accounts.users"},
	}
}

// drifting is a row of a fact that is compared with the baseline.
type drifting interface {
	Key() string      // tells it from others of its kind
	Compared() string // name="value" words
}

// kindRows is what is known of one kind now, or was.
type kindRows struct {
	rows   map[string][]byte // value by the key of the row
	status rules.Status
	reason string
	secret string // names the key of digests
}

// known reports whether these are all rows that there are. Absent is a host
// without the thing: it has no rows.
func (k *kindRows) known() bool { return k.status == rules.OK || k.status == rules.Absent }

// value is that of the row that says how reading went.
func (k *kindRows) value() []byte {
	v := "status=" + string(k.status)
	if k.secret != "" {
		v += " secret=" + k.secret
	}
	return []byte(v)
}

// passing reports whether a thing comes and goes without anybody having changed
// the host.
func passing(r drifting) bool {
	switch r := r.(type) {
	case units.Unit:
		return r.Transient
	case kernel.Module:
		return r.Plain()
	case firewall.Chain:
		return r.Container
	}
	return false
}

// readKind collects a kind.
func readKind(ctx context.Context, h *hostFacts, d driftKind) *kindRows {
	f := h.Fact(ctx, d.fact)
	k := &kindRows{rows: map[string][]byte{}, status: f.Status, reason: f.Reason}
	list := reflect.ValueOf(f.Rows)
	if list.Kind() != reflect.Slice {
		return k
	}
	type row struct{ key, value string }
	var rows []row
	switch l := f.Rows.(type) {
	case []preload.Entry:
		list = reflect.ValueOf(preload.Drift(l))
	case []sockets.Listener:
		list = reflect.ValueOf(sockets.Drift(l))
	}
	for i := range list.Len() {
		r, ok := list.Index(i).Interface().(drifting)
		if !ok {
			k.status, k.reason = rules.Failed, "internal error: rows of "+d.fact+" cannot be compared"
			break
		}
		if passing(r) {
			continue
		}
		rows = append(rows, row{drift.ShortKey(d.name + " " + r.Key()), drift.ShortValue(r.Compared())})
	}
	slices.SortFunc(rows, func(a, b row) int {
		if c := strings.Compare(a.key, b.key); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	same, n := "", 1 // of 100,000 equal ones none looks for its number from the start
	for _, r := range rows {
		if r.key != same {
			same, n = r.key, 1
		}
		key := r.key
		for ; k.rows[key] != nil; key = fmt.Sprintf("%s#%d", r.key, n) {
			n++
		}
		k.rows[key] = []byte(r.value)
	}
	if d.name == "user" && h.secret != nil && len(k.rows) > 0 {
		k.secret = digest.Sum(append([]byte("intact password digests\n"), h.secret...)).String()[:16]
	}
	return k
}

// factRows are the rows of a new baseline. Another policy accepts no change of
// what from, the generation that is adopted, knows; a kind that it does not know
// is learned.
func (s *session) factRows(ctx context.Context, h *hostFacts, from *baseline.Generation) (rows []diff.Row, err error) {
	old := map[string]*kindRows{}
	if from != nil {
		if old, err = factsOf(from); err != nil {
			return nil, err
		}
	}
	for _, d := range driftKinds() {
		k := old[d.name]
		if k == nil || !k.known() {
			k = readKind(ctx, h, d)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if !k.known() && k.status != rules.Offline {
				s.remark(fmt.Sprintf("this baseline does not know all of the kind %s, and no check will tell of theirs: %s", d.name, report.Prose(whyUnknown(k))))
			}
		}
		rows = append(rows, diff.Row{Kind: rowFacts, Key: []byte(d.name), Value: k.value()})
		if !k.known() {
			continue
		}
		for key, value := range k.rows {
			rows = append(rows, diff.Row{Kind: rowFact, Key: []byte(key), Value: value})
		}
	}
	return rows, nil
}

func whyUnknown(k *kindRows) string {
	if k.reason == "" {
		return string(k.status)
	}
	return string(k.status) + ": " + k.reason
}

// factsOf reads what a generation knows, by kind. None: it is of before there
// were any.
func factsOf(g *baseline.Generation) (map[string]*kindRows, error) {
	heads, err := g.Rows(rowFacts)
	if err != nil || len(heads) == 0 {
		return nil, err
	}
	out := map[string]*kindRows{}
	for _, r := range heads {
		w := words(r.Value)
		out[string(r.Key)] = &kindRows{rows: map[string][]byte{}, status: rules.Status(w["status"]), secret: w["secret"]}
	}
	rows, err := g.Rows(rowFact)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		kind, _, _ := strings.Cut(string(r.Key), " ")
		k := out[kind]
		if k == nil {
			return nil, fmt.Errorf("%w: fact %q is of no kind that it has", baseline.ErrDamaged, r.Key)
		}
		k.rows[string(r.Key)] = r.Value
	}
	return out, nil
}

// secretFile holds the key of the digests that tell whether a password is
// another. It leaves the state folder in no way: with it passwords could be
// guessed from a baseline.
const secretFile = "secret"

const secretSize = 32

// secret reads the key of digests of passwords. Nil: there is none, or others
// than its owner could have read or made it.
func (s *session) secret() []byte {
	f, err := os.OpenFile(filepath.Join(s.store.Dir(), secretFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil || !i.Mode().IsRegular() || i.Mode().Perm()&0o077 != 0 || i.Size() != secretSize {
		return nil
	}
	if st, ok := i.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 && st.Uid != uint32(os.Geteuid()) {
		return nil
	}
	b := make([]byte, secretSize)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil
	}
	return b
}

// makeSecret is secret, and makes one where there is none that counts.
func (s *session) makeSecret() ([]byte, error) {
	if b := s.secret(); b != nil {
		return b, nil
	}
	b := make([]byte, secretSize)
	rand.Read(b) // never fails, crypto/rand
	if err := putFile(filepath.Join(s.store.Dir(), secretFile), b, 0o400); err != nil {
		return nil, fmt.Errorf("make the key of password digests: %w", err)
	}
	return b, nil
}
