package install

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// published makes a package and an npm that hands it out and counts how often.
func published(t *testing.T, content string) (p Package, calls func() int) {
	t.Helper()
	var tarball bytes.Buffer
	zipped := gzip.NewWriter(&tarball)
	archive := tar.NewWriter(zipped)
	if err := archive.WriteHeader(&tar.Header{Name: "package/libchdb.so", Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	_, _ = archive.Write([]byte(content))
	_ = archive.Close()
	_ = zipped.Close()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("tarball", tarball.String(), 0o644)
	write("npm", "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho call >> "+dir+"/calls\n"+
		"while [ \"$1\" != --pack-destination ]; do shift; done\nsleep 0.2\ncp "+dir+"/tarball \"$2/x.tgz\"\n", 0o755)
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	digest := func(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }
	pack := Package{
		Name: "lib", Version: "1", PackedBytes: int64(tarball.Len()), PackedSHA256: digest(tarball.Bytes()),
		Member: "package/libchdb.so", Bytes: int64(len(content)), SHA256: digest([]byte(content)),
	}
	count := func() int {
		text, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return strings.Count(string(text), "call")
	}
	return pack, count
}

func TestSeveralInstallsAtOnceFetchOnce(t *testing.T) {
	p, calls := published(t, "engine")
	cache := t.TempDir()
	// A run that was cut off left this behind.
	if err := os.MkdirAll(filepath.Join(cache, "clickhouse", "incoming", "pack"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cache, "clickhouse", "incoming", "pack", "half.tgz"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	var installs sync.WaitGroup
	for range 4 {
		installs.Go(func() {
			path, err := installPackage(t.Context(), p, cache, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if content, _ := os.ReadFile(path); string(content) != "engine" {
				t.Errorf("the library is %q", content)
			}
		})
	}
	installs.Wait()
	if n := calls(); n != 1 {
		t.Errorf("npm was called %d times, expected once", n)
	}
	if _, err := os.Stat(filepath.Join(cache, "clickhouse", "incoming")); !os.IsNotExist(err) {
		t.Error("the work folder was left behind")
	}
}

func TestAnotherBuildIsRefused(t *testing.T) {
	for _, spoil := range []func(*Package){
		func(p *Package) { p.SHA256 = strings.Repeat("0", 64) },
		func(p *Package) { p.PackedSHA256 = strings.Repeat("0", 64) },
		func(p *Package) { p.Member = "package/other.so" },
	} {
		p, _ := published(t, "engine")
		spoil(&p)
		cache := t.TempDir()
		if path, err := installPackage(t.Context(), p, cache, nil); err == nil {
			t.Errorf("%s was installed", path)
		}
		if left, _ := filepath.Glob(filepath.Join(cache, "clickhouse", "*.so")); len(left) != 0 {
			t.Errorf("%v was left in the cache", left)
		}
	}
}

func TestWithoutNpmAndPipOneLineSaysWhatToDo(t *testing.T) {
	p, _ := published(t, "engine")
	t.Setenv("PATH", t.TempDir())
	_, err := installPackage(t.Context(), p, t.TempDir(), nil)
	if !errors.Is(err, ErrNoClient) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "CLICKHOUSE_URL") {
		t.Errorf("%v", err)
	}
}
