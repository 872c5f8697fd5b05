package app

import (
	"strings"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

// left reads the attributes that are not to be compared.
func (c *check) left() (err error) {
	if c.leave, err = leftOut(c.o.LeaveOut); err == nil && c.leave != 0 {
		c.remark("not compared, by --leave-out: " + strings.Join(c.o.LeaveOut, ", "))
	}
	return err
}

// leftOut reads the names of attributes.
func leftOut(list []string) (leave entry.Attr, err error) {
	byName := map[string]entry.Attr{}
	var names []string
	for _, r := range entry.Table() {
		if r.Bit != entry.Type {
			byName[r.Name] = r.Bit
			names = append(names, r.Name)
		}
	}
	for _, n := range list {
		if byName[n] == 0 {
			return 0, usageError("--leave-out: there is no attribute %q: want some of %s", n, strings.Join(names, ", "))
		}
		leave |= byName[n]
	}
	return leave, nil
}

// leaveOut returns what drops the differences that are not asked for, nil where
// all are. An entry in which nothing else differs counts as verified.
func (c *check) leaveOut() func(*diff.Change) error {
	if c.leave == 0 {
		return nil
	}
	return func(d *diff.Change) error {
		if d.Kind == diff.Replaced && c.leave&entry.Inode != 0 {
			d.Kind = diff.Changed // by another inode
		}
		if d.Kind == diff.Changed {
			d.Attrs, d.Lost = d.Attrs&^c.leave, d.Lost&^c.leave
			if d.Attrs|d.Lost == 0 {
				d.Kind = 0
				c.counts.Verified++
			}
		}
		return nil
	}
}
