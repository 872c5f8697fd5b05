package report

import (
	"strings"

	"intact/rules"
)

// The fields of each record, in the order of the format. Fields may be added
// in later versions only as optional ones: what was signed must read the same.

// record writes or reads one line without its newline. kind is the type word.
func (c *coder) record(r *Record, kind string) {
	c.open()
	c.key("type")
	c.lit(`"` + kind + `"`)
	switch kind {
	case "header":
		r.Header = orNew(r.Header)
		r.Header.fields(c)
	case "finding":
		r.Finding = orNew(r.Finding)
		findingFields(r.Finding, c)
	case "gap":
		r.Gap = orNew(r.Gap)
		r.Gap.fields(c)
	case "rule":
		r.Rule = orNew(r.Rule)
		r.Rule.fields(c)
	case "skip":
		r.Skip = orNew(r.Skip)
		c.text("path", &r.Skip.Path)
		c.text("fstype", &r.Skip.FSType)
	case "note":
		r.Note = orNew(r.Note)
		c.text("text", &r.Note.Text)
		c.optional("path", &r.Note.Path)
		if c.has("window", r.Note.Window != nil) {
			r.Note.Window = orNew(r.Note.Window)
			c.object("window", func() { r.Note.Window.fields(c) })
		}
	case "trailer":
		r.Trailer = orNew(r.Trailer)
		r.Trailer.fields(c)
	default:
		c.fail("type %.40q", kind)
	}
	c.close()
}

func orNew[T any](p *T) *T {
	if p == nil {
		p = new(T)
	}
	return p
}

func (h *Header) fields(c *coder) {
	format := Format
	c.word("format", &format, Format)
	c.text("id", &h.ID)
	if c.reading && (h.ID == "" || strings.IndexFunc(h.ID, func(r rune) bool { return r <= ' ' || r >= 0x7f }) >= 0) {
		c.fail("id %.40q", h.ID)
	}
	c.word("kind", (*string)(&h.Kind), string(KindCheck), string(KindInit), string(KindWatch), string(KindImage), string(KindUpdate), string(KindAccept), string(KindDiff))
	c.word("scope", (*string)(&h.Scope), string(ScopeFull), string(ScopePartial))
	c.object("host", func() {
		c.text("id", &h.Host.ID)
		c.text("name", &h.Host.Name)
		if c.has("epoch", h.Host.Epoch > 0) {
			c.unsigned("epoch", &h.Host.Epoch)
			c.demand(h.Host.Epoch > 0, "epoch")
		}
	})
	c.text("root", &h.Root)
	c.time("started", &h.Started)
	c.unsigned("seq", &h.Seq)
	c.nullable("prev", &h.Prev)
	c.key("baseline")
	if c.null(h.Baseline.Generation > 0) {
		h.Baseline.object(c)
	}
	c.nullable("policy", &h.Policy)
	c.object("tool", func() {
		c.text("version", &h.Tool.Version)
		c.nullable("digest", &h.Tool.Digest)
	})
	c.texts("command", &h.Command, false)
	if c.has("boot", h.Boot.ID != "") {
		c.object("boot", func() {
			c.text("id", &h.Boot.ID)
			c.number("clock", &h.Boot.Clock)
		})
		c.demand(h.Boot.ID != "", "boot")
	}
	c.optional("signer", &h.Signer)
	if c.has("checkpoint", h.Checkpoint.Seq > 0) {
		c.object("checkpoint", func() {
			c.unsigned("seq", &h.Checkpoint.Seq)
			c.text("digest", &h.Checkpoint.Digest)
		})
		c.demand(h.Checkpoint.Seq > 0, "checkpoint")
	}
	if c.has("knows", h.Known.Generation > 0) {
		c.object("knows", func() {
			c.unsigned("generation", &h.Known.Generation)
			c.text("root", &h.Known.Root)
		})
		c.demand(h.Known.Generation > 0, "knows")
	}
}

func (b *Baseline) object(c *coder) {
	c.open()
	c.unsigned("generation", &b.Generation)
	if c.reading && b.Generation == 0 {
		c.fail("baseline generation 0")
	}
	c.nullable("root", &b.Root)
	c.nullable("signer", &b.Signer)
	c.close()
}

func subject(s *rules.Subject, c *coder) {
	c.object("subject", func() {
		c.text("kind", &s.Kind)
		c.optional("path", &s.Path)
		c.optional("name", &s.Name)
	})
}

func severity(c *coder, name string, s *rules.Severity) {
	word := s.String()
	c.key(name)
	c.string(&word)
	if !c.reading {
		return
	}
	v, err := rules.ParseSeverity(word)
	if err != nil {
		c.fail("%v", err)
	}
	*s = v
}

func findingFields(f *rules.Finding, c *coder) {
	raw := findingHead(f, c)
	findingBody(f, c)
	if raw != (f.Explained != nil) {
		c.fail("raw_severity and explained go together")
	}
	c.texts("attack", &f.Attack, true)
	c.optional("window", &f.Window)
	actors(f, c)
}

// findingHead is what folding needs to know of a finding. It reports whether
// there is a raw severity.
func findingHead(f *rules.Finding, c *coder) (raw bool) {
	c.text("set", &f.Set)
	c.text("rule", &f.Rule)
	severity(c, "severity", &f.Severity)
	raw = c.has("raw_severity", f.Explained != nil)
	if raw {
		severity(c, "raw_severity", &f.RawSeverity)
	} else if c.reading {
		f.RawSeverity = f.Severity
	}
	subject(&f.Subject, c)
	c.optional("change", &f.Change)
	return raw
}

