//go:build cgo

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/port"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

// TestAttachingToARunningPlatform is what somebody does who meets a running platform: looks at a topic, leads a row back to
// the venue's bytes, and makes a consumer of their own.
func TestAttachingToARunningPlatform(t *testing.T) {
	onBothStacks(t, func(t *testing.T, kind string) {
		s := processtest.Start(t, kind, "--symbols", "12")
		s.AwaitRows(100, "SELECT count() FROM raw_trades WHERE symbol = 'BTC-USDT'")
		t.Run("tail", func(t *testing.T) { tailShowsRecords(t, s) })
		t.Run("trace", func(t *testing.T) { traceLeadsBack(t, s) })
		t.Run("dead letters", func(t *testing.T) { deadLettersAreResolved(t, s) })
		t.Run("pause", func(t *testing.T) { pauseHoldsOverAKill(t, s) })
		t.Run("new consumers", func(t *testing.T) {
			tree := processtest.NewTree(t)
			t.Run("go", func(t *testing.T) { newGoConsumer(t, s, tree) })
			t.Run("python", func(t *testing.T) { newPythonConsumer(t, s, tree) })
		})
		t.Run("verify", func(t *testing.T) { whatAHandDidEndsWithAStatus(t, s) })
	})
}

// tailed is a line of `tail --json`.
type tailed struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Key       string `json:"key"`
	Version   int    `json:"schema_version"`
	Producer  string `json:"producer"`
	Bad       string `json:"bad"`
	Value     struct {
		Venue      string `json:"venue"`
		Symbol     string `json:"symbol"`
		Price      string `json:"price"`
		ReceivedAt string `json:"received_at"`
	} `json:"value"`
}

// tail runs `tail --json` and reads its lines.
func tail(t *testing.T, s *processtest.Stack, arguments ...string) []tailed {
	t.Helper()
	var lines []tailed
	for line := range strings.Lines(s.Run(append([]string{"tail", "--json"}, arguments...)...)) {
		var v tailed
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, v)
	}
	return lines
}

