package app

import (
	"encoding/hex"
	"time"

	"intact/report"
	"intact/rules/pkgdb"
	"intact/scanner"
	"intact/scanner/entry"
)

// verifyFormat names the lines of verify --format json; docs/verify.md
// describes them.
const verifyFormat = "intact.verify/1"

// change is one attribute that differs, nil where a side has none.
type change struct {
	Name     string  `json:"name"`
	Old      *string `json:"old,omitempty"`
	OldB64   []byte  `json:"old_b64,omitempty"`
	New      *string `json:"new,omitempty"`
	NewB64   []byte  `json:"new_b64,omitempty"`
	label    string
	old, new *string // bytes as they are
}

// changes are what differs from the baseline, in the order of attributes.
func (s *subject) changes() (list []change) {
	if s.look == nil || s.old == nil {
		return nil
	}
	text := func(bit entry.Attr, e *entry.Entry) (raw, shown *string, b64 []byte) {
		t, ok := entry.Text(bit, e)
		if !ok {
			return nil, nil, nil
		}
		sh, b64 := report.Coded(t)
		return &t, &sh, b64
	}
	for _, row := range s.diff.Rows() {
		c := change{Name: row.Name, label: row.Label}
		c.old, c.Old, c.OldB64 = text(row.Bit, s.old)
		c.new, c.New, c.NewB64 = text(row.Bit, &s.look.Entry)
		list = append(list, c)
	}
	return list
}

// jsonName is a byte string of a disk.
type jsonName struct {
	Path    string `json:"path,omitempty"`
	PathB64 []byte `json:"path_b64,omitempty"`
}

func nameOf[T ~string](s T) *jsonName {
	if s == "" {
		return nil
	}
	shown, raw := report.Coded(string(s))
	return &jsonName{shown, raw}
}

type jsonSubject struct {
	Type    string `json:"type"`
	Path    string `json:"path,omitempty"`
	PathB64 []byte `json:"path_b64,omitempty"`
	Verdict string `json:"verdict"`
	Exits   []int  `json:"exits"`

	Real      *jsonName `json:"stands_at,omitempty"`
	Leads     *jsonName `json:"leads_to,omitempty"`
	Kind      string    `json:"kind,omitempty"`
	Target    *jsonName `json:"target,omitempty"`
	Size      *int64    `json:"size,omitempty"`
	Mode      string    `json:"mode,omitempty"`
	UID       *uint32   `json:"uid,omitempty"`
	User      string    `json:"user,omitempty"`
	GID       *uint32   `json:"gid,omitempty"`
	Group     string    `json:"group,omitempty"`
	BLAKE3    string    `json:"blake3,omitempty"`
	SHA256    string    `json:"sha256,omitempty"`
	Setuid    bool      `json:"setuid,omitempty"`
	Setgid    bool      `json:"setgid,omitempty"`
	Caps      string    `json:"capabilities,omitempty"`
	Baseline  jsonBase  `json:"baseline"`
	Package   jsonOwned `json:"package"`
	KnownBad  []jsonHit `json:"known_bad,omitempty"`
	KnownGood []jsonHit `json:"known_good,omitempty"`

	RunBy     []jsonProcess `json:"run_by,omitempty"`
	RunByMore int           `json:"run_by_more,omitempty"`
	Running   *jsonRunning  `json:"running,omitempty"`
	Gaps      []jsonGap     `json:"gaps,omitempty"`
}

type jsonBase struct {
	Verdict    baseState `json:"verdict"`
	Attributes []change  `json:"attributes,omitempty"`
	Missing    []string  `json:"not_in_baseline,omitempty"` // compared by the policy, not read when the baseline was made
	NoContent  bool      `json:"content_unknown,omitempty"`
	LedAway    bool      `json:"led_away,omitempty"`
}

type jsonOwned struct {
	State  pkgdb.State `json:"state"`
	Reason string      `json:"reason,omitempty"`
	Trust  string      `json:"trust,omitempty"`
	Owners []jsonOwner `json:"owners,omitempty"`
	More   int         `json:"more,omitempty"`
}

