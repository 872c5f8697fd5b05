package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"intact/rules/pkgdb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/transaction"
	"intact/scanner/entry"
)

const (
	dpkgStatus   = entry.Path("/var/lib/dpkg/status")
	frontendLock = "/var/lib/dpkg/lock-frontend"
)

// dpkgCall is the command line of the dpkg that runs a hook.
type dpkgCall struct {
	pid                int
	names              []string // what are no options; of packages or of files
	recursive, pending bool
}

// dpkgArguments finds the dpkg that runs this hook and the packages on its
// command line. dpkg itself tells a hook only what it does. The files that it
// returns stand beside h.t.Packages. told: there is nothing but what apt told.
func (h *hook) dpkgArguments(action string) (files []string, told bool) {
	pid, args := dpkgAbove(os.Getppid())
	if pid == 0 {
		h.problem("%sthe dpkg that runs the hook is not found", transaction.Uncaptured)
		return nil, false
	}
	h.t.Command = cut(strings.Join(args, " "))
	c := readCall(pid, args)
	switch action {
	case "remove", "purge":
		files = h.removals(c, action)
	default:
		files = h.archives(c)
	}
	all := len(files)
	files = h.leaveToApt(c, files)
	return files, all > 0 && len(files) == 0
}

// readCall parts the arguments of a dpkg from its options. What begins like an
// option behind "--" or the first argument is none.
func readCall(pid int, args []string) *dpkgCall {
	c := &dpkgCall{pid: pid}
	for i, a := range args[min(1, len(args)):] {
		switch {
		case a == "":
		case a[0] != '-':
			c.names = append(c.names, a)
		case a == "--":
			c.names = append(c.names, args[i+2:]...)
			return c
		case a == "--recursive":
			c.recursive = true
		case a == "--pending":
			c.pending = true
		case a[1:] != "" && a[1] != '-':
			c.recursive = c.recursive || strings.ContainsRune(a, 'R')
			c.pending = c.pending || strings.ContainsRune(a, 'a')
			if len(c.names) > 0 {
				c.names = append(c.names, a)
			}
		case len(c.names) > 0:
			c.names = append(c.names, a)
		}
	}
	return c
}

// archives finds the packages that are unpacked. What dpkg would take for one, it
// may be called what it will.
func (h *hook) archives(c *dpkgCall) (files []string) {
	add := func(name string) {
		if len(files) < transaction.MaxPackages {
			files = append(files, name)
			h.t.Packages = append(h.t.Packages, transaction.Package{Name: "unknown", Arch: "unknown", New: "unknown", Action: transaction.Unpack, Level: manifest.None, Problem: transaction.Uncaptured + "the hook did not finish"})
		}
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", c.pid))
	if err != nil {
		h.problem("%sthe folder of dpkg: %v", transaction.Uncaptured, err)
	}
	for _, a := range c.names {
		if !filepath.IsAbs(a) {
			a = filepath.Join(cwd, a)
		}
		st, err := os.Stat(a)
		switch {
		case err != nil:
			if strings.HasSuffix(a, ".deb") {
				h.problem("%s%q: %v", transaction.Uncaptured, a, err)
			} // else the value of an option
		case st.IsDir():
			if c.recursive {
				h.archivesBelow(a, add)
			}
		case !st.Mode().IsRegular():
			if a != os.DevNull {
				h.problem("%s%q is not a regular file", transaction.Uncaptured, a)
			}
		case strings.HasSuffix(a, ".deb") || isArchive(a):
			add(a)
		}
	}
	return files
}

// Bounds of a folder given to dpkg --recursive.
const (
	maxBelow      = 1 << 17 // names
	maxBelowDepth = 32
)

// archivesBelow adds what dpkg --recursive finds: files that end in .deb, links to
// them, and what is in folders, links to them included.
func (h *hook) archivesBelow(dir string, add func(string)) {
	left := maxBelow
	var walk func(dir string, depth int)
	walk = func(dir string, depth int) {
		list, err := os.ReadDir(dir)
		if err == nil && depth > maxBelowDepth {
			err = errors.New("too deep")
		}
		if err != nil {
			h.problem("%s%q is not read: %v", transaction.Uncaptured, dir, err)
			return
		}
		for _, e := range list {
			if left--; left < 0 {
				return
			}
			name := filepath.Join(dir, e.Name())
			if st, err := os.Stat(name); err == nil && st.IsDir() {
				walk(name, depth+1)
			} else if err == nil && st.Mode().IsRegular() && strings.HasSuffix(name, ".deb") {
				add(name)
			}
		}
	}
	if walk(dir, 0); left < 0 {
		h.problem("%sof over %d files in %q not all are looked at", transaction.Uncaptured, maxBelow, dir)
	}
}

// problem notes what concerns the transaction as a whole, as much as it can hold.
func (h *hook) problem(format string, args ...any) {
	if len(h.t.Problems) < maxProblems {
		h.t.Problems = append(h.t.Problems, cut(fmt.Sprintf(format, args...)))
	}
}

// maxProblems is how many problems a transaction is given.
const maxProblems = 64

// isArchive reports whether a file begins as packages do.
func isArchive(name string) bool {
	const magic = "!<arch>\n"
	f, err := openPackage(name)
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, len(magic))
	_, err = io.ReadFull(f, b)
	return err == nil && bytes.Equal(b, []byte(magic))
}

