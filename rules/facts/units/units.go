// Package units reads what a host starts by itself: units of systemd and the
// settings they end up with, and the jobs of cron. It reads files alone, so an
// image tells the same as a running host, but for what runs.
package units

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/digest"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Unit is a unit of the system's systemd, with its drop-ins. A template stands
// for itself and for each instance that a link enables.
type Unit struct {
	Name      string   `cel:"name"`     // as ssh.service, any bytes
	Kind      string   `cel:"kind"`     // service, socket, timer, path, mount, …
	Fragment  string   `cel:"fragment"` // its file, of an alias that of the unit it leads to; "" if only links or drop-ins name it
	DropIns   []string `cel:"drop_ins"` // in the order in which they count
	Digest    string   `cel:"digest"`   // of the fragment and the drop-ins, blake3, hex
	State     string   `cel:"state"`    // enabled, indirect (under another name), masked, alias, static (nothing to enable), disabled, not-found (links name it, and it has no file)
	Wanted    []string `cel:"wanted"`   // units that start it by links
	Preset    string   `cel:"preset"`   // what the distribution wants: enable, disable, ignore, "" if it does not say
	Template  bool     `cel:"template"`
	Transient bool     `cel:"transient"` // made by a generator or by systemd-run(1), gone with the boot

	Exec        []string `cel:"exec"` // all commands, each with the name of its setting, as ExecStart=/usr/sbin/sshd -D
	User        string   `cel:"user"` // "" is root
	Dynamic     bool     `cel:"dynamic_user"`
	Environment []string `cel:"environment"`       // values of Environment=, as they are written
	EnvFiles    []string `cel:"environment_files"` // of EnvironmentFile=, a - before those that may be missing
	Listen      []string `cel:"listen"`            // of sockets: Listen*= values
	Calendar    []string `cel:"calendar"`          // of timers: On*= settings
	Activates   string   `cel:"activates"`         // of timers, sockets, paths: the unit that they start
	NoNewPrivs  bool     `cel:"no_new_privileges"`
	Protect     string   `cel:"protect_system"` // ProtectSystem=, "" is no
	ProtectHome string   `cel:"protect_home"`
	PrivateTmp  bool     `cel:"private_tmp"`
	Caps        string   `cel:"capability_bounding_set"`
	Syscalls    bool     `cel:"system_call_filter"` // there is one

	Running      bool `cel:"running"` // it has processes now
	RunningKnown bool `cel:"running_known"`
}

// Key tells units apart.
func (u Unit) Key() string { return fmt.Sprintf("%q", u.Name) }

// Compared spells what is compared of a unit.
func (u Unit) Compared() string {
	return fmt.Sprintf("state=%q wanted=%q fragment=%q dropins=%q digest=%q exec=%q user=%q", u.State, strings.Join(u.Wanted, " "), u.Fragment,
		strings.Join(u.DropIns, " "), u.Digest, strings.Join(u.Exec, "\n"), u.User)
}

// folders are where systemd looks for units, the first one counts (systemd.unit(5)).
var folders = [...]entry.Path{"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early",
	"/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/generator.late"}

// lasts reports whether a file of a unit is one that somebody put there. Those that
// systemd-run(1), systemctl set-property and generators make are none; a unit that
// these put in the place of another lasts.
func lasts(p entry.Path) bool {
	return !strings.HasPrefix(string(p), "/run/systemd/") || strings.HasPrefix(string(p), "/run/systemd/system/")
}

var presetFolders = [...]entry.Path{"/etc/systemd/system-preset", "/run/systemd/system-preset", "/usr/local/lib/systemd/system-preset", "/usr/lib/systemd/system-preset", "/lib/systemd/system-preset"}

// Bounds of what is read.
const (
	maxUnits = 100_000 // names in all folders
	maxTotal = 256 << 20
)

// reader reads the folders once.
type reader struct {
	ctx     context.Context
	root    *dirfd.Root
	names   map[string][]entry.Path // file of a unit, the one that counts first
	dropins map[string][]entry.Path // of NAME.d, the folder that counts first
	links   map[string][]string     // unit → units that want or require it
	other   map[string]bool         // units that are enabled under another name: a template by an instance, one by an alias
	seen    map[entry.Path]bool     // folders, under the name without links
	total   int64
	count   int
	problem error
}

