package sshd

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"intact/rules/facts"
)

// builtIn stands for the place of a value that no file sets.
const builtIn = "built in"

// renamed are the fields whose tag is another word than the keyword.
var renamed = map[string]string{"ports": "port", "listenaddresses": "listenaddress", "hostkeys": "hostkey"}

// fill sets the fields of options. told is what sshd -T said, nil where only
// the parser answers.
func (c *Context) fill(parsed map[string]Value, told map[string][]string) {
	c.values = map[string][]string{}
	for name, v := range parsed {
		if v.Known && told == nil {
			c.values[name] = v.Lines
		}
	}
	for name := range parsed {
		if told != nil && silent(name) {
			c.values[name] = nil
		}
	}
	for name, lines := range told {
		c.values[name] = lines
		if v, ok := parsed[name]; ok && v.Known && !agree(name, v.Lines, lines) {
			c.Disagrees = append(c.Disagrees, name)
		}
	}
	for name, v := range parsed {
		if _, ok := told[name]; told != nil && !ok && v.Known && !agree(name, v.Lines, nil) {
			c.Disagrees = append(c.Disagrees, name)
		}
	}
	slices.Sort(c.Disagrees)
	s := reflect.ValueOf(c).Elem()
	for i := range s.NumField() {
		tag := s.Type().Field(i).Tag.Get("cel")
		name := tag
		if r := renamed[tag]; r != "" {
			name = r
		}
		v, isOption := parsed[name]
		if !isOption {
			continue
		}
		// The two companions follow their option, see the struct.
		lines, known := v.Lines, v.Known
		if told != nil {
			lines = told[name]
			known = len(lines) > 0 || silent(name)
		}
		if known {
			known = set(s.Field(i), name, lines)
		}
		s.Field(i + 1).SetString(whence(v.At))
		s.Field(i + 2).SetBool(known)
	}
	c.numbers()
}

// silent tells the options of which sshd -T prints nothing where they are
// empty. Of others nothing says that this build has no such option.
func silent(name string) bool {
	return slices.Contains([]string{"allowusers", "denyusers", "allowgroups", "denygroups", "acceptenv", "subsystem", "setenv", "hostcertificate"}, name)
}

// set gives one field its value; false where it is not of the field's type.
func set(f reflect.Value, name string, lines []string) bool {
	one := ""
	if len(lines) > 0 {
		one = lines[0]
	}
	switch f.Interface().(type) {
	case bool:
		f.SetBool(one == "yes")
		return one == "yes" || one == "no"
	case int64:
		n, err := strconv.ParseInt(one, 10, 64)
		f.SetInt(n)
		return err == nil
	case string:
		f.SetString(one)
		return len(lines) == 1
	case []int64:
		var out []int64
		for _, l := range lines {
			n, err := strconv.ParseInt(l, 10, 64)
			if err != nil {
				return false
			}
			out = append(out, n)
		}
		f.Set(reflect.ValueOf(out))
		return true
	}
	f.Set(reflect.ValueOf(listed(name, lines)))
	return true
}

// listed makes a list of what sshd -T prints in one line or in many.
func listed(name string, lines []string) []string {
	switch o := keywords()[name]; {
	case o == nil:
	case o.shape == algs:
		return commas(lines)
	case o.shape == words && len(lines) == 1:
		return strings.Fields(lines[0])
	}
	return slices.Clone(lines)
}

func commas(lines []string) []string {
	if len(lines) == 0 || lines[0] == "" {
		return nil
	}
	return strings.Split(lines[0], ",")
}

func (c *Context) numbers() {
	if !c.MaxStartupsKnown {
		return
	}
	parts := strings.Split(c.MaxStartups, ":")
	into := []*int64{&c.MaxStartupsBegin, &c.MaxStartupsRate, &c.MaxStartupsFull}
	if len(parts) != len(into) {
		c.MaxStartupsKnown = false
		return
	}
	for i, p := range parts {
		n, err := strconv.ParseInt(p, 10, 64)
		*into[i] = n
		c.MaxStartupsKnown = c.MaxStartupsKnown && err == nil
	}
}

// whence writes places; many are cut.
func whence(at []facts.Place) string {
	const enough = 8
	if len(at) == 0 {
		return builtIn
	}
	var out []string
	for i, p := range at {
		if i == enough {
			out = append(out, "…")
			break
		}
		out = append(out, placed(p))
	}
	return strings.Join(out, ", ")
}

// Setting is what counts of one option, for drift. Context is "*" for the rows
// that hold for a stranger from outside; other connections have rows only where
// they differ from that.
type Setting struct {
	Context string   `cel:"context"`
	Option  string   `cel:"option"`
	Value   []string `cel:"value"` // as sshd -T prints it, a line each
}

// Key identifies the row.
func (s Setting) Key() string { return s.Option + " " + s.Context }

// Compared is what drift compares: values, not where they were said.
func (s Setting) Compared() string {
	words := make([]string, len(s.Value))
	for i, v := range s.Value {
		words[i] = "value=" + strconv.Quote(v)
	}
	return strings.Join(words, " ")
}

// Settings makes the rows of drift out of contexts. Contexts of which nothing
// is known give none.
func Settings(contexts []Context) []Setting {
	base := slices.IndexFunc(contexts, func(c Context) bool { return c.User == stranger && c.Origin == "external" })
	if base < 0 {
		return nil
	}
	common := contexts[base].values
	var out []Setting
	for name, lines := range common {
		out = append(out, Setting{"*", name, lines})
	}
	for i, c := range contexts {
		if i == base {
			continue
		}
		for name, lines := range c.values {
			if was, ok := common[name]; !ok || !slices.Equal(was, lines) {
				out = append(out, Setting{c.Label, name, lines})
			}
		}
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Key(), b.Key()) })
	return out
}
