package integrity

import (
	"path"
	"strings"

	"intact/rules"
)

// place is a path, or a shape of paths, whose changes matter by what reads it.
type place struct {
	pattern  string // see matches
	rule     string
	severity rules.Severity // of a file that appears there or has other content
	gone     rules.Severity // of a file that is removed there
	reason   string
	attack   []string // nil: the rule's
}

// The places, the first match decides. A pattern is an absolute path with * in
// components, which is all that is special in it; "/**" at its end stands for the path and all below, "**/" at its
// start for any directory. Paths are matched in their merged form: /usr/lib for
// /lib. The table is written once and never changed.
var places = [...]place{
	{"/etc/ld.so.preload", ruleLoader, rules.Critical, rules.Medium, "is loaded into every program", nil},
	{"/etc/ld.so.cache", ruleLoader, rules.Medium, rules.Medium, "says where libraries are; ldconfig rebuilds it after each package that has any", nil},
	{"/etc/ld.so.conf.d/**", ruleLoader, rules.High, rules.Medium, "says where libraries are looked for", nil},
	{"/etc/ld.so.*", ruleLoader, rules.High, rules.Medium, "says where libraries are looked for", nil},
	{"/usr/lib/ld-*.so*", ruleLoader, rules.High, rules.High, "is the dynamic loader", nil},
	{"/usr/lib64/ld-*.so*", ruleLoader, rules.High, rules.High, "is the dynamic loader", nil},
	{"/usr/lib/*/ld-*.so*", ruleLoader, rules.High, rules.High, "is the dynamic loader", nil},

	{"/etc/pam.d/**", rulePAM, rules.High, rules.High, "decides how users are authenticated", nil},
	{"/etc/pam.conf", rulePAM, rules.High, rules.High, "decides how users are authenticated", nil},
	{"/usr/lib/pam.d/**", rulePAM, rules.High, rules.High, "decides how users are authenticated", nil},
	{"/etc/security/**", rulePAM, rules.High, rules.Medium, "sets up PAM modules", nil},
	{"/usr/lib/security/**", rulePAM, rules.High, rules.High, "is where PAM modules are", nil},
	{"/usr/lib64/security/**", rulePAM, rules.High, rules.High, "is where PAM modules are", nil},
	{"/usr/lib/*/security/**", rulePAM, rules.High, rules.High, "is where PAM modules are", nil},

	{"/etc/passwd", ruleAccounts, rules.High, rules.High, "lists the users", nil},
	{"/etc/shadow", ruleAccounts, rules.High, rules.High, "holds the password hashes", nil},
	{"/etc/group", ruleAccounts, rules.High, rules.High, "lists the groups", nil},
	{"/etc/gshadow", ruleAccounts, rules.High, rules.High, "holds the group passwords", nil},
	{"/etc/subuid", ruleAccounts, rules.High, rules.Medium, "gives users further ids", nil},
	{"/etc/subgid", ruleAccounts, rules.High, rules.Medium, "gives users further ids", nil},
	{"/etc/passwd-", ruleAccounts, rules.Medium, rules.Low, "is the copy before the last change of the users", nil},
	{"/etc/shadow-", ruleAccounts, rules.Medium, rules.Low, "is the copy before the last change of the passwords", nil},
	{"/etc/group-", ruleAccounts, rules.Medium, rules.Low, "is the copy before the last change of the groups", nil},
	{"/etc/gshadow-", ruleAccounts, rules.Medium, rules.Low, "is the copy before the last change of the groups", nil},
	{"/etc/nsswitch.conf", ruleAccounts, rules.High, rules.High, "decides where accounts are looked up", []string{"T1556"}},

	{"/etc/ssh/ssh_known_hosts*", ruleSSH, rules.Medium, rules.Low, "says which hosts are trusted", []string{"T1557"}},
	{"/etc/ssh/**", ruleSSH, rules.High, rules.Medium, "sets up ssh or is a host key", []string{"T1556", "T1098.004"}},
	{"**/.ssh/authorized_keys*", ruleSSH, rules.High, rules.Low, "says which keys may log in", nil},
	{"**/.ssh/rc", ruleSSH, rules.High, rules.Low, "runs at each login", []string{"T1546.004"}},
	{"**/.ssh/environment", ruleSSH, rules.High, rules.Low, "sets the environment of each login", []string{"T1574.006"}},
	{"**/.ssh/config", ruleSSH, rules.High, rules.Low, "can run commands when its user connects", nil},
	{"**/.ssh/known_hosts*", ruleSSH, rules.Low, rules.Low, "grows when its user connects", []string{"T1557"}},
	{"**/.ssh/**", ruleSSH, rules.Medium, rules.Low, "belongs to a user's ssh", nil},

	{"/etc/sudoers", ruleSudo, rules.High, rules.High, "says who may become root", nil},
	{"/etc/sudoers.d/**", ruleSudo, rules.High, rules.High, "says who may become root", nil},
	{"/etc/sudo*.conf", ruleSudo, rules.High, rules.Medium, "sets up sudo", nil},
	{"/etc/doas*.conf", ruleSudo, rules.High, rules.Medium, "says who may become root", nil},
	{"/etc/doas.d/**", ruleSudo, rules.High, rules.Medium, "says who may become root", nil},
	{"/etc/polkit-1/**", ruleSudo, rules.High, rules.Medium, "says who may act as root", nil},
	{"/usr/share/polkit-1/**", ruleSudo, rules.High, rules.Medium, "says who may act as root", nil},

	{"/etc/crontab", ruleCron, rules.High, rules.Medium, "runs commands as root on a schedule", nil},
	{"/etc/anacrontab", ruleCron, rules.High, rules.Medium, "runs commands as root on a schedule", nil},
	{"/etc/cron.d/**", ruleCron, rules.High, rules.Medium, "runs commands as root on a schedule", nil},
	{"/etc/cron.*ly/**", ruleCron, rules.High, rules.Medium, "runs commands as root on a schedule", nil},
	{"/etc/cron.*", ruleCron, rules.High, rules.Medium, "decides who may schedule commands", nil},
	{"/etc/at.*", ruleCron, rules.High, rules.Medium, "decides who may schedule commands", []string{"T1053.002"}},
	{"/var/spool/anacron/**", ruleCron, rules.Low, rules.Low, "notes when scheduled commands ran", nil},
	{"/var/spool/cron/at*/**", ruleCron, rules.High, rules.Low, "is a command to be run later", []string{"T1053.002"}},
	{"/var/spool/at/**", ruleCron, rules.High, rules.Low, "is a command to be run later", []string{"T1053.002"}},
	{"/var/spool/cron/**", ruleCron, rules.High, rules.Medium, "runs a user's commands on a schedule", nil},

	{"/etc/systemd/**", ruleSystemd, rules.High, rules.Medium, "decides what runs as a service", nil},
	{"/usr/lib/systemd/**", ruleSystemd, rules.High, rules.Medium, "decides what runs as a service", nil},
	{"/usr/local/lib/systemd/**", ruleSystemd, rules.High, rules.Medium, "decides what runs as a service", nil},
	{"/run/systemd/**", ruleSystemd, rules.High, rules.Medium, "decides what runs as a service until the next boot", nil},
	{"**/.config/systemd/**", ruleSystemd, rules.High, rules.Medium, "decides what runs as a user's service", nil},
	{"**/.local/share/systemd/**", ruleSystemd, rules.High, rules.Medium, "decides what runs as a user's service", nil},
	{"/etc/init.d/**", ruleSystemd, rules.High, rules.Medium, "runs at boot", []string{"T1037.004"}},
	{"/etc/rc*.d/**", ruleSystemd, rules.High, rules.Medium, "runs at boot", []string{"T1037.004"}},
	{"/etc/rc.local", ruleSystemd, rules.High, rules.Medium, "runs at boot", []string{"T1037.004"}},
	{"/etc/inittab", ruleSystemd, rules.High, rules.Medium, "runs at boot", []string{"T1037.004"}},

	{"/usr/lib/modules/**", ruleModule, rules.High, rules.Medium, "is where the kernel's modules are", nil},
	{"/etc/modules", ruleModule, rules.High, rules.Medium, "says which kernel modules are loaded", nil},
	{"/etc/modules-load.d/**", ruleModule, rules.High, rules.Medium, "says which kernel modules are loaded", nil},
	{"/usr/lib/modules-load.d/**", ruleModule, rules.High, rules.Medium, "says which kernel modules are loaded", nil},
	{"/etc/modprobe.d/**", ruleModule, rules.High, rules.Medium, "can run commands when a kernel module is loaded", nil},
	{"/usr/lib/modprobe.d/**", ruleModule, rules.High, rules.Medium, "can run commands when a kernel module is loaded", nil},
	{"**/*.ko", ruleModule, rules.High, rules.Medium, "is named as a kernel module", nil},
	{"**/*.ko.*z*", ruleModule, rules.High, rules.Medium, "is named as a kernel module", nil},

	{"/boot/**", ruleBoot, rules.High, rules.High, "is read when the machine boots", nil},
	{"/efi/**", ruleBoot, rules.High, rules.High, "is read when the machine boots", nil},
	{"/etc/grub.d/**", ruleBoot, rules.High, rules.Medium, "sets up the boot loader", nil},
	{"/etc/default/grub*", ruleBoot, rules.High, rules.Medium, "sets up the boot loader", nil},
	{"/etc/kernel/**", ruleBoot, rules.High, rules.Medium, "runs when a kernel is installed", nil},
	{"/etc/initramfs-tools/**", ruleBoot, rules.High, rules.Medium, "goes into the initial file system", nil},
	{"/etc/dracut.conf*/**", ruleBoot, rules.High, rules.Medium, "goes into the initial file system", nil},

	{"/etc/profile", ruleStartup, rules.High, rules.Medium, "runs at each login", []string{"T1546.004"}},
	{"/etc/profile.d/**", ruleStartup, rules.High, rules.Medium, "runs at each login", []string{"T1546.004"}},
	{"/etc/bash*bashrc", ruleStartup, rules.High, rules.Medium, "runs with each shell", []string{"T1546.004"}},
	{"/etc/bashrc", ruleStartup, rules.High, rules.Medium, "runs with each shell", []string{"T1546.004"}},
	{"/etc/zsh/**", ruleStartup, rules.High, rules.Medium, "runs with each shell", []string{"T1546.004"}},
	{"/etc/environment", ruleStartup, rules.High, rules.Medium, "sets the environment of each login", []string{"T1574.006"}},
	{"/root/.*profile", ruleStartup, rules.High, rules.Medium, "runs when root logs in", []string{"T1546.004"}},
	{"/root/.bash*", ruleStartup, rules.High, rules.Medium, "runs when root logs in", []string{"T1546.004"}},
	{"/root/.z*", ruleStartup, rules.High, rules.Medium, "runs when root logs in", []string{"T1546.004"}},
	{"**/.*profile", ruleStartup, rules.Medium, rules.Low, "runs when its user logs in", []string{"T1546.004"}},
	{"**/.bash*", ruleStartup, rules.Medium, rules.Low, "runs when its user logs in", []string{"T1546.004"}},
	{"**/.z*rc", ruleStartup, rules.Medium, rules.Low, "runs when its user logs in", []string{"T1546.004"}},
	{"**/.zshenv", ruleStartup, rules.Medium, rules.Low, "runs when its user logs in", []string{"T1546.004"}},
	{"/etc/udev/**", ruleStartup, rules.High, rules.Medium, "runs on device events", []string{"T1546.017"}},
	{"/usr/lib/udev/**", ruleStartup, rules.High, rules.Medium, "runs on device events", []string{"T1546.017"}},
	{"/run/udev/rules.d/**", ruleStartup, rules.High, rules.Medium, "runs on device events", []string{"T1546.017"}},
	{"/etc/update-motd.d/**", ruleStartup, rules.High, rules.Medium, "runs as root at each login", nil},
	{"/etc/NetworkManager/dispatcher.d/**", ruleStartup, rules.High, rules.Medium, "runs as root on network events", nil},
	{"/usr/lib/NetworkManager/dispatcher.d/**", ruleStartup, rules.High, rules.Medium, "runs as root on network events", nil},
	{"/etc/network/if-*.d/**", ruleStartup, rules.High, rules.Medium, "runs as root on network events", nil},
	{"/etc/apt/apt.conf*/**", ruleStartup, rules.High, rules.Medium, "can run commands as root when packages are installed", []string{"T1546.016"}},
	{"/etc/dpkg/dpkg.cfg*/**", ruleStartup, rules.High, rules.Medium, "can run commands as root when packages are installed", []string{"T1546.016"}},
	{"/etc/dnf/**", ruleStartup, rules.High, rules.Medium, "can run commands as root when packages are installed", []string{"T1546.016"}},
	{"/etc/yum/**", ruleStartup, rules.High, rules.Medium, "can run commands as root when packages are installed", []string{"T1546.016"}},
	{"/var/lib/dpkg/info/*.*inst", ruleStartup, rules.High, rules.Medium, "runs as root when its package is installed", []string{"T1546.016"}},
	{"/var/lib/dpkg/info/*.*rm", ruleStartup, rules.High, rules.Medium, "runs as root when its package is removed", []string{"T1546.016"}},
	{"**/*.pth", ruleStartup, rules.High, rules.Low, "runs whenever Python starts", []string{"T1546.018"}},
	{"**/sitecustomize.py", ruleStartup, rules.High, rules.Low, "runs whenever Python starts", []string{"T1546.018"}},
	{"**/usercustomize.py", ruleStartup, rules.High, rules.Low, "runs whenever Python starts", []string{"T1546.018"}},
	{"/etc/xdg/autostart/**", ruleStartup, rules.Medium, rules.Low, "runs when a desktop starts", []string{"T1547.013"}},
	{"**/.config/autostart/**", ruleStartup, rules.Medium, rules.Low, "runs when a desktop starts", []string{"T1547.013"}},
}

