package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"intact/cmd/internal/config"
	"intact/scanner/policy"
)

// Every block of the README and of docs that a reader could copy carries a
// comment on the line before it that says how it is tested:
//
//	<!-- test: make -->     lines "make TARGET" whose target exists
//	<!-- test: config -->   a configuration file without an error
//	<!-- test: policy -->   a policy without an error
//	<!-- test: run -->      "$ " commands, with their output, in a new folder
//	                        of the file; "…" stands for anything
//	<!-- test: session -->  "$ " commands as root on a copy of this host: what
//	                        they find must be what is shown
//	<!-- test: cron -->     a line of a crontab
//	<!-- test: outside -->  commands; /mnt stands for a disk
//	<!-- no test: WHY -->
type docBlock struct {
	file, mark, lang, text string
	line                   int
}

var docMark = regexp.MustCompile(`^<!-- ((?:no )?test): (.+) -->$`)

// docBlocks reads the fenced blocks of the documents.
func docBlocks(t *testing.T) []docBlock {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []docBlock
	for _, name := range append([]string{"../../README.md"}, files...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var b *docBlock
		last := ""
		for i, l := range strings.Split(string(text), "\n") {
			switch fence, isFence := strings.CutPrefix(l, "```"); {
			case isFence && b == nil:
				b = &docBlock{file: name, lang: fence, line: i + 1}
				if m := docMark.FindStringSubmatch(last); m != nil {
					b.mark = m[2]
					if m[1] != "test" {
						b.mark = "none"
					}
				}
			case isFence:
				out = append(out, *b)
				b = nil
			case b != nil:
				b.text += l + "\n"
			}
			last = l
		}
		if b != nil {
			t.Fatalf("%s:%d: the block does not end", name, b.line)
		}
	}
	if len(out) < 10 {
		t.Fatalf("found %d blocks: the search is broken", len(out))
	}
	return out
}

// each runs do as a test for every block with a mark.
func each(t *testing.T, mark string, do func(t *testing.T, b docBlock)) {
	t.Helper()
	n := 0
	for _, b := range docBlocks(t) {
		if b.mark == mark {
			n++
			t.Run(fmt.Sprintf("%s:%d", filepath.Base(b.file), b.line), func(t *testing.T) { do(t, b) })
		}
	}
	if n == 0 {
		t.Errorf("no block is marked %q", mark)
	}
}

func TestDocsAreMarked(t *testing.T) {
	marks := []string{"make", "config", "policy", "run", "session", "cron", "outside", "none"}
	for _, b := range docBlocks(t) {
		if b.mark == "" && slices.Contains([]string{"sh", "bash", "shell", "console", "yaml"}, b.lang) {
			t.Errorf("%s:%d: nothing says how this block is tested", b.file, b.line)
		}
		if b.mark != "" && !slices.Contains(marks, b.mark) {
			t.Errorf("%s:%d: unknown mark %q", b.file, b.line, b.mark)
		}
	}
}

func TestDocsMake(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	each(t, "make", func(t *testing.T, b docBlock) {
		for l := range strings.Lines(b.text) {
			target, ok := strings.CutPrefix(strings.TrimSpace(l), "make ")
			if !ok || !bytes.Contains(makefile, []byte("\n"+target+":")) {
				t.Errorf("%q: no such target", l)
			}
		}
	})
}

