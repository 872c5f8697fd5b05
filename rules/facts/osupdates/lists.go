package osupdates

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/pgp"
	"intact/scanner/entry"
)

// List is one archive of which the package manager has lists.
type List struct {
	URI        string    `cel:"uri"`    // as configured
	Suite      string    `cel:"suite"`  // as configured
	File       string    `cel:"file"`   // the release, or the list where there is none; absolute inside the root
	Origin     string    `cel:"origin"` // this and the next three as the release says
	Label      string    `cel:"label"`
	Archive    string    `cel:"archive"` // its field Suite
	Codename   string    `cel:"codename"`
	Date       time.Time `cel:"date"`        // of the release, which the archive states; the zero time where DateKnown is false
	DateKnown  bool      `cel:"date_known"`  // of rpm it is the newest time in repomd.xml
	ValidUntil time.Time `cel:"valid_until"` // the zero time where it does not say
	Expires    bool      `cel:"expires"`     // it says until when it is valid
	Expired    bool      `cel:"expired"`     // it was valid until a time that is past
	AgeSeconds int64     `cel:"age_seconds"` // since Date, 0 where that is not known
	Security   bool      `cel:"security"`    // an archive of security updates, by its release; of rpm one that has advisories
	// SignedByKnown says that a pinned key signed the release; SignedBy names it.
	// Without pinned keys nothing is known of any signature.
	SignedBy      string `cel:"signed_by"` // fingerprint, upper-case hex
	SignedByKnown bool   `cel:"signed_by_known"`
}

// Trust is what the dates of releases are held against.
type Trust struct {
	Ring func() *pgp.Keyring // pinned keys, asked for where there is a signature; nil: there are none
	Now  time.Time
}

// Lists says how fresh the lists are. A configured archive without lists makes
// the answer not whole.
func Lists(ctx context.Context, on facts.Host, by Trust) facts.Answer[List] {
	h := &host{Host: on}
	conf := h.readAptConf()
	h.refuseMoved(conf)
	srcs := h.sources()
	if len(srcs) == 0 && h.status == "" {
		if rows, ok := h.rpmLists(by.Now); ok {
			return answer(&h.problems, rows, rpmCaches)
		}
		return facts.Answer[List]{Status: rules.Absent, Reason: "no sources of packages that are known here"}
	}
	pkgs, _ := h.packages(ctx)
	_, archs := h.archs(conf, pkgs)
	l := h.aptLists(archs)
	rows := map[string]*List{}
	for i := range l.indexes {
		x := &l.indexes[i]
		key := x.uri
		if rows[key] != nil {
			continue
		}
		r := &List{URI: x.source.uri, Suite: x.source.suite, File: string(x.file)}
		rows[key] = r
		if x.rel != nil {
			h.judge(r, x.rel, by)
		}
	}
	for _, m := range l.missing {
		h.is(rules.Failed, fmt.Sprintf("apt has no lists of %q", m))
	}
	if len(rows) == 0 && h.status == rules.Failed && len(l.missing) == len(h.reasons)+h.more {
		return facts.Answer[List]{Status: rules.Absent, Reason: "apt has no lists of packages", Via: string(aptListsDir)}
	}
	var out []List
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		out = append(out, *rows[k])
	}
	return answer(&h.problems, out, string(aptListsDir))
}

// judge fills in what a release says, and who vouches for it.
func (h *host) judge(r *List, rel *release, by Trust) {
	r.File = string(rel.file)
	r.Origin, r.Label, r.Archive, r.Codename = rel.origin, rel.label, rel.suite, rel.codename
	r.Date, r.DateKnown = rel.date, !rel.date.IsZero()
	r.ValidUntil, r.Expires, r.Security = rel.until, !rel.until.IsZero(), rel.security()
	r.Expired = r.Expires && by.Now.After(r.ValidUntil)
	if r.DateKnown {
		r.AgeSeconds = int64(by.Now.Sub(r.Date) / time.Second)
	}
	if by.Ring == nil || !strings.HasSuffix(r.File, "InRelease") {
		return
	}
	ring := by.Ring()
	if ring.Len() == 0 {
		return
	}
	b, ok := h.read(entry.Path(r.File), pgp.MaxText)
	if !ok {
		return
	}
	signed, err := deb.ReadRelease(r.File, b, ring, by.Now)
	switch {
	case errors.Is(err, pgp.ErrUnsigned), errors.Is(err, pgp.ErrClear):
	case err != nil:
		h.add(err)
	case !signed.Date.Equal(rel.date):
		h.is(rules.Failed, fmt.Sprintf("%q: the signed part has another date than the file", r.File))
	default:
		r.SignedBy, r.SignedByKnown = signed.Signers[0].Fingerprint, true
	}
}

// modified returns when a file was last written, as its time says.
func (h *host) modified(p entry.Path) (time.Time, bool) {
	f, err := h.Root.OpenFile(p)
	if gone(err) {
		return time.Time{}, false
	}
	var st os.FileInfo
	if err == nil {
		defer f.Close()
		st, err = f.Stat()
	}
	if err != nil {
		h.add(err)
		return time.Time{}, false
	}
	return st.ModTime().UTC(), true
}
