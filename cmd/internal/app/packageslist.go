package app

import (
	"cmp"
	"os"
	"path/filepath"
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
	dir := filepath.Join(s.store.Dir(), baseline.PackagesDir)
	files, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return Outcome{}, err
	}
	for _, f := range files {
		if !f.Type().IsRegular() || !stateFile.MatchString(baseline.PackagesDir+"/"+f.Name()) || filepath.Ext(f.Name()) == ".tmp" {
			continue
		}
		err := withManifest(filepath.Join(dir, f.Name()), func(m *manifest.Manifest) error {
			h := &m.Head
			e.print("manifest  %-6s %s:%s %s %s\n", h.Level, report.Escape(h.Package), report.Escape(h.Architecture), report.Escape(h.Version), h.Archive)
			return nil
		})
		if err != nil {
			e.warn("manifest %s: %v", f.Name(), err)
			out.Add(ExitIncomplete)
		}
	}
	return out, nil
}
