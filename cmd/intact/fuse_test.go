package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// silent mounts a file system whose server never answers: whoever asks it
// anything waits until the connection ends. With its device closed the
// connection ends, and with it all that waits.
func silent(t *testing.T, dir string) {
	t.Helper()
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	t.Cleanup(func() { dev.Close() })
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", dev.Fd())
	if err := syscall.Mount("silent", dir, "fuse", 0, options); err != nil {
		t.Skipf("FUSE cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH|umountNoFollow) }) // gone with the namespace at the latest
}

// A check must end though a mount hangs, say so, and verify the rest.
func TestHangingMount(t *testing.T) {
	if !mountable() {
		t.Skip("nothing can be mounted here: not root, or not allowed")
	}
	// known: the mount hangs when the baseline is made.
	for name, known := range map[string]bool{"known": true, "new": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tree, mnt := filepath.Join(dir, "tree"), filepath.Join(dir, "tree", "mnt")
			policy := fmt.Sprintf("version: 1\npaths: [{path: %q, attributes: config}]\nfilesystems: {skip: []}\n", tree)
			write(t, filepath.Join(dir, "policy.yaml"), policy)
			write(t, filepath.Join(tree, "before"), "x")
			write(t, filepath.Join(tree, "zz-behind"), "x")
			hang := func() {
				if err := os.Mkdir(mnt, 0o755); err != nil {
					t.Fatal(err)
				}
				silent(t, mnt)
			}
			if known {
				hang()
			}
			// A gap of the moment in a baseline is said by the status of init.
			exit := 0
			if known {
				exit = 3
			}
			runHanging(t, dir, exit, "init")
			want := []string{"gap " + mnt + " time-out known"}
			exit = 0
			if !known {
				hang()
				want = []string{"finding mount.added " + mnt, "gap " + mnt + " time-out new"}
				exit = 3
			}
			same(t, runHanging(t, dir, exit, "check", "--fail-on=critical"), want)

			// A file beside it is verified while it hangs.
			write(t, filepath.Join(tree, "zz-behind"), "changed")
			want = append([]string{"finding fim.content " + filepath.Join(tree, "zz-behind")}, want...)
			same(t, runHanging(t, dir, 1, "check"), want)
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// runHanging runs a command and returns the findings and gaps of its report.
func runHanging(t *testing.T, dir string, want int, args ...string) (list []string) {
	t.Helper()
	flags := []string{"--state", filepath.Join(dir, "state"), "--config", filepath.Join(dir, "policy.yaml"), "--hang-timeout", "500ms", "--format=json"}
	cmd := exec.Command("intact", append(args, flags...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the status tells
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("%q exited with %d, want %d: %s%s", args, got, want, out.String(), errs.String())
	}
	for line := range bytes.Lines(out.Bytes()) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Type == "finding":
			list = append(list, "finding "+r.Rule+" "+r.Subject.Path)
		case r.Type == "gap" && r.Known:
			list = append(list, "gap "+r.Subject.Path+" "+r.Reason+" known")
		case r.Type == "gap":
			list = append(list, "gap "+r.Subject.Path+" "+r.Reason+" new")
		}
	}
	return list
}
