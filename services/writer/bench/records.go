package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// product is what a case sends.
type product struct {
	topic, table string
	rows         int  // by default
	paced        bool // at littleTraffic, for latency and parts instead of rows a second
	// value appends the body of record number i.
	value func(dst []byte, in *market.Instrument, i int, received int64) []byte
}

// subject is the schema of the product.
func (p product) subject() (schemas.Subject, error) {
	if p.topic == wideTopic {
		return wideSchema(), nil
	}
	return schemas.Get(p.topic + "-value")
}

func cases() map[string]product {
	return map[string]product{
		"trades": {topic: "raw-trades", table: "raw_trades", rows: 3_000_000, value: trade},
		"books":  {topic: "raw-orderbooks", table: "raw_orderbooks", rows: 200_000, value: book},
		"wide":   {topic: wideTopic, table: wideTable, rows: 300_000, value: wide},
		"small":  {topic: "raw-trades", table: "raw_trades", rows: 19_200, paced: true, value: trade},
	}
}

// spacing of the records' own times: 5,807 a second, the platform's target, so that a view meets as many groups as it does there.
const spacing = time.Second / 5807

// day of the records: all of one, so that no block spans two partitions of the table.
func firstTime() time.Time {
	return time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)
}

const symbols = 97

func instruments() []market.Instrument {
	venues := []string{"binance", "kraken", "okx", "bybit"}
	all := make([]market.Instrument, symbols)
	for i := range all {
		symbol := fmt.Sprintf("S%03d-USDT", i)
		all[i] = market.Instrument{Venue: venues[i%len(venues)], Symbol: symbol, VenueSymbol: fmt.Sprintf("S%03dUSDT", i)}
	}
	return all
}

func trade(dst []byte, in *market.Instrument, i int, received int64) []byte {
	t := market.Trade{
		Instrument: in, ID: strconv.AppendInt(nil, 4_000_000_000+int64(i), 10),
		Price: market.NewDecimal(int64(6_000_000+i*7919%20_011), 2), Quantity: market.NewDecimal(int64(1+i*104_729%1_000_003), 5),
		TakerSide: market.Side(1 + i%2), EventTime: received - 5_000,
	}
	return records.AppendTrade(dst, &t, received, records.Coordinates{Partition: int32(i % 64), Offset: int64(i)})
}

// levels on each side of a book.
const levels = 50

func book(dst []byte, in *market.Instrument, i int, received int64) []byte {
	b := market.Book{Kind: 1, Instrument: in, EventTime: received - 5_000}
	for level := range levels {
		quantity := market.NewDecimal(int64(1+(i+level)*104_729%1_000_003), 5)
		b.Bids = append(b.Bids, market.Level{Price: market.NewDecimal(int64(6_000_000-level), 2), Quantity: quantity})
		b.Asks = append(b.Asks, market.Level{Price: market.NewDecimal(int64(6_000_001+level), 2), Quantity: quantity})
	}
	return records.AppendBook(dst, &b, received, records.Coordinates{Partition: int32(i % 64), Offset: int64(i)})
}

// sender writes the case's records, one after the other.
type sender struct {
	*bench
	producer *kafka.Producer
	of       []market.Instrument
	header   []byte
	value    []byte
	bytes    int
}

func (b *bench) newSender() (*sender, error) {
	producer, err := kafka.NewProducer(b.client(), kafka.ProducerConfig{ProducerName: "bench@0"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	return &sender{bench: b, producer: producer, of: instruments(), header: registry.AppendWireHeader(nil, b.schemaID)}, err
}

// send gives the next record to the producer.
func (s *sender) send(ctx context.Context, partition int32, received time.Time) error {
	in := &s.of[s.sent%symbols]
	s.value = s.what.value(append(s.value[:0], s.header...), in, s.sent, received.UnixMicro())
	s.bytes += len(s.value)
	message := kafka.Message{Topic: s.what.topic, Partition: partition, Key: []byte(in.Symbol), Value: s.value, TimestampMs: time.Now().UnixMilli()}
	for s.producer.Produce(&message) != nil {
		// The queue is full.
		if err := s.producer.Flush(ctx); err != nil {
			return err
		}
	}
	s.sent++
	return nil
}

// produce sends all of the case's records and waits until the broker has them.
func (b *bench) produce(ctx context.Context) error {
	began, start := time.Now(), firstTime()
	s, err := b.newSender()
	if err != nil {
		return err
	}
	defer s.producer.Close()
	for i := range b.what.rows {
		if err := s.send(ctx, -1, start.Add(time.Duration(i)*spacing)); err != nil {
			return err
		}
	}
	if err := s.producer.Flush(ctx); err != nil {
		return err
	}
	fmt.Printf("%d records of %d bytes in %s, produced in %.1f s\n", b.sent, s.bytes/b.sent, b.what.topic, time.Since(began).Seconds())
	return nil
}
