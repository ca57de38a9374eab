package avro_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// oracle is Avro's own Java library, run from source by the JVM.
type oracle struct {
	in  io.Writer
	out *bufio.Reader
}

type verdict struct {
	OK    bool        `json:"ok"`
	Error string      `json:"error"`
	Text  string      `json:"text"`
	Found [][3]string `json:"found"`
}

// startOracle skips without Java and Maven, except in CI, where they belong to the machine.
func startOracle(t testing.TB) *oracle {
	t.Helper()
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is needed to compare with Avro's Java library: %v", tool, err)
			}
			t.Skipf("%s is needed to compare with Avro's Java library", tool)
		}
	}
	source, err := filepath.Abs("testdata/Oracle.java")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", jars(t)+"/*", source)
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = command.Wait() // it ends with its input
	})
	return &oracle{in, bufio.NewReaderSize(out, 1<<20)}
}

// jars fetches the library and what it needs through Maven, once, into the user's cache.
func jars(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(cache, "streamforge", "avro-java-1.12.0")
	if found, _ := filepath.Glob(filepath.Join(folder, "avro-1.12.0.jar")); len(found) == 1 {
		return folder
	}
	pom := filepath.Join(t.TempDir(), "pom.xml")
	err = os.WriteFile(pom, []byte(`<project><modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>oracle</artifactId><version>1</version>
<dependencies><dependency><groupId>org.apache.avro</groupId><artifactId>avro</artifactId><version>1.12.0</version></dependency></dependencies></project>`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	partial, err := os.MkdirTemp(cache, "avro-java-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(partial)
	if out, err := exec.Command("mvn", "-q", "-f", pom, "dependency:copy-dependencies", "-DoutputDirectory="+partial).CombinedOutput(); err != nil {
		t.Fatalf("fetching Avro's Java library: %v\n%s", err, out)
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(partial, folder); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	return folder
}

func (o *oracle) ask(t testing.TB, request ...string) verdict {
	t.Helper()
	line, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("asking Avro's Java library: %v", err)
	}
	answer, err := o.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("asking Avro's Java library about %s: %v", line, err)
	}
	var v verdict
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	return v
}

// pairs is how many generated pairs a test compares: STREAMFORGE_AVRO_PAIRS, or a few thousand.
func pairs(t testing.TB) int {
	text := os.Getenv("STREAMFORGE_AVRO_PAIRS")
	if text == "" {
		return 3000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("STREAMFORGE_AVRO_PAIRS=%s: %v", text, err)
	}
	return n
}
