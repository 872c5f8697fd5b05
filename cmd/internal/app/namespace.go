package app

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// maxMountinfo bounds what is read of a mount table, in bytes; maxNamed is how
// many differing mount points are named.
const (
	maxMountinfo = 16 << 20
	maxNamed     = 10
)

// namespaceNotes says how the mounts that this process sees differ from those
// of pid 1: a scan in a container, or in a namespace that somebody prepared,
// looks at another tree than the host runs on.
func namespaceNotes(proc string) []string {
	ours, err1 := os.Readlink(proc + "/self/ns/mnt")
	first, err2 := os.Readlink(proc + "/1/ns/mnt")
	switch {
	case err1 != nil || err2 != nil:
		return []string{"whether pid 1 sees the same mounts could not be found out: that takes root, and /proc"}
	case ours == first:
		return nil
	}
	note := fmt.Sprintf("this ran in another mount namespace than pid 1 (%s, pid 1 has %s)", ours, first)
	a, err1 := mountPoints(proc + "/self/mountinfo")
	b, err2 := mountPoints(proc + "/1/mountinfo")
	if err1 != nil || err2 != nil {
		return []string{note}
	}
	notes := []string{note}
	for _, d := range []struct {
		only, other map[string]bool
		who         string
	}{{a, b, "only here"}, {b, a, "only pid 1 has"}} {
		var names []string
		for m := range d.only {
			if !d.other[m] {
				names = append(names, m)
			}
		}
		slices.Sort(names)
		if n := len(names); n > maxNamed {
			names = append(names[:maxNamed], fmt.Sprintf("%d more", n-maxNamed))
		}
		if len(names) > 0 {
			notes = append(notes, d.who+" the mounts "+strings.Join(names, ", "))
		}
	}
	return notes
}

// mountPoints returns "type source on point" of each line of a mount table,
// proc_pid_mountinfo(5), in the kernel's own escapes.
func mountPoints(name string) (map[string]bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMountinfo))
	if err != nil {
		return nil, err
	}
	m := map[string]bool{}
	for l := range bytes.Lines(b) {
		left, right, ok := strings.Cut(strings.TrimSpace(string(l)), " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if ok && len(fields) > 4 && len(kind) > 1 {
			m[kind[0]+" "+kind[1]+" on "+fields[4]] = true
		}
	}
	return m, nil
}
