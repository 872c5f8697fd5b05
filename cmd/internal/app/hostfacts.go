package app

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/accounts"
	"intact/rules/facts/anchors"
	"intact/rules/facts/firewall"
	"intact/rules/facts/guards"
	"intact/rules/facts/kernel"
	"intact/rules/facts/osupdates"
	"intact/rules/facts/pam"
	"intact/rules/facts/preload"
	"intact/rules/facts/sockets"
	"intact/rules/facts/sshd"
	"intact/rules/facts/sudo"
	"intact/rules/facts/units"
	"intact/rules/facts/web"
	"intact/rules/pkgdb"
	"intact/rules/pkgdb/pgp"
	"intact/rules/posture"
	"intact/scanner/entry"
)

// factKinds are the kinds of facts that rules can ask for. hostFacts collects them.
func factKinds() []posture.Kind {
	kind := func(name string, row reflect.Type, about string) posture.Kind {
		return posture.Kind{Name: name, Row: row, About: about}
	}
	return append(posture.OwnKinds(),
		kind("net.listeners", reflect.TypeFor[sockets.Listener](), "sockets that strangers can send to, with the program behind each"),
		kind("net.interfaces", reflect.TypeFor[sockets.Interface](), "network interfaces of the host's own namespace"),
		kind("firewall.chains", reflect.TypeFor[firewall.Chain](), "chains of nf_tables with their rules"),
		kind("firewall.legacy", reflect.TypeFor[firewall.Legacy](), "tables of iptables-legacy, which nf_tables does not show"),
		kind("firewall.published", reflect.TypeFor[firewall.Published](), "ports that address translation leads elsewhere"),
		kind("accounts.users", reflect.TypeFor[accounts.User](), "users of passwd and shadow"),
		kind("accounts.groups", reflect.TypeFor[accounts.Group](), "groups"),
		kind("accounts.members", reflect.TypeFor[accounts.Member](), "who is in which group"),
		kind("accounts.keys", reflect.TypeFor[accounts.AuthorizedKey](), "keys that sshd lets in"),
		kind("accounts.sources", reflect.TypeFor[accounts.Source](), "where accounts come from, nsswitch.conf"),
		kind("accounts.odd", reflect.TypeFor[accounts.Odd](), "lines of the account files that are none"),
		kind("guards", reflect.TypeFor[guards.Guard](), "what throttles who guesses passwords of sshd"),
		kind("pam.lines", reflect.TypeFor[pam.Line](), "modules that PAM asks, includes unfolded"),
		kind("pam.entries", reflect.TypeFor[pam.Entry](), "lines of the files of PAM, each once"),
		kind("pam.stacks", reflect.TypeFor[pam.Stack](), "whether PAM asks for a second factor that nobody gets around"),
		kind("web.servers", reflect.TypeFor[web.Server](), "what answers on port 80, and whether it serves there"),
		kind("accounts.sudo", reflect.TypeFor[sudo.Grant](), "what sudo lets whom run, a command a row"),
		kind("accounts.sudo_settings", reflect.TypeFor[sudo.Setting](), "Defaults of sudo"),
		kind("accounts.sudo_files", reflect.TypeFor[sudo.File](), "files that sudo reads"),
		kind("accounts.sudo_odd", reflect.TypeFor[sudo.Odd](), "lines of sudoers that are not understood, or mean less than they say"),
		kind("units.units", reflect.TypeFor[units.Unit](), "units of systemd with their drop-ins"),
		kind("units.cron", reflect.TypeFor[units.CronEntry](), "jobs of cron, anacron and at"),
		kind("kernel.modules", reflect.TypeFor[kernel.Module](), "modules of the kernel that runs, hidden ones too"),
		kind("kernel.sysctl", reflect.TypeFor[kernel.Sysctl](), "settings of the kernel, as they are and as they are configured"),
		kind("kernel.boot", reflect.TypeFor[kernel.Boot](), "how the kernel was started, and which security modules hold"),
		kind("tls.anchors", reflect.TypeFor[anchors.Anchor](), "authorities whose certificates the host trusts"),
		kind("preload.entries", reflect.TypeFor[preload.Entry](), "what makes programs load code that is not their own"),
		kind("updates.pending", reflect.TypeFor[osupdates.Update](), "packages of which a newer version is to be had"),
		kind("updates.lists", reflect.TypeFor[osupdates.List](), "lists of packages, and how fresh they are"),
		kind("updates.repositories", reflect.TypeFor[osupdates.Repository](), "where packages come from"),
		kind("updates.settings", reflect.TypeFor[osupdates.Setting](), "settings of apt about who is believed"),
		kind("updates.signing_keys", reflect.TypeFor[osupdates.SigningKey](), "keys that packages are believed by"),
		kind("updates.automatic", reflect.TypeFor[osupdates.Automatic](), "what installs updates, or tells of them, by itself"),
		kind("updates.reboot", reflect.TypeFor[osupdates.Reboot](), "whether the newest kernel runs"),
		kind("updates.stale", reflect.TypeFor[osupdates.StaleProcess](), "processes that run code which was replaced"),
		kind("os.release", reflect.TypeFor[osupdates.Release](), "the system's release and until when it is supported"),
		kind("sshd.contexts", reflect.TypeFor[sshd.Context](), "what sshd lets whom do"),
		kind("sshd.settings", reflect.TypeFor[sshd.Setting](), "the same, one value a row"),
		kind("sshd.directives", reflect.TypeFor[sshd.Directive](), "each line of the configuration of sshd"),
		kind("sshd.weaker", reflect.TypeFor[sshd.Weaker](), "Match blocks that allow more than what holds for all"),
		kind("sshd.host_keys", reflect.TypeFor[sshd.HostKey](), "host keys of sshd"),
		kind("sshd.files", reflect.TypeFor[sshd.File](), "files of the configuration of sshd"),
		kind("sshd.server", reflect.TypeFor[sshd.Server](), "the daemon that runs"),
		kind("sshd.offers", reflect.TypeFor[sshd.Offer](), "what sshd offers on the wire, asked only if somebody says so"),
	)
}

