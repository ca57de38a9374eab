package contract_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// refereeVersion of datacontract-cli, the standard's own checker: fixed, so that its next release does not break our tests.
const refereeVersion = "1.2.8"

// TestTheRefereeAcceptsEveryContract asks datacontract-cli about every ODCS contract of the repository. Our own form is
// stricter, but it is the standard that other tools read the files by.
func TestTheRefereeAcceptsEveryContract(t *testing.T) {
	if testing.Short() {
		t.Skip("installs a Python tool")
	}
	referee := installReferee(t)
	files, err := filepath.Glob("../../../contracts/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	limit := make(chan struct{}, 2) // each takes a second of a core, nearly all of it Python's imports
	checked := 0
	for _, file := range files {
		if slices.Contains([]string{"consumers", "producers", "waivers"}, filepath.Base(filepath.Dir(file))) || strings.HasSuffix(file, ".migration.yaml") || strings.HasSuffix(file, ".view.yaml") {
			continue
		}
		checked++
		group.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			out, err := exec.CommandContext(t.Context(), referee, "lint", file).CombinedOutput()
			if err != nil {
				t.Errorf("datacontract lint %s: %v\n%s", file, err, out)
			} else if strings.Contains(string(out), "has warnings") {
				t.Errorf("datacontract lint %s warns:\n%s", file, out)
			}
		})
	}
	group.Wait()
	if checked < 6 {
		t.Errorf("only %d contracts found", checked)
	}
}

// TestTheRefereeAcceptsWhatOurFormOffers: what no contract of the repository uses yet is the standard's too.
func TestTheRefereeAcceptsWhatOurFormOffers(t *testing.T) {
	if testing.Short() {
		t.Skip("installs a Python tool")
	}
	referee := installReferee(t)
	text := strings.NewReplacer(
		"      - name: trade_id\n", nestedFields+"      - name: trade_id\n",
		"slaProperties:\n", "customProperties:\n  - {property: severities, value: {doc-removed: breaking}}\nslaProperties:\n",
		"      - {property: messageKey,", "      - {property: partitioner, value: murmur2}\n      - {property: messageKey,",
		"        physicalType: \"bytes.decimal(38,18)\"\n", "        physicalType: \"bytes.decimal(38,18)\"\n        classification: restricted\n",
		"        logicalTypeOptions: {minimum: 0}\n", "        logicalTypeOptions: {minimum: 0, maximum: 1000}\n",
	).Replace(mustRead(t, tradesPath))
	if _, problems := contract.Parse(tradesPath, []byte(text)); len(problems) > 0 {
		t.Fatal(problems)
	}
	file := filepath.Join(t.TempDir(), "raw-trades.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), referee, "lint", file).CombinedOutput(); err != nil || strings.Contains(string(out), "has warnings") {
		t.Errorf("datacontract lint: %v\n%s", err, out)
	}
}

// TestTheRefereeNoticesWhatIsNotTheStandard keeps the test above honest: a referee that accepts everything proves nothing.
func TestTheRefereeNoticesWhatIsNotTheStandard(t *testing.T) {
	if testing.Short() {
		t.Skip("installs a Python tool")
	}
	referee := installReferee(t)
	text := strings.Replace(mustRead(t, tradesPath), "    host: kafka:9092", "    host: kafka:9092\n    topic: raw-trades", 1)
	file := filepath.Join(t.TempDir(), "raw-trades.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), referee, "lint", file).CombinedOutput(); err == nil && !strings.Contains(string(out), "has warnings") {
		t.Errorf("a server with a bare topic passes:\n%s", out)
	}
}

// installReferee installs the tool once into the user's cache and returns its path. Where it cannot be installed the test
// is skipped, and fails in CI.
func installReferee(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		unavailable(t, "no cache folder: %v", err)
	}
	dir := filepath.Join(cache, "streamforge", "datacontract-cli-"+refereeVersion)
	tool := filepath.Join(dir, "bin", "datacontract")
	if _, err := os.Stat(filepath.Join(dir, "complete")); err == nil {
		return tool
	}
	// Away before anew: an installation that was interrupted must not count.
	if err := os.RemoveAll(dir); err != nil {
		unavailable(t, "%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	for _, command := range [][]string{
		{"python3", "-m", "venv", dir},
		{filepath.Join(dir, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "datacontract-cli==" + refereeVersion},
	} {
		if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			unavailable(t, "%s: %v\n%s", strings.Join(command, " "), err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "complete"), nil, 0o600); err != nil {
		unavailable(t, "%v", err)
	}
	return tool
}

func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("datacontract-cli "+refereeVersion+" cannot be installed: "+format, args...)
	}
	t.Skipf("datacontract-cli "+refereeVersion+" cannot be installed: "+format, args...)
}

// TestTheRefereeAcceptsADraft: what a next major version's contract is made of, new nested fields among it, is the standard's.
func TestTheRefereeAcceptsADraft(t *testing.T) {
	if testing.Short() {
		t.Skip("installs a Python tool")
	}
	referee := installReferee(t)
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := contract.Find(all, "raw-orderbooks")
	schema, err := avro.Parse(`{"type":"record","name":"RawOrderbook","namespace":"streamforge.market.v2","fields":[
		{"name":"market","type":"string"},
		{"name":"symbol","type":["null","string"]},
		{"name":"received_at","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"legs","doc":"Parts: \"all\".","type":{"type":"array","items":["null",{"type":"record","name":"Leg","fields":[{"name":"of","type":"long"}]}]}},
		{"name":"levels","type":{"type":"map","values":{"type":"record","name":"Level","fields":[{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":8}}]}}},
		{"name":"either","type":["int","string"]}]}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.NextMajor("market/raw-orderbooks.v2.yaml", []byte(mustRead(t, c.File)), schema, map[string]string{"market": "venue"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"orderBy, value: [market, symbol, received_at]", "- name: market\n        description: \"The venue", "lowCardinality, value: true}\n      - name: symbol\n", "        required: false\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the draft lacks %q", want)
		}
	}
	file := filepath.Join(t.TempDir(), "raw-orderbooks.v2.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), referee, "lint", file).CombinedOutput(); err != nil || strings.Contains(string(out), "has warnings") {
		t.Errorf("datacontract lint: %v\n%s\n%s", err, out, text)
	}
}
