package units

import (
	"os"

	"intact/rules/facts"
)

// runningUnits gives the services that have processes, by their control groups.
// Nothing is known of an image, nor of a host whose first process is not systemd.
func runningUnits(h facts.Host) (map[string]bool, bool) {
	if !h.Live {
		return nil, false
	}
	if fi, err := os.Stat("/run/systemd/system"); err != nil || !fi.IsDir() { // sd_booted(3)
		return nil, false
	}
	proc := facts.HostProc()
	pids, err := proc.PIDs()
	if err != nil {
		return nil, false
	}
	out := map[string]bool{}
	for _, pid := range pids {
		p, err := proc.Process(pid)
		if err != nil {
			continue // it ended
		}
		if u, err := p.Unit(); err == nil && u != "" {
			out[u] = true
		}
		p.Close()
	}
	return out, true
}
