package completeness_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/completeness"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
	"github.com/streamforge/streamforge/services/internal/records"
)

const (
	group      = "writer.raw-trades"
	topic      = "raw-trades"
	partitions = 4
)

// bench is a topic, its table with the candles, and what a writer would have committed; the test takes the writer's place, so
// that it knows every row.
type bench struct {
	t        *testing.T
	broker   string
	address  string
	deps     completeness.Deps
	product  completeness.Product
	producer *kgo.Client
	id       [16]byte
	// old marks records whose time is long past.
	old map[string]bool
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, broker: brokertest.Start(t), old: map[string]bool{}}
	database := clickhousetest.Database(t)
	b.address = clickhousetest.Start(t) + "/?database=" + database
	all := must[[]contract.Contract](t)(contract.Load(contracts.FS))
	b.product.Contract, _ = contract.Find(all, topic)
	b.product.Schema = must[string](t)(schemas.SelfContained(must[schemas.Subject](t)(schemas.Get(b.product.Contract.Subject))))
	views := must[[]contract.View](t)(contract.LoadViews(contracts.FS, all))
	b.product.Views = slices.DeleteFunc(views, func(v contract.View) bool { return v.Source != topic })
	b.sql(must[string](t)(ddl.CreateTable(b.product.Contract, b.product.Schema, database, ddl.Options{})))
	for _, v := range b.product.Views {
		tables := must[[]ddl.ViewTables](t)(ddl.Views(v, b.product.Contract, b.product.Schema, database, ddl.Options{}))
		for _, table := range tables {
			b.sql(table.CreateTarget(ddl.Options{}))
		}
		for _, table := range slices.Backward(tables) {
			b.sql(table.CreateFill(ddl.Options{}))
			b.sql("CREATE VIEW " + table.Reader + " AS " + table.ReaderSelect)
		}
	}
	b.deps = completeness.Deps{
		Kafka: kafka.ClientConfig{BootstrapServers: b.broker}, Round: 29, // Rounds end in the middle of partitions.
		ClickHouse: must[*clickhouse.Client](t)(clickhouse.New(clickhouse.Config{URL: strings.Replace(b.address, "/?database=", "/", 1)})),
		Time: func(_ context.Context, r kafka.Record, field string) (time.Time, bool, error) {
			if field != b.product.Contract.Sink.TimeColumn {
				return time.Time{}, false, fmt.Errorf("asked for %s", field)
			}
			if b.old[string(r.Value)] {
				return time.Now().AddDate(-3, 0, 0), true, nil
			}
			return time.Now(), true, nil
		},
	}
	t.Cleanup(func() { b.deps.ClickHouse.Close() })
	b.deps.Admin = must[*kafka.Admin](t)(kafka.NewAdmin(b.deps.Kafka))
	t.Cleanup(b.deps.Admin.Close)
	b.producer = must[*kgo.Client](t)(kgo.NewClient(kgo.SeedBrokers(b.broker), kgo.TransactionalID("verified"), kgo.RecordPartitioner(kgo.ManualPartitioner())))
	t.Cleanup(b.producer.Close)
	b.makeTopic()
	if err := b.deps.Admin.Create(t.Context(), []kafka.NewTopic{{Name: deadletters.Topic, Partitions: 2, Replication: 1, Configs: map[string]string{"cleanup.policy": "compact,delete"}}}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) makeTopic() {
	b.t.Helper()
	if err := b.deps.Admin.Create(b.t.Context(), []kafka.NewTopic{{Name: topic, Partitions: partitions, Replication: 1}}); err != nil {
		b.t.Fatal(err)
	}
	b.id = must[map[string]kafka.TopicDescription](b.t)(b.deps.Admin.AwaitTopics(b.t.Context(), nil, topic))[topic].ID
}

func (b *bench) sql(statement string) string {
	b.t.Helper()
	return clickhousetest.Exec(b.t, b.address, statement)
}

// transaction writes records, ends it by committing or aborting, and returns their offsets.
func (b *bench) transaction(end kgo.TransactionEndTry, all ...*kgo.Record) (offsets []int64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	err := b.producer.BeginTransaction()
	if err == nil {
		err = b.producer.ProduceSync(ctx, all...).FirstErr()
	}
	if err := errors.Join(err, b.producer.EndTransaction(ctx, end)); err != nil {
		b.t.Fatal(err)
	}
	for _, r := range all {
		offsets = append(offsets, r.Offset)
	}
	return offsets
}

func record(partition int32, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
}

