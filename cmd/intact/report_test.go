package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// The report is read here with encoding/json alone: what any reader of the
// format would do.
type record struct {
	Type       string      `json:"type"`
	Format     string      `json:"format"`
	Set        string      `json:"set"`
	Rule       string      `json:"rule"`
	Severity   string      `json:"severity"`
	Change     string      `json:"change"`
	From       string      `json:"from"`
	FromB64    string      `json:"from_b64"`
	Count      int64       `json:"count"`
	Links      []any       `json:"links"`
	Reason     string      `json:"reason"`
	Known      bool        `json:"known"`
	Text       string      `json:"text"`
	Subject    subject     `json:"subject"`
	Attributes []any       `json:"attributes"`
	Exit       int         `json:"exit"`
	Exits      []int       `json:"exits"`
	Counts     countFields `json:"counts"`
}

type subject struct {
	Kind    string `json:"kind"`
	Path    string `json:"path"`
	PathB64 string `json:"path_b64"`
	Name    string `json:"name"`
}

type countFields struct {
	Selected, Verified, Changed, Added, Removed, Renamed, Unverified int64
	KnownGaps                                                        int64 `json:"known_gaps"`
	Findings                                                         map[string]int64
	New, Pending                                                     int64
}

// raw prefers the bytes to what is shown.
func raw(shown, coded string) (string, error) {
	if coded == "" {
		return shown, nil
	}
	b, err := base64.StdEncoding.DecodeString(coded)
	return string(b), err
}

// readout reads a report and checks what holds for all of them. exit is the
// status of the process that printed it, nil where that was another one's.
func readout(ts *testscript.TestScript, text string, exit *string) (list []record) {
	if text == "" {
		return nil
	}
	list = parse(ts, text)
	order := []string{"header", "finding", "gap", "rule", "skip", "note", "trailer"}
	for i, r := range list {
		if at := slices.Index(order, r.Type); at < 0 || i > 0 && at < slices.Index(order, list[i-1].Type) {
			ts.Fatalf("line %d: record %q out of order", i+1, r.Type)
		}
		if i > 0 && r.Type == "finding" && list[i-1].Type == "finding" {
			inOrder(ts, list[i-1], r)
		}
	}
	head, end := list[0], list[len(list)-1]
	if head.Type != "header" || end.Type != "trailer" || head.Format != "intact.report/1" {
		ts.Fatalf("a report goes from header to trailer; this one from %q to %q", head.Type, end.Type)
	}
	tally(ts, list, end)
	if exit != nil && strconv.Itoa(end.Exit) != *exit {
		ts.Fatalf("the trailer says exit %d, the process said %s", end.Exit, *exit)
	}
	if first := append(slices.Clone(end.Exits), 0)[0]; first != end.Exit {
		ts.Fatalf("the trailer says exit %d of %v", end.Exit, end.Exits)
	}
	return list
}

func parse(ts *testscript.TestScript, text string) (list []record) {
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			ts.Fatalf("line %d: %v: %s", i+1, err, line)
		}
		list = append(list, r)
	}
	return list
}

// setOrder is the order of the sets in a report.
var setOrder = []string{"integrity", "packages", "drift", "mounts", "policy", "trust", "baseline", "", "waiver", "attest"}

func inOrder(ts *testscript.TestScript, a, b record) {
	key := func(r record) []byte {
		p, err := raw(r.Subject.Path, r.Subject.PathB64)
		ts.Check(err)
		rank := slices.Index(setOrder, r.Set)
		if rank < 0 {
			rank = slices.Index(setOrder, "") // of rules, by name
		}
		set := fmt.Sprintf("%02d", rank)
		if setOrder[rank] == "" {
			set += r.Set
		}
		return []byte(set + "\x00" + strings.ReplaceAll(p, "/", "\x00"))
	}
	if bytes.Compare(key(a), key(b)) > 0 {
		ts.Fatalf("findings are not sorted: %q before %q", key(a), key(b))
	}
}

// tally holds the counts of the trailer against the equation and the records.
func tally(ts *testscript.TestScript, list []record, end record) {
	c := end.Counts
	if sum := c.Verified + c.Changed + c.Added + c.Removed + c.Renamed + c.Unverified + c.KnownGaps; sum != c.Selected {
		ts.Fatalf("%d paths are selected, %d have an outcome: %+v", c.Selected, sum, c)
	}
	got := map[string]int64{}
	total := int64(0)
	for _, r := range list {
		if r.Type == "finding" {
			got[r.Severity]++
			total++
		}
	}
	for s, n := range c.Findings {
		if got[s] != n {
			ts.Fatalf("the trailer counts %d findings of severity %s, there are %d", n, s, got[s])
		}
	}
	if c.New+c.Pending != total {
		ts.Fatalf("the trailer counts %d new and %d pending of %d findings", c.New, c.Pending, total)
	}
}

