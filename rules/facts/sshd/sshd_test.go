package sshd_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/sshd"
	"intact/scanner/dirfd"
)

// image makes a root of literal files. A text of "-> x" makes a link.
func image(t *testing.T, files map[string]string) facts.Host {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, link := strings.CutPrefix(text, "-> "); link {
			err = os.Symlink(to, p)
		} else {
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.Close)
	return facts.Host{Root: root}
}

const (
	main   = "etc/ssh/sshd_config"
	drop   = "etc/ssh/sshd_config.d/"
	all    = "Include /etc/ssh/sshd_config.d/*.conf\n"
	daemon = "xx\x00OpenSSH_9.2p1 Debian-2+deb12u10\x00OpenSSH_2.*,OpenSSH_3.0*\x00"
)

var known = sshd.Options{
	AccountsKnown: true,
	Accounts: []sshd.Account{
		{Name: "root", Groups: []string{"root"}}, {Name: "ann", Groups: []string{"ann", "sudo"}, Admin: true}, {Name: "bob", Groups: []string{"bob", "sftp"}},
	},
	Networks: []sshd.Network{{Address: netip.MustParsePrefix("10.1.0.5/16"), Name: "eth0"}, {Address: netip.MustParsePrefix("fe80::1/64")}},
}

func contextOf(t *testing.T, f sshd.Facts, label string) sshd.Context {
	t.Helper()
	var labels []string
	for _, c := range f.Contexts.Rows {
		if c.Label == label {
			return c
		}
		labels = append(labels, c.Label)
	}
	t.Fatalf("no context %q in %q", label, labels)
	return sshd.Context{}
}

