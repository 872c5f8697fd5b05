package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"intact/report"
	"intact/scanner/digest"
)

// tool says which program this is. Its digest is held against the baseline's
// by baseline, when that is verified.
func (d *doctor) tool() {
	d.ok("version", "%s", d.env.Version)
	name, err := os.Readlink("/proc/self/exe")
	switch {
	case err != nil:
		d.note("program", "", "its own file cannot be found: %v", err)
	case strings.HasSuffix(name, " (deleted)"):
		d.problem("program", "run it again by its name", "%q was replaced or deleted since it was started", strings.TrimSuffix(name, " (deleted)"))
	default:
		d.owned("program", name, 0o022)
	}
	if sum := d.toolDigest(); sum == (digest.Digest{}) {
		d.note("digest", "", "the running program cannot be read")
	} else {
		d.ok("digest", "%s", sum.Named())
	}
}

// owned says who owns a file and complains where somebody else than root and
// the user does, or has one of the rights in closed.
func (d *doctor) owned(name, file string, closed uint32) {
	var st unix.Stat_t
	q := report.ShellQuote(file)
	if err := unix.Stat(file, &st); err != nil {
		d.problem(name, "ls -ld "+q, "%q: %v", file, err)
		return
	}
	mode := st.Mode & 0o7777
	switch me := uint32(os.Geteuid()); {
	case st.Uid != 0 && st.Uid != me:
		d.problem(name, fmt.Sprintf("chown %d %s", me, q), "%q belongs to %s", file, d.hostUser(st.Uid))
	case mode&closed != 0:
		d.problem(name, fmt.Sprintf("chmod %04o %s", mode&^closed, q), "%q is open to others: mode %04o", file, mode)
	default:
		d.ok(name, "%q, owner %s, mode %04o", file, d.hostUser(st.Uid), mode)
	}
}

// configuration lists the files that were read and everything that is wrong
// with them.
func (d *doctor) configuration() {
	for _, name := range d.cfg.Sources {
		d.owned("file", name, 0o022)
	}
	if d.cfgErr != nil {
		d.out.Add(ExitUsage)
		// One line for each fault; names in them are quoted.
		for line := range strings.SplitSeq(d.cfgErr.Error(), "\n") {
			fix := "edit it, then run intact policy check"
			switch {
			case strings.Contains(line, "refused: it"):
				fix = "chown it to root and chmod go-w it, after a look at who wrote what into it"
			case strings.HasSuffix(line, syscall.EACCES.Error()):
				fix = "run intact as a user who may read it"
			}
			d.problem("fault", fix, "%s", line)
		}
		d.note("in force", "", "checks go on under the policy of the baseline and exit 2")
		return
	}
	if len(d.cfg.Sources) == 0 {
		d.ok("file", "there is none: the built-in policy is asked for")
	}
	d.ok("policy", "%s asked for, %s; fail_on %s", counted(len(d.cfg.Policy.Rules), "path"), counted(len(d.cfg.Policy.Excludes), "exclude"), d.cfg.FailOn)
	d.ruleFiles()
}

// ruleFiles tells of the files of rules and waivers, where a site has any.
func (d *doctor) ruleFiles() {
	b, w, err := d.book()
	if err != nil {
		for _, one := range joined(err) {
			d.problem("rules", "edit it, then run intact rules list", "%v", one)
		}
		d.out.Add(ExitUsage)
		return
	}
	own, changed := 0, 0
	for _, r := range b.Rules {
		switch {
		case !r.Builtin:
			own++
		case r.Changed != "":
			changed++
		}
	}
	if own+changed > 0 {
		d.ok("rules", "%s of this site in %q, %d built-in changed; intact rules list shows them", counted(own, "rule"), d.cfg.Posture.Rules, changed)
	}
	if w != nil {
		d.ok("waivers", "%s, %s in %q", counted(len(w.List), "waiver"), counted(len(w.Attestations), "attestation"), d.cfg.Posture.Waivers)
	}
}

// maxListed bounds the problems of one kind that are listed one by one.
const maxListed = 20

// state looks at the state folder: owner and modes of it and of what is known
// in it.
func (d *doctor) state() {
	dir := d.store.Dir()
	var st unix.Stat_t
	switch err := unix.Lstat(dir, &st); {
	case errors.Is(err, fs.ErrNotExist):
		d.note("folder", "", "%q does not exist yet: intact init makes it", dir)
		return
	case err != nil:
		d.problem("folder", "run intact as the user it belongs to", "%q: %v", dir, err)
		return
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		to, _ := filepath.EvalSymlinks(dir) // what cannot be followed fails below
		d.note("link", "", "%q is a link to %q", dir, to)
		dir = to
	}
	if err := safeState(dir); err != nil {
		d.out.Add(ExitUsage) // no other command uses it
	}
	d.owned("folder", dir, 0o077)
	c := &stateCensus{doctor: d, top: dir}
	c.folder("")
	if c.more > 0 {
		d.problem("files", "intact doctor again, when those above are mended", "%d more are like that", c.more)
	}
	if len(c.odd) > 0 {
		d.note("foreign", "", "%s in it that intact did not make: %q", counted(len(c.odd), "name"), c.odd[:min(len(c.odd), 5)])
	}
	d.ok("files", "%d of %d have the owner and the mode that they should have", c.good, c.all)
}

