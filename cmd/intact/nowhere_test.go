package main

import (
	"os"

	"intact/cmd/internal/app"
	"intact/rules/facts/facttest"
)

// nowhereVar makes drift and rules be about facttest.Nowhere.
const nowhereVar = "INTACT_TEST_NOWHERE"

func prepare(e *app.Env) {
	if os.Getenv(nowhereVar) != "" {
		e.Facts = facttest.Nowhere()
	}
}
