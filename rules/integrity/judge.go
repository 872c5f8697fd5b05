package integrity

import (
	"fmt"

	"intact/baseline/diff"
	"intact/rules"
	"intact/scanner/entry"
)

// verdict is one reason to report a change. The gravest one names the rule of
// the finding, the others add their reasons.
type verdict struct {
	rule     string
	severity rules.Severity
	reason   string
	attack   []string // nil: the rule's
}

// judge collects the verdicts on one change.
type judge struct {
	o    *Options
	list []verdict
}

func (j *judge) say(rule string, s rules.Severity, reason string, attack ...string) {
	j.list = append(j.list, verdict{rule, s, reason, attack})
}

// change judges everything of c but what is no longer verified.
func (j *judge) change(c *diff.Change) {
	path, old, now := string(c.Path), c.Old, c.New
	switch {
	case c.Kind == diff.Added && now != nil:
		j.appeared(path, now, c.NewSet)
	case c.Kind == diff.Removed && old != nil:
		j.vanished(path, old, c.OldSet)
	case c.Kind == diff.Renamed && old != nil && now != nil:
		j.renamed(c)
	case c.Kind == diff.Replaced:
		j.say(ruleReplaced, rules.Low, "content and compared attributes were verified to be equal")
	case c.Kind == diff.Regained:
		j.say(ruleRegained, rules.Info, "could not be read when the baseline was made: "+c.Gained.String())
	case c.Kind == diff.Changed && old != nil && now != nil:
		j.altered(path, old, now, c.Attrs, c.Gained, c.OldSet)
	case c.Kind == diff.Added:
		j.say(ruleAdded, rules.Medium, "nothing else is known of it")
	case c.Kind == diff.Removed:
		j.say(ruleRemoved, rules.Medium, "nothing else is known of it")
	case c.Kind != diff.Unverified:
		j.say(ruleMetadata, rules.Medium, "nothing else is known of it")
	}
}

// lost judges what was verified and is not any more: as grave as if it had
// been changed.
func (j *judge) lost(c *diff.Change) {
	s := rules.Medium
	why := "it was verified in the baseline"
	if c.Reason != "" {
		why = "could not be read: " + c.Reason
	}
	hidden := judge{o: j.o}
	switch {
	case c.Old == nil || c.Old.Kind == entry.Dir && c.Lost == 0:
		if j.system(string(c.Path)) || placeOf(string(c.Path)) != nil {
			hidden.say(ruleContent, rules.High, "")
		}
	case c.OldSet.For(c.Old.Kind)&entry.Content == 0:
		hidden.powers(string(c.Path), c.Old, entry.Set{Sweep: true})
	default:
		hidden.content(string(c.Path), c.Old, c.Old, c.OldSet)
	}
	for _, v := range hidden.list {
		s = max(s, min(v.severity, rules.High))
	}
	if c.Lost != 0 {
		why += " (" + c.Lost.String() + ")"
	}
	j.say(ruleLost, s, why)
	if s == rules.High {
		j.say(ruleLost, s, "a change of its content would be high")
	}
}

// appeared judges an object that stands at path and did not before.
func (j *judge) appeared(path string, e *entry.Entry, set entry.Set) {
	pl := placeOf(path)
	switch {
	case set.Sweep && pl == nil:
		j.say(ruleAdded, rules.Info, "seen by a sweep: name and metadata only")
	case pl != nil && (e.Kind == entry.File || e.Kind == entry.Symlink):
		j.say(pl.rule, pl.severity, pl.reason, pl.attack...)
	case pl != nil:
		j.say(pl.rule, min(pl.severity, rules.Medium), pl.reason, pl.attack...)
	case e.Kind == entry.Dir:
		j.say(ruleAdded, rules.Low, "new directory")
	case e.Kind == entry.Symlink && inPath(path):
		j.say(ruleTarget, rules.Medium, "a new name among the commands")
	case j.system(path):
		j.say(ruleAdded, rules.Medium, "new in a system path")
	default:
		j.say(ruleAdded, rules.Low, "new "+e.Kind.String())
	}
	j.powers(path, e, set)
}

