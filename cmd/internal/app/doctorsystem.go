package app

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"intact/scanner/dirfd"
	"intact/scanner/policy"
)

// watches holds the limits of inotify(7) against the directories that a
// watch by inotify needs; one by fanotify needs none.
func (d *doctor) watches() {
	if d.gen == nil {
		return
	}
	n, err := d.hotDirectories()
	if err != nil {
		d.note("directories", "", "those to watch cannot be counted: %v", err)
		return
	}
	if n == 0 {
		d.ok("directories", "the policy of the baseline has no hot paths")
		return
	}
	for _, l := range []struct {
		name string
		need int64
	}{{"max_user_watches", n}, {"max_user_instances", 1}} {
		b, err := os.ReadFile("/proc/sys/fs/inotify/" + l.name)
		limit, err2 := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		switch {
		case errors.Join(err, err2) != nil:
			d.note(l.name, "", "it cannot be read")
		case limit < l.need+l.need/4:
			d.note(l.name, fmt.Sprintf("sysctl fs.inotify.%s=%d", l.name, 2*l.need), "%d, and %s on hot paths", limit, directories(n))
		default:
			d.ok(l.name, "%d, %s on hot paths", limit, directories(n))
		}
	}
}

func directories(n int64) string {
	if n == 1 {
		return "1 directory"
	}
	return fmt.Sprintf("%d directories", n)
}

// hotDirectories counts the directories of the baseline that lie on hot paths.
// The baseline is read only where its policy has such paths.
func (d *doctor) hotDirectories() (n int64, err error) {
	p, err := policy.ParseCanonical(d.gen.Policy())
	if err != nil {
		return 0, err
	}
	hot := false
	for _, r := range p.Rules {
		hot = hot || r.Hot
	}
	if !hot {
		return 0, nil
	}
	eff, err := policy.Union(p.ExpandHomes(d.users.homes), nil, nil)
	if err != nil {
		return 0, err
	}
	for b, err := range d.gen.Entries() {
		if err == nil {
			err = d.ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		if r := eff.Decide(b.Dir).Rule; b.Part == 0 && r != nil && r.Hot {
			n++
		}
	}
	return n, nil
}

// Numbers of capabilities(7).
const (
	capDacOverride   = 1
	capDacReadSearch = 2
	capFowner        = 3
)

// effective returns the effective capabilities in the text of
// /proc/self/status, a bit each.
func effective(status []byte) (caps uint64, err error) {
	for line := range bytes.Lines(status) {
		if v, ok := bytes.CutPrefix(line, []byte("CapEff:")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(v)), 16, 64)
		}
	}
	return 0, errors.New("there is no line CapEff")
}

// system says what this user may see and what the kernel can do.
func (d *doctor) system() {
	status, err := os.ReadFile("/proc/self/status")
	caps, err2 := effective(status)
	if err := errors.Join(err, err2); err != nil {
		d.note("user", "mount -t proc proc /proc", "what it may do is not known: %v", err)
	} else {
		d.user(caps)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		d.ok("kernel", "%s %s", unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]))
	}
	for _, f := range []struct {
		name, without string
		there         func() bool
	}{
		{"openat2", "links inside of an image are followed name by name", d.hasOpenat2},
		{"mount ids", "a bind mount of the same file system cannot be told from a directory", d.hasMountIDs},
		{"cachestat", "files that the cache does not hold are not put off", hasCachestat},
		{"mount table", "what is mounted is told by ids alone", d.root.Mounts().Known},
	} {
		if f.there() {
			d.ok(f.name, "used")
		} else {
			d.note(f.name, "", "missing: %s", f.without)
		}
	}
	d.guards()
}

// guards tells of parts of the kernel that guard files by themselves.
func (d *doctor) guards() {
	found := func(name string, patterns ...string) {
		for _, g := range patterns {
			if list, _ := filepath.Glob(g); len(list) > 0 { // the patterns are well-formed
				d.note(name, "", "present (%s); intact does not use it", list[0])
				return
			}
		}
		d.ok(name, "not present")
	}
	found("IMA", "/sys/kernel/security/ima", "/sys/kernel/security/integrity/ima")
	found("fs-verity", "/proc/sys/fs/verity", "/sys/fs/*/features/verity")
}

func (d *doctor) user(caps uint64) {
	has := func(n uint) bool { return caps>>n&1 == 1 }
	me := d.hostUser(uint32(os.Geteuid()))
	if has(capDacReadSearch) || has(capDacOverride) {
		d.ok("user", "%s, who may read every file", me)
	} else {
		d.note("user", "run intact as root, or with CAP_DAC_READ_SEARCH", "%s, who cannot read what others closed: such files are gaps", me)
	}
	if has(capFowner) {
		d.ok("O_NOATIME", "allowed on every file: a scan leaves no access times")
	} else {
		d.note("O_NOATIME", "run intact as root, or with CAP_FOWNER", "allowed on %s's own files only: reading others may set their access times", me)
	}
}

func (d *doctor) hasOpenat2() bool {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

func (d *doctor) hasMountIDs() bool {
	dir := d.root.Dir()
	defer dir.Release()
	var st dirfd.Stat
	return dir.StatSelf(&st) == nil && st.Mount != 0
}

// hasCachestat asks about a file that is there for certain. Of the files of
// others, an ordinary user gets no answer.
func hasCachestat() bool {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return false
	}
	defer f.Close()
	var c unix.Cachestat_t
	return unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &c, 0) != unix.ENOSYS
}
