package app

import (
	"testing"
	"time"
)

func TestHolds(t *testing.T) {
	const text = "1: POSIX  ADVISORY  WRITE 12 fe:00:77 0 EOF\n" +
		"2: FLOCK  ADVISORY  WRITE 13 fe:0a:4711 0 EOF\n" +
		"2: -> FLOCK  ADVISORY  WRITE 14 fe:0a:99 0 EOF\n" +
		"3: FLOCK\n\n"
	for _, tt := range []struct {
		major, minor uint32
		inode        uint64
		want         bool
	}{
		{0xfe, 0x0a, 4711, true},
		{0xfe, 0x0a, 471, false},
		{0xfe, 0x00, 4711, false},
		{0xfe, 0x00, 77, false},  // another kind of lock
		{0xfe, 0x0a, 99, false},  // waits only
		{0x0f, 0xea, 11, false},  // split elsewhere
		{0xfe, 0x0a, 0, false},   // nothing
		{0x00, 0x00, 471, false}, // nothing
	} {
		if got := holds(text, tt.major, tt.minor, tt.inode); got != tt.want {
			t.Errorf("%x:%x:%d: got %v, want %v", tt.major, tt.minor, tt.inode, got, tt.want)
		}
	}
}

func TestEffective(t *testing.T) {
	got, err := effective([]byte("Name:\tCapEff: ff\nCapPrm:\t00000000000000ff\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n"))
	if err != nil || got != 0x1ffffffffff {
		t.Errorf("got %x, %v", got, err)
	}
	for _, bad := range []string{"", "CapEff:\tx\n", "CapPrm:\t1\n"} {
		if _, err := effective([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestDrifted(t *testing.T) {
	at := func(boot string, wall, run time.Duration) moment {
		return moment{1, boot, time.Unix(1e9, 0).Add(wall), run}
	}
	for _, tt := range []struct {
		name  string
		a, b  moment
		by    time.Duration
		known bool
	}{
		{"steady", at("x", 0, time.Hour), at("x", time.Hour, 2*time.Hour), 0, true},
		{"forward", at("x", 0, time.Hour), at("x", 3*time.Hour, 2*time.Hour), 2 * time.Hour, true},
		{"back", at("x", 0, time.Hour), at("x", -time.Hour, 2*time.Hour), -2 * time.Hour, true},
		{"other boot", at("x", 0, time.Hour), at("y", -time.Hour, 2*time.Hour), 0, false},
		{"no boot id", at("", 0, time.Hour), at("", -time.Hour, 2*time.Hour), 0, false},
		{"no clock", at("x", 0, 0), at("x", -time.Hour, 2*time.Hour), 0, false},
	} {
		if by, known := drifted(tt.a, tt.b); by != tt.by || known != tt.known {
			t.Errorf("%s: got %v, %v", tt.name, by, known)
		}
	}
}

func TestAllowedModes(t *testing.T) {
	for _, tt := range []struct {
		rel   string
		dir   bool
		mode  uint32
		known bool
	}{
		{"", true, 0o700, true},
		{"keys", true, 0o700, true},
		{"former/abc/keys", true, 0o700, true},
		{"elsewhere", true, 0o700, false},
		{"host", false, 0o600, true},
		{"windows", false, 0o600, true},
		{"delegation", false, 0o600, true},
		{"baseline/0000000001.db", false, 0o400, true},
		{"baseline/0000000001.statement.sig", false, 0o400, true},
		{"baseline/ages", false, 0o600, true},
		{"keys/report", false, 0o400, true},
		{"keys/report.20260101T000000.old", false, 0o400, true},
		{"keys/report.pub", false, 0o644, true},
		{"keys/allowed_signers", false, 0o644, true},
		{"reports/0000000001-check.jsonl", false, 0o600, true},
		{"pending/0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a", false, 0o600, true},
		{"strange", false, 0, false},
	} {
		if mode, known := allowed(tt.rel, tt.dir); known != tt.known || known && mode != tt.mode {
			t.Errorf("%q: got %04o, %v", tt.rel, mode, known)
		}
	}
}
