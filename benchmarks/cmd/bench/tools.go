package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// tool is one program that takes a baseline of a tree and checks it. init and
// check are exact commands, run in dir, which is made afresh for each round.
type tool struct {
	id       string // for -peers and file names
	label    string // in the table
	dir      string
	setup    func() error // writes configuration and keys; not measured
	init     []string
	adopt    func() error // makes the new baseline the one to check against; not measured
	check    []string
	tree     string   // for the scenario of changed files, like accept
	accept   []string // takes what the last check found into the baseline
	baseline string   // file or folder whose size is the baseline's
	slow     bool     // takes part in few rounds
}

func (t tool) command(name string, argv []string) command {
	return command{name: name, argv: argv, dir: t.dir}
}

// ownID is the id of the tool that the others are compared with.
const ownID = "intact"

func own(binary, dir, tree string) tool {
	state := filepath.Join(dir, "state")
	return tool{
		id: ownID, label: "**intact**", dir: dir, tree: tree, baseline: state,
		init:   []string{binary, "--state", state, "init", tree},
		check:  []string{binary, "--state", state, "check"},
		accept: []string{binary, "--state", state, "accept", "--all", "--reason", "benchmark"},
	}
}

// peerIDs are the words that -peers takes.
func peerIDs() []string {
	return []string{"aide", "tripwire", "integrit", "hashdeep", "b3sum", "sha256sum"}
}

// slowPeers are those that take so long that one round has to be enough.
func slowPeers() []string { return []string{"aide", "tripwire", "integrit", "hashdeep"} }

// findTool looks in the places of system programs too, which an ordinary
// user's PATH leaves out.
func findTool(name string) (string, bool) {
	if p, err := exec.LookPath(name); err == nil {
		abs, err := filepath.Abs(p)
		return abs, err == nil
	}
	if strings.Contains(name, "/") {
		return "", false
	}
	for _, d := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(d, name)); err == nil {
			return p, true
		}
	}
	return "", false
}

// peers returns the wanted peers that are installed and the names of those
// that are not. On trees of large files b3sum runs in one process too, with two
// threads: that is the fastest known way to hash them.
func peers(wanted, aides []string, work string, on *target) (have []tool, missing []string) {
	for _, id := range wanted {
		names := []string{id}
		if id == "aide" {
			names = aides
		}
		for i, name := range names {
			bin, ok := findTool(name)
			if id == "tripwire" && ok {
				_, ok = findTool("twadmin")
			}
			if !ok {
				missing = append(missing, name)
				continue
			}
			t := peer(id, bin, filepath.Join(work, "run", id+"-"+strconv.Itoa(i+1)), on.path, on.batch())
			t.slow = slices.Contains(slowPeers(), id)
			have = append(have, t)
			if id == "b3sum" && on.large() {
				have = append(have, threads(bin, filepath.Join(work, "run", threadsID), on.path))
			}
		}
	}
	return have, missing
}

func peer(id, bin, dir, tree string, batch int) tool {
	switch id {
	case "aide":
		return aide(bin, dir, tree)
	case "tripwire":
		return tripwire(bin, dir, tree)
	case "integrit":
		return integrit(bin, dir, tree)
	case "hashdeep":
		return hashdeep(bin, dir, tree)
	case "b3sum":
		return sums(id, dir, tree, batch, bin, "--num-threads", "1")
	default:
		return sums(id, dir, tree, batch, bin)
	}
}

func aide(bin, dir, tree string) tool {
	conf := filepath.Join(dir, "aide.conf")
	label := "AIDE"
	// AIDE prints its version to stdout or stderr, depending on the version.
	if b, err := exec.Command(bin, "--version").CombinedOutput(); err == nil {
		if v := regexp.MustCompile(`(?i)^aide,? (?:version )?([0-9][0-9.a-z-]*)`).FindSubmatch(b); v != nil {
			label += " " + string(v[1])
		}
	}
	return tool{
		id: filepath.Base(dir), label: label + ", 2 workers, sha256", dir: dir, baseline: filepath.Join(dir, "db"),
		setup: func() error {
			return writeLines(conf,
				"database_in=file:"+dir+"/db", "database_out=file:"+dir+"/db.new", "gzip_dbout=no",
				"num_workers=2", "log_level=error", "report_url=stdout",
				"R = p+i+n+u+g+s+b+m+c+acl+xattrs+sha256",
				regexp.QuoteMeta(tree)+" R")
		},
		init:  []string{bin, "-c", conf, "--init"},
		adopt: func() error { return os.Rename(dir+"/db.new", dir+"/db") },
		check: []string{bin, "-c", conf, "--check"},
	}
}

