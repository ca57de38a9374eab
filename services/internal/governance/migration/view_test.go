package migration_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
)

// Two versions with everything that a table can hold, and that a rule can do to it.
const (
	wideV1 = `{"type":"record","name":"Wide","fields":[
		{"name":"venue","type":"string"},
		{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}},
		{"name":"small","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
		{"name":"narrower","type":["null",{"type":"bytes","logicalType":"decimal","precision":18,"scale":6}]},
		{"name":"latency","type":"long"},
		{"name":"width","type":"long"},
		{"name":"since","type":"long"},
		{"name":"side","type":{"type":"enum","name":"Side","symbols":["UNKNOWN","BUY","SELL"]}},
		{"name":"kind","type":{"type":"enum","name":"Kind","symbols":["SPOT","PERP"]}},
		{"name":"event_time","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
		{"name":"made_at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
		{"name":"note","type":["null","string"]},
		{"name":"absent","type":["null","int"]},
		{"name":"ratio","type":"double"},
		{"name":"left","type":"double"},
		{"name":"right","type":"double"},
		{"name":"received_at","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"id","type":{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}},
		{"name":"frame","type":{"type":"record","name":"Frame","fields":[{"name":"offset","type":"long"},{"name":"item","type":"int"}]}},
		{"name":"origin","type":["null",{"type":"record","name":"Origin","fields":[{"name":"host","type":"string"},{"name":"port","type":["null","int"]}]}]},
		{"name":"bids","type":{"type":"array","items":{"type":"record","name":"Level","fields":[
			{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":4}},
			{"name":"quantity","type":["null","long"]},{"name":"gone","type":"string"}]}}},
		{"name":"counts","type":{"type":"map","values":"int"}},
		{"name":"dropped","type":"bytes"}]}`
	wideV2 = `{"type":"record","name":"WideTwo","fields":[
		{"name":"received_at","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"market","type":"string"},
		{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":8}},
		{"name":"small","type":{"type":"bytes","logicalType":"decimal","precision":76,"scale":20}},
		{"name":"narrower","type":["null",{"type":"bytes","logicalType":"decimal","precision":8,"scale":1}]},
		{"name":"latency_us","type":"long"},
		{"name":"width","type":"int"},
		{"name":"since","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"side","type":{"type":"enum","name":"SideTwo","symbols":["ASK","BID","UNKNOWN"]}},
		{"name":"kind","type":{"type":"enum","name":"KindTwo","symbols":["PERP","SPOT","OTHER"],"default":"OTHER"}},
		{"name":"event_time","type":[{"type":"long","logicalType":"timestamp-nanos"},"null"]},
		{"name":"made_at","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"note","type":"string"},
		{"name":"absent","type":["null","int"]},
		{"name":"ratio","type":"double"},
		{"name":"left","type":"double"},
		{"name":"right","type":"double"},
		{"name":"id","type":{"type":"fixed","name":"IdTwo","size":16,"logicalType":"uuid"}},
		{"name":"source","type":{"type":"record","name":"FrameTwo","fields":[{"name":"item","type":"long"},{"name":"at","type":"long"},{"name":"stage","type":"string"}]}},
		{"name":"origin","type":["null",{"type":"record","name":"OriginTwo","fields":[{"name":"hostname","type":"string"},{"name":"port","type":["null","int"]}]}]},
		{"name":"levels","type":{"type":"array","items":{"type":"record","name":"LevelTwo","fields":[
			{"name":"size","type":["null","long"]},
			{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}},
			{"name":"orders","type":"int"}]}}},
		{"name":"counts","type":{"type":"map","values":"long"}},
		{"name":"fee","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":4}},
		{"name":"tags","type":{"type":"array","items":"string"}},
		{"name":"listed_at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
		{"name":"weight","type":"double"},
		{"name":"flag","type":"boolean"}]}`
	wideRules = `
  - rename: {from: venue, to: market}
  - rescale: {field: price}
  - rescale: {field: small}
  - rescale: {field: narrower}
  - rename: {from: latency, to: latency_us}
  - rescale: {field: latency_us, by: 1000}
  - rescale: {field: width}
  - rescale: {field: since, by: "1000"}
  - rename: {from: side.BUY, to: side.BID}
  - rename: {from: side.SELL, to: side.ASK}
  - default: {field: kind.OTHER, down: SPOT}
  - rescale: {field: event_time}
  - rescale: {field: made_at}
  - default: {field: made_at, up: "2026-01-01T00:00:00Z"}
  - default: {field: note, up: "it's none"}
  - rename: {from: left, to: right}
  - rename: {from: right, to: left}
  - rename: {from: frame, to: source}
  - rename: {from: frame.offset, to: source.at}
  - rescale: {field: source.item}
  - default: {field: source.stage, up: live}
  - rename: {from: origin.host, to: origin.hostname}
  - rename: {from: bids, to: levels}
  - rename: {from: "bids[].quantity", to: "levels[].size"}
  - rescale: {field: "levels[].price"}
  - default: {field: "levels[].orders", up: 1}
  - drop: {field: "bids[].gone", down: ""}
  - rescale: {field: "counts{}"}
  - default: {field: fee, up: "-0.25"}
  - default: {field: tags, up: [a, "b'c"]}
  - default: {field: listed_at, up: "2026-01-01T00:00:00.000001Z"}
  - default: {field: weight, up: 0.5}
  - default: {field: flag, up: true}
  - drop: {field: dropped, down: ""}
`
)

