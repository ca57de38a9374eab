package columnar

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// opcode is one step of a plan.
type opcode uint8

const (
	opInt32     opcode = iota // Avro int or long → Int32
	opInt64                   // Avro int or long → Int64
	opFloat32                 // 4 bytes as they are
	opFloat64                 // 8 bytes as they are
	opWiden                   // Avro float → Float64
	opIntFloat                // Avro int or long → Float32
	opIntDouble               // Avro int or long → Float64
	opBool
	opString     // length and bytes → String
	opDict       // length and bytes → LowCardinality
	opSymbol     // enum → String, by name
	opSymbolDict // enum → LowCardinality, by name
	opEnum8
	opEnum16
	opTime // long times a factor, within what DateTime64 can show
	opDate
	opDecimal     // bytes, or fixed when size > 0 → Decimal of width
	opUUID        // fixed(16)
	opUUIDText    // string
	opFixed       // size bytes as they are
	opFixedString // size bytes → String
	opConst       // bytes as they are, of nothing read
	opConstDict   // a dictionary's null, of nothing read
	opUnion       // a union's branch: the null one jumps to target
	opOnly        // the branch of a union of one
	opJump        // to target
	opNull        // a null where none can be stored
	opReplay      // runs a plan over constant bytes
	opSkipVar     // a number
	opSkipInt     // a number within 32 bits
	opSkipEnum    // a number below size
	opSkipBool    // a byte that is 0 or 1
	opSkipBytes   // length and bytes
	opSkipFixed   // size bytes
	opBlocks      // begins an array or map: target when empty
	opBlocksNext  // ends an item: target for the next
	opEnd         // of the record
)

type op struct {
	code   opcode
	slot   int32 // -1: none
	target int32
	size   int32
	depth  int32
	field  int32 // position in plan.fields, for messages
	factor int64
	low    int64
	high   int64
	width  int32
	limit  [4]uint64 // of a Decimal(P): 10^P, low word first
	bytes  []byte
	table  []int16 // enum position → stored number
	names  [][]byte
	replay *Plan
}

// Plan decodes the records of one writer schema into blocks of one layout. It is immutable and safe for concurrent use
// on different blocks.
type Plan struct {
	layout   *Layout
	ops      []op
	fields   []string
	schemaID uint32
	// depth is how deep arrays nest, those that are only skipped included.
	depth int
	// Ignored are fields of the writer that the layout has no column for: newer than the layout, or dropped since.
	Ignored []string
}

// Layout that the plan fills.
func (p *Plan) Layout() *Layout { return p.layout }

// Compile makes the plan for a writer's schema. Fields are matched by name and by the aliases of the columns' schema,
// promoted as Avro allows; a column that the writer did not know gets the default of the columns' schema.
func Compile(layout *Layout, schemaID int, writerSchema string) (*Plan, error) {
	writer, err := ddl.ParseSchema(writerSchema)
	if err != nil {
		return nil, err
	}
	if writer.Kind != ddl.Record {
		return nil, fmt.Errorf("schema %d is %s, rows are made from records", schemaID, writer.Kind)
	}
	c := compiler{layout: layout, plan: &Plan{layout: layout, schemaID: uint32(schemaID)}, filled: map[string]bool{}}
	for _, m := range ddl.Meta() {
		c.filled[m.Name] = true
	}
	if err := c.record(writer, nil, 0); err != nil {
		return nil, fmt.Errorf("schema %d: %w", schemaID, err)
	}
	if err := c.fallbacks(); err != nil {
		return nil, fmt.Errorf("schema %d: %w", schemaID, err)
	}
	c.emit(op{code: opEnd, slot: -1})
	c.plan.depth = c.depth
	return c.plan, nil
}

type compiler struct {
	layout *Layout
	plan   *Plan
	filled map[string]bool
	field  int32
	depth  int
}

func (c *compiler) emit(o op) int {
	o.field = c.field
	c.plan.ops = append(c.plan.ops, o)
	return len(c.plan.ops) - 1
}

func (c *compiler) here() int32 { return int32(len(c.plan.ops)) }

// enter names the field that the following steps are about.
func (c *compiler) enter(path []string) func() {
	before := c.field
	c.plan.fields = append(c.plan.fields, strings.Join(path, "."))
	c.field = int32(len(c.plan.fields) - 1)
	return func() { c.field = before }
}

