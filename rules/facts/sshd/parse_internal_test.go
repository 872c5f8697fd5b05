package sshd

import (
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"intact/rules/facts"
	"intact/scanner/dirfd"
)

func TestKeyword(t *testing.T) {
	for _, tt := range []struct{ line, word, after string }{
		{"Port 22", "Port", "22"}, {"Port=22", "Port", "22"}, {"Port = 22", "Port", "22"}, {"Port\t22 \r\f", "Port", "22"},
		{"Port ==22", "Port", "=22"}, {"=Port 22", "Port", "22"}, {"==Port 22", "", ""}, {`"Port" 22`, "Port", "22"}, {`Po"rt"22`, "Port", "22"},
		{`"Port 22`, "", ""}, {`"" Port 22`, "Port", "22"}, {"# x", "", ""}, {"  ", "", ""}, {"Port", "Port", ""}, {"Port#x 1", "Port#x", "1"},
	} {
		word, after, ok := keyword(tt.line)
		if !ok {
			word, after = "", ""
		}
		if word != tt.word || after != tt.after {
			t.Errorf("%q: got %q, %q", tt.line, word, after)
		}
	}
}

func TestSplit(t *testing.T) {
	for s, want := range map[string][]string{
		`a b`: {"a", "b"}, `"a b"c d`: {"a bc", "d"}, `a#b # c`: {"a#b"}, `'a "' b`: {`a "`, "b"}, `a\ b \"c\"`: {"a b", `"c"`}, `"a\ b"`: {`a\ b`},
		`""`: {""}, ``: nil, `#`: nil, "a\tb": {"a", "b"}, `a\`: {`a\`}, `"a" "" b`: {"a", "", "b"},
	} {
		if got, err := split(s); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v", s, got, err)
		}
	}
	for _, bad := range []string{`"a`, `a'b`, `"a\"`} {
		if got, err := split(bad); err == nil {
			t.Errorf("%q: got %q", bad, got)
		}
	}
}

