package benchmarks

import (
	"context"
	"testing"
	"time"

	"intact/rules/facts"
	"intact/rules/facts/accounts"
	"intact/rules/facts/anchors"
	"intact/rules/facts/guards"
	"intact/rules/facts/kernel"
	"intact/rules/facts/osupdates"
	"intact/rules/facts/pam"
	"intact/rules/facts/preload"
	"intact/rules/facts/sockets"
	"intact/rules/facts/sshd"
	"intact/rules/facts/sudo"
	"intact/rules/facts/units"
	"intact/rules/facts/web"
	"intact/scanner/dirfd"
)

// Each collector of facts on the host that runs the benchmark. Those that build
// on others get their answers ready made.
func BenchmarkFacts(b *testing.B) {
	root, err := dirfd.Open("/")
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	ctx, now := context.Background(), time.Now()
	h := facts.Host{Root: root, Live: true}
	listeners, _ := sockets.Collect(ctx, h)
	users := accounts.Collect(ctx, h, nil).Users.Rows
	started := units.Collect(ctx, h)
	for _, c := range []struct {
		name    string
		collect func() int // rows
	}{
		{"net", func() int { l, i := sockets.Collect(ctx, h); return len(l.Rows) + len(i.Rows) }},
		{"accounts", func() int { return len(accounts.Collect(ctx, h, nil).Users.Rows) }},
		{"accounts.keys", func() int { return len(accounts.Keys(ctx, h, users, nil).Rows) }},
		{"accounts.sudo", func() int { return len(sudo.Collect(ctx, h).Grants.Rows) }},
		{"sshd", func() int { return len(sshd.Collect(ctx, h, sshd.Options{}).Settings.Rows) }},
		{"pam", func() int { return len(pam.Collect(ctx, h).Lines.Rows) }},
		{"guards", func() int { return len(guards.Collect(ctx, h, started).Rows) }},
		{"web", func() int { return len(web.Collect(ctx, h, listeners).Rows) }},
		{"units.units", func() int { return len(units.Collect(ctx, h).Rows) }},
		{"units.cron", func() int { return len(units.Cron(ctx, h).Rows) }},
		{"kernel.sysctl", func() int { return len(kernel.Sysctls(ctx, h).Rows) }},
		{"kernel.boot", func() int { return len(kernel.Boots(ctx, h).Rows) }},
		{"tls.anchors", func() int { return len(anchors.Collect(ctx, h).Rows) }},
		{"preload", func() int { return len(preload.Collect(ctx, h, started.Rows).Rows) }},
		{"os.release", func() int { return len(osupdates.OSRelease(ctx, h, now).Rows) }},
		{"updates.pending", func() int { return len(osupdates.Pending(ctx, h).Rows) }},
		{"updates.lists", func() int { return len(osupdates.Lists(ctx, h, osupdates.Trust{Now: now}).Rows) }},
		{"updates.repositories", func() int { return len(osupdates.Repositories(ctx, h).Rows) }},
		{"updates.automatic", func() int { return len(osupdates.AutomaticUpdates(ctx, h).Rows) }},
		{"updates.reboot", func() int { return len(osupdates.NeedsReboot(ctx, h).Rows) }},
		{"updates.stale", func() int { return len(osupdates.Stale(ctx, h).Rows) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			rows := 0
			for b.Loop() {
				rows = c.collect()
			}
			b.ReportMetric(float64(rows), "rows")
			b.ReportAllocs()
		})
	}
}
