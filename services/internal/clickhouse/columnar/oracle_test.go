package columnar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	twmb "github.com/twmb/avro"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// member is a field of a random record: in the table's schema, in the writer's, or in both under two names.
type member struct {
	name, written string // empty where that side has no such field
	shape         shape
	optional      bool // of a nested record
	kids          []member
	initial       any // canonical default, for a field that the writer does not know
	nullAs        any
	hasNullAs     bool
}

// product is a random product: two schemas, the contract's options, and a plan from one to the other.
type product struct {
	table, written string
	members        []member
	options        map[string]ddl.ColumnOptions
}

func drawProduct(t *rapid.T) *product {
	p := &product{options: map[string]ddl.ColumnOptions{}}
	readers, writers := p.fields(t, &p.members, "", 2)
	p.table, p.written = recordText(readers), recordText(writers)
	return p
}

func recordText(fields []any) string {
	text, err := json.Marshal(record("Row", fields))
	if err != nil {
		panic(err)
	}
	return string(text)
}

func record(name string, fields []any) any {
	return map[string]any{"type": "record", "name": name, "fields": fields}
}

// fields draws the fields of a record at the top or nested in it; the first is on both sides, so that no record is empty.
func (p *product) fields(t *rapid.T, members *[]member, prefix string, depth int) (readers, writers []any) {
	for i := range rapid.IntRange(1, 6).Draw(t, "fields") {
		m := member{name: fmt.Sprintf("f%d", i)}
		m.written = m.name
		unique := strings.ReplaceAll(prefix, ".", "_") + m.name
		if depth > 0 && rapid.IntRange(0, 6).Draw(t, "nested") == 0 {
			r, w := p.nested(t, &m, prefix, unique, depth)
			readers, writers = append(readers, r), append(writers, w)
			*members = append(*members, m)
			continue
		}
		m.shape = p.column(t, &m, prefix, unique)
		reader := map[string]any{"name": m.name, "type": m.shape.reader}
		writer := map[string]any{"name": m.name, "type": m.shape.writer}
		if i > 0 {
			switch rapid.IntRange(0, 6).Draw(t, "evolution") {
			case 0:
				m.name = ""
			case 1:
				if m.shape.initial != nil {
					m.written = ""
					reader["default"], m.initial = m.shape.initial(t)
				}
			case 2:
				m.written = "old_" + m.name
				reader["aliases"], writer["name"] = []string{m.written}, m.written
			}
		}
		if m.name != "" {
			readers = append(readers, reader)
		} else {
			delete(p.options, prefix+fmt.Sprintf("f%d", i))
		}
		if m.written != "" {
			writers = append([]any{writer}, writers...)
		}
		*members = append(*members, m)
	}
	return readers, writers
}

func (p *product) nested(t *rapid.T, m *member, prefix, unique string, depth int) (reader, writer any) {
	r, w := p.fields(t, &m.kids, prefix+m.name+".", depth-1)
	reader, writer = record("N"+unique, r), record("N"+unique, w)
	if rapid.Bool().Draw(t, "optional") {
		m.optional = true
		reader, writer = []any{"null", reader}, []any{"null", writer}
	}
	readerField := map[string]any{"name": m.name, "type": reader}
	if rapid.IntRange(0, 3).Draw(t, "renamed") == 0 {
		m.written = "old_" + m.name
		readerField["aliases"] = []string{m.written}
	}
	return readerField, map[string]any{"name": m.written, "type": writer}
}