func TestPhysical(t *testing.T) {
	got := map[int]string{}
	maps.Insert(got, func(yield func(int, string) bool) {
		physical([]byte("  a\r\nb\x00x\n \x00\nc\n\nd"))(func(s string, n int) bool { return yield(n, s) })
	})
	if want := map[int]string{1: "a\r", 2: "bc", 5: "", 6: "d"}; !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		s, list string
		want    int
	}{
		{"root", "root", 1}, {"root", "r*t", 1}, {"root", "r?t", 0}, {"root", "*,!root", -1}, {"root", "!bob", 0}, {"a", "", 0}, {"", "*", 1},
		{"root", strings.Repeat("x", 1024) + ",root", 0}, {"aab", "a*ab", 1}, {"root", "!r*,root", -1},
	} {
		if got := inList(tt.s, tt.list); got != tt.want {
			t.Errorf("%q in %.20q: got %d", tt.s, tt.list, got)
		}
	}
	for _, tt := range []struct {
		a, list string
		want    int
		ok      bool
	}{
		{"10.1.2.3", "10.0.0.0/8", 1, true}, {"10.1.2.3", "!10.1.0.0/16,10.0.0.0/8", -1, true}, {"10.1.2.3", "10.1.*", 1, true}, {"::1", "::/0", 1, true},
		{"10.1.2.3", "::/0", 0, true}, {"10.1.2.3", "10.0.0.1/8", 0, false}, {"10.1.2.3", "10.1.2.3/33", 0, false}, {"10.1.2.3", "", 0, false}, {"", "10.0.0.0/8", 0, true},
	} {
		if got, ok := inNetworks(tt.a, tt.list); got != tt.want || ok != tt.ok {
			t.Errorf("%q in %q: got %d, %v", tt.a, tt.list, got, ok)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for raw, want := range map[string]string{
		"/usr/sbin/sshd\x00-D\x00-o\x00UseDNS yes\x00":                                `["-D" "-o" "UseDNS yes"]`,
		"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups":                     `["-D"]`,
		"sshd: /usr/sbin/sshd -D -o UseDNS yes -p 22 [listener] 0 of 10-100 startups": `["-D" "-o" "UseDNS yes" "-p" "22"]`,
		"sshd: root@pts/0":               "",
		"sshd: ann [priv]":               "",
		"sshd: [accepted]":               "",
		"/usr/sbin/sshd\x00-i\x00":       "",
		"/usr/sbin/sshd\x00-D\x00-R\x00": "",
	} {
		args, ok := commandLine([]byte(raw))
		got := ""
		if ok {
			got = fmt.Sprintf("%q", args)
		}
		if got != want {
			t.Errorf("%q: got %s", raw, got)
		}
	}
	g := parseArgs([]string{"-De", "-oUseDNS=yes", "-p", "22", "-4", "-f/x", "-E", "/log", "-h", "/k", "rest", "-p", "9"})
	if g.file != "/x" || !slices.Equal(g.lines, []string{"UseDNS=yes", "Port 22", "AddressFamily inet", "HostKey /k"}) ||
		!slices.Equal(g.options, []string{"-o", "UseDNS=yes", "-p", "22", "-4", "-f", "/x", "-h", "/k"}) {
		t.Errorf("got %+v", g)
	}
}

// The options of a command line win, and its ports replace those of the files.
func TestCommandLineWins(t *testing.T) {
	a := realSSHD(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "c")
	if err := os.WriteFile(file, []byte("Port 1\nPort 2\nUseDNS no\nHostKey /etc/ssh/ssh_host_rsa_key\nMaxSessions 3\nMatch all\nMaxSessions 4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := dirfd.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	conf, err := Load(t.Context(), root, file, Version{})
	if err != nil {
		t.Fatal(err)
	}
	g := parseArgs([]string{"-D", "-p", "33", "-oUseDNS=yes", "-o", "MaxSessions 9", "-h", "/etc/ssh/ssh_host_ed25519_key", "-g", "5", "-f", file})
	l := &loader{ctx: t.Context(), keys: keywords(), conf: conf}
	for _, text := range g.lines {
		n, _ := l.parse(text, facts.Place{})
		conf.command = append(conf.command, n)
	}
	a.options = g.options
	told, err := a.ask(t.Context(), oracleClients[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range conf.Effective(oracleClients[0]) {
		if v.Known && !agree(name, v.Lines, told[name]) {
			t.Errorf("%s: got %q, sshd %q", name, v.Lines, told[name])
		}
	}
	if got := told["port"]; !slices.Equal(got, []string{"33"}) {
		t.Errorf("port %q", got)
	}
}

func TestBuiltinByRelease(t *testing.T) {
	for text, want := range map[string]string{ // ciphers, MACs, key exchanges that are known
		"OpenSSH_8.4p1 Debian-5+deb11u3": "yyy", "OpenSSH_8.9p1 Ubuntu-3ubuntu0.10": "yyn", "OpenSSH_9.2p1 Debian-2+deb12u10": "yyy",
		"OpenSSH_9.6p1 Ubuntu-3ubuntu13": "yyy", "OpenSSH_10.0p2 Debian-7": "nnn", "OpenSSH_9.9p1": "nnn", "OpenSSH_7.4p1 Debian-10": "nnn",
	} {
		m := versionText.FindSubmatch([]byte("\x00" + text + "\x00"))
		if m == nil || string(m[0]) != text {
			t.Errorf("%s: read as %q", text, m)
			continue
		}
		got := ""
		for _, name := range []string{"ciphers", "macs", "kexalgorithms"} {
			lines, ok := versionOf(m).builtin(name)
			got += map[bool]string{true: "y", false: "n"}[ok && len(lines) == 1]
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestStartOf(t *testing.T) {
	stat := "7 (a) b) S " + strings.Repeat("1 ", 18) + "250 9 9"
	if got := startOf([]byte(stat), 1000); got.UnixMilli() != 1002_500 {
		t.Errorf("got %v", got)
	}
	for _, bad := range []string{"", "7 (x", "7 (x) S 1", "7 (x) S " + strings.Repeat("1 ", 18) + "x"} {
		if got := startOf([]byte(bad), 1000); !got.IsZero() {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

// Keys of all kinds, as ssh-keygen writes them.
func TestKeyFiles(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("SKIPPED: no ssh-keygen")
	}
	dir := t.TempDir()
	for i, tt := range []struct {
		args      string
		kind      string
		bits      int
		encrypted bool
	}{
		{"-t rsa -b 1024", "rsa", 1024, false}, {"-t ed25519", "ed25519", 256, false}, {"-t ecdsa -b 521", "ecdsa", 521, false}, {"-t dsa", "dsa", 1024, false},
		{"-t rsa -b 1024 -m PEM", "rsa", 1024, false}, {"-t ecdsa -b 384 -m PEM", "ecdsa", 384, false}, {"-t dsa -m PEM", "dsa", 1024, false}, {"-t rsa -b 2048 -m PKCS8", "rsa", 2048, false},
		{"-t ed25519 -N secret", "ed25519", 256, true}, {"-t rsa -b 1024 -m PEM -N secret", "rsa", 0, true},
	} {
		name := filepath.Join(dir, fmt.Sprint(i))
		args := append(strings.Fields(tt.args), "-q", "-f", name)
		if !strings.Contains(tt.args, "-N") {
			args = append(args, "-N", "")
		}
		if out, err := exec.Command(keygen, args...).CombinedOutput(); err != nil {
			t.Logf("SKIPPED %s: %v %s", tt.args, err, out) // newer ones make no DSA
			continue
		}
		private, _ := os.ReadFile(name)
		public, _ := os.ReadFile(name + ".pub")
		k, err := parsePrivate(private)
		if err != nil || k.kind != tt.kind || k.bits != tt.bits || k.encrypted != tt.encrypted {
			t.Errorf("%s: got %+v, %v", tt.args, k, err)
		}
		p, err := parsePublic(public)
		if err != nil || p.kind != tt.kind || p.bits == 0 || k.fingerprint != "" && k.fingerprint != p.fingerprint {
			t.Errorf("%s: public part: got %+v, %v", tt.args, p, err)
		}
		for n := range len(private) / 7 {
			parsePrivate(private[:n*7]) // no panic
		}
		if b, _ := pem.Decode(private); b != nil {
			for n := range b.Bytes {
				parseOpenSSH(b.Bytes[:n])
			}
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"Port 22\nInclude d/*\nMatch User x\nInclude \"d/b\"\n", "Include /etc/ssh/sshd_config\n", "Match Address !10.0.0.0/8,*\n PermitRootLogin = yes\n",
		"\"Ciphers\" +a,b\nMACs -*\nMatch all\nPort 1\n", "a\x00b\nPort 3\r\n", "ListenAddress [::1]:22\nListenAddress ::\nListenAddress a:b\nAddressFamily inet\n",
		"LoginGraceTime 1w2d\nMaxStartups 1:2:3\nRekeyLimit 1G 1h\nAuthenticationMethods any a\n", "Match Group x Host *.y LocalPort 22 rdomain z\nAllowUsers a b\n",
	} {
		f.Add(s, "UsePAM yes\nMatch User root\nX11Forwarding yes\n")
	}
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "etc/ssh/d"), 0o755); err != nil {
		f.Fatal(err)
	}
	root, err := dirfd.Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, included string) {
		for name, s := range map[string]string{"sshd_config": text, "d/b": included} {
			if err := os.WriteFile(filepath.Join(dir, "etc/ssh", name), []byte(s), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		conf, err := Load(t.Context(), root, MainFile, Version{Text: "x", Major: 9, Minor: 2, Vendor: "Debian"})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(text, "\n") + strings.Count(included, "\n") + 2
		for _, d := range conf.Directives() {
			if d.Line < 1 || d.Line > int64(lines) || d.Effective == (d.ShadowedBy != "" || d.Problem != "") || d.Conflicts && d.ShadowedBy == "" {
				t.Errorf("%+v", d)
			}
		}
		conf.Weaker()
		found, _ := conf.derive(&Options{AccountsKnown: true, Accounts: []Account{{Name: "x", Groups: []string{"x"}}}})
		if len(found) < 4 || len(found) > maxContexts {
			t.Errorf("%d contexts", len(found))
		}
		labels := map[string]bool{}
		for _, p := range found {
			if labels[p.label] {
				t.Errorf("%q twice", p.label)
			}
			labels[p.label] = true
			var c Context
			c.fill(conf.Effective(&p.Client), nil)
			for name, v := range conf.Effective(&p.Client) {
				for _, at := range v.At {
					if at.Line < 1 || at.Line > lines {
						t.Errorf("%s: %+v", name, v)
					}
				}
			}
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZWQyNTUxOQ==\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Add([]byte("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAwEAAQ== x\n"))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nMAkCAQACAQECAQM=\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (key, error){parsePrivate, parsePublic, parseOpenSSH, parseBlob} {
			if k, err := parse(b); err == nil && (k.bits < 0 || len(k.kind) > 64) {
				t.Errorf("%+v", k)
			}
		}
	})
}
