package kernel

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Sysctl is a setting of the kernel: one that protects it, or one that is
// configured. Runs of blanks in values are one.
type Sysctl struct {
	Name         string `cel:"name"`       // as net.ipv4.ip_forward; a dot in the name of an interface is a /
	Configured   string `cel:"configured"` // by the last file that sets it
	IsConfigured bool   `cel:"is_configured"`
	At           string `cel:"at"` // file:line of that
	Running      string `cel:"running"`
	RunningKnown bool   `cel:"running_known"` // it could be read: of an image it cannot
	Exists       bool   `cel:"exists"`        // the kernel that runs has it
	Differs      bool   `cel:"differs"`       // both are known, and not the same
}

// Key tells settings apart.
func (s Sysctl) Key() string { return fmt.Sprintf("%q", s.Name) }

// Compared spells what is compared of a setting.
func (s Sysctl) Compared() string {
	configured, running := "unset", "unknown"
	if s.IsConfigured {
		configured = "set:" + s.Configured
	}
	if s.RunningKnown {
		running = fmt.Sprintf("%q", "is:"+s.Running)
	}
	return fmt.Sprintf("configured=%q running=%s", configured, running)
}

// guarded are the settings that rules ask for. A * is each interface of the
// network but one end of a container's pair (veth*), which comes and goes.
var guarded = []string{
	"kernel.randomize_va_space", "kernel.yama.ptrace_scope", "fs.suid_dumpable", "kernel.core_pattern", "kernel.kptr_restrict", "kernel.dmesg_restrict",
	"kernel.unprivileged_bpf_disabled", "net.core.bpf_jit_harden", "kernel.perf_event_paranoid", "kernel.kexec_load_disabled", "kernel.modules_disabled", "kernel.sysrq",
	"kernel.modprobe", "kernel.unprivileged_userns_clone", "fs.protected_symlinks", "fs.protected_hardlinks", "fs.protected_fifos", "fs.protected_regular",
	"vm.mmap_min_addr", "dev.tty.ldisc_autoload", "net.ipv4.ip_forward", "net.ipv4.tcp_syncookies", "net.ipv4.icmp_echo_ignore_broadcasts", "net.ipv4.icmp_ignore_bogus_error_responses",
	"net.ipv4.conf.*.accept_redirects", "net.ipv4.conf.*.secure_redirects", "net.ipv4.conf.*.send_redirects", "net.ipv4.conf.*.accept_source_route", "net.ipv4.conf.*.rp_filter",
	"net.ipv4.conf.*.log_martians", "net.ipv4.conf.*.forwarding", "net.ipv6.conf.*.accept_redirects", "net.ipv6.conf.*.accept_source_route", "net.ipv6.conf.*.accept_ra", "net.ipv6.conf.*.forwarding",
}

