package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// product is what a case sends.
type product struct {
	topic, table string
	rows         int // by default
	// value appends the body of record number i.
	value func(dst []byte, in *market.Instrument, i int, received int64) []byte
}

func cases() map[string]product {
	return map[string]product{
		"trades": {topic: "raw-trades", table: "raw_trades", rows: 3_000_000, value: trade},
		"books":  {topic: "raw-orderbooks", table: "raw_orderbooks", rows: 200_000, value: book},
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

// produce sends the case's records and waits until the broker has them all.
func (b *bench) produce(ctx context.Context) error {
	began := time.Now()
	producer, err := kafka.NewProducer(b.client(), kafka.ProducerConfig{ProducerName: "bench@0"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer producer.Close()
	of := instruments()
	start := firstTime()
	header := registry.AppendWireHeader(nil, b.schemaID)
	size := 0
	var value []byte
	for i := range b.what.rows {
		in := &of[i%symbols]
		value = b.what.value(append(value[:0], header...), in, i, start.Add(time.Duration(i)*spacing).UnixMicro())
		size += len(value)
		message := kafka.Message{Topic: b.what.topic, Partition: -1, Key: []byte(in.Symbol), Value: value, TimestampMs: time.Now().UnixMilli()}
		for producer.Produce(&message) != nil {
			// The queue is full.
			if err := producer.Flush(ctx); err != nil {
				return err
			}
		}
	}
	if err := producer.Flush(ctx); err != nil {
		return err
	}
	fmt.Printf("%d records of %d bytes in %s, produced in %.1f s\n", b.what.rows, size/b.what.rows, b.what.topic, time.Since(began).Seconds())
	return nil
}
