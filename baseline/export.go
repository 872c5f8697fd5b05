package baseline

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode"
	"unicode/utf8"

	"intact/baseline/diff"
	"intact/scanner/entry"
)

// An export is a generation as JSON Lines: header, policy, sets, rows, parts of
// directories, trailer; rows and parts in the order of their keys. It says all
// that the root covers: packing it again gives the same root.
//
// A byte string that is not printable UTF-8 stands in a second field, named
// with _b64, as base64; the plain field then holds it escaped, for people.
// There is one spelling of each line: ReadExport refuses every other.
const (
	lineHeader  = "header"
	linePolicy  = "policy"
	lineSets    = "sets"
	lineRow     = "row"
	lineDir     = "dir"
	lineTrailer = "trailer"
)

type jsonHeader struct {
	Type      string `json:"type"`
	Format    string `json:"format"`
	Statement string `json:"statement"`
	Signature string `json:"signature,omitempty"` // of the statement
}

type jsonPolicy struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	TextB64 string `json:"text_b64,omitempty"`
}

type jsonSets struct {
	Type string    `json:"type"`
	Sets []jsonSet `json:"sets"`
}

type jsonSet struct {
	Attributes    []string `json:"attributes"`
	DirAttributes []string `json:"dir_attributes"`
	Log           bool     `json:"log,omitempty"`
	Sweep         bool     `json:"sweep,omitempty"`
}

type jsonRow struct {
	Type     string `json:"type"`
	Kind     string `json:"kind"`
	KindB64  string `json:"kind_b64,omitempty"`
	Key      string `json:"key"`
	KeyB64   string `json:"key_b64,omitempty"`
	Value    string `json:"value"`
	ValueB64 string `json:"value_b64,omitempty"`
}

type jsonDir struct {
	Type    string      `json:"type"`
	Path    string      `json:"path"`
	PathB64 string      `json:"path_b64,omitempty"`
	Part    uint32      `json:"part,omitempty"`
	Next    string      `json:"next,omitempty"`
	NextB64 string      `json:"next_b64,omitempty"`
	Entries []jsonEntry `json:"entries"`
}

type jsonTrailer struct {
	Type        string `json:"type"`
	Root        string `json:"root"`
	Directories int64  `json:"directories"`
	Entries     int64  `json:"entries"`
}

// Export writes g to w.
func (g *Generation) Export(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(w, 256<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	err := g.export(ctx, enc.Encode)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("export baseline: %w", err)
	}
	return nil
}

func (g *Generation) export(ctx context.Context, line func(any) error) error {
	if err := line(jsonHeader{lineHeader, fileFormat, string(g.st.Text()), string(g.armor)}); err != nil {
		return err
	}
	p := jsonPolicy{Type: linePolicy}
	p.Text, p.TextB64 = textOf(g.policy)
	if err := line(p); err != nil {
		return err
	}
	if err := line(jsonSetsOf(g.sets)); err != nil {
		return err
	}
	for r, err := range g.rows() {
		if err == nil {
			err = line(jsonRowOf(r))
		}
		if err != nil {
			return err
		}
	}
	for b, err := range g.Entries() {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			err = line(jsonDirOf(b))
		}
		if err != nil {
			return err
		}
	}
	return line(jsonTrailer{lineTrailer, g.root.Named(), g.st.Directories, g.st.Entries})
}

func jsonSetsOf(sets entry.Sets) jsonSets {
	j := jsonSets{Type: lineSets, Sets: []jsonSet{}}
	for _, s := range sets {
		j.Sets = append(j.Sets, jsonSet{namesOf(s.Mask), namesOf(s.DirMask), s.Log, s.Sweep})
	}
	return j
}

func jsonRowOf(r diff.Row) jsonRow {
	j := jsonRow{Type: lineRow}
	j.Kind, j.KindB64 = textOf([]byte(r.Kind))
	j.Key, j.KeyB64 = textOf(r.Key)
	j.Value, j.ValueB64 = textOf(r.Value)
	return j
}

func jsonDirOf(b *entry.Block) jsonDir {
	j := jsonDir{Type: lineDir, Part: b.Part, Entries: make([]jsonEntry, len(b.Entries))}
	j.Path, j.PathB64 = textOf([]byte(b.Dir))
	j.Next, j.NextB64 = textOf(b.Next)
	for i := range b.Entries {
		j.Entries[i] = jsonEntryOf(&b.Entries[i])
	}
	return j
}

func namesOf(a entry.Attr) []string {
	names := []string{}
	for _, r := range a.Rows() {
		names = append(names, r.Name)
	}
	return names
}

// textOf returns b as itself if it is printable, else escaped and as base64.
func textOf(b []byte) (plain, b64 string) {
	if printable(b) {
		return string(b), ""
	}
	q := strconv.QuoteToASCII(string(b))
	return q[1 : len(q)-1], base64.StdEncoding.EncodeToString(b)
}

// printable allows line feeds: a policy is a text.
func printable(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) && r != '\n' {
			return false
		}
		b = b[n:]
	}
	return true
}

// bytesOf is the inverse of textOf. Whether plain is the right escape shows
// when the line is written again.
func bytesOf(plain, b64 string) ([]byte, error) {
	if b64 == "" {
		return []byte(plain), nil
	}
	return base64.StdEncoding.DecodeString(b64)
}
