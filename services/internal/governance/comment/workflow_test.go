package comment_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/streamforge/streamforge/services/internal/governance/comment"
)

const workflows = "../../../../.github/workflows"

type workflow struct {
	On          map[string]any
	Permissions map[string]string
	Jobs        map[string]job
}

type job struct {
	If             string
	RunsOn         string `yaml:"runs-on"`
	TimeoutMinutes int    `yaml:"timeout-minutes"`
	Permissions    map[string]string
	Steps          []step
}

type step struct {
	Name, Uses, Run string
	With            map[string]any
	Env             map[string]string
}

// readWorkflows reads every workflow of the repository, with its text.
func readWorkflows(t *testing.T) (map[string]workflow, map[string]string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(workflows, "*.y*ml"))
	if err != nil || len(names) < 2 {
		t.Fatalf("workflows %v, %v", names, err)
	}
	parsed, texts := map[string]workflow{}, map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var w workflow
		if err := yaml.Unmarshal(text, &w); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		parsed[filepath.Base(name)], texts[filepath.Base(name)] = w, string(text)
	}
	return parsed, texts
}

var (
	pinned = regexp.MustCompile(`^[a-z0-9-]+/[a-z0-9-]+@[0-9a-f]{40}$`)
	// named is a pinned action in the text, with the version that the digest is of.
	named = regexp.MustCompile(`(?m)uses: \S+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
)

// What keeps a stranger's branch from writing anything, in every workflow there is.
func TestWorkflowsGiveABranchNoToken(t *testing.T) {
	all, texts := readWorkflows(t)
	for name, w := range all {
		if w.Permissions == nil || len(w.Permissions) > 0 {
			t.Errorf("%s: permissions %v, want none for the workflow: each job names its own", name, w.Permissions)
		}
		if _, ok := w.On["pull_request_target"]; ok {
			t.Errorf("%s runs on pull_request_target: a branch's code beside a token that may write", name)
		}
		if strings.Contains(texts[name], "secrets.") {
			t.Errorf("%s uses a secret", name)
		}
		_, ofBranch := w.On["pull_request"]
		for jobName, j := range w.Jobs {
			at := name + ", job " + jobName
			if j.TimeoutMinutes == 0 {
				t.Errorf("%s has no timeout", at)
			}
			if j.Permissions == nil {
				t.Errorf("%s names no permissions", at)
			}
			for what, access := range j.Permissions {
				if access != "read" && (ofBranch || what != "pull-requests") {
					t.Errorf("%s may %s %s", at, access, what)
				}
			}
			for _, s := range j.Steps {
				if s.Uses != "" && !pinned.MatchString(s.Uses) {
					t.Errorf("%s uses %s, which is not pinned by digest", at, s.Uses)
				}
				if strings.Contains(s.Run, "${{") {
					t.Errorf("%s, step %s: an expression within a script becomes part of the script; give it through env", at, s.Name)
				}
				if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != false {
					t.Errorf("%s: the checkout leaves its token in the clone", at)
				}
				if ofBranch && strings.Contains(strings.Join(slices.Collect(mapValues(s.Env)), " "), "token") {
					t.Errorf("%s, step %s: a token in the environment of the branch's code", at, s.Name)
				}
			}
		}
		if uses := strings.Count(texts[name], "uses: "); uses != len(named.FindAllString(texts[name], -1)) {
			t.Errorf("%s: not every action says of which version its digest is", name)
		}
	}
}

func mapValues(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func TestCheckWorkflow(t *testing.T) {
	all, _ := readWorkflows(t)
	w := all["contracts.yml"]
	if _, ok := w.On["pull_request"]; !ok || len(w.On) != 1 {
		t.Errorf("it runs on %v, want pull_request alone", w.On)
	}
	steps := w.Jobs["check"].Steps
	if depth := steps[0].With["fetch-depth"]; depth != uint64(0) {
		t.Errorf("fetch-depth is %v: the versions are worked out from the whole history", depth)
	}
	var builds, checks, hands bool
	for _, s := range steps {
		builds = builds || strings.Contains(s.Run, "go build") && s.Env["CGO_ENABLED"] == "0"
		checks = checks || strings.Contains(s.Run, "pr-check --base") && s.Env["BASE_REF"] == "${{ github.base_ref }}"
		hands = hands || strings.HasPrefix(s.Uses, "actions/upload-artifact@") && s.With["name"] == "pr-check"
	}
	if !builds || !checks || !hands {
		t.Errorf("builds without cgo: %t, checks: %t, hands the data over: %t", builds, checks, hands)
	}
}

func TestCommentWorkflow(t *testing.T) {
	all, _ := readWorkflows(t)
	w := all["comment.yml"]
	if run, ok := w.On["workflow_run"].(map[string]any); !ok || len(w.On) != 1 || len(run["workflows"].([]any)) != 1 || run["workflows"].([]any)[0] != "contracts" {
		t.Errorf("it runs on %v, want the end of contracts.yml alone", w.On)
	}
	j := w.Jobs["comment"]
	if !strings.Contains(j.If, "github.event.workflow_run.event == 'pull_request'") {
		t.Errorf("its condition is %q", j.If)
	}
	for i, s := range j.Steps {
		last := i == len(j.Steps)-1
		if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["ref"] != "${{ github.event.repository.default_branch }}" {
			t.Errorf("it checks out %v: beside a token that may write only the main branch's code may run", s.With["ref"])
		}
		if _, token := s.Env["GH_TOKEN"]; token != last {
			t.Errorf("step %q has the token: %t, want it in the last alone", s.Name, token)
		}
		if strings.HasPrefix(s.Uses, "actions/download-artifact@") {
			t.Error("an artifact is unpacked into the workspace: its files could replace the program's")
		}
	}
}

// site is a GitHub of files: what gh is answered, and what it was asked.
type site struct {
	t   *testing.T
	dir string
}

func newSite(t *testing.T, in comment.Input) *site {
	t.Helper()
	for _, tool := range []string{"bash", "jq", "unzip"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	s := &site{t, t.TempDir()}
	s.write("gh", `#!/usr/bin/env bash
echo "$*" >> "$SITE/calls"
case "$*" in
*/zip) cat "$SITE/zip" ;;
*/artifacts*) cat "$SITE/artifacts" ;;
*--paginate*/comments*) cat "$SITE/comments" ;;
*POST*|*PATCH*) cat > "$SITE/body" ;;
*/pulls*) cat "$SITE/pulls" ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
`)
	s.write("streamforge", `#!/usr/bin/env bash