// Collect reads the units of a host.
func Collect(ctx context.Context, h facts.Host) facts.Answer[Unit] {
	a := facts.Answer[Unit]{Status: rules.OK, Via: "unit files of systemd"}
	r := &reader{ctx: ctx, root: h.Root, names: map[string][]entry.Path{}, dropins: map[string][]entry.Path{}, links: map[string][]string{}, other: map[string]bool{}, seen: map[entry.Path]bool{}}
	any := false
	for _, dir := range folders {
		any = r.folder(dir) || any
	}
	if !any && r.problem == nil {
		a.Status, a.Reason = rules.Absent, "no folder of units"
		return a
	}
	presets := r.presets()
	for name := range r.links { // an instance of a template has no file of its own
		if _, ok := r.names[name]; !ok {
			r.names[name] = nil
		}
		if t := template(name); t != "" {
			r.other[t] = true
		}
	}
	for name, files := range r.names {
		if len(files) > 0 && files[0].Under("/etc") {
			if at, ok := r.alias(files[0], name); ok {
				r.other[at.Base()] = true
			}
		}
	}
	names := make([]string, 0, len(r.names))
	for n := range r.names {
		names = append(names, n)
	}
	slices.Sort(names)
	running, known := runningUnits(h)
	for _, n := range names {
		if ctx.Err() != nil {
			r.fail(ctx.Err())
			break
		}
		u := r.unit(n)
		u.Preset = presets.of(n)
		u.Running, u.RunningKnown = running[n], known
		a.Rows = append(a.Rows, u)
	}
	if r.problem != nil {
		a.Status, a.Reason = facts.AnswerStatus(r.problem), r.problem.Error()
	}
	return a
}

func (r *reader) fail(err error) {
	if r.problem == nil {
		r.problem = err
	}
}

// folder takes in the names of one folder of units, and reports whether it is there.
func (r *reader) folder(dir entry.Path) bool {
	at, _, exists, err := r.root.Resolve(dir)
	if err != nil || !exists || r.seen[at] {
		if err != nil && !facts.Missing(err) {
			r.fail(fmt.Errorf("%s: %w", dir, err))
		}
		return false
	}
	r.seen[at] = true
	err = r.root.List(dir, func(name string, k entry.Kind) error {
		if r.count++; r.count > maxUnits {
			return fmt.Errorf("over %d names", maxUnits)
		}
		p := dir.Join([]byte(name))
		switch {
		case strings.HasSuffix(name, ".wants"), strings.HasSuffix(name, ".requires"), strings.HasSuffix(name, ".upholds"):
			by := name[:strings.LastIndexByte(name, '.')]
			r.list(p, func(unit string) {
				if kindOf(unit) != "" && !slices.Contains(r.links[unit], by) {
					r.links[unit] = append(r.links[unit], by)
				}
			})
		case strings.HasSuffix(name, ".d"):
			r.dropins[strings.TrimSuffix(name, ".d")] = append(r.dropins[strings.TrimSuffix(name, ".d")], p)
		case kindOf(name) != "":
			r.names[name] = append(r.names[name], p)
		}
		return nil
	})
	if err != nil {
		r.fail(fmt.Errorf("%s: %w", dir, err))
	}
	return true
}

// list calls do for each name in a folder.
func (r *reader) list(dir entry.Path, do func(string)) {
	err := r.root.List(dir, func(name string, _ entry.Kind) error {
		if r.count++; r.count > maxUnits {
			return fmt.Errorf("over %d names", maxUnits)
		}
		do(name)
		return nil
	})
	if err != nil && !facts.Missing(err) {
		r.fail(fmt.Errorf("%s: %w", dir, err))
	}
}

// kindOf is the kind of a unit by its name, "" if it is none.
func kindOf(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 {
		return ""
	}
	switch k := name[i+1:]; k {
	case "service", "socket", "timer", "path", "mount", "automount", "swap", "target", "slice", "scope", "device":
		return k
	}
	return ""
}

// template is the template of an instance, "" if name is none.
func template(name string) string {
	at, dot := strings.IndexByte(name, '@'), strings.LastIndexByte(name, '.')
	if at <= 0 || dot <= at+1 {
		return ""
	}
	return name[:at+1] + name[dot:]
}

// read gives a file, and counts its bytes. A unit that is masked is a link to
// /dev/null or empty.
func (r *reader) read(p entry.Path) (b []byte, masked bool) {
	if at, _, _, err := r.root.Resolve(p); err == nil && at == "/dev/null" {
		return nil, true
	}
	b, err := r.root.ReadFile(p, maxUnit)
	if r.total += int64(len(b)); err == nil && r.total > maxTotal {
		err = errors.New("too much in all unit files together")
	}
	if err != nil {
		if !facts.Missing(err) {
			r.fail(fmt.Errorf("%s: %w", p, err))
		}
		return nil, false
	}
	return b, len(b) == 0
}

