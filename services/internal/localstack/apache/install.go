// Package apache is the second local stack's broker and registry: Apache Kafka (KRaft, one node) and Apicurio Registry, both
// from Maven Central, each a Java process on loopback with its data on disk. It installs them and says how to start them;
// package localstack starts and supervises the processes.
package apache

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Versions that are installed.
const (
	KafkaVersion    = "4.1.0"
	ScalaVersion    = "2.13"
	ApicurioVersion = "2.6.13.Final"
)

// pom names Kafka's server; Maven finds the rest. The log4j bridge keeps the server's log readable.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>streamforge</groupId>
  <artifactId>local-kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_` + ScalaVersion + `</artifactId>
      <version>` + KafkaVersion + `</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
`

// Install fetches what is not in cacheDir yet, through Maven. An interrupted install is done again; two at a time wait for
// each other.
func Install(ctx context.Context, cacheDir string) error {
	if kafkaInstalled(cacheDir) && apicurioInstalled(cacheDir) {
		return nil
	}
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("the apache stack needs Java 17 and Maven, and %s is not on the PATH; install it from your system's packages, or use STACK=embedded", tool)
		}
	}
	unlock, err := lock(cacheDir)
	if err != nil {
		return err
	}
	defer unlock()
	if !kafkaInstalled(cacheDir) {
		fmt.Fprintf(os.Stderr, "fetching Apache Kafka %s with Maven (about 43 MB, once)\n", KafkaVersion)
		if err := installKafka(ctx, cacheDir); err != nil {
			return err
		}
	}
	if !apicurioInstalled(cacheDir) {
		fmt.Fprintf(os.Stderr, "fetching Apicurio Registry %s with Maven (about 142 MB, once)\n", ApicurioVersion)
		return installApicurio(ctx, cacheDir)
	}
	return nil
}

func kafkaDir(cacheDir string) string { return filepath.Join(cacheDir, "apache-kafka-"+KafkaVersion) }

func apicurioDir(cacheDir string) string {
	return filepath.Join(cacheDir, "apicurio-registry-"+ApicurioVersion)
}

func kafkaInstalled(cacheDir string) bool { return exists(kafkaDir(cacheDir)) }

func apicurioInstalled(cacheDir string) bool { return exists(apicurioDir(cacheDir)) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lock lets one process install at a time.
func lock(cacheDir string) (unlock func(), err error) {
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(cacheDir, "apache.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// into runs install in a fresh folder and gives it its name only when all of it is there.
func into(final string, install func(dir string) error) error {
	unfinished := final + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	if err := os.MkdirAll(unfinished, 0o755); err != nil {
		return err
	}
	if err := install(unfinished); err != nil {
		return err
	}
	return os.Rename(unfinished, final)
}

func installKafka(ctx context.Context, cacheDir string) error {
	return into(kafkaDir(cacheDir), func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom), 0o644); err != nil {
			return err
		}
		return maven(ctx, dir, "-f", filepath.Join(dir, "pom.xml"), "dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "libs"), "-DincludeScope=runtime")
	})
}

func installApicurio(ctx context.Context, cacheDir string) error {
	return into(apicurioDir(cacheDir), func(dir string) error {
		artifact := "io.apicurio:apicurio-registry-app:" + ApicurioVersion + ":tar.gz:all"
		if err := maven(ctx, dir, "dependency:copy", "-Dartifact="+artifact, "-DoutputDirectory="+dir); err != nil {
			return err
		}
		archives, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
		if err != nil || len(archives) != 1 {
			return fmt.Errorf("mvn fetched %s but left %d archives in %s", artifact, len(archives), dir)
		}
		if err := extract(archives[0], dir); err != nil {
			return fmt.Errorf("unpacking %s: %w", archives[0], err)
		}
		return os.Remove(archives[0])
	})
}

// maven runs quietly; what it said is shown only when it fails.
func maven(ctx context.Context, dir string, args ...string) error {
	command := exec.CommandContext(ctx, "mvn", append([]string{"-q", "-B"}, args...)...)
	command.Dir = dir
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("mvn %s: %w: %s", strings.Join(args, " "), err, firstLine(output))
	}
	return nil
}

func firstLine(output []byte) string {
	for line := range strings.Lines(string(output)) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return "it said nothing"
}

func extract(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	reader := tar.NewReader(unzipped)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := extractEntry(root, header, reader); err != nil {
			return err
		}
	}
}

// extractEntry writes one file; the root refuses names that lead out of the folder.
func extractEntry(root *os.Root, header *tar.Header, content io.Reader) error {
	name := filepath.Clean(header.Name)
	switch header.Typeflag {
	case tar.TypeDir:
		return makeAll(root, name)
	case tar.TypeReg:
		if err := makeAll(root, filepath.Dir(name)); err != nil {
			return err
		}
		f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, content); err != nil {
			f.Close()
			return err
		}
		return f.Close()
	}
	return nil
}

func makeAll(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if err := root.MkdirAll(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