func tripwire(bin, dir, tree string) tool {
	conf, policy, db := dir+"/tw.cfg", dir+"/tw.pol", dir+"/tw.twd"
	common := []string{"-c", conf, "-p", policy, "-d", db}
	return tool{
		id: "tripwire", label: "Tripwire, 1 thread, sha1", dir: dir, baseline: db,
		setup: func() error {
			err := writeLines(dir+"/cfg.txt",
				"ROOT="+dir, "POLFILE="+policy, "DBFILE="+db, "REPORTFILE="+dir+"/report.twr",
				"SITEKEYFILE="+dir+"/site.key", "LOCALKEYFILE="+dir+"/local.key", "EDITOR=/bin/true",
				"MAILMETHOD=SENDMAIL", "MAILPROGRAM=/bin/true", "MAILNOVIOLATIONS=false",
				"SYSLOGREPORTING=false", "REPORTLEVEL=3", "EMAILREPORTLEVEL=3")
			if err != nil {
				return err
			}
			if err := writeLines(dir+"/pol.txt", tree+" -> +pinugsbmcS;"); err != nil {
				return err
			}
			admin, _ := findTool("twadmin")
			for _, args := range [][]string{
				{"--generate-keys", "-L", dir + "/local.key", "-S", dir + "/site.key", "-P", "", "-Q", ""},
				{"--create-cfgfile", "-e", "-c", conf, dir + "/cfg.txt"},
				{"--create-polfile", "-e", "-c", conf, "-p", policy, dir + "/pol.txt"},
			} {
				if out, err := exec.Command(admin, args...).CombinedOutput(); err != nil {
					return fmt.Errorf("twadmin %s: %w: %q", args[0], err, out)
				}
			}
			return nil
		},
		init:  append([]string{bin, "--init", "-e"}, common...),
		check: append([]string{bin, "--check", "-s", "-r", dir + "/report.twr"}, common...),
	}
}

func integrit(bin, dir, tree string) tool {
	conf := dir + "/integrit.conf"
	return tool{
		id: "integrit", label: "integrit, 1 thread, rmd160", dir: dir, baseline: dir + "/known.cdb",
		setup: func() error {
			return writeLines(conf, "known="+dir+"/known.cdb", "current="+dir+"/current.cdb", "root="+tree)
		},
		init:  []string{bin, "-C", conf, "-u"},
		adopt: func() error { return os.Rename(dir+"/current.cdb", dir+"/known.cdb") },
		check: []string{bin, "-C", conf, "-c"},
	}
}

func hashdeep(bin, dir, tree string) tool {
	db := dir + "/known"
	return tool{
		id: "hashdeep", label: "hashdeep -j2 sha256, content only", dir: dir, baseline: db,
		init:  []string{"sh", "-c", `exec "$0" -r -j2 -c sha256 "$1" >"$2"`, bin, tree, db},
		check: []string{bin, "-r", "-j2", "-c", "sha256", "-a", "-k", db, tree},
	}
}

// threadsID is the id of b3sum in one process.
const threadsID = "b3sum-threads"

func threads(bin, dir, tree string) tool {
	sums := dir + "/sums"
	return tool{
		id: threadsID, label: "b3sum, 2 threads, content only", dir: dir, baseline: sums,
		init:  []string{"sh", "-c", `find "$1" -type f -print0 | xargs -0 -r "$0" --num-threads 2 >"$2"`, bin, tree, sums},
		check: []string{bin, "--num-threads", "2", "--quiet", "-c", sums},
	}
}

// sums is find | xargs -P2. Each process writes a list of its own: two that
// share a file cut each other's lines. batch is how many files one gets.
func sums(id, dir, tree string, batch int, program ...string) tool {
	const (
		find = `from=$1 n=$2 to=$3; shift 3; find "$from" -type f -print0 | xargs -0 -r -P2 -n "$n" `
		list = find + `sh -c 'exec "$@" >>"$0/$$"' "$to" "$@"`
		test = find + `"$@" --quiet -c`
	)
	lists := dir + "/lists"
	args := func(script, from string, n int) []string {
		return append([]string{"sh", "-c", script, "sh", from, strconv.Itoa(n), lists}, program...)
	}
	return tool{
		id: id, label: "find \\| xargs -P2 " + id + ", content only", dir: dir, baseline: lists,
		setup: func() error { return os.Mkdir(lists, 0o755) },
		init:  args(list, tree, batch),
		check: args(test, lists, min(batch, 8)),
	}
}

func writeLines(file string, lines ...string) error {
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// diskSize returns the bytes of a file, or of all files in a folder.
func diskSize(name string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure baseline: %w", err)
	}
	return sum, nil
}