func TestDocsConfig(t *testing.T) {
	each(t, "config", func(t *testing.T, b docBlock) {
		name := filepath.Join(t.TempDir(), "intact.yaml")
		if err := os.WriteFile(name, []byte(b.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(config.Options{File: name, UID: os.Getuid()}); err != nil {
			t.Error(err)
		}
	})
}

func TestDocsPolicy(t *testing.T) {
	each(t, "policy", func(t *testing.T, b docBlock) {
		p, err := policy.Parse("example.yaml", []byte(b.text))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := policy.ParseCanonical(p.Canonical()); err != nil || again.Digest() != p.Digest() {
			t.Errorf("the stored form does not mean the same: %v", err)
		}
		for _, w := range p.Warnings() {
			t.Errorf("a warning: %s", w)
		}
	})
}

// docCommand is one "$ " command of a block with the output that is shown.
type docCommand struct {
	text string
	want []string
}

func docCommands(text string) (list []docCommand) {
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if c, ok := strings.CutPrefix(l, "$ "); ok {
			list = append(list, docCommand{text: c})
			continue
		}
		if len(list) == 0 {
			continue
		}
		last := &list[len(list)-1]
		if c, ok := strings.CutPrefix(l, "> "); ok && len(last.want) == 0 {
			last.text += "\n" + c
			continue
		}
		last.want = append(last.want, l)
	}
	for i := range list {
		list[i].want = trimEmpty(list[i].want)
	}
	return list
}

func trimEmpty(l []string) []string {
	for len(l) > 0 && l[len(l)-1] == "" {
		l = l[:len(l)-1]
	}
	return l
}

const docEdge = "=== the next command ==="

// runDoc runs commands in one shell and returns the output of each.
func runDoc(t *testing.T, dir, prelude string, attr *syscall.SysProcAttr, list []docCommand) [][]string {
	t.Helper()
	var script strings.Builder
	script.WriteString(prelude + "\nrc=0\n")
	for _, c := range list {
		fmt.Fprintf(&script, "echo '%s'\n(exit $rc)\n%s\nrc=$?\n", docEdge, c.text)
	}
	cmd := exec.Command("bash", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "TZ=UTC", "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = attr
	b, err := cmd.CombinedOutput()
	parts := strings.Split(string(b), docEdge+"\n")
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Skipf("cannot run the commands here: %v", err)
	}
	if cmd.ProcessState.ExitCode() == 77 && len(parts) == 1 {
		t.Skipf("cannot make a copy of this host: %s", b)
	}
	if len(parts) != len(list)+1 {
		t.Fatalf("%d of %d commands ran: %v\n%s", len(parts)-1, len(list), err, b)
	}
	var out [][]string
	for _, p := range parts[1:] {
		out = append(out, trimEmpty(strings.Split(p, "\n")))
	}
	return out
}

// byFile puts the blocks with a mark together: those of one document go on in
// one shell.
func byFile(t *testing.T, mark string, do func(t *testing.T, list []docCommand)) {
	t.Helper()
	var names []string
	all := map[string][]docCommand{}
	for _, b := range docBlocks(t) {
		if b.mark == mark {
			if all[b.file] == nil {
				names = append(names, b.file)
			}
			all[b.file] = append(all[b.file], docCommands(b.text)...)
		}
	}
	if len(names) == 0 {
		t.Errorf("no block is marked %q", mark)
	}
	for _, n := range names {
		t.Run(filepath.Base(n), func(t *testing.T) { do(t, all[n]) })
	}
}

func TestDocsRun(t *testing.T) {
	for _, tool := range []string{"bash", "b3sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: the documents' commands need %s", tool)
		}
	}
	byFile(t, "run", func(t *testing.T, list []docCommand) {
		got := runDoc(t, t.TempDir(), "umask 022", nil, list)
		for i, c := range list {
			if !sameOutput(c.want, got[i]) {
				t.Errorf("$ %s\ngot:\n%s\nwant:\n%s", c.text, strings.Join(got[i], "\n"), strings.Join(c.want, "\n"))
			}
		}
	})
}

// sameOutput compares lines; "…" alone stands for any number of lines, inside
// a line for any text.
func sameOutput(want, got []string) bool {
	switch {
	case len(want) == 0:
		return len(got) == 0
	case want[0] == "…":
		return sameOutput(want[1:], got) || len(got) > 0 && sameOutput(want, got[1:])
	case len(got) == 0:
		return false
	}
	line := strings.ReplaceAll(regexp.QuoteMeta(want[0]), "…", ".*")
	return regexp.MustCompile("^"+line+"$").MatchString(got[0]) && sameOutput(want[1:], got[1:])
}

// hostCopy puts layers over the folders that the README's session changes, in
// a mount namespace of its own. Nothing of it is left afterwards.
const hostCopy = `
fail() { echo "$*"; exit 77; }
intact=$(command -v intact) || fail no intact
for f in /etc/shadow /etc/issue /etc/debian_version /etc/cron.daily/dpkg /etc/alternatives/awk /etc/cron.d /etc/nsswitch.conf /etc/pam.d \
	/usr/bin/sort /usr/bin/find /usr/bin/tar /usr/bin/who; do
	[ -e $f ] || fail no $f
done
for c in setcap setfacl sshd; do command -v $c >/dev/null || fail no $c; done
mount --make-rprivate / || fail no private mounts
mount -t proc proc /proc || fail no proc
mount -t tmpfs tmpfs . || fail no tmpfs
hostname web1 || fail no host name
cd "$PWD"
for d in /etc /usr/bin /usr/local/bin /root /var/lib; do
	mkdir -p ./up$d ./work$d
	mount -t overlay overlay -o lowerdir=$d,upperdir=$PWD/up$d,workdir=$PWD/work$d $d || fail no overlay on $d
done
rm -rf /root/.ssh /etc/ssh/ssh_host_* /etc/intact /var/lib/intact
mkdir /root/.ssh here
export HOME=/root
cd here
`

