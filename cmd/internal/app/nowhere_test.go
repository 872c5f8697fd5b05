package app

import (
	"os"
	"sync"

	"intact/rules/facts"
	"intact/scanner/dirfd"
)

// Nowhere is a host without anything, Env.Facts of tests under the live root:
// what else the machine of the tests listens on or lacks is none of their
// findings. Its folder has no name, so nobody can put anything there.
var Nowhere = sync.OnceValue(func() *facts.Host {
	dir, err := os.MkdirTemp("", "nowhere")
	if err != nil {
		panic(err)
	}
	r, err := dirfd.Open(dir)
	if err == nil {
		err = os.Remove(dir)
	}
	if err != nil {
		panic(err)
	}
	return &facts.Host{Root: r}
})
