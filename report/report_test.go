package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"intact/rules"
)

func TestEquation(t *testing.T) {
	ok := Trailer{Counts: Counts{Selected: 28, Verified: 1, Changed: 2, Added: 3, Removed: 4, Renamed: 5, Unverified: 6, KnownGaps: 7, Skipped: 99, Bytes: 99}}
	if err := ok.Equation(); err != nil {
		t.Error(err)
	}
	v := reflect.ValueOf(&ok.Counts).Elem()
	for _, name := range []string{"Selected", "Verified", "Changed", "Added", "Removed", "Renamed", "Unverified", "KnownGaps"} {
		f := v.FieldByName(name)
		f.SetInt(f.Int() + 1)
		if err := ok.Equation(); !errors.Is(err, ErrEquation) {
			t.Errorf("one more %s: %v", name, err)
		}
		f.SetInt(f.Int() - 1)
	}
}

func TestEscape(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"/usr/bin/ssh", `/usr/bin/ssh`},
		{"", `""`},
		{"/a b", `/a b`},
		{"/a ", `"/a "`},
		{" /a\"", `" /a\""`},
		{`"x`, `"\"x"`},
		{`/a\n`, `/a\\n`},
		{"/a\n\t\r\x00\x1b\x7f", `/a\n\t\r\x00\x1b\x7f`},
		{"/\xff\xc3", `/\xff\xc3`},
		{"/é日本🙂\u00a0\u0085", `/é日本🙂\u00a0\u0085`},
		{"\u202e\u2066\u200f\u061c\u200b\ufeff", `\u202e\u2066\u200f\u061c\u200b\ufeff`},
		{"/\U000e0041", `/\U000e0041`},
		{"/\ufffd", "/\ufffd"},
	} {
		if got := Escape(c.in); got != c.want {
			t.Errorf("Escape(%q): got %s, want %s", c.in, got, c.want)
		}
	}
}

// Every character that cannot be seen or that moves others is hidden. Marks
// that enclose the number behind them are format characters, but seen.
func TestHiddenCoversUnicode(t *testing.T) {
	for i := 1; i < len(hiddenRanges); i++ {
		if hiddenRanges[i][0] <= hiddenRanges[i-1][1] || hiddenRanges[i][0] > hiddenRanges[i][1] {
			t.Fatalf("range %x is out of order", hiddenRanges[i])
		}
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r == ' ' || r >= 0xd800 && r < 0xe000 || unicode.Is(unicode.Prepended_Concatenation_Mark, r) || r == 0x70f {
			continue
		}
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z, unicode.Bidi_Control, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && !hidden(r) {
			t.Errorf("%U is not hidden", r)
		}
	}
}

// randomName makes names out of everything that has ever been trouble.
func randomName(r *rand.Rand) string {
	pieces := []string{"a", "B", "/", " ", "\n", "\x1b[0m", "\\", "'", `"`, "\xff", "\xc3", "\xed\xa0\x80", "\u202e", "\u2028", "é", "🙂", "\x00", "\x7f", "\u0085", "\ufeff", "*", "?", "[", "$", "`", "!", "~", "-", "\U000e0020", "\ufffd", "\\x41", "\\u0041", "</script>"}
	var b strings.Builder
	for range r.IntN(12) {
		if r.IntN(4) == 0 {
			b.WriteByte(byte(r.Uint32()))
		} else {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
	}
	return b.String()
}

func TestEscapeIsOneToOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[string]string{}
	for range 50000 {
		s := randomName(r)
		e := Escape(s)
		if old, ok := seen[e]; ok && old != s {
			t.Fatalf("%q and %q both give %s", old, s, e)
		}
		seen[e] = s
		if bad := visible(e); bad != "" {
			t.Fatalf("Escape(%q) = %q: %s", s, e, bad)
		}
	}
}

// visible returns what is wrong with s as one line on a terminal.
func visible(s string) string {
	if !utf8.ValidString(s) {
		return "invalid UTF-8"
	}
	for _, r := range s {
		if hidden(r) {
			return fmt.Sprintf("%U", r)
		}
	}
	return ""
}

