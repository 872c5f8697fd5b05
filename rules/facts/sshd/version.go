package sshd

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strconv"

	"intact/scanner/dirfd"
	"intact/scanner/entry"
)

// Binary is where distributions install the daemon.
const Binary = "/usr/sbin/sshd"

// Version is a release of OpenSSH, as its daemon says it. The zero Version is
// one that is not known.
type Version struct {
	Text         string // e.g. "OpenSSH_9.2p1 Debian-2+deb12u10"
	Major, Minor int
	Vendor       string // "Debian", "Ubuntu", "FreeBSD", "" where it names none
}

// maxBinary bounds how much of the daemon's file is searched; it has 1 MB.
const maxBinary = 16 << 20

// The patterns for bugs of other programs, which the file holds too, have no "p".
var versionText = regexp.MustCompile(`OpenSSH_(\d{1,3})\.(\d{1,3})p\d{1,3}(?: ([A-Za-z]{1,20})-[0-9A-Za-z.+~:_-]{1,80})?`)

// ReadVersion searches the file of the daemon for what it calls itself.
func ReadVersion(ctx context.Context, root *dirfd.Root) (Version, error) {
	f, err := root.OpenFile(entry.Path(Binary))
	if err != nil {
		return Version{}, err
	}
	defer f.Close()
	buf := make([]byte, 256<<10)
	kept := 0
	var best Version
	for total := 0; total < maxBinary && ctx.Err() == nil; {
		n, err := io.ReadFull(f, buf[kept:])
		total += n
		data := buf[:kept+n]
		for _, m := range versionText.FindAllSubmatch(data, -1) {
			if v := versionOf(m); len(v.Text) > len(best.Text) {
				best = v
			}
		}
		if err != nil {
			break
		}
		kept = copy(buf, data[len(data)-256:])
	}
	return best, context.Cause(ctx)
}

func versionOf(m [][]byte) Version {
	major, err1 := strconv.Atoi(string(m[1]))
	minor, err2 := strconv.Atoi(string(m[2]))
	if err1 != nil || err2 != nil {
		return Version{}
	}
	return Version{Text: string(bytes.Clone(m[0])), Major: major, Minor: minor, Vendor: string(bytes.Clone(m[3]))}
}

// Known reports a version at all.
func (v Version) Known() bool { return v.Text != "" }

// before compares releases; an unknown one is before none.
func (v Version) before(major, minor int) bool {
	return v.Known() && (v.Major < major || v.Major == major && v.Minor < minor)
}

// lastWins reports a release in which MaxStartups, IPQoS and some more count
// where they stand last. Checked with 9.2.
func (v Version) lastWins() bool { return v.before(9, 10) }

// The lists of algorithms, as myproposal.h of the releases has them. Debian and
// Ubuntu build them in unchanged, but for debian92; of others nobody has looked.
const (
	ciphers92 = "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com"
	macs76    = "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com," +
		"umac-64@openssh.com,umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1"
	kex82 = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521," +
		"diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256"
	kex90          = "sntrup761x25519-sha512@openssh.com," + kex82
	kex92          = "sntrup761x25519-sha512," + kex90
	caSignatures92 = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com," +
		"sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256"
	keys92 = "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,ecdsa-sha2-nistp384-cert-v01@openssh.com," +
		"ecdsa-sha2-nistp521-cert-v01@openssh.com,sk-ssh-ed25519-cert-v01@openssh.com,sk-ecdsa-sha2-nistp256-cert-v01@openssh.com," +
		"rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com," + caSignatures92
)

// debian92 is what Debian 12 builds in, read off its sshd -T on 2026-11-27. Its
// key exchanges have a name more than upstream's 9.2.
var debian92 = map[string]string{
	"ciphers": ciphers92, "macs": macs76, "kexalgorithms": kex92, "casignaturealgorithms": caSignatures92,
	"hostkeyalgorithms": keys92, "hostbasedacceptedalgorithms": keys92, "pubkeyacceptedalgorithms": keys92,
	"requiredrsasize": "1024", "ipqos": "lowdelay throughput", "gssapicleanupcredentials": "yes",
	"gssapistrictacceptorcheck": "yes", "kerberosorlocalpasswd": "yes", "kerberosticketcleanup": "yes",
	"modulifile": "/etc/ssh/moduli", "pidfile": "/run/sshd.pid", "xauthlocation": "/usr/bin/xauth",
	"unusedconnectiontimeout": "none",
}

// builtin returns what this release has built in, where that differs from
// release to release and is known.
func (v Version) builtin(name string) ([]string, bool) {
	if v.Major == 9 && v.Minor == 2 && v.Vendor == "Debian" {
		if s, ok := debian92[name]; ok {
			return []string{s}, true
		}
	}
	if list := v.algorithms(name); list != "" {
		return []string{list}, true
	}
	if name == "permitrootlogin" && v.before(7, 0) {
		return []string{"yes"}, true
	}
	return nil, false
}

// algorithms returns a list that holds for a range of releases, "" if none does.
func (v Version) algorithms(name string) string {
	if v.Vendor != "Debian" && v.Vendor != "Ubuntu" {
		return ""
	}
	from := func(major, minor int) bool { return !v.before(major, minor) }
	switch {
	case name == "ciphers" && from(7, 6) && v.before(9, 9):
		return ciphers92
	case name == "macs" && from(7, 6) && v.before(9, 9):
		return macs76
	case name == "kexalgorithms" && from(8, 2) && v.before(8, 5):
		return kex82
	case name == "kexalgorithms" && from(9, 0) && v.before(9, 9):
		return kex90
	}
	return ""
}