// removals notes the packages that go: those that are named, or those that wait
// for it.
func (h *hook) removals(c *dpkgCall, action string) []string {
	var files []string
	add := func(s *pkgdb.DpkgState) {
		p := transaction.Package{Name: s.Name, Arch: s.Arch, Old: s.Version, Action: transaction.Remove, Level: manifest.None}
		if p.Arch == "" {
			p.Arch = "any"
		}
		if len(files) < transaction.MaxPackages {
			h.listOf(&p, s.Arch)
			h.t.Packages, files = append(h.t.Packages, p), append(files, "")
		}
	}
	states := h.installed()
	for _, n := range c.names {
		name, arch, _ := strings.Cut(n, ":")
		found := false
		for i := range states {
			if s := &states[i]; s.Name == name && (arch == "" || s.Arch == arch) {
				add(s)
				found = true
			}
		}
		if !found {
			h.problem("no package %q is installed", n)
		}
	}
	for i := range states {
		s := &states[i]
		if c.pending && (s.Want == "purge" || s.Want == "deinstall" && action == "remove" && s.Status != "config-files") {
			add(s)
		}
	}
	return files
}

// installed is what the local database has, read once.
func (h *hook) installed() []pkgdb.DpkgState {
	if !h.statesRead {
		var err error
		if h.states, err = pkgdb.DpkgStates(h.ctx, packageRoot{h.root}); err != nil {
			h.problem("what is installed is not known: %v", err)
		}
		h.statesRead = true
	}
	return h.states
}

// installedVersion is the version that the local database has of a package, of
// any architecture where arch is empty; "" for none.
func (h *hook) installedVersion(name, arch string) string {
	for _, s := range h.installed() {
		if s.Name == name && (arch == "" || s.Arch == arch) {
			return s.Version
		}
	}
	return ""
}

// leaveToApt drops what a transaction of apt has already, which calls this dpkg:
// archives by their content, removals by name and version. Nothing that the caller
// of dpkg says of itself counts, and no variable of the environment. apt is a
// process above this one that holds the lock of frontends: dpkg takes that later.
func (h *hook) leaveToApt(c *dpkgCall, files []string) []string {
	holder, held := h.lockHolder(frontendLock)
	if len(files) == 0 || !held || holder <= 0 || holder == c.pid || !above(holder) {
		return files
	}
	list, _, err := h.transactions()
	if err != nil {
		return files // what cannot be read has nothing
	}
	archives := map[string]bool{}
	type gone struct{ name, version string }
	removed := map[gone]bool{}
	for i := range list {
		t := &list[i]
		if t.Manager != transaction.Apt || !t.Ended.IsZero() || h.t.Began.Sub(t.Began).Abs() >= abandoned {
			continue
		}
		for _, p := range t.Packages {
			if sum, _, ok := strings.Cut(p.Manifest, "-"); ok {
				archives[sum] = true
			}
			if p.Action == transaction.Remove {
				removed[gone{p.Name, p.Old}] = true
			}
		}
	}
	var rest []transaction.Package
	var kept []string
	for i, f := range files {
		p := h.t.Packages[i]
		if f == "" && removed[gone{p.Name, p.Old}] || f != "" && archives[archiveSum(f)] {
			continue
		}
		rest, kept = append(rest, p), append(kept, f)
	}
	h.t.Packages = rest
	return kept
}

// archiveSum is the SHA-256 of a package's file as manifests are named, "" where it
// cannot be read.
func archiveSum(name string) string {
	f, err := openPackage(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// dpkgActs reports whether dpkg does something to packages by an action.
func dpkgActs(action string) bool {
	return slices.Contains([]string{"unpack", "install", "remove", "purge"}, action)
}

// dpkgAbove looks for a process that is dpkg among those that led to pid. One that
// is being replaced is dpkg still.
func dpkgAbove(pid int) (int, []string) {
	for range 8 {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if filepath.Base(strings.TrimSuffix(exe, " (deleted)")) == "dpkg" {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err != nil || len(b) == 0 {
				return 0, nil
			}
			return pid, strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
		}
		if pid = parentOf(pid); pid <= 1 {
			break
		}
	}
	return 0, nil
}

// parentOf is the parent of a process, 0 where it is not known.
func parentOf(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
	if f := strings.Fields(rest); len(f) > 1 {
		n, _ := strconv.Atoi(f[1]) // not a number: 0
		return n
	}
	return 0
}
