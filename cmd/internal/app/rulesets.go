package app

import (
	"slices"
	"strings"

	"intact/rules/drift"
	"intact/rules/posture"
)

// postureWord stands in --only and --skip for all sets but those about files and
// about the program itself.
const postureWord = "posture"

// ruleSets are those that come with the program. A site may have more.
var ruleSets = []string{"fim", "net", "ssh", "svc", "upd"}

// chooseSets puts the sets of --only and --skip in force. The names of rule files
// of a site are known only when those were read.
func (c *check) chooseSets() error {
	c.sets = map[string]bool{}
	named := func(list []string, n string) bool {
		return slices.Contains(list, n) || n == drift.Name && slices.Contains(list, postureWord)
	}
	for _, n := range setNames {
		c.sets[n] = (len(c.o.Only) == 0 || named(c.o.Only, n)) && !named(c.o.Skip, n)
	}
	known := slices.Concat(setNames[:], []string{postureWord}, ruleSets)
	for _, n := range slices.Concat(c.o.Only, c.o.Skip) {
		if slices.Contains(known, n) || n != "" && len(c.o.Paths) == 0 && strings.Trim(n, "abcdefghijklmnopqrstuvwxyz0123456789-_") == "" && c.cfgErr == nil && c.siteSet(n) {
			continue
		}
		return usageError("there is no rule set %q: want one of %v", n, known)
	}
	for _, n := range c.o.Skip {
		if slices.Contains(c.o.Only, n) {
			return usageError("rule set %q is in --only and in --skip", n)
		}
	}
	return nil
}

// siteSet reports whether rule files of the site have a set.
func (c *check) siteSet(name string) bool {
	b, _, err := c.book()
	return err == nil && slices.Contains(b.Sets(), name)
}

// wantsRules reports whether any set of rules is asked for.
func (c *check) wantsRules() bool {
	if len(c.o.Paths) > 0 || c.update != nil {
		return false
	}
	if len(c.o.Only) == 0 {
		return !slices.Contains(c.o.Skip, postureWord)
	}
	return slices.ContainsFunc(c.o.Only, func(n string) bool { return n == postureWord || !slices.Contains(setNames[:], n) })
}

// setsOf are the sets of a book that are asked for, nil for all.
func (c *check) setsOf(b *posture.Book) []string {
	all := len(c.o.Only) == 0 || slices.Contains(c.o.Only, postureWord)
	if all && len(c.o.Skip) == 0 {
		return nil
	}
	return slices.DeleteFunc(b.Sets(), func(n string) bool {
		return !all && !slices.Contains(c.o.Only, n) || slices.Contains(c.o.Skip, n)
	})
}
