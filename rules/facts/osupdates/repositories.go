package osupdates

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
)

// Repository is one place that packages are installed from.
type Repository struct {
	Kind       string   `cel:"kind"`       // deb, deb-src or rpm
	URI        string   `cel:"uri"`        // as written, without the names and passwords in it; of rpm the baseurl, mirrorlist or metalink
	Suite      string   `cel:"suite"`      // of deb as written; of rpm the id of the repository
	Components []string `cel:"components"` // of deb
	Options    []string `cel:"options"`    // "name=value" as in a line of sources.list or a .repo file, sorted
	SignedBy   []string `cel:"signed_by"`  // files or fingerprints of the only keys that count; "inline" for one that stands there itself
	Enabled    bool     `cel:"enabled"`
	// Authenticated says that signatures are checked and that nothing unsigned is
	// taken. Why says what is not as it should be, one line each.
	Authenticated bool     `cel:"authenticated"`
	Why           []string `cel:"why"`
	// MetadataSigned says that the list of packages is signed: of deb the same as
	// Authenticated, of rpm repo_gpgcheck.
	MetadataSigned bool   `cel:"metadata_signed"`
	File           string `cel:"file"` // absolute inside the root
	Line           int64  `cel:"line"` // from 1
	Copy           int64  `cel:"copy"` // 1, or its number where the same one is configured several times
}

// Key is the identity of a repository across checks: where it is configured does
// not matter.
func (r Repository) Key() string {
	key := attributes("kind", r.Kind, "uri", r.URI, "suite", r.Suite, "components", strings.Join(r.Components, " "))
	if r.Copy > 1 {
		key += fmt.Sprintf(" copy=%d", r.Copy)
	}
	return key
}

