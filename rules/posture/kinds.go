package posture

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"intact/scanner/strict"
)

// Kind is a kind of fact that rules can ask for.
type Kind struct {
	Name   string       // in expressions: net.listeners
	Row    reflect.Type // a struct with cel tags, or map[string]string
	Single bool         // there is one row: the fact is it, not a list
	About  string       // what it is, for docs
}

// compared is a row that takes part in the baseline: its evidence is what the
// baseline compares.
type compared interface{ Compared() string }

var (
	kindName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)
	timeType = reflect.TypeFor[time.Time]()
	wordsMap = reflect.TypeFor[map[string]string]()
)

// checkKinds refuses what expressions or fixtures could not hold.
func checkKinds(kinds []Kind) error {
	seen := map[string]reflect.Type{}
	names := map[string]bool{}
	for _, k := range kinds {
		if !kindName.MatchString(k.Name) || names[k.Name] || reserved[k.Name] {
			return fmt.Errorf("kind of fact %q: not a name, or there twice", k.Name)
		}
		names[k.Name] = true
		if k.Row == wordsMap && k.Single {
			continue
		}
		if k.Row == nil || k.Row.Kind() != reflect.Struct {
			return fmt.Errorf("kind of fact %q: rows of type %v", k.Name, k.Row)
		}
		if err := checkRow(k.Row, seen, 0); err != nil {
			return fmt.Errorf("kind of fact %q: %w", k.Name, err)
		}
	}
	before := ""
	for _, n := range slices.Sorted(maps.Keys(names)) { // no byte of a name sorts before the dot
		if before != "" && strings.HasPrefix(n, before+".") {
			return fmt.Errorf("kind of fact %q: %q is one too", n, before)
		}
		before = n
	}
	return nil
}

// reserved are names that expressions have besides facts.
var reserved = map[string]bool{"item": true, "now": true, "params": true, "unknown": true, "absent": true}

func checkRow(t reflect.Type, seen map[string]reflect.Type, depth int) error {
	if other, ok := seen[t.String()]; ok {
		if other != t {
			return fmt.Errorf("two types are called %s", t)
		}
		return nil
	}
	if depth > 4 {
		return fmt.Errorf("%s is nested too deep", t)
	}
	seen[t.String()] = t
	for _, f := range fields(t) {
		ft := f.Type
		if ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		switch {
		case ft == timeType, ft.Kind() == reflect.String, ft.Kind() == reflect.Int64, ft.Kind() == reflect.Bool:
		case ft.Kind() == reflect.Struct:
			if err := checkRow(ft, seen, depth+1); err != nil {
				return err
			}
		default:
			return fmt.Errorf("field %s of %s has type %s", f.Name, t, f.Type)
		}
	}
	return nil
}

// fields returns the fields of a row that rules see: those with a tag.
func fields(t reflect.Type) (out []reflect.StructField) {
	for f := range t.Fields() {
		if f.IsExported() && celName(f) != "" {
			out = append(out, f)
		}
	}
	return out
}

// celName is the name of a field in expressions and fixtures, "" for a field
// that they do not have.
func celName(f reflect.StructField) string {
	name := f.Tag.Get("cel")
	if name == "-" {
		return ""
	}
	return name
}

// appendRow writes a value in its one spelling: name="value" for each field,
// in the order of the type.
func appendRow(b []byte, v reflect.Value) []byte {
	switch {
	case v.Type() == timeType:
		return strconv.AppendQuote(b, v.Interface().(time.Time).UTC().Format(time.RFC3339Nano))
	case v.Kind() == reflect.String:
		return strconv.AppendQuote(b, v.String())
	case v.Kind() == reflect.Bool:
		return strconv.AppendBool(b, v.Bool())
	case v.CanInt():
		return strconv.AppendInt(b, v.Int(), 10)
	case v.Kind() == reflect.Slice:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ' ')
			}
			b = appendRow(b, v.Index(i))
		}
		return append(b, ']')
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for i, k := range keys {
			if i > 0 {
				b = append(b, ' ')
			}
			b = append(strconv.AppendQuote(b, k.String()), '=')
			b = appendRow(b, v.MapIndex(k))
		}
		return b
	case v.Kind() == reflect.Struct:
		for i, f := range fields(v.Type()) {
			if i > 0 {
				b = append(b, ' ')
			}
			b = append(append(b, celName(f)...), '=')
			nested := f.Type.Kind() == reflect.Struct && f.Type != timeType
			if nested {
				b = append(b, '{')
			}
			b = appendRow(b, v.FieldByIndex(f.Index))
			if nested {
				b = append(b, '}')
			}
		}
		return b
	}
	return fmt.Appendf(b, "%q", fmt.Sprint(v))
}

