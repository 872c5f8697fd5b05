package osupdates

import (
	"context"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/pkgdb"
)

// pendingRPM answers for rpm.
func (h *host) pendingRPM(ctx context.Context, pkgs []pkgdb.Package) facts.Answer[Update] {
	return facts.Answer[Update]{Status: rules.Absent, Reason: "no caches of dnf"}
}

// rpmCaches is where dnf and yum keep what they know of their repositories.
const rpmCaches = "/var/cache/dnf"

func (h *host) rpmLists(now time.Time) ([]List, bool) { return nil, false }