// random bodies of a schema, within what a table can hold.
type random struct{ *rand.Rand }

func (r random) body(s *avro.Schema) []byte {
	switch s.Type {
	case avro.Union:
		i := r.IntN(len(s.Branches))
		return append(long(int64(i)), r.body(s.Branches[i])...)
	case avro.Record:
		var body []byte
		for _, f := range s.Fields {
			body = append(body, r.body(f.Type)...)
		}
		return body
	case avro.Array, avro.Map:
		body := []byte{}
		if n := r.IntN(4); n > 0 {
			body = long(int64(n))
			for i := range n {
				if s.Type == avro.Map {
					body = append(body, sized(fmt.Append(nil, "k", i))...)
				}
				body = append(body, r.body(s.Items)...)
			}
		}
		return append(body, 0)
	case avro.Int:
		return long(int64(r.IntN(2000) - 1000))
	case avro.Long:
		switch {
		case s.LogicalType() == "timestamp-millis":
			return long(1.7e12 + r.Int64N(1e11))
		case s.LogicalType() == "timestamp-micros":
			return long(1.7e15 + r.Int64N(1e11)*1000 + r.Int64N(2)*r.Int64N(1000))
		}
		return long(r.Int64N(1<<(1+r.IntN(33))) - 100)
	case avro.Double:
		return binary.LittleEndian.AppendUint64(nil, math.Float64bits(r.NormFloat64()))
	case avro.Fixed:
		return r.bytes(s.Size)
	case avro.Enum:
		return long(int64(r.IntN(len(s.Symbols))))
	case avro.Bytes:
		if s.LogicalType() == "decimal" {
			return sized(r.decimal(s))
		}
		return sized(r.bytes(r.IntN(5)))
	case avro.String:
		return sized([]byte(strings.Repeat("a'\\", r.IntN(3))))
	}
	return nil
}

func (r random) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// decimal has few digits behind the point most of the time, so that it often fits a smaller scale.
func (r random) decimal(s *avro.Schema) []byte {
	property := func(name string) int {
		text, _ := s.Property(name)
		var n int
		_, _ = fmt.Sscan(text, &n)
		return n
	}
	precision, zeros := property("precision"), r.IntN(property("scale")+1)
	if r.IntN(4) > 0 {
		zeros = property("scale")
	}
	v := new(big.Int).SetUint64(r.Uint64())
	v.Exp(v, big.NewInt(int64(1+r.IntN(2))), nil)
	v.Mod(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(r.IntN(precision-zeros+1))), nil))
	v.Mul(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(zeros)), nil))
	if v.Sign() == 0 || r.IntN(2) > 0 {
		return v.FillBytes(make([]byte, v.BitLen()/8+1))
	}
	v.Neg(v)
	size := new(big.Int).Not(v).BitLen()/8 + 1
	return v.Add(v, new(big.Int).Lsh(big.NewInt(1), uint(size*8))).FillBytes(make([]byte, size))
}

// table of one version, filled as the writer fills it.
type table struct {
	t       *testing.T
	address string
	block   *columnar.Block
	plan    *columnar.Plan
	name    string
}