// isRow tells rows from the other values that an item can be.
func isRow(v any) bool {
	t := reflect.TypeOf(v)
	return t != nil && (t.Kind() == reflect.Struct && t != timeType || t == wordsMap)
}

// rowText is the evidence that a row is: what the baseline compares of it, or
// all of it.
func rowText(row any) string {
	if c, ok := row.(compared); ok {
		return c.Compared()
	}
	return string(appendRow(nil, reflect.ValueOf(row)))
}

// rows is how many rows were read, 0 where they are none of the kind.
func (k Kind) rows(f Fact) int {
	if reflect.TypeOf(f.Rows) != reflect.SliceOf(k.Row) || k.Single {
		return 0
	}
	return reflect.ValueOf(f.Rows).Len()
}

// value is the fact as expressions have it: a list of rows, or the one row.
func (k Kind) value(f Fact) (any, error) {
	if got := reflect.TypeOf(f.Rows); got != reflect.SliceOf(k.Row) {
		return nil, fmt.Errorf("fact %s has rows of type %v, not []%v", k.Name, got, k.Row)
	}
	if !k.Single {
		return f.Rows, nil
	}
	v := reflect.ValueOf(f.Rows)
	if v.Len() != 1 {
		return nil, fmt.Errorf("fact %s has %d rows, not one", k.Name, v.Len())
	}
	return v.Index(0).Interface(), nil
}

// decodeRows reads what a fixture gives for a kind, into the type that the
// collector gives. Errors are recorded at the nodes.
func (k Kind) decodeRows(n *strict.Node) any {
	rows := reflect.MakeSlice(reflect.SliceOf(k.Row), 0, 1)
	read := func(i *strict.Node) {
		row := reflect.New(k.Row).Elem()
		decode(i, row)
		rows = reflect.Append(rows, row)
	}
	if k.Single {
		read(n)
		return rows.Interface()
	}
	for _, i := range n.Items() {
		read(i)
	}
	return rows.Interface()
}

func decode(n *strict.Node, v reflect.Value) {
	switch {
	case v.Type() == timeType:
		v.Set(reflect.ValueOf(n.Time()))
	case v.Type() == wordsMap:
		m := map[string]string{}
		for _, k := range n.Keys() {
			m[k.Text()] = n.Get(k.Text()).Text()
		}
		v.Set(reflect.ValueOf(m))
	case v.Kind() == reflect.String:
		v.SetString(n.Text())
	case v.Kind() == reflect.Bool:
		v.SetBool(n.Bool())
	case v.CanInt():
		v.SetInt(n.Int(-1<<62, 1<<62))
	case v.Kind() == reflect.Slice:
		s := reflect.MakeSlice(v.Type(), 0, 4)
		for _, i := range n.Items() {
			e := reflect.New(v.Type().Elem()).Elem()
			decode(i, e)
			s = reflect.Append(s, e)
		}
		v.Set(s)
	case v.Kind() == reflect.Struct:
		if !n.IsMap() {
			return
		}
		var names []string
		for _, f := range fields(v.Type()) {
			names = append(names, celName(f))
			if x := n.Get(celName(f)); x != nil {
				decode(x, v.FieldByIndex(f.Index))
			}
		}
		n.Unknown(names...)
	}
}
