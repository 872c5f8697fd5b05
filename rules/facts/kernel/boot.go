package kernel

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/entry"
)

// Boot is one thing that holds since the kernel was started.
type Boot struct {
	Subject string `cel:"subject"` // cmdline, lsm, lockdown, apparmor, apparmor-profile, selinux, secure-boot, taint
	Name    string `cel:"name"`    // of a parameter, a profile or an EFI variable; enforce, enabled; "" where there is one value
	Value   string `cel:"value"`   // cmdline: what is behind =; lockdown: none, integrity, confidentiality; secure-boot: 0, 1
	At      string `cel:"at"`      // the file that says it
	Nth     int64  `cel:"nth"`     // 1, or which of the parameters of this name it is
}

// Key tells them apart.
func (b Boot) Key() string {
	k := fmt.Sprintf("%s %q", b.Subject, b.Name)
	if b.Nth > 1 {
		k += "#" + strconv.FormatInt(b.Nth, 10)
	}
	return k
}

// Compared spells what is compared. The name of the kernel's image changes with
// every update.
func (b Boot) Compared() string {
	if b.Subject == "cmdline" && (b.Name == "BOOT_IMAGE" || b.Name == "initrd") {
		return ""
	}
	return fmt.Sprintf("value=%q", b.Value)
}

// taints are the letters of the bits of /proc/sys/kernel/tainted that tell of
// modules. The others tell of faults.
var taints = map[int]byte{0: 'P', 1: 'F', 3: 'R', 10: 'C', 12: 'O', 13: 'E', 15: 'K'}

const efivars = "/sys/firmware/efi/efivars/"

// global is the namespace of the variables of UEFI itself.
const global = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"

// Boots reads them.
func Boots(ctx context.Context, h facts.Host) facts.Answer[Boot] {
	if !h.Live {
		return facts.OfflineAnswer[Boot]("how the kernel was started")
	}
	a := facts.Answer[Boot]{Status: rules.OK, Via: "/proc and /sys"}
	a.Fail(mounted(h.Root, "/proc/sys/kernel"))
	a.Fail(mounted(h.Root, "/sys/kernel"))
	one := func(subject, name string, p entry.Path, read func(string) string) {
		s, err := text(h.Root, p)
		if err == nil {
			a.Rows = append(a.Rows, Boot{Subject: subject, Name: name, Value: read(s), At: string(p), Nth: 1})
		} else if !facts.Missing(err) {
			a.Fail(err)
		}
	}
	as := func(s string) string { return s }
	line, err := text(h.Root, "/proc/cmdline")
	a.Fail(err)
	a.Rows = append(a.Rows, parseCmdline(line)...)
	one("lsm", "", "/sys/kernel/security/lsm", as)
	one("lockdown", "", "/sys/kernel/security/lockdown", chosen)
	one("apparmor", "enabled", "/sys/module/apparmor/parameters/enabled", as)
	one("selinux", "enforce", "/sys/fs/selinux/enforce", as)
	one("taint", "", "/proc/sys/kernel/tainted", taint)
	for _, v := range [...]string{"SecureBoot", "SetupMode"} {
		p := entry.Path(efivars + v + global)
		b, err := h.Root.ReadFile(p, 64)
		switch {
		case err == nil && len(b) == 5: // four bytes of attributes before the value
			a.Rows = append(a.Rows, Boot{Subject: "secure-boot", Name: v, Value: strconv.Itoa(int(b[4])), At: string(p), Nth: 1})
		case err == nil:
			a.Fail(fmt.Errorf("%s has %d bytes, not 5", p, len(b)))
		case !facts.Missing(err):
			a.Fail(err)
		}
	}
	const profiles = "/sys/kernel/security/apparmor/profiles"
	b, err := h.Root.ReadFile(profiles, maxFile)
	if err != nil && !facts.Missing(err) {
		a.Fail(err)
	}
	seen := map[string]int64{}
	for l := range strings.Lines(string(b)) {
		name, mode, ok := parseProfile(strings.TrimSuffix(l, "\n"))
		if !ok || len(a.Rows) >= maxRows {
			a.Fail(fmt.Errorf("%s: not a profile: %.80q", profiles, l))
			break
		}
		seen[name]++
		a.Rows = append(a.Rows, Boot{Subject: "apparmor-profile", Name: name, Value: mode, At: profiles, Nth: seen[name]})
	}
	a.Fail(ctx.Err())
	return a
}

// parseCmdline reads the line of parameters: blanks between them, quotes around
// values with blanks.
func parseCmdline(s string) (out []Boot) {
	seen := map[string]int64{}
	for s = strings.TrimLeft(s, " \t\n"); s != "" && len(out) < maxRows; s = strings.TrimLeft(s, " \t\n") {
		quoted, end := false, 0
		for ; end < len(s) && (quoted || strings.IndexByte(" \t\n", s[end]) < 0); end++ {
			quoted = quoted != (s[end] == '"')
		}
		name, value, _ := strings.Cut(strings.ReplaceAll(s[:end], `"`, ""), "=")
		s = s[end:]
		seen[name]++
		out = append(out, Boot{Subject: "cmdline", Name: name, Value: value, At: "/proc/cmdline", Nth: seen[name]})
	}
	return out
}

// chosen is what stands in brackets among what there is to choose.
func chosen(s string) string {
	_, rest, ok := strings.Cut(s, "[")
	one, _, closed := strings.Cut(rest, "]")
	if !ok || !closed {
		return s
	}
	return one
}

func taint(s string) string {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return s
	}
	var out []byte
	for bit := range 64 {
		if c, ok := taints[bit]; ok && n>>bit&1 == 1 {
			out = append(out, c)
		}
	}
	return string(out)
}

// parseProfile reads "name (mode)".
func parseProfile(s string) (name, mode string, ok bool) {
	i := strings.LastIndex(s, " (")
	if i <= 0 || !strings.HasSuffix(s, ")") {
		return "", "", false
	}
	return s[:i], s[i+2 : len(s)-1], true
}
