package osupdates

import (
	"context"
	"slices"
	"strings"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/pkgdb"
	"intact/scanner/entry"
)

// Automatic is a tool that installs updates by itself or tells somebody of them.
type Automatic struct {
	Tool     string `cel:"tool"`    // as "unattended-upgrades"
	Package  string `cel:"package"` // that it is installed by
	Installs bool   `cel:"installs"`
	Notifies bool   `cel:"notifies"`
	// Enabled says that something starts it and that its configuration lets it do its
	// work; Why says what is in the way.
	Enabled bool     `cel:"enabled"`
	Why     []string `cel:"why"`
	// Security says that it takes security updates: of unattended-upgrades that a
	// pattern of its origins fits an archive of security updates in apt's lists.
	Security      bool      `cel:"security"`
	SecurityKnown bool      `cel:"security_known"`
	Excluded      []string  `cel:"excluded"` // patterns of packages that it leaves alone
	LastRun       time.Time `cel:"last_run"` // by the times of its stamps and logs, which an intruder can set
	LastRunKnown  bool      `cel:"last_run_known"`
	Reboot        string    `cel:"reboot"` // "never", "now", "when-changed", "when-needed", or a time as "02:00"
	Mail          string    `cel:"mail"`   // address that it tells, any bytes; "" if none
	Config        string    `cel:"config"` // its main file, absolute inside the root
}

// tool is how one of them is recognised.
type tool struct {
	name, pkg string
	installs  bool
	timers    []string // units one of which starts it
	crons     []string // files one of which starts it where no timer does
	hook      bool     // the package manager itself starts it
	stamps    []entry.Path
	config    entry.Path
	read      func(a *autoReader, t *tool, row *Automatic)
}

// tools are those that are known here.
var tools = []tool{
	{name: "unattended-upgrades", pkg: "unattended-upgrades", installs: true, timers: []string{"apt-daily-upgrade.timer"}, crons: []string{"/etc/cron.daily/apt-compat", "/etc/cron.daily/apt"},
		stamps: []entry.Path{"/var/lib/apt/periodic/unattended-upgrades-stamp", "/var/lib/apt/periodic/upgrade-stamp", "/var/log/unattended-upgrades/unattended-upgrades.log"},
		config: "/etc/apt/apt.conf.d/50unattended-upgrades", read: (*autoReader).unattended},
	{name: "apticron", pkg: "apticron", timers: []string{"apticron.timer"}, crons: []string{"/etc/cron.d/apticron", "/etc/cron.daily/apticron"},
		stamps: []entry.Path{"/var/lib/apticron/last_run"}, config: "/etc/apticron/apticron.conf", read: (*autoReader).apticron},
	{name: "apt-listchanges", pkg: "apt-listchanges", hook: true, config: "/etc/apt/listchanges.conf", read: (*autoReader).listchanges},
	{name: "cron-apt", pkg: "cron-apt", crons: []string{"/etc/cron.d/cron-apt"}, stamps: []entry.Path{"/var/log/cron-apt/log"}, config: "/etc/cron-apt/config", read: (*autoReader).cronApt},
	{name: "dnf-automatic", pkg: "dnf-automatic", installs: true, timers: []string{"dnf-automatic.timer", "dnf-automatic-install.timer"},
		stamps: timerStamps("dnf-automatic.timer", "dnf-automatic-install.timer"), config: "/etc/dnf/automatic.conf", read: (*autoReader).dnf},
	{name: "dnf5-automatic", pkg: "dnf5-plugin-automatic", installs: true, timers: []string{"dnf5-automatic.timer", "dnf-automatic.timer"},
		stamps: timerStamps("dnf5-automatic.timer", "dnf-automatic.timer"), config: "/etc/dnf/automatic.conf", read: (*autoReader).dnf},
	{name: "yum-cron", pkg: "yum-cron", installs: true, timers: []string{"yum-cron.service"}, config: "/etc/yum/yum-cron.conf", read: (*autoReader).dnf},
	{name: "transactional-update", pkg: "transactional-update", installs: true, timers: []string{"transactional-update.timer"},
		stamps: timerStamps("transactional-update.timer"), config: "/etc/transactional-update.conf", read: (*autoReader).transactional},
}

func timerStamps(units ...string) (out []entry.Path) {
	for _, u := range units {
		out = append(out, entry.Path("/var/lib/systemd/timers/stamp-"+u))
	}
	return out
}

// autoReader is what reading the tools shares.
type autoReader struct {
	*host
	ctx  context.Context
	conf *aptConf
	pkgs []pkgdb.Package
}

