package sshd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"intact/rules"
	"intact/rules/facts"
)

// Facts is all that is told of the SSH daemon of a host.
type Facts struct {
	Contexts   facts.Answer[Context]
	Settings   facts.Answer[Setting] // of Contexts, for drift
	Directives facts.Answer[Directive]
	Weaker     facts.Answer[Weaker]
	HostKeys   facts.Answer[HostKey]
	Files      facts.Answer[File]
	Server     facts.Answer[Server]
}

// suseFile is where openSUSE keeps what it delivers; MainFile replaces it.
const suseFile = "/usr" + MainFile

type reader struct {
	host    facts.Host
	opts    *Options
	version Version
	main    string // the first file
	conf    *Config
	given   given
	facts   Facts
}

// Collect reads the configuration of a host and, of a running one, asks its
// daemon. Where the daemon cannot be asked for a reason that is not its
// configuration, the parser alone answers, as for an image, and Via says so.
func Collect(ctx context.Context, h facts.Host, opts Options) Facts {
	// The daemon and /proc are those of "/": a root elsewhere is an image.
	h.Live = h.Live && h.Root.Live()
	r := &reader{host: h, opts: &opts, main: MainFile}
	r.version, _ = ReadVersion(ctx, h.Root) // an unknown version makes defaults unknown
	var found []daemon
	var err error
	examined := 0
	if h.Live {
		found, err = running(ctx, facts.HostProc())
		for i, d := range found {
			if parseArgs(d.args).file == "" {
				examined = i
				break
			}
		}
		if len(found) > 0 {
			r.given = parseArgs(found[examined].args)
		}
	}
	if status, why := r.load(ctx); status != rules.OK {
		r.nothing(status, why)
		if r.conf != nil {
			r.facts.Server = r.describe(found, err, examined)
		}
		return r.facts
	}
	r.facts.Files = r.conf.files(h.Root)
	r.facts.Server = r.describe(found, err, examined)
	r.facts.HostKeys = hostKeys(h.Root, r.conf.Effective(nil)["hostkey"])
	r.parserFacts()
	r.contexts(ctx)
	if ctx.Err() != nil {
		r.nothing(rules.Timeout, context.Cause(ctx).Error())
	}
	return r.facts
}

// load reads the files, and the options of the daemon's command line.
func (r *reader) load(ctx context.Context) (rules.Status, string) {
	if f := r.given.file; f != "" {
		if !strings.HasPrefix(f, "/") {
			return rules.Failed, fmt.Sprintf("the running sshd was started with -f %q, which depends on where that was", f)
		}
		r.main = f
	}
	conf, err := Load(ctx, r.host.Root, r.main, r.version)
	if err == nil && conf.Absent && r.given.file == "" {
		if other, err2 := Load(ctx, r.host.Root, suseFile, r.version); err2 == nil && !other.Absent {
			conf, r.main = other, suseFile
		}
	}
	if err != nil {
		return rules.Timeout, err.Error()
	}
	r.conf = conf
	_, _, missing := stat(r.host.Root, Binary)
	switch {
	case conf.Absent && missing != nil, r.host.Live && missing != nil:
		return rules.Absent, "no sshd is installed"
	case conf.Denied:
		return rules.Denied, conf.denied.String()
	case conf.main == nil:
		return rules.Failed, conf.Problems[0].String()
	}
	l := &loader{ctx: ctx, keys: keywords(), conf: conf}
	for _, text := range r.given.lines {
		n, ok := l.parse(text, facts.Place{File: "command line of sshd"})
		if ok && !n.bad && n.opt.shape != match && n.opt.shape != include {
			conf.command = append(conf.command, n)
		}
	}
	return rules.OK, ""
}

// nothing answers all questions alike.
func (r *reader) nothing(status rules.Status, why string) {
	r.facts.Contexts.Status, r.facts.Contexts.Reason = status, why
	r.facts.Settings.Status, r.facts.Settings.Reason = status, why
	r.facts.Directives.Status, r.facts.Directives.Reason = status, why
	r.facts.Weaker.Status, r.facts.Weaker.Reason = status, why
	r.facts.HostKeys.Status, r.facts.HostKeys.Reason = status, why
	r.facts.Files.Status, r.facts.Files.Reason = status, why
	r.facts.Server.Status, r.facts.Server.Reason = status, why
}

