package app

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"intact/baseline"
	"intact/baseline/seal"
	"intact/baseline/statement"
	"intact/report"
	"intact/scanner/digest"
	"intact/scanner/policy"
)

// signers says who may approve baselines.
func (d *doctor) signers() {
	if d.trustErr != nil {
		for line := range strings.SplitSeq(d.trustErr.Error(), "\n") {
			d.problem("lists", "mend the file that is named; until then no command judges signatures", "%s", line)
		}
		d.out.Add(Fail(d.trustErr).Exit())
		return
	}
	name := cmp.Or(d.env.TrustedSigners, d.cfg.Signing.TrustedSigners)
	if d.store.Trust.Operators == nil {
		d.note("operators", "signing: {trusted_signers: /etc/intact/allowed_signers}",
			"none is named: whoever is root here can approve a baseline with the host's own key")
	} else {
		d.owned("trusted", name, 0o022)
		d.signerLines(name)
	}
	switch name := cmp.Or(d.env.RevokedKeys, d.cfg.Signing.RevokedKeys); {
	case name != "":
		d.owned("revoked", name, 0o022) // it was read, else trustErr says why not
	case d.store.Trust.Operators != nil:
		d.note("revoked", "signing: {revoked_keys: /etc/intact/revoked_keys}", "there is no list of revoked keys")
	}
}

// signerLines looks at each line of the list of trusted signers.
func (d *doctor) signerLines(name string) {
	operators := 0
	for _, l := range d.store.Trust.Operators.Lines() {
		who := fmt.Sprintf("%s:%d: %q", name, l.No, strings.Join(l.Principals, ","))
		edit := fmt.Sprintf("edit line %d of %s", l.No, report.ShellQuote(name))
		mayApprove := (l.Allows(statement.Namespace) || l.Allows(baseline.AcceptNamespace)) && slices.ContainsFunc(l.Principals, func(p string) bool {
			return !strings.HasPrefix(p, "host:") && !strings.HasPrefix(p, "!")
		})
		switch {
		case !l.Usable():
			d.note("line", edit, "%s: a type of key that intact does not accept: it never matches", who)
		case l.Revoked:
			d.problem("line", edit, "%s: its key %s is revoked", who, l.Key.Fingerprint)
		case !l.Before.IsZero() && d.now.After(l.Before):
			d.problem("line", edit, "%s: expired on %s: what it signed before stays valid, nothing new is taken", who, when(l.Before))
		case d.now.Before(l.After):
			d.note("line", "", "%s: not valid before %s", who, when(l.After))
		case !mayApprove:
			d.note("line", "", "%s: %s may not sign baselines", who, l.Key.Fingerprint)
		default:
			operators++
			d.ok("operator", "%s: %s may sign baselines", who, l.Key.Fingerprint)
		}
	}
	if operators == 0 && d.store.Trust.Governed() {
		d.problem("operators", "enter a valid key in "+report.ShellQuote(name), "operators are named and none of them can approve anything now")
	}
}

// keys looks at the host's own keys.
func (d *doctor) keys() {
	n, err := d.store.Latest()
	fresh := err == nil && n == 0
	for _, r := range roles {
		d.key(r, fresh)
	}
	list, _ := os.ReadDir(filepath.Join(d.store.Dir(), baseline.KeysDir)) // state has told of errors
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".old") {
			file := d.keyFile(e.Name())
			d.note("set aside", "shred -u "+report.ShellQuote(file), "%q is a private key that was replaced; what it signed needs only its line in %s", file, ownSigners)
		}
	}
}

// key looks at the key of one role. fresh: there is no baseline yet, so there
// need be no keys.
func (d *doctor) key(r role, fresh bool) {
	name, source := r.name+" key", d.source(r)
	var k seal.Key
	var encrypted bool
	var err error
	if filepath.IsAbs(source) {
		k, encrypted, err = seal.Inspect(source)
	} else if s, e := d.signer(source); e == nil {
		k = s.Key()
	} else {
		err = e
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && fresh:
		d.note(name, "", "%q does not exist yet: intact init makes it", source)
		return
	case errors.Is(err, fs.ErrNotExist):
		d.problem(name, "intact key generate", "%q is gone: %s cannot be signed", source, r.name)
		return
	case errors.Is(err, seal.ErrKeyMode):
		d.problem(name, "intact key generate --replace "+r.name+", or chmod 0400 "+report.ShellQuote(source)+" if nobody can have read it", "%v", err)
		return
	case errors.Is(err, seal.ErrAgent):
		d.problem(name, "start the ssh-agent and set SSH_AUTH_SOCK where intact runs", "%v", err)
		return
	case err != nil:
		d.problem(name, "make it readable for intact, or another one: intact key generate --replace "+r.name, "%v", err)
		return
	}
	where := "in the ssh-agent"
	if filepath.IsAbs(source) {
		where = fmt.Sprintf("in %q", source)
	}
	d.ok(name, "%s %s, %s", k.Type, k.Fingerprint, where)
	if encrypted {
		d.note(name, "ssh-keygen -p -f "+report.ShellQuote(source), "it is encrypted: a job of cron cannot sign with it")
	}
	if d.trustErr == nil {
		d.entered(name, r, k)
	}
}