// hostFacts collects facts about a host when somebody asks, each group once. It
// is for one goroutine.
type hostFacts struct {
	host   facts.Host
	now    time.Time
	secret []byte              // makes digests of passwords, nil leaves them out
	ring   func() *pgp.Keyring // pinned keys of archives, nil: none
	probe  bool                // sshd may be asked over loopback
	owners func(ctx context.Context, paths []entry.Path) ([]pkgdb.Answer, error)
	self   func(ctx context.Context) facts.Answer[posture.Self] // nil: not known

	kept map[string]posture.Fact
}

var _ posture.Facts = (*hostFacts)(nil)

// set keeps what is known without asking the host, as the services that are
// declared.
func (h *hostFacts) set(kind string, f posture.Fact) {
	if h.kept == nil {
		h.kept = map[string]posture.Fact{}
	}
	h.kept[kind] = f
}

// Fact implements posture.Facts.
func (h *hostFacts) Fact(ctx context.Context, kind string) posture.Fact {
	if f, ok := h.kept[kind]; ok {
		return f
	}
	if !h.collect(ctx, kind) {
		h.set(kind, posture.Fact{Status: rules.Failed, Reason: "nobody collects " + kind})
	}
	return h.kept[kind]
}

// keep keeps the answer of a collector. One that panics is a fact that failed.
func keep[T any](h *hostFacts, kind string, collect func() facts.Answer[T]) {
	defer func() {
		if p := recover(); p != nil {
			h.set(kind, posture.Fact{Rows: []T{}, Status: rules.Failed, Reason: fmt.Sprintf("internal error: %v", p)})
		}
	}()
	h.set(kind, posture.FactOf(collect()))
}

