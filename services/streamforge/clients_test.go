//go:build cgo

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riferrei/srclient"

	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// TestRealClients lets the tools that people have at hand loose on a running stack, unmodified: whoever attaches to a
// data product does so with these, not with our packages.
func TestRealClients(t *testing.T) {
	onBothStacks(t, func(t *testing.T, kind string) {
		s := processtest.Start(t, kind, "--symbols", "12")
		s.AwaitRows(100, "SELECT count() FROM raw_trades WHERE symbol = 'BTC-USDT'")
		at := s.Status()
		t.Run("kcat", func(t *testing.T) { kcatReadsTrades(t, at) })
		t.Run("confluent-kafka and clickhouse-connect", func(t *testing.T) { pythonAgreesWithItself(t, at) })
		t.Run("confluent-kafka's registry client", func(t *testing.T) { pythonUsesTheRegistry(t, kind, at) })
		t.Run("srclient", func(t *testing.T) { srclientUsesTheRegistry(t, kind, at) })
		t.Run("curl", func(t *testing.T) { curlQueries(t, at) })
	})
}

// A kcatTrade is a trade as kcat saw it.
type kcatTrade struct {
	partition int32
	offset    int64
	key       string
	headers   string
	value     []byte
}

func kcatReadsTrades(t *testing.T, at processtest.Status) {
	needKcat(t)
	listing := runTool(t, "", "kcat", "-b", at.Kafka, "-L", "-t", "raw-trades")
	if !strings.Contains(listing, `topic "raw-trades" with 64 partitions`) {
		t.Errorf("kcat -L:\n%s", listing)
	}
	const trades = 50
	common := []string{"-b", at.Kafka, "-C", "-q", "-t", "raw-trades", "-o", "beginning", "-c", fmt.Sprint(trades), "-X", "isolation.level=read_committed"}
	version := runTool(t, "", "kcat", "-V")
	if regexp.MustCompile(`(?i)\bavro\b`).MatchString(version) {
		// A build with Avro decodes by itself: references and decimals are the registry's and libserdes' affair.
		lines := runTool(t, "", "kcat", append(common, "-s", "value=avro", "-r", at.Registry)...)
		if got := strings.Count(lines, `"trade_id"`); got != trades {
			t.Errorf("kcat -s value=avro shows %d trades, expected %d:\n%.500s", got, trades, lines)
		}
		return
	}
	t.Logf("this kcat has no Avro; its bytes are decoded here: %s", strings.TrimSpace(version))
	// %R is the value's length, four bytes big-endian.
	output := runTool(t, "", "kcat", append(common, "-f", `%p %o %k %h\n%R%s`)...)
	read := parseKcat(t, []byte(output))
	if len(read) != trades {
		t.Fatalf("kcat shows %d trades, expected %d", len(read), trades)
	}
	for _, r := range read {
		_, body, err := registry.ParseWire(r.value)
		var trade records.Trade
		if err == nil {
			err = trade.DecodeAvro(body)
		}
		if err != nil || string(trade.Symbol) != r.key || !strings.HasPrefix(r.headers, "producer=parser@") {
			t.Errorf("partition %d, offset %d, key %q, headers %q: %+v, %v", r.partition, r.offset, r.key, r.headers, trade, err)
		}
	}
}

func parseKcat(t *testing.T, output []byte) []kcatTrade {
	t.Helper()
	var read []kcatTrade
	for len(output) > 0 {
		line, rest, ok := bytes.Cut(output, []byte("\n"))
		var r kcatTrade
		if _, err := fmt.Sscan(string(line), &r.partition, &r.offset, &r.key, &r.headers); err != nil || !ok || len(rest) < 4 {
			t.Fatalf("kcat shows %q: %v", line, err)
		}
		length := int(binary.BigEndian.Uint32(rest))
		if len(rest) < 4+length {
			t.Fatalf("kcat shows half a value after %q", line)
		}
		r.value, output = rest[4:4+length], rest[4+length:]
		read = append(read, r)
	}
	return read
}

