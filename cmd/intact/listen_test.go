package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// listenVar makes of the test program one that listens where it says and ends
// with its standard input.
const listenVar = "INTACT_TEST_LISTEN"

// listener is the whole life of such a program.
func listener(where string) {
	proto, addr, _ := strings.Cut(where, " ")
	var bound net.Addr
	if strings.HasPrefix(proto, "tcp") {
		l, err := net.Listen(proto, addr)
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		defer l.Close()
		bound = l.Addr()
	} else {
		c, err := net.ListenPacket(proto, addr)
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		defer c.Close()
		bound = c.LocalAddr()
	}
	fmt.Println(bound)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test lets go of it
}

// cmdListen is "listen FILE PROTO ADDR VAR": a program of that name listens until
// the script ends, and VAR has the port. PROTO and ADDR are those of package net.
func cmdListen(ts *testscript.TestScript, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: listen FILE PROTO ADDR VAR")
	}
	self, err := os.Executable()
	ts.Check(err)
	file := ts.MkAbs(name(ts, args[0]))
	if _, err := os.Lstat(file); err != nil {
		ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
		if os.Link(self, file) != nil { // another file system
			b, err := os.ReadFile(self)
			ts.Check(err)
			ts.Check(os.WriteFile(file, b, 0o755))
		}
	}
	cmd := exec.Command(file)
	cmd.Env = append(os.Environ(), listenVar+"="+args[1]+" "+args[2])
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	ts.Check(err)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		in.Close()
		_ = cmd.Wait() // it ends with its input
	})
	text, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	_, port, err := net.SplitHostPort(strings.TrimSpace(text))
	if err != nil {
		ts.Fatalf("%s does not listen: %s", args[0], text)
	}
	ts.Setenv(args[3], port)
}
