package config

import (
	"slices"
	"strings"
	"testing"
	"time"
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

func TestPackagesWait(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
		err  string
	}{
		{"", 15 * time.Minute, ""},
		{"packages: {}\n", 15 * time.Minute, ""},
		{"packages: {wait: 0s}\n", 0, ""},
		{"packages: {wait: 90s}\n", 90 * time.Second, ""},
		{"packages: {wait: 24h}\n", 24 * time.Hour, ""},
		{"packages: {wait: 24h1s}\n", 0, "intact.yaml:3:18: 24h1s is not a time"},
		{"packages: {wait: -1s}\n", 0, "intact.yaml:3:18"},
		{"packages: {wait: 15}\n", 0, "intact.yaml:3:18"},
		{"packages: {wait: }\n", 0, "intact.yaml:3:"},
		{"packages: {wait: [1s]}\n", 0, "intact.yaml:3:18"},
	} {
		c, err := Load(asUser(write(t, map[string]string{"intact/intact.yaml": etc + tt.text})))
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v", tt.text, err)
		}
		if err == nil && c.Packages.Wait != tt.want {
			t.Errorf("%q: %v", tt.text, c.Packages.Wait)
		}
	}
}
