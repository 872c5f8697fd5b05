package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"intact/baseline"
	"intact/report"
	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/units"
	"intact/rules/posture"
)

// otherTools are programs that watch the integrity of files too.
var otherTools = []string{"aide", "tripwire", "samhain", "osqueryd", "wazuh-agentd", "wazuh-syscheckd", "ossec-syscheckd", "auditbeat", "rkhunter", "debsums", "tiger"}

// self says how the integrity checks of this host are set up. h tells what runs
// by itself. The answer is about runs that are over: a run that judges posture
// itself sets "fim.self" of its own where it knows better.
func (s *session) self(h *hostFacts) func(context.Context) facts.Answer[posture.Self] {
	return func(ctx context.Context) (a facts.Answer[posture.Self]) {
		if !h.host.Live {
			return facts.OfflineAnswer[posture.Self]("how the checks of the host itself are set up")
		}
		a.Status, a.Via = rules.OK, s.store.Dir()
		var self posture.Self
		err := s.selfSigned(&self)
		if err == nil {
			err = s.selfChecked(ctx, &self)
		}
		if err != nil {
			a.Status, a.Reason = rules.Failed, err.Error()
			if errors.Is(err, fs.ErrPermission) {
				a.Status = rules.Denied
			}
		}
		u, _ := rowsOf[units.Unit](ctx, h, "units.units")
		c, _ := rowsOf[units.CronEntry](ctx, h, "units.cron")
		self.Scheduled, self.OtherTools = scheduled(u, c)
		a.Rows = []posture.Self{self}
		return a
	}
}

// selfSigned notes whether the newest baseline has a signature that counts.
func (s *session) selfSigned(to *posture.Self) error {
	if s.store.Trust == nil {
		return errNoTrust
	}
	list, err := s.store.List()
	if err == nil && len(list) == 0 && os.Geteuid() != 0 {
		return fmt.Errorf("this user has no baseline, and the one of root is not known: %w", fs.ErrPermission)
	}
	if n := len(list); err == nil && n > 0 {
		last := list[n-1]
		if errors.Is(last.Err, fs.ErrPermission) {
			return last.Err
		}
		to.Signed = last.Err == nil && last.Present
	}
	if err != nil && (errors.Is(err, baseline.ErrDamaged) || errors.Is(err, baseline.ErrForeign)) {
		return nil // no signature counts for such a one
	}
	return err
}

// selfChecked finds the end of the last run that looked at the whole policy.
// A report that nobody signed is no proof of one.
func (s *session) selfChecked(ctx context.Context, to *posture.Self) error {
	list, err := s.archive().List()
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(list) {
		h, t, err := r.Ends()
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("report %d: %w", r.Seq, err)
		}
		if err != nil || h.Kind != report.KindCheck && h.Kind != report.KindInit || h.Scope != report.ScopeFull || !ended(t) {
			continue
		}
		if _, _, err := s.readJudged(ctx, r); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		to.LastCheck, to.LastCheckKnown = t.Finished, true
		return nil
	}
	return nil
}

// scheduled reports whether a timer or a job of cron runs intact, and which
// other tools run by themselves.
func scheduled(list []units.Unit, jobs []units.CronEntry) (own bool, other []string) {
	note := func(program string) {
		switch {
		case program == "intact":
			own = true
		case slices.Contains(otherTools, program) && !slices.Contains(other, program):
			other = append(other, program)
		}
	}
	started := map[string]bool{}
	for _, u := range list {
		if on := u.State == "enabled" || u.State == "indirect" || len(u.Wanted) > 0; on && u.State != "masked" {
			started[u.Name] = true
			if u.Activates != "" {
				started[u.Activates] = true
			}
		}
	}
	for _, u := range list {
		if !started[u.Name] || u.State == "masked" {
			continue
		}
		for _, x := range u.Exec {
			_, command, _ := strings.Cut(x, "=")
			for _, p := range programs(command) {
				note(p)
			}
		}
	}
	for _, j := range jobs {
		for _, p := range programs(j.Command) {
			note(p)
		}
	}
	slices.Sort(other)
	return own, other
}

// programs are the last parts of the words of a command that may name a program:
// it may stand behind nice, a test or a shell's -c.
func programs(command string) (names []string) {
	for _, w := range strings.FieldsFunc(command, func(r rune) bool { return strings.ContainsRune(" \t\n;&|()'\"`", r) }) {
		names = append(names, path.Base(strings.TrimLeft(w, "-@+!:")))
	}
	return names
}
