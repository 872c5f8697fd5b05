// Package web reads what web servers are set up to serve on port 80 without
// encryption: the configuration of nginx and of Apache's httpd. It is modest:
// what it does not understand it says, and never takes for a redirection.
package web

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/sockets"
	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Server is one server of a configuration that answers on port 80, or a program
// that listens there and whose configuration is not read here.
type Server struct {
	Program        string   `cel:"program"`         // nginx, apache, or the program that listens
	At             string   `cel:"at"`              // file:line where the server begins; the address of the socket
	Names          []string `cel:"names"`           // that it answers to
	Serves         []string `cel:"serves"`          // what it serves in clear text, with file:line
	Understood     bool     `cel:"understood"`      // all that matters was
	Why            []string `cel:"why"`             // what was not
	Listening      bool     `cel:"listening"`       // its program listens on port 80 now
	ListeningKnown bool     `cel:"listening_known"` // false of an image
}

// Key tells servers apart.
func (s Server) Key() string { return fmt.Sprintf("%s %q", s.Program, s.At) }

func (s *Server) serves(format string, args ...any) {
	if len(s.Serves) < 16 {
		s.Serves = append(s.Serves, fmt.Sprintf(format, args...))
	}
}

func (s *Server) doubt(format string, args ...any) {
	s.Understood = false
	if len(s.Why) < 8 {
		s.Why = append(s.Why, fmt.Sprintf(format, args...))
	}
}

// Bounds of what is read.
const (
	maxFile  = 1 << 20
	maxTotal = 16 << 20
	maxFiles = 2000 // that are included, counted each time
	maxDepth = 16
	maxNames = 10_000 // of a folder
)

// reader reads the files of one configuration.
type reader struct {
	ctx   context.Context
	root  *dirfd.Root
	base  string // what relative names begin at
	files int
	total int64
}

var errBounds = errors.New("more is included than is read")

func (r *reader) read(name string) (string, error) {
	if r.ctx.Err() != nil {
		return "", context.Cause(r.ctx)
	}
	if r.files++; r.files > maxFiles || r.total >= maxTotal {
		return "", errBounds
	}
	p, err := entry.NewPath(name)
	if err != nil {
		return "", err
	}
	b, err := r.root.ReadFile(p, maxFile)
	r.total += int64(len(b))
	return string(b), err
}

// expand returns the files that a pattern means, sorted; only its last component
// may be one.
func (r *reader) expand(pattern string) ([]string, error) {
	if !strings.HasPrefix(pattern, "/") {
		pattern = r.base + "/" + pattern
	}
	pattern = path.Clean(pattern)
	if !strings.ContainsAny(pattern, `*?[\`) {
		return []string{pattern}, nil
	}
	dir, last := path.Split(pattern)
	if strings.ContainsAny(dir, `*?[\`) {
		return nil, fmt.Errorf("the pattern %q of an include was not understood", pattern)
	}
	p, err := entry.NewPath(path.Clean(dir))
	if r.files++; r.files > maxFiles {
		err = errBounds
	}
	if err != nil {
		return nil, err
	}
	var out []string
	n := 0
	err = r.root.List(p, func(name string, _ entry.Kind) error {
		if n++; n > maxNames {
			return errBounds
		}
		if ok, err := path.Match(last, name); err != nil {
			return err
		} else if ok && (name[0] != '.' || last[0] == '.') {
			out = append(out, strings.TrimSuffix(dir, "/")+"/"+name)
		}
		return nil
	})
	if err != nil && !facts.Missing(err) {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	slices.Sort(out)
	return out, nil
}

// Collect reads the configurations, and what of listeners is on port 80: those
// of package sockets, which are offline of an image.
func Collect(ctx context.Context, h facts.Host, listeners facts.Answer[sockets.Listener]) facts.Answer[Server] {
	a := facts.Answer[Server]{Rows: []Server{}, Status: rules.OK, Via: "configuration of web servers"}
	on, foreign := map[string]bool{}, []Server{}
	for _, l := range listeners.Rows {
		if l.Proto != "tcp" || l.Port != 80 || l.Loopback {
			continue
		}
		name := programs[path.Base(l.Exe)]
		if name != "" && !l.ExeForeign && l.Netns == "host" {
			on[name] = true
			continue
		}
		s := Server{Program: l.Exe, At: fmt.Sprintf("%s:%d", l.Addr, l.Port), Names: []string{}, Serves: []string{}, Listening: true, ListeningKnown: true}
		if !l.ExeKnown {
			s.Program = "unknown"
		}
		s.doubt("no configuration of it is read here")
		foreign = append(foreign, s)
	}
	known := listeners.Status == rules.OK
	for name, rows := range map[string][]Server{"nginx": nginx(ctx, h.Root), "apache": apache(ctx, h.Root)} {
		if on[name] && len(rows) == 0 {
			s := Server{Program: name, At: "port 80", Names: []string{}, Serves: []string{}}
			s.doubt("it listens on port 80, and no configuration that says so was found")
			rows = append(rows, s)
		}
		for _, s := range rows {
			s.Program, s.Listening, s.ListeningKnown = name, on[name], known
			a.Rows = append(a.Rows, s)
		}
	}
	a.Rows = append(a.Rows, foreign...)
	slices.SortStableFunc(a.Rows, func(x, y Server) int { return strings.Compare(x.Key(), y.Key()) })
	switch {
	case ctx.Err() != nil:
		a.Status, a.Reason = rules.Timeout, ctx.Err().Error()
	case !known && h.Live:
		a.Status, a.Reason = listeners.Status, "who listens on port 80: "+listeners.Reason
	}
	return a
}

var programs = map[string]string{"nginx": "nginx", "apache2": "apache", "httpd": "apache"}

// acme reports a path below which certificate authorities look for the answers
// to their challenges (RFC 8555, 8.3).
func acme(p string) bool {
	const base = "/.well-known/acme-challenge"
	return p == base || strings.HasPrefix(p, base+"/")
}

// acmePattern is acme for the few patterns that people write for it.
func acmePattern(p string) bool {
	p = strings.TrimPrefix(strings.ReplaceAll(p, `\.`, "."), "^")
	for _, end := range []string{"/.*", "/(.*)", "/.*$", "(/.*)?$", "/(.*)$"} {
		p = strings.TrimSuffix(p, end)
	}
	return acme(p) && !strings.ContainsAny(p, `*|()[]{}?+$^\`)
}

// catchAll are the patterns that fit every path.
var catchAll = []string{"^", "^/", "^(.*)$", "^(.*)", "^.*$", "^.*", ".*", "(.*)", "^/(.*)$", "^/(.*)", "^/?(.*)$", "^/?(.*)", "/(.*)", "^/.*$", "/.*"}

// refuses reports a status by which nothing is served.
func refuses(status string) bool {
	return len(status) == 3 && (status[0] == '4' || status[0] == '5')
}

func moved(status string) bool {
	return slices.Contains([]string{"301", "302", "303", "307", "308"}, status)
}
