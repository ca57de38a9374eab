package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds waits for what a quiet machine does in a second or two; it is there for what never comes.
const patience = 2 * time.Minute

// TestItBuildsWithoutCgo: a pull request's check needs no C compiler, and no client of HTTP either, whose compilation a
// newcomer's first try would wait for.
func TestItBuildsWithoutCgo(t *testing.T) {
	t.Parallel()
	offline := filepath.Join(t.TempDir(), "streamforge")
	withoutCgo := func(name string, args ...string) (string, error) {
		command := exec.Command(name, args...)
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := command.CombinedOutput()
		return string(out), err
	}
	if out, err := withoutCgo("go", "build", "-o", offline, "."); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	needs, err := withoutCgo("go", "list", "-deps", ".")
	if err != nil {
		t.Fatalf("%v\n%s", err, needs)
	}
	for need := range strings.Lines(needs) {
		switch need = strings.TrimSpace(need); need {
		case "net/http", "crypto/tls", "github.com/prometheus/client_golang/prometheus", "google.golang.org/protobuf/proto":
			t.Errorf("the offline program is built with %s", need)
		}
	}
	if out, err := withoutCgo(offline, "schemas", "check", "--against", "registry"); err == nil || !strings.Contains(out, "make build") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestSchemasCheck(t *testing.T) {
	t.Parallel()
	r := ourRepository(t)
	got := runProgram(t, r.Dir, "schemas", "check")
	if got.status != 0 || !strings.HasPrefix(got.out, "compared with main at ") || !strings.Contains(got.out, "unchanged") {
		t.Errorf("nothing changed: %+v", got)
	}
	r.Git("checkout", "-q", "-b", "feature")
	addFlag(t, r)
	got = runProgram(t, r.Dir, "schemas", "check", "--against", "main")
	if got.status != 0 || !strings.Contains(got.out, "COMPATIBLE  raw-trades-value  version 1 → 2, FULL_TRANSITIVE") || !strings.Contains(got.out, "ADD COLUMN IF NOT EXISTS `block_trade`") {
		t.Errorf("a field more: %+v", got)
	}
	edit(t, r, tradesFile, `"name": "price"`, `"name": "trade_price"`)
	// From within a folder, and from elsewhere.
	for _, where := range [][]string{{filepath.Join(r.Dir, "schemas", "market")}, {t.TempDir(), "--root", r.Dir}} {
		got = runProgram(t, where[0], append([]string{"schemas", "check", "--json"}, where[1:]...)...)
		var report struct {
			Verdict  string
			Subjects []struct {
				Name     string
				Findings []struct{ Path string }
			}
		}
		if err := json.Unmarshal([]byte(got.out), &report); err != nil || got.status != 3 {
			t.Fatalf("%v: %+v", err, got)
		}
		if report.Verdict != "incompatible" || report.Subjects[0].Name != "raw-trades-value" || report.Subjects[0].Findings[0].Path != "trade_price" {
			t.Errorf("%+v", report)
		}
	}
}

// TestSchemasCheckCannotJudge ends with 1 and one line that says what to do.
func TestSchemasCheckCannotJudge(t *testing.T) {
	t.Parallel()
	r := ourRepository(t)
	r.Commit(map[string]string{"README.md": "more than one commit"})
	shallow := filepath.Join(t.TempDir(), "clone")
	r.Git("clone", "-q", "--depth", "1", "file://"+r.Dir, shallow)
	broken := ourRepository(t)
	edit(t, broken, tradesContract, "status: active", "status: lively")
	for name, c := range map[string]struct {
		dir  string
		args []string
		want string
	}{
		"a shallow clone":              {shallow, nil, "fetch-depth: 0"},
		"no repository":                {t.TempDir(), nil, "not a git repository"},
		"no such commit":               {r.Dir, []string{"--against", "nothing"}, "--against"},
		"a registry that is not there": {r.Dir, []string{"--against", "registry", "--schema-registry-url", "http://127.0.0.1:1"}, "127.0.0.1:1"},
		"a contract that is wrong":     {broken.Dir, nil, "contracts/market/raw-trades.yaml:"},
	} {
		got := runProgram(t, c.dir, append([]string{"schemas", "check"}, c.args...)...)
		said := got.out + got.complaint
		if got.status != 1 || !strings.Contains(said, c.want) || strings.Count(strings.TrimSpace(said), "\n") != 0 {
			t.Errorf("%s: %+v, want status 1 and one line with %q", name, got, c.want)
		}
	}
}
