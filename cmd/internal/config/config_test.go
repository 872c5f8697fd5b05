package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"intact/rules"
	"intact/scanner/policy"
	"intact/scanner/strict"
)

// write makes files below a new folder that only the caller can write.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// env is an environment for Options.Getenv.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// asUser returns the options of a user whose XDG folder is dir. Files
// that the test made belong to whoever runs it, so uid is the test's own unless
// that is root.
func asUser(dir string) Options {
	uid := os.Geteuid()
	if uid == 0 {
		uid = 4711 // files of root are trusted for everybody
	}
	return Options{UID: uid, Getenv: env("HOME", "/home/u", "XDG_CONFIG_HOME", dir)}
}

const (
	etc = "version: 1\npaths: [{path: /etc, attributes: config}]\n"
	usr = "version: 1\npaths: [{path: /usr, attributes: binary}]\n"
)

func patterns(p *policy.Policy) (out []string) {
	for _, r := range p.Rules {
		out = append(out, r.Pattern)
	}
	slices.Sort(out)
	return out
}

func TestLoadWithoutFiles(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		want string
	}{
		{"root", Options{UID: 0, System: "/nonexistent"}, "/var/lib/intact"},
		{"root-has-no-xdg", Options{UID: 0, System: "/nonexistent", Getenv: env("XDG_STATE_HOME", "/x")}, "/var/lib/intact"},
		{"user", Options{UID: 9, Getenv: env("HOME", "/nonexistent/u")}, "/nonexistent/u/.local/state/intact"},
		{"user-xdg", Options{UID: 9, Getenv: env("HOME", "/nonexistent/u", "XDG_STATE_HOME", "/nonexistent/s")}, "/nonexistent/s/intact"},
		{"user-xdg-relative", Options{UID: 9, Getenv: env("HOME", "/nonexistent/u", "XDG_STATE_HOME", "s")}, "/nonexistent/u/.local/state/intact"},
		{"user-state", Options{UID: 9, Getenv: env("HOME", "/nonexistent/u"), State: "/s/../t"}, "/t"},
		{"user-without-home", Options{UID: 9, Getenv: env(), State: "/t"}, "/t"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if c.State != tt.want {
				t.Errorf("got state %q, want %q", c.State, tt.want)
			}
			if c.Policy.Digest() != policy.Default().Digest() || len(c.Sources) != 0 || c.FailOn != rules.Low || c.Quick != (Quick{5, 30}) {
				t.Errorf("got policy %q of %q, fail on %v, want the built-in defaults", c.Policy.Name, c.Sources, c.FailOn)
			}
		})
	}
}

func TestLoadNoHome(t *testing.T) {
	c, err := Load(Options{UID: 9, Getenv: env()})
	if err == nil || c.State != "" || !strings.Contains(err.Error(), "XDG_STATE_HOME nor HOME") {
		t.Errorf("got state %q, error %v, want neither state nor success", c.State, err)
	}
}

func TestLoadRelativeState(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{UID: 9, Getenv: env(), State: "s"})
	if want := filepath.Join(dir, "s"); err != nil || c.State != want {
		t.Errorf("got %q, %v, want %q", c.State, err, want)
	}
}

