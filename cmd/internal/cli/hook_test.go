package cli

import (
	"bytes"
	"strings"
	"testing"
)

// A hook that is called wrongly says so and ends with 0, where every other command
// ends with 2.
func TestHookFailsOpen(t *testing.T) {
	state := t.TempDir()
	for line, want := range map[string]int{
		"packages hook pre --flag":                       0,
		"packages hook --flag post":                      0,
		"packages hook pre --manager rug":                0,
		"packages hook post --manager":                   0,
		"packages hook pre more":                         0,
		"packages hook":                                  0,
		"packages hook middle":                           0,
		"--flag packages hook pre":                       0,
		"--workers 999 packages hook post":               0,
		"--state " + state + " packages hook post --x=1": 0,
		"--log-format=xml packages hook post":            0,
		"packages hook post --config /none/a.yaml":       0,
		"packages hooks pre":                             2,
		"packages record --flag":                         2,
		"packages list hook":                             2,
		"check packages hook --flag":                     2,
		"--state packages hook --flag":                   2,
	} {
		var out, errs bytes.Buffer
		args := append([]string{"intact"}, strings.Fields(line)...)
		if !strings.Contains(line, "--state") {
			args = append(args, "--state="+state)
		}
		if got := Main(t.Context(), args, strings.NewReader(""), &out, &errs); got != want || errs.Len() == 0 {
			t.Errorf("%s: exit %d, want %d; stderr %q", line, got, want, errs.String())
		}
	}
}
