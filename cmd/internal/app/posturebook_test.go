package app

import (
	"slices"
	"testing"

	"intact/cmd/internal/config"
	"intact/rules/facts/units"
	"intact/rules/posture"
)

// The configuration knows the names of the profiles that the rules have.
func TestProfiles(t *testing.T) {
	if !slices.Equal(config.Profiles, posture.Profiles()) {
		t.Errorf("got %q, want %q", config.Profiles, posture.Profiles())
	}
}

func TestScheduled(t *testing.T) {
	timer := units.Unit{Name: "n.timer", State: "enabled", Activates: "n.service"}
	service := units.Unit{Name: "n.service", State: "static", Exec: []string{"ExecStart=-/usr/bin/nice /usr/bin/intact check"}}
	for _, tt := range []struct {
		name  string
		units []units.Unit
		jobs  []units.CronEntry
		own   bool
		other []string
	}{
		{"nothing", nil, nil, false, nil},
		{"timer", []units.Unit{service, timer}, nil, true, nil},
		{"service-alone", []units.Unit{service}, nil, false, nil},
		{"masked", []units.Unit{{Name: "n.service", State: "masked", Wanted: []string{"x"}, Exec: service.Exec}}, nil, false, nil},
		{"cron", nil, []units.CronEntry{{Command: "test -x /opt/bin/intact && /opt/bin/intact check --quiet"}, {Command: "/etc/cron.daily/aide"}, {Command: "aide"}}, true, []string{"aide"}},
		{"shell", nil, []units.CronEntry{{Command: `sh -c "intact check"`}}, true, nil},
		{"other-name", nil, []units.CronEntry{{Command: "/usr/bin/intact-collector serve"}}, false, nil},
	} {
		if own, other := scheduled(tt.units, tt.jobs); own != tt.own || !slices.Equal(other, tt.other) {
			t.Errorf("%s: got %v %q, want %v %q", tt.name, own, other, tt.own, tt.other)
		}
	}
}
