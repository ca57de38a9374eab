package columnar

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// opcode is one step of a plan.
type opcode uint8

// Steps up to opTime begin with a number that is often long, those up to opSkipBytes with one that is mostly of one byte.
const (
	opInt64 opcode = iota // Avro int or long → Int64
	opTime                // long times a factor, within what DateTime64 can show
	opInt32               // Avro int or long → Int32
	opDate
	opString  // length and bytes → String
	opDict    // length and bytes → LowCardinality
	opDecimal // length and bytes → Decimal of 16 bytes
	opEnum8
	opEnum16
	opUnion      // a union's branch, noted in the null map in slot, if any; the null one jumps to target
	opBlocks     // begins an array or map: target when empty
	opOnly       // the branch of a union of one
	opUUIDText   // length and text
	opDecimalAny // length and bytes → Decimal
	opIntFloat   // Avro int or long → Float32
	opIntDouble  // Avro int or long → Float64
	opSymbol     // enum → String, by name
	opSymbolDict // enum → LowCardinality, by name
	opSkipVar    // a number
	opSkipInt    // a number within 32 bits
	opSkipEnum   // a number below size
	opSkipBytes  // length and bytes

	opConst      // bytes as they are, of nothing read
	opUUID       // fixed(16)
	opFloat64    // 8 bytes as they are
	opFixed      // size bytes as they are
	opBlocksNext // ends an item: target for the next
	opEnd        // of the record
	opBool
	opWiden        // Avro float → Float64
	opDecimalFixed // size bytes → Decimal
	opFixedString  // size bytes → String
	opConstDict    // a dictionary's null, of nothing read
	opNull         // a null where none can be stored
	opReplay       // runs a plan over constant bytes
	opSkipBool     // a byte that is 0 or 1
	opSkipFixed    // size bytes
	opJump         // to target; only while compiling, see link
)

// op is a step. What few steps need is in rest; the remainder fills a line of the processor's cache.
type op struct {
	code   opcode
	slot   int32 // -1: none
	size   int32
	field  int32 // position in plan.fields, for messages
	next   *op
	target *op
	factor int64
	low    int64
	high   int64
	rest   *rest
}

type rest struct {
	jump  int       // position of target while compiling; 0 is none's
	width int       // of a Decimal's column, in bytes
	depth int       // of an array
	limit [4]uint64 // of a Decimal(P): 10^P, low word first
	bytes []byte
	table []int16 // enum position → stored number
	names [][]byte
	// items are the slots of fixed width that an item of an array fills once.
	items  []room
	replay *Plan
}

type room struct{ slot, width int32 }

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
	c.link()
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

// jump lets a step go on here: at the next one to be emitted.
func (c *compiler) jump(from int) { c.plan.ops[from].rest.jump = len(c.plan.ops) }

// link ends the compilation: each step gets its follower, so that no jump is left to be run.
func (c *compiler) link() {
	ops := c.plan.ops
	land := func(at int) *op {
		for ops[at].code == opJump {
			at = ops[at].rest.jump
		}
		return &ops[at]
	}
	for i := range ops {
		if ops[i].code != opEnd {
			ops[i].next = land(i + 1)
		}
		if r := ops[i].rest; r != nil && r.jump > 0 {
			ops[i].target = land(r.jump)
		}
	}
	c.plan.depth = c.depth
}

// enter names the field that the following steps are about.
func (c *compiler) enter(path []string) func() {
	before := c.field
	c.plan.fields = append(c.plan.fields, strings.Join(path, "."))
	c.field = int32(len(c.plan.fields) - 1)
	return func() { c.field = before }
}

// record emits the steps of a record that is flattened into columns. path is the record's in the table's schema.
func (c *compiler) record(w *ddl.Schema, path []string, depth int) error {
	taken := map[string]bool{}
	for _, f := range w.Fields {
		taken[f.Name] = true
	}
	for _, f := range w.Fields {
		name := c.layout.rename(path, f.Name, taken)
		taken[name] = true
		if err := c.writerField(f, append(path[:len(path):len(path)], name), depth); err != nil {
			return fmt.Errorf("field %s: %w", strings.Join(append(path, f.Name), "."), err)
		}
	}
	return nil
}

// rename says what the table's schema calls a writer's field: an alias counts where the writer has no field of the new name
// itself, as in Avro's resolution.
func (l *Layout) rename(path []string, name string, taken map[string]bool) string {
	renamed := name
	for _, col := range l.columns {
		if len(col.Path) <= len(path) || !slices.Equal(col.Path[:len(path)], path) {
			continue
		}
		own, aliases := col.Path[len(path)], col.Aliases
		if len(path) < len(col.Above) {
			aliases = col.Above[len(path)]
		}
		if own == name {
			return name
		}
		if renamed == name && !taken[own] && slices.Contains(aliases, name) {
			renamed = own
		}
	}
	return renamed
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
	union := c.emit(op{code: opUnion, slot: -1, size: int32(null), rest: &rest{}})
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
	jump := c.emit(op{code: opJump, slot: -1, rest: &rest{}})
	c.jump(union)
	for _, col := range below {
		if err := c.null(col); err != nil {
			return err
		}
	}
	c.jump(jump)
	return nil
}

