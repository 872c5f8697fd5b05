package intact_test

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines = 400 // of a file that is not a test
	maxFuncLines = 100
)

// vague are package names that say nothing about what is inside.
var vague = []string{"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "shared"}

// documented are the packages whose exported names must all have a comment:
// they are the vocabulary of the rest.
var documented = []string{"scanner/entry", "baseline/seal", "rules"}

func TestFileLength(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test && s.last > maxFileLines {
			t.Errorf("%s: %d lines, the limit is %d", s.name, s.last, maxFileLines)
		}
	}
}

func TestFunctionLength(t *testing.T) {
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			first, last := s.fset.Position(f.Pos()), s.fset.Position(f.End())
			if n := last.Line - first.Line + 1; n > maxFuncLines {
				t.Errorf("%s:%d: func %s has %d lines, the limit is %d", s.name, first.Line, f.Name.Name, n, maxFuncLines)
			}
		}
	}
}

func TestPackageNames(t *testing.T) {
	for _, s := range sources(t) {
		if name := strings.TrimSuffix(s.file.Name.Name, "_test"); slices.Contains(vague, name) || slices.Contains(vague, path.Base(s.pkg)) {
			t.Errorf("%s: a package called %q says nothing about what it holds", s.name, name)
		}
	}
}

// Registration in init hides who uses what: lists are written out instead.
func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init", s.fset.Position(f.Pos()))
			}
		}
	}
}

var mainFile = regexp.MustCompile(`^(benchmarks/)?cmd/[^/]+/main\.go$`)

// Only main ends the process: everything else returns, so that deferred work
// runs and a test can call it.
func TestOnlyMainExits(t *testing.T) {
	exits := map[string][]string{
		"os":      {"Exit"},
		"log":     {"Fatal", "Fatalf", "Fatalln"},
		"syscall": {"Exit"},
		"unix":    {"Exit"},
	}
	for _, s := range sources(t) {
		if s.test || mainFile.MatchString(s.name) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(exits[x.Name], sel.Sel.Name) {
				t.Errorf("%s: %s.%s outside of main", s.fset.Position(sel.Pos()), x.Name, sel.Sel.Name)
			}
			return true
		})
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(documented, s.pkg) {
			continue
		}
		for _, decl := range s.file.Decls {
			for _, name := range undocumented(decl) {
				t.Errorf("%s: %s has no comment", s.fset.Position(name.Pos()), name.Name)
			}
		}
	}
}

// undocumented returns the exported names that decl introduces without a
// comment. The comment of a group serves all of it.
func undocumented(decl ast.Decl) (names []*ast.Ident) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && !methodOfUnexported(d) {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		if d.Doc != nil || d.Tok == token.IMPORT {
			return nil
		}
		for _, spec := range d.Specs {
			switch sp := spec.(type) {
			case *ast.TypeSpec:
				if sp.Doc == nil && sp.Name.IsExported() {
					names = append(names, sp.Name)
				}
			case *ast.ValueSpec:
				if sp.Doc == nil && sp.Comment == nil {
					names = append(names, slices.DeleteFunc(slices.Clone(sp.Names), func(n *ast.Ident) bool { return !n.IsExported() })...)
				}
			}
		}
	}
	return names
}

func methodOfUnexported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return false
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	name, ok := t.(*ast.Ident)
	return ok && !name.IsExported()
}

// Every package says in its comment what it does.
func TestPackagesAreDocumented(t *testing.T) {
	doc := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test && s.pkg != "" {
			doc[s.pkg] = doc[s.pkg] || s.file.Doc != nil
		}
	}
	for pkg, ok := range doc {
		if !ok {
			t.Errorf("package %q has no comment", pkg)
		}
	}
}
