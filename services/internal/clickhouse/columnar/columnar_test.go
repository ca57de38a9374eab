package columnar

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

// schemaOf is the self-contained text of a product's schema.
func schemaOf(t testing.TB, subject string) string {
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

// layoutOf builds the layout of a table that was just made from the schema.
func layoutOf(t testing.TB, schema string, options map[string]ddl.ColumnOptions) *Layout {
	t.Helper()
	columns, err := ddl.ColumnsOf(schema, options)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := NewLayout("test", columns, asExisting(columns))
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

func asExisting(columns []ddl.Column) []ddl.ExistingColumn {
	var existing []ddl.ExistingColumn
	for _, c := range columns {
		existing = append(existing, ddl.ExistingColumn{Name: c.Name, Type: c.Type.String()})
	}
	return existing
}

func tradePlan(t testing.TB) (*Plan, *Block) {
	t.Helper()
	schema := schemaOf(t, "raw-trades-value")
	low := ddl.ColumnOptions{LowCardinality: true}
	layout := layoutOf(t, schema, map[string]ddl.ColumnOptions{"venue": low, "symbol": low, "venue_symbol": low})
	plan, err := Compile(layout, 7, schema)
	if err != nil {
		t.Fatal(err)
	}
	return plan, NewBlock(layout)
}

func tradeBodies(n int) [][]byte {
	bodies := make([][]byte, n)
	for i := range bodies {
		symbol := fmt.Sprintf("S%03d-USDT", i*7919%200)
		price, _, _ := market.ParseDecimal([]byte(fmt.Sprintf("%d.%02d", 100+i%60000, i%100)))
		quantity, _, _ := market.ParseDecimal([]byte(fmt.Sprintf("0.%05d", 1+i%99999)))
		t := market.Trade{
			Instrument: &market.Instrument{Venue: "binance", Symbol: symbol, VenueSymbol: symbol[:4] + "USDT"},
			ID:         fmt.Append(nil, 4000000000+i), Price: price, Quantity: quantity, TakerSide: market.Side(1 + i%2),
			EventTime: 1767225600000000 + int64(i)*100,
		}
		bodies[i] = records.AppendTrade(nil, &t, t.EventTime+500, records.Coordinates{TopicID: [16]byte{1, 2, 3}, Partition: 5, Offset: int64(i), Item: 0})
	}
	return bodies
}

func TestATradeBecomesARow(t *testing.T) {
	plan, block := tradePlan(t)
	bodies := tradeBodies(1000)
	for i, body := range bodies {
		if err := plan.Append(block, &Origin{TopicID: [16]byte{9}, Partition: 3, Offset: int64(i)}, body); err != nil {
			t.Fatal(err)
		}
	}
	rows := readNative(t, bytes.Join(block.Native(), nil))
	if len(rows) != len(bodies) {
		t.Fatalf("%d rows of %d", len(rows), len(bodies))
	}
	for i, row := range rows {
		var want records.Trade
		if err := want.DecodeAvro(bodies[i]); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintln(row["venue"], row["symbol"], row["venue_symbol"], row["trade_id"], row["price"], row["quantity"], row["taker_side"], row["event_time"], row["received_at"], row["frame.offset"], row["_offset"], row["_partition"], row["_schema_id"], row["_topic_id"])
		expected := fmt.Sprintln(want.Venue, want.Symbol, want.VenueSymbol, want.TradeID, unscaled(want.Price), unscaled(want.Quantity), []string{"UNKNOWN", "BUY", "SELL"}[want.TakerSide], want.EventTime, want.ReceivedAt, want.Frame.Offset, i, 3, 7, uuid.UUID{9})
		if got != expected {
			t.Fatalf("row %d\n got %s\nwant %s", i, got, expected)
		}
	}
}

func unscaled(d market.Decimal) string {
	raw := d.AppendAvro(nil)
	_, n := binary.Varint(raw)
	return signedInt(raw[n:]).String()
}

func signedInt(raw []byte) *big.Int {
	n := new(big.Int).SetBytes(raw)
	if len(raw) > 0 && raw[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	return n
}

func TestABodyCutShortLeavesTheBlockAsItWas(t *testing.T) {
	plan, block := tradePlan(t)
	bodies := tradeBodies(50)
	for i := range 25 {
		if err := plan.Append(block, &Origin{Offset: int64(i)}, bodies[i]); err != nil {
			t.Fatal(err)
		}
	}
	before := bytes.Join(block.Native(), nil)
	for cut := range len(bodies[40]) {
		if err := plan.Append(block, &Origin{}, bodies[40][:cut]); err == nil {
			t.Fatalf("a body cut at %d was taken", cut)
		}
		if after := bytes.Join(block.Native(), nil); !bytes.Equal(before, after) {
			t.Fatalf("a body cut at %d changed the block", cut)
		}
	}
	if err := plan.Append(block, &Origin{}, append(bytes.Clone(bodies[40]), 0)); err == nil {
		t.Fatal("a byte left over was taken")
	}
	if after := bytes.Join(block.Native(), nil); !bytes.Equal(before, after) {
		t.Fatal("a byte left over changed the block")
	}
}

// readNative is a plain reader of the Native format, written for the tests: one map a row.
func readNative(t failer, data []byte) []map[string]any {
	t.Helper()
	r := &nativeReader{t: t, data: data}
	columns, rows := int(r.uvarint()), int(r.uvarint())
	out := make([]map[string]any, rows)
	for i := range out {
		out[i] = map[string]any{}
	}
	for range columns {
		name, typeText := r.str(), r.str()
		typ, err := ddl.ParseType(typeText)
		if err != nil {
			t.Fatal(err)
		}
		r.state(typ)
		for i, v := range r.column(typ, rows) {
			out[i][name] = v
		}
	}
	if len(r.data) != 0 {
		t.Fatalf("%d bytes left over behind the block", len(r.data))
	}
	return out
}

type nativeReader struct {
	t    failer
	data []byte
}

func (r *nativeReader) take(n int) []byte {
	if n > len(r.data) {
		r.t.Fatalf("native data ends: %d of %d bytes", len(r.data), n)
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *nativeReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	r.take(n)
	return v
}

func (r *nativeReader) str() string { return string(r.take(int(r.uvarint()))) }
func (r *nativeReader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

func (r *nativeReader) state(t ddl.Type) {
	if t.Name == "LowCardinality" {
		r.u64()
		return
	}
	for _, a := range t.Args {
		r.state(a)
	}
}

func (r *nativeReader) column(t ddl.Type, rows int) []any {
	values := make([]any, rows)
	switch t.Name {
	case "Nullable":
		nulls := r.take(rows)
		for i, v := range r.column(t.Args[0], rows) {
			if nulls[i] == 0 {
				values[i] = v
			}
		}
	case "LowCardinality":
		r.dictionary(t, values)
	case "Array", "Map":
		r.lists(t, values)
	case "Tuple":
		for i := range values {
			values[i] = map[string]any{}
		}
		for k, a := range t.Args {
			for i, v := range r.column(a, rows) {
				values[i].(map[string]any)[t.Names[k]] = v
			}
		}
	default:
		for i := range values {
			values[i] = r.scalar(t)
		}
	}
	return values
}

func (r *nativeReader) dictionary(t ddl.Type, values []any) {
	if len(values) == 0 {
		return
	}
	width := 1 << (r.u64() & 0xff)
	words := make([]string, r.u64())
	for i := range words {
		words[i] = r.str()
	}
	if r.u64() != uint64(len(values)) {
		r.t.Fatal("number of keys")
	}
	for i := range values {
		var raw [8]byte
		copy(raw[:], r.take(width))
		key := binary.LittleEndian.Uint64(raw[:])
		if t.Args[0].Name != "Nullable" || key != 0 {
			values[i] = words[key]
		}
	}
}

func (r *nativeReader) lists(t ddl.Type, values []any) {
	ends := make([]int, len(values))
	total := 0
	for i := range ends {
		ends[i] = int(r.u64())
		total = ends[i]
	}
	var keys []any
	if t.Name == "Map" {
		keys = r.column(t.Args[0], total)
	}
	items := r.column(t.Args[len(t.Args)-1], total)
	from := 0
	for i, end := range ends {
		if t.Name == "Map" {
			m := map[string]any{}
			for k := from; k < end; k++ {
				m[keys[k].(string)] = items[k]
			}
			values[i] = m
		} else {
			values[i] = append([]any{}, items[from:end]...)
		}
		from = end
	}
}

func (r *nativeReader) scalar(t ddl.Type) any {
	switch t.Name {
	case "String":
		return r.str()
	case "Bool":
		return r.take(1)[0] == 1
	case "Enum8", "Enum16":
		width, _ := widthOf(t)
		n := int(signedInt(reversed(r.take(width))).Int64())
		for _, e := range t.Enum {
			if e.Value == n {
				return e.Name
			}
		}
		return fmt.Sprintf("no symbol %d", n)
	case "Float32":
		return math.Float32frombits(binary.LittleEndian.Uint32(r.take(4)))
	case "Float64":
		return math.Float64frombits(r.u64())
	case "UInt32", "UInt64":
		width, _ := widthOf(t)
		return new(big.Int).SetBytes(reversed(r.take(width))).String()
	case "UUID":
		var id [16]byte
		binary.BigEndian.PutUint64(id[:], r.u64())
		binary.BigEndian.PutUint64(id[8:], r.u64())
		return uuid.UUID(id).String()
	case "FixedString":
		return string(r.take(t.Params[0]))
	}
	width, err := widthOf(t)
	if err != nil {
		r.t.Fatal(err)
	}
	return signedInt(reversed(r.take(width))).String()
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[len(b)-1-i] = b[i]
	}
	return out
}

// failer is what the reader of the tests needs of a *testing.T or *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// TestAnAliasGivesWayToTheNameItself has a writer that knows a field under its old name and its new one, in this order.
func TestAnAliasGivesWayToTheNameItself(t *testing.T) {
	table := `{"type": "record", "name": "Row", "fields": [
		{"name": "price", "aliases": ["px"], "type": "long"},
		{"name": "frame", "aliases": ["source"], "type": {"type": "record", "name": "F", "fields": [{"name": "offset", "aliases": ["at"], "type": "long"}]}}]}`
	written := `{"type": "record", "name": "Row", "fields": [
		{"name": "px", "type": "long"}, {"name": "price", "type": "long"}, {"name": "_offset", "type": "long"},
		{"name": "source", "type": {"type": "record", "name": "F", "fields": [{"name": "at", "type": "long"}]}}]}`
	layout := layoutOf(t, table, nil)
	plan, err := Compile(layout, 1, written)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(plan.Ignored); got != "[px _offset]" {
		t.Errorf("ignored %s", got)
	}
	block := NewBlock(layout)
	for i := range int64(3) {
		body := bytes.Join([][]byte{zigzag(1), zigzag(20 + i), zigzag(3), zigzag(40 + i)}, nil)
		if err := plan.Append(block, &Origin{Offset: 60 + i}, body); err != nil {
			t.Fatal(err)
		}
	}
	for i, row := range readNative(t, bytes.Join(block.Native(), nil)) {
		if got, want := fmt.Sprintln(row["price"], row["frame.offset"], row["_offset"]), fmt.Sprintln(20+i, 40+i, 60+i); got != want {
			t.Errorf("row %d: %s, not %s", i, got, want)
		}
	}
}