// AutomaticUpdates lists the known tools that are installed as packages.
func AutomaticUpdates(ctx context.Context, on facts.Host) facts.Answer[Automatic] {
	h := &host{Host: on}
	a := &autoReader{host: h, ctx: ctx}
	pkgs, ok := h.packages(ctx)
	if !ok && h.status == "" {
		return facts.Answer[Automatic]{Status: rules.Absent, Reason: pkgdb.ErrNoDatabase.Error()}
	}
	a.pkgs = pkgs
	a.conf = h.readAptConf()
	var rows []Automatic
	for i := range tools {
		t := &tools[i]
		if !slices.ContainsFunc(a.pkgs, func(p pkgdb.Package) bool {
			return p.Name == t.pkg && (p.Status == "installed" || p.Status == pkgdb.Held)
		}) {
			continue
		}
		row := Automatic{Tool: t.name, Package: t.pkg, Installs: t.installs, Notifies: !t.installs, Enabled: true, Config: string(t.config), Reboot: "never"}
		a.started(t, &row)
		t.read(a, t, &row)
		for _, p := range t.stamps {
			if at, ok := h.modified(p); ok && at.After(row.LastRun) {
				row.LastRun, row.LastRunKnown = at, true
			}
		}
		if row.Mail != "" {
			row.Notifies = true
		}
		rows = append(rows, row)
	}
	return answer(&h.problems, rows, "packages, units and configuration of tools for updates")
}

// off says that a tool does not do its work.
func (row *Automatic) off(why string) { row.Enabled, row.Why = false, append(row.Why, why) }

// started looks for what starts a tool: a unit that is wanted and not masked, or
// a file of cron.
func (a *autoReader) started(t *tool, row *Automatic) {
	if t.hook {
		return
	}
	for _, u := range t.timers {
		if a.wanted(u) {
			return
		}
	}
	// Those files of cron do nothing where systemd runs.
	if len(t.timers) == 0 || !a.systemd() {
		for _, c := range t.crons {
			if _, ok := a.modified(entry.Path(c)); ok {
				return
			}
		}
	}
	row.off("nothing starts it: none of " + strings.Join(append(slices.Clone(t.timers), t.crons...), ", ") + " is enabled")
}

// systemd reports whether the root is one that systemd starts.
func (a *autoReader) systemd() bool {
	for _, p := range []entry.Path{"/usr/lib/systemd/systemd", "/lib/systemd/systemd"} {
		if _, ok := a.modified(p); ok {
			return true
		}
	}
	return false
}

// wanted reports whether a target pulls a unit in, and nothing masks it.
func (a *autoReader) wanted(unit string) bool {
	if to, _, _, err := a.Root.Resolve(entry.Path("/etc/systemd/system/" + unit)); err == nil && to == "/dev/null" {
		return false
	}
	for _, dir := range []entry.Path{"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		for _, target := range []string{"timers.target.wants", "multi-user.target.wants", "default.target.wants"} {
			at, n, _, err := a.Root.Reach(dir.Join([]byte(target)).Join([]byte(unit)))
			if err != nil {
				continue
			}
			_, err = at.Readlink(n)
			at.Release()
			if err == nil {
				return true
			}
		}
	}
	return false
}

// dnf reads automatic.conf of dnf-automatic and of dnf5, and yum-cron.conf.
func (a *autoReader) dnf(t *tool, row *Automatic) {
	all := a.ini(t.config)
	if all == nil {
		all = a.ini("/usr/share/dnf5/dnf5-plugins/automatic.conf")
	}
	cmds := sectionNamed(all, "commands")
	kind := cmds.value("upgrade_type", cmds.value("update_cmd", "default"))
	row.Security, row.SecurityKnown = true, true // each kind of upgrade has them
	if !truth(cmds.value("apply_updates", "no"), false) && !a.wanted("dnf-automatic-install.timer") {
		row.Security = false
		row.off("apply_updates is off: it only downloads or tells")
	}
	if kind != "default" && kind != "security" && kind != "minimal" && !strings.Contains(kind, "security") {
		row.Security, row.SecurityKnown = false, false
	}
	row.Reboot = cmds.value("reboot", "never")
	if strings.Contains(sectionNamed(all, "emitters").value("emit_via", ""), "email") {
		row.Mail = sectionNamed(all, "email").value("email_to", "root")
	}
	if v := sectionNamed(all, "base").value("exclude", sectionNamed(all, "base").value("excludepkgs", "")); v != "" {
		row.Excluded = strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == ',' })
	}
}

// transactional reads transactional-update.conf.
func (a *autoReader) transactional(t *tool, row *Automatic) {
	row.Security, row.SecurityKnown = true, true
	row.Reboot = "when-changed"
	if a.assigned(t.config, "REBOOT_METHOD") == "none" {
		row.Reboot = "never"
	}
}

func (a *autoReader) apticron(t *tool, row *Automatic) {
	if row.Mail = a.assigned(t.config, "EMAIL"); row.Mail == "" {
		row.off("no address to tell")
	}
}

func (a *autoReader) cronApt(t *tool, row *Automatic) { row.Mail = a.assigned(t.config, "MAILTO") }

func (a *autoReader) listchanges(t *tool, row *Automatic) {
	apt := sectionNamed(a.ini(t.config), "apt")
	row.Mail = apt.value("email_address", "")
	if row.Mail == "none" {
		row.Mail = ""
	}
	if apt.value("frontend", "pager") == "none" {
		row.off("its frontend is none")
	}
}

// assigned returns what a file of shell assignments gives a name, as far as that
// can be read without a shell.
func (a *autoReader) assigned(p entry.Path, name string) string {
	b, _ := a.read(p, maxConfig)
	out := ""
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			if v, ok := unquoteShell(strings.TrimSpace(v)); ok {
				out = v
			}
		}
	}
	return out
}