// whole is the status of what the parser says: it is not all where sshd would
// refuse the configuration.
func (r *reader) whole() (rules.Status, string) {
	switch n := len(r.conf.Problems); n {
	case 0:
		return rules.OK, ""
	case 1:
		return rules.Failed, r.conf.Problems[0].String()
	default:
		return rules.Failed, fmt.Sprintf("%s, and %d more like it", r.conf.Problems[0], n-1)
	}
}

func (r *reader) parserFacts() {
	status, why := r.whole()
	r.facts.Directives = facts.Answer[Directive]{Rows: r.conf.Directives(), Status: status, Reason: why, Via: r.main}
	r.facts.Weaker = facts.Answer[Weaker]{Rows: r.conf.Weaker(), Status: status, Reason: why, Via: r.main}
}

// contexts answers what counts for whom.
func (r *reader) contexts(ctx context.Context) {
	found, cut := r.conf.derive(r.opts)
	out := facts.Answer[Context]{Via: r.main + ", by own parser"}
	out.Status, out.Reason = r.whole()
	told := make([]map[string][]string, len(found))
	if r.host.Live {
		var err error
		told, err = r.askAll(ctx, found)
		switch {
		case err == nil:
			out.Status, out.Reason, out.Via = rules.OK, "", "sshd -T -C"
		case errors.Is(err, errUnable):
			out.Via += " (" + err.Error() + ")"
		default:
			out.Status, out.Reason = rules.Failed, err.Error()
			if errors.Is(err, errTime) || ctx.Err() != nil {
				out.Status = rules.Timeout
			}
			if len(r.conf.Problems) > 0 {
				out.Reason += "; " + r.conf.Problems[0].String()
			}
		}
	}
	for i, p := range found {
		c := Context{
			Label: p.label, User: p.User, Role: p.role, Origin: p.origin, Addr: p.Addr, Host: p.Host,
			LocalAddr: p.LocalAddr, LocalPort: int64(p.LocalPort), Match: p.holding, Spec: p.spec(),
		}
		c.fill(r.conf.Effective(&p.Client), told[i])
		out.Rows = append(out.Rows, c)
	}
	if cut && out.Status == rules.OK {
		out.Status = rules.Failed
		out.Reason = fmt.Sprintf("the Match lines make more than %d kinds of connections; only these were asked about", len(found))
	}
	r.facts.Contexts = out
	r.facts.Settings = facts.Answer[Setting]{Rows: Settings(out.Rows), Status: out.Status, Reason: out.Reason, Via: out.Via}
	if s := &r.facts.Settings; s.Status == rules.OK && !r.version.Known() && (len(told) == 0 || told[0] == nil) {
		s.Status, s.Reason = rules.Failed, "the release of sshd is not known, and with it what it does without a word"
	}
}

// askAll asks the daemon about each connection, two at a time. Where no file
// says Match, one answer holds for all.
func (r *reader) askAll(ctx context.Context, found []prospect) ([]map[string][]string, error) {
	told := make([]map[string][]string, len(found))
	if why := untrusted(r.host.Root, Binary); why != "" {
		return told, fmt.Errorf("%w: %s", errUnable, why)
	}
	a := asks{binary: Binary, options: r.given.options}
	if r.main != MainFile && r.given.file == "" {
		a.options = append(a.options, "-f", r.main)
	}
	distinct := len(found)
	if !r.conf.conditional() {
		distinct = 1
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range min(2, distinct) {
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					cancel(fmt.Errorf("%w: %v", errUnable, p))
				}
			}()
			for i := range next {
				got, err := a.ask(ctx, &found[i].Client)
				if err != nil {
					cancel(err)
					return
				}
				told[i] = got
			}
		})
	}
feed:
	for i := range distinct {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return make([]map[string][]string, len(found)), err
	}
	for i := distinct; i < len(found); i++ {
		told[i] = told[0]
	}
	return told, nil
}

// conditional reports a Match line anywhere, well-formed or not.
func (c *Config) conditional() bool {
	for _, s := range c.sources {
		for _, n := range s.lines {
			if strings.EqualFold(n.spelled, "match") {
				return true
			}
		}
	}
	return len(c.Problems) > 0
}
