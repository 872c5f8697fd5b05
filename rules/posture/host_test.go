package posture_test

import (
	"context"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/accounts"
	"intact/rules/facts/firewall"
	"intact/rules/facts/guards"
	"intact/rules/facts/pam"
	"intact/rules/facts/sockets"
	"intact/rules/facts/sshd"
	"intact/rules/facts/units"
	"intact/rules/facts/web"
	"intact/rules/posture"
	"intact/scanner/dirfd"
)

// Over what this host has, whatever it is, no rule goes wrong, and what no
// collector gives is unknown.
func TestThisHost(t *testing.T) {
	root, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h := facts.Host{Root: root, Live: true}
	listeners, interfaces := sockets.Collect(ctx, h)
	ssh := sshd.Collect(ctx, h, sshd.Options{})
	all := accounts.Collect(ctx, h, nil)
	known := posture.Fixed{
		"net.listeners":      posture.FactOf(listeners),
		"net.interfaces":     posture.FactOf(interfaces),
		"firewall.published": posture.FactOf(firewall.Collect(ctx, h).Published),
		"sshd.contexts":      posture.FactOf(ssh.Contexts),
		"sshd.directives":    posture.FactOf(ssh.Directives),
		"sshd.weaker":        posture.FactOf(ssh.Weaker),
		"sshd.host_keys":     posture.FactOf(ssh.HostKeys),
		"sshd.files":         posture.FactOf(ssh.Files),
		"sshd.server":        posture.FactOf(ssh.Server),
		"accounts.keys":      posture.FactOf(accounts.Keys(ctx, h, all.Users.Rows, nil)),
		"accounts.users":     posture.FactOf(all.Users), "accounts.members": posture.FactOf(all.Members), "accounts.sources": posture.FactOf(all.Sources),
		"pam.stacks":  posture.FactOf(pam.Collect(ctx, h).Stacks),
		"web.servers": posture.FactOf(web.Collect(ctx, h, listeners)),
		"guards":      posture.FactOf(guards.Collect(ctx, h, units.Collect(ctx, h))),
		"units.units": posture.FactOf(units.Collect(ctx, h)),
		"services":    {Status: rules.Absent, Reason: "nothing is declared"},
		"declared":    {Rows: []posture.Service{}, Status: rules.OK},
	}
	start := time.Now()
	var tally posture.Tally
	err = builtins(t).Judge(ctx, posture.Input{Facts: known, Live: true, Now: time.Now(), Profile: "seed-strict"}, func(r posture.Result) error {
		tally.Add(r)
		if r.Verdict == posture.Error {
			t.Errorf("%s: %s", r.ID, r.Reason)
		}
		for _, s := range r.Subjects {
			if s.Verdict == posture.Error || s.Name == "" || s.Digest == "" {
				t.Errorf("%s: %+v", r.ID, s)
			}
			if s.Verdict == posture.Fail {
				t.Logf("%s %s: %s: %v", s.Finding.Severity, r.ID, s.Name, s.Finding.Reasons)
			}
		}
		if r.Verdict != posture.Pass {
			t.Logf("%s: %s %s (%d steps)", r.ID, r.Verdict, r.Reason, r.Cost)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v in %v", tally, time.Since(start))
}
