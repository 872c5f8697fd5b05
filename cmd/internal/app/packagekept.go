package app

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"time"

	"intact/rules"
	"intact/rules/packages"
	"intact/scanner/entry"
)

// keptMemory bounds the findings of packages that are kept in memory until those
// of the sets before them are written, in bytes; the rest is on disk.
const keptMemory = 4 << 20

// keptFinding is what a finding of the set packages has. One is kept as
//
//	uint32 len(key) ‖ key of the path ‖ gob
type keptFinding struct {
	Rule, Kind, Path, Change, From, SHA256, Window string
	Severity, Raw                                  rules.Severity
	Reasons, Attack                                []string
	Explained                                      *rules.Explanation
	FirstSeen                                      time.Time
	New                                            bool
}

// keepFinding gives a finding its history and keeps it until emitPackages.
func (c *check) keepFinding(f *rules.Finding) error {
	c.date(f)
	k := keptFinding{f.Rule, f.Subject.Kind, f.Subject.Path, f.Change, f.From, f.SHA256, f.Window,
		f.Severity, f.RawSeverity, f.Reasons, f.Attack, f.Explained, f.FirstSeen, f.New}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(&k); err != nil {
		return err
	}
	return c.kept.Add(func(dst []byte) []byte {
		key := entry.Path(f.Subject.Path).Key()
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(key)))
		return append(append(dst, key...), b.Bytes()...)
	})
}

// cutKept parts a record into key and gob.
func cutKept(b []byte) (key, rest []byte) {
	n := 4 + int(binary.BigEndian.Uint32(b))
	return b[4:n], b[n:]
}

func compareKept(a, b []byte) int {
	x, _ := cutKept(a)
	y, _ := cutKept(b)
	return bytes.Compare(x, y)
}

func parseKept(b []byte) (f rules.Finding, err error) {
	_, rest := cutKept(b)
	var k keptFinding
	if err := gob.NewDecoder(bytes.NewReader(rest)).Decode(&k); err != nil {
		return f, err
	}
	return rules.Finding{Set: packages.Name, Rule: k.Rule, Severity: k.Severity, RawSeverity: k.Raw,
		Subject: rules.Subject{Kind: k.Kind, Path: k.Path}, Change: k.Change, From: k.From, Reasons: k.Reasons, Attack: k.Attack,
		SHA256: k.SHA256, Window: k.Window, Explained: k.Explained, FirstSeen: k.FirstSeen, New: k.New}, nil
}
