package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/scaffold"
)

type newCommand struct {
	Consumer newConsumerCommand `cmd:"" help:"A program that reads data products: code, test, declaration, manifest."`
}

// newConsumerCommand writes a new consumer into the working tree.
type newConsumerCommand struct {
	Name   string `arg:"" help:"Its name: its folder below services/ and its consumer group."`
	Topics string `name:"topics" env:"TOPICS" help:"Topics to read, separated by commas: raw-trades or raw-trades,feed-gaps."`
	Kind   string `name:"kind" env:"KIND" default:"python" help:"Its language: go or python."`
	Owner  string `name:"owner" env:"OWNER" help:"The team that answers for it; default: git config streamforge.owner, else a name of that form made of user.name."`
	// Regenerate is after a schema has changed.
	Regenerate bool   `name:"regenerate" help:"Of a consumer that exists, write the events' types, their samples and the pinned schemas anew, and nothing else."`
	Root       string `name:"root" type:"existingdir" help:"The working tree; default: the one that this folder is in."`
}

// Run is the command.
func (n *newConsumerCommand) Run(ctx context.Context) error {
	root, err := workingTree(n.Root)
	if err != nil {
		return err
	}
	catalog, err := scaffold.Load(root, schemaVersions(ctx, root))
	if err != nil {
		return err
	}
	if n.Regenerate {
		return regenerate(catalog, n.Name)
	}
	owner := cmp.Or(n.Owner, gitConfig(ctx, root, "streamforge.owner"))
	if person := gitConfig(ctx, root, "user.name"); owner == "" && person != "" {
		owner = scaffold.Team(person)
	}
	request := scaffold.Request{Name: n.Name, Topics: scaffold.SplitTopics(n.Topics), Kind: scaffold.Kind(n.Kind), Owner: owner}
	files, err := catalog.Files(request)
	if err != nil {
		return err
	}
	if err := scaffold.Write(root, files); err != nil {
		return err
	}
	for _, f := range files {
		fmt.Println("  " + f.Path)
	}
	fmt.Print(nextSteps(request))
	return nil
}

// regenerate brings a consumer's generated files to the schemas as they are now.
func regenerate(catalog *scaffold.Catalog, name string) error {
	request, files, err := catalog.Regenerated(name)
	if err != nil {
		return err
	}
	changed, err := scaffold.Overwrite(catalog.Root, files)
	if err != nil {
		return err
	}
	if len(changed) == 0 {
		fmt.Printf("%s is made from the schemas as they are: nothing changed\n", name)
		return nil
	}
	for _, path := range changed {
		fmt.Println("  " + path)
	}
	fmt.Printf("\nnext:  raise schemaVersion in contracts/consumers/%s.yaml, and add there what it reads now\n%s", name, testOf(request))
	return nil
}

// testOf is how a consumer's test is run.
func testOf(r scaffold.Request) string {
	if r.Kind == scaffold.Python {
		return fmt.Sprintf("       cd services/%s && .venv/bin/python -m pytest\n", r.Name)
	}
	return fmt.Sprintf("       go test ./services/%s\n", r.Name)
}

// nextSteps is what to copy now.
func nextSteps(r scaffold.Request) string {
	return programSteps(r) + fmt.Sprintf(`       bin/streamforge codeowners                 its declarations are %s's to review
later: make new-consumer NAME=%s REGENERATE=1   its types anew, when a schema has a field more
`, r.Owner, r.Name)
}

func programSteps(r scaffold.Request) string {
	if r.Kind == scaffold.Python {
		return fmt.Sprintf(`
next:  cd services/%[1]s
       python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
       .venv/bin/python -m pytest                 its test, on a broker of its own
       .venv/bin/python -m %[2]s    against what runs (make up); services/%[1]s/README.md says more
`, r.Name, strings.ReplaceAll(r.Name, "-", "_")+"_consumer")
	}
	return fmt.Sprintf(`
next:  go test ./services/%[1]s                   its test, on a broker of its own
       eval "$(bin/streamforge env)"              the addresses of what runs (make up)
       go run ./services/%[1]s                    services/%[1]s/README.md says more
`, r.Name)
}

// workingTree finds the folder of the repository that contains dir, or this process's folder.
func workingTree(dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = os.Getwd(); err != nil {
			return "", err
		}
	}
	for at := dir; ; at = filepath.Dir(at) {
		module, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && strings.HasPrefix(string(module), "module github.com/streamforge/streamforge\n") {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", errors.New(dir + " is not in a working tree of the platform: go there, or say --root")
		}
	}
}

// gitConfig returns the first of git's settings that is set; "" when none is, or without git.
func gitConfig(ctx context.Context, dir string, names ...string) string {
	for _, name := range names {
		command := exec.CommandContext(ctx, "git", "config", "--get", name)
		command.Dir = dir
		if output, err := command.Output(); err == nil {
			if value := strings.TrimSpace(string(output)); value != "" {
				return value
			}
		}
	}
	return ""
}

// schemaVersions numbers the working tree's schemas as a registry does that was told of every commit of the main branch.
// Without that history (no git, a shallow clone) a schema is taken for the first.
func schemaVersions(ctx context.Context, root string) func(subject string) (int, error) {
	versions := sync.OnceValue(func() map[string]history.Held {
		held, err := heldVersions(ctx, root)
		if err != nil {
			fmt.Fprintf(os.Stderr, "the schemas' versions are unknown (%s); 1 is written as schemaVersion: correct it if a registry says otherwise\n", oneLine(err))
		}
		return held
	})
	return func(subject string) (int, error) {
		if h, ok := versions()[subject]; ok && h.Version != nil {
			return h.Version.Number, nil
		}
		return 1, nil
	}
}

func heldVersions(ctx context.Context, root string) (map[string]history.Held, error) {
	repository, err := history.Open(ctx, root)
	if err != nil {
		return nil, err
	}
	base, err := repository.Base(ctx, "")
	if err != nil {
		return nil, err
	}
	past, err := repository.Read(ctx, base)
	if err != nil {
		return nil, err
	}
	subjects, err := schemas.Load(os.DirFS(filepath.Join(root, "schemas")))
	if err != nil {
		return nil, err
	}
	held, _ := past.RegisterAll(subjects, "")
	return held, nil
}
