//go:build race

package app_test

// slow is how many times less is tried under the race detector.
const slow = 5
