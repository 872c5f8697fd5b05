package app

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"intact/baseline"
	"intact/report"
	"intact/scanner/digest"
)

// errIdentity means that the state folder belongs to another machine.
var errIdentity = errors.New("identity changed")

// thisMachine is what the running machine is known by. It is the machine that
// the state folder lies on, whatever root is scanned. A container sees the
// board of the machine that it happens to run on.
func thisMachine() (m baseline.Machine) {
	m.ID = known128("machine-id", "/etc/machine-id")
	if !slices.ContainsFunc(containerSigns[:], there) {
		m.Product = known128(kindProduct, "/sys/class/dmi/id/product_uuid")
	}
	return m
}

// containerSigns are made by those who run containers: Docker, Podman, and
// whoever keeps to the container interface of systemd.
var containerSigns = [...]string{"/.dockerenv", "/run/.containerenv", "/run/systemd/container"}

func there(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

const kindProduct = "product UUID"

// known128 digests a file that holds 128 bits in hex, with or without dashes.
// machine-id(5) asks not to give the value itself away. Zero: not known.
func known128(kind, name string) digest.Digest {
	b, err := readOpened(name, 64, nil)
	if err != nil {
		return digest.Digest{}
	}
	id := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(string(b)), "-", ""))
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" || strings.Trim(id, "f") == "" {
		return digest.Digest{} // "uninitialized", or a board without a number
	}
	if kind == kindProduct {
		id = min(id, swapped(id))
	}
	return digest.Sum([]byte("intact " + kind + "\n" + id))
}

// swapped returns the other spelling of a product UUID: the byte order of its
// first three fields depends on the SMBIOS version that the firmware claims.
func swapped(id string) string {
	order := [...]int{3, 2, 1, 0, 5, 4, 7, 6}
	var b strings.Builder
	for _, i := range order {
		b.WriteString(id[2*i : 2*i+2])
	}
	return b.String() + id[16:]
}

func (s *session) machine() baseline.Machine {
	if s.env.Machine != nil {
		return s.env.Machine()
	}
	return thisMachine()
}

// sameHost stops a clone, and a host that was restored onto another machine.
func (s *session) sameHost() error {
	h, err := s.store.Host()
	if err != nil {
		return err
	}
	if names := h.Differs(s.machine()); len(names) > 0 {
		return fmt.Errorf("%w: another %s than when the state folder was made. If this is a clone: run intact host new-id. If it is the host itself, restored or moved: run intact host restored --reason TEXT", errIdentity, strings.Join(names, " and another "))
	}
	return nil
}

// boot says which boot of the machine this is and for how long it runs.
func boot() (b report.Boot) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return b
	}
	return report.Boot{ID: strings.TrimSpace(string(id)), Clock: bootClock()}
}

// bootClock is CLOCK_BOOTTIME in nanoseconds: nobody sets it, and it goes on
// in suspend.
func bootClock() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return t.Nano()
}

// HostShow prints who this host is.
func HostShow(e *Env) (Outcome, error) {
	return reading(e, func(s *session) error {
		h, err := s.store.Host()
		if err != nil {
			return err
		}
		e.print("id     %s\nepoch  %d\n", h.ID, h.Epoch)
		return s.sameHost()
	})
}

// HostNewID makes a host of its own out of a clone.
func HostNewID(e *Env) (Outcome, error) {
	return onAnyMachine(e, "host new-id", func(s *session) error {
		former, err := s.store.NewID(s.machine())
		if err != nil {
			return err
		}
		h, err := s.store.Host()
		if err != nil {
			return err
		}
		e.print("this host is %s now; baseline, reports and public keys of the host that it was cloned from are in %s; its private keys are gone from there\n", h.ID, report.Escape(former))
		e.print("run intact init for a baseline of its own\n")
		return nil
	})
}

// HostRestored goes on as the same host on another machine, in a new epoch.
func HostRestored(e *Env, reason string) (Outcome, error) {
	if strings.TrimSpace(reason) == "" {
		return Outcome{}, usageError("host restored: --reason TEXT is needed: it stands in a report")
	}
	return onAnyMachine(e, "host restored", func(s *session) error {
		h, err := s.store.Restored(s.machine(), "the host was restored or moved, says "+s.approver()+": "+reason)
		if err != nil {
			return err
		}
		e.print("host %s goes on in epoch %d\n", h.ID, h.Epoch)
		return nil
	})
}

// hosting runs what changes the state folder of this very machine.
func hosting(e *Env, command string, run func(*session) error) (Outcome, error) {
	return onAnyMachine(e, command, func(s *session) error {
		if err := s.sameHost(); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		return run(s)
	})
}

// onAnyMachine is hosting for what says that the machine is another.
func onAnyMachine(e *Env, command string, run func(*session) error) (Outcome, error) {
	s, err := openConfigured(e)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	if _, err := s.store.Host(); err != nil {
		return Outcome{}, err
	}
	if s.lock, err = s.store.Lock(command); err != nil {
		return Outcome{}, err
	}
	if err := run(s); err != nil {
		return Outcome{}, err
	}
	return Done(), nil
}