// pythonAgreesWithItself reads trades from Kafka and asks ClickHouse for the same rows: two clients by two vendors must
// see the same trade, to the last digit.
func pythonAgreesWithItself(t *testing.T, at processtest.Status) {
	python := needPython(t)
	trades := runTool(t, "", python, "testdata/clients/read_trades.py", at.Kafka, at.Registry, "40")
	if n := strings.Count(trades, "\n"); n != 40 {
		t.Fatalf("%d trades were read, expected 40:\n%s", n, trades)
	}
	trace := strings.Join(strings.Fields(readmeTrace(t)), " ")
	if answer := runTool(t, trades+"trace:"+trace+"\n", python, "testdata/clients/clickhouse_client.py", at.ClickHouse); !strings.Contains(answer, "all good") {
		t.Errorf("clickhouse_client.py says %q", answer)
	}
}

func pythonUsesTheRegistry(t *testing.T, kind string, at processtest.Status) {
	python := needPython(t)
	answers := "confluent"
	if kind == localstack.Apache {
		answers = "apicurio"
	}
	if answer := runTool(t, "", python, "testdata/clients/registry_client.py", at.Registry, answers); !strings.Contains(answer, "all good") {
		t.Errorf("registry_client.py says %q", answer)
	}
}

func srclientUsesTheRegistry(t *testing.T, kind string, at processtest.Status) {
	client := srclient.NewSchemaRegistryClient(at.Registry)
	subjects, err := client.GetSubjects()
	if err != nil || !slices.Contains(subjects, "raw-trades-value") {
		t.Fatalf("subjects %v, %v", subjects, err)
	}
	newest, err := client.GetLatestSchema("raw-trades-value")
	if err != nil || newest.Version() != 1 || len(newest.References()) != 1 || !strings.Contains(newest.Schema(), `"RawTrade"`) {
		t.Fatalf("raw-trades-value: %+v, %v", newest, err)
	}
	byID, err := client.GetSchema(newest.ID())
	if err != nil || byID.Schema() != newest.Schema() {
		t.Fatalf("schema %d: %+v, %v", newest.ID(), byID, err)
	}
	price := srclient.Reference{Name: "streamforge.market.PriceLevel", Subject: "streamforge.market.PriceLevel", Version: 1}
	if kind == localstack.Embedded { // Apicurio does not find what srclient asks for when it has references
		found, err := client.LookupSchema("raw-trades-value", newest.Schema(), srclient.Avro, newest.References()...)
		if err != nil || found.ID() != newest.ID() {
			t.Fatalf("looking up raw-trades-value: %+v, %v", found, err)
		}
	}

	subject := fmt.Sprintf("clients-srclient-%d-value", time.Now().UnixNano())
	const text = `{"type":"record","name":"Quote","namespace":"streamforge.scratch","fields":[{"name":"best","type":"streamforge.market.PriceLevel"}]}`
	created, err := client.CreateSchema(subject, text, srclient.Avro, price)
	if err != nil {
		t.Fatal(err)
	}
	again, err := client.CreateSchema(subject, text, srclient.Avro, price)
	if err != nil || again.ID() != created.ID() {
		t.Fatalf("registering the same again: %+v, %v", again, err)
	}
	if kind == localstack.Embedded { // Apicurio cannot check a schema with references
		more := strings.Replace(text, `]}`, `,{"name":"n","type":"long"}]}`, 1)
		fits, err := client.IsSchemaCompatible(subject, more, "latest", srclient.Avro, price)
		if err != nil || fits {
			t.Errorf("a new field without a default is compatible: %v, %v", fits, err)
		}
	}
	if _, err := client.GetLatestSchema("no-such-value"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a subject that is not there: %v", err)
	}
	if err := client.DeleteSubject(subject, false); err != nil {
		t.Error(err)
	}
}