// merged returns p as it is where /bin, /sbin and /lib are links into /usr.
func merged(p string) string {
	for _, dir := range [...]string{"/bin", "/sbin", "/lib", "/lib64", "/lib32"} {
		if within(p, dir) {
			return "/usr" + p
		}
	}
	return p
}

// within reports whether p is dir or lies below it.
func within(p, dir string) bool {
	return strings.HasPrefix(p, dir) && (len(p) == len(dir) || p[len(dir)] == '/')
}

// placeOf returns the place of a path, nil for an ordinary one.
func placeOf(p string) *place {
	p = merged(p)
	dotted := strings.Contains(p, "/.")
	for i := range places {
		if !dotted && strings.HasPrefix(places[i].pattern, "**/.") {
			continue
		}
		if matches(places[i].pattern, p) {
			return &places[i]
		}
	}
	return nil
}

// matches compares what is literal first, at both ends, and makes no strings:
// most changes are in none of the places, and all places are looked at.
func matches(pattern, p string) bool {
	if pattern[0] == '/' && pattern[1] != '*' && len(p) > 1 && p[1] != pattern[1] {
		return false
	}
	body, anywhere := strings.CutPrefix(pattern, "**")
	body, below := strings.CutSuffix(body, "/**")
	switch {
	case anywhere && below:
		return contains(p, body)
	case !anywhere && !sameStart(body, p), !below && !sameEnd(body, p):
		return false
	case anywhere:
		return glob(body, lastComponents(p, strings.Count(body, "/")))
	case below:
		return glob(body, firstComponents(p, strings.Count(body, "/")))
	}
	return glob(body, p)
}