// column draws a field with a column of its own, and what a contract may say about it.
func (p *product) column(t *rapid.T, m *member, prefix, unique string) shape {
	var s shape
	if prefix == "" && rapid.IntRange(0, 2).Draw(t, "collection") == 0 {
		item := itemShape(t, unique, 2)
		if rapid.Bool().Draw(t, "map") {
			s = mapShape(item)
		} else {
			s = listShape(item)
		}
	} else {
		s = scalarShape(t, unique, true)
	}
	name := prefix + m.name
	o := ddl.ColumnOptions{LowCardinality: s.plain && rapid.Bool().Draw(t, "low")}
	_, collection := s.canonical()
	if rapid.IntRange(0, 2).Draw(t, "optional") == 0 {
		s = optional(t, s)
		if s.word != nil && (collection || rapid.Bool().Draw(t, "nullAs")) {
			text, canon := s.word(t)
			o.NullAs, m.nullAs, m.hasNullAs = &text, canon, true
		}
	}
	if o != (ddl.ColumnOptions{}) {
		p.options[name] = o
	}
	return s
}

// canonical says whether the type is an array or a map.
func (s shape) canonical() (any, bool) {
	m, ok := s.reader.(map[string]any)
	return m, ok && (m["type"] == "array" || m["type"] == "map")
}

func drawRecord(t *rapid.T, members []member) map[string]any {
	v := map[string]any{}
	for _, m := range members {
		switch {
		case m.written == "":
		case m.kids == nil:
			v[m.written] = m.shape.value(t)
		case m.optional && rapid.Bool().Draw(t, "null"):
			v[m.written] = nil
		default:
			v[m.written] = drawRecord(t, m.kids)
		}
	}
	return v
}

// expect writes what the columns should hold. v is nil below a null. written tells the writer's view (goavro) from a
// reading that was resolved to the table's schema (twmb).
func expect(row map[string]any, members []member, prefix string, v map[string]any, null, written bool) {
	for _, m := range members {
		if m.name == "" {
			continue
		}
		name, key := prefix+m.name, m.name
		if written {
			key = m.written
		}
		switch {
		case m.kids != nil:
			inner, _ := v[key].(map[string]any)
			expect(row, m.kids, name+".", inner, null || inner == nil, written)
			continue
		case null:
			row[name] = nil
		case key == "":
			row[name] = m.initial
		default:
			row[name] = m.shape.canon(v[key])
		}
		if row[name] == nil && m.hasNullAs {
			row[name] = m.nullAs
		}
	}
}

// plan compiles the product as the writer does for a table that was just made.
func (p *product) plan(t *rapid.T) *Plan {
	columns, err := ddl.ColumnsOf(p.table, p.options)
	if err != nil {
		t.Fatalf("the lint refuses: %v\n%s", err, p.table)
	}
	layout, err := NewLayout("t", columns, asExisting(columns))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.table)
	}
	plan, err := Compile(layout, 1, p.written)
	if err != nil {
		t.Fatalf("%v\nwriter %s\ntable %s", err, p.written, p.table)
	}
	return plan
}

// readers are the two implementations of Avro that the columns are held against.
type readers struct {
	goavro            *goavro.Codec
	written, resolved *twmb.Schema
	tree              any // the writer's schema
}

func (p *product) readers(t *rapid.T) (r readers) {
	err := json.Unmarshal([]byte(p.written), &r.tree)
	if err != nil {
		t.Fatal(err)
	}
	var table *twmb.Schema
	if r.goavro, err = goavro.NewCodec(p.written); err == nil {
		if r.written, err = twmb.Parse(p.written); err == nil {
			if table, err = twmb.Parse(p.table); err == nil {
				r.resolved, err = twmb.Resolve(r.written, table)
			}
		}
	}
	if err != nil {
		t.Fatalf("%v\nwriter %s\ntable %s", err, p.written, p.table)
	}
	return r
}

// bodies encodes a value with both; with one where goavro cannot write what it reads, a decimal in a fixed that is longer
// than its digits.
func (r readers) bodies(t *rapid.T, value any) [][]byte {
	one, err := r.written.Encode(value)
	if err != nil {
		t.Fatalf("twmb: %v", err)
	}
	native, _, err := r.goavro.NativeFromBinary(one)
	if err != nil {
		t.Fatalf("goavro: %v", err)
	}
	two, err := r.goavro.BinaryFromNative(nil, native)
	if err != nil && strings.Contains(err.Error(), "cannot encode binary fixed") {
		return [][]byte{one}
	}
	if err != nil {
		t.Fatalf("goavro: %v", err)
	}
	return [][]byte{one, two}
}