// shown writes a name as scripts do: as it is where that is plain, else as a
// Go string; without the work folder in front.
func shown(ts *testscript.TestScript, s string) string {
	s = strings.ReplaceAll(s, ts.Getenv("WORK")+"/", "")
	if strconv.Quote(s) != `"`+s+`"` || strings.Contains(s, " ") || s == "" {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// describe is a finding in one line:
//
//	SET RULE SEVERITY CHANGE SUBJECT [from=PATH] [count=N] [links=PATH,…] [attrs=NAME,…]
func describe(ts *testscript.TestScript, r record) []string {
	change := r.Change
	if change == "" {
		change = "-"
	}
	path, err := raw(r.Subject.Path, r.Subject.PathB64)
	ts.Check(err)
	if path == "" {
		path = r.Subject.Name
	}
	w := []string{r.Set, r.Rule, r.Severity, change, shown(ts, path)}
	if r.From != "" {
		from, err := raw(r.From, r.FromB64)
		ts.Check(err)
		w = append(w, "from="+shown(ts, from))
	}
	if r.Count != 0 {
		w = append(w, fmt.Sprintf("count=%d", r.Count))
	}
	if len(r.Links) > 0 {
		var l []string
		for _, x := range r.Links {
			l = append(l, shown(ts, fmt.Sprint(x)))
		}
		w = append(w, "links="+strings.Join(l, ","))
	}
	var attrs []string
	for _, a := range r.Attributes {
		if m, ok := a.(map[string]any); ok {
			attrs = append(attrs, fmt.Sprint(m["name"]))
		}
	}
	return append(w, "attrs="+strings.Join(attrs, ","))
}

// words splits at blanks that do not stand in a Go string.
func words(s string) (list []string) {
	quoted, word := false, ""
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == ' ' && !quoted:
			if word != "" {
				list = append(list, word)
			}
			word = ""
			continue
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted && i+1 < len(s):
			word += s[i : i+1]
			i++
		}
		word += s[i : i+1]
	}
	if word != "" {
		list = append(list, word)
	}
	return list
}

// agrees holds a description against what a script wants. A subject ~TEXT
// wants TEXT in it; attrs is compared where it is wanted only.
func agrees(got, want []string) bool {
	if !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(w, "attrs=") }) {
		got = slices.DeleteFunc(slices.Clone(got), func(w string) bool { return strings.HasPrefix(w, "attrs=") })
	}
	return slices.EqualFunc(got, want, func(g, w string) bool {
		text, part := strings.CutPrefix(w, "~")
		return g == w || part && strings.Contains(g, strings.Trim(text, `"`))
	})
}

func cmdFindings(ts *testscript.TestScript, args []string) {
	exactly(ts, "finding", args, func(r record) []string { return describe(ts, r) })
}

// cmdGaps wants each gap as PATH "REASON" known|new.
func cmdGaps(ts *testscript.TestScript, args []string) {
	exactly(ts, "gap", args, func(r record) []string {
		path, err := raw(r.Subject.Path, r.Subject.PathB64)
		ts.Check(err)
		known := "new"
		if r.Known {
			known = "known"
		}
		return []string{shown(ts, path), shown(ts, r.Reason), known}
	})
}

// exactly wants the records of one type, in any order, and no others.
func exactly(ts *testscript.TestScript, kind string, args []string, tell func(record) []string) {
	var left [][]string
	list := readout(ts, ts.ReadFile("stdout"), nil)
	if list == nil {
		ts.Fatalf("there is no report in stdout")
	}
	for _, r := range list {
		if r.Type == kind {
			left = append(left, tell(r))
		}
	}
	var missing []string
	for _, a := range args {
		i := slices.IndexFunc(left, func(got []string) bool { return agrees(got, words(a)) })
		if i < 0 {
			missing = append(missing, a)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	var text strings.Builder
	for _, m := range missing {
		fmt.Fprintf(&text, "\nmissing %s: '%s'", kind, m)
	}
	for _, l := range left {
		fmt.Fprintf(&text, "\nnot wanted %s: '%s'", kind, strings.Join(l, " "))
	}
	if text.Len() > 0 {
		ts.Fatalf("the %ss differ:%s", kind, text.String())
	}
}

// jsonHas looks for a record of a type with these values. Keys are joined by
// dots; of a list a number takes the place, a word what has that name. With ~ in
// place of = a part is enough.
func jsonHas(ts *testscript.TestScript, args []string, want bool) {
	if len(args) == 0 {
		ts.Fatalf("usage: jsonhas TYPE KEY=VALUE…")
	}
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			ts.Fatalf("%v: %s", err, line)
		}
		if m["type"] != args[0] || slices.ContainsFunc(args[1:], func(a string) bool { return !holds(ts, m, a) }) {
			continue
		}
		if !want {
			ts.Fatalf("a record has %q: %s", args, line)
		}
		return
	}
	if want {
		ts.Fatalf("no record has %q", args)
	}
}

func holds(ts *testscript.TestScript, m map[string]any, arg string) bool {
	i := strings.IndexAny(arg, "=~")
	if i < 0 {
		ts.Fatalf("%q: want KEY=VALUE or KEY~PART", arg)
	}
	var v any = m
	for k := range strings.SplitSeq(arg[:i], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[k]
		case []any:
			n, err := strconv.Atoi(k)
			if err != nil {
				n = slices.IndexFunc(x, func(e any) bool { m, ok := e.(map[string]any); return ok && m["name"] == k })
			}
			if n < 0 || n >= len(x) {
				return false
			}
			v = x[n]
		default:
			return false
		}
	}
	got, wanted := fmt.Sprint(v), name(ts, arg[i+1:])
	if n, ok := v.(float64); ok {
		got = strconv.FormatFloat(n, 'f', -1, 64)
	}
	return got == wanted || arg[i] == '~' && strings.Contains(got, wanted)
}