func tailShowsRecords(t *testing.T, s *processtest.Stack) {
	live := tail(t, s, "raw-trades", "--limit", "5")
	last := tail(t, s, "raw-trades", "--last", "7", "--no-follow", "--filter", "symbol=BTC-USDT", "--filter", "taker_side=SELL")
	first := tail(t, s, "raw-trades", "--from-beginning", "--limit", "3")
	if len(live) != 5 || len(last) != 7 || len(first) != 3 {
		t.Fatalf("%d, %d and %d records, want 5, 7 and 3", len(live), len(last), len(first))
	}
	decimal, utc := regexp.MustCompile(`^\d+(\.\d+)?$`), regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`)
	for _, v := range slices.Concat(live, last, first) {
		if v.Topic != "raw-trades" || v.Key != v.Value.Symbol || v.Version != 1 || !strings.HasPrefix(v.Producer, "parser@") || v.Bad != "" ||
			!decimal.MatchString(v.Value.Price) || !utc.MatchString(v.Value.ReceivedAt) {
			t.Errorf("%+v", v)
		}
	}
	for _, v := range last {
		if v.Value.Symbol != "BTC-USDT" {
			t.Errorf("a record of %s passes the filter", v.Value.Symbol)
		}
	}
	if line := s.Run("tail", "raw-frames", "--last", "1", "--no-follow"); !strings.Contains(line, " v1 (id ") || !strings.Contains(line, " payload=") || strings.Count(line, "\n") != 1 {
		t.Errorf("a line for a person: %s", line)
	}
	tailShowsWhatIsBad(t, s)
	for _, c := range []struct{ arguments, want string }{
		{"raw-trade", "there are"},
		{"raw-trades --filter pric=1", "price"},
		{"raw-trades --filter price", "field=value"},
		{"raw-trades --last 1 --from-beginning", "say one of them"},
	} {
		output, err := s.Command(append([]string{"tail"}, strings.Fields(c.arguments)...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(output), c.want) {
			t.Errorf("tail %s: %v, want %q in %s", c.arguments, err, c.want, output)
		}
	}
}

// gap is a feed-gaps value of the test's own, which names a frame that was never there.
func gap(t *testing.T, s *processtest.Stack) []byte {
	t.Helper()
	client, err := registry.New(registry.Config{URL: s.Status().Registry}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	id, err := client.ID(t.Context(), "feed-gaps-value")
	if err != nil {
		t.Fatal(err)
	}
	g := records.FeedGap{Venue: "kraken", Symbol: "BTC-USD", VenueSymbol: "BTC/USD", Feed: "none", Channel: "all", Frame: records.Coordinates{TopicID: [16]byte{9}}}
	return g.AppendAvro(registry.AppendWireHeader(nil, id))
}

// produce writes a record and returns where it came to stand.
func produce(t *testing.T, s *processtest.Stack, topic string, value []byte) kafka.Delivery {
	t.Helper()
	delivered := make(chan kafka.Delivery, 1)
	producer, err := kafka.NewProducer(kafka.ClientConfig{BootstrapServers: s.Status().Kafka}, kafka.ProducerConfig{
		ProducerName: "test@test", OnDelivery: func(d kafka.Delivery) { delivered <- d },
	}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.Produce(&kafka.Message{Topic: topic, Partition: -1, Key: []byte("kraken/BTC-USD"), Value: value}); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-delivered:
		if d.Err != nil {
			t.Fatal(d.Err)
		}
		return d
	case <-time.After(patience):
		t.Fatal("the broker does not answer within a minute")
		return kafka.Delivery{}
	}
}

// tailShowsWhatIsBad: a record that cannot be decoded is shown as such, among those that can.
func tailShowsWhatIsBad(t *testing.T, s *processtest.Stack) {
	bad := produce(t, s, "feed-gaps", []byte("no wire format"))
	produce(t, s, "feed-gaps", gap(t, s))
	lines := tail(t, s, "feed-gaps", "--last", "2", "--no-follow", "--filter", "_key=kraken/BTC-USD")
	if len(lines) != 2 || lines[0].Offset != bad.Offset || !strings.Contains(lines[0].Bad, "wire format") || lines[1].Bad != "" || lines[1].Value.Symbol != "BTC-USD" {
		t.Errorf("%+v", lines)
	}
	admin, err := kafka.NewAdmin(kafka.ClientConfig{BootstrapServers: s.Status().Kafka})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	groups, err := admin.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if g.Group != "parser" && !strings.HasPrefix(g.Group, "writer.") {
			t.Errorf("there is a group %s", g.Group)
		}
	}
}

func traceLeadsBack(t *testing.T, s *processtest.Stack) {
	// The simulator's venues send updates of a few hundred bytes; a snapshot is cut short on the screen.
	for table, which := range map[string]string{"raw_trades": "1", "raw_orderbooks": "kind = 'UPDATE'"} {
		for _, venue := range strings.Fields(s.MustQuery("SELECT DISTINCT venue FROM " + table + " WHERE " + which)) {
			at := strings.Fields(s.MustQuery(fmt.Sprintf("SELECT _partition, _offset FROM %s WHERE venue = '%s' AND %s LIMIT 1", table, venue, which)))
			output := s.Run("trace", table, at[0], at[1])
			for _, want := range []string{"venue=" + venue, "schema v1 (id ", "written by parser@", "⟦{", "}⟧", "decoded again by this build, it is"} {
				if !strings.Contains(output, want) {
					t.Errorf("trace %s %s %s: %q is missing in\n%s", table, at[0], at[1], want, output)
				}
			}
		}
	}
	snapshot := strings.Fields(s.MustQuery("SELECT _partition, _offset FROM raw_orderbooks WHERE kind = 'SNAPSHOT' ORDER BY length(bids) DESC LIMIT 1"))
	for whole, want := range map[string]string{"--whole": "}⟧", "--whole=false": " bytes more⟧"} {
		if output := s.Run("trace", "raw_orderbooks", snapshot[0], snapshot[1], whole); !strings.Contains(output, want) || !strings.Contains(output, " bid and ") {
			t.Errorf("trace of a snapshot, %s: %q is missing in\n%s", whole, want, output)
		}
	}
	frame := strings.Fields(s.MustQuery("SELECT _partition, _offset FROM raw_frames WHERE kind = 'FRAME' LIMIT 1"))
	if output := s.Run("trace", "raw-frames", frame[0], frame[1]); !strings.Contains(output, "frame   FRAME of ") {
		t.Errorf("trace of a frame itself:\n%s", output)
	}
	// What is out of reach is told in words, and by the exit status.
	lost := produce(t, s, "feed-gaps", gap(t, s))
	for _, c := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"feed_gaps", fmt.Sprint(lost.Partition), fmt.Sprint(lost.Offset)}, "raw-frames was created again since"},
		{[]string{"raw_trades", "0", "999999999"}, "it is not there yet: the next record"},
		{[]string{"raw_trades", "64", "0"}, "partitions 0 to 63"},
		{[]string{"nonsense", "0", "0"}, "there are dead_letters"},
	} {
		output, err := s.Command(append([]string{"trace"}, c.arguments...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(output), c.want) {
			t.Errorf("trace %v: %v, want %q in\n%s", c.arguments, err, c.want, output)
		}
	}
}

// consumes runs a consumer until its metrics say that it has handled events, and has it drain.
func consumes(t *testing.T, command *exec.Cmd, metrics func() string) {
	t.Helper()
	var log bytes.Buffer
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	handled := regexp.MustCompile(`streamforge_subscription_events_total\{[^}]*topic="raw-trades"[^}]*\} (\S+)`)
	processtest.Await(t, "events", patience, func() error {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the consumer ended: %v\n%s", err, log.String())
		default:
		}
		answer, err := processtest.Get(t.Context(), "GET", metrics(), "")
		if err != nil {
			return err
		}
		found := handled.FindStringSubmatch(answer)
		var n float64
		if len(found) < 2 {
			return fmt.Errorf("no metric of it")
		}
		if _, err := fmt.Sscan(found[1], &n); err != nil || n < 100 {
			return fmt.Errorf("%v events, %w", n, err)
		}
		return nil
	})
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil || !strings.Contains(log.String(), "first event") {
			t.Errorf("%v\n%s", err, log.String())
		}
	case <-time.After(patience):
		_ = command.Process.Kill()
		t.Errorf("the consumer does not end within a minute\n%s", log.String())
	}
}

func newGoConsumer(t *testing.T, s *processtest.Stack, tree *processtest.Tree) {
	tree.Run(".", nil, "bin/streamforge", "new", "consumer", "momentum", "--topics", "raw-trades,feed-gaps", "--kind", "go", "--owner", "data-science")
	// Paths are left out of what is compiled, so that the next run finds it in the cache wherever its folder is.
	tree.Run(".", nil, "go", "test", "-trimpath", "-count=1", "./services/momentum")
	program := filepath.Join(tree.Dir, "bin", "momentum")
	tree.Run(".", nil, "go", "build", "-trimpath", "-o", program, "./services/momentum")
	address := filepath.Join(t.TempDir(), "address")
	command := exec.Command(program, "--http-address-file", address)
	command.Env = processtest.Environment(s.Addresses()...)
	consumes(t, command, func() string {
		text, _ := os.ReadFile(address)
		return "http://" + string(text) + "/metrics"
	})
}

func newPythonConsumer(t *testing.T, s *processtest.Stack, tree *processtest.Tree) {
	tree.Run(".", nil, "bin/streamforge", "new", "consumer", "order-flow", "--topics", "raw-trades,raw-orderbooks", "--kind", "python", "--owner", "data-science")
	service := filepath.Join("services", "order-flow")
	folder := filepath.Join(tree.Dir, service)
	requirements, err := os.ReadFile(filepath.Join(folder, "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var packages []string
	for line := range strings.Lines(string(requirements)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			packages = append(packages, line)
		}
	}
	python, err := installPython(t.Context(), "new-consumer", packages)
	if err != nil {
		processtest.Cannot(t, "the packages of a new consumer cannot be installed: %v", err)
	}
	if output := tree.Run(service, nil, python, "-m", "pytest", "-q", "-p", "no:cacheprovider"); !strings.Contains(output, " passed") || strings.Contains(output, "skipped") {
		t.Errorf("pytest says\n%s", output)
	}
	listen, err := port.Reserve(0)
	if err != nil {
		t.Fatal(err)
	}
	defer listen.Release()
	_, number, err := net.SplitHostPort(listen.Address())
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(python, "-m", "order_flow_consumer")
	command.Dir, command.Env = folder, processtest.Environment(append(s.Addresses(), "METRICS_PORT="+number, "no_proxy=*")...)
	consumes(t, command, func() string { return "http://" + listen.Address() + "/metrics" })
	read := tree.Run(service, s.Addresses(), python, "-c", `
from decimal import Decimal
from order_flow_consumer import follow, history, last
events = last("raw-trades", 50)
assert len(events) == 50 and all(type(e.value.price) is Decimal and e.value.received_at.utcoffset().total_seconds() == 0 for e in events), events
assert events == sorted(events, key=lambda e: e.time)
assert next(follow("raw-trades")).value.symbol
(row,) = history("SELECT price, received_at FROM raw_trades WHERE symbol = {symbol:String} LIMIT 1", {"symbol": "BTC-USDT"})
assert type(row["price"]) is Decimal and row["received_at"].utcoffset().total_seconds() == 0, row
print("all good")
`)
	if !strings.Contains(read, "all good") {
		t.Errorf("the notebook's reader says %s", read)
	}
}