func TestShellQuote(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"/usr/bin/ssh", "/usr/bin/ssh"},
		{"", "''"},
		{"/a b", "'/a b'"},
		{"it's", `'it'\''s'`},
		{"a\n1", `$'a\n1'`},
		{"\x1b7'\\\xff", `$'\0337\'\\\377'`},
	} {
		if got := ShellQuote(c.in); got != c.want {
			t.Errorf("ShellQuote(%q): got %s, want %s", c.in, got, c.want)
		}
	}
}

func TestShellQuoteInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	r := rand.New(rand.NewPCG(3, 4))
	var script, want bytes.Buffer
	for range 500 {
		s := strings.ReplaceAll(randomName(r), "\x00", "")
		fmt.Fprintf(&script, "printf '%%s\\0' %s\n", ShellQuote(s))
		want.WriteString(s + "\x00")
	}
	cmd := exec.Command(bash)
	cmd.Stdin = &script
	got, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("bash reads other words than were quoted")
	}
}

func randomTexts(r *rand.Rand) []string {
	var l []string
	for range r.IntN(3) {
		l = append(l, randomName(r))
	}
	return l
}

func randomFinding(r *rand.Rand) rules.Finding {
	f := rules.Finding{Set: randomName(r), Rule: randomName(r), Severity: rules.Severity(r.IntN(5)),
		Subject: rules.Subject{Kind: randomName(r), Path: randomName(r), Name: randomName(r)},
		Change:  randomName(r), From: randomName(r), Count: int64(r.IntN(3)), Reasons: randomTexts(r), Attack: randomTexts(r), Links: randomTexts(r), New: r.IntN(2) == 0}
	f.RawSeverity = f.Severity
	if r.IntN(2) == 0 {
		f.Window = randomName(r)
	}
	if r.IntN(2) == 0 {
		f.Explained = &rules.Explanation{Source: randomName(r), Level: []string{"signed", "attributed", "local"}[r.IntN(3)]}
		if r.IntN(2) == 0 {
			f.Explained.Kind, f.Explained.ID, f.Explained.By, f.SHA256 = randomName(r), randomName(r), randomName(r), hex64('8')
		}
		f.RawSeverity = rules.Severity(r.IntN(5))
	}
	if r.IntN(2) == 0 {
		f.FirstSeen = time.Unix(r.Int64N(1<<36), r.Int64N(1e9)).UTC()
	}
	words := []string{"mode", "uid", "gid", "size", "mtime", "content", "acl", "xattr", "type", "odd"}
	for range r.IntN(4) {
		v := rules.Value{Name: words[r.IntN(len(words))], OldKnown: r.IntN(2) == 0, NewKnown: r.IntN(2) == 0}
		if v.OldKnown {
			v.Old = randomName(r)
		}
		if v.NewKnown {
			v.New = randomName(r)
		}
		f.Attributes = append(f.Attributes, v)
	}
	return f
}