// record emits the steps of a record that is flattened into columns.
func (c *compiler) record(w *ddl.Schema, path []string, depth int) error {
	for _, f := range w.Fields {
		if err := c.writerField(f, append(path[:len(path):len(path)], f.Name), depth); err != nil {
			return fmt.Errorf("field %s: %w", strings.Join(append(path, f.Name), "."), err)
		}
	}
	return nil
}

func (c *compiler) writerField(f ddl.Field, path []string, depth int) error {
	defer c.enter(path)()
	if col := c.find(path); col != nil {
		c.filled[col.name] = true
		return c.column(f.Type, col, depth)
	}
	prefix := strings.Join(path, ".") + "."
	below := c.below(prefix)
	if len(below) == 0 {
		c.plan.Ignored = append(c.plan.Ignored, strings.Join(path, "."))
		return c.skip(f.Type, depth)
	}
	inner, null := f.Type.Optional()
	if inner.Kind != ddl.Record {
		return fmt.Errorf("is %s, the table has columns of a record", inner.Kind)
	}
	if null < 0 {
		return c.record(inner, path, depth)
	}
	union := c.emit(op{code: opUnion, slot: -1, size: int32(null)})
	if err := c.record(inner, path, depth); err != nil {
		return err
	}
	// The columns of the record that this writer does not know must be filled on this side of the branch, too.
	for _, col := range below {
		if !c.filled[col.name] {
			if err := c.fallback(col); err != nil {
				return err
			}
			c.filled[col.name] = true
		}
	}
	jump := c.emit(op{code: opJump, slot: -1})
	c.plan.ops[union].target = c.here()
	for _, col := range below {
		if err := c.null(col); err != nil {
			return err
		}
	}
	c.plan.ops[jump].target = c.here()
	return nil
}

func (c *compiler) find(path []string) *column {
	if col := c.layout.byName[strings.Join(path, ".")]; col != nil {
		return col
	}
	for i := range c.layout.columns {
		col := &c.layout.columns[i]
		if len(col.Path) != len(path) || strings.Join(col.Path[:len(path)-1], ".") != strings.Join(path[:len(path)-1], ".") {
			continue
		}
		for _, alias := range col.Aliases {
			if alias == path[len(path)-1] && !c.filled[col.name] {
				return col
			}
		}
	}
	return nil
}

func (c *compiler) below(prefix string) []*column {
	var list []*column
	for i := range c.layout.columns {
		if strings.HasPrefix(c.layout.columns[i].name, prefix) {
			list = append(list, &c.layout.columns[i])
		}
	}
	return list
}