cmp -s "$SITE/data" "$2" || { echo "other data was handed over" >&2; exit 1; }
cat "$SITE/comment"
`)
	var data bytes.Buffer
	if err := in.Encode(&data); err != nil {
		t.Fatal(err)
	}
	s.write("data", data.String())
	s.write("comment", comment.Markdown(in))
	s.write("pulls", `[{"number": 7, "head": {"sha": "abc"}}, {"number": 8, "head": {"sha": "older"}}]`)
	s.write("artifacts", `{"artifacts": [{"id": 55, "name": "pr-check", "expired": false, "size_in_bytes": 4000}]}`)
	s.write("comments", "[]")
	s.zip(map[string]string{"pr-check.json": data.String(), "streamforge": "#!/bin/sh\necho taken over", "../streamforge": "#!/bin/sh\necho taken over"})
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) read(name string) string {
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s *site) zip(files map[string]string) {
	s.t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.write("zip", b.String())
}

// comments are what the pull request has, a page each.
func (s *site) comments(pages ...[]map[string]any) {
	s.t.Helper()
	var text strings.Builder
	for _, page := range pages {
		if err := json.NewEncoder(&text).Encode(page); err != nil {
			s.t.Fatal(err)
		}
	}
	s.write("comments", text.String())
}

// run runs the script as the workflow does and returns the call that wrote, empty for none.
func (s *site) run() (wrote, out string, err error) {
	s.t.Helper()
	script, err := filepath.Abs(filepath.Join(workflows, "..", "comment.sh"))
	if err != nil {
		s.t.Fatal(err)
	}
	command := exec.Command(script)
	command.Env = append(os.Environ(), "PATH="+s.dir+string(os.PathListSeparator)+os.Getenv("PATH"), "SITE="+s.dir, "RUNNER_TEMP="+s.dir, "GH_TOKEN=none",
		"REPOSITORY=o/r", "RUN_ID=99", "HEAD_SHA=abc", "HEAD_OWNER=stranger", "HEAD_BRANCH=main")
	text, err := command.CombinedOutput()
	for _, call := range strings.Split(s.read("calls"), "\n") {
		if strings.Contains(call, "POST") || strings.Contains(call, "PATCH") {
			wrote = call
		}
	}
	return wrote, string(text), err
}

func TestCommentScript(t *testing.T) {
	breaking := comment.Input{Report: renamed()}
	body := comment.Markdown(breaking)
	bot := map[string]any{"login": "github-actions[bot]"}
	const post, patch = "api --method POST repos/o/r/issues/7/comments --input -", "api --method PATCH repos/o/r/issues/comments/12 --input -"
	older := []map[string]any{{"id": 10, "user": map[string]any{"login": "stranger"}, "body": body}, {"id": 11, "user": bot, "body": "another bot's word"}}
	for _, c := range []struct {
		name    string
		in      comment.Input
		prepare func(s *site)
		want    string // the call that writes
		fails   bool
	}{
		{"first comment", breaking, func(*site) {}, post, false},
		{"only a stranger wrote the marker", breaking, func(s *site) { s.comments(older) }, post, false},
		{"updated in place, on the second page", breaking, func(s *site) {
			s.comments(older, []map[string]any{{"id": 12, "user": bot, "body": comment.Marker + "compatible -->\nold"}})
		}, patch, false},
		{"said already, with GitHub's line ends", breaking, func(s *site) {
			s.comments([]map[string]any{{"id": 12, "user": bot, "body": strings.ReplaceAll(strings.TrimSuffix(body, "\n"), "\n", "\r\n")}})
		}, "", false},
		{"nothing changed, nothing said", comment.Input{}, func(*site) {}, "", false},
		{"nothing changed any more", comment.Input{}, func(s *site) { s.comments([]map[string]any{{"id": 12, "user": bot, "body": body}}) }, patch, false},
		{"not judged", comment.Input{NotJudged: []string{"why"}}, func(*site) {}, post, false},
		{"overtaken by another push", breaking, func(s *site) { s.write("pulls", `[{"number": 7, "head": {"sha": "newer"}}]`) }, "", false},
		{"two pull requests of one head", breaking, func(s *site) {
			s.write("pulls", `[{"number": 7, "head": {"sha": "abc"}}, {"number": 8, "head": {"sha": "abc"}}]`)
		}, "", false},
		{"nothing handed over", breaking, func(s *site) { s.write("artifacts", `{"artifacts": []}`) }, "", false},
		{"an artifact of another size", breaking, func(s *site) {
			s.write("artifacts", `{"artifacts": [{"id": 55, "name": "pr-check", "expired": false, "size_in_bytes": 2000001}]}`)
		}, "", false},
		{"a file that unpacks without end", breaking, func(s *site) { s.zip(map[string]string{"pr-check.json": strings.Repeat(" ", 9_000_000)}) }, "", true},
		{"a zip without the file", breaking, func(s *site) { s.zip(map[string]string{"other": "{}"}) }, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c.in)
			c.prepare(s)
			wrote, out, err := s.run()
			if (err != nil) != c.fails {
				t.Fatalf("%v: %s", err, out)
			}
			if wrote != c.want {
				t.Fatalf("it wrote with %q, want %q; it says %s", wrote, c.want, out)
			}
			if first, _, _ := strings.Cut(s.read("calls"), "\n"); !strings.Contains(first, "-f head=stranger:main") {
				t.Errorf("it asked for the pull request with %q", first)
			}
			if c.want == "" {
				return
			}
			var sent struct{ Body string }
			if err := json.Unmarshal([]byte(s.read("body")), &sent); err != nil {
				t.Fatal(err)
			}
			if sent.Body != comment.Markdown(c.in) {
				t.Errorf("it sent\n%s", sent.Body)
			}
		})
	}
}
