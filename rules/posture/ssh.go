package posture

import (
	_ "embed"
	"strings"
)

// The table of SSH algorithms that rules judge by, dated in its first lines. A
// line is a word, weak or quantum-safe, and the name of an algorithm, whether it
// is a cipher, a MAC, a key exchange or a signature. Names that are not in it are
// neither.
//
//go:embed ssh-algorithms.txt
var sshAlgorithms string

// SSHAlgorithmsDate is the day of the table of SSH algorithms.
const SSHAlgorithmsDate = "2026-11-27"

// weakSSH reports an algorithm that should not be offered any more.
func weakSSH(name string) bool { return sshTable("weak", name) }

// quantumSafe reports a key exchange that recorded traffic is safe with from
// who has a quantum computer later.
func quantumSafe(name string) bool { return sshTable("quantum-safe", name) }

func sshTable(word, name string) bool {
	if strings.ContainsAny(name, " \n") || name == "" {
		return false
	}
	for l := range strings.Lines(sshAlgorithms) {
		w, rest, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		if n, _, _ := strings.Cut(rest, " "); w == word && n == name {
			return true
		}
	}
	return false
}
