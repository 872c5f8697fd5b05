// Package intact_test guards the shape of the source: which package may import
// which, who owns a third-party module, and the house rules that a program can
// check.
package intact_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "intact"

// layers are the top directories from the bottom up. A package imports only
// from its own layer or from lower ones.
var layers = []string{"scanner", "baseline", "rules", "report", "cmd"}

// edges lists every package and what it may import of this module. A package
// or an import that is not listed fails: widening the list is a decision.
var edges = map[string][]string{
	"scanner/digest":              {},
	"scanner/strict":              {},
	"scanner/entry":               {"scanner/digest"},
	"scanner/policy":              {"scanner/entry", "scanner/digest", "scanner/strict"},
	"scanner/dirfd":               {"scanner/entry"},
	"scanner/unpack":              {"scanner/entry"},
	"scanner/actor":               {},
	"scanner/watch":               {"scanner/actor", "scanner/entry", "scanner/policy", "scanner/dirfd"},
	"scanner/journal":             {"scanner/digest"},
	"scanner/journal/journaltest": {"scanner/journal"},
	"scanner":                     {"scanner/entry", "scanner/digest", "scanner/policy", "scanner/dirfd", "scanner/journal"},

	"baseline/diff":      {"scanner/entry", "scanner/digest"},
	"baseline/statement": {"scanner/digest"},
	"baseline/seal":      {"scanner/strict"},
	"baseline/ledger":    {"scanner/entry", "scanner/digest", "scanner/journal"},
	"baseline":           {"scanner", "scanner/entry", "scanner/digest", "baseline/diff", "baseline/statement", "baseline/seal", "baseline/ledger"},

	"rules":                {"baseline/diff", "scanner/entry"},
	"rules/integrity":      {"rules", "rules/logs", "rules/mass", "baseline/diff", "scanner/entry"},
	"rules/mass":           {"baseline/diff", "scanner/entry", "scanner/digest"},
	"rules/logs":           {"baseline/ledger", "scanner/entry", "scanner/digest", "scanner/journal"},
	"rules/facts":          {"rules", "scanner/dirfd", "scanner/entry"},
	"rules/facts/facttest": {"rules/facts", "scanner/dirfd"},
	"rules/facts/kernel":   {"rules", "rules/facts", "scanner/dirfd", "scanner/entry"},
	"rules/facts/anchors":  {"rules", "rules/facts", "scanner/dirfd", "scanner/entry"},
	"rules/facts/preload":  {"rules", "rules/facts", "rules/facts/units", "scanner/dirfd", "scanner/entry"},
	"rules/facts/sudo":     {"rules", "rules/facts", "scanner/digest", "scanner/entry"},
	"rules/facts/netlink":  {},
	"rules/facts/sockets":  {"rules", "rules/facts", "rules/facts/netlink"},
	"rules/facts/firewall": {"rules", "rules/facts", "rules/facts/netlink", "scanner/digest", "scanner/entry"},
	"rules/facts/units":    {"rules", "rules/facts", "scanner/digest", "scanner/dirfd", "scanner/entry"},
	"rules/facts/accounts": {"rules", "rules/facts", "scanner/dirfd", "scanner/entry"},
	"rules/facts/pam":      {"rules", "rules/facts", "scanner/dirfd", "scanner/entry"},
	"rules/facts/web":      {"rules", "rules/facts", "rules/facts/sockets", "scanner/dirfd", "scanner/entry"},
	"rules/facts/guards":   {"rules", "rules/facts", "rules/facts/units", "scanner/dirfd", "scanner/entry"},
	"rules/pkgdb":          {"rules/pkgdb/rpm", "rules/pkgdb/pgp", "rules/pkgdb/deb822", "scanner/entry", "scanner/digest"},
	"rules/pkgdb/rpm":      {"rules/pkgdb/pgp", "scanner/entry"},
	"rules/pkgdb/pgp":      {},
	"rules/hashlist":       {},
	"rules/packages":       {"rules", "rules/pkgdb", "rules/pkgdb/deb", "rules/pkgdb/rpm", "baseline/diff", "scanner/entry"},
	"rules/updates":        {"rules", "rules/expect", "rules/pkgdb", "rules/pkgdb/manifest", "rules/pkgdb/rpm", "baseline/diff", "scanner/entry", "scanner/digest"},
	"rules/expect":         {"rules", "baseline/diff", "scanner/entry", "scanner/digest"},

	"rules/drift":      {"rules", "scanner/digest"},
	"rules/posture":    {"rules", "rules/facts", "scanner/strict", "scanner/digest"},
	"rules/facts/sshd": {"rules/facts", "rules", "scanner/dirfd", "scanner/entry"},
	"rules/facts/osupdates": {
		"rules", "rules/facts", "rules/pkgdb", "rules/pkgdb/deb", "rules/pkgdb/deb822", "rules/pkgdb/pgp", "rules/pkgdb/rpm",
		"scanner/dirfd", "scanner/entry", "scanner/strict", "scanner/unpack",
	},

	"rules/derived": {"rules", "baseline/diff", "scanner/entry", "scanner/digest", "scanner/strict", "scanner/unpack"},

	"rules/pkgdb/deb822":      {},
	"rules/pkgdb/transaction": {"rules/pkgdb/manifest", "scanner/entry", "scanner/digest"},

	"rules/pkgdb/manifest": {"baseline/diff", "scanner/entry", "scanner/digest"},
	"rules/pkgdb/deb": {
		"rules/pkgdb/deb822", "rules/pkgdb/pgp", "rules/pkgdb/manifest",
		"scanner/unpack", "scanner/entry", "scanner/digest",
	},

	"report": {"rules", "baseline/diff", "baseline/statement", "scanner", "scanner/entry", "scanner/digest"},

	"cmd/internal/config":     {"rules", "baseline/statement", "scanner/policy", "scanner/strict", "scanner/entry"},
	"cmd/internal/app/review": {"report", "rules", "baseline/diff", "scanner/entry"},
	"cmd/internal/app": {
		"cmd/internal/config", "cmd/internal/app/review", "report", "rules", "rules/integrity",
		"rules/facts", "rules/facts/accounts", "rules/facts/anchors", "rules/facts/firewall", "rules/facts/guards", "rules/facts/kernel", "rules/facts/osupdates", "rules/facts/pam", "rules/facts/preload", "rules/facts/sockets", "rules/facts/sshd", "rules/facts/sudo", "rules/facts/units", "rules/facts/web", "rules/posture",
		"rules/pkgdb", "rules/pkgdb/deb", "rules/pkgdb/manifest", "rules/pkgdb/transaction", "rules/pkgdb/deb822", "rules/pkgdb/pgp", "rules/hashlist", "rules/packages", "rules/expect", "rules/updates", "rules/derived", "rules/drift", "rules/logs", "rules/mass",
		"baseline", "baseline/diff", "baseline/statement", "baseline/seal", "baseline/ledger",
		"scanner", "scanner/actor", "scanner/entry", "scanner/digest", "scanner/policy", "scanner/dirfd", "scanner/strict", "scanner/unpack", "scanner/watch", "scanner/journal",
	},
	"cmd/internal/cli": {
		"cmd/internal/app", "cmd/internal/config", "report", "rules",
		"baseline", "baseline/diff", "baseline/statement",
		"scanner", "scanner/entry", "scanner/digest", "scanner/policy", "scanner/strict",
	},
	"cmd/intact": {"cmd/internal/cli"},
}

