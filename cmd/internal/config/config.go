// Package config finds and reads the configuration: which policy is asked for,
// where the state lies, and the few settings that are not policy. It decides
// nothing about what is in force: that comes from the baseline.
//
// The configuration is FILE where --config names one, alone. Otherwise it is
// intact.yaml in /etc/intact, or for a user other than root in
// $XDG_CONFIG_HOME/intact (~/.config/intact), followed by the files *.yaml of
// the folder conf.d beside it in the order of their names. Every file is a
// policy (see scanner/policy) with these further keys:
//
//	state: /var/lib/intact   # absolute
//	fail_on: low             # info, low, medium, high or critical
//	workers: 4               # 1 … 1024
//	max_rate: 50000000       # bytes of content a second
//	nice: 10                 # 0 … 19
//	quick:                   # of check --quick, which no file can ask for
//	  share: 5%              # 1% … 100%
//	  every: 30d             # 1d … 365d
//	reverify:                # of watch
//	  every: 24h             # all of the baseline, 1s … 8760h, or off
//	  past_cache: 5%         # of the files, each time, 0% … 100%
//	reports:                 # what is kept of them
//	  count: 1000            # 2 … 1000000
//	  days: 730              # 1 … 36500
//	signing:
//	  baseline_key: /…       # a key file, or agent, agent:SHA256:…, agent:/….pub
//	  report_key: /…         # the default: keys in the state folder, made by init
//	  trusted_signers: /…    # as ALLOWED SIGNERS of ssh-keygen(1)
//	  revoked_keys: /…       # a KRL or a list of public keys
//	packages:
//	  rpm_keys: [/…]         # files of OpenPGP keys whose packages count as signed
//	  keyrings: [/…]         # OpenPGP keys of archives, the default: DebianKeyring
//	  wait: 15m              # for a running transaction, 0s … 24h
//	accept: signed           # upgrades of packages, without a person; the default: none
//	expect_root: blake3:…    # the root that the baseline must have, or a file with it
//	services:                # what this host is there for
//	  - {name: web, port: 443, proto: tcp, class: public, role: web}
//	posture:
//	  profile: server        # or seed-strict
//	  strict: false          # what fails and stands exits 1 in a check too
//	  probe_ssh: false       # sshd may be asked over loopback what it offers
//	  rules: /…              # folder of rule files; the default: rules.d beside the configuration
//	  waivers: /…            # the default: waivers.yaml beside the configuration
//	require: [ssh.root-login] # rules that must have a verdict: exit 3 without
//
// Paths, excludes, file-system types, services and required rules of all files
// add up, and a path or port that stands twice is an error; of the other keys
// the last file's counts. Where
// intact.yaml does not exist the files of conf.d add to the built-in policy;
// where it exists the built-in policy is out of the game, and a configuration
// without any path is an error.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"intact/rules"
	"intact/scanner/policy"
	"intact/scanner/strict"
)

// The places of the superuser.
const (
	SystemDir   = "/etc/intact"
	SystemState = "/var/lib/intact"
)

const (
	mainFile   = "intact.yaml"
	dropInDir  = "conf.d"
	suffix     = ".yaml"
	maxWorkers = 1024
	maxRate    = 1 << 50
	maxNice    = 19

	quickShare = 5
	quickEvery = 30
	maxEvery   = 365
)

// Options say where to look.
type Options struct {
	File   string // --config: this file alone; "": the usual places
	State  string // --state: before what any file says; "": not given
	UID    int    // effective user id of the process
	System string // folder in the place of SystemDir; "": SystemDir

	// Getenv gives HOME, XDG_CONFIG_HOME and XDG_STATE_HOME; nil: os.Getenv.
	Getenv func(string) string
}

