package scanner_test

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// leaseBroken returns a channel that ends when the kernel asks for a lease of
// this process.
func leaseBroken() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGIO)
	return c
}

// shortLeases lets the kernel take leases away after a second, until the test
// ends; false if it cannot.
func shortLeases(t *testing.T) bool {
	const name = "/proc/sys/fs/lease-break-time"
	old, err := os.ReadFile(name)
	if err != nil || os.WriteFile(name, []byte("1\n"), 0) != nil {
		t.Logf("%s cannot be set: a lease that is never given up is not tried", name)
		return false
	}
	t.Cleanup(func() {
		if err := os.WriteFile(name, []byte(strings.TrimSpace(string(old))+"\n"), 0); err != nil {
			t.Errorf("restore %s: %v", name, err)
		}
	})
	return true
}