// The way in which "no" fails in the field: a drop-in sorts before it.
func TestDropInWins(t *testing.T) {
	h := image(t, map[string]string{
		main:                        all + "PasswordAuthentication no\n",
		drop + "50-cloud-init.conf": "PasswordAuthentication yes\n",
		drop + "99-hard.conf":       "# ours\n\nPasswordAuthentication no\nPasswordAuthentication yes\n",
		drop + ".hidden.conf":       "PasswordAuthentication no\n",
		drop + "10-not.txt":         "PasswordAuthentication no\n",
	})
	f := sshd.Collect(t.Context(), h, known)
	c := contextOf(t, f, "nobody from external")
	if f.Contexts.Status != rules.OK || !c.PasswordAuthentication || !c.PasswordAuthenticationKnown || c.PasswordAuthenticationAt != "/"+drop+"50-cloud-init.conf:1" {
		t.Errorf("got %v %v %v %q", f.Contexts.Status, c.PasswordAuthentication, c.PasswordAuthenticationKnown, c.PasswordAuthenticationAt)
	}
	var got []string
	for _, d := range f.Directives.Rows {
		got = append(got, fmt.Sprintf("%s %s %v %s %s %v", strings.TrimPrefix(d.At, "/etc/ssh/"), d.Value, d.Effective, strings.TrimPrefix(d.ShadowedBy, "/etc/ssh/"), d.ShadowedValue, d.Conflicts))
	}
	want := []string{
		"sshd_config.d/50-cloud-init.conf:1 yes true   false",
		"sshd_config.d/99-hard.conf:3 no false sshd_config.d/50-cloud-init.conf:1 yes true",
		"sshd_config.d/99-hard.conf:4 yes false sshd_config.d/50-cloud-init.conf:1 yes false",
		"sshd_config:2 no false sshd_config.d/50-cloud-init.conf:1 yes true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestMatch(t *testing.T) {
	h := image(t, map[string]string{
		main: `PasswordAuthentication no
PermitRootLogin prohibit-password
AllowGroups sudo
Port 2222
Match Address 10.0.0.0/8
	PasswordAuthentication yes
	PasswordAuthentication no
Match Group sftp
	ForceCommand internal-sftp
	AllowGroups sftp
Match User root Address 203.0.113.7
	PermitRootLogin yes
Match LocalPort 22
	Include extra
Match Host *.example.net
	X11Forwarding yes
`,
		"etc/ssh/extra": "MaxAuthTries 20\nMatch User ann\n  MaxAuthTries 9\n",
		"usr/sbin/sshd": daemon,
	})
	f := sshd.Collect(t.Context(), h, known)
	if f.Contexts.Status != rules.OK || f.Weaker.Status != rules.OK {
		t.Fatalf("got %v %q", f.Contexts.Status, f.Contexts.Reason)
	}
	c := contextOf(t, f, "nobody from local 10.1.0.1")
	if !c.PasswordAuthentication || c.PasswordAuthenticationAt != "/"+main+":6" || !slices.Equal(c.Match, []string{"address 10.0.0.0/8"}) || !slices.Equal(c.Ports, []int64{2222}) {
		t.Errorf("got %+v", c)
	}
	if c := contextOf(t, f, "nobody from external"); c.PasswordAuthentication || c.Role != "other" || !slices.Equal(c.AllowGroups, []string{"sudo"}) {
		t.Errorf("got %+v", c)
	}
	if c := contextOf(t, f, "root from 203.0.113.7"); c.PermitRootLogin != "yes" || c.Origin != "match" || c.Role != "root" {
		t.Errorf("got %+v", c)
	}
	if c := contextOf(t, f, "bob from loopback"); c.ForceCommand != "internal-sftp" || !slices.Equal(c.AllowGroups, []string{"sftp"}) || c.AllowGroupsAt != "/"+main+":10" {
		t.Errorf("got %+v", c)
	}
	if c := contextOf(t, f, "ann from loopback to port 22"); c.MaxAuthTries != 20 || c.LocalPort != 22 || !slices.Equal(c.Match, []string{"localport 22", "user ann"}) {
		t.Errorf("got %d %+v", c.MaxAuthTries, c.Match)
	}
	if c := contextOf(t, f, "root from loopback called x.example.net"); !c.X11Forwarding {
		t.Errorf("got %+v", c)
	}
	var got []string
	for _, w := range f.Weaker.Rows {
		got = append(got, fmt.Sprintf("%s [%s] %s@%s > %s@%s", w.Option, w.Match, w.Global, w.GlobalAt, w.Value, w.At))
	}
	m := "/" + main
	want := []string{
		"passwordauthentication [address 10.0.0.0/8] no@" + m + ":1 > yes@" + m + ":6",
		"allowgroups [group sftp] sudo@" + m + ":3 > sftp@" + m + ":10",
		"permitrootlogin [user root address 203.0.113.7] prohibit-password@" + m + ":2 > yes@" + m + ":12",
		"maxauthtries [localport 22] 6@built in > 20@/etc/ssh/extra:1",
		"x11forwarding [host *.example.net] no@built in > yes@" + m + ":16",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, d := range f.Directives.Rows {
		if d.At == "/etc/ssh/extra:3" && (d.Effective || d.ShadowedBy != "/etc/ssh/extra:1" || d.Match != "localport 22 + user ann") {
			t.Errorf("got %+v", d) // 20 always comes before 9
		}
	}
}

// Whatever the groups of a user decide is open where nobody has read them.
func TestUnknownGroups(t *testing.T) {
	h := image(t, map[string]string{main: "PasswordAuthentication no\nMatch Group x\nPasswordAuthentication yes\nX11Forwarding no\n"})
	c := contextOf(t, sshd.Collect(t.Context(), h, sshd.Options{}), "nobody from external")
	if c.PasswordAuthenticationKnown || !c.X11ForwardingKnown || !c.PermitRootLoginKnown {
		t.Errorf("got %v %v", c.PasswordAuthenticationKnown, c.X11ForwardingKnown)
	}
}

// Lists that begin with a sign need the built-in list of the release.
func TestRelativeLists(t *testing.T) {
	conf := "Ciphers -*gcm*,chacha*\nMACs hmac-sha2-256\nKexAlgorithms +a\n"
	f := sshd.Collect(t.Context(), image(t, map[string]string{main: conf}), known)
	c := contextOf(t, f, "nobody from external")
	if c.CiphersKnown || c.KexAlgorithmsKnown || !c.MACsKnown || !slices.Equal(c.MACs, []string{"hmac-sha2-256"}) || c.HostKeyAlgorithmsKnown {
		t.Errorf("without a release: %v %v %q", c.CiphersKnown, c.KexAlgorithmsKnown, c.MACs)
	}
	f = sshd.Collect(t.Context(), image(t, map[string]string{main: conf, "usr/sbin/sshd": daemon}), known)
	c = contextOf(t, f, "nobody from external")
	if !c.CiphersKnown || !slices.Equal(c.Ciphers, []string{"aes128-ctr", "aes192-ctr", "aes256-ctr"}) || c.KexAlgorithms[len(c.KexAlgorithms)-1] != "a" {
		t.Errorf("of 9.2: %v %q", c.CiphersKnown, c.Ciphers)
	}
	if s := f.Server.Rows; len(s) != 1 || s[0].Version != "OpenSSH_9.2p1 Debian-2+deb12u10" || s[0].RunningKnown || !s[0].Installed {
		t.Errorf("got %+v", s)
	}
}

func TestAbsent(t *testing.T) {
	f := sshd.Collect(t.Context(), image(t, map[string]string{"etc/passwd": ""}), known)
	v := reflect.ValueOf(f)
	for i := range v.NumField() {
		if s := v.Field(i).FieldByName("Status").Interface(); s != rules.Absent && v.Type().Field(i).Name != "Server" {
			t.Errorf("%s: %v", v.Type().Field(i).Name, s)
		}
	}
	if s := f.Server.Rows; len(s) != 1 || s[0].Installed {
		t.Errorf("got %+v", s)
	}
	f = sshd.Collect(t.Context(), image(t, map[string]string{"usr/sbin/sshd": daemon}), known)
	if f.Contexts.Status != rules.Failed {
		t.Errorf("without a configuration the daemon does not start: %v", f.Contexts.Status)
	}
	f = sshd.Collect(t.Context(), image(t, map[string]string{"usr/etc/ssh/sshd_config": "Port 7\n"}), known)
	if len(f.Contexts.Rows) == 0 || !slices.Equal(f.Contexts.Rows[0].Ports, []int64{7}) {
		t.Errorf("openSUSE: %v %q", f.Contexts.Status, f.Contexts.Reason)
	}
}

// What sshd refuses is told with its place, and nothing then counts as known.
func TestProblems(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown", "Port 22\nNoSuch yes\n", `:2: "NoSuch" is no keyword`},
		{"value", "PasswordAuthentication maybe\n", `:1: PasswordAuthentication: "maybe" is none`},
		{"empty", "PasswordAuthentication\n", ":1: "},
		{"extra", "UsePAM yes no\n", `:1: extra argument "no"`},
		{"quotes", "Banner \"x\n", ":1: invalid quotes"},
		{"in-match", "Match all\nPort 1\nMatch User x\nPort 2\n", `:4: "Port" may not stand below "Match user x"`},
		{"match", "Match User\n", ":1: bad Match condition"},
		{"mask", "Match Address 10.0.0.1/8\n", ":1: bad Match condition"},
		{"circle", "Include /etc/ssh/sshd_config\n", ":1: Include is nested deeper than 16"},
		{"tilde", "Include ~/x\n", ":1: what \"~/x\" means"},
		{"control", "\x1b[31mX y\n", `:1: "\x1b[31mX" is no keyword`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := sshd.Collect(t.Context(), image(t, map[string]string{main: tt.text}), known)
			if f.Contexts.Status != rules.Failed || !strings.HasPrefix(f.Contexts.Reason, "/"+main+tt.want) || f.Settings.Status != rules.Failed || f.Directives.Status != rules.Failed {
				t.Errorf("got %v %q, want %q", f.Contexts.Status, f.Contexts.Reason, tt.want)
			}
		})
	}
}

