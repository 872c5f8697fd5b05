package app

import (
	"context"
	"slices"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/kernel"
	"intact/rules/facts/preload"
	"intact/rules/facts/sudo"
	"intact/rules/facts/units"
	"intact/rules/pkgdb"
	"intact/rules/posture"
	"intact/scanner/entry"
)

// packages asks whose files are whose, and answers for each of the names. A file
// of no package is known to be of none.
func (h *hostFacts) packages(ctx context.Context, names []string) func(name string) (pkg string, known bool) {
	nobody := func(string) (string, bool) { return "", false }
	if h.owners == nil || len(names) == 0 {
		return nobody
	}
	var paths []entry.Path
	at := map[string]entry.Path{}
	for _, n := range names {
		p, err := entry.NewPath(n)
		if err != nil || at[n] != "" {
			continue
		}
		if free, _, exists, err := h.host.Root.Resolve(p); err == nil && exists {
			at[n] = free
			paths = append(paths, free)
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	answers, err := h.owners(ctx, paths)
	if err != nil || len(answers) != len(paths) {
		return nobody
	}
	return func(name string) (string, bool) {
		k, ok := slices.BinarySearch(paths, at[name])
		if !ok {
			return "", false
		}
		switch a := answers[k]; {
		case a.State == pkgdb.NoOwner:
			return "", true
		case a.State == pkgdb.Owned && len(a.Owners) > 0:
			return a.Owners[0].Package, true
		}
		return "", false
	}
}

func (h *hostFacts) sudo(ctx context.Context) {
	keep(h, "accounts.sudo", func() facts.Answer[sudo.Grant] {
		p := sudo.Collect(ctx, h.host)
		h.set("accounts.sudo_settings", posture.FactOf(p.Settings))
		h.set("accounts.sudo_files", posture.FactOf(p.Files))
		h.set("accounts.sudo_odd", posture.FactOf(p.Odd))
		return p.Grants
	})
}

// modules reads the modules of the kernel and which packages their files are of.
func (h *hostFacts) modules(ctx context.Context) facts.Answer[kernel.Module] {
	a := kernel.Modules(ctx, h.host)
	var names []string
	for _, m := range a.Rows {
		if m.File != "" {
			names = append(names, m.File)
		}
	}
	of := h.packages(ctx, names)
	for i := range a.Rows {
		if m := &a.Rows[i]; m.File != "" {
			m.Package, m.PackageKnown = of(m.File)
		}
	}
	return a
}

// preloads reads what programs load first, units' variables among it.
func (h *hostFacts) preloads(ctx context.Context) facts.Answer[preload.Entry] {
	all, status := rowsOf[units.Unit](ctx, h, "units.units")
	a := preload.Collect(ctx, h.host, all)
	if a.Status == rules.OK && status != rules.OK && status != rules.Absent {
		a.Status, a.Reason = status, "the units of the host are not known"
	}
	return a
}
