package deb_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"intact/rules/pkgdb/deb"
)

const settings = "VERSION 3\nAPT::Architecture=amd64\nAPT::Get::AllowUnauthenticated=1\nAcquire::Check-Valid-Until=false\nTest::Odd=a=b%25c%20%0a\nDir::State::lists=lists/\nAPT::Compressor::=x\n\n"

func TestReadHook(t *testing.T) {
	h, err := deb.ReadHook(strings.NewReader(settings +
		"bc 1.07.1-3+b1 amd64 foreign > - - none **REMOVE**\n" +
		"hello - - none < 2.10-3 amd64 none /var/cache/apt/archives/hello_2.10-3_amd64.deb\n" +
		"libc6 2.36-9 amd64 same < 2.36-10 amd64 same /a b/libc6.deb\n" +
		"hello - - none < 2.10-3 amd64 none **CONFIGURE**\n" +
		"dash 0.5-2 amd64 none > 0.5-1 amd64 none /x.deb\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []deb.Action{
		{Package: "bc", Old: "1.07.1-3+b1", OldArch: "amd64", Do: deb.Remove},
		{Package: "hello", New: "2.10-3", NewArch: "amd64", Do: deb.Unpack, File: "/var/cache/apt/archives/hello_2.10-3_amd64.deb"},
		{Package: "libc6", Old: "2.36-9", OldArch: "amd64", New: "2.36-10", NewArch: "amd64", Do: deb.Unpack, File: "/a b/libc6.deb"},
		{Package: "hello", New: "2.10-3", NewArch: "amd64", Do: deb.Configure},
		{Package: "dash", Old: "0.5-2", OldArch: "amd64", New: "0.5-1", NewArch: "amd64", Do: deb.Unpack, File: "/x.deb"},
	}
	if !reflect.DeepEqual(h.Actions, want) {
		t.Errorf("got %+v", h.Actions)
	}
	if got := h.Unchecked(); !reflect.DeepEqual(got, []string{"APT::Get::AllowUnauthenticated", "Acquire::Check-Valid-Until"}) {
		t.Errorf("got %q", got)
	}
	if h.Settings["test::odd"] != "a=b%c \n" || h.Settings["dir::state::lists"] != "lists/" || !h.On("no::such", true) {
		t.Errorf("got %q", h.Settings)
	}
	if h, err := deb.ReadHook(strings.NewReader("VERSION 3\n\n")); err != nil || len(h.Actions) != 0 || h.Unchecked() != nil {
		t.Errorf("nothing to do: %+v, %v", h, err)
	}
}

func TestReadHookRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"version 2":        "VERSION 2\n\n",
		"no settings' end": "VERSION 3\nA=b\n",
		"no end":           settings + "bc 1 amd64 none > - - none **REMOVE**",
		"no equals":        "VERSION 3\nA\n\n",
		"no name":          "VERSION 3\n=b\n\n",
		"quoting":          "VERSION 3\nA=%2\n\n",
		"quoting, no hex":  "VERSION 3\nA=%zz\n\n",
		"zero":             "VERSION 3\nA=%00\n\n",
		"columns":          settings + "bc 1 amd64 none > - - **REMOVE**\n",
		"multi-arch":       settings + "bc 1 amd64 both > - - none **REMOVE**\n",
		"relative":         settings + "bc - - none < 1 amd64 none x.deb\n",
		"direction":        settings + "bc 2 amd64 none < 1 amd64 none /x.deb\n",
		"version":          settings + "bc - - none < x amd64 none /x.deb\n",
		"name":             settings + "../bc - - none < 1 amd64 none /x.deb\n",
		"removes nothing":  settings + "bc - - none < 1 amd64 none **REMOVE**\n",
		"installs nothing": settings + "bc 1 amd64 none > - - none /x.deb\n",
		"an empty line":    settings + "\n",
		"zero in a path":   settings + "bc - - none < 1 amd64 none /x\x00.deb\n",
	} {
		if h, err := deb.ReadHook(strings.NewReader(text)); !errors.Is(err, deb.ErrHook) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	var b strings.Builder
	b.WriteString("VERSION 3\n")
	for i := range deb.MaxSettings + 2 {
		fmt.Fprintf(&b, "A%d=\n", i)
	}
	if _, err := deb.ReadHook(strings.NewReader(b.String())); !errors.Is(err, deb.ErrTooMany) {
		t.Errorf("settings: %v", err)
	}
	if _, err := deb.ReadHook(strings.NewReader("VERSION 3\nA=" + strings.Repeat("x", deb.MaxHook))); err == nil {
		t.Error("a line of any length is read")
	}
}

func FuzzHook(f *testing.F) {
	f.Add(settings + "bc 1.07.1-3+b1 amd64 foreign > - - none **REMOVE**\n")
	f.Add("VERSION 3\n\nhello - - none < 2.10-3 amd64 none /a b\n")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := deb.ReadHook(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, a := range h.Actions {
			if (a.Do == deb.Unpack) != (a.File != "") || a.Old == "" && a.New == "" || !strings.Contains(text, a.File) || a.Package == "" {
				t.Errorf("%+v", a)
			}
		}
	})
}
