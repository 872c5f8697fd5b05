package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// save writes the report to a new file in dir and returns its name. An earlier
// result of the same day and commit is never replaced.
func (r *report) save(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make results folder: %w", err)
	}
	base := r.date.UTC().Format("2006-01-02") + "-" + r.commit
	if r.scale > 1 {
		base += fmt.Sprintf("-scale%d", r.scale)
	}
	for n := 1; ; n++ {
		name := filepath.Join(dir, base+".md")
		if n > 1 {
			name = filepath.Join(dir, fmt.Sprintf("%s-%d.md", base, n))
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("save report: %w", err)
		}
		if err := errors.Join(r.markdown(f), f.Close()); err != nil {
			return "", fmt.Errorf("save report: %w", err)
		}
		return name, nil
	}
}

// commit names the checkout of the current folder, with "-dirty" where it
// differs from that commit in more than results, "uncommitted" where there is
// none.
func commit(ctx context.Context) string {
	name, err := git(ctx, "rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "uncommitted"
	}
	if out, err := git(ctx, "status", "--porcelain", "--", ":(top)", ":(top,exclude)benchmarks/results"); err != nil || out != "" {
		name += "-dirty"
	}
	return name
}

// git runs in the checkout of the current folder, even where that belongs to
// someone else.
func git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-c", "safe.directory=*"}, args...)...).Output()
	if err != nil {
		err = fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), err
}