// randomReport returns the records and the bytes that were written.
func randomReport(t *testing.T, r *rand.Rand) ([]Record, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	h := header()
	h.ID, h.Root, h.Host, h.Command = fmt.Sprintf("%x", r.Uint64()), "/"+randomName(r), Host{randomName(r), randomName(r), r.Uint64N(3)}, randomTexts(r)
	if r.IntN(2) == 0 {
		h.Boot, h.Signer, h.Checkpoint = Boot{"b" + randomName(r), r.Int64N(1 << 50)}, randomName(r), Checkpoint{r.Uint64N(9), randomName(r)}
		if h.Checkpoint.Seq == 0 {
			h.Checkpoint.Digest = ""
		}
		if n := r.Uint64N(3); n > 0 {
			h.Known = Known{n, randomName(r)}
		}
	}
	recs := []Record{{Header: &h}}
	check := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	check(w.Header(h))
	for range r.IntN(5) {
		f := randomFinding(r)
		recs = append(recs, Record{Finding: &f})
		check(w.Finding(f))
	}
	g := Gap{rules.Subject{Kind: randomName(r), Path: randomName(r)}, randomTexts(r), randomName(r), randomName(r), r.IntN(2) == 0, int64(r.IntN(3))}
	ru, sk, no := Rule{randomName(r), randomName(r), randomName(r), randomName(r)}, Skip{randomName(r), randomName(r)}, Note{Text: randomName(r), Path: randomName(r)}
	if r.IntN(2) == 0 {
		no.Window = &Window{ID: randomName(r), From: t0, To: t0.Add(time.Duration(r.Int64())), Reason: randomName(r)}
	}
	check(w.Gap(g))
	check(w.Rule(ru))
	check(w.Skip(sk))
	check(w.Note(no))
	tr := trailer([]Verdict{Clean, Findings, Incomplete, Untrusted, Failed, Interrupted}[r.IntN(6)], r.IntN(5), w.Tally())
	tr.Reason, tr.Pending = randomName(r), randomName(r)
	check(w.Trailer(tr))
	return append(recs, Record{Gap: &g}, Record{Rule: &ru}, Record{Skip: &sk}, Record{Note: &no}, Record{Trailer: &tr}), b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		want, lines := randomReport(t, r)
		if bad := visible(strings.ReplaceAll(string(lines), "\n", "")); bad != "" {
			t.Fatalf("%s in %s", bad, lines)
		}
		i := 0
		for got, err := range Read(bytes.NewReader(lines)) {
			if err != nil {
				t.Fatalf("%v\n%s", err, lines)
			}
			if !reflect.DeepEqual(got, want[i]) {
				t.Fatalf("record %d: got %+v, want %+v\n%s", i, got, want[i], lines)
			}
			i++
		}
		if i != len(want) {
			t.Fatalf("%d records, want %d", i, len(want))
		}
	}
}

