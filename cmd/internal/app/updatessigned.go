package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"intact/report"
	"intact/rules"
	"intact/rules/packages"
	"intact/rules/pkgdb/deb"
	"intact/rules/pkgdb/manifest"
	"intact/rules/updates"
	"intact/scanner/digest"
)

// aptArchives is where apt keeps the packages that it fetched.
const aptArchives = "/var/cache/apt/archives"

// signedBy says at what level a manifest counts that says it is signed, and by
// whom. An index that a pinned key signed must list the archive, else the manifest may
// be made up and is as good as the local database. What the archive holds is the word of the host at the time
// verified, unless the archive is still there to be read again: then verified is
// "". A manifest that the archive contradicts has no level.
func (c *check) signedBy(ctx context.Context, u *updates.Update, known *books, name string, m *manifest.Manifest) (level, by, verified string) {
	stored := m.Head // as it is written down
	h := &m.Head
	verified = h.Chain.Verified.UTC().Format(time.RFC3339)
	p := known.proven[name]
	if p == nil {
		c.remark(fmt.Sprintf("package %s %s was verified at %s, and no signed index is kept that lists it: that is not believed",
			report.Escape(h.Package), report.Escape(h.Version), verified))
		h.Chain = manifest.Chain{}
		return rules.Local, "", ""
	}
	if !p.Vouches(h) {
		at := h.Chain.Verified
		h.Chain = p.Chain(at) // what is in the head shows nothing
	}
	by = strings.TrimSpace(h.Chain.UID + ", " + h.Chain.Origin + " " + h.Chain.Suite)
	switch same, found := c.archiveSays(ctx, u, name, stored); {
	case found && !same:
		archive, _, _ := strings.Cut(name, "-")
		known.distrust(bookKey{h.Package, h.Architecture, h.Version}, archive, "the manifest that is kept of its file does not say what the file in "+aptArchives+" holds: it is forged")
		return "", "", ""
	case found:
		verified = ""
	}
	return lowered(u, rules.Signed), by, verified
}

// archiveSays reads the archive of a manifest again, where apt still has it. Of
// what did not move nothing is read: that was done when it did.
func (c *check) archiveSays(ctx context.Context, u *updates.Update, name string, h manifest.Head) (same, found bool) {
	if u.Old == u.New || c.update != nil { // a proposal comes right behind the hook that read it
		return false, false
	}
	base := fmt.Sprintf("%s_%s_%s.deb", h.Package, strings.ReplaceAll(h.Version, ":", "%3a"), h.Architecture)
	at := filepath.Join(c.root.HostPath(), aptArchives, base)
	if strings.Contains(base, "/") {
		return false, false
	}
	if st, err := os.Lstat(at); err != nil || !st.Mode().IsRegular() || st.Size() != h.ArchiveSize {
		return false, false
	}
	f, err := openPackage(at)
	if err != nil {
		return false, false
	}
	defer f.Close()
	_, sum, _ := strings.Cut(name, "-")
	want, err := digest.Parse(sum)
	if err != nil {
		return false, false
	}
	same, other, err := deb.Same(ctx, at, f, h, want, c.tempDir())
	return same, err == nil && !other
}

// forgeries are the findings about manifests that somebody made up.
func (c *check) forgeries() {
	if c.books == nil || !c.sets[packages.Name] {
		return
	}
	for _, f := range c.books.forged {
		x := packages.Forged(f.key.name+":"+f.key.arch, f.key.version, f.why)
		for i := range x.Reasons {
			x.Reasons[i] = report.Prose(x.Reasons[i])
		}
		c.pkgs = append(c.pkgs, x)
	}
}
