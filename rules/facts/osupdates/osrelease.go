package osupdates

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/scanner/entry"
	"intact/scanner/strict"
)

// Release is the operating system, as it names itself, and until when it gets
// security updates, as far as the table has it.
type Release struct {
	ID        string   `cel:"id"` // as "debian"; "linux" where os-release does not say
	IDLike    []string `cel:"id_like"`
	Name      string   `cel:"name"` // PRETTY_NAME, else NAME; any bytes but NUL
	VersionID string   `cel:"version_id"`
	Codename  string   `cel:"codename"`
	Variant   string   `cel:"variant"` // VARIANT_ID
	File      string   `cel:"file"`    // absolute inside the root

	// EOLKnown says that the table has this release. EOL is the last day, in UTC, on
	// which updates reach everybody; Supported says that it is not past.
	EOL           time.Time `cel:"eol"`
	EOLKnown      bool      `cel:"eol_known"`
	Supported     bool      `cel:"supported"`
	Standard      time.Time `cel:"standard"` // the last day of the vendor's ordinary support
	Extended      time.Time `cel:"extended"` // the last day of what a subscription adds; the zero time if none
	ExtendedKnown bool      `cel:"extended_known"`
	Source        string    `cel:"source"` // of the dates
	AsOf          time.Time `cel:"as_of"`  // when they were last held against it
}

// Limits of os-release(5).
const (
	maxOSRelease = 64 << 10 // bytes
	maxOSFields  = 256
)

var errOSRelease = errors.New("not a line of os-release")

// osReleases are the places of os-release, in the order of os-release(5).
var osReleases = [...]entry.Path{"/etc/os-release", "/usr/lib/os-release"}

// OSRelease reads the first os-release that there is and looks it up in the table.
func OSRelease(_ context.Context, on facts.Host, now time.Time) facts.Answer[Release] {
	h := &host{Host: on}
	for _, p := range osReleases {
		b, ok := h.read(p, maxOSRelease)
		if !ok {
			if h.status != "" {
				break // what cannot be read is not taken for what is not there
			}
			continue
		}
		v, err := parseOSRelease(string(p), b)
		if err != nil {
			h.add(err)
			return answer[Release](&h.problems, nil, string(p))
		}
		r := releaseFrom(v, string(p))
		if err := r.judge(eolTable, now); err != nil {
			h.add(err)
		}
		return answer(&h.problems, []Release{r}, string(p))
	}
	if h.status == "" {
		return facts.Answer[Release]{Status: rules.Absent, Reason: "no os-release"}
	}
	return answer[Release](&h.problems, nil, "os-release")
}

// parseOSRelease reads NAME=value lines, os-release(5): values bare, or quoted as
// for a shell. Nothing is expanded. A name that has two values has none.
func parseOSRelease(file string, text []byte) (map[string]string, error) {
	out := map[string]string{}
	n := 0
	for raw := range bytes.Lines(text) {
		n++
		bad := func(why string) error { return fmt.Errorf("%q:%d: %w: %s", file, n, errOSRelease, why) }
		line := strings.TrimSpace(string(raw))
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || !osName(name) {
			return nil, bad("no name and value")
		}
		value, ok = unquoteShell(value)
		if !ok || strings.IndexByte(value, 0) >= 0 {
			return nil, bad("value of " + name)
		}
		if old, twice := out[name]; twice && old != value {
			return nil, bad(name + " has two values")
		}
		if out[name] = value; len(out) > maxOSFields {
			return nil, bad("too many names")
		}
	}
	for _, name := range [...]string{"ID", "VERSION_ID", "VERSION_CODENAME", "VARIANT_ID"} {
		if v := out[name]; v != "" && !osWord(v) {
			return nil, fmt.Errorf("%q: %w: %s is %.80q", file, errOSRelease, name, v)
		}
	}
	return out, nil
}

func osName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// osWord reports whether s is of the letters that identifiers may have.
func osWord(s string) bool {
	return len(s) <= 128 && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-+~", r)
	}) < 0
}

// unquoteShell returns what a shell would make of one word that expands to
// nothing else; false for all other text.
func unquoteShell(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	quote := s[0]
	switch quote {
	case '\'':
		in, ok := strings.CutSuffix(s[1:], "'")
		return in, ok && !strings.Contains(in, "'")
	case '"':
	default:
		return s, !strings.ContainsAny(s, " \t\"'`$\\;&|<>()")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), i == len(s)-1
		case '$', '`':
			return "", false
		case '\\':
			if i+1 < len(s) && strings.IndexByte("$`\"\\", s[i+1]) >= 0 {
				i++
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

func releaseFrom(v map[string]string, file string) Release {
	r := Release{ID: v["ID"], IDLike: strings.Fields(v["ID_LIKE"]), Name: v["PRETTY_NAME"], VersionID: v["VERSION_ID"], Codename: v["VERSION_CODENAME"], Variant: v["VARIANT_ID"], File: file}
	if r.ID == "" {
		r.ID = "linux"
	}
	if r.Name == "" {
		r.Name = v["NAME"]
	}
	return r
}

//go:embed eol.yaml
var eolTable []byte

// judge fills in the dates that a table has.
func (r *Release) judge(table []byte, now time.Time) error {
	root, err := strict.Parse("eol.yaml", table)
	if err != nil {
		return err
	}
	for _, s := range root.Need("systems").Items() {
		if s.Need("system").Text() != r.ID {
			continue
		}
		numbers := strings.Split(r.VersionID, ".")
		parts := int(s.Need("parts").Int(1, 2))
		key := strings.Join(numbers[:min(parts, len(numbers))], ".")
		of := s.Need("releases")
		if r.VersionID == "" || !of.Has(key) {
			break
		}
		d := of.Get(key)
		r.EOL, r.EOLKnown, r.Standard = d.Need("until").Date(), true, d.Need("standard").Date()
		if d.Has("extended") {
			r.Extended, r.ExtendedKnown = d.Get("extended").Date(), true
		}
		r.Supported = now.Before(r.EOL.AddDate(0, 0, 1))
		r.Source, r.AsOf = s.Need("source").Text(), s.Need("as_of").Date()
	}
	return root.Err()
}
