package app

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"intact/baseline"
	"intact/report"
	"intact/rules/pkgdb/manifest"
)

// PackagesList prints the transactions that hooks saw and the manifests that are
// kept, a line each. It exits 3 if one could not be read.
func PackagesList(e *Env) (Outcome, error) {
	s, err := open(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	out := Done()
	list, problems, err := s.transactions()
	if err != nil {
		return Outcome{}, err
	}
	for _, p := range problems {
		e.warn("%s", p)
		out.Add(ExitIncomplete)
	}
	for _, t := range list {
		state := "open"
		if !t.Ended.IsZero() {
			state = "closed"
		}
		for _, p := range t.Packages {
			e.print("%s  %-6s %-4s %s %s:%s %s → %s %s %s\n", t.Began.Format(time.RFC3339), state, t.Manager, p.Action, report.Escape(p.Name), report.Escape(p.Arch),
				report.Escape(cmp.Or(p.Old, "-")), report.Escape(cmp.Or(p.New, "-")), p.Level, report.Prose(p.Problem))
		}
		for _, p := range t.Problems {
			e.print("%s  %-6s %-4s problem: %s\n", t.Began.Format(time.RFC3339), state, t.Manager, report.Prose(p))
		}
	}
	for _, w := range s.strangeKept() {
		e.warn("%s", w)
		out.Add(ExitIncomplete)
	}
	d, err := s.openKept(baseline.PackagesDir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			out.Add(ExitIncomplete) // told of above
		}
		return out, nil
	}
	defer d.Close()
	var names []string
	err = d.each(func(name string) bool {
		if st, err := d.stat(name); err == nil && st.regular && stateFile.MatchString(baseline.PackagesDir+"/"+name) && filepath.Ext(name) != ".tmp" {
			names = append(names, name)
		}
		return true
	})
	if err != nil {
		return Outcome{}, err
	}
	slices.Sort(names)
	for _, name := range names {
		err := withManifest(d.at(name), func(m *manifest.Manifest) error {
			h := &m.Head
			e.print("manifest  %-6s %s:%s %s %s\n", h.Level, report.Escape(h.Package), report.Escape(h.Architecture), report.Escape(h.Version), h.Archive)
			return nil
		})
		if err != nil {
			e.warn("manifest %s: %v", name, err)
			out.Add(ExitIncomplete)
		}
	}
	return out, nil
}
