// Package sshd reads what the SSH daemon lets whom do: its configuration by own
// parser, with the line that each value comes from, and of a running host by
// "sshd -T" for connections that the Match blocks suggest. It judges nothing.
//
// The parser does what OpenSSH does from 8.7 on and was held against sshd 9.2
// (TestOracle); files, patterns of Include and host keys are reached through
// the root alone. The daemon of an image is never run.
package sshd
