package baseline

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"intact/baseline/diff"
	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// asking is a store with a tree, whose host asks to accept another.
type asking struct {
	*Store
	host, operator seal.Signer
	known          *Trust // the operator's: the host and herself
	request        []byte
}

func ask(t *testing.T, old, now tree) *asking {
	t.Helper()
	k := keyring{t}
	a := &asking{Store: newStore(t), host: k.key(), operator: k.key()}
	id, err := a.HostID()
	if err != nil {
		t.Fatal(err)
	}
	a.Signer, a.Trust = a.host, &Trust{Host: k.list(HostPrincipal(id), `namespaces="intact-baseline@v1"`, a.host)}
	a.known = &Trust{Host: a.Trust.Host, Operators: k.list("ann", "", a.operator)}
	note := testNote
	note.Authority = statement.Host
	b, err := a.NewBuilder(2, testSets, testPolicy)
	if err != nil {
		t.Fatal(err)
	}
	old.deliver(t, b, rand.New(rand.NewPCG(1, 2)))
	b.AddRow(diff.Row{Kind: "mount", Key: []byte("/"), Value: []byte("ext4\x00/dev/sda\x00/")})
	b.AddRow(diff.Row{Kind: "mount", Key: []byte("/mnt"), Value: []byte("ext4")})
	if _, err := b.Commit(context.Background(), note); err != nil {
		t.Fatal(err)
	}
	a.ask(t, now)
	return a
}

func (a *asking) ask(t *testing.T, now tree) {
	t.Helper()
	g := open(t, a.Store)
	m, _, _ := compare(t, g, now)
	rows := []diff.RowChange{{Kind: "mount", Key: []byte("/mnt"), Old: []byte("ext4"), New: []byte("xfs")}}
	p, err := g.Propose(context.Background(), a.Store, seqOf(m.list), rows, testNote)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var b bytes.Buffer
	if err := errors.Join(p.WriteRequest(context.Background(), &b), p.Stage()); err != nil {
		t.Fatal(err)
	}
	a.request = b.Bytes()
}

// seen reads a request and returns what it shows.
func seen(t *testing.T, b []byte) (*Request, []string, error) {
	t.Helper()
	m := &memSpool{}
	q, err := ReadRequest(context.Background(), bytes.NewReader(b), RequestSink{Change: func(c *diff.Change) error { return m.Add(0, c) }})
	return q, m.lines(), err
}

// approve signs what a request proposes, without looking.
func (a *asking) approve(t *testing.T, st *statement.Statement, list bool) *Approval {
	t.Helper()
	st.Approver, st.Signer, st.Reason = "ann", a.operator.Key().Fingerprint, "looked at it"
	text, ns := st.Text(), statement.Namespace
	var out []byte
	if list {
		text, ns = ListText([]digest.Digest{st.Digest(), digest.Sum([]byte("another host's"))}), AcceptNamespace
		out = text
	}
	armor, err := a.operator.Sign(ns, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	x, err := ParseApproval((&Approval{st, append(slices.Clone(out), armor...)}).Text())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestRequestOfRandomTrees: a request shows what a comparison found, and its
// approval brings the host to the root that a fresh scan gives.
func TestRequestOfRandomTrees(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	wide := func(n tree, from int) {
		n.dir("/w")
		for i := from; i < 3500; i++ {
			n.file(entry.Path(fmt.Sprintf("/w/n%05d", i)), i)
		}
	}
	for round := range 14 {
		old := tree{}
		old.dir("/")
		mutate(old, r, 40)
		if round%2 == 0 {
			wide(old, 0)
		}
		now := old.clone()
		mutate(now, r, 40)
		switch round % 10 {
		case 0: // all parts move
			now.file("/w/a", 1)
		case 2: // two parts move, the third is whole again, the last changes
			now.remove("/w/n00100")
			now.file("/w/n01500x", 3)
			now.file("/w/n03499", 77)
		case 4:
			now.remove("/w")
		case 6: // fewer parts
			for i := range 1500 {
				now.remove(entry.Path(fmt.Sprintf("/w/n%05d", i+700)))
			}
		case 8:
			now.file("/w/n02222", 5)
		case 1:
			wide(now, 1000)
		}
		a := ask(t, old, now)
		q, lines, err := seen(t, a.request)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		equalLines(t, lines, expect(old, now))
		if by, err := a.known.Judge(q.Present, q.Signature); !errors.Is(err, ErrSelfApproved) || by.Authority != statement.Host {
			t.Fatalf("%+v, %v", by, err)
		}
		a.Trust = a.known
		if _, err := a.Install(context.Background(), a.approve(t, q.Proposed, round%3 == 0)); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		g := open(t, a.Store)
		m, _, _ := compare(t, g, now)
		if g.Statement().Generation != 2 || g.Signed().Authority != statement.Operator || len(m.list) > 0 || a.Staged() {
			t.Fatalf("round %d: %+v %v", round, g.Statement(), m.lines())
		}
		// An accept on the host gives the same.
		local := ask(t, old, now)
		lg := open(t, local.Store)
		m, _, _ = compare(t, lg, now)
		note := testNote
		note.Authority = statement.Host
		st, err := lg.Apply(context.Background(), local.Store, seqOf(m.list), []diff.RowChange{{Kind: "mount", Key: []byte("/mnt"), Old: []byte("ext4"), New: []byte("xfs")}}, note)
		if err != nil || st.Root != g.Root() || local.Staged() {
			t.Fatalf("round %d: accepting gives %v, %v, approving %v", round, st.Root, err, g.Root())
		}
	}
}

// TestInstallRefuses: what is not the approval of the staged generation by the
// operator moves nothing.
func TestInstallRefuses(t *testing.T) {
	now := small()
	now.file("/etc/passwd", 99)
	a := ask(t, small(), now)
	q, _, err := seen(t, a.request)
	if err != nil {
		t.Fatal(err)
	}
	good := a.approve(t, q.Proposed, true)
	refuse := func(what string, x *Approval, want error) {
		t.Helper()
		if _, err := a.Install(context.Background(), x); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
		if n, _ := a.Latest(); n != 1 || !a.Staged() {
			t.Fatalf("%s: generation %d, staged %v", what, n, a.Staged())
		}
	}
	refuse("nobody is named", good, ErrUntrusted)
	a.Trust = a.known
	k := keyring{t}
	stranger := *a
	stranger.operator = k.key()
	refuse("a stranger", stranger.approve(t, clone(q.Proposed), false), seal.ErrSigner)
	stranger.operator = a.host
	refuse("the host", stranger.approve(t, clone(q.Proposed), false), ErrUntrusted)
	a.Trust = &Trust{Host: a.known.Host, Operators: k.list("ann", `valid-before="20260201Z"`, a.operator)} // after Created
	refuse("a key that expired since", good, seal.ErrExpired)
	a.Trust = &Trust{Host: a.known.Host, Operators: k.list("ann", `namespaces="intact-baseline@v1"`, a.operator)}
	refuse("a key that signs no lists", good, seal.ErrScope)
	a.Trust = a.known
	change := func(f func(st *statement.Statement)) *Approval {
		st := clone(good.Statement)
		f(st)
		return a.approve(t, st, false)
	}
	refuse("of another host", change(func(st *statement.Statement) { st.HostID = "ffffffffffffffffffffffffffffffff" }), ErrForeign)
	refuse("of an older generation", change(func(st *statement.Statement) { st.Generation = 1 }), ErrApproval)
	refuse("behind another", change(func(st *statement.Statement) { st.Previous = digest.Sum(nil) }), ErrApproval)
	refuse("starting over", change(func(st *statement.Statement) { st.Restart = true }), ErrApproval)
	refuse("another policy", change(func(st *statement.Statement) { st.Policy = digest.Sum(nil) }), ErrApproval)
	refuse("pruning what is in force", change(func(st *statement.Statement) { st.Pruned = []uint64{1} }), ErrApproval)
	refuse("another file", change(func(st *statement.Statement) { st.File = digest.Sum(nil) }), ErrNotStaged)
	refuse("another root", change(func(st *statement.Statement) { st.Root = digest.Sum(nil) }), ErrDamaged)
	refuse("other counts", change(func(st *statement.Statement) { st.Entries++ }), ErrDamaged)

	other := ListText([]digest.Digest{digest.Sum([]byte("another host's"))})
	armor, err := a.operator.Sign(AcceptNamespace, bytes.NewReader(other))
	if err != nil {
		t.Fatal(err)
	}
	refuse("a list without it", &Approval{good.Statement, append(other, armor...)}, ErrUntrusted)

	text := good.Text()
	for i := range text {
		bad := bytes.Clone(text)
		bad[i] ^= 1 << (i % 8)
		x, err := ParseApproval(bad)
		if err == nil {
			_, err = a.Install(context.Background(), x)
		}
		if err == nil {
			t.Fatalf("byte %d of the approval: it was taken", i)
		}
	}
	for n := range text {
		if x, err := ParseApproval(text[:n]); err == nil {
			if _, err := a.Install(context.Background(), x); err == nil {
				t.Fatalf("cut at %d: it was taken", n)
			}
		}
	}
	if _, err := a.Install(context.Background(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Install(context.Background(), good); !errors.Is(err, ErrApproval) {
		t.Errorf("replayed: %v", err)
	}
	infos, err := a.List()
	if err != nil || len(infos) != 2 || infos[0].Err != nil || infos[1].Err != nil || infos[1].Signed.Principal != "ann" {
		t.Errorf("%+v, %v", infos, err)
	}
	// The signature of the list is that of this statement to every later reader.
	sig := slurp(t, a.signaturePath(2))
	for i := range sig {
		bad := bytes.Clone(sig)
		bad[i] ^= 1 << (i % 7)
		rewrite(t, a.signaturePath(2), bad)
		if _, err := a.Open(context.Background(), 0); !errors.Is(err, ErrUntrusted) {
			t.Fatalf("byte %d of the signature: %v", i, err)
		}
	}
}

// TestInstallLaunders: what a host's own key signed behind an operator's
// generation does not come into force under the operator's next approval, whether
// it went on or started over; and a chain that was put together says so.
func TestInstallLaunders(t *testing.T) {
	for _, tt := range []struct {
		name    string
		first   statement.Authority
		restart bool
		took    bool
	}{
		{"alone from the beginning", statement.Host, false, true},
		{"alone, started over", statement.Host, true, false},
		{"behind the operator", statement.Operator, false, false},
		{"over the operator", statement.Operator, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := ask(t, small(), small())
			again := func(n uint64, key seal.Signer, by statement.Authority, f func(*statement.Statement)) {
				t.Helper()
				text := slurp(t, a.statementPath(n))
				st, err := statement.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				st.Authority, st.Signer = by, key.Key().Fingerprint
				f(st)
				armor, err := key.Sign(statement.Namespace, bytes.NewReader(st.Text()))
				if err != nil {
					t.Fatal(err)
				}
				rewrite(t, a.statementPath(n), st.Text())
				rewrite(t, a.signaturePath(n), armor)
			}
			key := a.host
			if tt.first == statement.Operator {
				key = a.operator
			}
			again(1, key, tt.first, func(*statement.Statement) {})
			a.Trust = nil // as on a copy that is not under her
			g := open(t, a.Store)
			m, _, _ := compare(t, g, small())
			rows := []diff.RowChange{{Kind: "mount", Key: []byte("/"), Old: []byte("ext4\x00/dev/sda\x00/"), New: []byte("ext4\x00/dev/sdb\x00/")}}
			note := testNote
			note.Authority = statement.Host
			if _, err := g.Apply(context.Background(), a.Store, seqOf(m.list), rows, note); err != nil {
				t.Fatal(err)
			}
			again(2, a.host, statement.Host, func(st *statement.Statement) { st.Restart = tt.restart })
			now := small()
			now.file("/etc/passwd", 99)
			a.ask(t, now)
			q, _, err := seen(t, a.request)
			if err != nil {
				t.Fatal(err)
			}
			x := a.approve(t, q.Proposed, false)
			a.Trust = a.known
			_, err = a.Install(context.Background(), x)
			if tt.took {
				if bad, bug := a.Verify(context.Background(), 0); err != nil || bug != nil || len(bad) > 0 {
					t.Fatal(err, bug, bad)
				}
				return
			}
			if n, _ := a.Latest(); !errors.Is(err, ErrUntrusted) || n != 2 || !a.Staged() {
				t.Fatalf("generation %d, %v", n, err)
			}
			if err := a.commit(context.Background(), a.proposedPath(), x.Statement, x.Signature); err != nil {
				t.Fatal(err)
			}
			if infos, err := a.List(); err != nil || !errors.Is(infos[1].Err, ErrUntrusted) {
				t.Errorf("%+v, %v", infos, err)
			}
		})
	}
}

func clone(st *statement.Statement) *statement.Statement {
	c := *st
	return &c
}

// A commit that ended between its two renames leaves the file under its last
// name: the approval finds it there.
func TestInstallAfterInterruption(t *testing.T) {
	now := small()
	now.file("/etc/passwd", 99)
	a := ask(t, small(), now)
	q, _, err := seen(t, a.request)
	if err != nil {
		t.Fatal(err)
	}
	a.Trust = a.known
	x := a.approve(t, q.Proposed, false)
	if err := os.Rename(a.proposedPath(), a.dbPath(2)); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Latest(); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := a.Install(context.Background(), x); err != nil {
		t.Fatal(err)
	}
	open(t, a.Store)
}

// pairFrame is one frame of a request, in parts.
type pairFrame struct {
	kind     byte
	key      []byte // with the bucket
	sum      digest.Digest
	old, now []byte
}

// liar is a request in parts, and a host that answers for what it says: it can
// change anything, and still have roots and counts that fit.
type liar struct {
	present, proposed *statement.Statement
	armor             []byte
	pairs             []pairFrame
	honest            bool // do not make the proposed root fit
}

func liarOf(t *testing.T, request []byte) *liar {
	t.Helper()
	l := &liar{}
	q := requestReader{in: bufio.NewReader(bytes.NewReader(request[len(requestMagic):]))}
	for {
		kind, body, err := q.next()
		if err != nil {
			t.Fatal(err)
		}
		r := reader{b: bytes.Clone(body)}
		p := pairFrame{kind: kind}
		switch kind {
		case frameHead:
			present := r.bytes()
			l.armor = r.bytes()
			if l.present, err = statement.Parse(present); err == nil {
				l.proposed, err = statement.Parse(r.bytes())
			}
			if err != nil {
				t.Fatal(err)
			}
			continue
		case frameEnd:
			return l
		case frameWhole:
			p.key, p.now = r.bytes(), r.bytes()
		case frameUnchanged:
			p.key = r.bytes()
			p.sum = digest.Digest(r.b)
		case framePair:
			p.key, p.old, p.now = r.bytes(), r.optional(), r.optional()
		}
		l.pairs = append(l.pairs, p)
	}
}

// text writes the request, its new root that of the new values.
func (l *liar) text(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	root := newRooter()
	for _, p := range l.pairs {
		switch {
		case p.kind == frameUnchanged:
			root.addSum(p.key[0], p.key[1:], p.sum)
		case p.now != nil:
			root.add(p.key[0], p.key[1:], p.now)
		}
	}
	if !l.honest {
		l.proposed.Root = root.sum()
	}
	q := requestWriter{w: bufio.NewWriter(&out)}
	q.w.WriteString(requestMagic)
	head := appendBytes(appendBytes(nil, l.present.Text()), l.armor)
	q.frame(frameHead, appendBytes(head, l.proposed.Text()))
	for _, p := range l.pairs {
		b := appendBytes(nil, p.key)
		switch p.kind {
		case frameUnchanged:
			q.unchanged++
			b = append(b, p.sum[:]...)
		case frameWhole:
			b = appendBytes(b, p.now)
		default:
			q.changed++
			b = appendOptional(appendOptional(b, p.old), p.now)
		}
		q.frame(p.kind, b)
	}
	q.frame(frameEnd, appendCounts(q.unchanged, q.changed))
	if err := errors.Join(q.err, q.w.Flush()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func appendCounts(a, b uint64) []byte {
	return append(appendUvarint(nil, a), appendUvarint(nil, b)...)
}

func appendUvarint(b []byte, v uint64) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func (l *liar) find(key string) *pairFrame {
	i := slices.IndexFunc(l.pairs, func(p pairFrame) bool { return string(p.key) == key })
	return &l.pairs[i]
}

func packed(b entry.Block) []byte {
	p, _ := b.Pack(nil, nil, testSets)
	return bytes.Clone(p)
}

// edit gives what f makes of the new entries of a part.
func (l *liar) edit(t *testing.T, key string, f func(b *entry.Block)) {
	t.Helper()
	p := l.find(key)
	path, part, err := entry.ParseKey(p.key[1:])
	if err != nil {
		t.Fatal(err)
	}
	b, err := entry.Packed(bytes.Clone(p.now)).Unpack(path, part, testSets)
	if err != nil {
		t.Fatal(err)
	}
	f(b)
	p.now = packed(*b)
}

// lie is one way to lie.
type lie struct {
	name string
	lie  func(l *liar)
}

// Keys of the tree that TestLyingHost makes.
const keyEtc, keyBin = "d\x00etc", "d\x00usr\x00bin"

func partKey(n byte) string { return "d\x00w\x00\x00\x00\x00\x00" + string(rune(n)) }

// What the pairs say.
func liesInPairs(t *testing.T) []lie {
	return []lie{
		{"a changed directory as an unchanged one, by its new digest", func(l *liar) {
			p := l.find(keyBin)
			*p = pairFrame{kind: frameUnchanged, key: p.key, sum: digest.Sum(p.now)}
		}},
		{"by its old digest", func(l *liar) {
			p := l.find(keyBin)
			*p = pairFrame{kind: frameUnchanged, key: p.key, sum: digest.Sum(p.old)}
			l.honest = true
		}},
		{"an unchanged directory left out", func(l *liar) { l.pairs = slices.Delete(l.pairs, 4, 5) }},
		{"a changed directory left out", func(l *liar) {
			l.pairs = slices.DeleteFunc(l.pairs, func(p pairFrame) bool { return string(p.key) == keyBin })
		}},
		{"other new values than the root holds", func(l *liar) {
			l.honest = true
			l.edit(t, keyEtc, func(b *entry.Block) { b.Entries[0].Mode ^= 1 })
		}},
		{"other old values", func(l *liar) { l.find(keyEtc).old = l.find(keyBin).old }},
		{"the old values as new ones", func(l *liar) { p := l.find(keyEtc); p.now = p.old }},
		{"no value at all", func(l *liar) { p := l.find(keyEtc); p.now, p.old = nil, nil }},
		{"another root in force", func(l *liar) { l.present.Root = digest.Sum(nil); l.proposed.Previous = l.present.Digest() }},
		{"more entries", func(l *liar) { l.proposed.Entries++ }},
		{"fewer directories", func(l *liar) { l.proposed.Directories-- }},
		{"a row that was not there", func(l *liar) {
			l.pairs = slices.Insert(l.pairs, 3, pairFrame{kind: framePair, key: []byte("rgap\x00\x00etc"), old: []byte("io"), now: []byte("fs")})
		}},
		{"an unchanged row that was not there", func(l *liar) {
			l.pairs = slices.Insert(l.pairs, 3, pairFrame{kind: frameUnchanged, key: []byte("rgap\x00\x00etc"), sum: digest.Sum(nil)})
		}},
		{"a malformed row", func(l *liar) {
			l.pairs = slices.Insert(l.pairs, 3, pairFrame{kind: framePair, key: []byte("rgap"), now: []byte("fs")})
		}},
		{"two pairs exchanged", func(l *liar) {
			n := len(l.pairs)
			l.pairs[n-1], l.pairs[n-2] = l.pairs[n-2], l.pairs[n-1]
		}},
		{"buckets exchanged", func(l *liar) { l.pairs = append(l.pairs, l.pairs[3]); l.pairs = slices.Delete(l.pairs, 3, 4) }},
		{"a pair twice", func(l *liar) { l.pairs = append(l.pairs, l.pairs[len(l.pairs)-1]) }},
		{"a bucket that nobody knows", func(l *liar) {
			l.pairs = append(l.pairs, pairFrame{kind: framePair, key: []byte("zkey"), now: []byte("x")})
		}},
		{"an empty key", func(l *liar) {
			l.pairs = append(l.pairs, pairFrame{kind: framePair, key: []byte("d"), now: []byte("x")})
		}},
		{"another policy", func(l *liar) { l.pairs[1].now = []byte("version: 1\npaths: []\n") }},
		{"another policy, and says so", func(l *liar) {
			l.pairs[1].now = []byte("version: 1\npaths: []\n")
			l.proposed.Policy = digest.Sum(l.pairs[1].now)
		}},
		{"other attribute sets", func(l *liar) { l.pairs[2].now = encodeSets(testSets[:1]) }},
		{"the sets as a pair that changes", func(l *liar) { l.pairs[2].kind, l.pairs[2].old = framePair, encodeSets(testSets[:1]) }},
		{"another format", func(l *liar) { l.pairs[0].now = []byte("intact.baseline/9") }},
	}
}

// What the proposed statement says.
func liesInStatement() []lie {
	return []lie{
		{"two generations further", func(l *liar) { l.proposed.Generation++ }},
		{"behind another", func(l *liar) { l.proposed.Previous = digest.Sum(nil) }},
		{"starting over", func(l *liar) { l.proposed.Restart = true }},
		{"for another host", func(l *liar) { l.proposed.HostID = "ffffffffffffffffffffffffffffffff" }},
		{"by authority of the host", func(l *liar) { l.proposed.Authority = statement.Host }},
		{"somebody's approval in it already", func(l *liar) { l.proposed.Approver = "ann" }},
		{"no file", func(l *liar) { l.proposed.File = digest.Digest{} }},
		{"pruning what is in force", func(l *liar) { l.proposed.Pruned = []uint64{1} }},
	}
}

// What blocks hold, and how the parts of a directory go on.
func liesInBlocks(t *testing.T) []lie {
	return []lie{
		{"what is recorded of a file that did not change", func(l *liar) {
			l.edit(t, keyBin, func(b *entry.Block) { b.Entries[len(b.Entries)-1].Inode++ })
		}},
		{"a file under a set that compares less", func(l *liar) {
			l.edit(t, keyBin, func(b *entry.Block) { b.Entries[len(b.Entries)-1].Set = 1 })
		}},
		{"lost coverage", func(l *liar) {
			l.edit(t, keyEtc, func(b *entry.Block) { b.Entries[0].Have &^= entry.Content })
		}},
		{"a block in another spelling", func(l *liar) { p := l.find(keyEtc); p.now = append(p.now, 0) }},
		{"an empty block", func(l *liar) { l.edit(t, keyEtc, func(b *entry.Block) { b.Entries = nil }) }},
		{"a part that begins before its range", func(l *liar) {
			l.edit(t, partKey(1), func(b *entry.Block) {
				b.Entries = slices.Insert(b.Entries[:len(b.Entries)-1:len(b.Entries)-1], 0, b.Entries[0])
				b.Entries[0].Name = []byte("a")
			})
		}},
		{"a part that ends elsewhere", func(l *liar) { l.edit(t, partKey(1), func(b *entry.Block) { b.Next = []byte("z") }) }},
		{"a part that is the last", func(l *liar) { l.edit(t, partKey(1), func(b *entry.Block) { b.Next = nil }) }},
		{"two parts that end elsewhere", func(l *liar) { l.edit(t, partKey(2), func(b *entry.Block) { b.Next = []byte("z") }) }},
		{"the only part announces another", func(l *liar) { l.edit(t, keyEtc, func(b *entry.Block) { b.Next = []byte("z") }) }},
		{"the second of two parts removed", func(l *liar) {
			b, _ := entry.Packed(l.find(partKey(2)).old).Unpack("/w", 2, testSets)
			l.proposed.Entries -= int64(len(b.Entries))
			l.find(partKey(2)).now = nil
		}},
		{"a row told twice", func(l *liar) {
			i := slices.IndexFunc(l.pairs, func(p pairFrame) bool { return string(p.key) == "rmount\x00/mnt" })
			second := l.pairs[i]
			second.old, l.pairs[i].now = nil, nil
			l.pairs = slices.Insert(l.pairs, i+1, second)
		}},
		{"a part removed", func(l *liar) { l.find(partKey(1)).now = nil }},
		{"a part too many", func(l *liar) {
			p := l.find(partKey(1))
			p3 := pairFrame{kind: framePair, key: []byte(partKey(4)), now: p.now}
			i := slices.IndexFunc(l.pairs, func(p pairFrame) bool { return string(p.key) == partKey(3) })
			l.pairs = slices.Insert(l.pairs, i+1, p3)
		}},
		{"nothing", func(l *liar) {
			for i := range l.pairs {
				if p := &l.pairs[i]; p.kind == framePair && p.old != nil {
					*p = pairFrame{kind: frameUnchanged, key: p.key, sum: digest.Sum(p.old)}
				}
			}
			l.pairs = slices.DeleteFunc(l.pairs, func(p pairFrame) bool { return p.kind == framePair })
			l.proposed.Entries, l.proposed.Directories = l.present.Entries, l.present.Directories
		}},
	}
}

// TestLyingHost: a host that holds its own key, and may have staged any file,
// cannot have something signed that was not shown.
func TestLyingHost(t *testing.T) {
	old := small()
	old.dir("/w")
	for i := range 4000 { // four parts
		old.file(entry.Path(fmt.Sprintf("/w/n%05d", i)), i)
	}
	now := old.clone()
	now.file("/etc/passwd", 99)
	now.file("/usr/bin/evil", 1)
	now.file("/w/n01500", 7) // part 1
	now.file("/w/n02500", 7) // part 2; 0 and 3 stay
	now.remove("/vmlinuz")
	a := ask(t, old, now)
	tests := slices.Concat(liesInPairs(t), liesInStatement(), liesInBlocks(t))
	if _, _, err := seen(t, liarOf(t, a.request).text(t)); err != nil {
		t.Fatalf("without a lie: %v", err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := liarOf(t, a.request)
			tt.lie(l)
			if _, _, err := seen(t, l.text(t)); !errors.Is(err, ErrRequest) {
				t.Errorf("%v", err)
			}
		})
	}
}

// No byte of a request counts for nothing, but for those of the signature, which
// is judged by itself.
func TestRequestEveryByte(t *testing.T) {
	now := small()
	now.file("/etc/passwd", 99)
	a := ask(t, small(), now)
	for i := range a.request {
		bad := bytes.Clone(a.request)
		bad[i] ^= 1 << (i % 8)
		q, _, err := seen(t, bad)
		if err == nil {
			_, err = a.known.Judge(q.Present, q.Signature)
			if errors.Is(err, ErrSelfApproved) {
				t.Fatalf("byte %d: it was taken", i)
			}
		} else if !errors.Is(err, ErrRequest) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if _, _, err := seen(t, a.request[:i]); !errors.Is(err, ErrRequest) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, _, err := seen(t, append(a.request, 0)); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
}

// TestRequestSize: what does not change costs its key and a digest, and a
// hundred changed files stay below 1 MiB besides.
func TestRequestSize(t *testing.T) {
	old := tree{}
	old.dir("/")
	for i := range 20_000 {
		d := entry.Path(fmt.Sprintf("/d%04d", i/40))
		old.dir(d)
		old.file(d.Join(fmt.Appendf(nil, "file%05d.conf", i)), i)
	}
	now := old.clone()
	for i := range 100 {
		d := entry.Path(fmt.Sprintf("/d%04d", i*5))
		now.file(d.Join(fmt.Appendf(nil, "file%05d.conf", i*200)), i+1_000_000)
	}
	a := ask(t, old, now)
	q, _, err := seen(t, a.request)
	if err != nil {
		t.Fatal(err)
	}
	list := int(q.Unchanged) * (1 + 6 + digest.Size)
	t.Logf("%d bytes, %d of them keys and digests of %d records that stay", len(a.request), list, q.Unchanged)
	if len(a.request)-list > 1<<20 {
		t.Errorf("%d bytes besides the list", len(a.request)-list)
	}
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte(requestMagic))
	f.Add(append([]byte(requestMagic), 0xff, 0xff, 0xff, 0x7f, 'h'))
	for _, b := range seedRequests(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ReadRequest(context.Background(), bytes.NewReader(b), RequestSink{Change: func(c *diff.Change) error {
			_ = diff.AppendChange(nil, c)
			return nil
		}})
		if err != nil {
			if !errors.Is(err, ErrRequest) {
				t.Errorf("%v", err)
			}
			return
		}
		if q.Proposed.Previous != q.Present.Digest() || q.Changed == 0 {
			t.Error("it was taken")
		}
	})
}

// seedRequests makes a request without a signature.
func seedRequests(tb testing.TB) (out [][]byte) {
	s := newStore(tb)
	commit(tb, s, small())
	now := small()
	now.file("/etc/passwd", 99)
	now.remove("/vmlinuz")
	g := open(tb, s)
	m, _, _ := compare(tb, g, now)
	p, err := g.Propose(context.Background(), s, seqOf(m.list), nil, testNote)
	if err != nil {
		tb.Fatal(err)
	}
	defer p.Close()
	var b bytes.Buffer
	if err := p.WriteRequest(context.Background(), &b); err != nil {
		tb.Fatal(err)
	}
	return [][]byte{b.Bytes(), b.Bytes()[:b.Len()/2]}
}

func FuzzParseApproval(f *testing.F) {
	st := &statement.Statement{HostID: "0123456789abcdef0123456789abcdef", Generation: 2, Previous: digest.Sum(nil), Note: testNote}
	st.Authority = statement.Operator
	const armor = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
	f.Add((&Approval{st, []byte(armor)}).Text())
	f.Add((&Approval{st, append(ListText([]digest.Digest{st.Digest()}), armor...)}).Text())
	f.Add([]byte(approvalMagic + "\ndigest: "))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseApproval(b)
		if err != nil {
			if !errors.Is(err, ErrApproval) {
				t.Errorf("%v", err)
			}
			return
		}
		if !bytes.Equal(a.Text(), b) {
			t.Error("another spelling was read")
		}
		e, err := endorsementOf(a.Statement, a.Signature)
		if err != nil {
			if !errors.Is(err, ErrUntrusted) {
				t.Errorf("%v", err)
			}
			return
		}
		if all, _ := io.ReadAll(e.reader()); e.namespace == AcceptNamespace && !bytes.Contains(all, []byte(a.Statement.Digest().Named()+"\n")) {
			t.Error("a list without the statement")
		}
	})
}
