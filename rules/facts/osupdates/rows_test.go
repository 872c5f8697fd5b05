package osupdates_test

import (
	"reflect"
	"regexp"
	"testing"
	"time"

	"intact/rules/facts/osupdates"
)

// Every field of a row has a name of its own in expressions, and a type that they
// know.
func TestRowTags(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	for _, row := range []any{osupdates.Update{}, osupdates.List{}, osupdates.Repository{}, osupdates.Setting{}, osupdates.SigningKey{}, osupdates.Automatic{}, osupdates.Reboot{}, osupdates.StaleProcess{}, osupdates.Release{}} {
		typ := reflect.TypeOf(row)
		seen := map[string]bool{}
		for i := range typ.NumField() {
			f := typ.Field(i)
			tag := f.Tag.Get("cel")
			if !f.IsExported() || !snake.MatchString(tag) || seen[tag] {
				t.Errorf("%s.%s: name %q", typ.Name(), f.Name, tag)
			}
			seen[tag] = true
			switch f.Type {
			case reflect.TypeFor[string](), reflect.TypeFor[int64](), reflect.TypeFor[bool](), reflect.TypeFor[[]string](), reflect.TypeFor[time.Time]():
			default:
				t.Errorf("%s.%s: type %v", typ.Name(), f.Name, f.Type)
			}
		}
	}
}
