// Package arch checks the house's rules about who may import whom and what may
// stand where. It reads source text; it builds and runs nothing. The rules are
// data, each with its reason, and its test holds the tree against them.
package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/fengsui/fengsui/"

// A File is what the rules look at.
type File struct {
	Path     string // from the root, with slashes
	Package  string
	Doc      bool // a comment stands before the package clause
	Imports  []string
	Inits    int      // functions called init
	Exits    int      // calls that end the process: os.Exit, log.Fatal…
	Contexts int      // members of structs that are a context.Context
	Literals []string // strings
}

// Test reports whether the file is a test.
func (f File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

func (f File) in(dir string) bool { return strings.HasPrefix(f.Path, dir+"/") }

func (f File) imports(prefix string) bool {
	return slices.ContainsFunc(f.Imports, func(i string) bool { return i == prefix || strings.HasPrefix(i, prefix+"/") })
}

// A Rule says what is not allowed in a file, and why.
type Rule struct {
	Reason string
	Broken func(File) bool
}

// Rules are the rules of the house.
var Rules = []Rule{
	{
		"cloud-bridge knows of firmware only the contract: the two are released apart",
		func(f File) bool {
			return f.in("cloud-bridge") && slices.ContainsFunc(f.Imports, func(i string) bool {
				return strings.HasPrefix(i, module+"firmware") && i != module+"firmware/wire"
			})
		},
	},
	{
		"nothing imports sim: what ships must not depend on what pretends",
		func(f File) bool { return !f.in("sim") && f.imports(module+"sim") },
	},
	{
		"firmware runs without the centre",
		func(f File) bool { return f.in("firmware") && f.imports(module+"cloud-bridge") },
	},
	{
		"boards are data: they know neither firmware nor centre; only the board command checks a device's configuration before it puts it on a card",
		func(f File) bool {
			return f.in("boards") && slices.ContainsFunc(f.Imports, func(i string) bool {
				checks := f.in("boards/cli") && i == module+"firmware/config"
				return strings.HasPrefix(i, module+"firmware") && !checks || strings.HasPrefix(i, module+"cloud-bridge")
			})
		},
	},
	{
		"the contract stands alone: a stranger implements it from its text",
		func(f File) bool {
			return f.in("firmware/wire") && !f.Test() && slices.ContainsFunc(f.Imports, func(i string) bool { return strings.HasPrefix(i, module) })
		},
	},
	{
		"only firmware/internal/hw touches periph's host, so that everything else runs on emulated ports",
		func(f File) bool { return !f.in("firmware/internal/hw") && f.imports("periph.io/x/host/v3") },
	},
	{
		"only firmware/internal/hw touches device paths, so that everything else runs on emulated ports",
		func(f File) bool {
			return !f.in("firmware/internal/hw") && !f.in("firmware/internal/arch") && !f.Test() && slices.ContainsFunc(f.Literals, func(s string) bool { return strings.Contains(s, "/dev/") })
		},
	},
	{
		"the ports are opened in one place, and the centre's modem in another",
		func(f File) bool {
			return !f.in("firmware/internal/hw") && !f.in("cloud-bridge/sms") && !f.Test() && f.imports("go.bug.st/serial")
		},
	},
	{
		"only firmware/internal/hw speaks to the radio, so that joining runs on an emulated one",
		func(f File) bool { return !f.in("firmware/internal/hw") && f.imports("github.com/mdlayher/wifi") },
	},
	{
		"no init function: things are composed where they can be read",
		func(f File) bool { return f.Inits > 0 },
	},
	{
		"only a program's main ends the process: everything else is closed in order, and runs in tests",
		func(f File) bool { return f.Exits > 0 && f.Package != "main" && !f.Test() },
	},
	{
		"no Context in a struct: it belongs to a call, not to a thing",
		func(f File) bool { return f.Contexts > 0 && !f.Test() },
	},
}

// Undocumented returns a line for each package without a comment that says what
// it does and what it does not do.
func Undocumented(files []File) []string {
	documented := make(map[string]bool)
	for _, f := range files {
		if !f.Test() {
			dir := path.Dir(f.Path)
			documented[dir] = documented[dir] || f.Doc
		}
	}
	var out []string
	for dir, ok := range documented {
		if !ok {
			out = append(out, dir+": the package has no doc comment: a reader starts there")
		}
	}
	slices.Sort(out)
	return out
}

// TopLevel checks the names at the root, which the project's owner has fixed:
// all of them, no others, but dot-files and what make build writes.
func TopLevel(names []string) []string {
	want := []string{"LICENSE", "Makefile", "README.md", "boards", "cloud-bridge", "firmware", "go.mod", "go.sum", "sim"}
	var out []string
	for _, name := range names {
		if !strings.HasPrefix(name, ".") && name != "dist" && !slices.Contains(want, name) {
			out = append(out, fmt.Sprintf("%s: want at the top level only %s and dot-files", name, strings.Join(want, ", ")))
		}
	}
	for _, name := range want {
		if !slices.Contains(names, name) {
			out = append(out, name+": missing at the top level")
		}
	}
	return out
}

// Check returns a line for each rule that a file breaks.
func Check(files []File) []string {
	var out []string
	for _, f := range files {
		for _, r := range Rules {
			if r.Broken(f) {
				out = append(out, fmt.Sprintf("%s: %s", f.Path, r.Reason))
			}
		}
	}
	return out
}

// Parse reads one Go file; name is its path from the root.
func Parse(name string, src []byte) (File, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return File{}, err
	}
	f := File{Path: name, Package: tree.Name.Name, Doc: tree.Doc != nil}
	for _, i := range tree.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return File{}, err
		}
		f.Imports = append(f.Imports, p)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				f.Inits++
			}
		case *ast.CallExpr:
			if of, name := selector(n.Fun); of == "os" && name == "Exit" || of == "log" && strings.HasPrefix(name, "Fatal") {
				f.Exits++
			}
		case *ast.StructType:
			for _, m := range n.Fields.List {
				if of, name := selector(m.Type); of == "context" && name == "Context" {
					f.Contexts++
				}
			}
		case *ast.BasicLit:
			if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				f.Literals = append(f.Literals, s)
			}
		}
		return true
	})
	return f, nil
}

// selector returns the parts of x.y.
func selector(e ast.Expr) (x, y string) {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if id, ok := s.X.(*ast.Ident); ok {
			return id.Name, s.Sel.Name
		}
	}
	return "", ""
}

// Load reads all Go files below root.
func Load(root string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || p != root && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || path.Ext(p) != ".go" {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		f, err := Parse(filepath.ToSlash(rel), src)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}