// insert puts the rows of offsets into the table. Every symbol is a partition's, every offset has a second of its own.
func (b *bench) insert(id [16]byte, partition int32, offsets ...int64) {
	b.t.Helper()
	var rows []string
	for _, offset := range offsets {
		at := begin(partition, offset)
		rows = append(rows, fmt.Sprintf("('v', 'S%d', '%d', toDecimal128(%d, 18), toDecimal128(1, 18), fromUnixTimestamp64Micro(%d, 'UTC'), fromUnixTimestamp64Micro(%d, 'UTC'), %d, 0, toUUID('%s'), %d, %d)",
			partition, offset, 100+offset, at.UnixMicro(), at.UnixMicro(), offset, uuid.UUID(id), partition, offset))
	}
	b.sql("INSERT INTO raw_trades (venue, symbol, trade_id, price, quantity, event_time, received_at, `frame.offset`, `frame.item`, _topic_id, _partition, _offset) SETTINGS insert_deduplicate = 0 VALUES " + strings.Join(rows, ","))
}

// today is the same for all rows of a run, far enough from midnight that a row's second is in its day.
var today = time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)

func begin(partition int32, offset int64) time.Time {
	return today.Add(time.Duration(partition)*time.Hour + time.Duration(offset)*time.Second)
}

// commit says that every partition is in the table as far as it goes now.
func (b *bench) commit() {
	b.t.Helper()
	var parts []kafka.TopicPartition
	for p := range int32(partitions) {
		parts = append(parts, kafka.TopicPartition{Topic: topic, Partition: p})
	}
	held := must[map[kafka.TopicPartition]kafka.OffsetRange](b.t)(b.deps.Admin.Offsets(b.t.Context(), parts, true))
	var all []kafka.Committed
	for tp, r := range held {
		all = append(all, kafka.Committed{TopicPartition: tp, Offset: r.Latest, Metadata: "sf0 " + hex.EncodeToString(b.id[:])})
	}
	if err := b.deps.Admin.SetGroupOffsets(b.t.Context(), group, all); err != nil {
		b.t.Fatal(err)
	}
}

// letter writes a letter of a record, or a resolution of it.
func (b *bench) letter(partition int32, offset int64, resolve func(*deadletters.Writer, kafka.Record) []byte) {
	b.t.Helper()
	w := &deadletters.Writer{Group: group, SchemaID: 1, Producer: "test@0"}
	original := kafka.Record{Topic: topic, Partition: partition, Offset: offset, Value: []byte("bad")}
	key, value := w.Letter(original, b.id, -1, deadletters.BadValue, errors.New("bad"))
	if resolve != nil {
		value = resolve(w, kafka.Record{Topic: deadletters.Topic, Key: []byte(key), Value: value})
	}
	b.transaction(kgo.TryCommit, &kgo.Record{Topic: deadletters.Topic, Partition: 0, Key: []byte(key), Value: value})
}

func (b *bench) verify() completeness.Report {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	return must[[]completeness.Report](b.t)(completeness.Verify(ctx, b.deps, []completeness.Product{b.product}))[0]
}