type jsonOwner struct {
	Package  string `json:"package"`
	Version  string `json:"version,omitempty"`
	Status   string `json:"status,omitempty"`
	Content  string `json:"content"`
	Conffile bool   `json:"conffile,omitempty"`
	Diverted bool   `json:"diverted,omitempty"`

	Level     pkgdb.Level `json:"level,omitempty"`
	Reason    string      `json:"reason,omitempty"`
	Key       string      `json:"key,omitempty"`
	Vendor    string      `json:"vendor,omitempty"`
	Installed *time.Time  `json:"installed,omitempty"`
	Ghost     bool        `json:"ghost,omitempty"`
	Displaced bool        `json:"displaced,omitempty"`
	Differs   []jsonWant  `json:"differs,omitempty"` // besides the content
}

// jsonWant is what a package has and the disk has not.
type jsonWant struct {
	Name    string `json:"name"`
	Want    string `json:"want"`
	WantB64 []byte `json:"want_b64,omitempty"`
}

type jsonHit struct {
	File    string `json:"file"`
	FileB64 []byte `json:"file_b64,omitempty"`
	Line    int    `json:"line"`
}

type jsonProcess struct {
	PID     int    `json:"pid,omitempty"`
	Name    string `json:"name"`
	NameB64 []byte `json:"name_b64,omitempty"`
}

type jsonRunning struct {
	Role      string        `json:"role"`
	OnDisk    bool          `json:"on_disk"` // what runs is the file at path
	Processes []jsonProcess `json:"processes"`
	More      int           `json:"more,omitempty"`
	DiskB3    string        `json:"disk_blake3,omitempty"` // of the file that has the name now
	DiskSHA   string        `json:"disk_sha256,omitempty"`
}

type jsonGap struct {
	Reason     string   `json:"reason"`
	Detail     string   `json:"detail,omitempty"`
	Attributes []string `json:"attributes,omitempty"`
}

func (v *verify) tellJSON(s *subject) error {
	j := jsonSubject{Type: "object", Verdict: string(s.verdict), Exits: append([]int{}, s.codes()...), Package: s.jsonOwned(), RunByMore: s.runMore}
	j.Path, j.PathB64 = report.Coded(string(s.path))
	if s.real != s.path {
		j.Real = nameOf(s.real)
	}
	j.Leads = nameOf(s.leads)
	if s.look != nil && s.look.Entry.Have != 0 {
		v.object(&j, s.look)
	}
	j.Baseline = jsonBase{Verdict: s.base, Attributes: s.changes(), Missing: names(s.unknown), NoContent: s.uncovers, LedAway: s.astray}
	j.KnownBad, j.KnownGood = hits(s.bad), hits(s.good)
	j.RunBy = jsonProcesses(s.runBy)
	if r := s.run; r != nil {
		j.Running = &jsonRunning{Role: r.role, OnDisk: r.here, Processes: jsonProcesses(r.procs), More: r.more}
		if r.other != nil && r.other.Entry.Have&entry.Content != 0 {
			j.Running.DiskB3, j.Running.DiskSHA = r.other.Entry.Digest.String(), hex.EncodeToString(r.other.SHA256[:])
		}
	}
	if s.look != nil {
		for _, g := range s.look.Gaps {
			j.Gaps = append(j.Gaps, jsonGap{string(g.Reason), report.Prose(g.Detail), names(g.Attrs)})
		}
	}
	return v.line(j)
}

func (v *verify) line(record any) error {
	b, err := report.Line(record)
	if err != nil {
		return err
	}
	_, err = v.w.Write(b)
	return err
}

// object fills in what was read of the object itself.
func (v *verify) object(j *jsonSubject, l *scanner.Look) {
	e := &l.Entry
	j.Kind = e.Kind.String()
	j.Mode, _ = entry.Text(entry.Mode, e)
	j.UID, j.GID = &e.UID, &e.GID
	j.User, _ = report.Coded(v.users.User(e.UID))
	j.Group, _ = report.Coded(v.users.Group(e.GID))
	if e.Have&entry.Target != 0 {
		j.Target = nameOf(string(e.Target))
	}
	if e.Kind == entry.File {
		j.Size = &e.Size
		j.Setuid, j.Setgid = e.Mode&0o4000 != 0, e.Mode&0o2000 != 0
	}
	j.Caps, _ = entry.Text(entry.Caps, e)
	if e.Have&entry.Content != 0 {
		j.BLAKE3, j.SHA256 = e.Digest.String(), hex.EncodeToString(l.SHA256[:])
	}
}