// collect runs the collector of a kind. One run may answer for several.
func (h *hostFacts) collect(ctx context.Context, kind string) bool {
	group, _, _ := strings.Cut(kind, ".")
	switch {
	case group == "net":
		h.sockets(ctx)
	case group == "firewall":
		keep(h, "firewall.chains", func() facts.Answer[firewall.Chain] {
			a := firewall.Collect(ctx, h.host)
			h.set("firewall.legacy", posture.FactOf(a.Legacy))
			h.set("firewall.published", posture.FactOf(a.Published))
			return a.Chains
		})
	case kind == "accounts.keys":
		keep(h, kind, func() facts.Answer[accounts.AuthorizedKey] { return h.keys(ctx) })
	case strings.HasPrefix(kind, "accounts.sudo"):
		h.sudo(ctx)
	case group == "accounts":
		h.accounts(ctx)
	case kind == "units.units":
		keep(h, kind, func() facts.Answer[units.Unit] { return units.Collect(ctx, h.host) })
	case kind == "units.cron":
		keep(h, kind, func() facts.Answer[units.CronEntry] { return units.Cron(ctx, h.host) })
	case group == "pam":
		keep(h, "pam.lines", func() facts.Answer[pam.Line] {
			a := pam.Collect(ctx, h.host)
			h.set("pam.stacks", posture.FactOf(a.Stacks))
			h.set("pam.entries", posture.FactOf(a.Entries))
			return a.Lines
		})
	case kind == "guards":
		keep(h, kind, func() facts.Answer[guards.Guard] {
			return guards.Collect(ctx, h.host, answerOf[units.Unit](ctx, h, "units.units"))
		})
	case group == "web":
		keep(h, kind, func() facts.Answer[web.Server] {
			return web.Collect(ctx, h.host, answerOf[sockets.Listener](ctx, h, "net.listeners"))
		})
	case kind == "kernel.modules":
		keep(h, kind, func() facts.Answer[kernel.Module] { return h.modules(ctx) })
	case kind == "kernel.sysctl":
		keep(h, kind, func() facts.Answer[kernel.Sysctl] { return kernel.Sysctls(ctx, h.host) })
	case kind == "kernel.boot":
		keep(h, kind, func() facts.Answer[kernel.Boot] { return kernel.Boots(ctx, h.host) })
	case kind == "tls.anchors":
		keep(h, kind, func() facts.Answer[anchors.Anchor] { return anchors.Collect(ctx, h.host) })
	case kind == "preload.entries":
		keep(h, kind, func() facts.Answer[preload.Entry] { return h.preloads(ctx) })
	case kind == "sshd.offers":
		keep(h, kind, func() facts.Answer[sshd.Offer] { return h.offers(ctx) })
	case group == "sshd":
		h.sshd(ctx)
	case kind == "os.release":
		keep(h, kind, func() facts.Answer[osupdates.Release] { return osupdates.OSRelease(ctx, h.host, h.now) })
	case kind == "fim.self" && h.self != nil:
		keep(h, kind, func() facts.Answer[posture.Self] { return h.self(ctx) })
	case group == "updates":
		h.updates(ctx, kind)
	}
	_, ok := h.kept[kind]
	return ok
}

func (h *hostFacts) updates(ctx context.Context, kind string) {
	switch kind {
	case "updates.pending":
		keep(h, kind, func() facts.Answer[osupdates.Update] { return osupdates.Pending(ctx, h.host) })
	case "updates.lists":
		keep(h, kind, func() facts.Answer[osupdates.List] {
			return osupdates.Lists(ctx, h.host, osupdates.Trust{Ring: h.ring, Now: h.now})
		})
	case "updates.repositories":
		keep(h, kind, func() facts.Answer[osupdates.Repository] { return osupdates.Repositories(ctx, h.host) })
	case "updates.settings":
		keep(h, kind, func() facts.Answer[osupdates.Setting] { return osupdates.Settings(ctx, h.host) })
	case "updates.signing_keys":
		keep(h, kind, func() facts.Answer[osupdates.SigningKey] { return osupdates.SigningKeys(ctx, h.host) })
	case "updates.automatic":
		keep(h, kind, func() facts.Answer[osupdates.Automatic] { return osupdates.AutomaticUpdates(ctx, h.host) })
	case "updates.reboot":
		keep(h, kind, func() facts.Answer[osupdates.Reboot] { return osupdates.NeedsReboot(ctx, h.host) })
	case "updates.stale":
		keep(h, kind, func() facts.Answer[osupdates.StaleProcess] { return osupdates.Stale(ctx, h.host) })
	}
}

// rowsOf are the rows of a fact that was collected before.
func rowsOf[T any](ctx context.Context, h *hostFacts, kind string) ([]T, rules.Status) {
	f := h.Fact(ctx, kind)
	rows, _ := f.Rows.([]T)
	return rows, f.Status
}

// answerOf is a fact that was collected before, as its collector gave it.
func answerOf[T any](ctx context.Context, h *hostFacts, kind string) facts.Answer[T] {
	f := h.Fact(ctx, kind)
	rows, _ := f.Rows.([]T)
	return facts.Answer[T]{Rows: rows, Status: f.Status, Reason: f.Reason}
}

// sockets collects listeners and interfaces, and which packages the programs
// behind the listeners are of.
func (h *hostFacts) sockets(ctx context.Context) {
	keep(h, "net.listeners", func() facts.Answer[sockets.Listener] {
		l, i := sockets.Collect(ctx, h.host)
		h.set("net.interfaces", posture.FactOf(i))
		h.owned(ctx, l.Rows)
		return l
	})
}

// owned fills in the packages of listeners. A program of another mount namespace
// is of no package of this host.
func (h *hostFacts) owned(ctx context.Context, rows []sockets.Listener) {
	ours := func(l *sockets.Listener) bool {
		return l.ExeKnown && !l.ExeForeign && !l.ExeMemory && !l.ExeDeleted
	}
	var names []string
	for i := range rows {
		if ours(&rows[i]) {
			names = append(names, rows[i].Exe)
		}
	}
	of := h.packages(ctx, names)
	for i := range rows {
		if l := &rows[i]; ours(l) {
			l.Package, l.PackageKnown = of(l.Exe)
		}
	}
}

