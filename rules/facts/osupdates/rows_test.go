package osupdates_test

import (
	"testing"

	"intact/rules/facts/facttest"
	"intact/rules/facts/osupdates"
)

// Every field of a row has a name of its own in expressions, and a type that they
// know.
func TestRowTags(t *testing.T) {
	facttest.Tags(t, osupdates.Update{}, osupdates.List{}, osupdates.Repository{}, osupdates.Setting{}, osupdates.SigningKey{}, osupdates.Automatic{}, osupdates.Reboot{}, osupdates.StaleProcess{}, osupdates.Release{})
}
