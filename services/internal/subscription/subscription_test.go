package subscription_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
	"github.com/streamforge/streamforge/services/internal/subscription/subscriptiontest"
)

// trade is what a program that reads few fields of raw-trades declares.
type trade struct {
	Symbol    string         `avro:"symbol"`
	TradeID   string         `avro:"trade_id"`
	Price     market.Decimal `avro:"price"`
	Side      string         `avro:"taker_side"`
	EventTime *time.Time     `avro:"event_time"`
	Frame     struct {
		TopicID [16]byte `avro:"topic_id"`
		Offset  int64    `avro:"offset"`
	} `avro:"frame"`
}

const decimal = `{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}`

const tradeSchema = `{"type":"record","name":"RawTrade","namespace":"streamforge.market","fields":[
	{"name":"symbol","type":"string"},{"name":"trade_id","type":"string"},{"name":"price","type":` + decimal + `},
	{"name":"taker_side","type":{"type":"enum","name":"TakerSide","symbols":["UNKNOWN","BUY","SELL"],"default":"UNKNOWN"}},
	{"name":"event_time","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null},
	{"name":"frame","type":{"type":"record","name":"FrameCoordinates","fields":[
		{"name":"topic_id","type":{"type":"fixed","name":"TopicId","size":16,"logicalType":"uuid"}},{"name":"offset","type":"long"}]}}]}`