func (s *subject) jsonOwned() jsonOwned {
	j := jsonOwned{State: s.pkg.State, Reason: report.Prose(s.pkg.Reason), More: s.pkg.More}
	switch s.pkg.State {
	case "":
		j.State = pkgdb.NotAsked
	case pkgdb.Owned:
		for i := range s.pkg.Owners { // the weakest word counts
			if o := &s.pkg.Owners[i]; i == 0 || o.Level != pkgdb.Signed {
				j.Trust = levelWords(o)
			}
		}
	}
	for i := range s.pkg.Owners {
		o := &s.pkg.Owners[i]
		name, _ := report.Coded(o.Package)
		version, _ := report.Coded(o.Version)
		status, _ := report.Coded(o.Status)
		vendor, _ := report.Coded(o.Vendor)
		jo := jsonOwner{Package: name, Version: version, Status: status, Content: s.content(o), Conffile: o.Conffile, Diverted: o.Diverted,
			Level: o.Level, Reason: report.Prose(o.Why), Key: o.Key, Vendor: vendor, Ghost: o.Ghost, Displaced: o.Displaced}
		if !o.Installed.IsZero() {
			jo.Installed = &o.Installed
		}
		if i < len(s.beside) {
			for _, b := range s.beside[i] {
				shown, raw := report.Coded(b.Want)
				jo.Differs = append(jo.Differs, jsonWant{b.Name, shown, raw})
			}
		}
		j.Owners = append(j.Owners, jo)
	}
	return j
}

func names(a entry.Attr) (out []string) {
	for _, r := range a.Rows() {
		out = append(out, r.Name)
	}
	return out
}

func hits(list []listed) (out []jsonHit) {
	for _, l := range list {
		shown, raw := report.Coded(l.file)
		out = append(out, jsonHit{shown, raw, l.line})
	}
	return out
}

func jsonProcesses(list []process) (out []jsonProcess) {
	for _, p := range list {
		shown, raw := report.Coded(p.name)
		out = append(out, jsonProcess{p.pid, shown, raw})
	}
	return out
}

type jsonEnd struct {
	Type      string           `json:"type"`
	Format    string           `json:"format"`
	Exit      int              `json:"exit"`
	Exits     []int            `json:"exits"`
	Counts    map[string]int64 `json:"counts"`
	Baseline  *jsonGeneration  `json:"baseline,omitempty"`
	Processes int64            `json:"processes,omitempty"`
	Anonymous int64            `json:"anonymous_mappings,omitempty"`
	Special   int64            `json:"device_mappings,omitempty"`
	Denied    int64            `json:"processes_not_read,omitempty"`
	Failed    int64            `json:"mappings_not_read,omitempty"`
	Unasked   int64            `json:"processes_not_asked,omitempty"`
}

type jsonGeneration struct {
	Generation uint64 `json:"generation"`
	Root       string `json:"root"`
}

type jsonFileless struct {
	Type string `json:"type"`
	jsonProcess
	Mappings int64 `json:"anonymous_mappings"`
}

func (v *verify) tellTrailer() error {
	c := &v.running
	for _, f := range c.without {
		if err := v.line(jsonFileless{"process", jsonProcesses([]process{f.process})[0], f.mappings}); err != nil {
			return err
		}
	}
	j := jsonEnd{
		Type: "trailer", Format: verifyFormat, Exit: v.out.Exit(), Exits: append([]int{}, v.out.Exits()...), Counts: map[string]int64{},
		Processes: c.processes, Anonymous: c.anonymous, Special: c.special, Denied: c.denied, Failed: c.failed, Unasked: c.unasked,
	}
	for k, n := range v.counts {
		j.Counts[string(k)] = n
	}
	if v.gen != nil {
		j.Baseline = &jsonGeneration{v.gen.Statement().Generation, v.gen.Root().Named()}
	}
	return v.line(j)
}
