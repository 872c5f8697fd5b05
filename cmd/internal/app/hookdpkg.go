package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"intact/rules/pkgdb/deb822"
	"intact/rules/pkgdb/manifest"
	"intact/rules/pkgdb/transaction"
	"intact/scanner/entry"
)

const dpkgStatus = entry.Path("/var/lib/dpkg/status")

// insideApt reports whether apt runs this dpkg and told its own hook what it
// does.
func (h *hook) insideApt() (bool, error) {
	if os.Getenv("DPKG_FRONTEND_LOCKED") == "" {
		return false, nil
	}
	list, _, err := h.transactions()
	for i := range list {
		if list[i].Manager == transaction.Apt && list[i].Ended.IsZero() && h.t.Began.Sub(list[i].Began) < abandoned {
			return true, nil
		}
	}
	return false, err
}

// dpkgArguments finds the dpkg that runs this hook and the packages on its
// command line. dpkg itself tells a hook only what it does.
func (h *hook) dpkgArguments(action string) ([]string, error) {
	switch action {
	case "unpack", "install", "remove", "purge":
	default:
		return nil, nil
	}
	pid, args := dpkgAbove(os.Getppid())
	if pid == 0 {
		return nil, errors.New("the dpkg that runs the hook is not found")
	}
	h.t.Command = cut(strings.Join(args, " "))
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, a := range args[1:] {
		if a == "" || a[0] == '-' {
			continue
		}
		if action == "remove" || action == "purge" {
			if !h.removes(a) {
				h.t.Problems = append(h.t.Problems, cut(fmt.Sprintf("no package %q is installed", a)))
			}
			files = append(files, "")
			continue
		}
		if !filepath.IsAbs(a) {
			a = filepath.Join(cwd, a)
		}
		st, err := os.Stat(a)
		switch {
		case err != nil || !strings.HasSuffix(a, ".deb") && !st.IsDir():
			continue // the value of an option
		case st.IsDir():
			h.t.Problems = append(h.t.Problems, cut(fmt.Sprintf("%s%q is a folder", transaction.Uncaptured, a)))
		default:
			files = append(files, a)
			h.t.Packages = append(h.t.Packages, transaction.Package{Name: "unknown", Arch: "unknown", New: "unknown", Action: transaction.Unpack, Level: manifest.None, Problem: transaction.Uncaptured + "the hook did not finish"})
		}
	}
	return files, nil
}

// removes notes that a package goes.
func (h *hook) removes(name string) bool {
	name, arch, _ := strings.Cut(name, ":")
	version := h.installedVersion(name, arch)
	if version == "" {
		return false
	}
	p := transaction.Package{Name: name, Arch: "any", Old: version, Action: transaction.Remove, Level: manifest.None}
	if arch != "" {
		p.Arch = arch
	}
	if l, err := h.keepList(name, arch); err == nil && l != nil {
		p.List = l.Digest()
	}
	h.t.Packages = append(h.t.Packages, p)
	return true
}

// installedVersion is the version that the local database has of a package, of
// any architecture where arch is empty; "" for none.
func (h *hook) installedVersion(name, arch string) string {
	f, err := h.root.OpenFile(dpkgStatus)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			h.t.Problems = append(h.t.Problems, cut(err.Error()))
		}
		return ""
	}
	defer f.Close()
	in := deb822.NewReader(f, string(dpkgStatus))
	for {
		st, err := in.Next()
		if err != nil {
			return ""
		}
		if st.Get("Package") == name && (arch == "" || st.Get("Architecture") == arch) && !strings.HasSuffix(st.Get("Status"), "not-installed") {
			return st.Get("Version")
		}
	}
}

// dpkgAbove looks for a process that is dpkg among those that led to pid.
func dpkgAbove(pid int) (int, []string) {
	for range 8 {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if filepath.Base(exe) == "dpkg" {
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