// What lies in place of files neither blocks nor leads out of the image.
func TestHostileImage(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("MaxAuthTries 99\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := image(t, map[string]string{
		main:               all + "MaxSessions \x00 x\n 4\nMaxSessions 5\r\n",
		drop + "10.conf":   "-> " + secret,
		drop + "20.conf":   "-> /etc/ssh/inside",
		drop + "40.conf":   "-> 40.conf",
		drop + "50.conf/x": "",
		"etc/ssh/inside":   "LoginGraceTime 7\n",
	})
	fifo := filepath.Join(h.Root.HostPath(), drop+"30.conf")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(h.Root.HostPath(), "etc/ssh/ssh_host_ed25519_key")
	if err := syscall.Mkfifo(key, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key+".pub", []byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPqXx6lD4BwGk3tSoXdzjvl6YHCfCbNKkjpLKVqqFqTq\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := sshd.Collect(t.Context(), h, known)
	if f.Files.Status != rules.Failed || !slices.ContainsFunc(f.Files.Rows, func(r sshd.File) bool { return r.Path == "/"+drop+"30.conf" }) {
		t.Errorf("files: %s %+v", f.Files.Status, f.Files.Rows)
	}
	if k := f.HostKeys.Rows; len(k) != 1 || !k[0].Present || k[0].TypeKnown {
		t.Errorf("a FIFO for a key: %+v", k)
	}
	c := contextOf(t, f, "nobody from external")
	if c.MaxAuthTries != 6 || c.LoginGraceTime != 7 || c.MaxSessions != 4 || c.MaxSessionsAt != "/"+main+":2" {
		t.Errorf("got %d %d %d at %s", c.MaxAuthTries, c.LoginGraceTime, c.MaxSessions, c.MaxSessionsAt)
	}
	// sshd does not start with links that lead nowhere, and hangs at the FIFO.
	if f.Contexts.Status != rules.Failed || !strings.Contains(f.Contexts.Reason, "10.conf: cannot be read") || !strings.Contains(f.Contexts.Reason, "and 2 more") {
		t.Errorf("got %v %q", f.Contexts.Status, f.Contexts.Reason)
	}
}

// Size costs no more than it must.
func TestHuge(t *testing.T) {
	words := strings.Repeat("a,", 500_000)
	var blocks, pairs strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&blocks, "Match User u%d\nX11Forwarding yes\n", i)
		fmt.Fprintf(&pairs, "Include /etc/ssh/d/%d\n", i%5)
	}
	deep := map[string]string{main: "Include d/0\nInclude d/0\n"}
	for i := range 15 {
		deep[fmt.Sprintf("etc/ssh/d/%d", i)] = fmt.Sprintf("Include d/%d\nInclude d/%d\n", i+1, i+1)
	}
	for name, files := range map[string]map[string]string{
		"line":    {main: "Banner /" + strings.Repeat("x", 1<<20) + "\nPort 9\n"},
		"pattern": {main: "Match User " + words + "\nX11Forwarding yes\nCiphers +" + words + "\n", "usr/sbin/sshd": daemon},
		"tests":   {main: "Match" + strings.Repeat(" User a", 100_000) + "\nX11Forwarding yes\n"},
		"stars":   {main: "Match User " + strings.Repeat("*a", 500) + "b Address " + strings.Repeat("*1", 500) + "\nX11Forwarding yes\n"},
		"blocks":  {main: blocks.String()},
		"files":   {main: pairs.String(), "etc/ssh/d/1": "Port 1\n"},
		"doubled": deep,
		"lines":   {main: strings.Repeat("AllowUsers x\n", 200_000)},
		"bytes":   {main: strings.Repeat("# "+strings.Repeat("x", 100)+"\n", 80_000)},
	} {
		t.Run(name, func(t *testing.T) {
			h := image(t, files)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			f := sshd.Collect(ctx, h, known)
			if f.Contexts.Status == rules.Timeout || ctx.Err() != nil {
				t.Errorf("not done within a minute: %s", f.Contexts.Reason)
			}
			t.Logf("%v: %.200s, %d contexts, %d directives", f.Contexts.Status, f.Contexts.Reason, len(f.Contexts.Rows), len(f.Directives.Rows))
		})
	}
}

// Drift has a row for what holds for a stranger, and others where they differ.
func TestSettings(t *testing.T) {
	h := image(t, map[string]string{main: "Match User root\nX11Forwarding yes\n"})
	f := sshd.Collect(t.Context(), h, known)
	got := map[string]string{}
	for _, s := range f.Settings.Rows {
		if strings.HasPrefix(s.Option, "x11f") || s.Context != "*" {
			got[s.Key()] = s.Compared()
		}
	}
	want := map[string]string{"x11forwarding *": `value="no"`, "x11forwarding root from loopback": `value="yes"`, "x11forwarding root from external": `value="yes"`, "x11forwarding root from local 10.1.0.1": `value="yes"`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}

// Each option has three fields that belong together.
func TestFields(t *testing.T) {
	typ := reflect.TypeFor[sshd.Context]()
	tags := map[string]bool{}
	for i := range typ.NumField() {
		tag := typ.Field(i).Tag.Get("cel")
		if tags[tag] {
			t.Errorf("%s stands there twice", tag)
		}
		tags[tag] = tag != ""
		if !strings.HasSuffix(tag, "_known") {
			continue
		}
		name := strings.TrimSuffix(tag, "_known")
		if typ.Field(i-1).Tag.Get("cel") != name+"_at" || typ.Field(i-2).Tag.Get("cel") != name {
			t.Errorf("%s: its fields do not stand together", name)
		}
	}
	c := contextOf(t, sshd.Collect(t.Context(), image(t, map[string]string{main: "\n", "usr/sbin/sshd": daemon}), known), "nobody from external")
	v := reflect.ValueOf(c)
	for i := range typ.NumField() {
		if tag := typ.Field(i).Tag.Get("cel"); strings.HasSuffix(tag, "_at") && v.Field(i).String() != "built in" {
			t.Errorf("%s: got %q: the keyword is not in the table", tag, v.Field(i))
		}
	}
}