// Config is what the files say, completed with defaults.
type Config struct {
	Policy  *policy.Policy
	State   string         // absolute name of the state folder
	FailOn  rules.Severity // rules.Low unless a file says otherwise
	Workers int            // 0: chosen from the machine
	MaxRate int64          // bytes of content a second, 0: unlimited
	Nice    int            // 0: as the process was started
	Quick   Quick
	Reports Reports
	Signing Signing

	// Reverify is what the files ask for; what is in force the baseline says too.
	Reverify Reverify

	Packages Packages
	Posture  Posture
	Services []Service  // in the order of the files; nil: nobody declared any, empty: there are to be none
	Require  []Required // rules without a verdict of which exit 3

	// Accept says what is accepted without a person: AcceptSigned or "". It is in
	// force only where the baseline says so too.
	Accept string

	// ExpectRoot is a digest of a root, the short form of one, or the absolute
	// name of a file that holds either; "": any root.
	ExpectRoot string

	// Sources are the files that were read, in order. None: Policy is the
	// built-in one and nobody asked for it in particular.
	Sources []string
}

// Quick says how much check --quick reads of what it could trust. That there
// is a quick check is for the command line alone to say.
type Quick struct {
	Share int // percent of it, at random: 1 … 100
	Every int // days after which all of it is read again: 1 … 365
}

// Load reads the configuration. Errors name every fault that was found in any
// of the files, those inside a file as strict.Error with file, line and column;
// they wrap policy.ErrSelectsNothing where there is no path at all. All of
// them are for the user to mend.
//
// The Config is never nil. After an error its Policy is nil, FailOn and Quick are
// the defaults, and the rest is what could be read with certainty, so that a check
// can still run under the baseline's policy; State is "" where no folder
// is known.
func Load(o Options) (*Config, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	standard := Quick{Share: quickShare, Every: quickEvery}
	c := &Config{FailOn: rules.Low, Quick: standard, Reverify: StandardReverify(), Packages: Packages{Wait: standardWait}, Posture: Posture{Profile: Profiles[0]}}
	files, stateErr := c.places(o)
	err := errors.Join(files.err, c.read(files, o.UID))
	if o.State != "" {
		state, absErr := filepath.Abs(o.State)
		c.State, stateErr = state, absErr
	}
	if c.State != "" {
		stateErr = nil // a file named the folder, no default is needed
	}
	if err = errors.Join(err, stateErr); err != nil {
		c.Policy, c.FailOn, c.Quick, c.Accept, c.Reverify = nil, rules.Low, standard, "", StandardReverify()
		return c, err
	}
	return c, nil
}

// files are the names to read.
type files struct {
	names   []string
	builtin bool // the files add to the built-in policy
	err     error
}

// places sets the default state folder and lists the files. The error says why
// there is no default state folder.
func (c *Config) places(o Options) (files, error) {
	if o.UID == 0 {
		c.State = SystemState
		if o.File != "" {
			c.beside(filepath.Dir(o.File))
			return files{names: []string{o.File}}, nil
		}
		if o.System == "" {
			o.System = SystemDir
		}
		c.beside(o.System)
		return list(o.System, o.UID), nil
	}
	state, stateErr := userDir(o.Getenv, "XDG_STATE_HOME", ".local/state")
	c.State = state
	if o.File != "" {
		c.beside(filepath.Dir(o.File))
		return files{names: []string{o.File}}, stateErr
	}
	dir, err := userDir(o.Getenv, "XDG_CONFIG_HOME", ".config")
	if err != nil {
		// Without a home there are no files of a user: the built-in policy.
		return files{builtin: true}, stateErr
	}
	c.beside(dir)
	return list(dir, o.UID), stateErr
}

// userDir returns the folder "intact" in the XDG folder that variable names.
// One that is not absolute counts as not set, as that specification asks.
func userDir(getenv func(string) string, variable, fallback string) (string, error) {
	if dir := getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "intact"), nil
	}
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", fmt.Errorf("find the user's folders: neither %s nor HOME is an absolute path", variable)
	}
	return filepath.Join(home, fallback, "intact"), nil
}