// Compared is what of it is compared.
func (r Repository) Compared() string {
	return attributes("enabled", yesNo(r.Enabled), "authenticated", yesNo(r.Authenticated), "signed_by", strings.Join(r.SignedBy, " "), "options", strings.Join(r.Options, " "))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Repositories lists the configured repositories of apt, dnf, yum and zypper.
func Repositories(_ context.Context, on facts.Host) facts.Answer[Repository] {
	h := &host{Host: on}
	conf := h.readAptConf()
	srcs := h.sources()
	if len(srcs) > 0 {
		h.refuseMoved(conf)
	}
	var rows []Repository
	for i := range srcs {
		rows = append(rows, debRepository(&srcs[i], conf))
	}
	rows = append(rows, h.rpmRepositories()...)
	if len(rows) == 0 && h.status == "" {
		return facts.Answer[Repository]{Status: rules.Absent, Reason: "no repositories are configured where apt, dnf, yum or zypper look"}
	}
	slices.SortStableFunc(rows, func(a, b Repository) int {
		return cmp.Or(strings.Compare(a.Key(), b.Key()), strings.Compare(a.Compared(), b.Compared()))
	})
	for i := range rows {
		rows[i].Copy = 1
		if i > 0 && (Repository{Kind: rows[i-1].Kind, URI: rows[i-1].URI, Suite: rows[i-1].Suite, Components: rows[i-1].Components}).Key() == rows[i].Key() {
			rows[i].Copy = rows[i-1].Copy + 1
		}
	}
	return answer(&h.problems, rows, "configuration of the package manager")
}

// weakGlobal are settings of apt.conf that weaken every repository.
var weakGlobal = []struct{ name, says string }{
	{"APT::Get::AllowUnauthenticated", "unsigned packages are installed"},
	{"Acquire::AllowInsecureRepositories", "unsigned lists are taken"},
	{"Acquire::AllowWeakRepositories", "weakly signed lists are taken"},
	{"Acquire::AllowDowngradeToInsecureRepositories", "lists that were signed may be unsigned now"},
}

// weakOptions are options that weaken one repository when they say yes.
var weakOptions = []struct{ name, says string }{
	{"trusted", "trusted=yes: signatures are not needed"},
	{"allow-insecure", "allow-insecure=yes: unsigned lists are taken"},
	{"allow-weak", "allow-weak=yes: weakly signed lists are taken"},
	{"allow-downgrade-to-insecure", "allow-downgrade-to-insecure=yes: lists that were signed may be unsigned now"},
}

// debRepository is what a source means, with what apt.conf says of all.
func debRepository(s *source, conf *aptConf) Repository {
	r := Repository{Kind: s.kind, URI: withoutSecrets(s.uri), Suite: s.suite, Components: slices.Clone(s.components), Enabled: s.enabled, File: s.file, Line: int64(s.line)}
	slices.Sort(r.Components)
	r.Authenticated = true
	for _, w := range weakOptions {
		if v, ok := s.get(w.name); ok && truth(v, false) {
			r.Authenticated, r.Why = false, append(r.Why, w.says)
		}
	}
	for _, w := range weakGlobal {
		if set, ok := conf.find(w.name); ok && truth(set.Value, false) {
			r.Authenticated = false
			r.Why = append(r.Why, fmt.Sprintf("%s in %q:%d: %s", w.name, set.File, set.Line, w.says))
		}
	}
	r.MetadataSigned = r.Authenticated
	if v, ok := s.get("check-valid-until"); ok && !truth(v, true) {
		r.Why = append(r.Why, "check-valid-until=no: old lists are taken for new ones")
	} else if set, is := conf.find("Acquire::Check-Valid-Until"); !ok && is && !truth(set.Value, true) {
		r.Why = append(r.Why, fmt.Sprintf("Acquire::Check-Valid-Until in %q:%d: old lists are taken for new ones", set.File, set.Line))
	}
	for _, o := range s.options {
		if o.name == "signed-by" {
			r.SignedBy = signedBy(o.value)
			continue
		}
		r.Options = append(r.Options, o.name+"="+o.value)
	}
	slices.Sort(r.Options)
	return r
}

// signedBy reads the option: files and fingerprints with commas or blanks
// between them, or a key itself.
func signedBy(v string) []string {
	if strings.Contains(v, armorBegin) {
		return []string{"inline"}
	}
	return strings.FieldsFunc(v, func(c rune) bool { return c == ' ' || c == ',' || c == '\n' || c == '\t' || c == '\r' })
}

// withoutSecrets removes who asks from an URI.
func withoutSecrets(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uri
	}
	host, path, slash := strings.Cut(rest, "/")
	i := strings.LastIndexByte(host, '@')
	if i < 0 {
		return uri
	}
	out := scheme + "://" + host[i+1:]
	if slash {
		out += "/" + path
	}
	return out
}

// settingTops are the names of apt.conf that say how updates are found, trusted
// and installed.
var settingTops = []string{"APT::Periodic", "Unattended-Upgrade", "APT::Get::AllowUnauthenticated", "APT::Get::Always-Include-Phased-Updates",
	"APT::Get::Never-Include-Phased-Updates", "APT::Default-Release", "Acquire::AllowInsecureRepositories", "Acquire::AllowWeakRepositories",
	"Acquire::AllowDowngradeToInsecureRepositories", "Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::Max-ValidTime", "Acquire::Min-ValidTime", "APT::Update::Pre-Invoke", "APT::Update::Post-Invoke",
	"APT::Update::Post-Invoke-Success", "DPkg::Pre-Invoke", "DPkg::Post-Invoke", "DPkg::Pre-Install-Pkgs"}

// Settings lists what apt.conf says of updates: how they are found, trusted and
// installed, and the commands that run with them.
func Settings(_ context.Context, on facts.Host) facts.Answer[Setting] {
	h := &host{Host: on}
	conf := h.readAptConf()
	var rows []Setting
	for _, s := range conf.settings {
		if slices.ContainsFunc(settingTops, func(top string) bool { return strings.EqualFold(s.Name, top) || below(s.Name, top) }) {
			rows = append(rows, s)
		}
	}
	if len(conf.settings) == 0 && h.status == "" {
		return facts.Answer[Setting]{Status: rules.Absent, Reason: "apt has no configuration"}
	}
	return answer(&h.problems, rows, "/etc/apt/apt.conf")
}