func mustDecimal(t testing.TB, text string) market.Decimal {
	t.Helper()
	d, _, err := market.ParseDecimal([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// body is a trade as the parser writes it.
func body(t testing.TB, id, price string) []byte {
	instrument := &market.Instrument{Venue: "kraken", Symbol: "BTC-USD", VenueSymbol: "BTC/USD"}
	return records.AppendTrade(nil, &market.Trade{
		Instrument: instrument, ID: []byte(id), Price: mustDecimal(t, price), Quantity: mustDecimal(t, "1"), TakerSide: market.Sell, EventTime: 1_700_000_000_123_456,
	}, 1, records.Coordinates{TopicID: [16]byte{1, 2}, Offset: 77})
}

func ownValue(t testing.TB, s *subscriptiontest.Stack, id, price string) []byte {
	t.Helper()
	schemaID, err := s.Client.ID(t.Context(), "raw-trades-value")
	if err != nil {
		t.Fatal(err)
	}
	return append(registry.AppendWireHeader(nil, schemaID), body(t, id, price)...)
}

// subscribed is a running subscription to raw-trades with what it has been told.
type subscribed struct {
	*subscription.Subscription
	events  chan subscription.Event[trade]
	metrics *prometheus.Registry
	refuse  atomic.Bool
	stop    func()
}

func subscribe(t *testing.T, s *subscriptiontest.Stack) *subscribed {
	t.Helper()
	deps, metrics := s.Deps("momentum")
	sub, err := subscription.New(subscription.Config{Group: "momentum"}, deps)
	if err != nil {
		t.Fatal(err)
	}
	r := &subscribed{Subscription: sub, events: make(chan subscription.Event[trade], 100), metrics: metrics}
	err = subscription.On(sub, "raw-trades", tradeSchema, func(_ context.Context, e subscription.Event[trade], _ kafka.Output) error {
		if e.Value.TradeID == "senseless" {
			return subscription.Reject(errors.New("it makes no sense"))
		}
		if r.refuse.Load() {
			return errors.New("the database is away")
		}
		r.events <- e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.stop = s.Run(sub)
	return r
}

func (r *subscribed) next(t *testing.T) subscription.Event[trade] {
	t.Helper()
	select {
	case e := <-r.events:
		return e
	case <-time.After(60 * time.Second):
		t.Fatalf("no event within 60 s: %v", r.Ready())
		return subscription.Event[trade]{}
	}
}

func (r *subscribed) count(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() != "streamforge_subscription_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			matches := label == ""
			for _, l := range m.GetLabel() {
				matches = matches || l.GetValue() == label
			}
			if matches {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return total
}

// widened is the schema of raw-trades as a domain team extends it, with the body of a trade written by it.
func widened(t testing.TB) string {
	t.Helper()
	s, err := schemas.Get("raw-trades-value")
	if err != nil {
		t.Fatal(err)
	}
	text, err := schemas.SelfContained(s)
	if err != nil {
		t.Fatal(err)
	}
	end := strings.LastIndex(text, "]")
	// The fields end where the outermost array does; what follows are attributes in alphabetical order.
	if i := strings.LastIndex(text, `],"name":"RawTrade"`); i >= 0 {
		end = i
	}
	return text[:end] + `,{"name":"liquidation","doc":"Whether the venue forced it.","type":"boolean","default":false}` + text[end:]
}

func TestEventsAreTypedAndExactWhateverVersionWroteThem(t *testing.T) {
	t.Parallel()
	s := subscriptiontest.Start(t)
	r := subscribe(t, s)
	s.Produce("raw-trades", "BTC-USD", ownValue(t, s, "1", "0.000000000000000001"))
	e := r.next(t)
	at := time.UnixMicro(1_700_000_000_123_456).UTC()
	want := trade{Symbol: "BTC-USD", TradeID: "1", Price: market.NewDecimal(1, 18), Side: "SELL", EventTime: &at}
	want.Frame.TopicID, want.Frame.Offset = [16]byte{1, 2}, 77
	if diff := cmp.Diff(want, e.Value); diff != "" || e.Key != "BTC-USD" || e.Topic != "raw-trades" || e.Time.Location() != time.UTC {
		t.Errorf("%s%+v", diff, e)
	}
	// A field is added while the program runs: it goes on, unchanged.
	id, _, err := s.Client.Register(t.Context(), schemas.Subject{Name: "raw-trades-value", Path: "test", Text: widened(t)})
	if err != nil {
		t.Fatal(err)
	}
	s.Produce("raw-trades", "BTC-USD", append(append(registry.AppendWireHeader(nil, id), body(t, "2", "12345678901234567890.5")...), 1))
	if e := r.next(t); e.Value.TradeID != "2" || e.Value.Price.String() != "12345678901234567890.5" {
		t.Errorf("%+v", e.Value)
	}
	r.stop()
	if letters := s.Read(deadletters.Topic); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

func TestABadBodyGoesToTheDeadLettersAndWhatFollowsIsHandled(t *testing.T) {
	t.Parallel()
	s := subscriptiontest.Start(t)
	r := subscribe(t, s)
	good := ownValue(t, s, "1", "1")
	s.Produce("raw-trades", "BTC-USD", good[:len(good)-3])
	s.Produce("raw-trades", "BTC-USD", []byte("text"))
	s.Produce("raw-trades", "BTC-USD", ownValue(t, s, "senseless", "1"))
	s.Produce("raw-trades", "BTC-USD", ownValue(t, s, "for nothing", "0"))
	s.Produce("raw-trades", "BTC-USD", good)
	if e := r.next(t); e.Value.TradeID != "1" {
		t.Errorf("%+v", e)
	}
	r.stop()
	classes := map[string]int{}
	for _, record := range s.Read(deadletters.Topic) {
		var letter records.DeadLetter
		_, body, err := registry.ParseWire(record.Value)
		if err == nil {
			err = letter.DecodeAvro(body)
		}
		if err != nil || letter.Group != "momentum" || letter.Topic != "raw-trades" || letter.Producer != "momentum@test" || letter.TopicID == [16]byte{} {
			t.Errorf("%v: %+v", err, letter)
		}
		classes[letter.ErrorClass]++
		if letter.ErrorClass == deadletters.BrokenRule && letter.Error != "price is 0, which breaks rule price:minimum 0.000000000000000001 of contract raw-trades" {
			t.Error(letter.Error)
		}
	}
	if diff := cmp.Diff(map[string]int{deadletters.BadValue: 1, deadletters.NotWireFormat: 1, "rejected": 1, "rule": 1}, classes); diff != "" {
		t.Error(diff)
	}
	if n := r.count(t, "dead_letters_total", ""); n != 4 {
		t.Errorf("%v dead letters are counted", n)
	}
}

func TestAnIDThatThisBuildCannotReadBlocksAndAlarms(t *testing.T) {
	t.Parallel()
	s := subscriptiontest.Start(t)
	r := subscribe(t, s)
	s.Produce("raw-trades", "BTC-USD", ownValue(t, s, "1", "1"))
	r.next(t)
	// Somebody lifts the compatibility, registers a schema whose prices have another scale, and writes with it.
	if err := s.Client.SetCompatibility(t.Context(), "raw-trades-value", "NONE"); err != nil {
		t.Fatal(err)
	}
	id, _, err := s.Client.Register(t.Context(), schemas.Subject{Name: "raw-trades-value", Path: "test", Text: strings.ReplaceAll(tradeSchema, `"scale":18`, `"scale":8`)})
	if err != nil {
		t.Fatal(err)
	}
	s.Produce("raw-trades", "BTC-USD", append(registry.AppendWireHeader(nil, id), 0))
	s.Await("/readyz to tell", func() error {
		return says(r.Ready(), fmt.Sprintf("schema id %d cannot be read by this build", id), "scale 8")
	})
	if r.count(t, "blocked", "") != 1 || r.count(t, "blocked_batches_total", subscription.CauseSchema) == 0 {
		t.Error("no alarm")
	}
	r.stop()
	if letters := s.Read(deadletters.Topic); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

func TestAHandlersErrorBlocksUntilItPasses(t *testing.T) {
	t.Parallel()
	s := subscriptiontest.Start(t)
	r := subscribe(t, s)
	r.refuse.Store(true)
	s.Produce("raw-trades", "BTC-USD", ownValue(t, s, "1", "1"))
	s.Await("/readyz to tell", func() error { return says(r.Ready(), "the database is away", "offset 0") })
	r.refuse.Store(false)
	if e := r.next(t); e.Value.TradeID != "1" {
		t.Errorf("%+v", e)
	}
	s.Await("/readyz", r.Ready)
}

func TestALiveVersionThatCannotBeReadIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	s := subscriptiontest.Start(t)
	deps, _ := s.Deps("momentum")
	sub, err := subscription.New(subscription.Config{Group: "momentum"}, deps)
	if err != nil {
		t.Fatal(err)
	}
	ignore := func(context.Context, subscription.Event[trade], kafka.Output) error { return nil }
	if err := subscription.On(sub, "raw-traids", tradeSchema, ignore); says(err, "no contract of that product") != nil {
		t.Error(err)
	}
	type other struct {
		Symbol string `avro:"symbol"`
	}
	forgetful := func(context.Context, subscription.Event[other], kafka.Output) error { return nil }
	if err := subscription.On(sub, "raw-trades", tradeSchema, forgetful); says(err, "missing field trade_id") != nil {
		t.Errorf("a type without a field of its schema: %v", err)
	}
	needs := strings.Replace(tradeSchema, `"fields":[`, `"fields":[{"name":"fee","type":`+decimal+`},`, 1)
	type withFee struct {
		trade
		Fee market.Decimal `avro:"fee"`
	}
	ignoreFee := func(context.Context, subscription.Event[withFee], kafka.Output) error { return nil }
	if err := subscription.On(sub, "raw-trades", needs, ignoreFee); err != nil {
		t.Fatal(err)
	}
	if err := subscription.On(sub, "raw-trades", needs, ignoreFee); says(err, "a handler already") != nil {
		t.Error(err)
	}
	if err := sub.Run(t.Context()); says(err, "raw-trades-value version 1", "cannot be read by this build", "fee") != nil {
		t.Error(err)
	}
}

func TestWaitingEndsAfterAMinuteOfDenials(t *testing.T) {
	denied, away := fmt.Errorf("id 7: %w", registry.ErrUnknownID), fmt.Errorf("dial: %w", registry.ErrUnavailable)
	protobuf := fmt.Errorf("schema id 7: %w", registry.ErrRefused)
	foreign := registry.Schema{ID: 7, Text: `"string"`}
	type step struct {
		after   time.Duration
		err     error
		subject error  // of the question which subjects hold the id
		want    string // the cause of the block, or the class of the dead letter
	}
	const s = time.Second
	for name, steps := range map[string][]step{
		"denied":                  {{0, denied, nil, "unknown-id"}, {20 * s, denied, nil, "unknown-id"}, {20 * s, denied, nil, "unknown-id"}, {19 * s, denied, nil, "unknown-id"}, {s, denied, nil, deadletters.UnknownSchema}, {time.Hour, denied, nil, deadletters.UnknownSchema}},
		"nobody asked in between": {{0, denied, nil, "unknown-id"}, {61 * s, denied, nil, "unknown-id"}, {30 * s, denied, nil, "unknown-id"}, {30 * s, denied, nil, deadletters.UnknownSchema}},
		"away in between":         {{0, denied, nil, "unknown-id"}, {30 * s, away, nil, "registry"}, {30 * s, denied, nil, "unknown-id"}, {30 * s, denied, nil, "unknown-id"}, {29 * s, denied, nil, "unknown-id"}, {s, denied, nil, deadletters.UnknownSchema}},
		"away":                    {{0, away, nil, "registry"}, {time.Hour, away, nil, "registry"}},
		// A record of another topic is no newer version of this one's, unless the registry cannot say.
		"a schema of other subjects": {{0, nil, nil, "unknown-id"}, {30 * s, nil, nil, "unknown-id"}, {30 * s, nil, nil, deadletters.UnknownSchema}, {s, nil, away, "schema"}},
		"no Avro":                    {{0, protobuf, nil, "unknown-id"}, {30 * s, protobuf, nil, "unknown-id"}, {30 * s, protobuf, nil, deadletters.UnknownSchema}, {s, protobuf, away, "registry"}},
	} {
		t.Run(name, func(t *testing.T) {
			source := &answers{schema: foreign}
			now := time.Unix(1_000_000, 0)
			values := subscription.NewValues(source, "raw-trades-value", tradeSchema)
			values.Now = func() time.Time { return now }
			for i, s := range steps {
				now = now.Add(s.after)
				source.err, source.subject = s.err, s.subject
				_, err := values.Body(t.Context(), registry.AppendWireHeader(nil, 7))
				got := ""
				var bad *subscription.BadRecord
				var blocked *subscription.BlockedError
				switch {
				case errors.As(err, &bad):
					got = bad.Class
				case errors.As(err, &blocked):
					got = blocked.Cause
				}
				if got != s.want {
					t.Errorf("step %d: %q, want %q: %v", i, got, s.want, err)
				}
			}
		})
	}
}

// answers is a registry that says what a test wants, and that holds no id under any subject.
type answers struct {
	schema       registry.Schema
	err, subject error
}

func (a *answers) SchemaByID(context.Context, int) (registry.Schema, error) { return a.schema, a.err }

func (a *answers) Under(context.Context, int, string) (bool, error) { return false, a.subject }

func FuzzValues(f *testing.F) {
	f.Add(append(registry.AppendWireHeader(nil, 7), body(f, "1", "1")...))
	own, err := schemas.Get("raw-trades-value")
	if err != nil {
		f.Fatal(err)
	}
	text, err := schemas.SelfContained(own)
	if err != nil {
		f.Fatal(err)
	}
	values := subscription.NewValues(&answers{schema: registry.Schema{ID: 7, Text: text}}, "raw-trades-value", tradeSchema)
	codec, err := subscription.NewCodec[trade](tradeSchema)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		projected, err := values.Body(t.Context(), value)
		if err == nil {
			_, err = codec.Decode(projected)
		}
		var blocked *subscription.BlockedError
		if errors.As(err, &blocked) {
			t.Fatalf("garbage blocks the partition: %v", err)
		}
	})
}

// says is nil when an error says all of the texts.
func says(err error, texts ...string) error {
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			return fmt.Errorf("%v, want %q in it", err, text)
		}
	}
	return nil
}
