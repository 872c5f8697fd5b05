package config

import (
	"slices"
	"strings"
	"testing"
)

func TestPackages(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
		err  string
	}{
		{"packages: {rpm_keys: [/etc/a.asc, \"/etc/b,c.gpg\"]}\n", []string{"/etc/a.asc", "/etc/b,c.gpg"}, ""},
		{"packages: {rpm_keys: []}\n", nil, ""},
		{"packages: {rpm_keys: [a.asc]}\n", nil, "intact.yaml:3:23: key file"},
		{"packages: {rpm_keys: /etc/a.asc}\n", nil, "intact.yaml:3:22"},
		{"packages: {rpm_keys: [4]}\n", nil, "intact.yaml:3:23"},
		{"packages: {rpm_key: [/a]}\n", nil, "intact.yaml:3:12"},
		{"packages: on\n", nil, "intact.yaml:3:11"},
		{"accept: all\n", nil, "intact.yaml:3:9"},
		{"accept: [signed]\n", nil, "intact.yaml:3:9"},
		{"accept: none\n", nil, ""},
	} {
		dir := write(t, map[string]string{"intact/intact.yaml": etc + tt.text})
		c, err := Load(asUser(dir))
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v", tt.text, err)
		}
		if err == nil && !slices.Equal(c.Packages.RPMKeys, tt.want) {
			t.Errorf("%q: %q", tt.text, c.Packages.RPMKeys)
		}
	}
}
