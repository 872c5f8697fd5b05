package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"intact/scanner/strict"
)

// Packages names whose signatures of packages count.
type Packages struct {
	RPMKeys  []string // absolute names of files with OpenPGP keys
	Keyrings []string // the same, of archives of Debian; none: DebianKeyring
}

// DebianKeyring is the file that counts where no other is configured.
const DebianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// ReadKeyring reads a file of keys that only root and the user can have
// written.
func ReadKeyring(name string) ([]byte, error) {
	b, err := readTrusted(name, os.Geteuid())
	if err == nil && len(b) > strict.MaxSize {
		err = fmt.Errorf("read keyring %q: over %d bytes", name, strict.MaxSize)
	}
	return b, err
}

// AcceptSigned is the word of Accept for upgrades that a signature explains.
const AcceptSigned = "signed"

// packages takes the settings about packages.
func (c *Config) packages(root *strict.Node) {
	if n := root.Get("accept"); n != nil {
		c.Accept = ""
		if w := n.Word(AcceptSigned, "none"); w == AcceptSigned {
			c.Accept = w
		}
	}
	n := root.Get("packages")
	if n == nil || !n.IsMap() {
		return
	}
	c.Packages.rpm(n)
	if v := n.Get("keyrings"); v != nil {
		c.Packages.Keyrings = keyFiles(v)
	}
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