var (
	docFinding = regexp.MustCompile(`^(?:CRITICAL|HIGH|MEDIUM|LOW|INFO) `)
	docCount   = regexp.MustCompile(`^intact: web1: |^Exit \d|^accepted \d+ changes`)
	docVolatil = regexp.MustCompile(`[\d,]+ paths (?:recorded|verified)|; \d+ findings? standing|, with \d+ entr(?:y|ies) more|report [0-9a-f]{16}|, root .*| since \d+ [A-Z][a-z]{2}|/etc/alternatives/awk.*`)
)

// says keeps the lines that tell what a check came to.
func says(lines []string) (out []string) {
	for _, l := range lines {
		if docFinding.MatchString(l) || docCount.MatchString(l) {
			out = append(out, strings.Join(strings.Fields(docVolatil.ReplaceAllString(l, "")), " "))
		}
	}
	return out
}

func TestDocsSession(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: the session of the README needs root")
	}
	// What else listens and runs on the machine of the tests is none of web1's.
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	byFile(t, "session", func(t *testing.T, list []docCommand) {
		got := runDoc(t, t.TempDir(), hostCopy, attr, list)
		for i, c := range list {
			want, have := says(c.want), says(got[i])
			if slices.Contains(c.want, "…") {
				// Findings were left out: those that are shown must be there.
				have = slices.DeleteFunc(have, func(l string) bool { return !slices.Contains(want, l) })
			}
			if !slices.Equal(have, want) {
				t.Errorf("$ %s\ngot:\n%s\nsays %q\nwant %q", c.text, strings.Join(got[i], "\n"), have, want)
			}
			if len(c.want) == 0 && len(got[i]) > 0 {
				t.Errorf("$ %s\nunexpected output:\n%s", c.text, strings.Join(got[i], "\n"))
			}
		}
	})
}

// withFlags lets every intact of a shell work on a small tree of its own.
const withFlags = `set -eu
mkdir host; echo hello >host/file
printf 'version: 1\npaths: [{path: /, attributes: config}]\n' >policy.yaml
intact() { command intact --config policy.yaml --state state "$@"; }
intact --root host init --quiet
`

func TestDocsOutside(t *testing.T) {
	each(t, "outside", func(t *testing.T, b docBlock) {
		text := strings.ReplaceAll(b.text, " /mnt ", " host ")
		text = strings.ReplaceAll(text, "intact baseline", "intact --root host baseline")
		cmd := exec.Command("bash", "-c", withFlags+text)
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte(": clean, ")) {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func TestDocsCron(t *testing.T) {
	each(t, "cron", func(t *testing.T, b docBlock) {
		f := strings.Fields(b.text)
		if len(f) < 8 || filepath.Base(f[6]) != "intact" {
			t.Fatalf("not a line of a crontab: %q", b.text)
		}
		cmd := exec.Command("bash", "-c", withFlags+"intact --root host "+strings.Join(f[7:], " "))
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

var (
	docLink = regexp.MustCompile(`\]\(([^)#:]+)\)`)
	docCode = regexp.MustCompile("`([^`\n]+)`")
	docTest = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]\w*$`)
)

// What the documents point at must be there: files, tests and scripts.
func TestDocsPointAtWhatIs(t *testing.T) {
	var paths []string
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	err := filepath.WalkDir("../..", func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		paths = append(paths, name)
		if strings.HasSuffix(name, "_test.go") {
			text, err := os.ReadFile(name)
			for _, m := range declared.FindAllSubmatch(text, -1) {
				tests[string(m[1])] = true
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("../../*.md")
	more, _ := filepath.Glob("../../docs/*.md")
	for _, name := range append(files, more...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range docLink.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
			}
		}
		for _, m := range docCode.FindAllStringSubmatch(string(text), -1) {
			word := m[1]
			source := strings.HasSuffix(word, ".go") || strings.HasSuffix(word, ".txtar")
			switch {
			case docTest.MatchString(word) && !tests[word]:
				t.Errorf("%s: there is no %s", name, word)
			case source && !slices.ContainsFunc(paths, func(p string) bool { return strings.HasSuffix(p, "/"+word) }):
				t.Errorf("%s: there is no file %s", name, word)
			}
		}
	}
}
