package sshd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"intact/rules"
)

// What a real daemon offers follows its Match blocks, and the probe sees it.
func TestOffered(t *testing.T) {
	realSSHD(t)
	_, port := startSSHD(t, "UsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nMatch User nobody\nPasswordAuthentication yes\n")
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	got := Offered(t.Context(), []netip.AddrPort{at}, []string{"root", "nobody"})
	if got.Status != rules.OK || len(got.Rows) != 2 {
		t.Fatalf("got %+v", got)
	}
	for i, want := range [][]string{{"publickey"}, {"password", "publickey"}} {
		if o := got.Rows[i]; !slices.Equal(o.Methods, want) || o.HostKeyType != "ssh-ed25519" || o.Kex == "" || o.Cipher == "" || o.Version == "" {
			t.Errorf("got %+v, want %q", o, want)
		}
	}
}

// Whoever answers in the daemon's place neither holds the probe up nor fills it.
func TestOfferedHostile(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			if i%2 == 0 {
				continue // silence
			}
			go func() {
				for range 1 << 16 {
					if _, err := fmt.Fprintf(c, "\x1b[31m%01000d\n", 0); err != nil {
						return
					}
				}
			}()
		}
	}()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	for _, user := range []string{"silence", "noise"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		got := Offered(ctx, []netip.AddrPort{at}, []string{user})
		cancel()
		if got.Status == rules.OK || len(got.Rows) > 0 || len(got.Reason) > 1000 {
			t.Errorf("%s: got %+v", user, got)
		}
	}
	if got := Offered(t.Context(), []netip.AddrPort{at}, nil); got.Status != rules.OK {
		t.Errorf("nobody asked: %+v", got)
	}
}
