package baseline

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"intact/scanner/digest"
	"intact/scanner/entry"
)

// jsonEntry is one entry of an export. A field that was not read is absent,
// and so is one that the object cannot have; "have" names what was read.
type jsonEntry struct {
	Name      string      `json:"name"`
	NameB64   string      `json:"name_b64,omitempty"`
	Set       uint16      `json:"set"`
	Type      string      `json:"type"`
	Have      []string    `json:"have"`
	Rdev      uint64      `json:"rdev,omitempty"`
	Mode      string      `json:"mode,omitempty"` // octal
	UID       uint32      `json:"uid,omitempty"`
	GID       uint32      `json:"gid,omitempty"`
	Size      int64       `json:"size,omitempty"`
	Mtime     string      `json:"mtime,omitempty"` // seconds since 1970, a dot, nine digits of nanoseconds
	Ctime     string      `json:"ctime,omitempty"`
	Btime     string      `json:"btime,omitempty"`
	Inode     uint64      `json:"inode,omitempty"`
	Nlink     uint32      `json:"nlink,omitempty"`
	Device    uint64      `json:"device,omitempty"`
	Target    string      `json:"target,omitempty"`
	TargetB64 string      `json:"target_b64,omitempty"`
	Content   string      `json:"content,omitempty"`
	Hashed    *int64      `json:"hashed,omitempty"` // bytes under content
	Xattr     []jsonXattr `json:"xattr,omitempty"`
	ACL       *string     `json:"acl_b64,omitempty"`
	DefACL    *string     `json:"default_acl_b64,omitempty"`
	Caps      *string     `json:"caps_b64,omitempty"`
	Label     *string     `json:"selinux_b64,omitempty"`
	Flags     uint32      `json:"flags,omitempty"`
}

type jsonXattr struct {
	Name    string `json:"name"`
	NameB64 string `json:"name_b64,omitempty"`
	Size    uint32 `json:"size"`
	Value   string `json:"value"`
}

func jsonEntryOf(e *entry.Entry) jsonEntry {
	j := jsonEntry{Set: e.Set, Type: e.Kind.String(), Have: namesOf(e.Have), Rdev: e.Rdev}
	j.Name, j.NameB64 = textOf(e.Name)
	if e.Have&entry.Mode != 0 {
		j.Mode = fmt.Sprintf("%04o", e.Mode)
	}
	j.UID, j.GID, j.Size, j.Inode, j.Nlink, j.Device, j.Flags = e.UID, e.GID, e.Size, e.Inode, e.Nlink, e.Device, e.Flags
	for _, t := range []struct {
		bit entry.Attr
		to  *string
		t   entry.Time
	}{{entry.Mtime, &j.Mtime, e.Mtime}, {entry.Ctime, &j.Ctime, e.Ctime}, {entry.Btime, &j.Btime, e.Btime}} {
		if e.Have&t.bit != 0 {
			*t.to = fmt.Sprintf("%d.%09d", t.t.Sec, t.t.Nsec)
		}
	}
	j.Target, j.TargetB64 = textOf(e.Target)
	if e.Have&entry.Content != 0 {
		hashed := e.Hashed
		j.Content, j.Hashed = e.Digest.Named(), &hashed
	}
	for _, x := range e.Xattr {
		name, b64 := textOf(x.Name)
		j.Xattr = append(j.Xattr, jsonXattr{name, b64, x.Size, x.Value.Named()})
	}
	j.ACL, j.DefACL, j.Caps, j.Label = b64Of(e.ACL), b64Of(e.DefACL), b64Of(e.Caps), b64Of(e.Label)
	return j
}

// entry is the inverse of jsonEntryOf. The first error is returned.
func (j *jsonEntry) entry() (e entry.Entry, err error) {
	keep := func(er error) {
		if err == nil {
			err = er
		}
	}
	var er error
	e.Set, e.Rdev = j.Set, j.Rdev
	e.Name, er = bytesOf(j.Name, j.NameB64)
	keep(er)
	var ok bool
	if e.Kind, ok = entry.ParseKind(j.Type); !ok {
		keep(fmt.Errorf("unknown type %q", j.Type))
	}
	e.Have, er = attrsOf(j.Have)
	keep(er)
	if e.Have&entry.Mode != 0 {
		m, er := strconv.ParseUint(j.Mode, 8, 12)
		keep(er)
		e.Mode = uint16(m)
	}
	e.UID, e.GID, e.Size, e.Inode, e.Nlink, e.Device, e.Flags = j.UID, j.GID, j.Size, j.Inode, j.Nlink, j.Device, j.Flags
	for _, t := range []struct {
		bit  entry.Attr
		from string
		t    *entry.Time
	}{{entry.Mtime, j.Mtime, &e.Mtime}, {entry.Ctime, j.Ctime, &e.Ctime}, {entry.Btime, j.Btime, &e.Btime}} {
		if e.Have&t.bit != 0 {
			*t.t, er = timeOf(t.from)
			keep(er)
		}
	}
	if e.Have&entry.Target != 0 {
		e.Target, er = bytesOf(j.Target, j.TargetB64)
		keep(er)
	}
	if e.Have&entry.Content != 0 {
		e.Digest, er = digest.Parse(j.Content)
		keep(er)
		if j.Hashed != nil {
			e.Hashed = *j.Hashed
		}
	}
	for _, x := range j.Xattr {
		name, er := bytesOf(x.Name, x.NameB64)
		keep(er)
		value, er := digest.Parse(x.Value)
		keep(er)
		e.Xattr = append(e.Xattr, entry.Xattr{Name: name, Size: x.Size, Value: value})
	}
	for _, f := range []struct {
		from *string
		to   *[]byte
	}{{j.ACL, &e.ACL}, {j.DefACL, &e.DefACL}, {j.Caps, &e.Caps}, {j.Label, &e.Label}} {
		if f.from != nil {
			*f.to, er = base64.StdEncoding.DecodeString(*f.from)
			keep(er)
		}
	}
	return e, err
}

// b64Of tells nil, which an object without the attribute has, from empty.
func b64Of(b []byte) *string {
	if b == nil {
		return nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return &s
}

func attrsOf(names []string) (a entry.Attr, err error) {
	for _, n := range names {
		bit, ok := entry.ParseAttr(n)
		if n == "btime" {
			bit, ok = entry.Btime, true
		}
		if !ok {
			return 0, fmt.Errorf("unknown attribute %q", n)
		}
		a |= bit
	}
	return a, nil
}

func timeOf(s string) (t entry.Time, err error) {
	sec, nsec, ok := strings.Cut(s, ".")
	n, err1 := strconv.ParseUint(nsec, 10, 30)
	if t.Sec, err = strconv.ParseInt(sec, 10, 64); err != nil || err1 != nil || !ok {
		return t, fmt.Errorf("malformed time %q", s)
	}
	t.Nsec = uint32(n)
	return t, nil
}