// powers judges what makes a new object dangerous by itself.
func (j *judge) powers(path string, e *entry.Entry, set entry.Set) {
	if special(e) != 0 {
		j.say(ruleSetuid, rules.High, runsAs(e))
	}
	if e.Kind == entry.File && e.Have&entry.Caps != 0 && e.Caps != nil {
		j.say(ruleCapability, rules.High, "carries "+entry.TextCaps(e.Caps))
	}
	if writable(e) {
		j.writable(path, e, "anybody may write")
	}
	if executable(e) {
		switch {
		case inPath(path):
			j.say(ruleExecutable, rules.High, "runs by its name: it stands among the commands")
		case j.system(path):
			j.say(ruleExecutable, rules.Medium, "executable in a system path")
		case set.Sweep:
			j.say(ruleExecutable, rules.Info, "executable outside the system paths")
		default:
			j.say(ruleExecutable, rules.Medium, "executable in a watched path")
		}
	}
	if e.Kind == entry.CharDevice || e.Kind == entry.BlockDevice {
		if within(path, "/dev") {
			j.say(ruleDevice, rules.Low, "a device node in /dev")
		} else {
			j.say(ruleDevice, rules.High, "a device node outside /dev")
		}
	}
}

// writable judges a world-writable object.
func (j *judge) writable(path string, e *entry.Entry, reason string) {
	switch {
	case e.Kind == entry.Dir && e.Mode&0o1000 != 0:
		j.say(ruleWritable, rules.Medium, reason+", but only remove their own")
	case j.system(path):
		j.say(ruleWritable, rules.High, reason+" in a system path")
	default:
		j.say(ruleWritable, rules.Medium, reason)
	}
}

// vanished judges an object that stood at path and does not any more.
func (j *judge) vanished(path string, e *entry.Entry, set entry.Set) {
	pl := placeOf(path)
	switch {
	case set.Sweep && pl == nil && special(e) == 0:
		j.say(ruleRemoved, rules.Info, "seen by a sweep: name and metadata only")
	case set.Log && e.Kind == entry.File:
		j.logGone(path)
	case pl != nil && e.Kind != entry.Dir:
		j.say(pl.rule, pl.gone, pl.reason, "T1070.004")
	case e.Kind == entry.Dir:
		j.say(ruleRemoved, rules.Low, "directory removed")
	case j.system(path):
		j.say(ruleRemoved, rules.Medium, "removed from a system path")
	default:
		j.say(ruleRemoved, rules.Low, e.Kind.String()+" removed")
	}
	if special(e) != 0 {
		j.say(ruleRemoved, rules.Medium, "was setuid or setgid")
	}
}

// renamed is the higher of "added there" and "removed here", with what changed
// on the way.
func (j *judge) renamed(c *diff.Change) {
	there, here := judge{o: j.o}, judge{o: j.o}
	there.appeared(string(c.Path), c.New, c.NewSet)
	here.vanished(string(c.From), c.Old, c.OldSet)
	s := rules.Info
	for _, v := range append(there.list, here.list...) {
		s = max(s, v.severity)
	}
	if c.Count > 0 && (j.system(string(c.Path)) || j.system(string(c.From))) {
		s = max(s, rules.Medium)
	}
	for _, v := range there.list {
		j.say(ruleRenamed, s, "there: "+v.reason, v.attack...)
	}
	for _, v := range here.list {
		j.say(ruleRenamed, s, "here: "+v.reason, v.attack...)
	}
	if attrs := c.Attrs &^ traces(c.New.Kind); attrs != 0 {
		j.altered(string(c.Path), c.Old, c.New, attrs, c.Gained, c.OldSet)
	}
}

// traces are the attributes that change without what an object holds or who
// may use it: those of touch.
func traces(k entry.Kind) entry.Attr {
	t := entry.Mtime | entry.Ctime | entry.Inode | entry.Device | entry.Nlink
	if k != entry.File {
		t |= entry.Size
	}
	return t
}