// fallbacks fills the columns that the writer did not know.
func (c *compiler) fallbacks() error {
	for i := range c.layout.columns {
		col := &c.layout.columns[i]
		if c.filled[col.name] {
			continue
		}
		leave := c.enter(col.Path)
		err := c.fallback(col)
		leave()
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *compiler) fallback(col *column) error {
	if col.Fallback == nil {
		if col.root.nullable && len(col.Path) > 1 {
			return c.null(col)
		}
		return fmt.Errorf("column %s: the writer's schema has no such field and the newer one gives no default", col.name)
	}
	return c.replay(col, col.Source, col.Fallback)
}

// replay emits a step that runs the column's own schema over constant bytes.
func (c *compiler) replay(col *column, source *ddl.Schema, body []byte) error {
	sub := compiler{layout: c.layout, plan: &Plan{layout: c.layout, fields: []string{col.name}}, filled: map[string]bool{}}
	if err := sub.column(source, col, 0); err != nil {
		return fmt.Errorf("default of column %s: %w", col.name, err)
	}
	sub.emit(op{code: opEnd, slot: -1})
	sub.plan.depth = sub.depth
	c.emit(op{code: opReplay, slot: -1, bytes: body, replay: sub.plan})
	return nil
}

// null emits what stands in a column for a null.
func (c *compiler) null(col *column) error {
	if col.NullAs != nil {
		inner, _ := col.Source.Optional()
		return c.replay(col, inner, col.NullAs)
	}
	if !col.root.nullable {
		c.emit(op{code: opNull, slot: -1})
		return nil
	}
	c.nullNode(col.root)
	return nil
}

func (c *compiler) nullNode(n *node) {
	if n.kind == nodeDict {
		c.emit(op{code: opConstDict, slot: int32(n.slot)})
		return
	}
	c.emit(op{code: opConst, slot: int32(n.nulls), bytes: []byte{1}})
	c.emit(op{code: opConst, slot: int32(n.slot), bytes: n.zero})
}

// column emits the steps of one column from the writer's type.
func (c *compiler) column(w *ddl.Schema, col *column, depth int) error {
	return c.value(w, col.root, col, depth)
}

// value emits the steps from a writer's type into a node; col is set at the top of a column and nil inside arrays.
func (c *compiler) value(w *ddl.Schema, n *node, col *column, depth int) error {
	if w.Kind == ddl.Union && len(w.Branches) == 1 {
		c.emit(op{code: opOnly, slot: -1})
		return c.value(w.Branches[0], n, col, depth)
	}
	inner, null := w.Optional()
	if null < 0 {
		return c.present(w, n, col, depth)
	}
	union := c.emit(op{code: opUnion, slot: -1, size: int32(null)})
	if err := c.present(inner, n, col, depth); err != nil {
		return err
	}
	jump := c.emit(op{code: opJump, slot: -1})
	c.plan.ops[union].target = c.here()
	switch {
	case col != nil:
		if err := c.null(col); err != nil {
			return err
		}
	case n.nullable:
		c.nullNode(n)
	default:
		c.emit(op{code: opNull, slot: -1})
	}
	c.plan.ops[jump].target = c.here()
	return nil
}

func (c *compiler) present(w *ddl.Schema, n *node, col *column, depth int) error {
	if n.nulls >= 0 {
		c.emit(op{code: opConst, slot: int32(n.nulls), bytes: []byte{0}})
	}
	switch n.kind {
	case nodeArray:
		return c.array(w, n, col, depth)
	case nodeTuple:
		return c.tuple(w, n, col, depth)
	}
	o, err := leaf(w, n)
	if err != nil {
		return err
	}
	o.slot = int32(n.slot)
	c.emit(o)
	return nil
}

// array emits the loop over the blocks of an array or map.
func (c *compiler) array(w *ddl.Schema, n *node, col *column, depth int) error {
	isMap := n.typ.Name == "Map"
	if isMap != (w.Kind == ddl.Map) || !isMap && w.Kind != ddl.Array {
		return mismatch(w, n)
	}
	item := n.kids[0]
	keySize := 0
	if isMap {
		item, keySize = n.kids[1], 1
	}
	if ddl.MinSize(w.Items)+keySize == 0 {
		return errors.New("items that take no bytes have no bounded length")
	}
	begin := c.emit(op{code: opBlocks, slot: int32(n.slot), depth: int32(depth), size: int32(ddl.MinSize(w.Items) + keySize)})
	first := c.here()
	if isMap {
		c.emit(op{code: opString, slot: int32(n.kids[0].slot)})
	}
	if err := c.value(w.Items, item, nil, depth+1); err != nil {
		return err
	}
	c.emit(op{code: opBlocksNext, slot: int32(n.slot), depth: int32(depth), target: first, size: int32(ddl.MinSize(w.Items) + keySize)})
	c.plan.ops[begin].target = c.here()
	c.depth = max(c.depth, depth+1)
	return nil
}

// tuple emits a record inside an array: its elements by name.
func (c *compiler) tuple(w *ddl.Schema, n *node, _ *column, depth int) error {
	if w.Kind != ddl.Record {
		return mismatch(w, n)
	}
	done := map[string]bool{}
	for _, f := range w.Fields {
		kid := n.kid(f.Name)
		var err error
		if kid == nil {
			err = c.skip(f.Type, depth)
		} else {
			done[f.Name] = true
			err = c.value(f.Type, kid, nil, depth)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	for i, name := range n.names {
		if done[name] {
			continue
		}
		if !n.kids[i].nullable {
			return fmt.Errorf("the table's tuple has an element %s that the writer does not know", name)
		}
		c.nullNode(n.kids[i])
	}
	return nil
}

func (n *node) kid(name string) *node {
	for i, own := range n.names {
		if own == name {
			return n.kids[i]
		}
	}
	return nil
}

// skip emits the steps over a value that nothing is made of; it is still checked.
func (c *compiler) skip(w *ddl.Schema, depth int) error {
	switch w.Kind {
	case ddl.Null:
	case ddl.Boolean:
		c.emit(op{code: opSkipBool, slot: -1})
	case ddl.Int:
		c.emit(op{code: opSkipInt, slot: -1})
	case ddl.Enum:
		c.emit(op{code: opSkipEnum, slot: -1, size: int32(len(w.Symbols))})
	case ddl.Long:
		c.emit(op{code: opSkipVar, slot: -1})
	case ddl.Float, ddl.Double, ddl.Fixed:
		c.emit(op{code: opSkipFixed, slot: -1, size: int32(ddl.MinSize(w))})
	case ddl.Bytes, ddl.String:
		c.emit(op{code: opSkipBytes, slot: -1})
	case ddl.Record:
		for _, f := range w.Fields {
			if err := c.skip(f.Type, depth); err != nil {
				return err
			}
		}
	case ddl.Array, ddl.Map:
		return c.skipBlocks(w, depth)
	case ddl.Union:
		return c.skipUnion(w, depth)
	default:
		return fmt.Errorf("%s cannot be skipped", w.Kind)
	}
	return nil
}

func (c *compiler) skipBlocks(w *ddl.Schema, depth int) error {
	size := ddl.MinSize(w.Items)
	if w.Kind == ddl.Map {
		size++
	}
	if size == 0 {
		return errors.New("items that take no bytes have no bounded length")
	}
	begin := c.emit(op{code: opBlocks, slot: -1, depth: int32(depth), size: int32(size)})
	first := c.here()
	if w.Kind == ddl.Map {
		c.emit(op{code: opSkipBytes, slot: -1})
	}
	if err := c.skip(w.Items, depth+1); err != nil {
		return err
	}
	c.emit(op{code: opBlocksNext, slot: -1, depth: int32(depth), target: first, size: int32(size)})
	c.plan.ops[begin].target = c.here()
	c.depth = max(c.depth, depth+1)
	return nil
}

// skipUnion tests one branch after the other with opUnion, which goes on when the branch is another one. Only a union of
// null and one type, or of one type, occurs in a product; anything else is refused.
func (c *compiler) skipUnion(w *ddl.Schema, depth int) error {
	if len(w.Branches) == 1 {
		c.emit(op{code: opOnly, slot: -1})
		return c.skip(w.Branches[0], depth)
	}
	inner, null := w.Optional()
	if null < 0 {
		return fmt.Errorf("a union of %d types cannot be read", len(w.Branches))
	}
	union := c.emit(op{code: opUnion, slot: -1, size: int32(null)})
	if err := c.skip(inner, depth); err != nil {
		return err
	}
	c.plan.ops[union].target = c.here()
	return nil
}

func mismatch(w *ddl.Schema, n *node) error {
	logical := ""
	if w.Logical != "" {
		logical = " (" + w.Logical + ")"
	}
	return fmt.Errorf("%s%s cannot be written into a column of type %s", w.Kind, logical, n.typ)
}

const (
	minTimeSeconds = -2208988800 // 1900-01-01, the first day of a DateTime64
	maxTimeSeconds = 10413791999 // 2299-12-31 23:59:59, its last second
)

// leaf chooses the step of a scalar.
func leaf(w *ddl.Schema, n *node) (op, error) {
	switch t := n.typ; t.Name {
	case "String":
		return leafString(w, n)
	case "Bool":
		return exact(w, n, ddl.Boolean, op{code: opBool})
	case "Int32":
		return exact(w, n, ddl.Int, op{code: opInt32})
	case "Int64":
		if w.Kind == ddl.Int {
			return op{code: opInt64, low: math.MinInt32, high: math.MaxInt32}, nil
		}
		if w.Kind == ddl.Long {
			return op{code: opInt64, low: math.MinInt64, high: math.MaxInt64}, nil
		}
	case "Float32", "Float64":
		return leafFloat(w, n)
	case "Date32":
		if w.Logical == "date" {
			return exact(w, n, ddl.Int, op{code: opDate, low: minTimeSeconds / 86400, high: maxTimeSeconds / 86400})
		}
	case "DateTime64":
		return leafTime(w, n)
	case "Decimal":
		return leafDecimal(w, n)
	case "UUID":
		if w.Kind == ddl.Fixed && w.Size == 16 {
			return op{code: opUUID}, nil
		}
		return exact(w, n, ddl.String, op{code: opUUIDText})
	case "FixedString":
		if w.Kind == ddl.Fixed && w.Size == n.width {
			return op{code: opFixed, size: int32(n.width)}, nil
		}
	case "Enum8", "Enum16":
		return leafEnum(w, n)
	}
	return op{}, mismatch(w, n)
}

func exact(w *ddl.Schema, n *node, kind ddl.Kind, o op) (op, error) {
	if w.Kind != kind {
		return op{}, mismatch(w, n)
	}
	return o, nil
}

func leafString(w *ddl.Schema, n *node) (op, error) {
	dict := n.kind == nodeDict
	switch {
	case w.Logical == "decimal" && (w.Kind == ddl.Bytes || w.Kind == ddl.Fixed), w.Logical == "uuid" && w.Kind == ddl.Fixed:
		return op{}, mismatch(w, n) // Elsewhere the two mean nothing, and Avro says to ignore them.
	case w.Kind == ddl.String, w.Kind == ddl.Bytes:
		if dict {
			return op{code: opDict}, nil
		}
		return op{code: opString}, nil
	case w.Kind == ddl.Enum:
		o := op{code: opSymbol}
		if dict {
			o.code = opSymbolDict
		}
		for _, symbol := range w.Symbols {
			o.names = append(o.names, []byte(symbol))
		}
		return o, nil
	case w.Kind == ddl.Fixed && !dict:
		return op{code: opFixedString, size: int32(w.Size)}, nil
	}
	return op{}, mismatch(w, n)
}

func leafFloat(w *ddl.Schema, n *node) (op, error) {
	single := n.typ.Name == "Float32"
	switch {
	case w.Kind == ddl.Float && single:
		return op{code: opFloat32}, nil
	case w.Kind == ddl.Float:
		return op{code: opWiden}, nil
	case w.Kind == ddl.Double && !single:
		return op{code: opFloat64}, nil
	case (w.Kind == ddl.Int || w.Kind == ddl.Long) && single:
		return op{code: opIntFloat}, nil
	case w.Kind == ddl.Int || w.Kind == ddl.Long:
		return op{code: opIntDouble}, nil
	}
	return op{}, mismatch(w, n)
}

// leafTime scales a coarser time up to the column's unit; a finer one would lose digits and is refused.
func leafTime(w *ddl.Schema, n *node) (op, error) {
	if (w.Kind != ddl.Long && w.Kind != ddl.Int) || len(n.typ.Params) != 1 {
		return op{}, mismatch(w, n)
	}
	have := n.typ.Params[0]
	digits := have
	for suffix, d := range map[string]int{"-millis": 3, "-micros": 6, "-nanos": 9} {
		if w.Logical == "timestamp"+suffix || w.Logical == "local-timestamp"+suffix {
			digits = d
		}
	}
	if digits > have || have > 9 {
		return op{}, mismatch(w, n)
	}
	o := op{code: opTime, factor: pow10(have - digits)}
	o.low, o.high = minTimeSeconds*pow10(digits), math.MaxInt64
	if digits < 9 {
		o.high = (maxTimeSeconds+1)*pow10(digits) - 1
	} else {
		o.low = math.MinInt64
	}
	if have == 9 && digits < 9 {
		o.low, o.high = math.MinInt64/o.factor, math.MaxInt64/o.factor
	}
	return o, nil
}

func pow10(n int) int64 {
	v := int64(1)
	for range n {
		v *= 10
	}
	return v
}

func leafDecimal(w *ddl.Schema, n *node) (op, error) {
	if w.Logical != "decimal" || (w.Kind != ddl.Bytes && w.Kind != ddl.Fixed) {
		return op{}, mismatch(w, n)
	}
	precision, scale := n.typ.Params[0], n.typ.Params[1]
	if w.Scale != scale {
		return op{}, fmt.Errorf("decimal(%d,%d) in a column of %d digits after the point would be another number", w.Precision, w.Scale, scale)
	}
	o := op{code: opDecimal, width: int32(n.width), size: -1}
	if w.Kind == ddl.Fixed {
		o.size = int32(w.Size)
	}
	o.limit, o.factor = decimalLimit(precision)
	return o, nil
}

func leafEnum(w *ddl.Schema, n *node) (op, error) {
	if w.Kind != ddl.Enum {
		return op{}, mismatch(w, n)
	}
	o := op{code: opEnum8}
	if n.width == 2 {
		o.code = opEnum16
	}
	numbers := map[string]int{}
	for _, v := range n.typ.Enum {
		numbers[v.Name] = v.Value
	}
	for _, symbol := range w.Symbols {
		v, ok := numbers[symbol]
		if !ok {
			return o, &MissingSymbolError{Symbol: symbol, Type: n.typ.String()}
		}
		o.table = append(o.table, int16(v))
	}
	return o, nil
}

// MissingSymbolError says that a writer's enum has a symbol that the table's does not have yet.
type MissingSymbolError struct{ Symbol, Type string }

// Error names the symbol and the command that adds it.
func (e *MissingSymbolError) Error() string {
	return fmt.Sprintf("symbol %s is not in the table's %s; run `streamforge apply`", e.Symbol, e.Type)
}