// find looks for the column of a field; those that the writer adds are of none, whatever the field is called.
func (c *compiler) find(path []string) *column {
	col := c.layout.byName[strings.Join(path, ".")]
	if col == nil || len(col.Path) == 0 {
		return nil
	}
	return col
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
	sub.link()
	c.emit(op{code: opReplay, slot: -1, rest: &rest{bytes: body, replay: sub.plan}})
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
	c.nullNode(col.root, false)
	return nil
}

// constant emits a step that stores what is not read from the body.
func (c *compiler) constant(slot int, v []byte) {
	c.emit(op{code: opConst, slot: int32(slot), rest: &rest{bytes: v}})
}

// nullNode stores a null; noted says that the null map has it already.
func (c *compiler) nullNode(n *node, noted bool) {
	if n.kind == nodeDict {
		c.emit(op{code: opConstDict, slot: int32(n.slot)})
		return
	}
	if !noted {
		c.constant(n.nulls, []byte{1})
	}
	c.constant(n.slot, n.zero)
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
		return c.present(w, n, col, depth, false)
	}
	noted := n.nulls >= 0 && (col == nil || col.NullAs == nil)
	union := c.emit(op{code: opUnion, slot: -1, size: int32(null), rest: &rest{}})
	if noted {
		c.plan.ops[union].slot = int32(n.nulls)
	}
	if err := c.present(inner, n, col, depth, noted); err != nil {
		return err
	}
	jump := c.emit(op{code: opJump, slot: -1, rest: &rest{}})
	c.jump(union)
	switch {
	case noted:
		c.nullNode(n, true)
	case col != nil:
		if err := c.null(col); err != nil {
			return err
		}
	case n.nullable:
		c.nullNode(n, false)
	default:
		c.emit(op{code: opNull, slot: -1})
	}
	c.jump(jump)
	return nil
}

// present emits the steps of a value that is there; noted says that the null map knows.
func (c *compiler) present(w *ddl.Schema, n *node, col *column, depth int, noted bool) error {
	if n.nulls >= 0 && !noted {
		c.constant(n.nulls, []byte{0})
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
	size := int32(ddl.MinSize(w.Items) + keySize)
	items := c.layout.itemRooms(n.kids, nil)
	begin := c.emit(op{code: opBlocks, slot: int32(n.slot), size: size, rest: &rest{depth: depth, items: items}})
	if isMap {
		c.emit(op{code: opString, slot: int32(n.kids[0].slot)})
	}
	if err := c.value(w.Items, item, nil, depth+1); err != nil {
		return err
	}
	c.emit(op{code: opBlocksNext, slot: int32(n.slot), size: size, rest: &rest{depth: depth, items: items, jump: begin + 1}})
	c.jump(begin)
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
		c.nullNode(n.kids[i], false)
	}
	return nil
}

// itemRooms lists the slots of fixed width that every item fills once: not those of arrays inside, whose own blocks make room.
func (l *Layout) itemRooms(kids []*node, rooms []room) []room {
	for _, n := range kids {
		if n.nulls >= 0 {
			rooms = append(rooms, room{int32(n.nulls), 1})
		}
		if n.slot >= 0 && l.slots[n.slot].width > 0 {
			rooms = append(rooms, room{int32(n.slot), int32(l.slots[n.slot].width)})
		}
		if n.kind == nodeTuple {
			rooms = l.itemRooms(n.kids, rooms)
		}
	}
	return rooms
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
	begin := c.emit(op{code: opBlocks, slot: -1, size: int32(size), rest: &rest{depth: depth}})
	if w.Kind == ddl.Map {
		c.emit(op{code: opSkipBytes, slot: -1})
	}
	if err := c.skip(w.Items, depth+1); err != nil {
		return err
	}
	c.emit(op{code: opBlocksNext, slot: -1, size: int32(size), rest: &rest{depth: depth, jump: begin + 1}})
	c.jump(begin)
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
	union := c.emit(op{code: opUnion, slot: -1, size: int32(null), rest: &rest{}})
	if err := c.skip(inner, depth); err != nil {
		return err
	}
	c.jump(union)
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
		o := op{code: opSymbol, rest: &rest{}}
		if dict {
			o.code = opSymbolDict
		}
		for _, symbol := range w.Symbols {
			o.rest.names = append(o.rest.names, []byte(symbol))
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
		return op{code: opFixed, size: 4}, nil
	case w.Kind == ddl.Float:
		return op{code: opWiden, size: 4}, nil
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
	o := op{code: opDecimal, rest: &rest{width: n.width}}
	switch {
	case w.Kind == ddl.Fixed:
		o.code, o.size = opDecimalFixed, int32(w.Size)
	case n.width != 16:
		o.code = opDecimalAny
	}
	o.rest.limit, o.factor = decimalLimit(precision)
	return o, nil
}

func leafEnum(w *ddl.Schema, n *node) (op, error) {
	if w.Kind != ddl.Enum {
		return op{}, mismatch(w, n)
	}
	o := op{code: opEnum8, rest: &rest{}}
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
		o.rest.table = append(o.rest.table, int16(v))
	}
	return o, nil
}

// MissingSymbolError says that a writer's enum has a symbol that the table's does not have yet.
type MissingSymbolError struct{ Symbol, Type string }

// Error names the symbol and the command that adds it.
func (e *MissingSymbolError) Error() string {
	return fmt.Sprintf("symbol %s is not in the table's %s; run `streamforge apply`", e.Symbol, e.Type)
}