// folders are where sysctl.d(5) has its files: of one name the first counts.
var folders = [...]entry.Path{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"}

// Sysctls reads the settings of a host. Of an image those are there that are
// configured.
func Sysctls(ctx context.Context, h facts.Host) facts.Answer[Sysctl] {
	a := facts.Answer[Sysctl]{Status: rules.OK, Via: "sysctl.d"}
	c := &config{ctx: ctx, root: h.Root, set: map[string]Sysctl{}}
	c.all()
	a.Fail(c.problem)
	if h.Live {
		a.Via = "/proc/sys and sysctl.d"
		a.Fail(mounted(h.Root, "/proc/sys/kernel"))
		for _, g := range guarded {
			for _, n := range expand(h.Root, g, &a) {
				if _, ok := c.set[n]; !ok {
					c.set[n] = Sysctl{Name: n}
				}
			}
		}
		// A pattern sets what no line names itself.
		for _, p := range c.patterns {
			for _, n := range expand(h.Root, p.Name, &a) {
				if s := c.set[n]; !s.IsConfigured || c.byPattern(n) {
					s.Name, s.Configured, s.IsConfigured, s.At = n, p.Configured, true, p.At
					c.matched[n] = true
					c.set[n] = s
				}
			}
		}
	} else {
		for _, p := range c.patterns {
			c.set[p.Name] = p
		}
	}
	for _, s := range c.set {
		if len(a.Rows) >= maxRows || ctx.Err() != nil {
			a.Fail(ctx.Err())
			a.Fail(fmt.Errorf("over %d settings", maxRows))
			break
		}
		if h.Live {
			running(h.Root, &s, &a)
		}
		if s.IsConfigured || s.Exists {
			a.Rows = append(a.Rows, s)
		}
	}
	slices.SortFunc(a.Rows, func(x, y Sysctl) int { return strings.Compare(x.Name, y.Name) })
	return a
}

// file is the file of a setting below /proc/sys.
func file(name string) entry.Path {
	b := []byte(name)
	for i, c := range b {
		switch c {
		case '.':
			b[i] = '/'
		case '/':
			b[i] = '.'
		}
	}
	return entry.Path("/proc/sys/" + string(b))
}

// running reads the value that holds. Some can be written only, that is no error.
func running(r *dirfd.Root, s *Sysctl, a *facts.Answer[Sysctl]) {
	p, err := entry.NewPath(string(file(s.Name)))
	if err != nil || !p.Under("/proc/sys") {
		return
	}
	v, err := text(r, p)
	if err != nil {
		if s.Exists = !facts.Missing(err); s.Exists && slices.Contains(guarded, s.Name) {
			a.Fail(err)
		}
		return
	}
	s.Running, s.RunningKnown, s.Exists = blanks(v), true, true
	s.Differs = s.IsConfigured && s.Running != s.Configured
}

func blanks(s string) string { return strings.Join(strings.Fields(s), " ") }

// expand returns the settings that a pattern names, itself if it has no pattern.
func expand(r *dirfd.Root, pattern string, a *facts.Answer[Sysctl]) []string {
	if !strings.ContainsAny(pattern, "*?[") {
		return []string{pattern}
	}
	found := []string{""}
	for part := range strings.SplitSeq(pattern, ".") {
		if !strings.ContainsAny(part, "*?[") {
			for i := range found {
				found[i] += "." + part
			}
			continue
		}
		var next []string
		for _, f := range found {
			dir, err := entry.NewPath(string(file(strings.TrimPrefix(f, "."))))
			if err != nil {
				continue
			}
			err = r.List(dir, func(name string, _ entry.Kind) error {
				if ok, _ := path.Match(strings.ReplaceAll(part, "/", "."), name); !ok || strings.HasPrefix(name, "veth") {
					return nil
				}
				if next = append(next, f+"."+strings.ReplaceAll(name, ".", "/")); len(next) > maxRows {
					return errMany
				}
				return nil
			})
			if err != nil && !facts.Missing(err) {
				a.Fail(err)
			}
		}
		found = next
	}
	for i := range found {
		found[i] = strings.TrimPrefix(found[i], ".")
	}
	return found
}

// config is what the files set.
type config struct {
	ctx      context.Context
	root     *dirfd.Root
	set      map[string]Sysctl
	patterns []Sysctl // in the order of the files
	matched  map[string]bool
	problem  error
	lines    int
}

func (c *config) byPattern(name string) bool { return c.matched[name] }

func (c *config) fail(err error) {
	if c.problem == nil {
		c.problem = err
	}
}

// all reads the files by their names, and sysctl.conf behind them, as sysctl(8)
// does, if none of them leads there.
func (c *config) all() {
	c.matched = map[string]bool{}
	byName := map[string]entry.Path{}
	for _, dir := range folders {
		err := c.root.List(dir, func(name string, _ entry.Kind) error {
			if _, ok := byName[name]; !ok && strings.HasSuffix(name, ".conf") {
				byName[name] = dir.Join([]byte(name))
			}
			if len(byName) > maxNames {
				return errMany
			}
			return nil
		})
		if err != nil && !facts.Missing(err) {
			c.fail(err)
		}
	}
	names := make([]string, 0, len(byName))
	for n := range byName {
		names = append(names, n)
	}
	slices.Sort(names)
	const last = entry.Path("/etc/sysctl.conf")
	read := false
	for _, n := range names {
		at, _, _, err := c.root.Resolve(byName[n])
		if err == nil && at == "/dev/null" {
			continue // masked
		}
		read = read || at == last
		c.file(byName[n])
	}
	if !read {
		c.file(last)
	}
}

func (c *config) file(p entry.Path) {
	if err := c.ctx.Err(); err != nil {
		c.fail(err)
		return
	}
	b, err := c.root.ReadFile(p, maxFile)
	if err != nil {
		if !facts.Missing(err) {
			c.fail(err)
		}
		return
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		s, ok := parseSetting(line)
		if !ok {
			continue
		}
		if c.lines++; c.lines > maxRows {
			c.fail(fmt.Errorf("over %d settings in all files", maxRows))
			return
		}
		s.At = fmt.Sprintf("%s:%d", p, n)
		switch {
		case strings.ContainsAny(s.Name, "*?["):
			c.patterns = append(c.patterns, s)
		default:
			c.set[s.Name] = s
		}
	}
}

// parseSetting reads a line of sysctl.d(5): name = value. A dash before the name
// says that errors do not matter. If the first separator of the name is a slash,
// slashes separate and dots are part of names.
func parseSetting(line string) (s Sysctl, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' || line[0] == ';' {
		return s, false
	}
	name, value, ok := strings.Cut(line, "=")
	name = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), "-"))
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '/' {
		name = strings.TrimPrefix(string(file(name)), "/proc/sys/")
	}
	return Sysctl{Name: name, Configured: blanks(value), IsConfigured: true}, ok && name != "" && strings.IndexByte(name, 0) < 0
}