// stateCensus goes over the state folder.
type stateCensus struct {
	*doctor
	top       string
	all, good int
	listed    int
	more      int
	odd       []string
}

// allowed returns the most that the mode of a file of the state folder, by its
// name there, should have.
func allowed(rel string, dir bool) (mode uint32, known bool) {
	if dir {
		top, _, _ := strings.Cut(rel, "/")
		return 0o700, rel == "" || top == "former" || rel == "baseline" || rel == "expect" || rel == "inbox" || rel == "indexes" || rel == "keys" || rel == "ledger" || rel == "packages" || rel == "pending" || rel == "reports"
	}
	if stateFile.MatchString(rel) {
		mode, known = 0o600, true
	}
	switch {
	case strings.HasPrefix(rel, "baseline/0") && !strings.HasSuffix(rel, ".tmp"):
		mode = 0o400
	case strings.HasPrefix(rel, "keys/"):
		mode, known = 0o400, true
		if rel == "keys/"+ownSigners || strings.HasSuffix(rel, ".pub") {
			mode = 0o644
		}
	case strings.HasPrefix(rel, "former/"):
		mode, known = 0o600, true
	}
	return mode, known
}

func (c *stateCensus) folder(rel string) {
	list, err := os.ReadDir(filepath.Join(c.top, rel))
	if err != nil {
		c.problem("files", "run intact as the user it belongs to", "%v", err)
	}
	for _, e := range list {
		name := filepath.Join(rel, e.Name())
		mode, known := allowed(name, e.IsDir())
		if !known {
			c.odd = append(c.odd, name)
			continue
		}
		c.file(name, mode)
		if e.IsDir() && strings.Count(name, "/") < 3 {
			c.folder(name)
		}
	}
}

func (c *stateCensus) file(rel string, most uint32) {
	file := filepath.Join(c.top, rel)
	var st unix.Stat_t
	if err := unix.Lstat(file, &st); err != nil {
		return // gone since it was listed
	}
	c.all++
	me, mode, q := uint32(os.Geteuid()), st.Mode&0o7777, report.ShellQuote(file)
	var what, fix string
	switch kind := st.Mode & unix.S_IFMT; {
	case kind != unix.S_IFREG && kind != unix.S_IFDIR:
		what, fix = "is neither a file nor a folder", "look who put it there, then rm "+q
	case st.Uid != me && st.Uid != 0:
		what, fix = "belongs to "+c.hostUser(st.Uid), fmt.Sprintf("chown %d %s", me, q)
	case mode&^most&0o7077 != 0:
		what, fix = fmt.Sprintf("is open to others: mode %04o, not %04o", mode, most), fmt.Sprintf("chmod %04o %s", most, q)
	case mode&^most != 0:
		if c.listed++; c.listed <= maxListed {
			c.note("mode", fmt.Sprintf("chmod %04o %s", most, q), "%q has mode %04o: %04o guards it against a slip", file, mode, most)
		}
		return
	default:
		c.good++
		return
	}
	if c.listed++; c.listed > maxListed {
		c.more++
		return
	}
	c.problem("mode", fix, "%q %s", file, what)
}

// host says whose state folder this is.
func (d *doctor) host() {
	h, err := d.store.Host()
	if errors.Is(err, fs.ErrNotExist) {
		d.note("identity", "", "none yet: intact init makes it")
		return
	}
	if err != nil {
		d.problem("identity", "restore the file from a backup; intact baseline list says what it belongs to", "%v", err)
		d.out.Add(exitOf(err))
		return
	}
	d.ok("identity", "%s, epoch %d", h.ID, h.Epoch)
	if h.Note != "" {
		d.note("epoch", "", "%s", h.Note)
	}
	now := d.machine()
	switch err := d.sameHost(); {
	case err != nil:
		d.problem("machine", "a clone: intact host new-id; the host itself, restored or moved: intact host restored --reason TEXT", "%v", err)
		d.out.Add(ExitTrust)
	case now.ID == (digest.Digest{}) && now.Product == (digest.Digest{}):
		d.note("machine", "", "it has no machine-id and no product UUID that can be read: a clone cannot be told from it")
	default:
		d.ok("machine", "the one that the state folder was made on")
	}
}
