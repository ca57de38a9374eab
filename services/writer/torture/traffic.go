package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// sent is what the producer knows of one record.
type sent struct {
	// bad records belong into dead letters; noted ones have the field of the schema's second version.
	bad, noted bool
	// old ones were sent before the topic was made again.
	old bool
	// acknowledged at place.
	acknowledged bool
	place        place
}

// place of a record in the topic.
type place struct {
	partition int32
	offset    int64
}

// traffic produces records all the time and remembers each. A record's number is its key and its trade's id.
type traffic struct {
	client     kafka.ClientConfig
	gate       sync.Mutex // held while records are made, and while the topic is made again
	producer   *kafka.Producer
	partitions int
	poisoned   int
	random     *rand.Rand
	rate       int // records a second
	// day is where the rows' times begin: all are of one day, so that an insert never spans two partitions of the table.
	day time.Time

	mutex   sync.Mutex
	records []sent
	// schemas are the ids of the versions; the second is 0 until it is registered.
	schemas [2]int
}

// symbols are each of one partition, as in the product: a bucket of the candles is then one writer's.
const symbols = 23

// unknownID is a schema id that the registry never gives.
const unknownID = 1_000_004_711

func newTraffic(client kafka.ClientConfig, seed uint64, poisoned, partitions, rate, schema int) (*traffic, error) {
	t := &traffic{client: client, partitions: partitions, poisoned: poisoned, random: rand.New(rand.NewPCG(seed, 11)), rate: rate, schemas: [2]int{schema, 0}, day: time.Now().UTC().Truncate(24 * time.Hour)}
	return t, t.connect()
}

func (t *traffic) connect() (err error) {
	t.producer, err = kafka.NewProducer(t.client, kafka.ProducerConfig{ProducerName: "torture@0", OnDelivery: t.delivered}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	return err
}

// renew has the topic made again while nothing is under way into it.
func (t *traffic) renew(ctx context.Context, again func() error) error {
	t.gate.Lock()
	defer t.gate.Unlock()
	flushing, cancel := context.WithTimeout(ctx, renewPatience)
	defer cancel()
	if err := t.producer.Flush(flushing); err != nil {
		return err
	}
	if err := again(); err != nil {
		return err
	}
	// A producer numbers its records a partition; the new ones begin anew.
	t.producer.Close()
	t.mutex.Lock()
	for i := range t.records {
		t.records[i].old = true
	}
	t.mutex.Unlock()
	return t.connect()
}

// renewPatience is how long the records under way are waited for before the topic is made again.
const renewPatience = 30 * time.Second

func (t *traffic) delivered(d kafka.Delivery) {
	if d.Err != nil {
		return // It may be in the topic all the same; what the topic holds decides.
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.records[d.Opaque].acknowledged, t.records[d.Opaque].place = true, place{d.Partition, d.Offset}
}

// changeSchema has what follows written with the second version.
func (t *traffic) changeSchema(id int) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.schemas[1] = id
}

// run produces until ctx ends.
func (t *traffic) run(ctx context.Context) {
	const tick = 10 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	began, made := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// What a full queue refuses is not made later: a stopped broker must not be followed by a flood.
		t.gate.Lock()
		due := int(time.Since(began).Seconds() * float64(t.rate))
		if due-made > t.rate {
			made = due // Nor the time in which the topic was made again.
		}
		for ; made < due; made++ {
			t.one()
		}
		t.gate.Unlock()
	}
}

func (t *traffic) one() {
	t.mutex.Lock()
	number := len(t.records)
	value, record := t.value(number)
	t.records = append(t.records, record)
	t.mutex.Unlock()
	// The error is a full queue: the record is not sent, and not acknowledged.
	_ = t.producer.Produce(&kafka.Message{
		Topic: topic, Partition: int32(number % symbols % t.partitions), Key: strconv.AppendInt(nil, int64(number), 10), Value: value,
		TimestampMs: time.Now().UnixMilli(), Opaque: uint64(number),
	})
}

func (t *traffic) value(number int) ([]byte, sent) {
	version := 0
	if t.schemas[1] != 0 && t.random.IntN(2) == 0 {
		version = 1
	}
	symbol := "S" + strconv.Itoa(number%symbols) + "-USDT"
	price := market.NewDecimal(int64(100+number), 2)
	trade := market.Trade{
		Instrument: &market.Instrument{Venue: "torture", Symbol: symbol, VenueSymbol: symbol}, ID: strconv.AppendInt(nil, int64(number), 10),
		Price: price, Quantity: price, TakerSide: 1, EventTime: market.NoTime,
	}
	at := t.day.Add(time.Duration(number/2000) * time.Minute).UnixMicro()
	value := records.AppendTrade(registry.AppendWireHeader(nil, t.schemas[version]), &trade, at, records.Coordinates{Offset: int64(number)})
	if version == 1 {
		value = append(value, 2, 4, 'h', 'i')
	}
	if t.random.IntN(10_000) >= t.poisoned {
		return value, sent{noted: version == 1}
	}
	switch t.random.IntN(3) {
	case 0:
		value = []byte("in no wire format")
	case 1:
		value = value[:len(value)/2]
	case 2:
		value = registry.AppendWireHeader(nil, unknownID)
	}
	return value, sent{bad: true}
}

// flush waits until every record has been acknowledged or refused for good.
func (t *traffic) flush(ctx context.Context) error { return t.producer.Flush(ctx) }
