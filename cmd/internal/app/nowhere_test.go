package app

import (
	"sync"

	"intact/rules/facts/facttest"
)

// Nowhere is Env.Facts of tests under the live root, one for all of them.
var Nowhere = sync.OnceValue(facttest.Nowhere)
