package app

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"intact/scanner/strict"
)

// Errors that were joined are told one by one; a newline within one is no end of it.
func TestTellError(t *testing.T) {
	a, b := errors.New("a\nx"), errors.New("b")
	both := errors.Join(a, errors.Join(b, nil))
	for _, tt := range []struct {
		err  error
		want string
	}{
		{a, "intact: a\\nx\n"},
		{both, "intact: a\\nx\nintact: b\n"},
		{&codeError{ExitUsage, both}, "intact: a\\nx\nintact: b\n"},
		{fmt.Errorf("open: %w: %w", a, b), "intact: open: a\\nx: b\n"},
		{errors.Join(strict.Errors{{File: "f", Line: 1, Col: 2, Msg: "m"}, {File: "f", Line: 3, Col: 4, Msg: "n"}}, b), "intact: f:1:2: m\nintact: f:3:4: n\nintact: b\n"},
	} {
		var out bytes.Buffer
		(&Env{Stderr: &out}).TellError(tt.err)
		if out.String() != tt.want {
			t.Errorf("got %q, want %q", out.String(), tt.want)
		}
	}
}