func TestLoadSettings(t *testing.T) {
	dir := write(t, map[string]string{"c.yaml": etc +
		"state: /srv/./intact/\nfail_on: high\nworkers: 3\nmax_rate: 50000000\nnice: 7\nquick: {share: 10%, every: 7d}\nexclude: [/etc/mtab]\n"})
	name := filepath.Join(dir, "c.yaml")
	o := asUser(dir)
	o.File = name
	got, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	if p := got.Policy; !slices.Equal(patterns(p), []string{"/etc"}) || len(p.Excludes) != 1 || p.Excludes[0].Pos.File != name {
		t.Errorf("got policy %+v", p)
	}
	got.Policy = nil
	want := &Config{State: "/srv/intact", FailOn: rules.High, Workers: 3, MaxRate: 50_000_000, Nice: 7, Quick: Quick{10, 7}, Reverify: StandardReverify(), Packages: Packages{Wait: 15 * time.Minute}, Sources: []string{name},
		Posture: Posture{Profile: "server", Rules: filepath.Join(dir, "rules.d"), Waivers: filepath.Join(dir, "waivers.yaml")}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	o.State = "/elsewhere"
	if got, err := Load(o); err != nil || got.State != "/elsewhere" {
		t.Errorf("got state %q, %v, want the one of the command line", got.State, err)
	}
}

func TestLoadPlaces(t *testing.T) {
	def := patterns(policy.Default())
	tests := []struct {
		name    string
		files   map[string]string
		sources []string
		paths   []string
		failOn  rules.Severity
	}{
		{"empty-folder", map[string]string{"intact/conf.d/README": "x"}, nil, def, rules.Low},
		{"main-alone", map[string]string{"intact/intact.yaml": etc}, []string{"intact.yaml"}, []string{"/etc"}, rules.Low},
		{"in-order-of-names", map[string]string{
			"intact/intact.yaml":     etc + "fail_on: critical\n",
			"intact/conf.d/b.yaml":   "version: 1\nfail_on: medium\n",
			"intact/conf.d/a.yaml":   usr + "fail_on: high\n",
			"intact/conf.d/.c.yaml":  "broken: [",
			"intact/conf.d/d.yaml~":  "broken: [",
			"intact/conf.d/e.backup": "broken: [",
		}, []string{"intact.yaml", "conf.d/a.yaml", "conf.d/b.yaml"}, []string{"/etc", "/usr"}, rules.Medium},
		{"paths-in-drop-in-only", map[string]string{
			"intact/intact.yaml":   "version: 1\nworkers: 2\n",
			"intact/conf.d/a.yaml": usr,
		}, []string{"intact.yaml", "conf.d/a.yaml"}, []string{"/usr"}, rules.Low},
		{"drop-in-adds-to-built-in", map[string]string{
			"intact/conf.d/a.yaml": "version: 1\npaths: [{path: /srv/of-its-own, attributes: binary}]\n",
		}, []string{"conf.d/a.yaml"}, append(slices.Clone(def), "/srv/of-its-own"), rules.Low},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, tt.files)
			c, err := Load(asUser(dir))
			if err != nil {
				t.Fatal(err)
			}
			var sources []string
			for _, s := range c.Sources {
				rel, err := filepath.Rel(filepath.Join(dir, "intact"), s)
				if err != nil {
					t.Fatal(err)
				}
				sources = append(sources, rel)
			}
			slices.Sort(tt.paths)
			if !slices.Equal(sources, tt.sources) || !slices.Equal(patterns(c.Policy), tt.paths) || c.FailOn != tt.failOn {
				t.Errorf("got %q %q %v, want %q %q %v", sources, patterns(c.Policy), c.FailOn, tt.sources, tt.paths, tt.failOn)
			}
		})
	}
}

