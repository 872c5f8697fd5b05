package derived

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// Where update-ca-certificates looks, and its bounds.
const (
	certsDir      = "/usr/share/ca-certificates"
	localCertsDir = "/usr/local/share/ca-certificates"
	certsConf     = "/etc/ca-certificates.conf"
	etcCerts      = "/etc/ssl/certs"

	maxBundle = 16 << 20
	maxCert   = 1 << 20
	maxLocal  = 1000
)

// selected are the certificates that a configuration names, in its order.
type selected struct {
	files []entry.Path
	off   []entry.Path // named to be left out
}

// parseSelection reads ca-certificates.conf. Names lead nowhere but below the
// folder of packaged certificates.
func parseSelection(b []byte) (selected, bool) {
	var s selected
	if len(b) > maxConf || bytes.IndexByte(b, 0) >= 0 {
		return s, false
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, off := strings.CutPrefix(line, "!")
		p, ok := clean(certsDir + "/" + name)
		if !ok || name == "" || !p.Under(certsDir) {
			return s, false
		}
		if off {
			s.off = append(s.off, p)
		} else {
			s.files = append(s.files, p)
		}
	}
	return s, len(s.files)+len(s.off) <= maxSources
}

// selection: what is selected are verified certificates of packages. Which of
// them a host trusts is a choice, so that the class is attributed.
func (x *explainer) selection(ctx context.Context, c *diff.Change) answer {
	b, ok := x.read(ctx, c, maxConf)
	if !ok {
		return nothing
	}
	s, ok := parseSelection(b)
	if !ok {
		return nothing
	}
	for _, p := range s.files {
		if e, there := x.world.Look(ctx, p); there && (e.Kind != entry.File || !x.owned(ctx, p)) {
			return nothing // a link could lead to any certificate that some package has
		}
	}
	return weak
}

// trusted gives what is selected, and how strong a thing is that follows from
// it: a configuration that has changed only attributes.
func (x *explainer) trusted(ctx context.Context) (selected, string) {
	level := rules.Signed
	var b []byte
	ok := false
	if _, same := x.world.Verified(ctx, certsConf); same {
		b, ok = x.world.Reference(ctx, certsConf, maxConf)
	} else if e, there := x.world.Look(ctx, certsConf); there && e.Kind == entry.File {
		level = rules.Attributed
		b, ok = x.world.Read(ctx, certsConf, e, maxConf)
	}
	if !ok {
		return selected{}, ""
	}
	s, ok := parseSelection(b)
	if !ok {
		return selected{}, ""
	}
	return s, level
}

// certificate: a link to a certificate that is selected, under the name that
// update-ca-certificates gives it.
func (x *explainer) certificate(ctx context.Context, c *diff.Change) answer {
	to, ok := leads(c.Path, c.New.Target)
	if !ok || linkName(to) != c.Path.Base() {
		return nothing
	}
	return x.trusts(ctx, to)
}

// trusts tells whether the certificate at p is to be in the folder of trusted
// ones, and how surely.
func (x *explainer) trusts(ctx context.Context, p entry.Path) answer {
	if e, ok := x.world.Look(ctx, p); !ok || e.Kind != entry.File {
		return nothing
	}
	switch {
	case p.Under(localCertsDir):
		if _, ok := x.world.Verified(ctx, p); ok {
			return answer{level: rules.Signed, sources: []entry.Path{p}}
		}
	case p.Under(certsDir) && x.owned(ctx, p):
		s, level := x.trusted(ctx)
		if slices.Contains(s.files, p) && !slices.Contains(s.off, p) {
			return answer{level: level, sources: []entry.Path{p}}
		}
	}
	return nothing
}

// linkName is how the link to a certificate is called.
func linkName(p entry.Path) string {
	name := strings.NewReplacer(" ", "_", "(", "=", ")", "=", ",", "_").Replace(strings.TrimSuffix(p.Base(), ".crt"))
	return name + ".pem"
}

// hashLink: a link to such a link, beside it. Whether the hash is the
// certificate's is not computed: under another hash nothing finds it.
func (x *explainer) hashLink(ctx context.Context, c *diff.Change) answer {
	p, ok := leads(c.Path, c.New.Target)
	if !ok || p.Dir() != etcCerts {
		return nothing
	}
	e, ok := x.world.Look(ctx, p)
	if !ok || e.Kind != entry.Symlink {
		return nothing
	}
	to, ok := leads(p, e.Target)
	if !ok || linkName(to) != p.Base() {
		return nothing
	}
	return x.trusts(ctx, to)
}

// bundle: the selected certificates in their order, then those of the
// administrator in any, and not a byte more.
func (x *explainer) bundle(ctx context.Context, c *diff.Change) answer {
	rest, ok := x.read(ctx, c, maxBundle)
	if !ok {
		return nothing
	}
	s, level := x.trusted(ctx)
	if level == "" {
		return nothing
	}
	a := answer{level: level}
	for _, p := range s.files {
		if ctx.Err() != nil {
			return nothing
		}
		e, there := x.world.Look(ctx, p)
		if !there {
			continue // update-ca-certificates passes over it too
		}
		b, ok := x.world.Reference(ctx, p, maxCert)
		if !ok || e.Kind != entry.File || !x.owned(ctx, p) {
			return nothing
		}
		if rest, ok = bytes.CutPrefix(rest, ended(b)); !ok {
			return nothing
		}
		a.sources = append(a.sources, p)
	}
	if len(a.sources) == 0 || len(rest) > 0 && !x.local(ctx, rest) {
		return nothing
	}
	return a
}

// local reports whether rest is made of the administrator's certificates, each
// at most once and none having changed.
func (x *explainer) local(ctx context.Context, rest []byte) bool {
	files, ok := x.list(ctx, localCertsDir, maxLocal)
	if !ok {
		return false
	}
	var certs [][]byte
	for _, p := range files {
		if !strings.HasSuffix(string(p), ".crt") {
			continue
		}
		if _, ok := x.world.Verified(ctx, p); !ok {
			return false
		}
		e, there := x.world.Look(ctx, p)
		b, ok := x.world.Reference(ctx, p, maxCert)
		if !ok || !there || e.Kind != entry.File || len(certs) > maxLocal {
			return false
		}
		certs = append(certs, ended(b))
	}
	slices.SortFunc(certs, func(a, b []byte) int { return len(b) - len(a) })
	for len(rest) > 0 {
		i := slices.IndexFunc(certs, func(b []byte) bool { return len(b) > 0 && bytes.HasPrefix(rest, b) })
		if i < 0 {
			return false
		}
		rest = rest[len(certs[i]):]
		certs = slices.Delete(certs, i, i+1)
	}
	return true
}

// ended is b with a newline at its end, as sed leaves it in the bundle.
func ended(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] != '\n' {
		return append(slices.Clip(b), '\n')
	}
	return b
}