// unit reads one unit with all that belongs to it.
func (r *reader) unit(name string) Unit {
	u := Unit{Name: name, Kind: kindOf(name), State: "disabled"}
	at := strings.IndexByte(name, '@')
	u.Template = at > 0 && strings.HasPrefix(name[at+1:], ".")
	files := r.names[name]
	if len(files) == 0 {
		files = r.names[template(name)]
	}
	sum := digest.New()
	take := func(p entry.Path, b []byte) {
		fmt.Fprintf(sum, "%d %s %d ", len(p), p, len(b))
		sum.Write(b)
	}
	m := merged{}
	masked, found, alias := false, false, false
	if len(files) > 0 {
		u.Fragment = string(files[0])
		u.Transient = !slices.ContainsFunc(files, lasts)
		var b []byte
		b, masked = r.read(files[0])
		found = b != nil || masked
		if !masked {
			take(files[0], b)
			m.add(parseUnit(b))
		}
		var to entry.Path
		if to, alias = r.alias(files[0], name); alias {
			u.Fragment = string(to)
		}
	}
	for _, p := range r.dropinsOf(name) {
		b, off := r.read(p)
		if off {
			continue
		}
		u.DropIns = append(u.DropIns, string(p))
		take(p, b)
		m.add(parseUnit(b))
	}
	u.Digest = sum.Sum().String()
	u.Wanted = slices.Clone(r.links[name])
	slices.Sort(u.Wanted)
	switch {
	case masked:
		u.State = "masked"
	case !found && needsFile(u.Kind):
		u.State = "not-found"
	case len(u.Wanted) > 0:
		u.State = "enabled"
	case alias:
		u.State = "alias"
	case r.other[name]:
		u.State = "indirect"
	case len(m["Install.WantedBy"])+len(m["Install.RequiredBy"])+len(m["Install.UpheldBy"])+len(m["Install.Alias"])+len(m["Install.Also"]) == 0:
		u.State = "static"
	}
	u.settings(m)
	return u
}

// needsFile reports whether systemd starts no unit of a kind that has no file:
// mounts, devices and the like may come from the kernel.
func needsFile(kind string) bool {
	switch kind {
	case "service", "socket", "timer", "path", "automount", "target":
		return true
	}
	return false
}

// alias returns the file that a file leads to, if that is a unit of another name.
func (r *reader) alias(p entry.Path, name string) (entry.Path, bool) {
	at, links, exists, err := r.root.Resolve(p)
	if err != nil || !exists || len(links) == 0 {
		return "", false
	}
	to := at.Base()
	return at, kindOf(to) != "" && to != name && to != template(name)
}

// settings fills in what the files say.
func (u *Unit) settings(m merged) {
	section := map[string]string{"service": "Service", "socket": "Socket", "mount": "Mount", "swap": "Swap"}[u.Kind]
	for _, k := range [...]string{"ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPre", "ExecStopPost"} {
		for _, v := range m[section+"."+k] {
			u.Exec = append(u.Exec, k+"="+v)
		}
	}
	u.User, u.Dynamic = m.last(section+".User"), m.yes(section+".DynamicUser")
	u.Environment, u.EnvFiles = m[section+".Environment"], m[section+".EnvironmentFile"]
	for _, k := range [...]string{"ListenStream", "ListenDatagram", "ListenSequentialPacket", "ListenFIFO", "ListenNetlink", "ListenSpecial"} {
		u.Listen = append(u.Listen, m["Socket."+k]...)
	}
	for _, k := range [...]string{"OnCalendar", "OnBootSec", "OnStartupSec", "OnActiveSec", "OnUnitActiveSec", "OnUnitInactiveSec"} {
		for _, v := range m["Timer."+k] {
			u.Calendar = append(u.Calendar, k+"="+v)
		}
	}
	base := u.Name[:strings.LastIndexByte(u.Name, '.')]
	switch u.Kind {
	case "timer":
		u.Activates = cmp.Or(m.last("Timer.Unit"), base+".service")
	case "path":
		u.Activates = cmp.Or(m.last("Path.Unit"), base+".service")
	case "socket":
		u.Activates = cmp.Or(m.last("Socket.Service"), base+".service")
		if m.yes("Socket.Accept") && m.last("Socket.Service") == "" {
			u.Activates = base + "@.service"
		}
	}
	u.NoNewPrivs, u.PrivateTmp = m.yes(section+".NoNewPrivileges"), m.yes(section+".PrivateTmp")
	u.Protect, u.ProtectHome = m.last(section+".ProtectSystem"), m.last(section+".ProtectHome")
	u.Caps = strings.Join(m.words(section+".CapabilityBoundingSet"), " ")
	u.Syscalls = len(m[section+".SystemCallFilter"]) > 0
}

// dropinsOf lists the drop-ins of a unit: of all units of its kind, of names
// that it begins with up to a dash, of its template, of itself. Of one file name
// the folder that counts first has it; they apply in the order of their names.
func (r *reader) dropinsOf(name string) (out []entry.Path) {
	dot := strings.LastIndexByte(name, '.')
	bases := []string{name}
	if t := template(name); t != "" {
		bases = append(bases, t)
	}
	for i := dot - 1; i > 0; i-- {
		if name[i] == '-' {
			bases = append(bases, name[:i+1]+name[dot:])
		}
	}
	bases = append(bases, name[dot+1:])
	seen := map[string]bool{}
	for _, b := range bases {
		for _, dir := range r.dropins[b] {
			r.list(dir, func(file string) {
				if strings.HasSuffix(file, ".conf") && !seen[file] {
					seen[file] = true
					out = append(out, dir.Join([]byte(file)))
				}
			})
		}
	}
	slices.SortStableFunc(out, func(a, b entry.Path) int { return strings.Compare(a.Base(), b.Base()) })
	return out
}
