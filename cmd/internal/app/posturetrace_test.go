package app

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"intact/rules/facts/facttest"
)

// straces reports whether a process may be traced here.
func straces() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return err
	}
	out, err := exec.Command("strace", "-f", "--seccomp-bpf", "-qq", "-y", "-o", os.DevNull, "-e", "trace=%file", "/bin/true").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// An image is judged without a look at the host that judges it: whatever the files
// of the image lead to, each path that a system call names or opens lies in the
// image, or is the program's own.
func TestImageAlone(t *testing.T) {
	if err := straces(); err != nil {
		t.Skip("SKIPPED: needs strace: ", err)
	}
	files := weakImage()
	maps.Copy(files, map[string]string{
		"etc/ssh/sshd_config.d/60-out.conf": facttest.Link("/etc/hostname"),
		"etc/ssh/sshd_config.d/61-up.conf":  facttest.Link("../../../../../../../../../../etc/hostname"),
		"etc/apt/apt.conf":                  facttest.Link("/proc/self/environ"),
		"etc/pam.d/other":                   facttest.Link("/proc/self/root/etc/pam.d/other"),
		"etc/systemd/system/out.service":    facttest.Link("/etc/passwd"),
		"home/eve/.ssh/authorized_keys":     facttest.Link("/root/.ssh/authorized_keys"),
		"etc/nsswitch.conf":                 facttest.Link("/proc/1/root/etc/nsswitch.conf"),
	})
	image, err := filepath.EvalSymlinks(imageOf(t, files, nil))
	must(t, err)
	work, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	put(t, filepath.Join(work, "intact.yaml"), "version: 1\npaths: [{path: /nonexistent, attributes: presence}]\nservices: []\n")
	for _, args := range [][]string{{"posture", "--profile", "seed-strict"}, {"rules", "list"}} {
		log := filepath.Join(work, "log")
		cmd := exec.Command("strace", append([]string{"-f", "--seccomp-bpf", "-qq", "-y", "-s", "4096", "-o", log, "-e", "trace=%file,%network", self,
			"--config=" + filepath.Join(work, "intact.yaml"), "--state=" + filepath.Join(work, "state"), "--root=" + image}, args...)...)
		cmd.Env = []string{"INTACT_TEST_CHILD=1", "TZ=UTC", "HOME=" + work, "PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != ExitClean && code != ExitFindings {
			t.Fatalf("%v %s", err, out)
		}
		text, err := os.ReadFile(log)
		must(t, err)
		seen := &traced{image: image, own: []string{work, self, "/proc/self"}}
		inside := 0
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, image+"/etc/") {
				inside++
			}
			if why := seen.wrong(strings.TrimSuffix(line, "\n")); why != "" {
				t.Errorf("%s: %s: %s", args[0], why, line)
			}
		}
		if inside < 20 && args[0] == "posture" {
			t.Errorf("%d calls about the image: what was traced?\n%.2000s", inside, text)
		}
	}
}

// traced judges the lines of a trace.
type traced struct {
	image    string
	own      []string // what is the program's, with all below
	executed bool
}

var (
	callName  = regexp.MustCompile(`^([0-9]+) +(?:<\.\.\. )?([a-z0-9_]+)`)
	shownFile = regexp.MustCompile(`[0-9]<(/[^>]*)>`)
	inQuotes  = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)
	runtimes  = regexp.MustCompile(`^(/dev/null|/etc/ld\.so\..*|(/usr)?/lib(64)?/.*\.so(\.[0-9]+)*|/sys/kernel/mm/transparent_hugepage/.*|/sys/fs/cgroup/.*|/sys/devices/system/cpu/.*|/proc/sys/.*)$`)
)

// pinnedKeys says whom the one who judges believes; an image does not vouch for
// itself.
const pinnedKeys = "/usr/share/keyrings"

// wrong says what is wrong with a line, "" if nothing.
func (s *traced) wrong(line string) string {
	m := callName.FindStringSubmatch(line)
	if m == nil {
		return "" // a signal, or an exit
	}
	if p := "/proc/" + m[1]; !s.executed && m[2] == "execve" {
		s.own = append(s.own, p)
	}
	switch m[2] {
	case "execve":
		if s.executed {
			return "starts a program"
		}
		s.executed = true
	case "socket", "connect", "bind", "sendto", "sendmsg", "recvfrom", "recvmsg":
		return "uses the network"
	}
	for _, f := range shownFile.FindAllStringSubmatch(line, -1) {
		if !s.allowed(f[1], false) {
			return "opens " + f[1]
		}
	}
	// In the image absolute names begin at its root; of links the text is shown too.
	if m[2] == "openat2" && shownFile.MatchString(line) {
		return ""
	}
	for i, q := range inQuotes.FindAllStringSubmatch(line, -1) {
		name := q[1]
		switch {
		case i > 0 && (strings.HasPrefix(m[2], "readlink") || m[2] == "execve"):
		case strings.HasPrefix(name, "/") && !s.allowed(name, strings.Contains(m[2], "stat")):
			return "names " + name
		case slices.Contains(strings.Split(name, "/"), ".."):
			return "goes up by " + name
		}
	}
	return ""
}

// allowed reports whether a path is of the image or the program's own. Folders
// above them may be looked at, to see who may write there, and not opened.
func (s *traced) allowed(p string, look bool) bool {
	p = strings.TrimSuffix(p, " (deleted)")
	for _, dir := range append([]string{s.image, pinnedKeys}, s.own...) {
		if p == dir || strings.HasPrefix(p, dir+"/") || look && (p == "/" || strings.HasPrefix(dir, p+"/")) {
			return true
		}
	}
	return runtimes.MatchString(p)
}
