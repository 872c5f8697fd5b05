package facts

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxModules and maxModuleLine bound what is read of /proc/modules and of
// modules.dep.
const (
	maxModules    = 64 << 10
	maxModuleLine = 1 << 20
)

// ErrModule is a line of /proc/modules or modules.dep that is none.
var ErrModule = errors.New("not a line about a kernel module")

// Modules returns the names of the kernel modules that say they are loaded, as
// the kernel lists them. One that hides itself is not among them. Without
// /proc/modules the kernel cannot load any, or it is not shown here: the error
// wraps fs.ErrNotExist.
func (p Proc) Modules() ([]string, error) {
	f, err := os.Open(filepath.Join(p.Dir, "modules"))
	if err != nil {
		return nil, fmt.Errorf("list kernel modules: %w", err)
	}
	defer f.Close()
	var out []string
	err = lines(f, func(line []byte) error {
		name, err := parseModule(line)
		if err != nil {
			return err
		}
		if out = append(out, name); len(out) > maxModules {
			return fmt.Errorf("over %d modules", maxModules)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list kernel modules: %w", err)
	}
	return out, nil
}

// Release returns the release of the running kernel, as uname(2) has it.
func (p Proc) Release() (string, error) {
	f, err := os.Open(filepath.Join(p.Dir, "sys/kernel/osrelease"))
	if err != nil {
		return "", fmt.Errorf("release of the kernel: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 256))
	name := strings.TrimSuffix(string(b), "\n")
	if err == nil && (name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00")) {
		err = fmt.Errorf("it is %q", name)
	}
	if err != nil {
		return "", fmt.Errorf("release of the kernel: %w", err)
	}
	return name, nil
}

func lines(r io.Reader, each func([]byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxModuleLine)
	for n := 1; s.Scan(); n++ {
		if err := each(s.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s.Err()
}

// parseModule reads "name size uses dependents state address [taint]",
// proc_modules(5).
func parseModule(line []byte) (string, error) {
	f := bytes.Fields(line)
	if len(f) < 5 || bytes.IndexByte(f[0], '/') >= 0 || bytes.IndexByte(f[0], 0) >= 0 {
		return "", fmt.Errorf("%w: %.80q", ErrModule, line)
	}
	return string(f[0]), nil
}

// ModuleFiles reads modules.dep of depmod(8) and returns the file of each
// wanted module, as it stands there: relative to the folder of modules.dep, or
// absolute. Of a module that is named twice the first counts, as for modprobe.
func ModuleFiles(dep io.Reader, wanted []string) (map[string]string, error) {
	out := map[string]string{}
	want := map[string]bool{}
	for _, w := range wanted {
		want[moduleName(w)] = true
	}
	err := lines(dep, func(line []byte) error {
		file, ok := parseDep(line)
		if !ok {
			return fmt.Errorf("%w: %.80q", ErrModule, line)
		}
		if name := moduleOf(file); name != "" && want[name] && out[name] == "" {
			out[name] = file
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read modules.dep: %w", err)
	}
	byName := map[string]string{}
	for _, w := range wanted {
		if f := out[moduleName(w)]; f != "" {
			byName[w] = f
		}
	}
	return byName, nil
}

// parseDep returns what stands before the colon of "file: file…".
func parseDep(line []byte) (string, bool) {
	file, _, ok := bytes.Cut(line, []byte(":"))
	return string(file), ok && len(file) > 0 && bytes.IndexByte(file, 0) < 0
}

// moduleOf returns the name of the module in a file, "" if it is none.
func moduleOf(file string) string {
	base := file[strings.LastIndexByte(file, '/')+1:]
	for _, packed := range []string{".gz", ".xz", ".zst"} {
		base = strings.TrimSuffix(base, packed)
	}
	name, ok := strings.CutSuffix(base, ".ko")
	if !ok {
		return ""
	}
	return moduleName(name)
}

// moduleName writes a name as the kernel does: it knows no dash.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }
