package accounts

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"intact/rules"
	"intact/rules/facts/facttest"
)

func user(t *testing.T, a Accounts, name string, nth int64) *User {
	t.Helper()
	i := slices.IndexFunc(a.Users.Rows, func(u User) bool { return u.Name == name && u.Nth == nth })
	if i < 0 {
		t.Fatalf("no user %q %d: %+v", name, nth, a.Users.Rows)
	}
	return &a.Users.Rows[i]
}

// Second accounts of root, as posture tools miss them.
func TestHiddenRoots(t *testing.T) {
	a := Collect(context.Background(), facttest.Image(t, map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n" +
			"toor::0:0::/root:/bin/sh\n" +
			"zero:x:00:0::/root:/bin/sh\n" +
			"plus:x:+0:0::/root:/bin/sh\n" +
			"blank:x: 0:0::/root:/bin/sh\n" +
			"root:x:0:0::/other:/bin/sh\n" +
			"  indented:x:0:0::/:/bin/sh\n" +
			"many:x:0:0::/:/bin/sh:/bin/extra\n" +
			"\x1b[31m\xff:x:0:0::/:/usr/sbin/nologin\n" +
			"#out:x:0:0::/:/bin/sh\n+nis:::::\nfew:x:0\nbad:x:0x0:0::/:/bin/sh\nnul\x00:x:0:0::/:/bin/sh\n" +
			"big:x:4294967296:0::/:/bin/sh\nminus:x:-1:0::/:/bin/sh",
	}), nil)
	for _, name := range []string{"toor", "zero", "plus", "blank", "indented", "many", "\x1b[31m\xff"} {
		if u := user(t, a, name, 1); u.UID != 0 {
			t.Errorf("%q: %d", name, u.UID)
		}
	}
	if u := user(t, a, "root", 2); u.Home != "/other" || u.Key() == user(t, a, "root", 1).Key() || u.At != "/etc/passwd:6" {
		t.Errorf("%+v", u)
	}
	if user(t, a, "big", 1).UID != 1<<32-1 || user(t, a, "minus", 1).UID != 1<<32-1 {
		t.Error("an id out of range")
	}
	if user(t, a, "toor", 1).Password != "empty" || user(t, a, "\x1b[31m\xff", 1).CanLogin || !user(t, a, "zero", 1).CanLogin {
		t.Error("password or shell")
	}
	if len(a.Users.Rows) != 11 || len(a.Odd.Rows) != 5 {
		t.Errorf("%d users, %d odd lines: %+v", len(a.Users.Rows), len(a.Odd.Rows), a.Odd.Rows)
	}
	// Without shadow nothing is known of passwords, and it is said.
	if a.Odd.Status != rules.Absent || user(t, a, "root", 1).ShadowKnown || !strings.Contains(user(t, a, "root", 1).Compared(), `hash=unknown`) {
		t.Errorf("%+v", a.Odd)
	}
}

func TestShadow(t *testing.T) {
	hashes := map[string]string{"none": "", "lock": "!", "star": "*", "off": "!$6$a$b", "old": "abcdefghijklm", "md": "$1$a$b", "sha": "$6$a$b", "yes": "$y$j9T$a$b",
		"bsdi": "_12345678901234567890"[:20], "bad": "secret"}
	want := map[string]string{"none": "empty", "lock": "locked", "star": "locked", "off": "locked", "old": "des", "md": "md5", "sha": "sha512", "yes": "yescrypt", "bsdi": "bsdi", "bad": "other", "gone": "none"}
	passwd, shadow := "gone:x:9:9::/:/bin/sh\n", ""
	for n, h := range hashes {
		passwd += n + ":x:1:1::/:/bin/sh\n"
		shadow += n + ":" + h + ":19000:0:99999:7::20000:\n"
	}
	files := map[string]string{"etc/passwd": passwd, "etc/shadow": shadow + "sha:::::::: \n"}
	a := Collect(context.Background(), facttest.Image(t, files), []byte("key"))
	for n, w := range want {
		u := user(t, a, n, 1)
		if u.Hash != w || u.Shadowed == (n == "gone") || u.Shadowed && (u.LastChange != 19000 || u.Expires != 20000 || u.Inactive != -1) {
			t.Errorf("%s: %+v", n, u)
		}
		if h := hashes[n]; h != "" && strings.Contains(u.Compared(), h) && len(h) > 1 {
			t.Errorf("%s: the hash is in %s", n, u.Compared())
		}
	}
	if len(a.Odd.Rows) != 1 {
		t.Errorf("%+v", a.Odd.Rows)
	}
	files["etc/shadow"] = strings.ReplaceAll(shadow, "$6$a$b", "$6$a$c")
	b := Collect(context.Background(), facttest.Image(t, files), []byte("key"))
	c := Collect(context.Background(), facttest.Image(t, files), []byte("other"))
	if user(t, a, "sha", 1).HashDigest == user(t, b, "sha", 1).HashDigest || user(t, b, "sha", 1).HashDigest == user(t, c, "sha", 1).HashDigest ||
		user(t, a, "yes", 1).Compared() != user(t, b, "yes", 1).Compared() {
		t.Error("another hash or key and the same digest, or the other way round")
	}
}

func TestMembers(t *testing.T) {
	a := Collect(context.Background(), facttest.Image(t, map[string]string{
		"etc/passwd":        "root:x:0:0::/root:/bin/sh\neve:x:1000:27::/:/bin/sh\n",
		"etc/group":         "root:x:0:\nsudo:x:27:bob, eve\nsudo:x:27:mallory\n",
		"etc/nsswitch.conf": "# passwd: x\npasswd: files [NOTFOUND=return] sss # systemd\nhosts: dns\n",
	}), nil)
	var got []string
	for _, m := range a.Members.Rows {
		got = append(got, m.Key())
	}
	if want := []string{`"sudo" "bob"`, `"sudo" "eve"`, `"sudo" "mallory"`, `"root" "root"`}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if len(a.Sources.Rows) != 1 || !slices.Equal(a.Sources.Rows[0].Sources, []string{"files", "sss"}) || a.Sources.Rows[0].At != "/etc/nsswitch.conf:2" {
		t.Errorf("%+v", a.Sources.Rows)
	}
}