func findingBody(f *rules.Finding, c *coder) {
	c.optional("from", &f.From)
	if c.has("count", f.Count != 0) {
		c.number("count", &f.Count)
		c.demand(f.Count != 0, "count")
	}
	elements(c, "attributes", &f.Attributes, func(v *rules.Value) {
		c.open()
		c.text("name", &v.Name)
		side(c, "old", &v.Old, &v.OldKnown)
		side(c, "new", &v.New, &v.NewKnown)
		c.close()
	})
	c.optional("sha256", &f.SHA256)
	c.demand(f.SHA256 == "" || len(f.SHA256) == 64 && strings.Trim(f.SHA256, "0123456789abcdef") == "", "sha256")
	c.texts("reasons", &f.Reasons, true)
	c.texts("links", &f.Links, false)
	c.time("first_seen", &f.FirstSeen)
	c.boolean("new", &f.New)
	c.key("explained")
	if c.null(f.Explained != nil) {
		f.Explained = orNew(f.Explained)
		c.open()
		c.text("source", &f.Explained.Source)
		c.word("level", &f.Explained.Level, rules.Signed, rules.Attributed, rules.Local)
		c.optional("kind", &f.Explained.Kind)
		c.optional("id", &f.Explained.ID)
		c.optional("by", &f.Explained.By)
		c.optional("when", &f.Explained.When)
		c.optional("key", &f.Explained.Key)
		c.optional("verified", &f.Explained.Verified)
		c.optional("claim", &f.Explained.Claim)
		c.close()
	}
}

// side is one value of an attribute: null where absent or unknown.
func side(c *coder, name string, s *string, known *bool) {
	c.key(name)
	present := c.null(*known)
	if c.reading {
		*known = present
	}
	if present {
		c.value(name, s)
	}
}

func (g *Gap) fields(c *coder) {
	subject(&g.Subject, c)
	c.texts("attributes", &g.Attributes, false)
	c.text("reason", &g.Reason)
	c.optional("detail", &g.Detail)
	c.boolean("known", &g.Known)
	if c.has("count", g.Count != 0) {
		c.number("count", &g.Count)
		c.demand(g.Count != 0, "count")
	}
}

func (r *Rule) fields(c *coder) {
	c.text("set", &r.Set)
	c.text("rule", &r.Rule)
	c.text("verdict", &r.Verdict)
	c.text("reason", &r.Reason)
}

func (t *Trailer) fields(c *coder) {
	c.word("verdict", (*string)(&t.Verdict), string(Clean), string(Findings), string(Incomplete),
		string(Untrusted), string(Failed), string(Interrupted))
	c.optional("reason", &t.Reason)
	exit := int64(t.Exit)
	c.number("exit", &exit)
	t.Exit = int(exit)
	elements(c, "exits", &t.Exits, func(v *int) {
		x := int64(*v)
		c.integer(&x)
		*v = int(x)
	})
	c.object("counts", func() { t.Counts.fields(c) })
	c.nullable("pending", &t.Pending)
	c.boolean("complete", &t.Complete)
	if c.has("published", t.Published.Generation > 0) {
		c.key("published")
		t.Published.object(c)
	}
	if c.has("quick", t.Quick != nil) {
		t.Quick = orNew(t.Quick)
		c.object("quick", func() { t.Quick.fields(c) })
	}
	if c.has("second_look", t.Second != nil) {
		t.Second = orNew(t.Second)
		c.object("second_look", func() { t.Second.fields(c) })
	}
	if c.has("logs", t.Logs != nil) {
		t.Logs = orNew(t.Logs)
		c.object("logs", func() { t.Logs.fields(c) })
	}
	if c.has("posture", t.Posture != nil) {
		t.Posture = orNew(t.Posture)
		c.object("posture", func() { t.Posture.fields(c) })
	}
	if c.has("coverage", t.Coverage != nil) {
		t.Coverage = orNew(t.Coverage)
		c.object("coverage", func() { t.Coverage.fields(c) })
	}
	c.time("finished", &t.Finished)
	if c.has("clock", t.Clock > 0) {
		c.number("clock", &t.Clock)
		c.demand(t.Clock > 0, "clock")
	}
}

func (q *Quick) fields(c *coder) {
	c.number("trusted", &q.Trusted)
	c.number("files", &q.Files)
	c.number("share_percent", &q.Share)
	c.number("every_days", &q.Every)
	c.time("oldest", &q.Oldest)
}

func (n *Counts) fields(c *coder) {
	c.number("selected", &n.Selected)
	c.number("verified", &n.Verified)
	c.number("changed", &n.Changed)
	c.number("added", &n.Added)
	c.number("removed", &n.Removed)
	c.number("renamed", &n.Renamed)
	c.number("unverified", &n.Unverified)
	c.number("known_gaps", &n.KnownGaps)
	c.number("skipped", &n.Skipped)
	c.number("bytes", &n.Bytes)
	c.object("findings", func() {
		for s := int(rules.Critical); s >= 0; s-- {
			c.number(rules.Severity(s).String(), &n.Findings[s])
		}
	})
	c.number("new", &n.New)
	c.number("pending", &n.Pending)
	c.number("explained", &n.Explained)
	if c.has("pending_since", !n.PendingSince.IsZero()) {
		c.time("pending_since", &n.PendingSince)
		c.demand(!n.PendingSince.IsZero(), "pending_since")
	}
}
