package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"syscall"
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
	childOrdinal  = "STREAMFORGE_TEST_PARSER_ORDINAL"
	childRules    = "STREAMFORGE_TEST_PARSER_RULES" // action of rules that divert
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
		if action := os.Getenv(childRules); action != "" {
			change(all, action)
		}
		ordinal, _ := strconv.Atoi(os.Getenv(childOrdinal))
		service, err := New(Config{Group: "parser", Ordinal: ordinal, CommitInterval: 50 * time.Millisecond}, Deps{
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
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		return child
	}
	// The load goes on until the last kill, so that kills hit transactions under way; past a heap it goes on thinly, because
	// a slow machine has to read all of it.
	const feeds, heap = 8, 20000
	id := must[int](t)(s.schemas.ID(t.Context(), "raw-frames-value"))
	enough, sent := make(chan struct{}), make(chan int, 1)
	go func() {
		n := 0
		defer func() { sent <- n }()
		for tick := 15 * time.Millisecond; ; n++ {
			if n%100 == 0 {
				select {
				case <-enough:
					return
				case <-time.After(tick):
				}
			}
			if n == heap {
				tick = 300 * time.Millisecond
			}
			f := binanceTrade(fmt.Sprintf("S%dUSDT", n%16), n)
			f.Feed = fmt.Sprintf("binance-%d", n%feeds)
			s.send(records.FrameKey(f.Venue, f.Feed), f.AppendAvro(registry.AppendWireHeader(nil, id)), at)
		}
	}()
	child := start()
	for i := range 5 {
		// Killed at no particular moment after its first transaction, however long it takes to get there.
		written := s.ends(topicTrades)
		s.await(fmt.Sprintf("trades of parser %d", i), func() bool { return s.ends(topicTrades) > written })
		time.Sleep(time.Duration(50+90*i) * time.Millisecond)
		_ = child.Process.Kill()
		_ = child.Wait()
		child = start()
	}
	close(enough)
	n := <-sent
	s.drained()
	if frames := s.read(topicFrames); len(frames) != n {
		t.Fatalf("%s holds %d frames of %d sent", topicFrames, len(frames), n)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	s.checkTrades(n)
}

// ends is the sum of a topic's ends.
func (s *stack) ends(topic string) (sum int64) {
	s.t.Helper()
	described := must[map[string]kafka.TopicDescription](s.t)(s.admin.Describe(s.t.Context(), topic))
	for _, r := range must[map[kafka.TopicPartition]kafka.OffsetRange](s.t)(s.admin.Offsets(s.t.Context(), described[topic].TopicPartitions(), false)) {
		sum += r.Latest
	}
	return sum
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