// rows are what the columns should hold by goavro's reading and by twmb's.
func (r readers) rows(t *rapid.T, members []member, body []byte) [2]map[string]any {
	native, _, err := r.goavro.NativeFromBinary(body)
	if err != nil {
		t.Fatalf("goavro: %v", err)
	}
	one := map[string]any{}
	expect(one, members, "", unwrapped(r.tree, native).(map[string]any), false, true)
	var read any
	if _, err := r.resolved.Decode(body, &read); err != nil {
		t.Fatalf("twmb: %v", err)
	}
	two := map[string]any{}
	expect(two, members, "", read.(map[string]any), false, false)
	return [2]map[string]any{one, two}
}

// unwrapped takes goavro's values of unions out of the maps that name the branch.
func unwrapped(schema, v any) any {
	switch schema := schema.(type) {
	case []any:
		for _, branch := range schema {
			if wrapped, ok := v.(map[string]any); ok && branch != "null" {
				for _, inner := range wrapped {
					return unwrapped(branch, inner)
				}
			}
		}
		return nil
	case map[string]any:
		switch schema["type"] {
		case "record":
			m := map[string]any{}
			for _, f := range schema["fields"].([]any) {
				f := f.(map[string]any)
				name := f["name"].(string)
				m[name] = unwrapped(f["type"], v.(map[string]any)[name])
			}
			return m
		case "array":
			list := []any{}
			for _, one := range v.([]any) {
				list = append(list, unwrapped(schema["items"], one))
			}
			return list
		case "map":
			m := map[string]any{}
			for key, one := range v.(map[string]any) {
				m[key] = unwrapped(schema["values"], one)
			}
			return m
		}
	}
	return v
}

// columnsEqualBothReadings holds, for a random product and random records: what the columns hold is what goavro and twmb
// read from the same bytes, whichever of them wrote those; and broken bodies in between leave no trace and take no more
// memory than their size allows.
func columnsEqualBothReadings(t *rapid.T) {
	p := drawProduct(t)
	plan, readers := p.plan(t), p.readers(t)
	block, clean := NewBlock(plan.Layout()), NewBlock(plan.Layout())
	var want [][2]map[string]any
	for range rapid.IntRange(1, 8).Draw(t, "rows") {
		for _, body := range readers.bodies(t, drawRecord(t, p.members)) {
			breakBodies(t, plan, block, body)
			if err := plan.Append(block, &Origin{}, body); err != nil {
				t.Fatalf("%v\nwriter %s\nbody %x", err, p.written, body)
			}
			if err := plan.Append(clean, &Origin{}, body); err != nil {
				t.Fatal(err)
			}
			want = append(want, readers.rows(t, p.members, body))
		}
	}
	data := bytes.Join(block.Native(), nil)
	if !bytes.Equal(data, bytes.Join(clean.Native(), nil)) {
		t.Fatalf("broken bodies left a trace\nwriter %s\ntable %s", p.written, p.table)
	}
	got := readNative(&quiet{t}, data)
	if len(got) != len(want) {
		t.Fatalf("%d rows of %d", len(got), len(want))
	}
	for i := range want {
		for k, oracle := range []string{"goavro", "twmb"} {
			for name, value := range want[i][k] {
				if a, b := fmt.Sprintf("%#v", got[i][name]), fmt.Sprintf("%#v", value); a != b {
					t.Fatalf("row %d, field %s\nwriter %s\ntable %s\n   got %s\n%6s %s", i, name, p.written, p.table, a, oracle, b)
				}
			}
			if len(got[i]) != len(want[i][k])+len(ddl.Meta()) {
				t.Fatalf("%d columns, %s reads %d", len(got[i]), oracle, len(want[i][k]))
			}
		}
	}
}

