package history

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrShallow says that a clone lacks the history that the versions are worked out from.
var ErrShallow = errors.New("this is a shallow clone, and the versions of a schema are worked out from the whole history; " +
	"in GitHub Actions give actions/checkout `fetch-depth: 0`, elsewhere run `git fetch --unshallow`")

// Repository is a git repository with a working tree.
type Repository struct {
	// Top is the working tree's folder.
	Top string
}

// Open finds the repository around a folder. A folder outside of any and a shallow clone (ErrShallow) are errors.
func Open(ctx context.Context, dir string) (*Repository, error) {
	r := &Repository{Top: dir}
	out, err := r.git(ctx, "rev-parse", "--is-shallow-repository", "--is-bare-repository", "--show-toplevel")
	if err != nil {
		where, _ := filepath.Abs(dir)
		return nil, fmt.Errorf("%s: the check compares with the history of a git repository: %w", where, err)
	}
	lines := strings.SplitN(strings.TrimRight(out, "\n"), "\n", 3)
	if len(lines) < 3 {
		return nil, fmt.Errorf("%s: git knows no working tree here: %q; run the check in a clone with its files checked out", dir, out)
	}
	if lines[0] == "true" {
		return nil, ErrShallow
	}
	r.Top = lines[2]
	return r, nil
}

// Commit is a base: a commit and the name under which somebody asked for it.
type Commit struct {
	Hash string
	Name string
}

// String is "origin/main at 1b3d5f79".
func (c Commit) String() string { return c.Name + " at " + short(c.Hash) }

func short(hash string) string { return hash[:min(8, len(hash))] }

// Base resolves the commit to compare with: ref, or without one origin/main, and main where there is no origin.
func (r *Repository) Base(ctx context.Context, ref string) (Commit, error) {
	if ref != "" {
		hash, err := r.commit(ctx, ref)
		if err != nil {
			return Commit{}, fmt.Errorf("%q names no commit of this repository: %w; fetch it, or name another with --against", ref, err)
		}
		return Commit{hash, ref}, nil
	}
	for _, name := range []string{"origin/main", "main"} {
		if hash, err := r.commit(ctx, "refs/remotes/"+name); err == nil {
			return Commit{hash, name}, nil
		}
		if hash, err := r.commit(ctx, "refs/heads/"+name); err == nil {
			return Commit{hash, name}, nil
		}
	}
	return Commit{}, errors.New("this repository has neither origin/main nor main; fetch it, or name the base with --against")
}

func (r *Repository) commit(ctx context.Context, ref string) (string, error) {
	out, err := r.git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(out), nil
}

// Fork is the commit at which the working tree's branch and a base parted; the base's own when the branch has all of it, and
// empty when they have nothing in common.
func (r *Repository) Fork(ctx context.Context, base Commit) (string, error) {
	out, err := r.git(ctx, "merge-base", base.Hash, "HEAD")
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", nil // no common commit, or no commit at all yet
	}
	return strings.TrimSpace(out), err
}

// Files are the schemas and contracts of a commit, path to text.
func (r *Repository) Files(ctx context.Context, commit string) (map[string]string, error) {
	out, err := r.git(ctx, "ls-tree", "-r", "-z", "--full-tree", commit, "--", SchemasFolder+"/", ContractsFolder+"/")
	if err != nil {
		return nil, err
	}
	blobs := map[string]string{}
	var ids []string
	for _, line := range strings.Split(strings.TrimSuffix(out, "\x00"), "\x00") {
		about, name, _ := strings.Cut(line, "\t")
		words := strings.Fields(about)
		if len(words) == 3 && strings.HasPrefix(words[0], "100") && (isSchema(name) || isContract(name)) {
			blobs[name] = words[2]
			ids = append(ids, words[2])
		}
	}
	texts, err := r.blobs(ctx, ids)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string, len(blobs))
	for name, blob := range blobs {
		if text, ok := texts[blob]; ok {
			files[name] = text
		}
	}
	return files, nil
}

// git runs git and returns what it says. Settings of the person who runs it must not change the answer.
func (r *Repository) git(ctx context.Context, args ...string) (string, error) {
	command := r.command(ctx, args...)
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	if err := command.Run(); err != nil {
		return "", gitFault(args[0], complaint.String(), err)
	}
	return out.String(), nil
}

