package convert_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/governance/migration/convert"
	"github.com/streamforge/streamforge/services/internal/governance/migration/migrationtest"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/apache/apachetest"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription/subscriptiontest"
)

const (
	v1 = "raw-trades"
	v2 = "raw-trades.v2"
)

// rig is a broker and a registry with both versions of raw-trades.
type rig struct {
	t *testing.T
	*subscriptiontest.Stack
	declared convert.Declared
	subjects []schemas.Subject
	pair     *convert.Pair
	cluster  convert.Cluster
	producer *kafka.Producer
	ids      map[string]int
	// clock is the next record's time, in ms.
	clock int64
	made  int
}

func start(t *testing.T) *rig {
	t.Helper()
	return startOn(t, "", "")
}

// startOn is start on a broker and a registry that run.
func startOn(t *testing.T, broker, registryURL string) *rig {
	t.Helper()
	files, subjects := migrationtest.Tree(t, migrationtest.TradesV2(t))
	if broker == "" {
		broker = brokertest.Start(t)
	}
	r := &rig{t: t, Stack: subscriptiontest.StartOn(t, broker, registryURL, files, subjects), subjects: subjects, ids: map[string]int{}, clock: time.Now().Add(-time.Hour).UnixMilli()}
	var err error
	if r.declared.Contracts, err = contract.Load(files); err != nil {
		t.Fatal(err)
	}
	if r.declared.Consumers, err = contract.LoadConsumers(files, r.declared.Contracts); err != nil {
		t.Fatal(err)
	}
	if r.declared.Producers, err = contract.LoadProducers(files, r.declared.Contracts, r.declared.Consumers); err != nil {
		t.Fatal(err)
	}
	if r.declared.Migrations, err = contract.LoadMigrations(files, r.declared.Contracts); err != nil {
		t.Fatal(err)
	}
	if r.pair, err = convert.NewPair(v2, r.declared.Contracts, r.declared.Migrations, subjects); err != nil {
		t.Fatal(err)
	}
	r.cluster = convert.Cluster{Kafka: r.Kafka, Admin: r.Admin, Registry: r.Client}
	if r.producer, err = kafka.NewProducer(r.Kafka, kafka.ProducerConfig{ProducerName: "parser@1"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.producer.Close)
	for _, side := range []convert.Side{r.pair.From, r.pair.To} {
		found, err := r.Client.Lookup(t.Context(), side.Schema)
		if err != nil {
			t.Fatal(err)
		}
		r.ids[side.ID] = found.ID
	}
	return r
}

// trade is a body of raw-trades.
func trade(t testing.TB, symbol, id, price string) []byte {
	t.Helper()
	p, _, err := market.ParseDecimal([]byte(price))
	if err != nil {
		t.Fatal(err)
	}
	return records.AppendTrade(nil, &market.Trade{
		Instrument: &market.Instrument{Venue: "binance", Symbol: symbol, VenueSymbol: ""}, ID: []byte(id), Price: p, Quantity: p, EventTime: market.NoTime,
	}, 1, records.Coordinates{})
}

// send writes records to a version, as its own.
func (r *rig) send(topic string, messages ...*kafka.Message) {
	r.t.Helper()
	for _, m := range messages {
		r.clock++
		m.Topic, m.TimestampMs = topic, r.clock
		if err := r.producer.Produce(m); err != nil {
			r.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := r.producer.Flush(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// trades makes n good records of a version, over a few symbols.
func (r *rig) trades(topic string, n int) []*kafka.Message {
	r.t.Helper()
	var all []*kafka.Message
	for range n {
		r.made++
		symbol := fmt.Sprintf("S%d-USDT", r.made%7)
		body := trade(r.t, symbol, fmt.Sprint(r.made), "1.5")
		if topic == v2 {
			var err error
			if body, err = convert.UpForTest(r.pair, body); err != nil {
				r.t.Fatal(err)
			}
		}
		all = append(all, &kafka.Message{Partition: -1, Key: []byte(symbol), Value: append(registry.AppendWireHeader(nil, r.ids[topic]), body...), Headers: []kafka.Header{{Name: "trace", Value: []byte("x")}}})
	}
	return all
}

// drain runs a direction's converter until it has nothing left to do.
func (r *rig) drain(d convert.Direction) (converted, skipped int64) {
	r.t.Helper()
	deps, _ := r.Deps("convert")
	c, err := convert.New(r.pair, d, convert.Config{}, deps)
	if err != nil {
		r.t.Fatal(err)
	}
	stop := r.Run(c)
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := r.pair.AwaitDrained(ctx, r.Admin, d); err != nil {
		r.t.Fatalf("%v: %v", err, c.Ready())
	}
	stop()
	return c.Counts()
}

// forgotten waits until the broker has forgotten a group's static members, which takes their session's timeout.
func (r *rig) forgotten(group string) {
	r.t.Helper()
	r.Await("group "+group+" to have no members", func() error {
		groups, err := r.Admin.Groups(r.t.Context())
		for _, g := range groups {
			if g.Group == group && len(g.Members) > 0 {
				err = fmt.Errorf("%d members", len(g.Members))
			}
		}
		return err
	})
}

func (r *rig) compare() convert.Report {
	r.t.Helper()
	report, err := convert.Compare(r.t.Context(), r.cluster, r.pair)
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

// read returns a topic's records with their headers.
func (r *rig) read(topic string) (all []kafka.Record) {
	r.t.Helper()
	if err := kafka.ReadAll(r.t.Context(), r.Kafka, []string{topic}, func(record kafka.Record) error {
		record.Key, record.Value = bytes.Clone(record.Key), bytes.Clone(record.Value)
		headers := slices.Clone(record.Headers)
		for i := range headers {
			headers[i].Value = bytes.Clone(headers[i].Value)
		}
		record.Headers = headers
		all = append(all, record)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return all
}

// stopAt has a group stop behind the first n records of each partition.
func (r *rig) stopAt(group, topic string, n int) {
	r.t.Helper()
	r.commit(group, topic, func(of []kafka.Record) int64 {
		if len(of) > n {
			return of[n].Offset
		}
		return of[len(of)-1].Offset + 1
	})
}

func (r *rig) commit(group, topic string, at func(of []kafka.Record) int64) {
	r.t.Helper()
	byPartition := map[int32][]kafka.Record{}
	for _, record := range r.read(topic) {
		byPartition[record.Partition] = append(byPartition[record.Partition], record)
	}
	var offsets []kafka.Committed
	for partition, of := range byPartition {
		offsets = append(offsets, kafka.Committed{TopicPartition: kafka.TopicPartition{Topic: topic, Partition: partition}, Offset: at(of)})
	}
	if err := r.Admin.SetGroupOffsets(r.t.Context(), group, offsets); err != nil {
		r.t.Fatal(err)
	}
}

// cutOver moves a group and returns which of the later version's records it will be given.
func (r *rig) cutOver(group string) map[string]bool {
	r.t.Helper()
	cut, err := convert.PlanCutOver(r.t.Context(), r.cluster, r.pair, group)
	if err != nil {
		r.t.Fatal(err)
	}
	if !cut.Changed() {
		r.t.Fatalf("nothing would change: %+v", cut)
	}
	if err := cut.Commit(r.t.Context(), r.Admin); err != nil {
		r.t.Fatal(err)
	}
	again, err := convert.PlanCutOver(r.t.Context(), r.cluster, r.pair, group)
	if err != nil || again.Changed() {
		r.t.Fatalf("the second time: %v, %+v", err, again)
	}
	offsets, err := r.Admin.GroupOffsets(r.t.Context(), group, r.partitions(v2))
	if err != nil {
		r.t.Fatal(err)
	}
	given := map[string]bool{}
	for _, record := range r.read(v2) {
		if record.Offset >= offsets[record.Partition].Offset {
			given[r.id(record)] = true
		}
	}
	return given
}

func (r *rig) partitions(topic string) []kafka.TopicPartition {
	r.t.Helper()
	described, err := r.Admin.Describe(r.t.Context(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	return described[topic].TopicPartitions()
}

// id is the trade's.
func (r *rig) id(record kafka.Record) string {
	r.t.Helper()
	_, body, err := registry.ParseWire(record.Value)
	if err == nil && record.Topic == v2 {
		body, err = convert.DownForTest(r.pair, body)
	}
	var t records.Trade
	if err == nil {
		err = t.DecodeAvro(body)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return t.TradeID
}

// readBy is what a group had been given when it stopped.
func (r *rig) readBy(group, topic string) map[string]bool {
	r.t.Helper()
	offsets, err := r.Admin.GroupOffsets(r.t.Context(), group, r.partitions(topic))
	if err != nil {
		r.t.Fatal(err)
	}
	given := map[string]bool{}
	for _, record := range r.read(topic) {
		if record.Offset < offsets[record.Partition].Offset {
			given[r.id(record)] = true
		}
	}
	return given
}

// exactlyOnce checks that what a group was given before and after are all of the trades, none of them twice.
func (r *rig) exactlyOnce(group string, before, after map[string]bool) {
	r.t.Helper()
	for i := 1; i <= r.made; i++ {
		if id := fmt.Sprint(i); before[id] == after[id] {
			r.t.Errorf("group %s: trade %s was given before: %v, after: %v", group, id, before[id], after[id])
		}
	}
	if len(before) == 0 || len(after) == 0 {
		r.t.Errorf("group %s was given %d before and %d after: nothing is proven", group, len(before), len(after))
	}
}

// TestAMigration goes the whole way on one cluster: up, a cut-over, the switch of the origin, down, a cut-over behind it.
func TestAMigration(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) { migrate(t, start(t)) })
	t.Run("apache", func(t *testing.T) {
		broker, registryURL := apachetest.Start(t)
		migrate(t, startOn(t, broker, registryURL))
	})
}

func migrate(t *testing.T, r *rig) {
	r.send(v1, r.trades(v1, 200)...)
	if converted, skipped := r.drain(convert.Up); converted != 200 || skipped != 0 {
		t.Errorf("up: %d converted, %d left out", converted, skipped)
	}
	r.sameRecords()
	if c := r.compare(); !c.Clean() || c.Up.Compared != 200 || c.Down.Compared != 0 {
		t.Errorf("after the conversion up: %+v", c)
	}
	join := r.join()

	r.stopAt("early", v1, 5)
	before := r.readBy("early", v1)
	r.exactlyOnce("early", before, r.cutOver("early"))

	// One converter more does nothing, and a second origin begins.
	if converted, _ := r.drain(convert.Up); converted != 0 {
		t.Errorf("up once more: %d converted", converted)
	}
	r.send(v2, r.trades(v2, 150)...)
	if c := r.compare(); !c.Clean() || c.Down.Waiting != 150 {
		t.Errorf("before the conversion down: %+v", c)
	}
	if converted, skipped := r.drain(convert.Down); converted != 150 || skipped != 200 {
		t.Errorf("down: %d converted, %d left out", converted, skipped)
	}
	if converted, skipped := r.drain(convert.Up); converted != 0 || skipped != 150 {
		t.Errorf("what was converted down came up again: %d, and %d left out", converted, skipped)
	}
	if c := r.compare(); !c.Clean() || c.Up.Compared != 200 || c.Down.Compared != 150 || c.Up.Waiting+c.Down.Waiting+c.Down.Missing != 0 {
		t.Errorf("after the conversion down: %+v", c)
	}
	for n, group := range map[int]string{3: "before the switch", 31: "behind the switch", 40: "far behind it"} {
		r.stopAt(group, v1, n)
		before := r.readBy(group, v1)
		r.exactlyOnce(group, before, r.cutOver(group))
	}
	if again := r.join(); !slices.Equal(again.Offsets, join.Offsets) {
		t.Errorf("the join moved from %v to %v", join.Offsets, again.Offsets)
	}
}

// sameRecords compares partition, order, key, time and headers of both topics.
func (r *rig) sameRecords() {
	r.t.Helper()
	described, err := r.Admin.Describe(r.t.Context(), v1)
	if err != nil {
		r.t.Fatal(err)
	}
	from, to := r.read(v1), r.read(v2)
	byPartition := func(a, b kafka.Record) int { return int(a.Partition) - int(b.Partition) }
	slices.SortStableFunc(from, byPartition)
	slices.SortStableFunc(to, byPartition)
	if len(from) != len(to) {
		r.t.Fatalf("%d and %d records", len(from), len(to))
	}
	for i := range from {
		a, b := from[i], to[i]
		if a.Partition != b.Partition || !bytes.Equal(a.Key, b.Key) || a.TimestampMs != b.TimestampMs || r.id(a) != r.id(b) {
			r.t.Fatalf("record %d: %+v became %+v", i, a, b)
		}
		source := convert.Source{Topic: v1, TopicID: described[v1].ID, Partition: a.Partition, Offset: a.Offset}
		want := []kafka.Header{{Name: "producer", Value: []byte("convert@test")}, {Name: convert.HeaderSource, Value: []byte(source.String())}, {Name: "trace", Value: []byte("x")}}
		if fmt.Sprint(b.Headers) != fmt.Sprint(want) {
			r.t.Fatalf("headers %s, want %s", b.Headers, want)
		}
	}
}

func (r *rig) join() contract.Join {
	r.t.Helper()
	join, err := convert.FindJoin(r.t.Context(), r.cluster, r.pair)
	if err != nil {
		r.t.Fatal(err)
	}
	return join
}

// TestWhatCannotBeConvertedIsADeadLetter, and is accounted for; a tombstone stays one.
func TestWhatCannotBeConvertedIsADeadLetter(t *testing.T) {
	t.Parallel()
	r := start(t)
	header := registry.AppendWireHeader(nil, r.ids[v1])
	r.send(v1, r.trades(v1, 20)...)
	r.send(v1,
		&kafka.Message{Partition: 3, Key: []byte("k"), Value: append(header, trade(t, "S", "x", "0.123456789")...)}, // a digit too many
		&kafka.Message{Partition: 3, Key: []byte("k"), Value: []byte("garbage")},
		&kafka.Message{Partition: 3}, // no key says where this one goes
		&kafka.Message{Partition: 3, Key: []byte("k"), Value: append(header, trade(t, "S", "y", "1")...), Headers: []kafka.Header{{Name: convert.HeaderSource, Value: []byte("nonsense")}}},
	)
	r.drain(convert.Up)
	classes := map[string]int{}
	for _, letter := range r.read(deadletters.Topic) {
		_, body, err := registry.ParseWire(letter.Value)
		var l records.DeadLetter
		if err == nil {
			err = l.DecodeAvro(body)
		}
		if err != nil {
			t.Fatal(err)
		}
		classes[l.ErrorClass]++
	}
	if fmt.Sprint(classes) != fmt.Sprint(map[string]int{convert.NoCounterpart: 1, deadletters.NotWireFormat: 1, "rejected": 1}) {
		t.Errorf("dead letters: %v", classes)
	}
	to := r.read(v2)
	if last := to[slices.IndexFunc(to, func(k kafka.Record) bool { return k.Key == nil })]; len(to) != 21 || last.Value != nil || last.Partition != 3 {
		t.Errorf("%d records, the one without a key is %+v", len(to), last)
	}
	_, err := convert.Compare(t.Context(), r.cluster, r.pair)
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a header that nobody can read is passed over: %v", err)
	}
}

// TestCompareFindsWhatIsWrong makes each fault once.
func TestCompareFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	r := start(t)
	sent := r.trades(v1, 40)
	r.send(v1, sent...)
	r.send(v1, &kafka.Message{Partition: 3, Key: []byte("k"), Value: append(registry.AppendWireHeader(nil, r.ids[v1]), trade(t, "S", "x", "0.123456789")...)})
	r.drain(convert.Up)
	if c := r.compare(); !c.Clean() || c.Up.Compared != 40 || c.Up.Diverted != 1 || c.ExitCode() != 0 {
		t.Fatalf("%+v", c)
	}
	to := r.read(v2)
	again := func(record kafka.Record, value []byte) *kafka.Message {
		headers := slices.DeleteFunc(slices.Clone(record.Headers), func(h kafka.Header) bool { return h.Name == "producer" })
		return &kafka.Message{Partition: record.Partition, Key: record.Key, Value: value, Headers: headers}
	}
	// Doubled; then a record that the converter passes over, one more that it has not come to, and one with another size.
	r.send(v2, again(to[0], to[0].Value))
	r.send(v1, r.trades(v1, 2)...)
	r.forgotten(r.pair.Group(convert.Up))
	r.commit(r.pair.Group(convert.Up), v1, func(of []kafka.Record) int64 { return of[len(of)-1].Offset + 1 })
	r.send(v1, r.trades(v1, 1)...)
	from := r.read(v1)
	last := from[slices.IndexFunc(from, func(k kafka.Record) bool { return k.Value != nil && string(k.Key) != "k" && r.id(k) == "42" })]
	other, err := convert.UpForTest(r.pair, trade(t, "S0-USDT", "42", "2"))
	if err != nil {
		t.Fatal(err)
	}
	described, _ := r.Admin.Describe(t.Context(), v1)
	source := convert.Source{Topic: v1, TopicID: described[v1].ID, Partition: last.Partition, Offset: last.Offset}
	r.send(v2, &kafka.Message{Partition: last.Partition, Key: last.Key, Value: append(registry.AppendWireHeader(nil, r.ids[v2]), other...), Headers: []kafka.Header{{Name: convert.HeaderSource, Value: []byte(source.String())}}})
	c := r.compare()
	if c.Clean() || c.ExitCode() != 3 || c.Up.Extra != 1 || c.Up.Missing != 1 || c.Up.Waiting != 1 || c.Up.Diverted != 1 || c.Up.Different != 1 {
		t.Errorf("%+v", c.Up)
	}
	if fmt.Sprint(c.Up.Differing) != "map[(timestamp):1 price:1 size:1]" {
		t.Errorf("differing fields %v", c.Up.Differing)
	}
	var text strings.Builder
	if err := c.WriteText(&text); err != nil || !strings.Contains(text.String(), `size is "2", should be "1.5"`) || !strings.Contains(text.String(), "compare: NOT clean") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// TestWhoMayNotBeMoved asks for every refusal.
func TestWhoMayNotBeMoved(t *testing.T) {
	t.Parallel()
	r := start(t)
	if _, err := convert.FindJoin(t.Context(), r.cluster, r.pair); !convert.Refused(err) {
		t.Errorf("a join before anything is converted: %v", err)
	}
	r.send(v1, r.trades(v1, 30)...)
	r.drain(convert.Up)
	r.stopAt("ahead", v1, 1000)
	r.send(v1, r.trades(v1, 30)...)
	r.commit("elsewhere", "raw-frames", func([]kafka.Record) int64 { return 0 })
	if err := r.Admin.SetGroupOffsets(t.Context(), "elsewhere", []kafka.Committed{{TopicPartition: kafka.TopicPartition{Topic: "raw-frames"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := convert.PlanCutOver(t.Context(), r.cluster, r.pair, "ahead"); err != nil {
		t.Errorf("a group as far as the converter: %v", err)
	}
	r.stopAt("ahead", v1, 1000)
	for group, want := range map[string]string{
		"ahead":                  "that convert.raw-trades.v2.up has not converted yet",
		"nobody":                 "does not exist",
		"elsewhere":              "has committed nothing on raw-trades",
		"writer.raw-trades":      "streamforge product join raw-trades.v2",
		r.pair.Group(convert.Up): "the converter itself",
	} {
		if _, err := convert.PlanCutOver(t.Context(), r.cluster, r.pair, group); !convert.Refused(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("group %s: %v, want %q", group, err, want)
		}
	}
	stop := r.member("busy", v1)
	defer stop()
	r.Await("the refusal of a group with members", func() error {
		_, err := convert.PlanCutOver(t.Context(), r.cluster, r.pair, "busy")
		if !convert.Refused(err) || !strings.Contains(err.Error(), "has 1 members") {
			return fmt.Errorf("%w", err)
		}
		return nil
	})
}

// member joins a group and reads until it is stopped.
func (r *rig) member(group, topic string) (stop func()) {
	r.t.Helper()
	consumer, err := kafka.NewConsumer(r.Kafka, kafka.ConsumerConfig{Group: group, Topics: []string{topic}}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if _, err := consumer.Poll(ctx); err != nil && !errors.Is(err, context.Canceled) {
				r.t.Errorf("polling: %v", err)
			}
		}
		_ = consumer.Close()
	}()
	return func() {
		cancel()
		<-ended
	}
}

// TestRetiringIsRefusedWhileSomebodyLivesThere, naming who, and allowed afterwards.
func TestRetiringIsRefusedWhileSomebodyLivesThere(t *testing.T) {
	t.Parallel()
	r := start(t)
	product, _ := contract.Find(r.declared.Contracts, v1)
	holds := func(want ...string) {
		t.Helper()
		found, err := convert.Holds(t.Context(), r.cluster, r.declared, product)
		var got []string
		for _, h := range found {
			got = append(got, fmt.Sprintf("%s (%s): %s, %d", h.Who, h.Owner, h.Why, h.Lag))
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v: %d holds, want %d:\n%s", err, len(got), len(want), strings.Join(got, "\n"))
		}
		for i, w := range want {
			if !strings.Contains(got[i], w) {
				t.Errorf("hold %s, want %q in it", got[i], w)
			}
		}
	}
	writes := "parser (market-data): contracts/producers/parser.yaml declares that it writes raw-trades, 0"
	holds(writes)
	r.send(v1, r.trades(v1, 30)...)
	r.drain(convert.Up)
	r.stopAt("momentum", v1, 1)
	r.stopAt("writer.raw-trades", v1, 1)
	r.forgotten(r.pair.Group(convert.Up))
	holds(writes, "momentum (nobody: no file in contracts/consumers/): it has offsets on raw-trades and no member: nobody has moved it, ",
		"writer.raw-trades (market-data): nothing says where its rows")
	r.cutOver("momentum")
	join := r.join()
	r.declared.Migrations[0].JoinAt = &join
	r.declared.Consumers = append(r.declared.Consumers, contract.Consumer{Group: "slow", Owner: "data-science", File: "consumers/slow.yaml", Reads: []contract.Read{{Product: v1}}})
	holds("slow (data-science): contracts/consumers/slow.yaml declares that it reads raw-trades, 0", writes)
	r.declared.Consumers, r.declared.Producers = nil, nil
	holds()
	stop := r.member("momentum", v1)
	r.Await("the group to be named again", func() error {
		found, err := convert.Holds(t.Context(), r.cluster, r.declared, product)
		if err != nil || len(found) != 1 || !strings.Contains(found[0].Why, "it reads raw-trades now: 1 members") {
			return fmt.Errorf("%+v, %v", found, err)
		}
		return nil
	})
	stop()
	r.Await("nobody to live there", func() error {
		found, err := convert.Holds(t.Context(), r.cluster, r.declared, product)
		if err != nil || len(found) > 0 {
			return fmt.Errorf("%+v, %v", found, err)
		}
		return nil
	})
	// A commit after the cut-over is life, with or without a member.
	r.stopAt("momentum", v1, 2)
	holds("momentum (nobody")
}