// altered judges an object that is still there with other attributes. Content
// that is gained was unknown: if anything tells that the file was touched since,
// it may be another.
func (j *judge) altered(path string, old, now *entry.Entry, attrs, gained entry.Attr, set entry.Set) {
	if attrs&entry.Type != 0 {
		j.typeChanged(path, old, now, set)
		return
	}
	unread := gained&entry.Content != 0 && attrs&(entry.Mtime|entry.Ctime) != 0
	if (attrs&(entry.Content|entry.Size) != 0 || unread) && now.Kind == entry.File {
		j.content(path, old, now, set)
		if gained&entry.Content != 0 {
			j.say(ruleContent, rules.Medium, "its content was not known, and it was touched since")
		} else if attrs&entry.Content == 0 {
			j.say(ruleContent, rules.Medium, "its size differs, its content is not compared")
		} else if attrs&entry.Mtime == 0 && old.Have&now.Have&entry.Mtime != 0 && old.Mtime == now.Mtime {
			j.say(ruleContent, rules.High, "other bytes under the same modification time: it was set back, or the file was written past the file system", "T1070.006")
		}
	}
	if attrs&entry.Target != 0 {
		j.target(path)
	}
	j.metadata(path, old, now, attrs, set)
	if len(j.list) == 0 {
		j.touched(now, attrs)
	}
}

func (j *judge) typeChanged(path string, old, now *entry.Entry, set entry.Set) {
	s := rules.Medium
	if j.system(path) || placeOf(path) != nil {
		s = rules.High
	}
	j.say(ruleType, s, fmt.Sprintf("was a %s, is a %s", old.Kind, now.Kind))
	if pl := placeOf(path); pl != nil {
		j.say(pl.rule, pl.severity, pl.reason, pl.attack...)
	}
	j.powers(path, now, set)
}

// content judges a file whose bytes differ, or may.
func (j *judge) content(path string, old, now *entry.Entry, set entry.Set) {
	pl := placeOf(path)
	switch {
	case set.Log:
		j.logContent(path, old, now)
	case pl != nil:
		j.say(pl.rule, pl.severity, pl.reason, pl.attack...)
	case inPath(path):
		j.say(ruleContent, rules.High, "a command has other bytes", "T1554")
	case j.system(path) && (executable(old) || executable(now) || library(path)):
		j.say(ruleContent, rules.High, "a program or library in a system path has other bytes", "T1554")
	default:
		j.say(ruleContent, rules.Medium, "other content")
	}
	if special(now) != 0 {
		j.say(ruleContent, rules.High, "other bytes, and "+runsAs(now), "T1554", "T1548.001")
	}
	if now.Have&entry.Caps != 0 && now.Caps != nil {
		j.say(ruleContent, rules.High, "other bytes, and carries "+entry.TextCaps(now.Caps), "T1554", "T1548.001")
	}
}

func (j *judge) target(path string) {
	switch pl := placeOf(path); {
	case pl != nil:
		j.say(pl.rule, pl.severity, pl.reason, pl.attack...)
	case inPath(path):
		j.say(ruleTarget, rules.High, "a command leads to another program")
	}
	j.say(ruleTarget, rules.Medium, "leads elsewhere")
}

// touched judges a change that left all else as it was.
func (j *judge) touched(now *entry.Entry, attrs entry.Attr) {
	switch {
	case attrs == entry.Ctime:
		j.say(ruleTouch, rules.Low, "only the change time differs: metadata or times were set and set back, or a name was added and removed")
	case attrs&^(entry.Mtime|entry.Ctime) == 0:
		j.say(ruleTouch, rules.Low, "only times differ")
	case attrs&entry.Nlink != 0 && now.Kind != entry.Dir:
		j.say(ruleTouch, rules.Low, "has another number of names")
	default:
		j.say(ruleTouch, rules.Low, "only "+attrs.String()+" differ")
	}
}
