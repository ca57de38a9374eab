package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/governance/comment"
	"github.com/streamforge/streamforge/services/internal/governance/history/historytest"
)

// These tests have no build tag: they run without cgo as well, as the commands do in a pull request.

// repositoryTop is the repository that these tests stand in.
const repositoryTop = "../.."

// ourRepository is a repository with this one's schemas and contracts, committed on main.
func ourRepository(t *testing.T) *historytest.Repository {
	t.Helper()
	files := map[string]string{}
	for _, folder := range []string{"schemas", "contracts"} {
		err := filepath.WalkDir(filepath.Join(repositoryTop, folder), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(name, ".go") {
				return err
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			below, err := filepath.Rel(repositoryTop, name)
			files[filepath.ToSlash(below)] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	r := historytest.New(t)
	r.Commit(files)
	return r
}

// edit replaces text that stands exactly once in a file of the repository.
func edit(t *testing.T, r *historytest.Repository, file, from, to string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Dir, file))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), from) != 1 {
		t.Fatalf("%s holds %q %d times", file, from, strings.Count(string(text), from))
	}
	r.Write(map[string]string{file: strings.Replace(string(text), from, to, 1)})
}

// ran is how a program of ours ended.
type ran struct {
	out, complaint string
	status         int
}

// TestRunAsProgram is no test: it is the program, for runProgram.
func TestRunAsProgram(t *testing.T) {
	args := os.Getenv("STREAMFORGE_TEST_ARGUMENTS")
	if args == "" {
		t.Skip("only for the tests that start this program")
	}
	os.Args = append([]string{"streamforge"}, strings.Split(args, "\n")...)
	main()
	os.Exit(0)
}

// program is this program as a process of its own, with git as in historytest.
func program(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self, "-test.run=^TestRunAsProgram$")
	command.Dir = dir
	command.Env = append(historytest.Environment(), "STREAMFORGE_TEST_ARGUMENTS="+strings.Join(args, "\n"))
	return command
}

func runProgram(t *testing.T, dir string, args ...string) ran {
	t.Helper()
	command := program(t, dir, args...)
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	if err := command.Run(); err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return ran{out.String(), complaint.String(), command.ProcessState.ExitCode()}
}

const tradesFile, tradesContract = "schemas/market/raw-trades.avsc", "contracts/market/raw-trades.yaml"

// addFlag adds a field as CONTRIBUTING says: with doc and default, in the contract too, and with the next minor version.
func addFlag(t *testing.T, r *historytest.Repository) {
	edit(t, r, tradesFile, `{"name": "event_time"`, `{"name": "block_trade", "doc": "Negotiated off the book; null where the venue does not say.", "type": ["null", "boolean"], "default": null},
    {"name": "event_time"`)
	raiseVersion(t, r, tradesContract)
	edit(t, r, tradesContract, "      - name: event_time", `      - name: block_trade
        description: "Negotiated off the book; null where the venue does not say."
        logicalType: boolean
        physicalType: boolean
        required: false
      - name: event_time`)
}