// benchmarks drive the program from outside: they may import every layer, and
// nothing imports them.
const benchmarks = "benchmarks"

// owners names the packages that may import a third-party module: everything
// else goes through them. A name that ends in "/..." is a whole tree.
var owners = map[string][]string{
	"cel.dev/cel-go":                  {"rules/posture"},
	"github.com/ProtonMail/go-crypto": {"rules/pkgdb/pgp"},
	"github.com/zeebo/blake3":         {"scanner/digest"},
	"lukechampine.com/blake3":         {"scanner/digest"},
	"go.yaml.in/yaml/v3":              {"scanner/strict"},
	"github.com/klauspost/compress":   {"scanner/unpack"},
	"github.com/ulikunitz/xz":         {"scanner/unpack"},
	"github.com/pierrec/lz4/v4":       {"scanner/unpack"},
	"github.com/fsnotify/fsnotify":    {"scanner/watch"},
	"go.etcd.io/bbolt":                {"baseline"},
	"github.com/urfave/cli/v2":        {"cmd/internal/cli"},
	"golang.org/x/crypto":             {"baseline/seal", "rules/facts/sshd"},
	"golang.org/x/sys":                {"scanner/...", "baseline/...", "rules/facts/...", "cmd/internal/app/...", "benchmarks/..."},
	"github.com/rogpeppe/go-internal": {"cmd/internal/cli", "cmd/intact"},
}

// testOnly are the modules that only tests may import.
var testOnly = []string{"github.com/rogpeppe/go-internal", "github.com/ulikunitz/xz"}

// source is one parsed file.
type source struct {
	name string // slash-separated, from the root of the repository
	pkg  string // its directory, "" for the root
	test bool
	file *ast.File
	fset *token.FileSet
	last int // number of lines
}

// imports returns the import paths of the file.
func (s source) imports(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, spec := range s.file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		out = append(out, p)
	}
	return out
}

// sources parses every Go file of the repository. Like the go command it passes
// over testdata and over names that begin with "." or "_".
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if name != "." && (base[0] == '.' || base[0] == '_' || base == "testdata" || base == "bin") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(name)
		pkg := path.Dir(slash)
		if pkg == "." {
			pkg = ""
		}
		out = append(out, source{
			name: slash, pkg: pkg, test: strings.HasSuffix(base, "_test.go"),
			file: file, fset: fset, last: fset.File(file.FileStart).LineCount(),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("found %d Go files: the walk is broken", len(out))
	}
	return out
}

