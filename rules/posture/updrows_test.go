package posture_test

import "time"

// Rows of rules/facts/osupdates, as far as rules use them.
type (
	updUpdate struct {
		Name      string `cel:"name"`
		Arch      string `cel:"arch"`
		Installed string `cel:"installed"`
		Candidate string `cel:"candidate"`
		Security  bool   `cel:"security"`
		Severity  string `cel:"severity"`
		Held      bool   `cel:"held"`
		Phased    bool   `cel:"phased"`
		Pinned    bool   `cel:"pinned"`
	}
	updList struct {
		URI        string    `cel:"uri"`
		Suite      string    `cel:"suite"`
		Origin     string    `cel:"origin"`
		Date       time.Time `cel:"date"`
		DateKnown  bool      `cel:"date_known"`
		ValidUntil time.Time `cel:"valid_until"`
		Expired    bool      `cel:"expired"`
		AgeSeconds int64     `cel:"age_seconds"`
		Security   bool      `cel:"security"`
	}
	updAutomatic struct {
		Tool          string    `cel:"tool"`
		Installs      bool      `cel:"installs"`
		Notifies      bool      `cel:"notifies"`
		Enabled       bool      `cel:"enabled"`
		Why           []string  `cel:"why"`
		Security      bool      `cel:"security"`
		SecurityKnown bool      `cel:"security_known"`
		LastRun       time.Time `cel:"last_run"`
		LastRunKnown  bool      `cel:"last_run_known"`
		Mail          string    `cel:"mail"`
	}
	updRelease struct {
		ID            string    `cel:"id"`
		Name          string    `cel:"name"`
		VersionID     string    `cel:"version_id"`
		EOL           time.Time `cel:"eol"`
		EOLKnown      bool      `cel:"eol_known"`
		Supported     bool      `cel:"supported"`
		Extended      time.Time `cel:"extended"`
		ExtendedKnown bool      `cel:"extended_known"`
	}
	updReboot struct {
		Running     string   `cel:"running"`
		Newest      string   `cel:"newest"`
		Needed      bool     `cel:"needed"`
		NeededKnown bool     `cel:"needed_known"`
		Why         []string `cel:"why"`
	}
	updStale struct {
		PID      int64    `cel:"pid"`
		Name     string   `cel:"name"`
		Exe      string   `cel:"exe"`
		ExeKnown bool     `cel:"exe_known"`
		Unit     string   `cel:"unit"`
		Files    []string `cel:"files"`
	}
	updRepository struct {
		Kind          string   `cel:"kind"`
		URI           string   `cel:"uri"`
		Suite         string   `cel:"suite"`
		SignedBy      []string `cel:"signed_by"`
		Enabled       bool     `cel:"enabled"`
		Authenticated bool     `cel:"authenticated"`
		Why           []string `cel:"why"`
		File          string   `cel:"file"`
		Line          int64    `cel:"line"`
	}
)
