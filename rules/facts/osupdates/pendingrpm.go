package osupdates

import (
	"context"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/pkgdb"
)

// pendingRPM answers for rpm.
func (h *host) pendingRPM(ctx context.Context, pkgs []pkgdb.Package) facts.Answer[Update] {
	return facts.Answer[Update]{Status: rules.Absent, Reason: "no caches of dnf"}
}
