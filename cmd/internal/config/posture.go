package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"intact/scanner/strict"
)

// The names of rule files and waivers beside the configuration.
const (
	rulesDir    = "rules.d"
	waiversFile = "waivers.yaml"
)

// Profiles are the choices of rules that a configuration can name, the default
// first. Package rules/posture owns what they mean.
var Profiles = []string{"server", "seed-strict"}

// classes say who a service is for.
var classes = []string{"public", "private", "internal"}

// Posture says how the host is judged besides its files.
type Posture struct {
	Profile  string // one of Profiles
	Strict   bool   // what fails and stands counts in a check like what is new
	ProbeSSH bool   // sshd may be asked over loopback what it offers

	// Rules is the folder of rule files and Waivers the waiver file, both absolute;
	// "": there is no place for them. NamedRules and NamedWaivers: a file says
	// so, and they must exist.
	Rules, Waivers           string
	NamedRules, NamedWaivers bool
}

// Service is one service that the operator declares.
type Service struct {
	Name  string
	Port  int64  // 1 … 65535
	Proto string // tcp or udp
	Class string // public, private or internal
	Role  string // "" if none is given
	Place string // file:line:col
}

// Required is a rule that must have a verdict.
type Required struct {
	Rule  string
	Place string // file:line:col
}

// Text is a file that was read.
type Text struct {
	Name string
	Text []byte
}

// beside sets where rules and waivers lie unless a file says otherwise.
func (c *Config) beside(dir string) {
	if dir, err := filepath.Abs(dir); err == nil {
		c.Posture.Rules, c.Posture.Waivers = filepath.Join(dir, rulesDir), filepath.Join(dir, waiversFile)
	}
}

func placeOf(n *strict.Node) string {
	return fmt.Sprintf("%s:%d:%d", strict.Printable(n.File()), n.Line, n.Col)
}

// posture takes the settings about posture.
func (c *Config) posture(root *strict.Node) {
	if n := root.Get("services"); n != nil {
		if c.Services == nil {
			c.Services = []Service{} // none, said on purpose
		}
		for _, v := range n.Items() {
			if v.IsMap() {
				c.service(v)
			}
		}
	}
	if n := root.Get("require"); n != nil {
		for _, v := range n.Items() {
			if id := v.Text(); v.IsText() {
				c.Require = append(c.Require, Required{id, placeOf(v)})
			}
		}
	}
	n := root.Get("posture")
	if n == nil || !n.IsMap() {
		return
	}
	p := &c.Posture
	if v := n.Get("profile"); v != nil {
		if w := v.Word(Profiles...); w != "" {
			p.Profile = w
		}
	}
	if v := n.Get("strict"); v != nil {
		p.Strict = v.Bool()
	}
	if v := n.Get("probe_ssh"); v != nil {
		p.ProbeSSH = v.Bool()
	}
	place(n.Get("rules"), "folder of rules", &p.Rules, &p.NamedRules)
	place(n.Get("waivers"), "waiver file", &p.Waivers, &p.NamedWaivers)
	n.Unknown()
}

// place takes the absolute name of a file or folder.
func place(n *strict.Node, what string, to *string, named *bool) {
	if n == nil {
		return
	}
	if t := n.Text(); filepath.IsAbs(t) && !strings.ContainsRune(t, 0) {
		*to, *named = filepath.Clean(t), true
	} else if n.IsText() {
		n.Errorf("%s %s is not an absolute path", what, strict.Printable(t))
	}
}

// service takes one declared service. Those of all files add up.
func (c *Config) service(n *strict.Node) {
	s := Service{Proto: "tcp", Place: placeOf(n)}
	if v := n.Need("name"); v != nil {
		if s.Name = v.Text(); v.IsText() && s.Name == "" {
			v.Errorf("an empty name")
		}
	}
	s.Port = n.Need("port").Int(1, 65535)
	if v := n.Get("proto"); v != nil {
		s.Proto = v.Word("tcp", "udp")
	}
	if v := n.Need("class"); v != nil {
		s.Class = v.Word(classes...)
	}
	s.Role = n.Get("role").Text()
	n.Unknown("name", "port", "proto", "class", "role")
	if s.Name == "" || s.Port == 0 || s.Proto == "" || s.Class == "" {
		return // which is recorded
	}
	for _, old := range c.Services {
		if old.Port == s.Port && old.Proto == s.Proto {
			n.Errorf("port %d/%s is declared twice, first at %s", s.Port, s.Proto, old.Place)
			return
		}
	}
	c.Services = append(c.Services, s)
}

// Files names the rule files and the waiver file, those that are there.
func (p Posture) Files() (names []string) {
	list, _ := os.ReadDir(p.Rules) // what cannot be listed is told where it is read
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), suffix) {
			names = append(names, filepath.Join(p.Rules, e.Name()))
		}
	}
	if _, err := os.Lstat(p.Waivers); err == nil {
		names = append(names, p.Waivers)
	}
	return names
}

// ReadRules reads the rule files of the folder, in the order of their names. It
// returns those that could be read, and says all that is wrong. A folder that
// nobody named need not exist.
func (p Posture) ReadRules(uid int) ([]Text, error) {
	if p.Rules == "" {
		return nil, nil
	}
	names, err := listDir(p.Rules, uid)
	if errors.Is(err, fs.ErrNotExist) && !p.NamedRules {
		return nil, nil
	}
	var texts []Text
	for _, name := range names {
		text, readErr := readTrusted(name, uid)
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		texts = append(texts, Text{name, text})
	}
	return texts, err
}

// ReadWaivers reads the waiver file, nil where there is none and none was named.
func (p Posture) ReadWaivers(uid int) (*Text, error) {
	if p.Waivers == "" {
		return nil, nil
	}
	if _, err := os.Lstat(p.Waivers); errors.Is(err, fs.ErrNotExist) && !p.NamedWaivers {
		return nil, nil
	}
	// Whoever may replace the file decides what it says.
	err := checkDir(filepath.Dir(p.Waivers), uid)
	var text []byte
	if err == nil {
		text, err = readTrusted(p.Waivers, uid)
	}
	if err != nil {
		return nil, err
	}
	return &Text{p.Waivers, text}, nil
}

// listDir returns the names of the files *.yaml of a folder that only root and
// the user can write to, in order.
func listDir(dir string, uid int) (names []string, err error) {
	if err := checkDir(dir, uid); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("list configuration folder %q: %w", dir, cause(err))
	}
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case strings.HasSuffix(e.Name(), suffix):
			names = append(names, filepath.Join(dir, e.Name()))
		case strings.HasSuffix(e.Name(), ".yml"):
			// Passing over it would drop what it says without a word.
			err = errors.Join(err, fmt.Errorf("list configuration folder %q: the name of %q must end in %s", dir, e.Name(), suffix))
		}
	}
	return names, err
}