// contains reports whether the components of part, which begins with a slash,
// follow each other in p.
func contains(p, part string) bool {
	for {
		i := strings.Index(p, part)
		if i < 0 {
			return false
		}
		if end := i + len(part); end == len(p) || p[end] == '/' {
			return true
		}
		p = p[i+1:]
	}
}

// sameStart reports whether p begins as pattern does before its first star.
func sameStart(pattern, p string) bool {
	for i := range len(pattern) {
		if pattern[i] == '*' {
			return true
		}
		if i >= len(p) || p[i] != pattern[i] {
			return false
		}
	}
	return true
}

// sameEnd reports whether p ends as pattern does behind its last star.
func sameEnd(pattern, p string) bool {
	return strings.HasSuffix(p, pattern[strings.LastIndexByte(pattern, '*')+1:])
}

// glob compares what is literal first: most patterns end there. A pattern that
// path.Match cannot read would match: a matcher that fails selects.
func glob(pattern, p string) bool {
	i := strings.IndexByte(pattern, '*')
	if i < 0 {
		return pattern == p
	}
	if !strings.HasPrefix(p, pattern[:i]) {
		return false
	}
	for lit, rest, more := strings.Cut(pattern[i+1:], "*"); more; lit, rest, more = strings.Cut(rest, "*") {
		if !strings.Contains(p[i:], lit) {
			return false
		}
	}
	ok, err := path.Match(pattern, p)
	return ok || err != nil
}

// lastComponents returns the last n components of p with their slashes, p if
// it has fewer.
func lastComponents(p string, n int) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '/' {
			if n--; n == 0 {
				return p[i:]
			}
		}
	}
	return p
}

// firstComponents returns the first n components of p, p if it has fewer.
func firstComponents(p string, n int) string {
	for i := range len(p) {
		if p[i] == '/' {
			if n--; n < 0 {
				return p[:i]
			}
		}
	}
	return p
}
