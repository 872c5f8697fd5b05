package sshd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"intact/rules/facts"
)

// parse reads one line. ok is false where it says nothing.
func (l *loader) parse(text string, at facts.Place) (n line, ok bool) {
	word, after, ok := keyword(text)
	if !ok {
		return n, false
	}
	n = line{at: at, spelled: word, rest: after, opt: l.keys[strings.ToLower(word)]}
	if why := n.read(); why != "" {
		n.bad = true
		l.problem(at, "%s", why)
	}
	l.newTests(&n)
	return n, true
}

// read takes the arguments apart and says what sshd would refuse, "" if nothing.
func (n *line) read() (why string) {
	if n.rest == "" {
		return fmt.Sprintf("%q has no argument", n.spelled)
	}
	args, err := split(n.rest)
	if err != nil {
		return err.Error()
	}
	n.args = args
	if n.opt == nil {
		return fmt.Sprintf("%q is no keyword of sshd_config", n.spelled)
	}
	switch n.opt.shape {
	case ignored:
		return ""
	case rest:
		return ""
	case match:
		if n.tests, err = parseCriteria(args); err != nil {
			return err.Error()
		}
		n.text = brief(n.tests.String())
		for _, t := range n.tests {
			if t.kind != "all" {
				n.each = append(n.each, brief(criteria{t}.String()))
			}
		}
		return ""
	}
	if len(args) == 0 || args[0] == "" {
		return fmt.Sprintf("%q has no argument", n.spelled)
	}
	if most := n.opt.most(); most > 0 && len(args) > most {
		return fmt.Sprintf("extra argument %q", args[most])
	}
	if _, err := n.opt.canonical(args); err != nil {
		return fmt.Sprintf("%s: %v", n.spelled, err)
	}
	return ""
}

// most is how many arguments sshd takes, 0 for any number.
func (o *option) most() int {
	switch o.shape {
	case words, each, command, include:
		return 0
	case qos, rekey:
		return 2
	case listen:
		return 3
	}
	return 1
}

// canonical returns the lines that sshd -T prints for the arguments, without
// the keyword. nil without an error: what it prints is not known here.
func (o *option) canonical(args []string) ([]string, error) {
	a := args[0]
	switch o.shape {
	case flag:
		return o.flagged(a)
	case number:
		v, err := strconv.ParseUint(a, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%q is no number", a)
		}
		return []string{strconv.FormatUint(v, 10)}, nil
	case duration:
		return seconds(a, o.name)
	case filename:
		if strings.EqualFold(a, "none") {
			return []string{"none"}, nil
		}
		if a[0] != '/' {
			return nil, nil
		}
		return []string{a}, nil
	case port:
		v, err := strconv.ParseUint(a, 10, 16)
		if err != nil || v == 0 {
			return nil, fmt.Errorf("%q is no port", a)
		}
		return []string{strconv.FormatUint(v, 10)}, nil
	case startups:
		return maxStartups(a)
	case octal:
		v, err := strconv.ParseUint(a, 8, 32)
		if err != nil || v > 0o777 {
			return nil, fmt.Errorf("%q is no mask", a)
		}
		return []string{fmt.Sprintf("0%o", v)}, nil
	case level:
		return levels(o.name, a)
	case qos, rekey:
		return nil, nil
	case each:
		return args, nil
	case words, command:
		if o.name == "permitlisten" {
			args = slices.Clone(args)
			for i, a := range args {
				if a != "any" && a != "none" && !strings.Contains(a, ":") {
					args[i] = "*:" + a
				}
			}
		}
		return []string{strings.Join(args, " ")}, nil
	}
	return []string{a}, nil
}

func (o *option) flagged(a string) ([]string, error) {
	for _, w := range o.words {
		from, to, alias := strings.Cut(w, "=")
		if strings.EqualFold(a, from) {
			if alias {
				return []string{to}, nil
			}
			return []string{from}, nil
		}
	}
	return nil, fmt.Errorf("%q is none of its values", a)
}

// seconds reads a time as sshd does: numbers with units that add up.
func seconds(a, name string) ([]string, error) {
	if name == "unusedconnectiontimeout" && strings.EqualFold(a, "none") {
		return []string{"none"}, nil
	}
	var sum uint64
	for s := a; ; {
		digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
		v, err := strconv.ParseUint(s[:digits], 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%q is no time", a)
		}
		s = s[digits:]
		unit := uint64(1)
		if s != "" {
			switch s[0] | 0x20 {
			case 's':
			case 'm':
				unit = 60
			case 'h':
				unit = 3600
			case 'd':
				unit = 86400
			case 'w':
				unit = 7 * 86400
			default:
				return nil, fmt.Errorf("%q is no time", a)
			}
			s = s[1:]
		}
		if sum += v * unit; sum > 1<<31-1 {
			return nil, fmt.Errorf("%q is too long a time", a)
		}
		if s == "" {
			return []string{strconv.FormatUint(sum, 10)}, nil
		}
	}
}

// maxStartups reads begin:rate:full, or one number for all.
func maxStartups(a string) ([]string, error) {
	parts := strings.Split(a, ":")
	var v []uint64
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%q is not begin:rate:full", a)
		}
		v = append(v, n)
	}
	switch {
	case len(v) == 1:
		return []string{fmt.Sprintf("%d:30:%d", v[0], v[0])}, nil
	case len(v) != 3 || v[0] > v[2] || v[1] < 1 || v[1] > 100:
		return nil, fmt.Errorf("%q is not begin:rate:full", a)
	}
	return []string{fmt.Sprintf("%d:%d:%d", v[0], v[1], v[2])}, nil
}

var (
	logLevels  = strings.Fields("QUIET FATAL ERROR INFO VERBOSE DEBUG DEBUG2 DEBUG3")
	facilities = strings.Fields("DAEMON USER AUTH AUTHPRIV LOCAL0 LOCAL1 LOCAL2 LOCAL3 LOCAL4 LOCAL5 LOCAL6 LOCAL7")
)

func levels(name, a string) ([]string, error) {
	up := strings.ToUpper(a)
	if name == "loglevel" && up == "DEBUG1" {
		up = "DEBUG"
	}
	known := logLevels
	switch name {
	case "syslogfacility":
		known = facilities
	case "fingerprinthash":
		known = []string{"MD5", "SHA256", "SHA1", "SHA384", "SHA512"}
	}
	if !slices.Contains(known, up) {
		return nil, fmt.Errorf("%q is none of its values", a)
	}
	return []string{up}, nil
}
