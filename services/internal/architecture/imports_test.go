package architecture_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/streamforge/streamforge/"

// source is one Go file with what it imports.
type source struct {
	path    string // below the module's root
	dir     string
	test    bool
	imports []string
}

// sources parses the imports of every Go file of the module, for every platform and build tag: a rule that holds on one
// machine only is none.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..", "..")
	var all []source
	for _, top := range []string{"contracts", "schemas", "services"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
				return filepath.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(name, ".go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			s := source{path: filepath.ToSlash(relative), test: strings.HasSuffix(name, "_test.go")}
			s.dir = path.Dir(s.path)
			for _, i := range file.Imports {
				imported, err := strconv.Unquote(i.Path.Value)
				if err != nil {
					return err
				}
				s.imports = append(s.imports, imported)
			}
			all = append(all, s)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) == 0 {
		t.Fatal("no Go files found")
	}
	return all
}

// program is the folder of services/ that a package belongs to, empty for services/internal and for all else.
func program(dir string) string {
	rest, ok := strings.CutPrefix(dir, "services/")
	name, _, _ := strings.Cut(rest, "/")
	if !ok || name == "internal" {
		return ""
	}
	return name
}

func within(dir string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return dir == f || strings.HasPrefix(dir, f+"/") })
}

// imports tells whether an import path is that module or below it.
func isModule(imported string, modules ...string) bool {
	return slices.ContainsFunc(modules, func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") })
}

// rule is a ban with its reason.
type rule struct {
	name   string
	reason string
	// breaks tells whether file may not import what.
	breaks func(file source, imported string) bool
}

var rules = []rule{
	{
		"a program imports no other program",
		"programs share facts through topics and code through services/internal; what two of them need belongs there",
		func(f source, imported string) bool {
			local, ok := strings.CutPrefix(imported, module)
			return ok && program(f.dir) != "" && program(local) != "" && program(local) != program(f.dir)
		},
	},
	{
		"services/internal, contracts and schemas import no program",
		"arrows point inwards: a program is the last to know",
		func(f source, imported string) bool {
			local, ok := strings.CutPrefix(imported, module)
			return ok && program(f.dir) == "" && program(local) != ""
		},
	},
	{
		"only services/internal/kafka imports confluent-kafka-go",
		"it is cgo and a client with sharp edges: its settings, retries and fencing are decided in one place",
		func(f source, imported string) bool {
			return isModule(imported, "github.com/confluentinc/confluent-kafka-go") && !within(f.dir, "services/internal/kafka")
		},
	},
	{
		"only services/internal/localstack imports kfake",
		"a service must not know which broker it runs on; tests get theirs from localstack/broker/brokertest",
		func(f source, imported string) bool {
			return isModule(imported, "github.com/twmb/franz-go/pkg/kfake") && !within(f.dir, "services/internal/localstack")
		},
	},
	{
		"only services/internal/localstack imports the embedded ClickHouse engine",
		"it takes over the process's signal handlers and 500 MB: it belongs into a process of its own",
		func(f source, imported string) bool {
			engine := isModule(imported, "github.com/ebitengine/purego") || strings.HasPrefix(imported, module+"services/internal/localstack/clickhouse/engine")
			return engine && !within(f.dir, "services/internal/localstack")
		},
	},
	{
		"only services/internal/registry imports srclient",
		"one cache, one classification of errors, one wire format",
		func(f source, imported string) bool {
			return isModule(imported, "github.com/riferrei/srclient") && !f.test && !within(f.dir, "services/internal/registry")
		},
	},
	{
		"only the SQL text of clickhouse/ddl, no driver",
		"a pull request's check writes the SQL offline",
		func(f source, imported string) bool {
			return within(f.dir, "services/internal/clickhouse/ddl") && !f.test && isModule(imported, "github.com/ClickHouse/clickhouse-go", "github.com/ClickHouse/ch-go")
		},
	},
	{
		"contracts and schemas import nothing of services",
		"they are the data that everything else is built around",
		func(f source, imported string) bool {
			return within(f.dir, "contracts", "schemas") && strings.HasPrefix(imported, module+"services/")
		},
	},
}

func TestImportRules(t *testing.T) {
	for _, f := range sources(t) {
		for _, imported := range f.imports {
			for _, r := range rules {
				if r.breaks(f, imported) {
					t.Errorf("%s imports %s, but %s: %s", f.path, imported, r.name, r.reason)
				}
			}
		}
	}
}

// pure packages, and what none of them may reach, directly or through another package of this module.
var pure = []struct {
	dirs   []string
	banned []string
	reason string
}{
	{
		[]string{"services/internal/market", "services/internal/contract", "services/internal/avro", "services/internal/records"},
		[]string{
			"C", "github.com/confluentinc/confluent-kafka-go", "github.com/twmb/franz-go", "github.com/ClickHouse/clickhouse-go", "github.com/ClickHouse/ch-go",
			module + "services/internal/kafka", module + "services/internal/clickhouse", module + "services/internal/registry", module + "services/internal/localstack",
		},
		"the market's rules, the contracts and the schemas are true without a broker, a registry or a database, and are tested without them",
	},
	{
		[]string{"services/internal/governance", "services/internal/clickhouse/ddl"},
		[]string{"C", "github.com/confluentinc/confluent-kafka-go", "github.com/ebitengine/purego", module + "services/internal/kafka", module + "services/internal/localstack"},
		"a pull request's check must build in seconds and run anywhere, so what it needs stays free of cgo and of engines (governance/cluster, evidence/snapshot and migration/convert are where they join)",
	},
}

// joined are the rooms below a pure one where a cluster is reached.
var joined = []string{"services/internal/governance/cluster", "services/internal/governance/evidence/snapshot", "services/internal/governance/migration/convert"}

func TestWhatIsPureReachesNothingImpure(t *testing.T) {
	graph := map[string]map[string]string{} // folder → import → a file that has it
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		if graph[f.dir] == nil {
			graph[f.dir] = map[string]string{}
		}
		for _, imported := range f.imports {
			graph[f.dir][imported] = f.path
		}
	}
	for _, p := range pure {
		for dir := range graph {
			if !within(dir, p.dirs...) || within(dir, joined...) {
				continue
			}
			if chain := reach(graph, dir, p.banned, map[string]bool{}); chain != nil {
				t.Errorf("%s reaches what it must not: %s. Reason: %s", dir, strings.Join(chain, " → "), p.reason)
			}
		}
	}
}

