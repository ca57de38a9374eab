package scaffold_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/scaffold"
)

const root = "../../.."

// copyTree copies the contracts and schemas into a working tree of the test's own.
func copyTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"contracts", "schemas"} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS(filepath.Join(root, folder))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "services", "parser"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func load(t *testing.T, dir string) *scaffold.Catalog {
	t.Helper()
	c, err := scaffold.Load(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func request(kind scaffold.Kind, topics ...string) scaffold.Request {
	return scaffold.Request{Name: "momentum", Topics: topics, Kind: kind, Owner: "data-science"}
}

func TestWhatIsWrongWithARequestIsToldWithTheRemedy(t *testing.T) {
	c := load(t, copyTree(t))
	for _, test := range []struct {
		name   string
		change func(r *scaffold.Request)
		want   []string
	}{
		{"no name", func(r *scaffold.Request) { r.Name = "" }, []string{"NAME=momentum"}},
		{"bad characters", func(r *scaffold.Request) { r.Name = "My Momentum_2!" }, []string{`"My Momentum_2!"`, "NAME=my-momentum-2"}},
		{"a path", func(r *scaffold.Request) { r.Name = "../../etc" }, []string{"NAME=etc"}},
		{"too long", func(r *scaffold.Request) { r.Name = strings.Repeat("a", 41) }, []string{"41 characters", "at most 40"}},
		{"a program's name", func(r *scaffold.Request) { r.Name = "parser" }, []string{"services/parser exists", "another NAME"}},
		{"a group's name", func(r *scaffold.Request) { r.Name = "loader" }, []string{"contracts/consumers/loader.yaml", "market-data"}},
		{"a prefix of another's transactional ids", func(r *scaffold.Request) { r.Name = "parser-two" }, []string{"would begin with parser-two-", "those of parser with parser-"}},
		{"the shared rooms' name", func(r *scaffold.Request) { r.Name = "internal" }, []string{"no program's folder"}},
		{"a name that the go tool passes over", func(r *scaffold.Request) { r.Name = "vendor" }, []string{"no program's folder"}},
		{"no topic", func(r *scaffold.Request) { r.Topics = nil }, []string{"TOPICS=raw-trades", "feed-gaps"}},
		{"unknown topic", func(r *scaffold.Request) { r.Topics = []string{"raw_trade"} }, []string{`"raw_trade" has no contract`, "raw-trades is meant", "raw-orderbooks"}},
		{"twice", func(r *scaffold.Request) { r.Topics = []string{"raw-trades", "raw-trades"} }, []string{"raw-trades stands twice"}},
		{"several wrong", func(r *scaffold.Request) { r.Topics = []string{"trades", "quotes"} }, []string{`"trades"`, `"quotes"`}},
		{"kind", func(r *scaffold.Request) { r.Kind = "rust" }, []string{"KIND=go or KIND=python"}},
		{"owner", func(r *scaffold.Request) { r.Owner = " " }, []string{"OWNER=", "git config"}},
		{"an owner that is no team", func(r *scaffold.Request) { r.Owner = "Data Science" }, []string{`"Data Science"`, "OWNER=data-science"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(scaffold.Go, "raw-trades")
			test.change(&r)
			files, err := c.Files(r)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q in it", err, want)
				}
			}
			if files != nil {
				t.Error("files are made all the same")
			}
		})
	}
}