func curlQueries(t *testing.T, at processtest.Status) {
	if _, err := exec.LookPath("curl"); err != nil {
		processtest.Cannot(t, "curl: %v", err)
	}
	curl := func(arguments ...string) string {
		return strings.TrimSuffix(runTool(t, "", "curl", append([]string{"--silent", "--show-error", "--max-time", "120"}, arguments...)...), "\n")
	}
	var rows int
	if _, err := fmt.Sscan(curl(at.ClickHouse+"/?query=SELECT%20count()%20FROM%20raw_trades"), &rows); err != nil || rows < 100 {
		t.Errorf("%d rows: %v", rows, err)
	}
	price := curl(at.ClickHouse+"/?output_format_decimal_trailing_zeros=1", "--data-binary", "SELECT price FROM raw_trades LIMIT 1")
	if !regexp.MustCompile(`^\d+\.\d{18}$`).MatchString(price) {
		t.Errorf("a price is %q, expected 18 digits behind the point", price)
	}
	var compressed struct {
		Rows int `json:"rows"`
	}
	if err := json.Unmarshal([]byte(curl("--compressed", at.ClickHouse+"/?enable_http_compression=1", "--data-binary", "SELECT * FROM raw_trades LIMIT 3 FORMAT JSON")), &compressed); err != nil || compressed.Rows != 3 {
		t.Errorf("gzipped JSON: %+v, %v", compressed, err)
	}
	if status := curl("--output", "/dev/null", "--write-out", "%{http_code} %header{x-clickhouse-exception-code}", at.ClickHouse, "--data-binary", "SELECT nothing FROM nowhere"); status != "404 60" {
		t.Errorf("a missing table gives %q, expected 404 and code 60", status)
	}
	payload := curl(at.ClickHouse, "--data-binary", readmeTrace(t)+" FORMAT RawBLOB")
	if !json.Valid([]byte(payload)) || !strings.Contains(payload, "BTC") {
		t.Errorf("the README's query leads a trade back to %q, expected the venue's JSON", payload)
	}
}

// readmeTrace is the query with which the README leads a row back to the venue's bytes: what it shows must work.
func readmeTrace(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile("(?s)```sql\n(.*?)\n```").FindSubmatch(text)
	if match == nil {
		t.Fatal("the README shows no SQL")
	}
	return string(match[1])
}

// runTool runs a foreign program, which must succeed, and returns its standard output.
func runTool(t *testing.T, input, name string, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	command := exec.CommandContext(ctx, name, arguments...)
	command.Env = append(os.Environ(), "PYTHONWARNINGS=ignore", "PYTHONDONTWRITEBYTECODE=1")
	command.Stdin = strings.NewReader(input)
	var output, complaint bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaint
	if err := command.Run(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", filepath.Base(name), err, output.String(), complaint.String())
	}
	return output.String()
}

// needKcat installs kcat where that is possible.
func needKcat(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("kcat"); err == nil {
		return
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Getuid() != 0 {
		processtest.Cannot(t, "kcat is not installed, and this test can install it only as root with apt-get")
	}
	install := []string{"apt-get", "install", "--yes", "--no-install-recommends", "kcat"}
	var output []byte
	var err error
	// A machine's package lists may be old, or absent as in a fresh image: then they are fetched and it is tried again.
	for _, line := range [][]string{install, {"apt-get", "update"}, install} {
		command := exec.CommandContext(t.Context(), line[0], line[1:]...)
		command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		output, err = command.CombinedOutput()
		if _, missing := exec.LookPath("kcat"); missing == nil {
			return
		}
	}
	processtest.Cannot(t, "kcat cannot be installed: %v\n%s", err, output)
}

// pythonPackages are fixed, so that a release of one of them does not break our tests.
var pythonPackages = []string{"confluent-kafka[avro,schemaregistry]==2.14.0", "clickhouse-connect==1.12.0"}

// needPython returns a Python interpreter with the packages, in an environment of its own that outlives the test run.
func needPython(t *testing.T) string {
	t.Helper()
	python, err := installPython(t.Context(), "python", pythonPackages)
	if err != nil {
		processtest.Cannot(t, "Python's clients cannot be installed: %v", err)
	}
	return python
}

// installPython makes an environment of that name with the packages, unless it is there.
func installPython(ctx context.Context, name string, packages []string) (string, error) {
	cache, err := processtest.Cache()
	if err != nil {
		return "", err
	}
	unlock, err := processtest.Lock(filepath.Join(cache, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir, wanted := filepath.Join(cache, name), strings.Join(packages, "\n")
	python := filepath.Join(dir, "bin", "python")
	if have, err := os.ReadFile(filepath.Join(dir, "installed")); err == nil && string(have) == wanted {
		return python, nil
	}
	// Away before anew: an installation that was interrupted, or one of other versions, must not count.
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*patience)
	defer cancel()
	for _, line := range [][]string{
		{"python3", "-m", "venv", dir},
		append([]string{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...),
	} {
		if output, err := exec.CommandContext(ctx, line[0], line[1:]...).CombinedOutput(); err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				err = ctx.Err()
			}
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(line, " "), err, output)
		}
	}
	return python, os.WriteFile(filepath.Join(dir, "installed"), []byte(wanted), 0o644)
}
