package processtest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Tree is what a fresh clone of this working tree would be, for a test to edit.
type Tree struct {
	t testing.TB
	// Dir is its folder; bin/streamforge is there and built.
	Dir  string
	root string
}

// NewTree copies the working tree that the test runs in.
func NewTree(t testing.TB) *Tree {
	t.Helper()
	tree := &Tree{t: t, Dir: t.TempDir(), root: root(t)}
	for _, name := range []string{"schemas", "contracts", "services", "compose", "go.mod", "go.sum"} {
		found, err := filesBelow(tree.root, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			text, err := os.ReadFile(filepath.Join(tree.root, file))
			if err != nil {
				t.Fatal(err)
			}
			tree.Write(file, string(text))
		}
	}
	if err := os.Mkdir(filepath.Join(tree.Dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(Programs(t), "streamforge"), filepath.Join(tree.Dir, "bin", "streamforge")); err != nil {
		t.Fatal(err)
	}
	return tree
}

// root is the working tree's folder: tests run in that of their package.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
}

// filesBelow lists the files of a part of a tree by their names below its root, hidden folders left out.
func filesBelow(root, part string) (files []string, err error) {
	err = filepath.WalkDir(filepath.Join(root, part), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		relative, err := filepath.Rel(root, path)
		files = append(files, relative)
		return err
	})
	return files, err
}

// Write makes or replaces a file of the tree.
func (tree *Tree) Write(file, text string) {
	tree.t.Helper()
	path := filepath.Join(tree.Dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tree.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tree.t.Fatal(err)
	}
}

// Read is a file of the tree.
func (tree *Tree) Read(file string) string {
	tree.t.Helper()
	text, err := os.ReadFile(filepath.Join(tree.Dir, file))
	if err != nil {
		tree.t.Fatal(err)
	}
	return string(text)
}

// Edit replaces a text, which must stand once in the file.
func (tree *Tree) Edit(file, from, to string) {
	tree.t.Helper()
	text := tree.Read(file)
	if n := strings.Count(text, from); n != 1 {
		tree.t.Fatalf("%s holds %q %d times and not once", file, from, n)
	}
	tree.Write(file, strings.Replace(text, from, to, 1))
}

// Command is a command in a folder of the tree, "." for the tree itself.
func (tree *Tree) Command(dir string, environment []string, name string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(tree.t.Context(), name, arguments...)
	command.Dir, command.Env = filepath.Join(tree.Dir, dir), Environment(environment...)
	return command
}

// Run is Command for what must succeed; it returns what the command prints.
func (tree *Tree) Run(dir string, environment []string, name string, arguments ...string) string {
	tree.t.Helper()
	output, err := tree.Command(dir, environment, name, arguments...).CombinedOutput()
	if err != nil {
		tree.t.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

// Commit makes of the tree as it is the newest commit of its branch main; the first one makes the repository.
func (tree *Tree) Commit(message string) {
	tree.t.Helper()
	if _, err := os.Stat(filepath.Join(tree.Dir, ".git")); err != nil {
		tree.Run(".", nil, "git", "init", "-q", "-b", "main")
	}
	tree.Run(".", nil, "git", "add", "schemas", "contracts")
	tree.Run(".", nil, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false", "commit", "-q", "--no-verify", "-m", message)
}

// Build builds programs as the tree has them into dir, named version in what they produce. A program that runs from there goes
// on: its successor's file takes the name. What the tree has as the working tree has it comes from Go's cache.
func (tree *Tree) Build(dir, version string, programs ...string) {
	tree.t.Helper()
	staged, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		tree.t.Fatal(err)
	}
	overlay := filepath.Join(staged, "overlay.json")
	if err := os.WriteFile(overlay, tree.overlay(), 0o644); err != nil {
		tree.t.Fatal(err)
	}
	// Without symbols a program is linked in half the time.
	command := build(staged, programs, "-overlay", overlay, "-ldflags", "-s -w -X github.com/streamforge/streamforge/services/internal/app.buildVersion="+version)
	command.Dir = tree.root
	if output, err := command.CombinedOutput(); err != nil {
		tree.t.Fatalf("building %s from the changed tree: %v\n%s", strings.Join(programs, ", "), err, output)
	}
	for _, name := range programs {
		if err := Install(filepath.Join(staged, name), dir); err != nil {
			tree.t.Fatal(err)
		}
	}
	if err := os.RemoveAll(staged); err != nil {
		tree.t.Fatal(err)
	}
}

// overlay tells Go which files of the working tree are others in this one, or none.
func (tree *Tree) overlay() []byte {
	tree.t.Helper()
	replaced := map[string]string{}
	for _, part := range []string{"schemas", "contracts", "services"} {
		// Listed anew: others may be at work in the working tree.
		originals, err := filesBelow(tree.root, part)
		if err != nil {
			tree.t.Fatal(err)
		}
		files, err := filesBelow(tree.Dir, part)
		if err != nil {
			tree.t.Fatal(err)
		}
		for _, file := range originals {
			replaced[filepath.Join(tree.root, file)] = ""
		}
		for _, file := range files {
			path := filepath.Join(tree.root, file)
			if original, err := os.ReadFile(path); err == nil && string(original) == tree.Read(file) {
				delete(replaced, path)
			} else {
				replaced[path] = filepath.Join(tree.Dir, file)
			}
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		tree.t.Fatal(err)
	}
	return text
}

// CopyOfPrograms is a folder with the programs of Programs, which a test may replace one by one.
func CopyOfPrograms(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := Install(filepath.Join(Programs(t), name), dir); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Install puts a program into a folder in one step. One of that name that runs there goes on.
func Install(program, dir string) error {
	target := filepath.Join(dir, filepath.Base(program))
	next := target + ".new"
	// What an earlier call left may be a link to a program that others use, and must not be written into.
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := os.Link(program, next); err != nil {
		// The folder is on another file system.
		text, err := os.ReadFile(program)
		if err == nil {
			err = os.WriteFile(next, text, 0o755)
		}
		if err != nil {
			return fmt.Errorf("installing %s: %w", program, err)
		}
	}
	return os.Rename(next, target) // of two links to one file it keeps both
}