// reach finds a chain of imports from dir to something banned; nil when there is none.
func reach(graph map[string]map[string]string, dir string, banned []string, seen map[string]bool) []string {
	if seen[dir] {
		return nil
	}
	seen[dir] = true
	for imported, file := range graph[dir] {
		// The ddl package is text only, and is checked by itself.
		if isModule(imported, banned...) && imported != module+"services/internal/clickhouse/ddl" {
			return []string{file, imported}
		}
		if local, ok := strings.CutPrefix(imported, module); ok {
			if chain := reach(graph, local, banned, seen); chain != nil {
				return append([]string{file}, chain...)
			}
		}
	}
	return nil
}

func TestNoPackageIsNamedAfterNothing(t *testing.T) {
	for _, f := range sources(t) {
		if base := path.Base(f.dir); slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "base"}, base) {
			t.Errorf("%s: a package is named after what it does, %q says nothing", f.path, base)
		}
	}
}

func TestTheTopLevelHoldsNothingElse(t *testing.T) {
	allowed := []string{"schemas", "services", "contracts", "compose", "scripts", "go.mod", "go.sum", "Makefile", "README.md", "CONTRIBUTING.md", "LICENSE"}
	entries, err := os.ReadDir(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		// bin/ is made by the build and ignored.
		if !slices.Contains(allowed, e.Name()) && !strings.HasPrefix(e.Name(), ".") && e.Name() != "bin" {
			t.Errorf("%s at the top level: %s", e.Name(), fmt.Sprintf("only %s belong there", strings.Join(allowed, ", ")))
		}
	}
}

// TestTheRulesBite keeps the rules honest: each must refuse an example of what it bans.
func TestTheRulesBite(t *testing.T) {
	for name, c := range map[string]struct{ file, imported string }{
		"a program imports no other program":                                       {"services/parser/x.go", module + "services/loader/y"},
		"services/internal, contracts and schemas import no program":               {"services/internal/market/x.go", module + "services/loader"},
		"only services/internal/kafka imports confluent-kafka-go":                  {"services/writer/x.go", "github.com/confluentinc/confluent-kafka-go/v2/kafka"},
		"only services/internal/localstack imports kfake":                          {"services/internal/kafka/x_test.go", "github.com/twmb/franz-go/pkg/kfake"},
		"only services/internal/localstack imports the embedded ClickHouse engine": {"services/writer/x.go", module + "services/internal/localstack/clickhouse/engine"},
		"only services/internal/registry imports srclient":                         {"services/parser/x.go", "github.com/riferrei/srclient"},
		"only the SQL text of clickhouse/ddl, no driver":                           {"services/internal/clickhouse/ddl/x.go", "github.com/ClickHouse/ch-go/proto"},
		"contracts and schemas import nothing of services":                         {"contracts/x.go", module + "services/internal/contract"},
	} {
		i := slices.IndexFunc(rules, func(r rule) bool { return r.name == name })
		if i < 0 {
			t.Errorf("no rule %q", name)
			continue
		}
		if !rules[i].breaks(source{path: c.file, dir: path.Dir(c.file), test: strings.HasSuffix(c.file, "_test.go")}, c.imported) {
			t.Errorf("%q lets %s import %s", name, c.file, c.imported)
		}
	}
	for _, r := range rules {
		if r.breaks(source{path: "services/parser/main.go", dir: "services/parser"}, module+"services/internal/kafka") {
			t.Errorf("%q forbids a program services/internal/kafka", r.name)
		}
	}
}