// breakBodies appends a body cut short, and bodies of changed and of random bytes. Those that happen to be good are taken into
// a block of their own.
func breakBodies(t *rapid.T, plan *Plan, block *Block, body []byte) {
	if len(body) > 0 {
		if err := appendBounded(t, plan, block, body[:rapid.IntRange(0, len(body)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("a body cut short was taken")
		}
		m := bytes.Clone(body)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			m[rapid.IntRange(0, len(m)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		breakBody(t, plan, block, m)
	}
	if err := appendBounded(t, plan, block, append(bytes.Clone(body), 0)); err == nil {
		t.Fatal("a byte left over was taken")
	}
	breakBody(t, plan, block, rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "random"))
}

func breakBody(t *rapid.T, plan *Plan, block *Block, body []byte) {
	if appendBounded(t, plan, NewBlock(plan.Layout()), body) != nil {
		if err := appendBounded(t, plan, block, body); err == nil {
			t.Fatal("a body is bad in one block and good in the other")
		}
	}
}

// appendBounded holds that a body takes memory in proportion to its size: a value of one byte becomes one of 33 at most (a
// Nullable decimal of 76 digits) for each column of a tuple, and growing copies what is there.
func appendBounded(t *rapid.T, plan *Plan, block *Block, body []byte) error {
	var before, after runtime.MemStats
	held := block.Footprint()
	runtime.ReadMemStats(&before)
	err := plan.Append(block, &Origin{}, body)
	runtime.ReadMemStats(&after)
	if took := int(after.TotalAlloc - before.TotalAlloc); took > 4*held+512*len(body)+1<<17 {
		t.Fatalf("%d bytes of memory for a body of %d in a block of %d: %x", took, len(body), held, body)
	}
	return err
}

func TestColumnsEqualWhatGoavroAndTwmbRead(t *testing.T) {
	rapid.Check(t, columnsEqualBothReadings)
}

// FuzzProducts lets Go's fuzzer choose schemas, values and broken bodies.
func FuzzProducts(f *testing.F) {
	seedDraws(f)
	f.Fuzz(rapid.MakeFuzz(columnsEqualBothReadings))
}

// seedDraws gives the fuzzer inputs that are long enough for rapid to draw a whole case from.
func seedDraws(f *testing.F) {
	for seed := range byte(8) {
		source := rand.NewChaCha8([32]byte{seed})
		draws := make([]byte, 1<<14)
		_, _ = source.Read(draws)
		f.Add(draws)
	}
}

// quiet lets the reader of the tests fail a rapid check.
type quiet struct{ *rapid.T }

func (q *quiet) Helper() {}

// FuzzBodies holds that no bytes make the decoder of a real product panic, keep a trace of a bad row, or take memory out of
// proportion.
func FuzzBodies(f *testing.F) {
	low := ddl.ColumnOptions{LowCardinality: true}
	var plans []*Plan
	for _, product := range []struct {
		subject string
		options map[string]ddl.ColumnOptions
	}{
		{"raw-orderbooks-value", map[string]ddl.ColumnOptions{"venue": low, "gap_reason": low}},
		{"raw-trades-value", map[string]ddl.ColumnOptions{"venue": low, "symbol": low, "venue_symbol": low}},
	} {
		schema := schemaOf(f, product.subject)
		plan, err := Compile(layoutOf(f, schema, product.options), 1, schema)
		if err != nil {
			f.Fatal(err)
		}
		plans = append(plans, plan)
	}
	f.Add([]byte{0, 0, 0})
	for _, body := range tradeBodies(2) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, plan := range plans {
			block := NewBlock(plan.Layout())
			empty := bytes.Join(block.Native(), nil)
			err := plan.Append(block, &Origin{}, body)
			if block.Bytes() > 64*len(body)+4096 {
				t.Fatalf("%d bytes of columns from a body of %d", block.Bytes(), len(body))
			}
			if err != nil && !bytes.Equal(empty, bytes.Join(block.Native(), nil)) {
				t.Fatal("a bad body left a trace")
			}
		}
	})
}
