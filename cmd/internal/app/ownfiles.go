package app

import (
	"regexp"
	"strings"

	"intact/scanner/entry"
)

// stateFile matches the names that the state folder's own files have. Anything
// else in it is scanned like everything; see scanner.Options.Own for what must
// be true of them too. The next run deletes what ends in .tmp.
var stateFile = regexp.MustCompile(`^(?:lock|(?:commit|watch)\.lock|host|secret|windows|delegation|[^/]+\.tmp` +
	`|baseline/(?:[0-9]{10}\.(?:db|statement|statement\.sig)|proposed\.db|ages|[^/]+\.tmp)` +
	`|indexes/(?:[0-9a-f]{64}\.(?:release|index)|[^/]+\.tmp)` +
	`|inbox/(?:[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}|[0-9a-f]{64}|[^/]+\.tmp)` +
	`|expect/(?:[0-9a-f]{64}(?:\.sig)?|[^/]+\.tmp)` +
	`|pending/(?:[0-9a-f]{64}|[^/]+\.tmp)` +
	`|ledger/(?:[0-9]{10,19}-[0-9a-f]{64}|[^/]+\.tmp)` +
	`|packages/(?:[0-9a-f]{64}-[0-9a-f]{64}|[^/]+\.tmp)` +
	`|reports/[0-9]{10}-[a-z]+\.jsonl(?:\.sig)?` +
	`|reports/\.[0-9]{10}-[a-z]+\.jsonl(?:\.sig)?\.tmp)$`)

// ownFiles returns scanner.Options.Own for the state folder at that path of the
// root, nil if it lies outside.
func ownFiles(state entry.Path) func(dir entry.Path, name []byte) bool {
	if state == "" || state == "/" {
		return nil
	}
	return func(dir entry.Path, name []byte) bool {
		rest, ok := strings.CutPrefix(string(dir), string(state))
		switch rest {
		case "":
			return ok && stateFile.Match(name)
		case "/baseline", "/expect", "/inbox", "/indexes", "/ledger", "/pending", "/packages", "/reports":
			return ok && stateFile.MatchString(rest[1:]+"/"+string(name))
		}
		return false
	}
}
