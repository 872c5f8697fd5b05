package osupdates

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"intact/rules/pkgdb/deb822"
	"intact/scanner/entry"
)

// Limits of what says where packages come from. A stanza of a few kilobytes can
// name thousands of repositories, which share all that it says.
const (
	maxSources     = 1 << 12 // repositories
	maxOfThem      = 1 << 13 // components of all of them
	maxComponents  = 64      // of one
	maxOptions     = 64      // of one
	maxOptionBytes = 16 << 10
	maxURI         = 4096
	maxWord        = 256 // bytes of a suite or a component
)

// errSource is a line or a stanza that apt would not take.
var errSource = errors.New("not a source of packages")

// source is what one line of sources.list(5), or one stanza of a .sources file,
// says of one URI and one suite.
type source struct {
	kind       string // deb or deb-src
	uri        string // as written
	suite      string // ends in "/" where the archive is flat
	components []string
	options    []option
	enabled    bool
	file       string
	line       int
}

// option is one option, under its name in sources.list.
type option struct{ name, value string }

// get returns the last value of an option.
func (s *source) get(name string) (value string, ok bool) {
	for _, o := range s.options {
		if o.name == name {
			value, ok = o.value, true
		}
	}
	return value, ok
}

// sources reads sources.list and its parts in apt's order.
func (h *host) sources() (out []source) {
	for _, p := range append([]entry.Path{"/etc/apt/sources.list"}, h.parts("/etc/apt/sources.list.d", false, "list", "sources")...) {
		b, ok := h.read(p, maxConfig)
		if !ok {
			continue
		}
		parse := parseList
		if strings.HasSuffix(string(p), ".sources") {
			parse = parseSources
		}
		got, err := parse(string(p), b)
		h.add(err)
		if out = append(out, got...); len(out) > maxSources {
			h.add(fmt.Errorf("%w: over %d repositories", errTooMany, maxSources))
			return out[:maxSources]
		}
		indexes := 0
		for i := range out {
			if indexes += len(out[i].components); indexes > maxOfThem {
				h.add(fmt.Errorf("%w: over %d components of repositories", errTooMany, maxOfThem))
				return out[:i]
			}
		}
	}
	return out
}

// parseList reads lines of one kind:
//
//	deb [ option=value option+=value ] URI suite component…
//
// What stands before a line that is none is returned with the error.
func parseList(file string, text []byte) (out []source, err error) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		s, ok, err := parseSource(strings.TrimRight(string(line), "\r\n"))
		if err != nil {
			return out, fmt.Errorf("%q:%d: %w", file, n, err)
		}
		if ok {
			s.file, s.line = file, n
			out = append(out, s)
		}
	}
	return out, nil
}

func parseSource(line string) (s source, ok bool, err error) {
	line = strings.TrimSpace(strings.ReplaceAll(uncommentSource(line), "\t", " "))
	if line == "" {
		return s, false, nil
	}
	kind, rest, _ := strings.Cut(line, " ")
	if kind != "deb" && kind != "deb-src" {
		return s, false, fmt.Errorf("%w: %.80q", errSource, line)
	}
	s = source{kind: kind, enabled: true}
	if rest = strings.TrimLeft(rest, " "); strings.HasPrefix(rest, "[") {
		inner, after, ok := strings.Cut(rest[1:], "]")
		if !ok {
			return s, false, fmt.Errorf("%w: options without an end", errSource)
		}
		for _, w := range strings.Fields(inner) {
			if err := s.option(w); err != nil {
				return s, false, err
			}
		}
		rest = after
	}
	var words []string
	for {
		word, after, ok := quoteWord(rest, true)
		if !ok {
			if strings.TrimSpace(rest) != "" {
				return s, false, fmt.Errorf("%w: quotation without an end", errSource)
			}
			break
		}
		words, rest = append(words, word), after
	}
	if len(words) < 2 {
		return s, false, fmt.Errorf("%w: no URI or no suite", errSource)
	}
	s.uri, s.suite, s.components = words[0], words[1], words[2:]
	return s, true, s.check()
}

// uncommentSource cuts a line at "#", which in brackets is a letter.
func uncommentSource(line string) string {
	in := false
	for i := range len(line) {
		switch c := line[i]; {
		case c == '[':
			in = true
		case c == ']':
			in = false
		case c == '#' && !in:
			return line[:i]
		}
	}
	return line
}

// option takes "name=value", "name+=value" or "name-=value".
func (s *source) option(w string) error {
	name, value, ok := strings.Cut(w, "=")
	if !ok || name == "" || len(s.options) == maxOptions {
		return fmt.Errorf("%w: option %.80q", errSource, w)
	}
	s.options = append(s.options, option{strings.ToLower(name), value})
	return nil
}

