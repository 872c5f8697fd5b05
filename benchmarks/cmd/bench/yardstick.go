package main

import (
	"strconv"
	"strings"
)

// yardstickID is the peer whose times stand in for AIDE 0.19 where that is not
// installed: distributions still ship 0.18, whose check is ten times slower.
const yardstickID = "b3sum"

// aide019 holds, by tree, what AIDE 0.19.3 (built from source, 2 workers,
// sha256) took as a multiple of find | xargs -P2 b3sum, init and check, warm,
// both measured in one session on 2 cores of an AMD EPYC (Zen 5). The figure
// for big is an estimate in itself: there the yardstick was b3sum alone with
// two threads.
var aide019 = map[string][phaseCount]float64{
	"small": {2.8, 3.5},
	"usr":   {2.8, 3.1},
	"tiny":  {2.7, 4.1},
	"big":   {4.9, 4.9},
}

// newerAIDE reports whether label names AIDE 0.19 or later.
func newerAIDE(label string) bool {
	rest, ok := strings.CutPrefix(label, "AIDE 0.")
	if !ok {
		return false
	}
	minor, _, _ := strings.Cut(rest, ".")
	minor, _, _ = strings.Cut(minor, ",")
	n, err := strconv.Atoi(minor)
	return err == nil && n >= 19
}
