package config

import (
	"path/filepath"
	"strings"

	"intact/scanner/strict"
)

// Packages names whose signatures of packages count.
type Packages struct {
	RPMKeys []string // absolute names of files with OpenPGP keys
}

// packages takes the settings about packages.
func (c *Config) packages(root *strict.Node) {
	n := root.Get("packages")
	if n == nil || !n.IsMap() {
		return
	}
	c.Packages.rpm(n)
	n.Unknown()
}

// rpm takes what concerns packages of rpm.
func (p *Packages) rpm(n *strict.Node) {
	if v := n.Get("rpm_keys"); v != nil {
		p.RPMKeys = keyFiles(v)
	}
}

// keyFiles reads a list of files that hold keys.
func keyFiles(n *strict.Node) (names []string) {
	for _, v := range n.Items() {
		switch t := v.Text(); {
		case filepath.IsAbs(t) && !strings.ContainsRune(t, 0):
			names = append(names, t)
		case v.IsText():
			v.Errorf("key file %s is not an absolute path", strict.Printable(t))
		}
	}
	return names
}