// list returns the files of a configuration folder. A folder that is not there
// has none.
func list(dir string, uid int) (f files) {
	f.builtin = true
	switch err := checkDir(dir, uid); {
	case errors.Is(err, fs.ErrNotExist):
		return f
	case err != nil:
		f.err = err
		return f
	}
	name := filepath.Join(dir, mainFile)
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		f.names, f.builtin = []string{name}, false
	}
	names, err := listDir(filepath.Join(dir, dropInDir), uid)
	f.names = append(f.names, names...)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.err = err
	}
	return f
}

// read reads the files in order. It goes on after an error to find them all.
func (c *Config) read(f files, uid int) error {
	if f.builtin {
		c.Policy = policy.Default()
	}
	var errs []error
	for _, name := range f.names {
		p, err := c.readFile(name, uid)
		if err == nil && c.Policy != nil {
			err = c.Policy.Merge(p)
		} else if err == nil {
			c.Policy = p
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 && c.Policy != nil {
		if err := c.Policy.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s:1:1: %w", strict.Printable(f.names[0]), err))
		}
	}
	return errors.Join(errs...)
}

// readFile takes the settings of one file and returns its policy. Of a file
// that anybody else could have written, nothing is taken.
func (c *Config) readFile(name string, uid int) (*policy.Policy, error) {
	text, err := readTrusted(name, uid)
	if err != nil {
		return nil, err
	}
	c.Sources = append(c.Sources, name)
	return c.take(name, text)
}

// take is readFile with the content at hand.
func (c *Config) take(name string, text []byte) (*policy.Policy, error) {
	root, err := strict.Parse(name, text)
	if root == nil {
		return nil, err
	}
	p := policy.FromNode(root)
	c.settings(root)
	root.Unknown(policy.Keys()...)
	return p, root.Err()
}

// settings takes those that are there and right.
func (c *Config) settings(root *strict.Node) {
	if n := root.Get("state"); n != nil {
		if dir := n.Text(); filepath.IsAbs(dir) && !strings.ContainsRune(dir, 0) {
			c.State = filepath.Clean(dir)
		} else if dir != "" {
			n.Errorf("state folder %s is not an absolute path", strict.Printable(dir))
		}
	}
	if n := root.Get("fail_on"); n != nil {
		if s, err := rules.ParseSeverity(n.Word(severities()...)); err == nil {
			c.FailOn = s
		}
	}
	if v := root.Get("workers").Int(1, maxWorkers); v != 0 {
		c.Workers = int(v)
	}
	if v := root.Get("max_rate").Int(1, maxRate); v != 0 {
		c.MaxRate = v
	}
	if n := root.Get("nice"); n != nil {
		c.Nice = int(n.Int(0, maxNice))
	}
	if n := root.Get("quick"); n != nil && n.IsMap() {
		c.Quick.take(n)
	}
	if n := root.Get("reverify"); n != nil && n.IsMap() {
		c.Reverify.take(n)
	}
	c.trust(root)
	c.packages(root)
	c.posture(root)
}

func (q *Quick) take(n *strict.Node) {
	if v := counted(n.Get("share"), "%", 100); v != 0 {
		q.Share = v
	}
	if v := counted(n.Get("every"), "d", maxEvery); v != 0 {
		q.Every = v
	}
	n.Unknown()
}

// counted reads a number from 1 to most with its unit, in one spelling each. It
// returns 0 where there is none, or a wrong one, which it records.
func counted(n *strict.Node, unit string, most int) int {
	text := n.Text()
	if text == "" && !n.IsText() {
		return 0
	}
	digits, ok := strings.CutSuffix(text, unit)
	v, err := strconv.Atoi(digits)
	if !ok || err != nil || v < 1 || v > most || strconv.Itoa(v) != digits {
		n.Errorf("%s is not between 1%s and %d%s", strict.Printable(text), unit, most, unit)
		return 0
	}
	return v
}

func severities() (words []string) {
	for s := rules.Info; s <= rules.Critical; s++ {
		words = append(words, s.String())
	}
	return words
}