// check makes sure that apt would take it.
func (s *source) check() error {
	flat := strings.HasSuffix(s.suite, "/")
	size := 0
	for _, o := range s.options {
		if size += len(o.name) + len(o.value); o.name == "signed-by" && strings.Contains(o.value, armorBegin) {
			size -= len(o.value) // it is no part of a row
		}
	}
	switch {
	case len(s.options) > maxOptions, size > maxOptionBytes, len(s.components) > maxComponents, len(s.uri) > maxURI, len(s.suite) > maxWord,
		slices.ContainsFunc(s.components, func(c string) bool { return len(c) > maxWord }):
		return fmt.Errorf("%w: over %d components, %d options, or too long", errTooMany, maxComponents, maxOptions)
	case s.uri == "" || s.suite == "" || !strings.Contains(s.uri, ":"):
		return fmt.Errorf("%w: no URI or no suite", errSource)
	case flat && len(s.components) > 0 || !flat && len(s.components) == 0:
		return fmt.Errorf("%w: suite %.80q with %d components", errSource, s.suite, len(s.components))
	}
	return nil
}

// stanzaOptions are the options of a .sources file that have another name in a
// line.
var stanzaOptions = map[string]string{
	"architectures": "arch", "languages": "lang", "targets": "target", "inrelease-path": "inrelease-path",
}

// parseSources reads a file of stanzas.
func parseSources(file string, text []byte) (out []source, err error) {
	in := deb822.NewHandWritten(bytes.NewReader(text), file)
	for {
		st, err := in.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		got, err := sourcesOf(st)
		if err != nil {
			return out, err
		}
		for i := range got {
			got[i].file = file
		}
		if out = append(out, got...); len(out) > maxSources {
			return out[:maxSources], fmt.Errorf("%q: %w: over %d repositories", file, errTooMany, maxSources)
		}
	}
}

func sourcesOf(st *deb822.Stanza) (out []source, err error) {
	types, uris, suites := strings.Fields(st.Get("Types")), strings.Fields(st.Get("URIs")), strings.Fields(st.Get("Suites"))
	if len(types) == 0 || len(uris) == 0 || len(suites) == 0 {
		return nil, st.Errorf("Types", "%w: no types, no URIs or no suites", errSource)
	}
	if len(types)*len(uris)*len(suites) > maxSources {
		return nil, st.Errorf("URIs", "%w: over %d repositories", errTooMany, maxSources)
	}
	base := source{enabled: truth(st.Get("Enabled"), true), components: strings.Fields(st.Get("Components")), line: st.Line()}
	for _, name := range st.Names() {
		low := strings.ToLower(name)
		switch low {
		case "types", "uris", "suites", "components", "enabled", "description", "x-repolib-name", "x-repolib-default-mirror":
			continue
		}
		if short, ok := stanzaOptions[low]; ok {
			low = short
		}
		base.options = append(base.options, option{low, strings.Join(strings.Fields(st.Get(name)), ",")})
		if low == "signed-by" {
			base.options[len(base.options)-1].value = st.Get(name)
		}
	}
	for _, kind := range types {
		if kind != "deb" && kind != "deb-src" {
			return nil, st.Errorf("Types", "%w: type %.80q", errSource, kind)
		}
		for _, uri := range uris {
			for _, suite := range suites {
				s := base
				s.kind, s.uri, s.suite = kind, uri, suite
				if strings.HasSuffix(suite, "/") {
					s.components = nil
				}
				if err := s.check(); err != nil {
					return nil, st.Errorf("Suites", "%w", err)
				}
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// archs are the architectures whose packages the source offers, of those of the
// host.
func (s *source) archs(host []string) []string {
	out := slices.Clone(host)
	for _, o := range s.options {
		list := strings.Split(o.value, ",")
		switch o.name {
		case "arch":
			out = list
		case "arch+", "architectures-add":
			out = append(out, list...)
		case "arch-", "architectures-remove":
			out = slices.DeleteFunc(out, func(a string) bool { return slices.Contains(list, a) })
		}
	}
	return out
}

// base is the URI of the folder that the release lies in, with a slash at its end.
func (s *source) base(arch string) string {
	uri, suite := s.uri, strings.ReplaceAll(s.suite, "$(ARCH)", arch)
	if !strings.HasSuffix(uri, "/") {
		uri += "/"
	}
	switch {
	case suite == "/":
		return uri
	case strings.HasSuffix(suite, "/"):
		return uri + suite
	}
	return uri + "dists/" + suite + "/"
}

// listName is how apt names the copy of what lies at a URI: without what says
// how to get it and who asks, slashes as underscores.
func listName(uri string) string {
	_, rest, ok := strings.Cut(uri, ":")
	if !ok {
		rest = uri
	}
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		host, path, _ := strings.Cut(after, "/")
		if i := strings.LastIndexByte(host, '@'); i >= 0 {
			host = host[i+1:]
		}
		rest = host + "/" + path
	}
	var b strings.Builder
	for _, c := range []byte(rest) {
		switch {
		case c == '/':
			b.WriteByte('_')
		case c <= ' ' || c >= 0x7f || strings.IndexByte(`%\|{}[]<>"^~_=!@#$%^&*`, c) >= 0:
			fmt.Fprintf(&b, "%%%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// site is the host of a URI, "" of one that is on this host.
func site(uri string) string {
	if i := strings.IndexByte(uri, '+'); i >= 0 && i < strings.IndexByte(uri, ':') {
		uri = uri[i+1:]
	}
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
