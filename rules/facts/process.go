package facts

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Proc is a mounted proc(5).
type Proc struct{ Dir string }

// HostProc is the one of the running host.
func HostProc() Proc { return Proc{Dir: "/proc"} }

// maxPIDs bounds the list of processes: the kernel's own limit, PID_MAX_LIMIT.
const maxPIDs = 4 << 20

// PIDs returns the ids of all processes that are visible, in rising order.
func (p Proc) PIDs() ([]int, error) {
	d, err := os.Open(p.Dir)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer d.Close()
	var out []int
	for {
		names, err := d.Readdirnames(4096)
		for _, n := range names {
			if pid, ok := parsePID(n); ok {
				out = append(out, pid)
			}
		}
		if len(out) > maxPIDs {
			return nil, fmt.Errorf("list processes: over %d of them", maxPIDs)
		}
		if err == io.EOF {
			slices.Sort(out)
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
	}
}

// parsePID reads the name of a process's directory: decimal, from 1, in one
// spelling.
func parsePID(s string) (int, bool) {
	n, err := strconv.ParseInt(s, 10, 32)
	return int(n), err == nil && n > 0 && strconv.FormatInt(n, 10) == s
}

// Process is one process, held by its directory: what is read through it is
// never that of another one that got the same id later.
type Process struct {
	PID int
	dir *os.Root
}

// Process opens the directory of a process.
func (p Proc) Process(pid int) (*Process, error) {
	r, err := os.OpenRoot(filepath.Join(p.Dir, strconv.Itoa(pid)))
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &Process{PID: pid, dir: r}, nil
}

// Close gives the directory back.
func (p *Process) Close() { p.dir.Close() }

// Dir opens the directory once more, for a caller who follows the magic links
// in it by descriptor.
func (p *Process) Dir() (*os.File, error) { return p.dir.Open(".") }

// Link reads a magic link: exe, ns/mnt, map_files/…. Its text is what the
// kernel makes of a path: " (deleted)" may have been added, or be part of a
// name that somebody chose. Only device and inode tell.
func (p *Process) Link(name string) (string, error) { return p.dir.Readlink(name) }

// Name returns what the process calls itself, up to 15 bytes of its choice; ""
// where that cannot be read.
func (p *Process) Name() string {
	f, err := p.dir.Open("comm")
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSuffix(b, []byte("\n")))
}

// Mapping is one line of maps, proc_pid_maps(5).
type Mapping struct {
	Start, End   uint64
	Exec         bool
	Major, Minor uint32 // of the file's device
	Inode        uint64 // 0: no file
	Name         string // with a newline as \012; for people, and a first guess where to look
}

// File names the link below map_files that leads to the mapped file itself.
func (m *Mapping) File() string { return fmt.Sprintf("map_files/%x-%x", m.Start, m.End) }

// Anonymous reports memory that no file is behind and that the kernel did not
// put there itself.
func (m *Mapping) Anonymous() bool {
	if m.Inode != 0 || strings.HasPrefix(m.Name, "/") {
		return false
	}
	switch m.Name {
	case "[vdso]", "[vsyscall]", "[vvar]", "[vvar_vclock]", "[uprobes]":
		return false // a process names its own memory "[anon:…]" only
	}
	return true
}

// maxMapsLine bounds one line: a path of PATH_MAX bytes, each of them escaped.
const maxMapsLine = 5 * 4096

// maxMappings bounds the lines that are read of one process; vm.max_map_count
// is 65,530 unless somebody raised it.
const maxMappings = 4 << 20

// Mappings calls each for every executable mapping, in the order of addresses.
func (p *Process) Mappings(each func(Mapping) error) error {
	f, err := p.dir.Open("maps")
	if err != nil {
		return fmt.Errorf("maps of process %d: %w", p.PID, err)
	}
	defer f.Close()
	if err := readMappings(f, each); err != nil {
		return fmt.Errorf("maps of process %d: %w", p.PID, err)
	}
	return nil
}

func readMappings(r io.Reader, each func(Mapping) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 4096), maxMapsLine)
	for n := 1; s.Scan(); n++ {
		if n > maxMappings {
			return fmt.Errorf("over %d mappings", maxMappings)
		}
		m, err := ParseMapping(s.Bytes())
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if m.Exec {
			if err := each(m); err != nil {
				return err
			}
		}
	}
	return s.Err()
}

// ErrMapping is a line of maps that is none.
var ErrMapping = errors.New("not a mapping")

// ParseMapping reads a line of maps without its newline:
//
//	start-end perms offset major:minor inode   name
//
// Numbers are hexadecimal but for the inode; the name is all of the rest and
// may be empty.
func ParseMapping(line []byte) (m Mapping, err error) {
	rest := string(line)
	field := func() (f string) {
		f, rest, _ = strings.Cut(rest, " ")
		return f
	}
	span, perms, _, dev, inode := field(), field(), field(), field(), field()
	from, to, ok1 := strings.Cut(span, "-")
	major, minor, ok2 := strings.Cut(dev, ":")
	if !ok1 || !ok2 || len(perms) != 4 {
		return m, fmt.Errorf("%w: %.80q", ErrMapping, line)
	}
	number := func(s string, base, bits int) uint64 {
		v, e := strconv.ParseUint(s, base, bits)
		if e != nil {
			err = fmt.Errorf("%w: %.80q", ErrMapping, line)
		}
		return v
	}
	m.Start, m.End = number(from, 16, 64), number(to, 16, 64)
	m.Major, m.Minor = uint32(number(major, 16, 32)), uint32(number(minor, 16, 32))
	m.Inode = number(inode, 10, 64)
	m.Exec = perms[2] == 'x'
	m.Name = strings.TrimLeft(rest, " ")
	if err == nil && m.Start >= m.End {
		err = fmt.Errorf("%w: %.80q", ErrMapping, line)
	}
	if err != nil {
		return Mapping{}, err
	}
	return m, nil
}