// entered says whether a key stands in the list of the host's own keys.
func (d *doctor) entered(name string, r role, k seal.Key) {
	host, _ := d.store.HostID() // "": then it stands nowhere
	in := func(l seal.Line) bool {
		return l.Key.Fingerprint == k.Fingerprint && l.Allows(r.namespace) && slices.Contains(l.Principals, baseline.HostPrincipal(host))
	}
	lines := d.store.Trust.Host.Lines()
	switch i := slices.IndexFunc(lines, in); {
	case i < 0:
		d.problem(name, "intact key generate", "it does not stand in %q: what it signs is not taken", d.keyFile(ownSigners))
	case lines[i].Revoked:
		d.problem(name, "intact key generate --replace "+r.name, "it is revoked")
	}
}

// baseline says which generation is in force and whether it can be trusted.
func (d *doctor) baseline() {
	if d.trustErr != nil {
		d.note("generation", "", "not looked at: who may sign it is not known")
		return
	}
	g, err := d.store.Open(d.ctx, 0)
	switch {
	case errors.Is(err, baseline.ErrNoBaseline):
		if e := d.neverHad(d.ctx); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = e
		}
		d.problem("generation", "intact policy check, then intact init", "%v", err)
		d.out.Add(ExitTrust)
		return
	case err != nil && trust(err):
		d.problem("generation", "intact baseline list shows what is left; compare with what was exported", "%v", err)
		d.out.Add(ExitTrust)
		return
	case err != nil:
		d.problem("generation", "run intact as the user it belongs to", "%v", err)
		return
	}
	d.gen = g
	st, by := g.Statement(), g.Signed()
	d.ok("generation", "%d, %d entries, %s old: made %s by %s: %s", st.Generation, st.Entries, ago(d.now.Sub(st.Created)), when(st.Created), st.Approver, st.Reason)
	d.ok("signature", "good: %s, authority %s", cmp.Or(by.Principal, by.Fingerprint), by.Authority)
	if p, err := policy.ParseCanonical(g.Policy()); err == nil {
		d.ok("policy", "%s in force, %s, %s", st.Policy.Named(), counted(len(p.Rules), "path"), counted(len(p.Excludes), "exclude"))
	}
	d.rolledBack(st)
	d.pin()
	switch sum := d.toolDigest(); {
	case st.ToolDigest == (digest.Digest{}) || sum == (digest.Digest{}):
		d.note("made by", "", "intact %s; its digest is not known", st.ToolVersion)
	case st.ToolDigest != sum:
		d.problem("made by", "verify the program's signature; after an update: intact check, then intact accept",
			"another program: intact %s, %s", st.ToolVersion, st.ToolDigest.Named())
	default:
		d.ok("made by", "this very program")
	}
}

func (d *doctor) rolledBack(st *statement.Statement) {
	switch err := d.notRolledBack(d.ctx, st); {
	case errors.Is(err, errRolledBack):
		d.problem("rollback", "restore the newer generation; intact report list says when it was in force", "%v", err)
		d.out.Add(ExitTrust)
	case err != nil:
		d.problem("rollback", "run intact as the user it belongs to", "%v", err)
	default:
		d.ok("rollback", "no signed report that is kept knows a newer one")
	}
}

// pin holds the root against the one that was written down, if one was.
func (d *doctor) pin() {
	root := d.gen.Root()
	if d.cfg.ExpectRoot == "" {
		d.note("pin", "expect_root: "+root.Named(), "no root is pinned: write it down elsewhere, or in the configuration of another medium")
		return
	}
	want, err := readPin(d.cfg.ExpectRoot)
	switch {
	case err != nil:
		d.problem("pin", "edit expect_root", "expect_root: %v", err)
		d.out.Add(ExitUsage)
	case !want.Matches(root):
		d.problem("pin", "find out who replaced the baseline; after an accept: expect_root: "+root.Named(), "expect_root says %s, and the root is %s", string(want), root.Named())
		d.out.Add(ExitTrust)
	default:
		d.ok("pin", "the root is the pinned one")
	}
}