// raiseVersion raises a contract's minor version by one, as a change of the schema has to.
func raiseVersion(t *testing.T, r *historytest.Repository, file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Dir, file))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^version: (\d+)\.(\d+)\.\d+$`).FindStringSubmatch(string(text))
	if m == nil {
		t.Fatalf("%s has no version", file)
	}
	minor, err := strconv.Atoi(m[2])
	if err != nil {
		t.Fatal(err)
	}
	r.Write(map[string]string{file: strings.Replace(string(text), m[0], fmt.Sprintf("version: %s.%d.0", m[1], minor+1), 1)})
}

func TestPRCheck(t *testing.T) {
	t.Parallel()
	t.Run("nothing changed", func(t *testing.T) {
		r := ourRepository(t)
		got := runProgram(t, r.Dir, "pr-check")
		if got.status != 0 || !strings.HasPrefix(got.out, comment.Marker+"unchanged -->") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a field added as CONTRIBUTING says", func(t *testing.T) {
		r := ourRepository(t)
		r.Git("checkout", "-q", "-b", "feature")
		addFlag(t, r)
		got := runProgram(t, r.Dir, "pr-check", "--base", "main")
		if got.status != 0 || !strings.HasPrefix(got.out, comment.Marker+"compatible -->") {
			t.Fatalf("%+v", got)
		}
		if !strings.Contains(got.out, "ADD COLUMN IF NOT EXISTS `block_trade` Nullable(Bool)") || !strings.Contains(got.out, "v1 → v2") {
			t.Errorf("the SQL or the version is missing:\n%s", got.out)
		}
	})
	t.Run("a field renamed, committed, handed over as data", func(t *testing.T) {
		r := ourRepository(t)
		r.Git("checkout", "-q", "-b", "feature")
		edit(t, r, tradesFile, `"name": "price"`, `"name": "trade_price"`)
		r.Git("commit", "-q", "-a", "-m", "rename")
		data := filepath.Join(t.TempDir(), "data.json")
		text := filepath.Join(t.TempDir(), "comment.md")
		got := runProgram(t, r.Dir, "pr-check", "--base", "main", "--output", text, "--data", data)
		if got.status != 3 {
			t.Fatalf("%+v", got)
		}
		written, err := os.ReadFile(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{comment.Marker + "incompatible -->", "`price`", "`writer.raw-trades` (`platform`)", "`market-data` owns `raw-trades`", "`READER_FIELD_MISSING_DEFAULT_VALUE` against v1", "Declared readers only"} {
			if !strings.Contains(string(written), want) {
				t.Errorf("the comment does not say %q:\n%s", want, written)
			}
		}
		again := runProgram(t, r.Dir, "pr-comment", data)
		if again.status != 0 || again.out != string(written) {
			t.Errorf("from the data comes another comment, status %d:\n%s", again.status, again.out)
		}
	})
	t.Run("a contract that is none", func(t *testing.T) {
		r := ourRepository(t)
		edit(t, r, tradesContract, "kind: DataContract", "kind: Datacontract")
		got := runProgram(t, r.Dir, "pr-check")
		if got.status != 1 || !strings.HasPrefix(got.out, comment.Marker+"not-judged -->") || !strings.Contains(got.out, "contracts/market/raw-trades.yaml:3") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a shallow clone", func(t *testing.T) {
		r := ourRepository(t)
		r.Commit(nil)
		clone := filepath.Join(t.TempDir(), "clone")
		r.Git("clone", "-q", "--depth", "1", "file://"+r.Dir, clone)
		got := runProgram(t, clone, "pr-check")
		if got.status != 1 || !strings.Contains(got.out, "fetch-depth: 0") || !strings.Contains(got.complaint, "fetch-depth: 0") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("with evidence", func(t *testing.T) {
		r := ourRepository(t)
		r.Write(map[string]string{"contracts/evidence/production.json": `{"cluster": "production", "date": "2026-11-22", "recordsPerPartition": 10, "products": [
			{"product": "raw-trades", "groups": [{"group": "writer.raw-trades", "members": true}, {"group": "who-knows", "members": true}],
			 "versions": [{"version": 1, "schemaId": 3, "lastWritten": "2026-11-22", "producers": ["parser@1.2.3"]}]}]}`})
		edit(t, r, tradesFile, `"name": "price"`, `"name": "trade_price"`)
		got := runProgram(t, r.Dir, "pr-check")
		for _, want := range []string{"live on 2026-11-22 (production)", "`who-knows` is **not declared**", "v1 was still produced on 2026-11-22 by `parser@1.2.3`"} {
			if !strings.Contains(got.out, want) {
				t.Errorf("the comment does not say %q:\n%s", want, got.out)
			}
		}
	})
}

func TestCodeOwnersAreWhatTheContractsSay(t *testing.T) {
	want, err := codeOwners(repositoryTop)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(filepath.Join(repositoryTop, codeOwnersFile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is stale; `bin/streamforge codeowners` writes it:\n%s", codeOwnersFile, want)
	}
}

func TestTryBreaking(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(r *historytest.Repository) (dir string){
		"a clone whose only branch is main": func(r *historytest.Repository) string {
			r.Git("clone", "-q", "file://"+r.Dir, filepath.Join(r.Dir, "..", "clone"))
			return filepath.Join(r.Dir, "..", "clone")
		},
		"without any remote, in a folder below": func(r *historytest.Repository) string { return filepath.Join(r.Dir, "schemas") },
		"on a detached head":                    func(r *historytest.Repository) string { r.Git("checkout", "-q", "--detach"); return r.Dir },
		"on another branch, main renamed away": func(r *historytest.Repository) string {
			r.Git("checkout", "-q", "-b", "feature")
			r.Git("branch", "-m", "main", "trunk")
			return r.Dir
		},
		"with a dirty working tree": func(r *historytest.Repository) string {
			r.Write(map[string]string{tradesFile: "no schema any more", "new.txt": "x"})
			return r.Dir
		},
		"with a hook that fails": func(r *historytest.Repository) string {
			hook := filepath.Join(r.Dir, ".git", "hooks", "post-checkout")
			if err := os.WriteFile(hook, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
				t.Error(err)
			}
			return r.Dir
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := ourRepository(t)
			dir := prepare(r)
			before := stateOf(r)
			temporary := t.TempDir()
			command := program(t, dir, "try-breaking")
			command.Env = append(command.Env, "TMPDIR="+temporary)
			var complaint bytes.Buffer
			command.Stderr = &complaint
			out, err := command.Output()
			if err != nil || !strings.HasPrefix(string(out), comment.Marker+"incompatible -->") || !strings.Contains(string(out), "`trade_price`") {
				t.Fatalf("%v: %s\n%s", err, complaint.String(), out)
			}
			leavesNoTrace(t, r, before, temporary)
		})
	}
}

// stateOf is what git says of a repository: worktrees, branches, what is changed.
func stateOf(r *historytest.Repository) string {
	return r.Git("worktree", "list", "--porcelain") + "\n" + r.Git("for-each-ref") + "\n" + r.Git("status", "--porcelain=v2", "--branch")
}

func leavesNoTrace(t *testing.T, r *historytest.Repository, before, temporary string) {
	t.Helper()
	if after := stateOf(r); after != before {
		t.Errorf("git said\n%s\nand says\n%s", before, after)
	}
	if left, err := os.ReadDir(filepath.Join(r.Dir, ".git", "worktrees")); err == nil && len(left) > 0 {
		t.Errorf("git keeps %v", left)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("the temporary folder holds %v, %v", left, err)
	}
}

// An interrupt at any time leaves nothing behind, also one that a terminal sends to the whole group.
func TestTryBreakingInterrupted(t *testing.T) {
	t.Parallel()
	realGit, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ verb, then string }{
		"while git makes the worktree":     {"add", `"$GIT" "$@" >/dev/null; : > "$MARK"; exec sleep 60`},
		"before git has made anything":     {"add", `: > "$MARK"; exec sleep 60`},
		"while the check reads the past":   {"cat-file", `: > "$MARK"; exec sleep 60`},
		"while the worktree is removed":    {"remove", `: > "$MARK"; sleep 0.3; exec "$GIT" "$@"`},
		"while git answers the first time": {"rev-parse", `: > "$MARK"; exec sleep 60`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := ourRepository(t)
			before := stateOf(r)
			temporary, tools := t.TempDir(), t.TempDir()
			slow := "#!/bin/sh\nfor a in \"$@\"; do if [ \"$a\" = " + c.verb + " ]; then " + c.then + "; fi; done\nexec \"$GIT\" \"$@\"\n"
			if err := os.WriteFile(filepath.Join(tools, "git"), []byte(slow), 0o755); err != nil {
				t.Fatal(err)
			}
			mark := filepath.Join(tools, "mark")
			command := program(t, r.Dir, "try-breaking")
			command.Env = append(command.Env, "TMPDIR="+temporary, "GIT="+realGit, "MARK="+mark, "PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"))
			command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			command.Stdout, command.Stderr = io.Discard, io.Discard
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- command.Wait() }()
			for _, err := os.Stat(mark); err != nil; _, err = os.Stat(mark) {
				select {
				case <-ctx.Done():
					t.Fatal("git was never asked to " + c.verb)
				case err := <-ended:
					t.Fatalf("it ended before it came to %s: %v", c.verb, err)
				case <-time.After(5 * time.Millisecond):
				}
			}
			if err := syscall.Kill(-command.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ctx.Done():
				t.Fatal("it goes on after an interrupt")
			case err := <-ended:
				if err == nil && c.verb != "remove" {
					t.Error("it ended as if nothing had been")
				}
			}
			leavesNoTrace(t, r, before, temporary)
		})
	}
}
