package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"intact/scanner/strict"
)

// Packages names whose signatures of packages count.
type Packages struct {
	RPMKeys  []string // absolute names of files with OpenPGP keys
	Keyrings []string // the same, of archives of Debian; none: DebianKeyring

	Wait time.Duration // how long a check waits for a running transaction; 0: not at all
}

// MaxWait bounds Packages.Wait: a check that never comes looks like a clean host.
const MaxWait = 24 * time.Hour

const standardWait = 15 * time.Minute

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
	if v := n.Get("wait"); v != nil {
		c.Packages.wait(v)
	}
	n.Unknown()
}

func (p *Packages) wait(n *strict.Node) {
	text := n.Text()
	d, err := time.ParseDuration(text)
	switch {
	case !n.IsText():
		return // which Text recorded
	case err != nil || d < 0 || d > MaxWait:
		n.Errorf("%s is not a time between 0s and 24h, such as 15m", strict.Printable(text))
	default:
		p.Wait = d
	}
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