func makeTable(t *testing.T, address, database string, c contract.Contract, schema string) *table {
	t.Helper()
	create, err := ddl.CreateTable(c, schema, database, ddl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	clickhousetest.Exec(t, address, create)
	columns, err := ddl.Columns(c, schema)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := columnar.NewLayout(c.Sink.Table, columns, ddl.Existing(columns))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := columnar.Compile(layout, 1, schema)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range layout.Names() {
		names = append(names, ddl.QuoteName(name))
	}
	return &table{t, address, columnar.NewBlock(layout), plan, ddl.QuoteName(database) + "." + ddl.QuoteName(c.Sink.Table) + " (" + strings.Join(names, ", ") + ")"}
}

func (b *table) add(origin columnar.Origin, body []byte) {
	b.t.Helper()
	if err := b.plan.Append(b.block, &origin, body); err != nil {
		b.t.Fatalf("%s: %v", b.name, err)
	}
}

func (b *table) insert() {
	b.t.Helper()
	response, err := http.Post(b.address+"/?query="+url.QueryEscape("INSERT INTO "+b.name+" FORMAT Native"), "", bytes.NewReader(bytes.Join(b.block.Native(), nil)))
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		var text bytes.Buffer
		_, _ = text.ReadFrom(response.Body)
		b.t.Fatalf("inserting into %s: %s", b.name, &text)
	}
}

func sink(id, tableName string, columns map[string]contract.Column) contract.Contract {
	return contract.Contract{ID: id, Sink: &contract.Sink{Table: tableName, OrderBy: []string{"received_at"}, PartitionBy: "toYYYYMM(received_at)", TimeColumn: "received_at", TTLDays: 10000, Columns: columns}}
}

// TestTheViewShowsWhatUpWouldHaveMade fills v1's table with random records, and v2's with what Up makes of them: before the
// cut-over the view over v1's must be v2's table, row for row and column for column, without the rows that Up refuses.
func TestTheViewShowsWhatUpWouldHaveMade(t *testing.T) {
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	none := "-1"
	v1 := sink("wide", "wide", map[string]contract.Column{"venue": {LowCardinality: true}, "kind": {LowCardinality: true}, "absent": {NullAs: &none}})
	v2 := sink("wide.v2", "wide_v2", map[string]contract.Column{"side": {LowCardinality: true}, "note": {LowCardinality: true}})
	mapping := compile(t, wideRules, wideV1, wideV2)
	schema, err := avro.Parse(wideV1, nil)
	if err != nil {
		t.Fatal(err)
	}
	before, after := makeTable(t, address, database, v1, wideV1), makeTable(t, address, database, v2, wideV2)
	const partitions, rows = 3, 3000
	r := random{rand.New(rand.NewPCG(1, 2))}
	join := contract.Join{TopicID: uuid.UUID{1}.String(), Offsets: []int64{500, 0, rows}}
	shown, refused := 0, 0
	for i := range rows {
		body := r.body(schema)
		origin := columnar.Origin{TopicID: uuid.UUID{byte(1 + r.IntN(2))}, Partition: int32(i % partitions), Offset: int64(i)}
		before.add(origin, body)
		if origin.TopicID == (uuid.UUID{1}) && origin.Offset >= join.Offsets[origin.Partition] {
			continue
		}
		up, err := mapping.Up(nil, body)
		if err != nil {
			refused++
			continue
		}
		shown++
		after.add(origin, up)
	}
	before.insert()
	view, err := mapping.View(v1, v2, database, join, [2][]ddl.ExistingColumn{})
	if err != nil {
		t.Fatal(err)
	}
	clickhousetest.Exec(t, address, "CREATE VIEW "+ddl.QuoteName(database)+"."+view.Name+" AS "+view.Select)
	count := func(from string) string {
		return strings.TrimSpace(clickhousetest.Exec(t, address, "SELECT count() FROM "+from))
	}
	name := ddl.QuoteName(database) + "." + view.Name
	if got := count(name); got != fmt.Sprint(shown) || shown < 200 || refused < 200 {
		t.Fatalf("%s rows in the view, want %d; %d were refused", got, shown, refused)
	}
	// While v2's table is empty the view is v1's part alone; it is kept to be compared with what v2's table gets.
	clickhousetest.Exec(t, address, "CREATE TABLE "+ddl.QuoteName(database)+".kept ENGINE = MergeTree ORDER BY tuple() AS SELECT * FROM "+name)
	after.insert()
	for _, c := range view.Columns {
		column := ddl.QuoteName(c.Name)
		differs := strings.TrimSpace(clickhousetest.Exec(t, address, fmt.Sprintf(
			"SELECT _offset, toString(a.%[1]s), toString(b.%[1]s) FROM %[2]s.kept AS a JOIN %[2]s.wide_v2 AS b USING (_topic_id, _partition, _offset) WHERE NOT (a.%[1]s IS NOT DISTINCT FROM b.%[1]s) LIMIT 3",
			column, ddl.QuoteName(database))))
		if differs != "" {
			t.Errorf("column %s: offset, the view, Up:\n%s", c.Name, differs)
		}
	}
	if got := count(name); got != fmt.Sprint(2*shown) {
		t.Errorf("with v2's rows the view has %s, want %d", got, 2*shown)
	}
}
