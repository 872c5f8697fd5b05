package config

import (
	"strconv"
	"strings"
	"time"

	"intact/scanner/strict"
)

// Reverify says how a watcher verifies again what nothing seems to happen to.
type Reverify struct {
	Every     time.Duration // in which all of the baseline is verified again; 0: it is not
	PastCache int           // percent of the files that are read past the page cache too, each time
}

// The bounds of Reverify.Every.
const (
	minReverify = time.Second
	maxReverify = 365 * 24 * time.Hour
)

// reverifyOff is the word for Every 0.
const reverifyOff = "off"

// StandardReverify is what counts where nothing is configured.
func StandardReverify() Reverify { return Reverify{Every: 24 * time.Hour, PastCache: 5} }

// String is the one spelling of r, which ParseReverify reads.
func (r Reverify) String() string {
	every := reverifyOff
	if r.Every > 0 {
		every = r.Every.String()
	}
	return "every=" + every + " past_cache=" + strconv.Itoa(r.PastCache) + "%"
}

// ParseReverify reads what String wrote and nothing else.
func ParseReverify(s string) (r Reverify, ok bool) {
	every, share, _ := strings.Cut(strings.TrimPrefix(s, "every="), " past_cache=")
	if every != reverifyOff {
		r.Every, _ = time.ParseDuration(every)
	}
	r.PastCache, _ = strconv.Atoi(strings.TrimSuffix(share, "%"))
	return r, r.valid() && r.String() == s
}

func (r Reverify) valid() bool {
	return (r.Every == 0 || r.Every >= minReverify && r.Every <= maxReverify) && r.PastCache >= 0 && r.PastCache <= 100
}

// Stronger returns what is as often and as much as either of the two asks for.
func (r Reverify) Stronger(o Reverify) Reverify {
	if r.Every == 0 || o.Every > 0 && o.Every < r.Every {
		r.Every = o.Every
	}
	r.PastCache = max(r.PastCache, o.PastCache)
	return r
}

// take reads the settings. Durations are those of Go, and 1d is a day.
func (r *Reverify) take(n *strict.Node) {
	if v := n.Get("every"); v != nil {
		text := v.Text()
		switch d, err := days(text); {
		case !v.IsText(): // which Text recorded
		case text == reverifyOff:
			r.Every = 0
		case err != nil || d < minReverify || d > maxReverify:
			v.Errorf("%s is not a time between 1s and 365d, such as 12h or 1d, nor off", strict.Printable(text))
		default:
			r.Every = d
		}
	}
	if v := n.Get("past_cache"); v != nil {
		text := v.Text()
		p, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
		switch {
		case !v.IsText():
		case err != nil || p < 0 || p > 100 || strconv.Itoa(p)+"%" != text:
			v.Errorf("%s is not between 0%% and 100%%", strict.Printable(text))
		default:
			r.PastCache = p
		}
	}
	n.Unknown()
}

// days is time.ParseDuration with whole days.
func days(text string) (time.Duration, error) {
	if s, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(s, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}