func (r *Repository) command(ctx context.Context, args ...string) *exec.Cmd {
	fixed := []string{"-C", r.Top, "--no-pager", "--no-replace-objects", "--literal-pathspecs", "-c", "log.showRoot=true", "-c", "log.showSignature=false", "-c", "log.follow=false", "-c", "core.quotePath=false"}
	command := exec.CommandContext(ctx, "git", append(fixed, args...)...)
	command.Env = append(command.Environ(), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0")
	return command
}

func gitFault(what, complaint string, err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("git is not installed: %w", err)
	}
	if text := strings.TrimSpace(complaint); text != "" {
		first, _, _ := strings.Cut(text, "\n")
		return fmt.Errorf("git %s: %s: %w", what, first, err)
	}
	return fmt.Errorf("git %s: %w", what, err)
}

// change is one file that a commit added, changed or took away.
type change struct {
	path string
	// blob is the content's id, empty for a file that is gone or is no file (a link, a submodule).
	blob string
}

// step is a commit that touched one of the folders.
type step struct {
	commit  string
	changes []change
}

// log lists the first-parent commits up to a commit that touched the folders, the oldest first, each compared with its
// first parent: what a merge brought in counts as the merge's.
func (r *Repository) log(ctx context.Context, upTo string, folders ...string) ([]step, error) {
	args := []string{"log", "--first-parent", "-m", "--reverse", "--raw", "-z", "--no-abbrev", "--no-renames", "--no-color", "--format=%H", upTo, "--"}
	out, err := r.git(ctx, append(args, folders...)...)
	if err != nil {
		return nil, err
	}
	return parseLog(out)
}

// parseLog reads NUL-separated pieces: a commit's hash, then for each file ":mode mode blob blob letter" and its path.
func parseLog(out string) ([]step, error) {
	var steps []step
	pieces := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	for i := 0; i < len(pieces); i++ {
		piece := strings.TrimPrefix(pieces[i], "\n")
		switch {
		case piece == "":
		case piece[0] != ':':
			steps = append(steps, step{commit: piece})
		default:
			words := strings.Fields(piece[1:])
			if len(words) != 5 || i+1 == len(pieces) || len(steps) == 0 {
				return nil, fmt.Errorf("git log answered %q, which is not understood", piece)
			}
			i++
			c := change{path: pieces[i], blob: words[3]}
			if !strings.HasPrefix(words[1], "100") {
				c.blob = ""
			}
			last := &steps[len(steps)-1]
			last.changes = append(last.changes, c)
		}
	}
	return steps, nil
}

// maxBlobBytes bounds what is read as a schema or a contract; both are written by people.
const maxBlobBytes = 1 << 20

// errTooLarge stands for the text of a file above maxBlobBytes.
var errTooLarge = fmt.Errorf("the file is larger than %d bytes and was not read", maxBlobBytes)

// blobs reads the contents of many files with one process. One that is too large is missing from the answer.
func (r *Repository) blobs(ctx context.Context, ids []string) (map[string]string, error) {
	if len(ids) == 0 {
		return map[string]string{}, nil
	}
	command := r.command(ctx, "cat-file", "--batch", "--buffer")
	command.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n")
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, gitFault("cat-file", "", err)
	}
	texts, readErr := readBatch(bufio.NewReaderSize(out, 1<<16), len(ids))
	if readErr != nil {
		_ = command.Process.Kill() // what it still has to say was not understood
	}
	if err := command.Wait(); err != nil && readErr == nil {
		return nil, gitFault("cat-file", complaint.String(), err)
	}
	return texts, readErr
}

// readBatch reads n answers of the form "<id> blob <size>\n<content>\n".
func readBatch(in *bufio.Reader, n int) (map[string]string, error) {
	texts := make(map[string]string, n)
	for range n {
		header, err := in.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("git cat-file ended early: %w", err)
		}
		words := strings.Fields(header)
		if len(words) != 3 || words[1] != "blob" {
			return nil, fmt.Errorf("git cat-file: %q; the clone lacks this content: fetch the whole repository", strings.TrimSpace(header))
		}
		size, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil || size < 0 {
			return nil, fmt.Errorf("git cat-file answered %q, which is not understood", strings.TrimSpace(header))
		}
		if size > maxBlobBytes {
			if _, err := io.CopyN(io.Discard, in, size+1); err != nil {
				return nil, fmt.Errorf("git cat-file ended early: %w", err)
			}
			continue
		}
		content := make([]byte, size+1)
		if _, err := io.ReadFull(in, content); err != nil {
			return nil, fmt.Errorf("git cat-file ended early: %w", err)
		}
		texts[words[0]] = string(content[:size])
	}
	return texts, nil
}
