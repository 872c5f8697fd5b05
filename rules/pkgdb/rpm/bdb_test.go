package rpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// The tables of testdata were made by db_load of the headers beside them, two
// that go on in other pages and one that does not, in pages of 1,024 bytes; rpm
// reads the packages in them.
func TestBerkeley(t *testing.T) {
	small := append([]byte{0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 3, 232, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1}, "old\x00"...)
	want := [][]byte{fixture(t, "rsa.hdr"), fixture(t, "unsigned.hdr"), small}
	slices.SortFunc(want, bytes.Compare)
	for _, name := range []string{"little.bdb", "big.bdb"} {
		got, err := rows(folder{bdbName: fixture(t, name)})
		slices.SortFunc(got, bytes.Compare)
		if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%s: %d headers, %v", name, len(got), err)
		}
	}
}

func TestBerkeleyRefused(t *testing.T) {
	good := fixture(t, "little.bdb")
	for n := range good {
		if got, err := rows(folder{bdbName: good[:n]}); !errors.Is(err, ErrDatabase) {
			t.Fatalf("first %d bytes: %d headers, %v", n, len(got), err)
		}
	}
	for i := range good { // there are no checksums: what is flipped in a header its signature finds
		b := bytes.Clone(good)
		b[i] ^= 0x01
		got, err := rows(folder{bdbName: b})
		if err != nil && !errors.Is(err, ErrDatabase) && !errors.Is(err, ErrHeader) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if len(got) > 3 {
			t.Errorf("byte %d: %d headers", i, len(got))
		}
	}
	const size = 1024
	page := func(kind byte, n int) int { // where the nth page of a kind begins
		for at := size; at < len(good); at += size {
			if good[at+25] == kind {
				if n--; n == 0 {
					return at
				}
			}
		}
		t.Fatalf("no page of type %d", kind)
		return 0
	}
	le, first := binary.LittleEndian, page(bdbOverflow, 1)
	table := 0 // a page with a package that stands elsewhere
	for n := 1; table == 0; n++ {
		at := page(bdbHash, n)
		for i := 1; i < int(le.Uint16(good[at+20:])); i += 2 {
			if item := at + int(le.Uint16(good[at+bdbHead+2*i:])); good[item] == bdbElsewhere {
				table = at
			}
		}
	}
	items := func(b []byte) []byte { return b[table+bdbHead:] }
	elsewhere := func(b []byte) []byte { // the item of a package in a chain
		for i := 1; ; i += 2 {
			if item := table + int(le.Uint16(items(b)[2*i:])); b[item] == bdbElsewhere {
				return b[item:]
			}
		}
	}
	for name, c := range map[string]struct {
		edit func(b []byte)
		want string
	}{
		"a page behind itself":    {func(b []byte) { le.PutUint32(b[first+16:], uint32(first/size)) }, "used twice"},
		"a chain into the table":  {func(b []byte) { le.PutUint32(b[first+16:], uint32(table/size)) }, "not what a package goes on in"},
		"a chain to page 0":       {func(b []byte) { le.PutUint32(elsewhere(b)[4:], 0) }, "ends after 0"},
		"a chain out of the file": {func(b []byte) { le.PutUint32(elsewhere(b)[4:], 1<<31) }, "page 2147483648 of"},
		"an absurd package":       {func(b []byte) { le.PutUint32(elsewhere(b)[8:], 0xffffffff) }, "a package of 4294967295 bytes"},
		"a short package":         {func(b []byte) { le.PutUint32(elsewhere(b)[8:], 1) }, "not what a package goes on in"},
		"a long package":          {func(b []byte) { le.PutUint32(elsewhere(b)[8:], 1<<20) }, "ends after"},
		"an item of duplicates":   {func(b []byte) { elsewhere(b)[0] = 2 }, "an item of kind 2"},
		"countless items":         {func(b []byte) { le.PutUint16(b[table+20:], 0xfffe) }, "65534 items"},
		"an item without a pair":  {func(b []byte) { le.PutUint16(b[table+20:], 1) }, "1 items"},
		"items over each other":   {func(b []byte) { copy(items(b)[2:4], items(b)[:2]) }, "item 1 at"},
		"an item in the head":     {func(b []byte) { le.PutUint16(items(b), 4) }, "item 0 at 4"},
		"absurd pages":            {func(b []byte) { le.PutUint32(b[20:], 1<<30) }, "pages of 1073741824"},
		"crooked pages":           {func(b []byte) { le.PutUint32(b[20:], 1000) }, "pages of 1000"},
		"a last page of 32 bits":  {func(b []byte) { le.PutUint32(b[32:], 0xffffffff) }, "pages of 4294967296"},
		"another table":           {func(b []byte) { b[25] = 9 }, "no hash table"},
		"another version":         {func(b []byte) { b[16] = 11 }, "version 11"},
		"encrypted":               {func(b []byte) { b[24] = 1 }, "encrypted"},
		"with checksums":          {func(b []byte) { b[26] |= bdbChecksum }, "checksums"},
		"another's page":          {func(b []byte) { b[first+8] ^= 0x7f }, "calls itself"},
		"a page of a tree":        {func(b []byte) { b[size+25] = 5 }, "page 1 is of type 5"},
	} {
		b := bytes.Clone(good)
		c.edit(b)
		if _, err := rows(folder{bdbName: b}); !errors.Is(err, ErrDatabase) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzBerkeley(f *testing.F) {
	f.Add(fixture(f, "little.bdb"))
	f.Add(fixture(f, "big.bdb"))
	f.Fuzz(func(t *testing.T, db []byte) {
		got, err := rows(folder{bdbName: db})
		bounded(t, len(db), got, err)
	})
}
