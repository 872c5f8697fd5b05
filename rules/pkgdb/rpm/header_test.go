package rpm

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"intact/rules/pkgdb/pgp"
	"intact/scanner/entry"
)

// The headers of testdata are rows of databases: one package, built by
// rpmbuild, signed by rpmsign with a key of its name, installed by rpm.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parsed(t testing.TB, blob []byte) *Header {
	t.Helper()
	h, err := Parse(blob)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ring(t testing.TB, names ...string) *pgp.Keyring {
	t.Helper()
	k := &pgp.Keyring{}
	for _, n := range names {
		if err := k.Add(fixture(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

var now = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

func TestInfo(t *testing.T) {
	h := parsed(t, fixture(t, "rsa.hdr"))
	p, err := h.Info()
	if err != nil {
		t.Fatal(err)
	}
	if p.Time.Year() < 2026 {
		t.Errorf("installed %v", p.Time)
	}
	p.Time = time.Time{}
	want := Package{Name: "sample", EVR: EVR{2, true, "1.2~rc1", "3"}, Arch: "x86_64", Vendor: "Example", Digests: SHA256, Count: 8, Obsoletes: []string{"older-sample"}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v\nwant %+v", p, want)
	}
	files := map[entry.Path]File{}
	for f, err := range h.Files(&p) {
		if err != nil {
			t.Fatal(err)
		}
		files[f.Path] = f
	}
	all := ^uint32(0)
	for _, w := range []File{
		{Path: "/usr/bin/priv", Mode: 0o104755, Size: 5, Digest: "8d26067c165c471982b55f08ae07dd4f48225465ee38eee576c68d58115df625", User: "root", Group: "root", Caps: "cap_net_raw=ep", Verify: all},
		{Path: "/usr/bin/link", Mode: 0o120777, Size: 4, Target: "tool", User: "root", Group: "root", Verify: all},
		{Path: "/etc/sample.conf", Mode: 0o100644, Size: 5, Digest: "8d0d4c8a1e6ab75ae2f81abf1e1e66ce1ab7be53c7b8f245a41907fc45b3a801", User: "root", Group: "root", Flags: Config | NoReplace, Verify: all},
	} {
		if got := files[w.Path]; got != w {
			t.Errorf("%s: got %+v\nwant %+v", w.Path, got, w)
		}
	}
	if f := files["/var/log/sample.log"]; f.Flags != Ghost || f.Verify&VerifyDigest != 0 {
		t.Errorf("ghost: %+v", f)
	}
	if len(files) != 8 {
		t.Errorf("%d files", len(files))
	}
}

func TestSigned(t *testing.T) {
	late := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, header string
		keys         []string
		at           time.Time
		want         error
	}{
		{"rsa", "rsa.hdr", []string{"rsa.asc"}, now, nil},
		{"ed25519", "ed.hdr", []string{"ed.asc"}, now, nil},
		{"binary-keyring", "rsa.hdr", []string{"ed.asc", "rsa.gpg"}, now, nil},
		{"not-yet-expired", "brief.hdr", []string{"brief.asc"}, now, nil},
		{"expired", "brief.hdr", []string{"brief.asc"}, late, pgp.ErrExpired},
		{"other-key", "rsa.hdr", []string{"ed.asc", "brief.asc"}, now, pgp.ErrUnknownKey},
		{"no-keys", "rsa.hdr", nil, now, ErrNoKeys},
		{"unsigned", "unsigned.hdr", []string{"rsa.asc"}, now, ErrUnsigned},
		{"not-yet-valid", "rsa.hdr", []string{"rsa.asc"}, now.AddDate(-1, 0, 0), pgp.ErrUnusable},
	} {
		h := parsed(t, fixture(t, tt.header))
		s, err := h.Signed(ring(t, tt.keys...), tt.at)
		if !errors.Is(err, tt.want) || (err == nil) != (s.Fingerprint != "") {
			t.Errorf("%s: got %v, %v, want %v", tt.name, s, err, tt.want)
		}
		if err := h.Intact(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// said is what a header says, without what rpm adds when it installs.
func said(h *Header) (p Package, files []File, err error) {
	if p, err = h.Info(); err != nil {
		return p, nil, err
	}
	p.Time = time.Time{}
	for f, err := range h.Files(&p) {
		if err != nil {
			return p, nil, err
		}
		f.State = 0
		files = append(files, f)
	}
	return p, files, nil
}

// A header that differs in one bit is not signed, or says the same.
func TestFlippedBits(t *testing.T) {
	blob, keys := fixture(t, "rsa.hdr"), ring(t, "rsa.asc")
	whole := parsed(t, blob)
	p, files, err := said(whole)
	if err != nil {
		t.Fatal(err)
	}
	passed, broke := 0, 0
	for i := range len(blob) * 8 {
		if i%8 != i/8%8 && i/8 >= introSize+4*entrySize { // one bit of each byte, all of the first
			continue
		}
		b := bytes.Clone(blob)
		b[i/8] ^= 1 << (i % 8)
		h, err := Parse(b)
		if err != nil {
			broke++
			continue
		}
		if _, err := h.Signed(keys, now); err != nil {
			continue
		}
		passed++
		if i/8 >= introSize && i/8 < introSize+whole.nsig*entrySize {
			t.Fatalf("signed with bit %d of the index flipped", i)
		}
		p2, files2, err := said(h)
		if err == nil && (!reflect.DeepEqual(p, p2) || !slices.Equal(files, files2)) {
			t.Fatalf("signed with bit %d flipped: %+v", i, p2)
		}
	}
	if passed == 0 || broke == 0 {
		t.Errorf("%d of the headers are still signed, %d do not parse: the test looks at nothing", passed, broke)
	}
}

// with appends an entry behind the region.
func with(blob []byte, tag, kind, count uint32, data []byte) []byte {
	il, dl := binary.BigEndian.Uint32(blob), binary.BigEndian.Uint32(blob[4:])
	cut := introSize + int(il)*entrySize
	for dl%4 != 0 {
		blob = append(bytes.Clone(blob), 0)
		dl++
	}
	out := binary.BigEndian.AppendUint32(nil, il+1)
	out = binary.BigEndian.AppendUint32(out, dl+uint32(len(data)))
	out = append(out, blob[introSize:cut]...)
	for _, n := range []uint32{tag, kind, dl, count} {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	return append(append(out, blob[cut:]...), data...)
}

// What stands behind the signed region does not borrow its signature.
func TestBeside(t *testing.T) {
	keys := ring(t, "rsa.asc")
	signed := fixture(t, "rsa.hdr")
	if _, err := parsed(t, with(signed, 5999, typeString, 1, []byte("x\x00"))).Signed(keys, now); err != nil {
		t.Errorf("a tag of no meaning: %v", err)
	}
	for _, tag := range content {
		h := parsed(t, with(signed, tag, typeString, 1, []byte("x\x00")))
		if _, err := h.Signed(keys, now); !errors.Is(err, ErrBeside) {
			t.Errorf("tag %d beside: %v", tag, err)
		}
	}
	h := parsed(t, with(signed, tagName, typeString, 1, []byte("other\x00")))
	if p, err := h.Info(); err != nil || p.Name != "other" {
		t.Errorf("rpm goes by what stands last: %+v, %v", p, err)
	}
	if _, err := Parse(with(with(signed, 5999, typeInt8, 1, []byte{1}), 5999, typeInt8, 1, []byte{1})); !errors.Is(err, ErrHeader) {
		t.Errorf("one tag twice: %v", err)
	}
}

// One good signature among several is enough, and each of the others may be of
// nobody; what is no signature takes them all down.
func TestSeveralSignatures(t *testing.T) {
	unsigned := fixture(t, "unsigned.hdr")
	of := func(name string) string { // the same package, signed by another key each
		h := parsed(t, fixture(t, name))
		list, err := h.signatures()
		if err != nil || len(list) != 1 || h.ID() != parsed(t, unsigned).ID() {
			t.Fatalf("%s: %d signatures, %v", name, len(list), err)
		}
		return base64.StdEncoding.EncodeToString(list[0])
	}
	rsa, ed, brief := of("rsa.hdr"), of("ed.hdr"), of("brief.hdr")
	late := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	many := slices.Repeat([]string{ed}, maxSignatures)
	for _, tt := range []struct {
		name string
		list []string
		keys []string
		at   time.Time
		want error
	}{
		{"second", []string{ed, rsa}, []string{"rsa.asc"}, now, nil},
		{"first", []string{rsa, ed}, []string{"rsa.asc"}, now, nil},
		{"both", []string{rsa, ed}, []string{"rsa.asc", "ed.asc"}, now, nil},
		{"none pinned", []string{rsa, ed}, []string{"brief.asc"}, now, pgp.ErrUnknownKey},
		{"no keys", []string{rsa, ed}, nil, now, ErrNoKeys},
		{"expired, and a good one", []string{brief, rsa}, []string{"brief.asc", "rsa.asc"}, late, nil},
		{"expired says more than unknown", []string{ed, brief, rsa}, []string{"brief.asc"}, late, pgp.ErrExpired},
		{"no base64", []string{rsa, "!"}, []string{"rsa.asc"}, now, ErrHeader},
		{"no packet", []string{"AAAA", rsa}, []string{"rsa.asc"}, now, nil},
		{"only rubbish", []string{"AAAA"}, []string{"rsa.asc"}, now, pgp.ErrMalformed},
		{"too many", append(many, rsa), []string{"rsa.asc"}, now, ErrHeader},
	} {
		data := strings.Join(tt.list, "\x00") + "\x00"
		h := parsed(t, with(unsigned, tagOpenPGP, typeStrings, uint32(len(tt.list)), []byte(data)))
		s, err := h.Signed(ring(t, tt.keys...), tt.at)
		if !errors.Is(err, tt.want) || (err == nil) != (s.Fingerprint != "") {
			t.Errorf("%s: got %v, %v, want %v", tt.name, s, err, tt.want)
		}
	}
}

func TestIntact(t *testing.T) {
	blob := fixture(t, "unsigned.hdr")
	i := bytes.Index(blob, []byte("Example"))
	blob[i] = 'X'
	if err := parsed(t, blob).Intact(); !errors.Is(err, ErrOwnDigest) {
		t.Errorf("edited: %v", err)
	}
}

func TestHeaderRefused(t *testing.T) {
	good := fixture(t, "rsa.hdr")
	for n := range good {
		if _, err := Parse(good[:n]); !errors.Is(err, ErrHeader) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
	put := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.BigEndian.PutUint32(b[at:], v)
		return b
	}
	second := introSize + entrySize
	last := introSize + (parsed(t, good).nsig-1)*entrySize + 12
	for name, b := range map[string][]byte{
		"no-entries":       {0, 0, 0, 0, 0, 0, 0, 0},
		"countless":        append([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, make([]byte, 64)...),
		"signature-header": put(introSize, tagSignatures),
		"region-at-end":    put(introSize+8, uint32(len(good))),
		"region-negative":  put(introSize+8, 0x80000000),
		"region-count":     put(introSize+12, 17),
		"region-elsewhere": put(introSize+8, 16),
		"type-null":        put(second+4, 0),
		"type-unknown":     put(second+4, 10),
		"no-values":        put(second+12, 0),
		"many-values":      put(second+12, 0xffffffff),
		"negative-offset":  put(second+8, 0xffffffff),
		"into-trailer":     put(last, binary.BigEndian.Uint32(good[last:])+1),
		"tag-of-region":    put(second, 61),
		"files-outnumber":  with(good, tagFileModes, typeInt16, 1, []byte{0, 0}),
	} {
		h, err := Parse(b)
		if err == nil {
			_, _, err = said(h)
		}
		if !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Names are bytes; what could not be a path is refused.
func TestNames(t *testing.T) {
	good := fixture(t, "unsigned.hdr")
	h := parsed(t, bytes.Replace(good, []byte("sample-data"), []byte("a\x1b[31m\n\xff\xe2\x80\xae"), 1))
	_, files, err := said(h)
	if err != nil || !slices.ContainsFunc(files, func(f File) bool { return f.Path == "/usr/share/a\x1b[31m\n\xff\xe2\x80\xae" }) {
		t.Errorf("hostile name: %v, %+v", err, files)
	}
	if _, _, err := said(parsed(t, bytes.Replace(good, []byte("/usr/bin/"), []byte("xusr/bin/"), 1))); !errors.Is(err, ErrHeader) {
		t.Errorf("relative: %v", err)
	}
	_, files, err = said(parsed(t, bytes.Replace(good, []byte("/usr/bin/"), []byte("/../../b/"), 1)))
	if err != nil || !slices.ContainsFunc(files, func(f File) bool { return f.Path == "/b/tool" }) {
		t.Errorf("dots: %v, %+v", err, files)
	}
}

// Packages of before rpm 4 list whole names, and have no region.
func TestOldHeader(t *testing.T) {
	blob := append([]byte{0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 3, 232, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1}, "old\x00"...)
	blob = with(blob, tagOldFilenames, typeStrings, 2, []byte("/bin/a\x00/bin/b\x00"))
	h := parsed(t, blob)
	p, files, err := said(h)
	if err != nil || p.Name != "old" || p.Digests != MD5 || len(files) != 2 || files[1].Path != "/bin/b" || files[1].Digest != "" {
		t.Errorf("%+v, %+v, %v", p, files, err)
	}
	if _, err := h.Signed(ring(t, "rsa.asc"), now); !errors.Is(err, ErrNoRegion) {
		t.Error(err)
	}
}

// Whatever the bytes are, work is bounded, and a signature vouches for the
// header that it was made for alone.
func FuzzHeader(f *testing.F) {
	for _, n := range []string{"rsa.hdr", "ed.hdr", "md5.hdr", "unsigned.hdr"} {
		f.Add(fixture(f, n))
	}
	f.Add(with(fixture(f, "rsa.hdr"), tagName, typeString, 1, []byte("other\x00")))
	keys := ring(f, "rsa.asc")
	_, want, err := said(parsed(f, fixture(f, "rsa.hdr")))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		h, err := Parse(blob)
		if err != nil {
			if !errors.Is(err, ErrHeader) {
				t.Fatal(err)
			}
			return
		}
		_ = h.Intact()
		_, signErr := h.Signed(keys, now)
		p, files, err := said(h)
		if err != nil && !errors.Is(err, ErrHeader) {
			t.Fatal(err)
		}
		for _, x := range files {
			if !strings.HasPrefix(string(x.Path), "/") || strings.ContainsRune(string(x.Path), 0) {
				t.Fatalf("path %q", x.Path)
			}
		}
		if signErr == nil && err == nil && !p.Digests.Weak() && !slices.Equal(files, want) {
			t.Fatalf("signed: %+v", files)
		}
	})
}