// The folder of root is read in the same way; --config turns it off.
func TestLoadSystem(t *testing.T) {
	dir := write(t, map[string]string{"intact.yaml": etc, "conf.d/a.yaml": "version: 1\nstate: /srv/i\n", "other": usr})
	if os.Geteuid() != 0 {
		if _, err := Load(Options{UID: 0, System: dir}); err == nil {
			t.Error("got nil, want a refusal: the files do not belong to root")
		}
		return
	}
	if c, err := Load(Options{UID: 0, System: dir}); err != nil || c.State != "/srv/i" {
		t.Errorf("got state %q, %v, want /srv/i", c.State, err)
	}
	c, err := Load(Options{UID: 0, System: dir, File: filepath.Join(dir, "other")})
	if err != nil || !slices.Equal(patterns(c.Policy), []string{"/usr"}) || c.State != SystemState {
		t.Errorf("got %+v, %v, want /usr alone", c, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string // parts of the message, DIR is the folder of intact.yaml
		state string   // known in spite of the error
	}{
		{"unknown-key", map[string]string{"intact.yaml": etc + "worker: 3\n"},
			[]string{`DIR/intact.yaml:3:1: unknown key "worker": did you mean "workers"?`}, ""},
		{"several-faults", map[string]string{"intact.yaml": etc + "fail_on: hihg\nnice: 20\nmax_rate: 1.5\nworkers: 0\nstate: var\n"},
			[]string{"yaml:3:10: ", "yaml:4:7: 20 is not between 0 and 19", "yaml:5:11: ", "yaml:6:10: ", "yaml:7:8: state folder var is not an absolute path"}, ""},
		{"fault-in-each-file", map[string]string{"intact.yaml": "version: 2\n", "conf.d/a.yaml": "version: 1\nx: 1\n"},
			[]string{"DIR/intact.yaml:1:10: ", "DIR/conf.d/a.yaml:2:1: unknown key"}, ""},
		{"quick", map[string]string{"intact.yaml": etc + "quick: {share: 0%, every: 366d, always: true}\n"},
			[]string{"yaml:3:16: 0% is not between 1% and 100%", "yaml:3:27: 366d is not between 1d and 365d", `yaml:3:33: unknown key "always"`}, ""},
		{"quick-spelling", map[string]string{"intact.yaml": etc + "quick: {share: 5, every: 12h}\n", "conf.d/a.yaml": "version: 1\nquick: {share: 05%, every: 1000000000000000000000d}\n",
			"conf.d/b.yaml": "version: 1\nquick: true\n", "conf.d/c.yaml": "version: 1\nquick: {share: 101%, every: ''}\n"},
			[]string{"yaml:3:16: want text", "yaml:3:26: 12h is not", "a.yaml:2:16: 05% is not", "a.yaml:2:28: 1000000000000000000000d is not", "b.yaml:2:8: want a mapping", "c.yaml:2:16: 101% is not", `c.yaml:2:29: "" is not`}, ""},
		{"fault-beside-state", map[string]string{"intact.yaml": etc + "state: /srv/x\nbad: 1\n"}, []string{":4:1: "}, "/srv/x"},
		{"broken", map[string]string{"intact.yaml": "paths: [\n"}, []string{"DIR/intact.yaml:"}, ""},
		{"not-a-map", map[string]string{"intact.yaml": "- a\n"}, []string{"DIR/intact.yaml:1:1: want a mapping"}, ""},
		{"no-paths", map[string]string{"intact.yaml": "version: 1\nfail_on: high\n"},
			[]string{"DIR/intact.yaml:1:1: the policy selects nothing"}, ""},
		{"twice-in-two-files", map[string]string{"intact.yaml": etc, "conf.d/a.yaml": etc},
			[]string{"DIR/conf.d/a.yaml:2:16: path /etc stands twice, first at DIR/intact.yaml:2:16"}, ""},
		{"yml", map[string]string{"intact.yaml": etc, "conf.d/a.yml": usr}, []string{`the name of "a.yml" must end in .yaml`}, ""},
		{"main-is-folder", map[string]string{"intact.yaml/x": ""}, []string{`"DIR/intact.yaml": not a regular file`}, ""},
		{"conf.d-is-file", map[string]string{"intact.yaml": etc, "conf.d": ""}, []string{`"DIR/conf.d": not a directory`}, ""},
		{"too-long", map[string]string{"intact.yaml": etc + strings.Repeat("#\n", strict.MaxSize/2)}, []string{"more than the limit"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			for name, text := range tt.files {
				files["intact/"+name] = text
			}
			dir := write(t, files)
			c, err := Load(asUser(dir))
			if err == nil {
				t.Fatalf("got %+v, want an error", c)
			}
			for _, want := range tt.want {
				if want = strings.ReplaceAll(want, "DIR", filepath.Join(dir, "intact")); !strings.Contains(err.Error(), want) {
					t.Errorf("got error %q, want %q in it", err, want)
				}
			}
			if tt.state == "" {
				tt.state = "/home/u/.local/state/intact"
			}
			if c.Policy != nil || c.State != tt.state || c.FailOn != rules.Low || c.Quick != (Quick{5, 30}) {
				t.Errorf("got policy %v, state %q, fail on %v, want nil, %q, low", c.Policy, c.State, c.FailOn, tt.state)
			}
			if tt.name == "no-paths" && !errors.Is(err, policy.ErrSelectsNothing) {
				t.Errorf("got %v, want ErrSelectsNothing", err)
			}
		})
	}
}

func TestLoadExplicitFile(t *testing.T) {
	dir := write(t, map[string]string{"good.yaml": etc, "conf.d/a.yaml": "broken: [", "intact/intact.yaml": usr})
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	o := asUser(dir)
	o.File = filepath.Join(dir, "good.yaml")
	if c, err := Load(o); err != nil || !slices.Equal(patterns(c.Policy), []string{"/etc"}) {
		t.Errorf("got %+v, %v, want the named file alone", c, err)
	}
	for name, want := range map[string]string{
		"missing": "no such file or directory", "fifo": "not a regular file", ".": "not a regular file", "x\n\x1b": `x\n\x1b`,
	} {
		o.File = filepath.Join(dir, name)
		_, err := Load(o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%q: got %v, want %q", name, err, want)
		}
	}
	o.File = filepath.Join(dir, "missing")
	if _, err := Load(o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// Whoever may write the configuration decides what is checked.
func TestLoadRefusesWhatOthersCanWrite(t *testing.T) {
	for _, name := range []string{"intact/intact.yaml", "intact", "intact/conf.d", "intact/conf.d/a.yaml"} {
		dir := write(t, map[string]string{"intact/intact.yaml": etc + "state: /srv/x\n", "intact/conf.d/a.yaml": "version: 1\nstate: /srv/y\n"})
		if _, err := Load(asUser(dir)); err != nil {
			t.Fatal(err)
		}
		full := filepath.Join(dir, name)
		info, err := os.Stat(full)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(full, info.Mode()|0o002); err != nil {
			t.Fatal(err)
		}
		c, err := Load(asUser(dir))
		if err == nil || !strings.Contains(err.Error(), "can be written by everybody") {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
		if strings.HasSuffix(name, "intact.yaml") && slices.Contains(c.Sources, full) {
			t.Errorf("%s: was read", name)
		}
	}
}

type info struct {
	mode fs.FileMode
	sys  any
}

func (i info) Name() string       { return "x" }
func (i info) Size() int64        { return 0 }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return i.sys }

func TestUntrusted(t *testing.T) {
	tests := []struct {
		name  string
		mode  fs.FileMode
		owner uint32
		uid   int
		want  string
	}{
		{"root-for-root", 0o644, 0, 0, ""},
		{"root-for-user", 0o640, 0, 9, ""},
		{"own", 0o600, 9, 9, ""},
		{"group", 0o664, 9, 9, ""},
		{"user-for-root", 0o600, 9, 0, "belongs to user 9"},
		{"other-user", 0o600, 8, 9, "belongs to user 8"},
		{"everybody", 0o646, 0, 0, "written by everybody (mode 0646)"},
		{"sticky-folder", fs.ModeDir | fs.ModeSticky | 0o777, 0, 0, "written by everybody (mode 0777)"},
		{"highest-uid", 0o600, 1<<32 - 1, -1, "belongs to user 4294967295"},
	}
	for _, tt := range tests {
		got := untrusted(info{tt.mode, &syscall.Stat_t{Uid: tt.owner}}, tt.uid)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	if untrusted(info{0o600, nil}, 0) == "" {
		t.Error("a file without an owner was trusted")
	}
}

// Whatever the text: no panic, no setting out of range, printable errors.
func FuzzTake(f *testing.F) {
	for _, s := range []string{
		"", etc, etc + "state: /srv\nfail_on: high\nworkers: 3\nmax_rate: 5\nnice: 7\nquick: {share: 1%, every: 365d}\n",
		etc + "quick: {share: {}, every: -1d}\n", "quick: [5%]",
		etc + "state: [a]\nfail_on: {}\nworkers: -1\nmax_rate: 99999999999999999999\nnice: x\n",
		etc + "state: \"/a\\0b\"\n", "- a", "a: &x\nb: *x", "state: \x00", "workers: 3\nworkers: 4",
		etc + "services: [{name: a, port: 1, class: public}, {name: a, port: 1, class: public}, 7, {}]\nrequire: [a, 7]\nposture: {profile: x, strict: 1, probe_ssh: yes, rules: a, waivers: {}}\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := new(Config)
		_, err := c.take("f", text)
		if c.State != "" && !filepath.IsAbs(c.State) || strings.ContainsRune(c.State, 0) {
			t.Errorf("got state %q", c.State)
		}
		if c.Workers < 0 || c.Workers > maxWorkers || c.MaxRate < 0 || c.MaxRate > maxRate || c.Nice < 0 || c.Nice > maxNice || c.FailOn > rules.Critical ||
			c.Quick.Share < 0 || c.Quick.Share > 100 || c.Quick.Every < 0 || c.Quick.Every > maxEvery {
			t.Errorf("got %+v", c)
		}
		if err != nil && strings.ContainsFunc(strings.ReplaceAll(err.Error(), "\n", ""), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("got unprintable error %q", err)
		}
	})
}
