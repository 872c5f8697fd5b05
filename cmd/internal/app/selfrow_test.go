package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Places from where root can stop a unit of intact.
func TestSelfGlobs(t *testing.T) {
	for _, name := range []string{
		"/etc/systemd/system/intact-check.timer", "/run/systemd/system/intact-check.timer", "/run/systemd/system/intact.service.d/x.conf",
		"/etc/systemd/system/service.d/x.conf", "/etc/systemd/system/timer.d/x.conf", "/lib/systemd/system/intact.service.d/x.conf",
		"/usr/local/lib/systemd/system/intact.service", "/etc/systemd/system.control/intact.service", "/etc/systemd/system.control/intact.service.d/50-x.conf",
		"/etc/systemd/system/timers.target.wants/intact-check.timer", "/etc/apt/apt.conf.d/90intact", "/etc/dpkg/dpkg.cfg.d/intact",
	} {
		if !slices.ContainsFunc(selfGlobs(), func(g string) bool { ok, err := filepath.Match(g, name); return ok && err == nil }) {
			t.Errorf("%s: nobody looks at it", name)
		}
	}
}

// Reading a part ends when it is told to, however large the part.
func TestDescribeEnds(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err == nil {
		err = f.Truncate(maxProgram)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := describe(ctx, f, partBinary); !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", v, err)
	}
}