func TestNothingIsOverwrittenAndNothingIsLeftBehind(t *testing.T) {
	dir := copyTree(t)
	files, err := load(t, dir).Files(request(scaffold.Python, "raw-trades"))
	if err != nil {
		t.Fatal(err)
	}
	// Somebody makes the same in between: the last file that would be written is there already.
	last := filepath.Join(dir, files[len(files)-1].Path)
	if err := os.MkdirAll(filepath.Dir(last), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(last, []byte("somebody's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := scaffold.Write(dir, files); err == nil || !strings.Contains(err.Error(), "nothing is overwritten") {
		t.Errorf("%v", err)
	}
	if text, _ := os.ReadFile(last); string(text) != "somebody's" {
		t.Errorf("it was overwritten: %q", text)
	}
	if _, err := os.Stat(filepath.Join(dir, "services", "momentum")); err == nil {
		t.Error("half of it is left behind")
	}
	if err := os.Remove(last); err != nil {
		t.Fatal(err)
	}
	if err := scaffold.Write(dir, files); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, dir).Files(request(scaffold.Python, "raw-trades")); err == nil || !strings.Contains(err.Error(), "services/momentum exists") {
		t.Errorf("a second time: %v", err)
	}
}

// Every product that there is can be read in both languages, alone and together with the others, and the declaration passes
// the contracts' own lint.
func TestEveryProductCanBeRead(t *testing.T) {
	dir := copyTree(t)
	contracts, err := contract.Load(os.DirFS(filepath.Join(dir, "contracts")))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range contracts {
		all = append(all, c.Topic.Name)
	}
	for _, kind := range []scaffold.Kind{scaffold.Go, scaffold.Python} {
		for _, topics := range append([][]string{all}, each(all)...) {
			dir := copyTree(t)
			files, err := load(t, dir).Files(request(kind, topics...))
			if err != nil {
				t.Errorf("%s of %v: %v", kind, topics, err)
				continue
			}
			if err := scaffold.Write(dir, files); err != nil {
				t.Fatal(err)
			}
			consumers, err := contract.LoadConsumers(os.DirFS(filepath.Join(dir, "contracts")), contracts)
			if err != nil {
				t.Errorf("%s of %v: %v", kind, topics, err)
			}
			for _, c := range consumers {
				if c.Group == "momentum" && (len(c.Reads) != len(topics) || c.Owner != "data-science" || c.Principal != "User:momentum") {
					t.Errorf("%+v", c)
				}
			}
		}
	}
}

// The manifest adds the program to the platform's compose file and changes nothing else of it.
func TestTheManifestAddsTheProgramToThePlatform(t *testing.T) {
	for kind, command := range map[scaffold.Kind]string{scaffold.Go: "momentum", scaffold.Python: "python -m momentum_consumer"} {
		dir := copyTree(t)
		if err := os.CopyFS(filepath.Join(dir, "compose"), os.DirFS(filepath.Join(root, "compose"))); err != nil {
			t.Fatal(err)
		}
		project := func(files ...string) *types.Project {
			t.Helper()
			for i := range files {
				files[i] = filepath.Join(dir, files[i])
			}
			options, err := cli.NewProjectOptions(files, cli.WithEnv([]string{"CLICKHOUSE_PASSWORD=secret"}), cli.WithoutEnvironmentResolution)
			if err != nil {
				t.Fatal(err)
			}
			p, err := options.LoadProject(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		before := project("compose/docker-compose.yaml")
		files, err := load(t, dir).Files(request(kind, "raw-trades"))
		if err != nil {
			t.Fatal(err)
		}
		if err := scaffold.Write(dir, files); err != nil {
			t.Fatal(err)
		}
		after := project("compose/docker-compose.yaml", "services/momentum/compose.yaml")
		if len(after.Services) != len(before.Services)+1 {
			t.Errorf("%s: %d services, before %d", kind, len(after.Services), len(before.Services))
		}
		s := after.Services["momentum"]
		if got := strings.Join(s.Command, " "); got != command {
			t.Errorf("%s: command %q, want %q", kind, got, command)
		}
		address := s.Environment["KAFKA_BOOTSTRAP_SERVERS"]
		if address == nil || *address != "kafka:9092" || len(s.Ports) != 0 || !s.ReadOnly || s.DependsOn["apply"].Condition == "" || len(s.Networks) == 0 {
			t.Errorf("%s: %+v", kind, s)
		}
		if s.Build == nil {
			t.Fatalf("%s: nothing to build it from", kind)
		}
		if asked := s.Build.Args["PROGRAMS"]; kind == scaffold.Go && (asked == nil || *asked != "./services/momentum") {
			t.Errorf("the image does not hold the program: %v", s.Build.Args)
		}
		// Go's image is built from the whole repository, of which there are but some folders here.
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func each(all []string) (lists [][]string) {
	for _, one := range all {
		lists = append(lists, []string{one})
	}
	return lists
}

func TestSplitTopics(t *testing.T) {
	for _, text := range []string{"a,b", "a b", " a, b ", "a,,b"} {
		if got := scaffold.SplitTopics(text); len(got) != 2 || got[0] != "a" || got[1] != "b" {
			t.Errorf("%q: %q", text, got)
		}
	}
}
