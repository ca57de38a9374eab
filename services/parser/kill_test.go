package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

const (
	childKafka    = "STREAMFORGE_TEST_PARSER_KAFKA"
	childRegistry = "STREAMFORGE_TEST_PARSER_REGISTRY"
)

// childMain is the parser that gets killed.
func childMain() {
	err := func() error {
		client, err := registry.New(registry.Config{URL: os.Getenv(childRegistry)}, prometheus.NewRegistry())
		if err != nil {
			return err
		}
		all, err := contract.Load(contracts.FS)
		if err != nil {
			return err
		}
		service, err := New(Config{Group: "parser", CommitInterval: 50 * time.Millisecond}, Deps{
			Kafka: kafka.ClientConfig{BootstrapServers: os.Getenv(childKafka)}, Registry: client, Contracts: all,
			Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Producer: "parser@child",
		})
		if err != nil {
			return err
		}
		return service.Run(context.Background())
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestKilledUnderLoadTheParserIsExactlyOnce(t *testing.T) { onEachStack(t, killedUnderLoad) }

func killedUnderLoad(t *testing.T, s *stack) {
	start := func() *exec.Cmd {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childKafka+"="+s.kafka.BootstrapServers, childRegistry+"="+s.registry.URL)
		child.Stderr = os.Stderr
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		return child
	}
	const n, feeds = 20000, 8
	value := make([][]byte, n)
	for i := range value {
		f := binanceTrade(fmt.Sprintf("S%dUSDT", i%16), i)
		f.Feed = fmt.Sprintf("binance-%d", i%feeds)
		value[i] = s.value(f)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range value {
			s.send(fmt.Sprintf("binance/binance-%d", i%feeds), value[i], at)
			if i%100 == 0 {
				// A load, not a heap: the kills are to hit transactions under way.
				time.Sleep(15 * time.Millisecond)
			}
		}
	}()
	child := start()
	for i := range 5 {
		time.Sleep(time.Duration(450+90*i) * time.Millisecond)
		_ = child.Process.Kill()
		_ = child.Wait()
		child = start()
	}
	<-done
	s.drained()
	if frames := s.read(topicFrames); len(frames) != n {
		t.Fatalf("%s holds %d frames of %d sent", topicFrames, len(frames), n)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	// The markers of the last transaction reach its partitions after its offsets: until then a reader stops before them.
	s.await("the last transaction's markers", func() bool { return len(s.read(topicTrades)) >= n })
	s.checkTrades(n)
}

// checkTrades proves that the trades 0 to n-1 are there once each and in order per key, and that each names its frame.
func (s *stack) checkTrades(n int) {
	s.t.Helper()
	seen, last, frames := map[string]int{}, map[string]int64{}, map[string]bool{}
	trades := readAs[records.Trade](s, topicTrades)
	for _, trade := range trades {
		seen[trade.TradeID]++
		var id int64
		fmt.Sscan(trade.TradeID, &id)
		if before, ok := last[trade.Symbol]; ok && before >= id {
			s.t.Errorf("%s: trade %d after %d", trade.Symbol, id, before)
		}
		last[trade.Symbol] = id
		frames[fmt.Sprint(trade.Frame)] = true
	}
	lost, doubled := 0, 0
	for i := range n {
		switch seen[fmt.Sprint(i)] {
		case 0:
			lost++
		case 1:
		default:
			doubled++
		}
	}
	if lost > 0 || doubled > 0 || len(trades) != n || len(frames) != n {
		s.t.Fatalf("of %d trades %d are lost and %d doubled; %d records of %d frames", n, lost, doubled, len(trades), len(frames))
	}
}