// edgeError says why package from may not import package to, both without the
// module's name; nil if it may.
func edgeError(from, to string) error {
	if to == benchmarks || strings.HasPrefix(to, benchmarks+"/") {
		if from == benchmarks || strings.HasPrefix(from, benchmarks+"/") {
			return nil
		}
		return fmt.Errorf("imports %q: nothing imports benchmarks", to)
	}
	if from == benchmarks || strings.HasPrefix(from, benchmarks+"/") {
		return nil
	}
	allowed, ok := edges[from]
	if !ok {
		return fmt.Errorf("package %q is not in the table of edges", from)
	}
	if !slices.Contains(allowed, to) {
		return fmt.Errorf("imports %q: not in the table of edges", to)
	}
	return nil
}

func TestLayers(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if _, ok := edges[s.pkg]; !ok && s.pkg != benchmarks && !strings.HasPrefix(s.pkg, benchmarks+"/") {
			t.Errorf("%s: package %q is not in the table of edges", s.name, s.pkg)
			continue
		}
		for _, imp := range s.imports(t) {
			to, ok := strings.CutPrefix(imp, module+"/")
			if !ok {
				continue
			}
			if err := edgeError(s.pkg, to); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
	}
}

// The table itself must go downwards, and round in no circle.
func TestTableOfEdges(t *testing.T) {
	rank := func(pkg string) int {
		top, _, _ := strings.Cut(pkg, "/")
		return slices.Index(layers, top)
	}
	for from, tos := range edges {
		if rank(from) < 0 {
			t.Errorf("%q lies in no layer", from)
		}
		for _, to := range tos {
			if _, ok := edges[to]; !ok {
				t.Errorf("%q may import %q, which is not in the table", from, to)
			}
			if rank(to) > rank(from) {
				t.Errorf("%q may import %q: upwards", from, to)
			}
		}
	}
	done := map[string]bool{}
	var visit func(pkg string, on []string)
	visit = func(pkg string, on []string) {
		if slices.Contains(on, pkg) {
			t.Fatalf("circle: %v", append(on, pkg))
		}
		if done[pkg] {
			return
		}
		for _, to := range edges[pkg] {
			visit(to, append(on, pkg))
		}
		done[pkg] = true
	}
	for _, pkg := range slices.Sorted(maps.Keys(edges)) {
		visit(pkg, nil)
	}
}

func TestEdgeError(t *testing.T) {
	tests := []struct {
		from, to string
		ok       bool
	}{
		{"scanner", "scanner/entry", true},
		{"scanner/entry", "scanner", false},
		{"rules", "baseline", false},
		{"report", "rules/integrity", false},
		{"scanner/nosuch", "scanner/entry", false},
		{"benchmarks/cmd/bench", "scanner", true},
		{"benchmarks/cmd/bench", "benchmarks/corpus", true},
		{"scanner", "benchmarks/corpus", false},
	}
	for _, tt := range tests {
		if err := edgeError(tt.from, tt.to); (err == nil) != tt.ok {
			t.Errorf("%s → %s: got %v, want allowed %v", tt.from, tt.to, err, tt.ok)
		}
	}
}

// owner returns the module of the table that holds the imported package.
func owner(imp string) (mod string, pkgs []string, ok bool) {
	for m, p := range owners {
		if imp == m || strings.HasPrefix(imp, m+"/") {
			return m, p, true
		}
	}
	return "", nil, false
}

func owns(pkg string, pkgs []string) bool {
	return slices.ContainsFunc(pkgs, func(p string) bool {
		tree, isTree := strings.CutSuffix(p, "/...")
		return pkg == tree || isTree && strings.HasPrefix(pkg, tree+"/")
	})
}

// One package owns each third-party module, so that its types do not spread and
// it can be replaced in one place. Tests are not exempt.
func TestOneOwnerPerModule(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.imports(t) {
			first, _, _ := strings.Cut(imp, "/")
			if !strings.Contains(first, ".") {
				continue // standard library, or this module
			}
			mod, pkgs, ok := owner(imp)
			switch {
			case !ok:
				t.Errorf("%s: imports %q, a module without an owner", s.name, imp)
			case !owns(s.pkg, pkgs):
				t.Errorf("%s: imports %q, which belongs to %v", s.name, imp, pkgs)
			case slices.Contains(testOnly, mod) && !s.test:
				t.Errorf("%s: imports %q, which is for tests only", s.name, imp)
			}
		}
	}
}

func TestOwns(t *testing.T) {
	tests := []struct {
		pkg, imp string
		want     bool
	}{
		{"scanner/digest", "github.com/zeebo/blake3", true},
		{"scanner", "github.com/zeebo/blake3", false},
		{"scanner", "golang.org/x/sys/unix", true},
		{"scanner/dirfd", "golang.org/x/sys/unix", true},
		{"scannerx", "golang.org/x/sys/unix", false},
		{"report", "golang.org/x/sys/unix", false},
		{"scanner/digest", "github.com/zeebo/blake3x", false},
	}
	for _, tt := range tests {
		_, pkgs, ok := owner(tt.imp)
		if got := ok && owns(tt.pkg, pkgs); got != tt.want {
			t.Errorf("%s of %s: got %v, want %v", tt.imp, tt.pkg, got, tt.want)
		}
	}
}
