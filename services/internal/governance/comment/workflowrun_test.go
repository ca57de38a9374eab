package comment_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/governance/comment"
	"github.com/streamforge/streamforge/services/internal/governance/history/historytest"
)

// runner runs the scripts of a workflow as GitHub does, with what its expressions stand for.
type runner struct {
	t      *testing.T
	temp   string
	values map[string]string
}

func newRunner(t *testing.T, values map[string]string) runner {
	t.Helper()
	r := runner{t: t, temp: t.TempDir(), values: values}
	r.values["runner.temp"], r.values["github.token"] = r.temp, "none"
	return r
}

func (r runner) value(text string) string {
	for name, value := range r.values {
		text = strings.ReplaceAll(text, "${{ "+name+" }}", value)
	}
	if strings.Contains(text, "${{") {
		r.t.Fatalf("nobody knows what %q is", text)
	}
	return text
}

// step runs a step's script in a folder and returns its exit status and what it says.
func (r runner) step(s step, folder string, more ...string) (int, string) {
	r.t.Helper()
	command := exec.Command("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", s.Run)
	command.Dir = folder
	command.Env = append(historytest.Environment(), "RUNNER_TEMP="+r.temp, "GITHUB_STEP_SUMMARY="+filepath.Join(r.temp, "summary"))
	for name, value := range s.Env {
		command.Env = append(command.Env, name+"="+r.value(value))
	}
	command.Env = append(command.Env, more...)
	out, err := command.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		r.t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(out)
}

func (j job) step(t *testing.T, name string) step {
	t.Helper()
	for _, s := range j.Steps {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no step is called %s", name)
	return step{}
}

// A pull request's merge commit is checked out as actions/checkout does it, and every script of both workflows runs as it
// stands there, with the real program; only GitHub's own answers come from files.
func TestTheWorkflowsScriptsRun(t *testing.T) {
	t.Parallel()
	all, _ := readWorkflows(t)
	origin := historytest.New(t)
	for _, name := range []string{"schemas", "contracts", ".github"} {
		if err := os.CopyFS(filepath.Join(origin.Dir, name), os.DirFS(filepath.Join("../../../..", name))); err != nil {
			t.Fatal(err)
		}
	}
	origin.Commit(map[string]string{"go.mod": "module github.com/streamforge/streamforge\n"})
	origin.Git("checkout", "-q", "-b", "of-a-fork")
	edits := map[string]string{tradesSchema: `"name": "price"`, tradesContract: "name: price\n"}
	for file, from := range edits {
		text, err := os.ReadFile(filepath.Join(origin.Dir, file))
		if err != nil || !strings.Contains(string(text), from) {
			t.Fatalf("%s holds no %s: %v", file, from, err)
		}
		edits[file] = strings.Replace(string(text), from, strings.Replace(from, "price", "trade_price", 1), 1)
	}
	head := origin.Commit(edits)
	origin.Git("checkout", "-q", "main")
	origin.Commit(map[string]string{"README.md": "main goes on"})
	origin.Git("checkout", "-q", "--detach")
	origin.Git("merge", "-q", "--no-ff", "-m", "merge", head)
	origin.Git("update-ref", "refs/pull/7/merge", "HEAD")
	clone := &historytest.Repository{Dir: filepath.Join(t.TempDir(), "clone")}
	origin.Git("clone", "-q", "--no-checkout", origin.Dir, clone.Dir)
	origin.Git("-C", clone.Dir, "fetch", "-q", "origin", "+refs/pull/7/merge:refs/remotes/pull/7/merge")
	origin.Git("-C", clone.Dir, "checkout", "-q", "--detach", "refs/remotes/pull/7/merge")

	check := all["contracts.yml"].Jobs["check"]
	r := newRunner(t, map[string]string{"github.base_ref": "main"})
	if status, out := r.step(check.step(t, "Build"), "../../../.."); status != 0 {
		t.Fatalf("it does not build: %s", out)
	}
	status, out := r.step(check.step(t, "Check"), clone.Dir)
	if status != 3 {
		t.Errorf("the check of a breaking change ends with %d: %s", status, out)
	}
	summary, _ := os.ReadFile(filepath.Join(r.temp, "summary"))
	handed, err := os.Open(r.value(check.step(t, "Hand over").With["path"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	defer handed.Close() //nolint:errcheck // nothing was written
	in, err := comment.Decode(handed)
	if err != nil {
		t.Fatal(err)
	}
	if got := comment.Markdown(in); got != string(summary) || !strings.HasPrefix(got, comment.Marker+"incompatible -->") || !strings.Contains(got, "`trade_price`") {
		t.Errorf("handed over is\n%s\nand the summary is\n%s", got, summary)
	}
	if status, out := r.step(check.step(t, "Owners"), clone.Dir); status != 0 {
		t.Errorf("the owners: %d, %s", status, out)
	}

	s := newSite(t, in)
	if _, err := handed.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(handed)
	if err != nil {
		t.Fatal(err)
	}
	s.zip(map[string]string{"pr-check.json": string(data)})
	post := newRunner(t, map[string]string{
		"github.repository": "o/r", "github.event.workflow_run.id": "99", "github.event.workflow_run.head_sha": "abc",
		"github.event.workflow_run.head_repository.owner.login": "stranger", "github.event.workflow_run.head_branch": "main",
	})
	commenting := all["comment.yml"].Jobs["comment"]
	if status, out := post.step(commenting.step(t, "Build"), "../../../.."); status != 0 {
		t.Fatalf("it does not build: %s", out)
	}
	status, out = post.step(commenting.step(t, "Comment"), clone.Dir, "SITE="+s.dir, "PATH="+s.dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	var sent struct{ Body string }
	if err := json.Unmarshal([]byte(s.read("body")), &sent); err != nil || status != 0 || sent.Body != string(summary) {
		t.Errorf("status %d, %v, it says %s and sent\n%s", status, err, out, sent.Body)
	}
}
