package clickhouse_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

func client(t *testing.T) *clickhouse.Client {
	t.Helper()
	address := clickhousetest.Start(t)
	database := clickhousetest.Database(t)
	c, err := clickhouse.New(clickhouse.Config{URL: address + "/" + database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func sinks(t *testing.T) []contract.Contract {
	t.Helper()
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	var with []contract.Contract
	for _, c := range all {
		if c.Sink != nil {
			with = append(with, c)
		}
	}
	return with
}

func schemaText(t *testing.T, subject string) string {
	t.Helper()
	s, err := schemas.Get(subject)
	if err != nil {
		t.Fatal(err)
	}
	text, err := schemas.SelfContained(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// create makes a sink's table and returns its layout as the server has it.
func create(t *testing.T, c *clickhouse.Client, sink contract.Contract) *columnar.Layout {
	t.Helper()
	text := schemaText(t, sink.Subject)
	statement, err := ddl.CreateTable(sink, text, c.Database(), ddl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%v\n%s", err, statement)
	}
	// The test's records have a fixed date, which a TTL would drop.
	if err := c.Exec(t.Context(), "ALTER TABLE "+ddl.QuoteName(sink.Sink.Table)+" REMOVE TTL"); err != nil {
		t.Fatal(err)
	}
	table, err := c.Table(t.Context(), c.Database(), sink.Sink.Table)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := ddl.Columns(sink, text)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := ddl.AlterAdd(sink, text, c.Database(), table.Columns, ddl.Options{})
	if err != nil || len(changes) > 0 {
		t.Fatalf("a table that was just made differs from its contract: %v %v", changes, err)
	}
	layout, err := columnar.NewLayout(sink.Sink.Table, columns, table.Columns)
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

// bodies are records of every kind that a sink holds, nulls and empty arrays included.
func bodies(t *testing.T, topic string) [][]byte {
	t.Helper()
	price, _, err := market.ParseDecimal([]byte("-12345678901234567890.123456789012345678"))
	if err != nil {
		t.Fatal(err)
	}
	one, _, _ := market.ParseDecimal([]byte("1.5"))
	instrument := &market.Instrument{Venue: "binance", Symbol: "BTC-USDT", VenueSymbol: "BTCUSDT"}
	at := records.Coordinates{TopicID: [16]byte{0xde, 0xad, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, Partition: 3, Offset: 1 << 40, Item: 2}
	const now = 1767225600123456
	switch topic {
	case "raw-trades":
		trade := market.Trade{Instrument: instrument, ID: []byte("17"), Price: price, Quantity: one, TakerSide: market.Side(1), EventTime: market.NoTime}
		dated := trade
		dated.EventTime = now
		return [][]byte{records.AppendTrade(nil, &trade, now, at), records.AppendTrade(nil, &dated, now, at)}
	case "raw-orderbooks":
		book := market.Book{Kind: 2, Instrument: instrument, LastUpdateID: market.Some(9), EventTime: now, Bids: []market.Level{{Price: one, Quantity: price}, {Price: price, Quantity: one}}}
		empty := market.Book{Kind: 3, Instrument: instrument, GapReason: "lost\n\nbytes", EventTime: market.NoTime}
		return [][]byte{records.AppendBook(nil, &book, now, at), records.AppendBook(nil, &empty, now, at)}
	case "raw-frames":
		a := records.Frame{Kind: records.FrameData, Venue: "kraken", Feed: "kraken-0", LoaderEpoch: 4, Connection: 1, Sequence: 7, ReceivedAt: now, Payload: []byte("{}\n\n\x00")}
		b := a
		b.Request, b.VenueSymbol, b.Kind = "/api/v3/depth", "BTCUSDT", records.FrameRESTSnapshot
		return [][]byte{a.AppendAvro(nil), b.AppendAvro(nil)}
	case "dead-letters":
		a := records.DeadLetter{Status: records.DeadLetterFailed, Group: "parser", Topic: "raw-frames", TopicID: at.TopicID, Item: -1, SchemaID: market.Some(3), Key: []byte("k"), Value: []byte{0, 1, 2}, Headers: []records.Header{{Name: "producer", Value: []byte("x")}, {Name: "n"}}, RecordTime: now, ErrorClass: "bad-frame", Error: "no", FailedAt: now, Producer: "t", ResolvedAt: market.NoTime}
		b := a
		b.Headers, b.Key, b.Value, b.SchemaID = nil, nil, nil, market.OptInt{}
		return [][]byte{a.AppendAvro(nil), b.AppendAvro(nil)}
	case "feed-gaps":
		a := records.FeedGap{Venue: "okx", Symbol: "BTC-USDT", VenueSymbol: "BTC-USDT", Feed: "okx-0", Channel: "all", FromTime: market.NoTime, ToTime: now, FromID: "7", Missing: market.Some(3), Detail: "x", ReceivedAt: now, Frame: at}
		return [][]byte{a.AppendAvro(nil)}
	}
	return nil
}

func TestEverySinkTakesItsRecordsAsTheyAre(t *testing.T) {
	c := client(t)
	for _, sink := range sinks(t) {
		t.Run(sink.ID, func(t *testing.T) {
			layout := create(t, c, sink)
			plan, err := columnar.Compile(layout, 5, schemaText(t, sink.Subject))
			if err != nil {
				t.Fatal(err)
			}
			block := columnar.NewBlock(layout)
			for i, body := range bodies(t, sink.Topic.Name) {
				if err := plan.Append(block, &columnar.Origin{TopicID: [16]byte{0xab, 15: 1}, Partition: 2, Offset: int64(i)}, body); err != nil {
					t.Fatal(err)
				}
			}
			insert := clickhouse.Block{Database: c.Database(), Table: sink.Sink.Table, Columns: layout.Names(), Chunks: block.Native(), Rows: block.Rows(), Token: "t", QueryID: "q-" + sink.ID}
			for range 2 {
				if err := c.Insert(t.Context(), insert); err != nil {
					t.Fatal(err)
				}
			}
			if got := text(t, c, fmt.Sprintf("SELECT count(), uniqExact(_offset), toString(any(_topic_id)), any(_schema_id) FROM `%s`", sink.Sink.Table)); got != fmt.Sprintf("[%d %d ab000000-0000-0000-0000-000000000001 5]", block.Rows(), block.Rows()) {
				t.Fatalf("after inserting twice under one token: %s", got)
			}
			if want, ok := expected[sink.Topic.Name]; ok {
				if got := text(t, c, want[0]); got != want[1] {
					t.Errorf("%s\n got %s\nwant %s", want[0], got, want[1])
				}
			}
		})
	}
}

var expected = map[string][2]string{
	"raw-trades": {
		"SELECT toString(groupArray((toString(price), toString(quantity), taker_side, toString(event_time), toString(received_at), toString(frame.topic_id), frame.offset))) FROM (SELECT * FROM raw_trades ORDER BY _offset)",
		"[[('-12345678901234567890.123456789012345678','1.5','BUY',NULL,'2026-01-01 00:00:00.123456','dead0102-0304-0506-0708-090a0b0c0d0e',1099511627776),('-12345678901234567890.123456789012345678','1.5','BUY','2026-01-01 00:00:00.123456','2026-01-01 00:00:00.123456','dead0102-0304-0506-0708-090a0b0c0d0e',1099511627776)]]",
	},
	"raw-orderbooks": {
		"SELECT toString(groupArray((kind, last_update_id, toString(bids), length(asks), gap_reason))) FROM (SELECT * FROM raw_orderbooks ORDER BY _offset)",
		`[[('UPDATE',9,'[(1.5,-12345678901234567890.123456789012345678),(-12345678901234567890.123456789012345678,1.5)]',0,NULL),('GAP',NULL,'[]',0,'lost\n\nbytes')]]`,
	},
	"raw-frames": {
		"SELECT toString(groupArray((kind, venue, request, hex(payload)))) FROM (SELECT * FROM raw_frames ORDER BY _offset)",
		"[[('FRAME','kraken',NULL,'7B7D0A0A00'),('REST_SNAPSHOT','kraken','/api/v3/depth','7B7D0A0A00')]]",
	},
	"dead-letters": {
		"SELECT toString(groupArray((status, schema_id, item, toString(headers), hex(ifNull(value, 'none'))))) FROM (SELECT * FROM dead_letters ORDER BY _offset)",
		`[[('FAILED',3,-1,'[(\'producer\',\'x\'),(\'n\',NULL)]','000102'),('FAILED',NULL,-1,'[]','6E6F6E65')]]`,
	},
}

func text(t *testing.T, c *clickhouse.Client, query string) string {
	t.Helper()
	rows, err := c.Query(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, _ := rows.Columns()
	var lines []string
	for rows.Next() {
		values := make([]any, len(names))
		pointers := make([]any, len(names))
		for i := range values {
			pointers[i] = &values[i]
		}
		if err := rows.Scan(pointers...); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprint(values))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
