package app

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"intact/report"
	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/firewall"
	"intact/rules/facts/sockets"
	"intact/rules/posture"
)

// servicesText writes the table, and the answers to what an operator asks of it.
func (j *judged) servicesText(w io.Writer, rows []*service) error {
	table := [][]string{{"PROTO", "PORT", "ADDRESS", "IFACE", "NETNS", "PID", "PROGRAM", "PACKAGE", "UNIT", "USER", "CLASS", "VERDICT"}}
	for _, r := range rows {
		pid := "?"
		switch {
		case r.Owned && r.Processes > 1:
			pid = fmt.Sprintf("%d +%d", r.PID, r.Processes-1)
		case r.Owned:
			pid = strconv.FormatInt(r.PID, 10)
		case r.OwnerKnown:
			pid = "none"
		}
		user := "?"
		if r.UIDKnown {
			user = report.Escape(j.users.User(uint32(r.UID)))
		}
		class := "-"
		if r.declared != nil {
			class = r.declared.Class
		}
		table = append(table, []string{r.Proto, strconv.FormatInt(r.Port, 10), report.Escape(strings.Join(r.addrs, ", ")), orUnknown(true, strings.Join(r.ifaces, ", ")),
			report.Escape(r.Netns), pid, r.program(), orUnknown(r.PackageKnown, r.Package), orUnknown(r.UnitKnown, r.Unit), user, class, r.words()})
	}
	aligned(w, table)
	return j.answers(w, rows)
}