func TestTextIsVisible(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 1000 {
		_, lines := randomReport(t, r)
		o := options()
		o.Verbose = i%2 == 0
		var out strings.Builder
		if err := Text(&out, bytes.NewReader(lines), o); err != nil {
			t.Fatal(err)
		}
		if bad := visible(strings.ReplaceAll(out.String(), "\n", "")); bad != "" {
			t.Fatalf("%s in\n%q", bad, out.String())
		}
		for r, err := range Read(bytes.NewReader(lines)) {
			if err == nil && r.Finding != nil && r.Finding.Subject.Path != "" && (o.Verbose || !stands(r.Finding.Explained, r.Finding.Severity)) && !strings.Contains(out.String(), Escape(r.Finding.Subject.Path)) {
				t.Fatalf("%q is not in\n%s", r.Finding.Subject.Path, out.String())
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := string(build(t, "findings"))
	lines := strings.SplitAfter(good, "\n")
	last := len(lines) - 2
	change := func(old, new string) string {
		if strings.Count(good, old) == 0 {
			t.Fatalf("%s is not there", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"empty":            {"", ErrTruncated},
		"no-trailer":       {strings.Join(lines[:last], ""), ErrTruncated},
		"cut-line":         {good[:len(good)-1], ErrTruncated},
		"behind":           {good + "x", ErrOrder},
		"twice":            {good + good, ErrOrder},
		"no-header":        {strings.Join(lines[1:], ""), ErrOrder},
		"order":            {lines[0] + lines[last-1] + lines[1] + lines[last], ErrOrder},
		"lost-finding":     {lines[0] + strings.Join(lines[2:], ""), ErrTally},
		"unknown-type":     {change(`"type":"skip"`, `"type":"slip"`), ErrFormat},
		"other-format":     {change("intact.report/1", "intact.report/2"), ErrFormat},
		"space":            {change(`"type":"gap",`, `"type":"gap", `), ErrFormat},
		"unknown-field":    {change(`,"known":false`, `,"known":false,"x":1`), ErrFormat},
		"case":             {change(`"known"`, `"Known"`), ErrFormat},
		"number":           {change(`"seq":12`, `"seq":012`), ErrFormat},
		"minus":            {change(`"seq":12`, `"seq":-1`), ErrFormat},
		"huge":             {change(`"seq":12`, `"seq":99999999999999999999`), ErrFormat},
		"escape":           {change(`/usr/bin/wc`, `\u002fusr/bin/wc`), ErrFormat},
		"raw-bidi":         {change(`/usr/bin/wc`, "/usr/bin/\u202ewc"), ErrFormat},
		"surrogate":        {change(`/usr/bin/wc`, `/usr/bin/\ud800`), ErrFormat},
		"invalid-utf8":     {change(`/usr/bin/wc`, "/usr/bin/\xff"), ErrFormat},
		"other-b64":        {change(`"path_b64":"L2V0`, `"path_b64":"L2V1`), ErrFormat},
		"needless-b64":     {change(`"/proc"`, `"/proc","path_b64":"L3Byb2M="`), ErrFormat},
		"time":             {change(`02:00:00.000000005Z`, `02:00:00Z`), ErrFormat},
		"severity":         {change(`"severity":"low"`, `"severity":"lower"`), ErrFormat},
		"verdict":          {change(`"verdict":"findings"`, `"verdict":"fine"`), ErrFormat},
		"raw-severity":     {change(`"raw_severity":"high",`, ``), ErrFormat},
		"changed-severity": {change(`"severity":"critical"`, `"severity":"low"`), ErrTally},
		"too-long":         {lines[0] + strings.Repeat("x", MaxLine) + "\n", ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			for _, err = range Read(strings.NewReader(c.in)) {
			}
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if text := Text(io.Discard, strings.NewReader(c.in), TextOptions{}); text == nil || text.Error() != err.Error() {
				t.Errorf("text: got %v, want %v", text, err)
			}
		})
	}
}

func TestWriterKeepsOrder(t *testing.T) {
	w := NewWriter(io.Discard)
	if err := w.Finding(rules.Finding{}); !errors.Is(err, ErrOrder) {
		t.Errorf("finding before header: %v", err)
	}
	if err := w.Header(header()); !errors.Is(err, ErrOrder) {
		t.Errorf("the first error does not stick: %v", err)
	}
	w = NewWriter(io.Discard)
	w.Header(header())
	w.Gap(Gap{})
	if err := w.Finding(rules.Finding{}); !errors.Is(err, ErrOrder) {
		t.Errorf("finding behind a gap: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for name := range goldens {
		var b bytes.Buffer
		if err := goldens[name](NewWriter(&b)); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var again bytes.Buffer
		w := NewWriter(&again)
		for r, err := range Read(bytes.NewReader(in)) {
			if err != nil {
				return
			}
			rank := 0
			for i, p := range []bool{r.Header != nil, r.Finding != nil, r.Gap != nil, r.Rule != nil, r.Skip != nil, r.Note != nil, r.Trailer != nil} {
				if p {
					rank = i
				}
			}
			if err := w.write(rank, r); err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		if !bytes.Equal(again.Bytes(), in) {
			t.Fatalf("read\n%q\nwrote\n%q", in, again.Bytes())
		}
		var out strings.Builder
		if err := Text(&out, bytes.NewReader(in), options()); err != nil {
			t.Fatal(err)
		}
		if bad := visible(strings.ReplaceAll(out.String(), "\n", "")); bad != "" {
			t.Fatalf("%s in\n%q", bad, out.String())
		}
	})
}

func FuzzRecord(f *testing.F) {
	for name := range goldens {
		var b bytes.Buffer
		if err := goldens[name](NewWriter(&b)); err != nil {
			f.Fatal(err)
		}
		for l := range bytes.Lines(b.Bytes()) {
			f.Add(l[:len(l)-1])
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		rec, rank, err := decode(line, nil)
		if err != nil {
			return
		}
		c := coder{}
		c.record(&rec, kinds[rank])
		if c.err != nil || !bytes.Equal(c.b, line) {
			t.Fatalf("read\n%q\nwrote\n%q, %v", line, c.b, c.err)
		}
		if bad := visible(string(c.b)); bad != "" {
			t.Fatalf("%s in %q", bad, c.b)
		}
	})
}
