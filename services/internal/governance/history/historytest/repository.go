// Package historytest makes real git repositories for tests.
package historytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Repository is a git repository in a temporary folder, on the branch main.
type Repository struct {
	Dir string
	t   testing.TB
}

// New makes an empty repository.
func New(t testing.TB) *Repository {
	t.Helper()
	r := &Repository{Dir: t.TempDir(), t: t}
	r.Git("init", "-q", "-b", "main")
	return r
}

// Git runs git in the repository and returns what it says. The settings of the person who runs the test do not count.
func (r *Repository) Git(args ...string) string {
	r.t.Helper()
	command := exec.Command("git", args...)
	command.Dir = r.Dir
	command.Env = Environment()
	out, err := command.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Environment is that of git in tests: no settings of the machine, and none that a hook has set.
func Environment() []string {
	env := []string{
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=A",
		"GIT_COMMITTER_EMAIL=a@example.org", "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z",
	}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "GIT_") {
			env = append(env, e)
		}
	}
	return env
}

// Write writes files; an empty text removes the file.
func (r *Repository) Write(files map[string]string) {
	r.t.Helper()
	for name, text := range files {
		full := filepath.Join(r.Dir, filepath.FromSlash(name))
		if text == "" {
			if err := os.Remove(full); err != nil {
				r.t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// Commit writes files and commits everything; it returns the commit's hash.
func (r *Repository) Commit(files map[string]string) string {
	r.t.Helper()
	r.Write(files)
	r.Git("add", "-A")
	r.Git("commit", "-q", "--allow-empty", "-m", "a change")
	return r.Git("rev-parse", "HEAD")
}
