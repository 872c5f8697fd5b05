// Package kernel reads what the kernel runs with: its modules, its settings as
// they are and as they are configured, the line that it was booted with, and the
// security modules that hold. What only a running kernel knows is offline of an
// image.
package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Bounds: bytes of a file, names in a folder, rows.
const (
	maxFile  = 4 << 20
	maxNames = 64 << 10
	maxRows  = 20_000
)

// Module is a module that is loaded into the kernel.
type Module struct {
	Name         string `cel:"name"`
	Taint        string `cel:"taint"`  // letters: O not of the kernel's tree, E not signed, F forced, P of another licence, C staging; "" none
	State        string `cel:"state"`  // Live, Loading, Unloading; "" of a hidden one
	Hidden       bool   `cel:"hidden"` // it is in /sys/module and not in the list
	File         string `cel:"file"`   // that modules.dep names for it, "" if it names none
	Package      string `cel:"package"`
	PackageKnown bool   `cel:"package_known"`
}

// Key tells modules apart.
func (m Module) Key() string { return fmt.Sprintf("%q", m.Name) }

// Plain reports whether nothing is odd about a module: it is in the list, of a
// package, and the kernel is not tainted by it. Such ones come and go with what
// the host is used for.
func (m Module) Plain() bool { return !m.Hidden && m.Taint == "" && m.PackageKnown && m.Package != "" }

// Compared spells what is compared of a module. The folder and the package that
// are named after the kernel's release are others after each update.
func (m Module) Compared() string {
	packaged, file := "unknown", m.File
	switch {
	case m.PackageKnown && m.Package == "":
		packaged = `"no"`
	case m.PackageKnown:
		packaged = `"yes"`
	}
	if rest, ok := strings.CutPrefix(file, "/lib/modules/"); ok {
		_, file, _ = strings.Cut(rest, "/")
	}
	return fmt.Sprintf("taint=%q hidden=\"%t\" file=%q packaged=%s", m.Taint, m.Hidden, file, packaged)
}

// mounted makes sure that the kernel answers at all: what a folder lacks that
// nothing is mounted on is not gone.
func mounted(r *dirfd.Root, p entry.Path) error {
	if _, err := facts.StatOf(r, p); err != nil {
		return fmt.Errorf("%s cannot be looked at, is it mounted? %v", p, err) // never Absent
	}
	return nil
}

// Modules reads the modules of a running kernel: its list, and what is in
// /sys/module beside that. A kernel that cannot load any has no list.
func Modules(ctx context.Context, h facts.Host) facts.Answer[Module] {
	if !h.Live {
		return facts.OfflineAnswer[Module]("which modules the kernel has")
	}
	a := facts.Answer[Module]{Status: rules.OK, Via: "/proc/modules"}
	if a.Fail(mounted(h.Root, "/proc/sys/kernel")); a.Status != rules.OK {
		return a
	}
	b, err := h.Root.ReadFile("/proc/modules", maxFile)
	if err != nil {
		a.Fail(err)
		return a
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		m, ok := parseModule(line)
		if !ok || listed[m.Name] || len(a.Rows) >= maxRows {
			a.Fail(fmt.Errorf("/proc/modules: %w: %.80q", facts.ErrModule, line))
			continue
		}
		listed[m.Name] = true
		a.Rows = append(a.Rows, m)
	}
	err = h.Root.List("/sys/module", func(name string, _ entry.Kind) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir := entry.Path("/sys/module").Join([]byte(name))
		// What is built into the kernel has no state.
		if _, err := h.Root.ReadFile(dir.Join([]byte("initstate")), 64); facts.Missing(err) || listed[name] {
			return nil
		}
		t, err := text(h.Root, dir.Join([]byte("taint")))
		if err != nil && !facts.Missing(err) {
			a.Fail(err)
		}
		if len(a.Rows) >= maxRows {
			return fmt.Errorf("over %d modules", maxRows)
		}
		a.Rows = append(a.Rows, Module{Name: name, Taint: t, Hidden: true})
		return nil
	})
	if err != nil && !facts.Missing(err) {
		a.Fail(err)
	}
	a.Fail(files(h.Root, a.Rows))
	return a
}

// parseModule reads a line of proc_modules(5): name size uses dependents state
// address (taint).
func parseModule(line string) (m Module, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || strings.ContainsAny(f[0], "/\x00") {
		return m, false
	}
	m.Name, m.State = f[0], f[4]
	if len(f) > 6 {
		m.Taint = strings.Trim(f[6], "()+-")
	}
	return m, true
}

// files fills in the files of modules.
func files(r *dirfd.Root, rows []Module) error {
	release, err := text(r, "/proc/sys/kernel/osrelease")
	if err != nil || release == "" || release == "." || release == ".." || strings.Contains(release, "/") {
		return err
	}
	dir := entry.Path("/lib/modules").Join([]byte(release))
	f, err := r.OpenFile(dir.Join([]byte("modules.dep")))
	if err != nil {
		if facts.Missing(err) {
			return nil
		}
		return err
	}
	defer f.Close()
	var names []string
	for _, m := range rows {
		names = append(names, m.Name)
	}
	at, err := facts.ModuleFiles(f, names)
	for i := range rows {
		if name := at[rows[i].Name]; strings.HasPrefix(name, "/") {
			rows[i].File = name
		} else if name != "" {
			rows[i].File = string(dir) + "/" + name
		}
	}
	return err
}

// text reads a small file of /proc or /sys, without the end of its line.
func text(r *dirfd.Root, p entry.Path) (string, error) {
	b, err := r.ReadFile(p, 64<<10)
	return strings.TrimRight(string(b), "\r\n\x00"), err
}

var errMany = errors.New("too many names")
