package facts

import (
	"fmt"
	"io"
	"strings"
)

// maxCgroup bounds what is read of a process's cgroup file, in bytes.
const maxCgroup = 64 << 10

// Unit returns the unit of systemd that a process belongs to, as "ssh.service",
// by its control group; "" if it is in none. A process with privileges can move
// itself to another group.
func (p *Process) Unit() (string, error) {
	f, err := p.dir.Open("cgroup")
	if err != nil {
		return "", fmt.Errorf("cgroup of process %d: %w", p.PID, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCgroup))
	if err != nil {
		return "", fmt.Errorf("cgroup of process %d: %w", p.PID, err)
	}
	return ParseCgroup(string(b)), nil
}

// ParseCgroup finds the unit in "0::/system.slice/ssh.service" or, of version 1,
// in the line of name=systemd: the last name that ends as units do and is no
// slice.
func ParseCgroup(text string) string {
	unit := ""
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 || parts[1] != "" && parts[1] != "name=systemd" {
			continue
		}
		for name := range strings.SplitSeq(parts[2], "/") {
			for _, suffix := range [...]string{".service", ".scope", ".socket", ".mount", ".swap"} {
				if len(name) > len(suffix) && strings.HasSuffix(name, suffix) {
					unit = name
				}
			}
		}
	}
	return unit
}
