package scanner_test

import (
	"os"
	"testing"

	"intact/scanner"
	"intact/scanner/digest"
	"intact/scanner/entry"
)

// A log that has a second name outside the logs is still held against its own
// old prefix, whichever name is read first.
func TestLogWithAnotherName(t *testing.T) {
	for _, other := range []string{"/a", "/z"} {
		p := newPlace(t)
		p.write("/logs/x", "old line\n")
		p.must(os.Link(p.host("/logs/x"), p.host(other)))
		pol := p.policy("{path: /, attributes: config}", "{path: /logs, attributes: log}")
		first := p.scan(pol, scanner.Options{Workers: 1})
		p.appendTo("/logs/x", "new line\n")
		now := p.scanFrom(pol, scanner.Options{Workers: 1}, first)
		log, plain := now.entry("/logs/x"), now.entry(entry.Path(other))
		if log.Digest != digest.Sum([]byte("old line\n")) || log.Hashed != 9 {
			t.Errorf("other name %s: log: digest %s of %d bytes, want the old prefix", other, log.Digest, log.Hashed)
		}
		if plain.Digest != digest.Sum([]byte("old line\nnew line\n")) || plain.Hashed != 18 {
			t.Errorf("other name %s: digest %s of %d bytes, want all", other, plain.Digest, plain.Hashed)
		}
	}
}
