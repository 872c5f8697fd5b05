package app

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"intact/cmd/internal/config"
	"intact/report"
	"intact/rules"
	"intact/rules/facts/firewall"
	"intact/rules/facts/sockets"
	"intact/rules/posture"
)

// ServicesOptions of Services.
type ServicesOptions struct {
	Propose bool   // a block for the configuration in the place of the table
	Format  string // text or json
}

// Services prints who listens on this host, and what the rules say of each. It
// writes nothing. The outcome has 3 where something of it could not be read.
func Services(ctx context.Context, e *Env, o ServicesOptions) (Outcome, error) {
	switch {
	case o.Format != "" && o.Format != "text" && o.Format != "json":
		return Outcome{}, usageError("--format: want text or json, not %q", o.Format)
	case o.Propose && o.Format == "json":
		return Outcome{}, usageError("--propose prints YAML, not json")
	}
	s, err := openPosture(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	if !s.root.Live() {
		return Outcome{}, usageError("services is about this host, not about the root %q: nothing listens in an image", e.Root)
	}
	j := &judged{session: s, o: PostureOptions{Sets: []string{"net", "svc", "upd"}}, out: Done()}
	var waivers *posture.Waivers
	if j.book, waivers, err = s.book(); err != nil {
		return Outcome{}, err
	}
	if err := j.choose(); err != nil {
		return Outcome{}, err
	}
	j.facts, j.cover = s.hostFacts(waivers), posture.NewCover(waivers, e.Now())
	f := j.facts.Fact(ctx, "net.listeners")
	list, _ := f.Rows.([]sockets.Listener)
	if f.Status != rules.OK {
		e.warn("not all that listens is known: %s: %s", f.Status, f.Reason)
		j.out.Add(ExitIncomplete)
	}
	hidden := slices.DeleteFunc(slices.Clone(list), func(l sockets.Listener) bool { return l.Owned || l.OwnerKnown })
	if len(hidden) > 0 {
		e.warn("whose socket it is cannot be told of %d of %d: this user may not ask", len(hidden), len(list))
		j.out.Add(ExitIncomplete)
	}
	w := bufio.NewWriter(e.Stdout)
	if o.Propose {
		s.propose(w, list)
		return j.out, w.Flush()
	}
	if err := j.judge(ctx); err != nil {
		return Outcome{}, err
	}
	j.filter = answerOf[firewall.Chain](ctx, j.facts, "firewall.chains")
	rows := j.services(list)
	if o.Format == "json" {
		err = j.servicesJSON(w, rows, f)
	} else {
		err = j.servicesText(w, rows)
	}
	return j.out, errors.Join(err, w.Flush())
}

// service is one line of the table: sockets that differ in their address alone.
type service struct {
	sockets.Listener // the first of them
	addrs            []string
	ifaces           []string
	declared         *config.Service // nil: it is not
	verdict          posture.Verdict
	severity         rules.Severity // of the gravest rule that fails
	rules            []string       // that give the verdict
}

// services folds listeners into lines, in the order of port and protocol, and
// says what the rules think of them.
func (j *judged) services(list []sockets.Listener) (rows []*service) {
	at := map[string]*service{}
	for _, l := range list {
		k := strings.Join([]string{l.Key(), strconv.FormatInt(l.Port, 10), l.Compared(), strconv.FormatBool(l.Owned), strconv.FormatBool(l.ExeDeleted),
			strconv.FormatBool(l.ExeForeign), strconv.FormatInt(l.PID, 10)}, "\x00")
		r := at[k]
		if r == nil {
			r = &service{Listener: l}
			at[k] = r
			rows = append(rows, r)
		}
		if !slices.Contains(r.addrs, l.Addr) {
			r.addrs = append(r.addrs, l.Addr)
		}
		if l.Iface != "" && !slices.Contains(r.ifaces, l.Iface) {
			r.ifaces = append(r.ifaces, l.Iface)
		}
	}
	said := j.verdicts()
	for _, r := range rows {
		slices.Sort(r.addrs)
		slices.Sort(r.ifaces)
		for i := range j.cfg.Services {
			if d := &j.cfg.Services[i]; d.Port == r.Port && d.Proto == r.Proto {
				r.declared = d
			}
		}
		j.verdictOf(r, said[r.Key()])
	}
	slices.SortStableFunc(rows, func(a, b *service) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), strings.Compare(a.Proto, b.Proto), strings.Compare(a.Netns, b.Netns), strings.Compare(a.addrs[0], b.addrs[0]))
	})
	return rows
}

// remark is what one rule says of a listener.
type remark struct {
	rule string
	*posture.Subject
}

// verdicts are what rules say of listeners, by their keys.
func (j *judged) verdicts() map[string][]remark {
	said := map[string][]remark{}
	for i := range j.results {
		r := &j.results[i]
		if r.Rule == nil || !slices.Contains(j.book.NeedsOf(r.Rule), "net.listeners") {
			continue
		}
		for k := range r.Subjects {
			s := &r.Subjects[k]
			said[s.Name] = append(said[s.Name], remark{r.ID, s})
		}
	}
	return said
}

// verdictOf settles what the table says of a listener: the gravest of what rules
// say. Where nobody declared any service, nothing can be in order.
func (j *judged) verdictOf(r *service, said []remark) {
	r.verdict = posture.Pass
	if j.cfg.Services == nil {
		r.verdict = posture.Unknown
	}
	for _, v := range []posture.Verdict{posture.Fail, posture.Error, posture.Unknown, posture.Waived} {
		for _, x := range said {
			if x.Verdict == v {
				r.rules = append(r.rules, x.rule)
				r.severity = max(r.severity, x.Finding.Severity)
			}
		}
		if r.rules != nil {
			r.verdict = v
			return
		}
	}
	for i := range j.results {
		if x := &j.results[i]; x.ID == "net.unlisted" && x.Verdict != posture.Pass && x.Verdict != posture.Fail && x.Verdict != posture.Waived {
			r.verdict = posture.Unknown
		}
	}
}

// words are the verdict as the table shows it.
func (r *service) words() string {
	switch {
	case r.verdict == posture.Fail:
		return r.severity.String() + ": " + strings.Join(r.rules, ", ")
	case len(r.rules) > 0:
		return string(r.verdict) + ": " + strings.Join(r.rules, ", ")
	case r.verdict == posture.Pass:
		return "ok"
	}
	return "not declared"
}

// program is the program behind a listener, with what is strange about it.
func (r *service) program() string {
	switch {
	case !r.ExeKnown && !r.Owned && r.OwnerKnown:
		return "none"
	case !r.ExeKnown:
		return "?"
	case r.ExeMemory:
		return report.Escape(r.Exe) + " (never a file)"
	case r.ExeDeleted:
		return report.Escape(r.Exe) + " (deleted)"
	case r.ExeForeign:
		return report.Escape(r.Exe) + " (in another mount namespace)"
	}
	return report.Escape(r.Exe)
}

// orUnknown shows a text of the host, "?" where it is not known and "-" where
// there is none.
func orUnknown(known bool, text string) string {
	switch {
	case !known:
		return "?"
	case text == "":
		return "-"
	}
	return report.Escape(text)
}