func (h *hostFacts) accounts(ctx context.Context) {
	keep(h, "accounts.users", func() facts.Answer[accounts.User] {
		a := accounts.Collect(ctx, h.host, h.secret)
		h.set("accounts.groups", posture.FactOf(a.Groups))
		h.set("accounts.members", posture.FactOf(a.Members))
		h.set("accounts.sources", posture.FactOf(a.Sources))
		h.set("accounts.odd", posture.FactOf(a.Odd))
		return a.Users
	})
}

// keys reads the authorized keys where sshd looks for them, in any context.
func (h *hostFacts) keys(ctx context.Context) facts.Answer[accounts.AuthorizedKey] {
	users, status := rowsOf[accounts.User](ctx, h, "accounts.users")
	var patterns []string
	contexts, sshStatus := rowsOf[sshd.Context](ctx, h, "sshd.contexts")
	for _, c := range contexts {
		for _, p := range c.AuthorizedKeysFile {
			if !slices.Contains(patterns, p) {
				patterns = append(patterns, p)
			}
		}
	}
	a := accounts.Keys(ctx, h.host, users, patterns)
	if a.Status == rules.OK && status != rules.OK {
		a.Status, a.Reason = status, "the users of the host are not known"
	}
	if a.Status == rules.OK && sshStatus != rules.OK && sshStatus != rules.Absent {
		a.Status, a.Reason = sshStatus, "where sshd looks for keys is not known"
	}
	return a
}

// adminGroups are those whose members may become root.
var adminGroups = [...]string{"root", "sudo", "wheel", "admin"}

func (h *hostFacts) sshd(ctx context.Context) {
	keep(h, "sshd.contexts", func() facts.Answer[sshd.Context] {
		s := sshd.Collect(ctx, h.host, h.sshdOptions(ctx))
		h.set("sshd.settings", posture.FactOf(s.Settings))
		h.set("sshd.directives", posture.FactOf(s.Directives))
		h.set("sshd.weaker", posture.FactOf(s.Weaker))
		h.set("sshd.host_keys", posture.FactOf(s.HostKeys))
		h.set("sshd.files", posture.FactOf(s.Files))
		h.set("sshd.server", posture.FactOf(s.Server))
		return s.Contexts
	})
}

func (h *hostFacts) sshdOptions(ctx context.Context) (o sshd.Options) {
	users, status := rowsOf[accounts.User](ctx, h, "accounts.users")
	members, _ := rowsOf[accounts.Member](ctx, h, "accounts.members")
	o.AccountsKnown = status == rules.OK
	at := map[string]int{}
	for _, u := range users {
		if _, ok := at[u.Name]; !ok {
			at[u.Name] = len(o.Accounts)
			o.Accounts = append(o.Accounts, sshd.Account{Name: u.Name, Admin: u.UID == 0})
		}
	}
	for _, m := range members {
		if i, ok := at[m.User]; ok {
			a := &o.Accounts[i]
			a.Groups = append(a.Groups, m.Group)
			a.Admin = a.Admin || slices.Contains(adminGroups[:], m.Group)
		}
	}
	if !h.host.Live {
		return o
	}
	ifaces, _ := rowsOf[sockets.Interface](ctx, h, "net.interfaces")
	for _, i := range ifaces {
		for _, a := range i.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil && !i.Loopback {
				o.Networks = append(o.Networks, sshd.Network{Address: p, Name: i.Name})
			}
		}
	}
	return o
}

// offers asks the sshd of this host over loopback what it offers, where somebody
// said that it may.
func (h *hostFacts) offers(ctx context.Context) facts.Answer[sshd.Offer] {
	if !h.host.Live {
		return facts.OfflineAnswer[sshd.Offer]("what sshd offers")
	}
	if !h.probe {
		return facts.Answer[sshd.Offer]{Status: rules.Absent, Reason: "sshd is asked on the wire only with posture: {probe_ssh: true}"}
	}
	listeners, _ := rowsOf[sockets.Listener](ctx, h, "net.listeners")
	var at []netip.AddrPort
	for _, l := range listeners {
		if l.Proto != "tcp" || l.Netns != "host" || path.Base(l.Exe) != "sshd" {
			continue
		}
		addr, err := netip.ParseAddr(l.Addr)
		if err != nil {
			continue
		}
		if addr.IsUnspecified() {
			addr = map[bool]netip.Addr{true: netip.IPv6Loopback(), false: netip.AddrFrom4([4]byte{127, 0, 0, 1})}[addr.Is6()]
		}
		at = append(at, netip.AddrPortFrom(addr, uint16(l.Port)))
	}
	return sshd.Offered(ctx, at, []string{"root", "nobody"})
}