// aligned writes cells in columns as wide as their widest one: nothing in a cell
// can end a line or steer a terminal any more.
func aligned(w io.Writer, table [][]string) {
	width := make([]int, len(table[0]))
	for _, row := range table {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range table {
		var b strings.Builder
		for i, cell := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// questions are those of an operator that rules answer.
var questions = []struct{ asked, rule string }{
	{"should it run?", "net.unlisted"},
	{"bound too widely?", "net.wildcard-private"},
	{"whose is it?", "net.owner-suspicious"},
	{"updates wait?", "upd.security-pending"},
	{"told of updates?", "upd.notify"},
}

// answers writes what holds for all listeners together.
func (j *judged) answers(w io.Writer, rows []*service) error {
	fmt.Fprintln(w)
	for _, q := range questions {
		i := slices.IndexFunc(j.results, func(r posture.Result) bool { return r.ID == q.rule })
		if i < 0 {
			fmt.Fprintf(w, "%-17s  %s is not in force\n", q.asked, q.rule)
			continue
		}
		fmt.Fprintf(w, "%-17s  %s\n", q.asked, j.answer(&j.results[i]))
	}
	var missing []string
	for _, d := range j.cfg.Services {
		if !slices.ContainsFunc(rows, func(r *service) bool { return r.declared != nil && r.Port == d.Port && r.Proto == d.Proto }) {
			missing = append(missing, fmt.Sprintf("%s (%d/%s)", report.Escape(d.Name), d.Port, d.Proto))
		}
	}
	if missing != nil {
		fmt.Fprintf(w, "%-17s  declared, and nothing listens: %s\n", "does it run?", strings.Join(missing, ", "))
	}
	_, err := fmt.Fprintf(w, "%-17s  %s\n", "firewall?", filterWords(j.filter))
	return err
}

// filterWords says what the packet filter does with what comes in and no rule of
// it is about.
func filterWords(a facts.Answer[firewall.Chain]) string {
	if a.Status == rules.Absent {
		return "the kernel has no nf_tables"
	}
	if a.Status != rules.OK {
		return "unknown: " + report.Prose(a.Reason)
	}
	var out []string
	for _, c := range a.Rows {
		if c.Hook == "input" && c.Type == "filter" {
			out = append(out, fmt.Sprintf("%s %s %s: policy %s, %s", c.Family, report.Escape(c.Table), report.Escape(c.Name), c.Policy, counted(len(c.Rules), "rule")))
		}
	}
	if out == nil {
		return "no chain of nf_tables looks at what comes in"
	}
	return strings.Join(out, "; ")
}

// answer is what a rule says, in words.
func (j *judged) answer(r *posture.Result) string {
	n := map[posture.Verdict]int{}
	for i := range r.Subjects {
		n[r.Subjects[i].Verdict]++
	}
	switch {
	case n[posture.Fail] > 0:
		s := fmt.Sprintf("%s fails %d of %d", r.ID, n[posture.Fail], r.Judged)
		if r.Judged <= 1 {
			s = r.ID + " fails: " + report.Prose(strings.Join(r.Subjects[0].Finding.Reasons, "; "))
		}
		return s
	case r.Verdict == posture.NotApplicable && r.ID == "net.unlisted" && j.cfg.Services == nil:
		return "no services are declared: intact services --propose prints a beginning"
	}
	return report.Prose(strings.TrimSuffix(fmt.Sprintf("%s: %s: %s", r.ID, r.Verdict, r.Reason), ": "))
}

// servicesFormat names the lines of services --format json; docs/posture.md
// describes them.
const servicesFormat = "intact.services/1"

// servicesJSON writes a header, a line for each service and a trailer.
func (j *judged) servicesJSON(w *bufio.Writer, rows []*service, f posture.Fact) error {
	err := line(w, map[string]any{"type": "header", "format": servicesFormat, "host": hostName(), "time": j.env.Now().UTC()})
	for _, r := range rows {
		m := map[string]any{"type": "service"}
		rowJSON(m, r.Listener)
		delete(m, "addr")
		delete(m, "iface")
		delete(m, "family")
		delete(m, "inode")
		m["addresses"], m["interfaces"] = r.addrs, append([]string{}, r.ifaces...)
		m["verdict"], m["rules"] = string(r.verdict), append([]string{}, r.rules...)
		if r.verdict == posture.Fail {
			m["severity"] = r.severity.String()
		}
		if d := r.declared; d != nil {
			m["service"], m["class"], m["role"] = d.Name, d.Class, d.Role
		}
		if err == nil {
			err = line(w, m)
		}
	}
	if err == nil {
		err = line(w, map[string]any{"type": "trailer", "services": len(rows), "complete": f.Status == rules.OK, "exit": j.out.Exit(), "exits": append([]int{}, j.out.Exits()...)})
	}
	return err
}

// rowJSON adds the fields of a row of facts under the names that rules have for
// them. A text that is not UTF-8 is escaped, and its bytes stand beside it.
func rowJSON(m map[string]any, row any) {
	v := reflect.ValueOf(row)
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("cel")
		if name == "" || name == "-" {
			continue
		}
		if s, ok := v.Field(i).Interface().(string); ok {
			shown, raw := report.Coded(s)
			m[name] = shown
			if raw != nil {
				m[name+"_b64"] = raw
			}
			continue
		}
		m[name] = v.Field(i).Interface()
	}
}

// propose writes a block services: that declares what listens now. Names come
// from the host; what is not a plain word is left out of them. It is a beginning:
// whoever takes it over says that it is to be so.
func (s *session) propose(w io.Writer, list []sockets.Listener) {
	type port struct {
		proto string
		port  int64
	}
	widest := map[port]sockets.Listener{}
	var ports []port
	for _, l := range list {
		if l.Netns != "host" {
			continue
		}
		p := port{l.Proto, l.Port}
		old, ok := widest[p]
		if !ok {
			ports = append(ports, p)
		}
		if !ok || slices.Index(proposed, classFor(l)) < slices.Index(proposed, classFor(old)) {
			widest[p] = l
		}
	}
	slices.SortFunc(ports, func(a, b port) int { return cmp.Or(cmp.Compare(a.port, b.port), strings.Compare(a.proto, b.proto)) })
	if len(ports) == 0 {
		fmt.Fprintln(w, "services: []  # nothing listens")
		return
	}
	fmt.Fprintln(w, "# What listens now. Leave out what should not, and say who each is for:")
	fmt.Fprintln(w, "# public: everybody; private: known networks; internal: this host.")
	fmt.Fprintln(w, "services:")
	for _, p := range ports {
		l := widest[p]
		fmt.Fprintf(w, "  - {name: %s, port: %d, proto: %s, class: %s}  # %s on %s\n", serviceName(l), p.port, p.proto, classFor(l), orUnknown(l.ExeKnown, l.Exe), report.Escape(l.Addr))
	}
}

// proposed are the classes, the widest first.
var proposed = []string{"public", "private", "internal"}

// classFor is who could reach a listener now.
func classFor(l sockets.Listener) string {
	switch {
	case l.Loopback:
		return "internal"
	case l.Scope == "private" || l.Scope == "link":
		return "private"
	}
	return "public"
}

// serviceName makes a name of a unit or a program.
func serviceName(l sockets.Listener) string {
	text := l.Exe[strings.LastIndexByte(l.Exe, '/')+1:]
	if l.UnitKnown && strings.HasSuffix(l.Unit, ".service") {
		text = strings.TrimSuffix(l.Unit, ".service")
	}
	name := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, text), "-")
	if len(name) > 40 {
		name = strings.Trim(name[:40], "-")
	}
	if name == "" || name[0] < 'a' {
		name = fmt.Sprintf("port-%d", l.Port) // a name that YAML cannot take for a number
	}
	if slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, name) {
		name = "service-" + name
	}
	return name
}
