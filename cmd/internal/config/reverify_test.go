package config

import (
	"strings"
	"testing"
	"time"
)

func TestReverify(t *testing.T) {
	for text, want := range map[string]Reverify{
		"": StandardReverify(),
		"reverify: {every: 12h, past_cache: 0%}\n": {12 * time.Hour, 0},
		"reverify: {every: 7d}\n":                  {7 * 24 * time.Hour, 5},
		"reverify: {every: off}\n":                 {0, 5},
		"reverify: {past_cache: 100%}\n":           {24 * time.Hour, 100},
		"reverify: {every: 1s}\n":                  {time.Second, 5},
	} {
		c, err := Load(asUser(write(t, map[string]string{"intact/intact.yaml": etc + text})))
		if err != nil || c.Reverify != want {
			t.Errorf("%q: got %v, %v, want %v", text, c.Reverify, err, want)
		}
		if got, ok := ParseReverify(want.String()); !ok || got != want {
			t.Errorf("%q is read as %v, %v", want, got, ok)
		}
	}
	for text, want := range map[string]string{
		"reverify: {every: 0s}\n":                 ":3:19: 0s is not a time between 1s and 365d",
		"reverify: {every: 366d}\n":               ":3:19: 366d is not",
		"reverify: {every: -1d}\n":                ":3:19: -1d is not",
		"reverify: {every: 1w}\n":                 ":3:19: 1w is not",
		"reverify: {every: \"\\e[31m\"}\n":        `:3:19: "\x1b[31m" is not`,
		"reverify: {every: 99999999999999999d}\n": ":3:19: 99999999999999999d is not",
		"reverify: {every: [1d]}\n":               ":3:19: ",
		"reverify: {past_cache: 101%}\n":          ":3:24: 101% is not between 0% and 100%",
		"reverify: {past_cache: 05%}\n":           ":3:24: 05% is not",
		"reverify: {past_cache: 5}\n":             ":3:24: ",
		"reverify: {rate: 1}\n":                   ":3:12: ",
		"reverify: 1d\n":                          ":3:11: ",
	} {
		c, err := Load(asUser(write(t, map[string]string{"intact/intact.yaml": etc + text})))
		if err == nil || !strings.Contains(err.Error(), want) || c.Reverify != StandardReverify() {
			t.Errorf("%q: got %v, %v, want %q", text, c.Reverify, err, want)
		}
	}
}

func TestReverifyStronger(t *testing.T) {
	for _, tt := range []struct{ a, b, want Reverify }{
		{Reverify{time.Hour, 5}, Reverify{0, 10}, Reverify{time.Hour, 10}},
		{Reverify{0, 5}, Reverify{time.Hour, 0}, Reverify{time.Hour, 5}},
		{Reverify{2 * time.Hour, 0}, Reverify{time.Hour, 0}, Reverify{time.Hour, 0}},
		{Reverify{}, Reverify{}, Reverify{}},
	} {
		if got := tt.a.Stronger(tt.b); got != tt.want {
			t.Errorf("%v and %v: got %v", tt.a, tt.b, got)
		}
	}
	for _, s := range []string{"", "every=1h past_cache=5%", "every=1h0m0s past_cache=05%", "every=1h0m0s past_cache=500%", "every=1ns past_cache=5%", "every=off"} {
		if r, ok := ParseReverify(s); ok {
			t.Errorf("%q is read as %v", s, r)
		}
	}
}