func TestHostileFiles(t *testing.T) {
	h := facttest.Image(t, map[string]string{"etc/x": ""})
	if err := syscall.Mkfifo(filepath.Join(h.Root.HostPath(), "etc/passwd"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/shadow-of-image", filepath.Join(h.Root.HostPath(), "etc/shadow")); err != nil {
		t.Fatal(err)
	}
	a := Collect(context.Background(), h, nil)
	if a.Users.Status != rules.Failed || a.Groups.Status != rules.Absent || a.Members.Status == rules.OK {
		t.Errorf("%+v", a)
	}
}

const (
	ed  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPqXx6lD4BwGk3tSoXdzjvl6YHCfCbNKkjpLKVqqFqTq"
	rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7"
)

func TestParseKey(t *testing.T) {
	for _, c := range []struct {
		line, kind, options, comment string
		restricted, authority, bad   bool
	}{
		{ed + " a b c", "ssh-ed25519", "", "a b c", false, false, false},
		{" \t" + ed, "ssh-ed25519", "", "", false, false, false},
		{`command="echo \"x y\", z",no-pty ` + ed + " c", "ssh-ed25519", `command="echo \"x y\", z"|no-pty`, "c", true, false, false},
		{`cert-authority,principals="a" ` + ed, "ssh-ed25519", `cert-authority|principals="a"`, "", true, true, false},
		{`environment="A=ssh-rsa AAAA" ` + ed, "ssh-ed25519", `environment="A=ssh-rsa AAAA"`, "", false, false, false},
		{`no-pty`, "", "", "", false, false, true},
		{`command="x ` + ed, "", "", "", false, false, true},
		{"ssh-ed25519 AAAA", "", "", "", false, false, true},
		{"ssh-ed25519 !!!!", "", "", "", false, false, true},
		{rsa, "", "", "", false, false, true},
		{"ssh-rsa " + strings.TrimPrefix(ed, "ssh-ed25519 "), "", "", "", false, false, true},
	} {
		k, ok := ParseKey(c.line)
		if !ok || k.Type != c.kind || k.Comment != c.comment || k.Restricted != c.restricted || k.Authority != c.authority || k.Malformed != c.bad || k.Fingerprint == "" ||
			!c.bad && strings.Join(k.Options, "|") != c.options {
			t.Errorf("%s\n%+v", c.line, k)
		}
	}
	for _, line := range []string{"", "  ", "# " + ed} {
		if _, ok := ParseKey(line); ok {
			t.Errorf("%q is a key", line)
		}
	}
}

// TestKeyTool holds our reading against ssh-keygen's.
func TestKeyTool(t *testing.T) {
	for _, kind := range [][]string{{"rsa", "2048"}, {"ecdsa", "384"}, {"ed25519", "0"}} {
		line, size, print := generated(t, kind[0], kind[1])
		k, ok := ParseKey(`from="10.0.0.0/8" ` + line)
		if !ok || k.Malformed || k.Fingerprint != print || kind[0] != "ed25519" && strconv.FormatInt(k.Bits, 10) != size {
			t.Errorf("%s: %+v, ssh-keygen: %s %s", line, k, size, print)
		}
	}
}

func TestKeysOfUsers(t *testing.T) {
	h := facttest.Image(t, map[string]string{
		"home/a/.ssh/authorized_keys": ed + " one\n\n# no\n" + ed + " again\n",
		"etc/keys/b":                  ed + "\n",
		"home/c/.ssh/authorized_keys": ed,
	})
	uid := int64(os.Geteuid())
	root := h.Root.HostPath()
	os.Chmod(filepath.Join(root, "home/c"), 0o777)
	os.Symlink("/home/a/.ssh/authorized_keys", filepath.Join(root, "etc/keys/l"))
	users := []User{{Name: "a", UID: uid, Home: "/home/a"}, {Name: "b", UID: uid, Home: "/nonexistent"}, {Name: "c", UID: uid, Home: "/home/c"}, {Name: "l", UID: uid, Home: "relative"}}
	a := Keys(context.Background(), h, users, []string{"%h/.ssh/authorized_keys", "/etc/keys/%u", "none", "%x"})
	var got []string
	for _, k := range a.Rows {
		got = append(got, k.User+" "+k.At+" "+k.Exposed)
	}
	slices.Sort(got)
	want := []string{"a /home/a/.ssh/authorized_keys:1 ", "a /home/a/.ssh/authorized_keys:4 ", "b /etc/keys/b:1 ", "c /home/c/.ssh/authorized_keys:1 /home/c",
		"l /etc/keys/l:1 ", "l /etc/keys/l:4 "}
	if a.Status != rules.OK || !slices.Equal(got, want) {
		t.Errorf("%s %s\n got %q\nwant %q", a.Status, a.Reason, got, want)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(`command="a\"b",restrict ` + ed + " c")
	f.Add("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQA=")
	f.Fuzz(func(t *testing.T, s string) {
		if k, ok := ParseKey(s); ok && k.Fingerprint == "" {
			t.Error("a key without a fingerprint")
		}
	})
}

func FuzzCollect(f *testing.F) {
	f.Add("root:x:0:0::/:/bin/sh\n", "g:x:1:a,b\n", "root:$6$a:1:::::\n")
	f.Fuzz(func(t *testing.T, passwd, group, shadow string) {
		a := Collect(context.Background(), facttest.Image(t, map[string]string{"etc/passwd": passwd, "etc/group": group, "etc/shadow": shadow}), []byte("k"))
		keys := map[string]bool{}
		for _, u := range a.Users.Rows {
			if keys[u.Key()] {
				t.Errorf("two rows %s", u.Key())
			}
			keys[u.Key()] = true
		}
	})
}
