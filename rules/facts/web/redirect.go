package web

import (
	"slices"
	"strings"
)

// answers reports whether the lines of a host redirect whatever comes to https,
// or refuse it. mod_rewrite is asked before mod_alias.
func (s *Server) answers(lines []aline) bool {
	engine := false
	var conds []aline
	redirected, rewritten := false, false
	for _, a := range lines {
		switch a.name {
		case "servername", "serveralias":
			s.Names = append(s.Names, a.args...)
			continue
		case "rewriteengine", "rewritecond", "rewriterule", "redirect", "redirectmatch", "redirectpermanent", "redirecttemp", "rewriteoptions":
		default:
			if strings.HasPrefix(a.name, "jk") || strings.HasPrefix(a.name, "wsgi") || strings.HasPrefix(a.name, "perl") || strings.HasPrefix(a.name, "lua") {
				s.doubt("%s at %s", a.name, a.at)
			}
			continue
		}
		if a.in != "" {
			s.doubt("%s inside of <%s> at %s", a.name, a.in, a.at)
			continue
		}
		if slices.ContainsFunc(a.args, func(w string) bool { return strings.Contains(w, "${") }) {
			s.doubt("%s at %s", a.name, a.at)
			continue
		}
		switch a.name {
		case "rewriteengine":
			engine = len(a.args) == 1 && strings.EqualFold(a.args[0], "on")
		case "rewriteoptions":
		case "rewritecond":
			conds = append(conds, a)
		case "rewriterule":
			rewritten = rewritten || s.rule(a, conds)
			conds = nil
		default:
			redirected = redirected || s.redirect(a)
		}
		if rewritten && engine {
			return true
		}
	}
	if rewritten { // the engine is off
		s.Why = append(s.Why, "RewriteEngine is not on")
	}
	return redirected
}

// rule reports a RewriteRule that sends everything to https.
func (s *Server) rule(a aline, conds []aline) bool {
	if len(a.args) < 2 {
		s.doubt("RewriteRule at %s", a.at)
		return false
	}
	flags := ""
	if len(a.args) > 2 {
		flags = strings.ToUpper(strings.Join(a.args[2:], ""))
	}
	list := strings.Split(strings.Trim(flags, "[]"), ",")
	if !strings.HasPrefix(a.args[1], "https://") {
		if !slices.Contains(list, "F") && !slices.Contains(list, "G") {
			s.doubt("RewriteRule at %s", a.at)
		}
		return false
	}
	proxy := slices.ContainsFunc(list, func(f string) bool { return f == "P" || f == "PROXY" })
	for _, c := range conds {
		if !holds(c) {
			s.doubt("whether RewriteCond at %s holds for all that comes", c.at)
			return false
		}
	}
	if proxy || !slices.Contains(catchAll, a.args[0]) {
		s.doubt("RewriteRule at %s", a.at)
		return false
	}
	return true
}

// holds reports a RewriteCond that holds for whatever is not encrypted, answers
// to challenges aside.
func holds(c aline) bool {
	if len(c.args) < 2 || len(c.args) > 2 && !strings.EqualFold(c.args[2], "[NC]") {
		return false
	}
	v := c.args[1]
	switch strings.ToUpper(c.args[0]) {
	case "%{HTTPS}":
		return slices.Contains([]string{"off", "=off", "!=on", "!on", "!^on$", "^off$"}, strings.ToLower(v))
	case "%{SERVER_PORT}":
		return slices.Contains([]string{"80", "=80", "^80$", "!443", "!=443", "!^443$"}, v)
	case "%{REQUEST_SCHEME}":
		return slices.Contains([]string{"http", "=http", "^http$", "!https", "!=https"}, v)
	case "%{REQUEST_URI}":
		not, ok := strings.CutPrefix(v, "!^")
		return ok && acmePattern(not)
	}
	return false
}

// redirect reports a directive of mod_alias that sends everything to https, or
// refuses it.
func (s *Server) redirect(a aline) bool {
	args := a.args
	status := "302"
	switch {
	case a.name == "redirectpermanent":
		status = "301"
	case a.name == "redirecttemp":
	case len(args) > 1 && !strings.HasPrefix(args[0], "/") && !strings.HasPrefix(args[0], "^"):
		words := map[string]string{"permanent": "301", "temp": "302", "seeother": "303", "gone": "410"}
		if status = words[strings.ToLower(args[0])]; status == "" {
			status = args[0]
		}
		args = args[1:]
	}
	switch {
	case len(args) == 0:
		s.doubt("%s at %s", a.name, a.at)
		return false
	case a.name == "redirectmatch" && !slices.Contains(catchAll, args[0]):
		if len(args) < 2 || !strings.HasPrefix(args[1], "https://") {
			s.doubt("%s at %s", a.name, a.at)
		}
		return false
	case a.name != "redirectmatch" && args[0] != "/":
		return false // one path alone
	case len(args) == 1 && refuses(status):
		return true
	}
	return len(args) == 2 && moved(status) && strings.HasPrefix(args[1], "https://")
}