// wrong is everything that a report complains of, a line each.
func wrong(r completeness.Report) string {
	var lines []string
	for _, f := range r.Faults {
		lines = append(lines, fmt.Sprintf("%s %d: %d-%d", f.Kind, f.Partition, f.From, f.To))
	}
	for _, v := range r.Views {
		for _, f := range v.Faults {
			lines = append(lines, v.Name+" "+f.Key)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (b *bench) expect(what string, r completeness.Report, lines ...string) {
	b.t.Helper()
	slices.Sort(lines)
	if got, want := wrong(r), strings.Join(lines, "\n"); got != want {
		b.t.Errorf("%s: found\n%s\nwant\n%s\n%s", what, got, want, r.Verdict())
	}
	if r.Sound() != (len(lines) == 0) {
		b.t.Errorf("%s: sound is %v: %s", what, r.Sound(), r.Verdict())
	}
	for _, f := range r.Faults {
		b.sql(f.SQL)
	}
	for _, v := range r.Views {
		for _, f := range v.Faults {
			if answer := b.sql(f.SQL); !strings.Contains(answer, "view") && !strings.Contains(answer, "table") {
				b.t.Errorf("%s: %q shows nothing", what, f.SQL)
			}
		}
	}
}

// buckets of a row in all resolutions.
func buckets(partition int32, offset int64) []string {
	var all []string
	for name, step := range map[string]time.Duration{"1s": time.Second, "1m": time.Minute, "1h": time.Hour} {
		all = append(all, fmt.Sprintf("candles_%s ('v','S%d','%s')", name, partition, begin(partition, offset).Truncate(step).Format(time.DateTime)))
	}
	return all
}

// TestWhatAHandDidIsFoundAndNothingElse on one stack, one deed after the other; each is undone before the next.
func TestWhatAHandDidIsFoundAndNothingElse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good := map[int32][]int64{}
	take := func(partition int32, offsets ...int64) {
		good[partition] = append(good[partition], offsets...)
		b.insert(b.id, partition, offsets...)
	}
	for partition := range int32(partitions - 1) { // The last one stays empty.
		for range 5 {
			var all []*kgo.Record
			for i := range 6 {
				all = append(all, record(partition, fmt.Sprint(partition, i)))
			}
			take(partition, b.transaction(kgo.TryCommit, all...)...)
			b.transaction(kgo.TryAbort, record(partition, "aborted"), record(partition, "aborted"))
		}
	}
	open := b.transaction(kgo.TryCommit, record(0, "bad"), &kgo.Record{Topic: topic, Partition: 0, Key: []byte("k")}, record(0, "discarded"), record(0, "replayed"), record(0, "bad again"))
	b.letter(0, open[0], nil)
	resolved := func(status records.DeadLetterStatus) func(w *deadletters.Writer, r kafka.Record) []byte {
		return func(w *deadletters.Writer, r kafka.Record) []byte {
			word := must[deadletters.Word](t)(deadletters.ReadWord(r))
			return bytes.Clone(w.Resolve(word.Letter, status, "test").Value)
		}
	}
	b.letter(0, open[2], resolved(records.DeadLetterDiscarded))
	b.letter(0, open[3], resolved(records.DeadLetterReplayed))
	b.letter(0, open[4], nil)
	take(0, open[3])
	b.old["past"] = true
	b.transaction(kgo.TryCommit, record(1, "past"))
	b.commit()

	r := b.verify()
	b.expect("what a writer left", r)
	if r.Records != 96 || r.Rows != 91 || r.Letters != 3 || r.Tombstones != 1 || r.PastTTL != 1 || r.Pending != 0 || r.OnlyRows != 0 {
		t.Errorf("counts %+v", r)
	}
	if len(r.Views) != 3 || r.Views[0].Buckets != 91 || r.Views[2].Buckets != 3 {
		t.Errorf("views %+v", r.Views)
	}

	gone := good[1][7]
	b.sql(fmt.Sprintf("DELETE FROM raw_trades WHERE _partition = 1 AND _offset = %d SETTINGS lightweight_deletes_sync = 2", gone))
	// Its candles hold what the table no longer has: that is the same deed.
	b.expect("a row deleted", b.verify(), append(buckets(1, gone), fmt.Sprintf("lost 1: %d-%d", gone, gone+1))...)
	b.undo(good)

	twice := good[2][11]
	b.insert(b.id, 2, twice)
	r = b.verify()
	b.expect("a row inserted twice", r, fmt.Sprintf("duplicated 2: %d-%d", twice, twice+1))
	if r.Duplicated != 1 || r.Lost != 0 || r.Foreign != 0 {
		t.Errorf("counts %+v", r)
	}
	marker := good[0][5] + 1 // the control record of a transaction
	b.insert(b.id, 0, marker, open[4])
	r = b.verify()
	b.expect("rows of a control record and beside an open letter", r, fmt.Sprintf("duplicated 2: %d-%d", twice, twice+1),
		fmt.Sprintf("duplicated 0: %d-%d", open[4], open[4]+1), fmt.Sprintf("foreign 0: %d-%d", marker, marker+1))
	b.sql(fmt.Sprintf("DELETE FROM raw_trades WHERE _partition = 0 AND _offset IN (%d, %d) SETTINGS lightweight_deletes_sync = 2", marker, open[4]))
	b.undo(good)

	hour := begin(2, 0).Truncate(time.Hour).Format(time.DateTime)
	b.sql("INSERT INTO candles_1h_states (venue, symbol, time, volume) VALUES ('v', 'S2', '" + hour + "', 1)")
	b.expect("a bucket changed", b.verify(), "candles_1h ('v','S2','"+hour+"')")
	b.undo(good)

	later := b.transaction(kgo.TryCommit, record(3, "pending"), record(3, "pending"))
	b.sql(fmt.Sprintf("INSERT INTO candles_1s_states (venue, symbol, time, trades) VALUES ('v', 'S3', '%s', 1)", begin(3, later[0]).Format(time.DateTime)))
	b.insert(b.id, 3, later[0])
	r = b.verify()
	b.expect("a block under way", r)
	if r.Pending == 0 || r.Views[0].Pending != 1 {
		t.Errorf("nothing is pending: %+v", r)
	}

	b.undo(good)
	b.anew()
}

// undo makes table and views what the writer left.
func (b *bench) undo(good map[int32][]int64) {
	b.t.Helper()
	for _, table := range []string{"candles_1s_states", "candles_1m_states", "candles_1h_states", "raw_trades"} {
		b.sql("TRUNCATE TABLE " + table)
	}
	for partition, offsets := range good {
		b.insert(b.id, partition, offsets...)
	}
}

// anew makes the topic again under its name.
func (b *bench) anew() {
	t := b.t
	rows := b.verify().Rows
	if err := b.deps.Admin.Delete(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	old := b.id
	b.makeTopic()
	if b.id == old {
		t.Fatal("the topic has the id of the old one")
	}
	b.producer.PurgeTopicsFromClient(topic)
	offsets := b.transaction(kgo.TryCommit, record(1, "a"), record(1, "b"), record(1, "c"))
	r := b.verify()
	b.expect("offsets of the old topic are committed", r)
	if r.Records != 0 || r.Pending == 0 || r.EarlierRows < rows {
		t.Errorf("counts %+v", r)
	}
	b.insert(b.id, 1, offsets[0], offsets[2])
	b.commit()
	r = b.verify()
	// The rows are of the old topic's minutes, too, and in its candles.
	b.expect("a row of the new topic is missing", r, fmt.Sprintf("lost 1: %d-%d", offsets[1], offsets[1]+1))
	if r.Records != 3 || r.Rows != 2 || r.Foreign != 0 || r.EarlierRows < rows {
		t.Errorf("counts %+v", r)
	}
}

// What was written down of a day is found to be the same, whatever was inserted anew or merged, until a row is another: then
// exactly its group is told.
func TestAManifestTellsTheGroupThatIsAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good := map[int32][]int64{0: {5, 6, 7}, 1: {1, 2, 9}, 2: {100}}
	b.undo(good)
	m := must[*completeness.Manifest](t)(completeness.NewManifest(t.Context(), b.deps, b.product))
	day := today.Format(time.DateOnly)
	if days := must[[]string](t)(m.Days(t.Context())); !slices.Equal(days, []string{day}) {
		t.Fatalf("days %v, want %s", days, day)
	}
	head := must[completeness.ManifestHead](t)(m.Head([]string{day}))
	if !slices.Equal(head.GroupBy, []string{"venue", "symbol"}) || slices.Contains(head.Columns, "_offset") || !slices.Contains(head.Columns, "frame.offset") {
		t.Errorf("head %+v", head)
	}
	written := must[[]completeness.ManifestLine](t)(m.Lines(t.Context(), head, day))
	if len(written) != 3 || written[1].Rows != 3 || !slices.Equal(written[1].Group, []string{"v", "S1"}) || len(written[1].Hash) != 32 ||
		written[1].Offsets[0] != (completeness.ManifestOffsets{TopicID: uuid.UUID(b.id).String(), Partition: 1, First: 1, Last: 9}) {
		t.Fatalf("%+v", written)
	}
	expect := func(what string, groups ...string) {
		t.Helper()
		var got []string
		for _, f := range must[[]completeness.ManifestFault](t)(m.Check(t.Context(), head, day, written)) {
			got = append(got, strings.Join(f.Group, "/")+": "+f.What[:strings.Index(f.What, " ")])
			b.sql(f.SQL)
		}
		if !slices.Equal(got, groups) {
			t.Errorf("%s: %q, want %q", what, got, groups)
		}
	}
	expect("what was written")
	b.undo(map[int32][]int64{0: {7, 5}, 1: {9, 2, 1}, 2: {100}})
	b.insert(b.id, 0, 6)
	expect("the same rows in another order and in other parts")
	b.sql("ALTER TABLE raw_trades ADD COLUMN added String DEFAULT 'x'")
	expect("a column added")
	b.sql("ALTER TABLE raw_trades UPDATE price = 7 WHERE _partition = 1 AND _offset = 2 SETTINGS mutations_sync = 2")
	expect("a value changed", "v/S1: hash")
	b.undo(map[int32][]int64{0: {5, 6, 7}, 1: {1, 2, 9}, 3: {1}})
	expect("a group gone and one come", "v/S2: rows", "v/S3: rows")
	b.undo(map[int32][]int64{0: {5, 6, 7, 7}, 1: {1, 9}, 2: {100}})
	expect("a row twice and a row lost", "v/S0: rows", "v/S1: rows")
}
