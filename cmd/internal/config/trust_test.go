package config

import (
	"strings"
	"testing"
)

func TestTrust(t *testing.T) {
	dir := write(t, map[string]string{"intact/intact.yaml": etc + `
signing:
  baseline_key: /keys/b
  report_key: "agent:SHA256:abc"
  trusted_signers: /etc/signers
  revoked_keys: /etc/revoked
reports: {count: 50, days: 90}
packages: {keyrings: [/etc/ring.gpg, /etc/b.asc]}
expect_root: "1a2b 3c4d 5e6f 7a8b 9c0d"
`})
	c, err := Load(asUser(dir))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Signing{"/keys/b", "agent:SHA256:abc", "/etc/signers", "/etc/revoked"}); c.Signing != want || c.Reports != (Reports{50, 90}) || c.ExpectRoot != "1a2b 3c4d 5e6f 7a8b 9c0d" || strings.Join(c.Packages.Keyrings, " ") != "/etc/ring.gpg /etc/b.asc" {
		t.Errorf("%+v", c)
	}
	for _, tt := range []struct{ text, want string }{
		{"signing: {baseline_key: key}", "4:25: baseline_key key is neither an absolute path nor agent"},
		{"signing: {trusted_signers: agent}", "4:28: trusted_signers agent is not an absolute path"},
		{"signing: {private: /x}", "private"},
		{"reports: {count: 1}", "4:18"},
		{"packages: {keyrings: [ring.gpg]}", "4:23: key file ring.gpg is not an absolute path"},
		{"packages: {keyrings: /x}", "4:22"},
		{"packages: {keyrings: [/x], trust: all}", "trust"},
		{"expect_root: abc", "4:14: expect_root abc is no absolute path and neither a digest"},
	} {
		dir := write(t, map[string]string{"intact/intact.yaml": strings.TrimSuffix(etc, "\n") + "\nfail_on: low\n" + tt.text + "\n"})
		if _, err := Load(asUser(dir)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.text, err)
		}
	}
}
