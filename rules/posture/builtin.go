package posture

import (
	"embed"
	"io/fs"
	"reflect"
	"strings"
	"time"
)

// builtin are the rule files of the program, one for each set, and what was made
// ready of them.
//
//go:embed builtin/*.yaml builtin/*.json
var builtin embed.FS

// Builtin returns the built-in rule files.
func Builtin() []File {
	names, err := fs.Glob(builtin, "builtin/*.yaml")
	if err != nil {
		panic(err) // the pattern is constant
	}
	var out []File
	for _, n := range names {
		text, err := builtin.ReadFile(n)
		if err != nil {
			panic(err) // it is in the program
		}
		ready, err := builtin.ReadFile(strings.TrimSuffix(n, ".yaml") + ".json")
		if err != nil {
			ready = nil // of a new set, until the tests have made it
		}
		out = append(out, File{Name: n, Text: text, ready: ready})
	}
	return out
}

// Service is one service that the operator declares.
type Service struct {
	Name  string `cel:"name"`
	Port  int64  `cel:"port"`
	Proto string `cel:"proto"` // tcp or udp
	Class string `cel:"class"` // public, private or internal
	Role  string `cel:"role"`  // what the host is for, such as web; "" if none is given
}

// Self is what is known of the integrity checks of this host.
type Self struct {
	Signed         bool      `cel:"signed"`     // the baseline, by a key that counts
	LastCheck      time.Time `cel:"last_check"` // end of the last full check
	LastCheckKnown bool      `cel:"last_check_known"`
	Scheduled      bool      `cel:"scheduled"`   // a timer or crontab runs intact
	OffHost        bool      `cel:"off_host"`    // the last report, or one after it, was received elsewhere
	OtherTools     []string  `cel:"other_tools"` // other integrity tools that are installed and scheduled
}

// OwnKinds are the kinds of facts that come from the configuration and state of
// intact itself.
func OwnKinds() []Kind {
	return []Kind{
		{Name: "services", Row: reflect.TypeFor[Service](), About: "the services that the operator declares; absent where nothing was ever said"},
		{Name: "declared", Row: reflect.TypeFor[Service](), About: "the same, and an empty list where nothing was ever said"},
		{Name: "fim.self", Row: reflect.TypeFor[Self](), Single: true, About: "how intact itself is set up and when it ran"},
		{Name: "attestations", Row: reflect.TypeFor[Attestation](), About: "what people attest (" + NotVerified + ")"},
	}
}
