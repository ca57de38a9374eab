// Package install puts the ClickHouse engine's shared library (libchdb) into a cache folder: it asks npm for the package,
// and where there is no npm it lets pip fetch one. It never speaks to a registry itself, so mirrors, proxies and
// credentials are those of the clients' own configuration.
package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Package is one published build of the engine.
type Package struct {
	Name         string // npm package
	Version      string
	PackedBytes  int64  // size of the tarball, for the progress line
	PackedSHA256 string // of the tarball
	Member       string // path of the library inside the tarball
	Bytes        int64  // size of the library
	SHA256       string // of the library
}

// packages are the builds this program was tested with, by GOOS/GOARCH. The digests are pinned here, so that whatever a
// mirror hands out is the build that was tried. There is no arm64 build of this version in npm, and the Python wheels
// hold an extension module without the C interface, so arm64 needs a server of its own.
func packages() map[string]Package {
	return map[string]Package{
		"linux/amd64": {
			Name: "@chdb/lib-linux-x64-gnu", Version: "26.5.3",
			PackedBytes:  166572008,
			PackedSHA256: "b874e449710950da3abd7e20376f7bb3387d9e03adcc7082f022be18dfdf316a",
			Member:       "package/libchdb.so",
			Bytes:        559044752,
			SHA256:       "4330da79405733f7572f27c1442f46c03a08301f00859dce0368645731b1e1dc",
		},
	}
}

// ErrUnsupported says that there is no embedded engine for this machine.
var ErrUnsupported = errors.New("the embedded ClickHouse has no build for this machine")

// ErrNoClient says that neither npm nor pip is there to fetch the engine.
var ErrNoClient = errors.New("neither npm nor pip is installed")

// Config says where to keep the library and where to tell about the download.
type Config struct {
	CacheDir string    // folder that is kept between runs; empty is streamforge in the user's cache folder
	Progress io.Writer // gets the progress lines; nil is silence
}

// Library returns the path of the library, after fetching it when the cache does not hold it. Several processes may call
// it at once: one fetches, the others wait for it. A run that was cut off leaves only a folder that the next run removes.
func Library(ctx context.Context, config Config) (string, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	p, ok := packages()[platform]
	if !ok {
		return "", fmt.Errorf("%w (%s): set CLICKHOUSE_URL to the HTTP address of a ClickHouse server", ErrUnsupported, platform)
	}
	cache, err := cacheDir(config.CacheDir)
	if err != nil {
		return "", err
	}
	return installPackage(ctx, p, cache, config.Progress)
}

func cacheDir(configured string) (string, error) {
	if configured == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("choosing a cache folder for the ClickHouse engine: %w; name one with --cache-dir", err)
		}
		configured = filepath.Join(user, "streamforge")
	}
	return filepath.Abs(configured)
}

func installPackage(ctx context.Context, p Package, cache string, progress io.Writer) (string, error) {
	home := filepath.Join(cache, "clickhouse")
	target := filepath.Join(home, "libchdb-"+p.Version+"-"+p.SHA256[:12]+".so")
	if present(target, p.Bytes) {
		return target, nil
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", fmt.Errorf("making the cache folder of the ClickHouse engine: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(home, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if present(target, p.Bytes) {
		return target, nil // Another process fetched it while this one waited.
	}
	work := filepath.Join(home, "incoming") // One name only: whoever holds the lock removes what a cut-off run left.
	if err := os.RemoveAll(work); err != nil {
		return "", fmt.Errorf("removing an unfinished download %s: %w", work, err)
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", fmt.Errorf("making %s: %w", work, err)
	}
	defer os.RemoveAll(work)
	say := newProgress(progress)
	tarball, err := fetch(ctx, p, work, say)
	if err != nil {
		return "", err
	}
	if err := unpack(ctx, p, tarball, filepath.Join(work, "library"), say); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(work, "library"), target); err != nil {
		return "", fmt.Errorf("moving the ClickHouse engine into place: %w", err)
	}
	say.line("ClickHouse engine %s is in %s", p.Version, target)
	return target, nil
}

// present trusts a file that has the right name and size: it got its name only after its digest was checked.
func present(path string, size int64) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}
