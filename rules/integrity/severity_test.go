package integrity

import (
	"testing"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

var link = object(entry.Symlink, 0o777, func(e *entry.Entry) { e.Target = []byte("a") })

func retarget(e *entry.Entry) { e.Target = []byte("b") }

// unread is a file whose content could not be read.
func unread(mode uint16) *entry.Entry {
	e := file(mode)
	e.Have &^= entry.Content
	return e
}

func knownNow(e *entry.Entry)   { e.Have |= entry.Content }
func touchedNow(e *entry.Entry) { e.Mtime.Sec++ }

// severityCases: what the set says of one change.
var severityCases = []struct {
	c    *diff.Change
	want string
}{
	// content that was not known, and something that tells that it may be another
	{changed("/etc/sudoers.d/x", all, unread(0o440), knownNow, touchedNow), "fim.sudo high"},
	{changed("/srv/x", all, unread(0o440), knownNow, touchedNow), "fim.content medium"},
	{changed("/etc/sudoers.d/x", all, unread(0o440), knownNow), "fim.regained info"},

	// what appears
	{added("/etc/motd", file(0o644), all), "fim.added medium"},
	{added("/srv/data", file(0o644), all), "fim.added low"},
	{added("/etc/new", dir(0o755), all), "fim.added low"},
	{added("/usr/bin/tool", file(0o755), all), "fim.executable high"},
	{added("/bin/tool", file(0o755), all), "fim.executable high"},
	{added("/usr/lib/tool/tool", file(0o755), all), "fim.executable medium"},
	{added("/srv/app/tool", file(0o755), all), "fim.executable medium"},
	{added("/srv/www/x.cgi", file(0o755), all), "fim.executable medium"},
	{added("/home/u/tool", file(0o755), sweep), "fim.executable info"},
	{added("/home/u/tool", file(0o4755), sweep), "fim.setuid high"},
	{added("/home/u/tool", file(0o2755), sweep), "fim.setuid high"},
	{added("/home/u/tool", file(0o755, caps(netRaw)), sweep), "fim.capability high"},
	{added("/home/u/.config/systemd/user/a.service", file(0o755), sweep), "fim.systemd high"},
	{added("/srv/up", file(0o666), all), "fim.writable medium"},
	{added("/etc/up", file(0o666), all), "fim.writable high"},
	{added("/srv/up", dir(0o777), all), "fim.writable medium"},
	{added("/etc/up", dir(0o1777), all), "fim.writable medium"},
	{added("/srv/link", link, all), "fim.added low"},
	{added("/usr/bin/link", link, all), "fim.target medium"},
	{added("/srv/sock", object(entry.Socket, 0o777), all), "fim.added low"},
	{added("/srv/disk", object(entry.BlockDevice, 0o600), all), "fim.device-node high"},
	{added("/dev/disk", object(entry.BlockDevice, 0o600), all), "fim.device-node low"},
	{added("/etc/ld.so.preload", file(0o644), all), "fim.loader critical"},
	{added("/etc/ld.so.conf.d/x.conf", file(0o644), all), "fim.loader high"},
	{added("/lib/x86_64-linux-gnu/security/pam_x.so", file(0o644), all), "fim.pam high"},
	{added("/etc/sudoers.d/x", file(0o440), all), "fim.sudo high"},
	{added("/etc/cron.d/x", file(0o644), all), "fim.cron high"},
	{added("/etc/cron.daily/x", file(0o755), all), "fim.cron high"},
	{added("/var/spool/cron/crontabs/root", file(0o600), all), "fim.cron high"},
	{added("/etc/systemd/system/x.service", link, all), "fim.systemd high"},
	{added("/lib/modules/6.1/extra/x.ko", file(0o644), all), "fim.kernel-module high"},
	{added("/opt/x.ko.xz", file(0o644), all), "fim.kernel-module high"},
	{added("/root/.ssh/authorized_keys", file(0o600), all), "fim.ssh high"},
	{added("/home/a/b/.ssh/authorized_keys2", file(0o600), all), "fim.ssh high"},
	{added("/home/a/.ssh", dir(0o700), all), "fim.ssh medium"},
	{added("/home/a/.sshx/authorized_keys", file(0o600), all), "fim.added low"},
	{added("/usr/lib/python3/dist-packages/x.pth", file(0o644), all), "fim.startup high"},
	{added("/etc/cron.dx/x", file(0o644), all), "fim.added medium"},
	// what is gone
	{removed("/etc/motd", file(0o644), all), "fim.removed medium"},
	{removed("/srv/data", file(0o644), all), "fim.removed low"},
	{removed("/usr/lib/x", dir(0o755), all), "fim.removed low"},
	{removed("/etc/pam.d/sshd", file(0o644), all), "fim.pam high"},
	{removed("/etc/shadow", file(0o600), all), "fim.accounts high"},
	{removed("/etc/cron.d/x", file(0o644), all), "fim.cron medium"},
	{removed("/etc/ld.so.preload", file(0o644), all), "fim.loader medium"},
	{removed("/home/u/su", file(0o4755), sweep), "fim.removed medium"},
	{removed("/home/u/tool", file(0o755), sweep), "fim.removed info"},
	{removed("/var/log/syslog", file(0o640), logSet), "fim.log medium"},
	// other content
	{changed("/usr/bin/ssh", all, file(0o755), written), "fim.content high"},
	{changed("/usr/lib/x/libx.so.1", all, file(0o644), written), "fim.content high"},
	{changed("/usr/share/x", all, file(0o644), written), "fim.content medium"},
	{changed("/etc/motd", all, file(0o644), written), "fim.content medium"},
	{changed("/srv/data", all, file(0o644), written), "fim.content medium"},
	{changed("/etc/passwd", all, file(0o644), written), "fim.accounts high"},
	{changed("/etc/ld.so.preload", all, file(0o644), written), "fim.loader critical"},
	{changed("/etc/ld.so.cache", all, file(0o644), written), "fim.loader medium"},
	{changed("/srv/su", all, file(0o4755), written), "fim.content high"},
	{changed("/etc/motd", all, file(0o644), func(e *entry.Entry) { e.Digest[0], e.Ctime.Sec = 1, 200 }), "fim.content high"},
	{changed("/etc/motd", nodata, file(0o644), func(e *entry.Entry) { e.Size = 1 }), "fim.content medium"},
	{changed("/var/log/syslog", logSet, file(0o640), written), "fim.log high"},
	{changed("/var/log/syslog", logSet, file(0o640), written, otherObject), "fim.log medium"},
	// who may use it
	{changed("/srv/tool", all, file(0o755), chmod(0o555)), "fim.metadata medium"},
	{changed("/srv/tool", all, file(0o755), chmod(0o4755)), "fim.setuid high"},
	{changed("/srv/tool", all, file(0o4755), chmod(0o755)), "fim.metadata medium"},
	{changed("/srv/tool", all, file(0o4755), chown(0), func(e *entry.Entry) { e.UID = 5 }), "fim.setuid high"},
	{changed("/srv/dir", all, dir(0o755), chmod(0o2755)), "fim.metadata medium"},
	{changed("/srv/f", all, file(0o644), chmod(0o646)), "fim.writable medium"},
	{changed("/etc/f", all, file(0o644), chmod(0o646)), "fim.writable high"},
	{changed("/etc/d", all, dir(0o1777), chmod(0o777)), "fim.writable high"},
	{changed("/etc/f", all, file(0o664), chmod(0o644)), "fim.metadata medium"},
	{changed("/etc/shadow", all, file(0o640), chmod(0o644)), "fim.metadata high"},
	{changed("/etc/f", all, file(0o644), chmod(0o755)), "fim.executable medium"},
	{changed("/usr/bin/f", all, file(0o644), chmod(0o755)), "fim.executable high"},
	{changed("/home/f", sweep, file(0o755), chmod(0o700)), "fim.metadata info"},
	{changed("/home/f", sweep, file(0o755), chmod(0o6755)), "fim.setuid high"},
	{changed("/srv/f", all, file(0o644), chown(5)), "fim.metadata medium"},
	{changed("/etc/f", all, file(0o644), chown(5)), "fim.metadata high"},
	{changed("/srv/f", all, file(0o755), caps(netRaw)), "fim.capability high"},
	{changed("/srv/f", all, file(0o755, caps(netRaw)), caps(nil)), "fim.metadata medium"},
	{changed("/etc/f", all, file(0o644), withACL(acl(65534, 4))), "fim.metadata medium"},
	{changed("/etc/f", all, file(0o644), withACL(acl(65534, 6))), "fim.metadata high"},
	{changed("/srv/f", all, file(0o644), withACL(acl(65534, 6))), "fim.metadata medium"},
	{changed("/etc/f", all, file(0o644, withACL(acl(65534, 6))), withACL(nil)), "fim.metadata medium"},
	{changed("/etc/f", all, file(0o644, flags(0x10)), flags(0)), "fim.metadata medium"},
	{changed("/etc/f", all, file(0o644), func(e *entry.Entry) { e.Label = []byte("x") }), "fim.metadata medium"},
	// traces
	{changed("/usr/bin/f", all, file(0o755), func(e *entry.Entry) { e.Mtime.Sec = 1 }), "fim.touch low"},
	{changed("/usr/bin/f", all, file(0o755), func(e *entry.Entry) { e.Ctime.Sec = 1 }), "fim.touch low"},
	{changed("/usr/bin/f", all, file(0o755), func(e *entry.Entry) { e.Nlink = 2 }), "fim.touch low"},
	{changed("/usr/bin", all, dir(0o755), func(e *entry.Entry) { e.Mtime.Sec, e.Size = 1, 1 }), "fim.touch low"},
	{changed("/usr/bin/f", all, file(0o755), otherObject), "fim.replaced low"},
	// links and types
	{changed("/etc/l", all, link.Clone(), retarget), "fim.target medium"},
	{changed("/usr/bin/l", all, link.Clone(), retarget), "fim.target high"},
	{changed("/etc/systemd/system/l", all, link.Clone(), retarget), "fim.systemd high"},
	{retyped("/etc/f", file(0o644), link), "fim.type high"},
	{retyped("/srv/f", file(0o644), object(entry.FIFO, 0o600)), "fim.type medium"},
	{retyped("/srv/f", file(0o644), object(entry.CharDevice, 0o600)), "fim.device-node high"},
	// moves
	{renamed("/etc/a", "/etc/b", file(0o644), all), "fim.renamed medium"},
	{renamed("/srv/a", "/srv/b", file(0o644), all), "fim.renamed low"},
	{renamed("/srv/a", "/usr/bin/b", file(0o755), all), "fim.renamed high"},
	{renamed("/etc/shadow", "/srv/b", file(0o600), all), "fim.renamed high"},
	{renamed("/srv/a", "/srv/b", file(0o755), all, chmod(0o4755)), "fim.setuid high"},
	{renamed("/srv/a", "/srv/b", file(0o644), all, written), "fim.content medium"},
	{renamed("/home/u/a", "/home/u/b", file(0o755), sweep), "fim.renamed info"},
	{renamed("/home/u/cron", "/etc/cron.d", dir(0o755), all), "fim.renamed medium"},
	// what is not verified
	{changed("/etc/motd", all, file(0o644), lose(entry.Content)), "coverage.lost medium"},
	{changed("/usr/bin/ssh", all, file(0o755), lose(entry.Content)), "coverage.lost high"},
	{changed("/etc/ld.so.preload", all, file(0o644), lose(entry.Content)), "coverage.lost high"},
	{changed("/home/u/su", sweep, file(0o4755), lose(entry.Caps)), "coverage.lost high"},
	{changed("/home/u/tool", sweep, file(0o755), lose(entry.Caps)), "coverage.lost medium"},
	{changed("/etc/motd", all, file(0o644), chmod(0o600), lose(entry.Content)), "fim.metadata medium, coverage.lost medium"},
	{&diff.Change{Kind: diff.Unverified, Path: "/usr/bin", Count: 7}, "coverage.lost high"},
	{&diff.Change{Kind: diff.Unverified, Path: "/srv", Count: 7}, "coverage.lost medium"},
	{changed("/etc/motd", all, file(0o644, lose(entry.Content)), func(e *entry.Entry) { e.Have |= entry.Content }), "fim.regained info"},
	{&diff.Change{Kind: diff.Changed, Path: "/x"}, "fim.metadata medium"},
	{&diff.Change{Kind: diff.Added, Path: "/x"}, "fim.added medium"},
}

func TestSeverities(t *testing.T) {
	for _, tc := range severityCases {
		got := run(t, nil, tc.c)
		if short(got) != tc.want {
			t.Errorf("%s %s %s: got %q, want %q", tc.c.Kind, tc.c.Path, tc.c.Attrs, short(got), tc.want)
		}
		for _, f := range got {
			checkFinding(t, f)
		}
	}
}
