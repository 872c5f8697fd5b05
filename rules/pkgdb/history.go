package pkgdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"intact/rules/pkgdb/rpm"
	"intact/scanner/entry"
)

// dnfFolder is where dnf 4 keeps its history.
const dnfFolder = entry.Path("/var/lib/dnf")

// Record is what a package manager wrote down of a package. Nobody signed it.
type Record struct {
	By   string // which record it is, for people; "" where there is none
	When time.Time
}

// Recorded returns what the history of dnf has of packages of rpm: in came when
// one came, in went when it went for good, the last time. A root without a history
// has nothing of any.
func Recorded(ctx context.Context, r Root, list []Package) (came, went map[Package]Record, err error) {
	type version struct {
		name, arch string
		evr        rpm.EVR
	}
	of, names := map[version]Package{}, map[string]bool{}
	for _, p := range list {
		if p.Kind != kindRPM {
			continue
		}
		v := version{p.Name, p.Arch, rpm.ParseEVR(p.Version)}
		v.evr.HasEpoch = v.evr.Epoch != 0
		of[v], names[p.Name] = p, true
	}
	var done []rpm.Done
	for range rpmTries {
		done, err = rpm.History(ctx, sources(r, dnfFolder), func(name string) bool { return names[name] })
		if !errors.Is(err, rpm.ErrChanging) {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("history of dnf in %q: %w", dnfFolder, err)
	}
	came, went = map[Package]Record{}, map[Package]Record{}
	last := map[Package]uint64{}
	for _, d := range done {
		p, ok := of[version{d.Name, d.Arch, d.EVR}]
		if !ok || d.Transaction < last[p] {
			continue
		}
		last[p] = d.Transaction
		rec := Record{fmt.Sprintf("transaction %d of dnf", d.Transaction), d.When}
		delete(came, p)
		delete(went, p)
		if d.Came {
			came[p] = rec
		} else {
			went[p] = rec
		}
	}
	return came, went, nil
}
