package app

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/units"
	"intact/rules/posture"
	"intact/scanner/dirfd"
)

// Each kind of fact has a collector, and gives rows of the type that rules see:
// on this host, and on an image that has nothing.
func TestHostFacts(t *testing.T) {
	for _, c := range []struct {
		name, dir string
		live      bool
	}{{"this host", "/", true}, {"an empty image", t.TempDir(), false}} {
		t.Run(c.name, func(t *testing.T) {
			root, err := dirfd.Open(c.dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			h := &hostFacts{host: facts.Host{Root: root, Live: c.live}, now: time.Now()}
			own := map[string]bool{}
			for _, k := range posture.OwnKinds() {
				own[k.Name] = true // the application says them itself
			}
			for _, k := range factKinds() {
				if own[k.Name] {
					continue
				}
				f := h.Fact(context.Background(), k.Name)
				if f.Rows == nil || reflect.TypeOf(f.Rows).Elem() != k.Row {
					t.Errorf("%s: rows are %T", k.Name, f.Rows)
				}
				if f.Status == rules.Failed {
					t.Errorf("%s: %s", k.Name, f.Reason)
				}
				if single := k.Name == "updates.reboot" || k.Name == "sshd.server" || k.Name == "accounts.sources"; !c.live && !single && reflect.ValueOf(f.Rows).Len() > 0 {
					t.Errorf("%s: an empty image has %v", k.Name, f.Rows)
				}
			}
		})
	}
}

// A collector that panics is a fact that could not be read.
func TestHostFactsPanic(t *testing.T) {
	h := &hostFacts{}
	if f := h.Fact(context.Background(), "net.listeners"); f.Status != rules.Offline {
		t.Errorf("%+v", f)
	}
	if f := h.Fact(context.Background(), "units.units"); f.Status != rules.Failed {
		t.Errorf("without a root: %+v", f)
	}
	if f := h.Fact(context.Background(), "no.such"); f.Status != rules.Failed {
		t.Errorf("%+v", f)
	}
}

// Equal keys get numbers, and 200,000 lines of one crontab that are alike, which
// any user can write, are numbered at once.
func TestEqualRows(t *testing.T) {
	h := &hostFacts{}
	many := slices.Repeat([]units.CronEntry{{File: "/f", User: "u", Command: "x", Schedule: "b"}}, 200_000)
	h.set("units.cron", posture.Fact{Status: rules.OK, Rows: append(many, units.CronEntry{File: "/f", User: "u", Command: "x", Schedule: "a"}, units.CronEntry{File: "/f", User: "u", Command: "y"})})
	k := readKind(context.Background(), h, driftKind{"cron", "units.cron"})
	const key = `cron "/f" "u" "x"`
	if len(k.rows) != len(many)+2 || string(k.rows[key]) != `schedule="a"` || string(k.rows[key+"#2"]) != `schedule="b"` || k.rows[key+"#200001"] == nil || k.rows[`cron "/f" "u" "y"`] == nil {
		t.Errorf("%d rows, the first %s", len(k.rows), k.rows[key])
	}
}
