package columnar

import (
	"fmt"
	"strings"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// Layout is what blocks of one table look like: the columns that are inserted, in order. It is immutable.
type Layout struct {
	columns []column
	byName  map[string]*column
	slots   []slotSpec
	// marked are the slots whose length at a row's start has to be noted.
	marked []int
	meta   metaSlots
}

type metaSlots struct{ topicID, partition, offset, schemaID int }

type column struct {
	ddl.Column
	name     string
	typeText string
	root     *node
}

type slotSpec struct {
	width    int // of a value in bytes; 0 for strings
	dict     bool
	nullable bool
	marked   bool
	ends     bool
}

type nodeKind uint8

const (
	nodeFixed nodeKind = iota
	nodeString
	nodeDict
	nodeTuple
	nodeArray // an Array, or a Map as an array of two
)

// node is a type inside a column, with the slots that hold its values.
type node struct {
	kind  nodeKind
	typ   ddl.Type // without Nullable and LowCardinality
	slot  int
	nulls int // slot of the null map, -1 when there is none
	// nullable is also true of a dictionary, which keeps null as its first entry.
	nullable bool
	width    int
	names    []string // of a tuple's kids
	kids     []*node
	zero     []byte // what stands in the data below a null
}

// MissingColumnsError says which columns the schema needs and the table does not have.
type MissingColumnsError struct {
	Table   string
	Columns []string
}

// Error names the columns and the command that adds them.
func (e *MissingColumnsError) Error() string {
	return fmt.Sprintf("table %s has no column %s; run `streamforge apply`", e.Table, strings.Join(e.Columns, ", "))
}

// NewLayout joins the columns that a schema wants (ddl.ColumnsOf) with those that the table has. The table's types
// decide how values are written. A column that only the table has is not inserted into: ClickHouse fills its default.
func NewLayout(table string, wanted []ddl.Column, existing []ddl.ExistingColumn) (*Layout, error) {
	have := map[string]ddl.ExistingColumn{}
	for _, c := range existing {
		if c.DefaultKind == "" || c.DefaultKind == "DEFAULT" {
			have[c.Name] = c
		}
	}
	l := &Layout{byName: map[string]*column{}}
	missing := &MissingColumnsError{Table: table}
	for _, w := range wanted {
		e, ok := have[w.Name]
		if !ok {
			missing.Columns = append(missing.Columns, w.Name)
			continue
		}
		t, err := ddl.ParseType(e.Type)
		if err != nil {
			return nil, fmt.Errorf("table %s, column %s: %w", table, w.Name, err)
		}
		c := column{Column: w, name: w.Name, typeText: e.Type}
		if c.root, err = l.build(t, true); err != nil {
			return nil, fmt.Errorf("table %s, column %s: %w", table, w.Name, err)
		}
		l.columns = append(l.columns, c)
	}
	if len(missing.Columns) > 0 {
		return nil, missing
	}
	for i := range l.columns {
		l.byName[l.columns[i].name] = &l.columns[i]
	}
	for i, s := range l.slots {
		if s.marked {
			l.marked = append(l.marked, i)
		}
	}
	return l, l.findMeta(table)
}

func (l *Layout) findMeta(table string) error {
	for _, m := range []struct {
		name  string
		slot  *int
		width int
	}{{ddl.MetaTopicID, &l.meta.topicID, 16}, {ddl.MetaPartition, &l.meta.partition, 4}, {ddl.MetaOffset, &l.meta.offset, 8}, {ddl.MetaSchemaID, &l.meta.schemaID, 4}} {
		c, ok := l.byName[m.name]
		if !ok || c.root.kind != nodeFixed || c.root.nullable || c.root.width != m.width {
			return fmt.Errorf("table %s: column %s is missing or not of %d bytes; `streamforge apply` makes it", table, m.name, m.width)
		}
		*m.slot = c.root.slot
	}
	return nil
}

// Names are the columns in the order in which a block sends them.
func (l *Layout) Names() []string {
	names := make([]string, len(l.columns))
	for i, c := range l.columns {
		names[i] = c.name
	}
	return names
}

func (l *Layout) addSlot(s slotSpec) int {
	l.slots = append(l.slots, s)
	return len(l.slots) - 1
}

// build makes the nodes and slots of a type. top is true outside of arrays, where there is one value a row.
func (l *Layout) build(t ddl.Type, top bool) (*node, error) {
	n := &node{typ: t, nulls: -1}
	if t.Name == "LowCardinality" && len(t.Args) == 1 {
		return l.buildDict(n, t.Args[0], top)
	}
	if t.Name == "Nullable" && len(t.Args) == 1 {
		t = t.Args[0]
		n.typ, n.nullable = t, true
		n.nulls = l.addSlot(slotSpec{width: 1, marked: !top})
	}
	switch t.Name {
	case "String":
		n.kind, n.zero = nodeString, []byte{0}
		n.slot = l.addSlot(slotSpec{marked: true})
		return n, nil
	case "Array", "Map":
		n.kind = nodeArray
		n.slot = l.addSlot(slotSpec{width: 8, ends: true, marked: !top})
		n.zero = nil
		return n, l.buildKids(n, t.Args, false)
	case "Tuple":
		n.kind, n.names, n.slot = nodeTuple, t.Names, -1
		if len(t.Names) != len(t.Args) {
			return nil, fmt.Errorf("%s has elements without names", t)
		}
		return n, l.buildKids(n, t.Args, top)
	}
	width, err := widthOf(t)
	if err != nil {
		return nil, err
	}
	n.kind, n.width, n.zero = nodeFixed, width, zeroOf(t, width)
	n.slot = l.addSlot(slotSpec{width: width, marked: !top})
	return n, nil
}

func (l *Layout) buildDict(n *node, inner ddl.Type, top bool) (*node, error) {
	if inner.Name == "Nullable" && len(inner.Args) == 1 {
		n.nullable, inner = true, inner.Args[0]
	}
	if inner.Name != "String" {
		return nil, fmt.Errorf("LowCardinality(%s) is not supported, only of String", inner)
	}
	n.kind, n.typ = nodeDict, inner
	n.slot = l.addSlot(slotSpec{width: keyWidth, dict: true, nullable: n.nullable, marked: !top})
	return n, nil
}

func (l *Layout) buildKids(n *node, types []ddl.Type, top bool) error {
	for i, t := range types {
		kid, err := l.build(t, top)
		if err != nil {
			return fmt.Errorf("inside %s, %d: %w", n.typ.Name, i, err)
		}
		n.kids = append(n.kids, kid)
	}
	return nil
}

func widthOf(t ddl.Type) (int, error) {
	switch t.Name {
	case "Bool", "Int8", "UInt8", "Enum8":
		return 1, nil
	case "Int16", "UInt16", "Enum16":
		return 2, nil
	case "Int32", "UInt32", "Float32", "Date32":
		return 4, nil
	case "Int64", "UInt64", "Float64", "DateTime64":
		return 8, nil
	case "UUID":
		return 16, nil
	case "FixedString":
		if len(t.Params) == 1 && t.Params[0] > 0 {
			return t.Params[0], nil
		}
	case "Decimal":
		if len(t.Params) == 2 {
			switch p := t.Params[0]; {
			case p <= 9:
				return 4, nil
			case p <= 18:
				return 8, nil
			case p <= 38:
				return 16, nil
			case p <= 76:
				return 32, nil
			}
		}
	}
	return 0, fmt.Errorf("a column of type %s cannot be filled", t)
}

// zeroOf is the value below a null; an Enum must hold one of its numbers even there.
func zeroOf(t ddl.Type, width int) []byte {
	zero := make([]byte, width)
	if len(t.Enum) > 0 {
		zero[0] = byte(t.Enum[0].Value)
		if width == 2 {
			zero[1] = byte(t.Enum[0].Value >> 8)
		}
	}
	return zero
}

// Columns are the columns with their types, in the order in which a block sends them. Two layouts of equal columns are
// alike, though blocks and plans of one do not fit the other.
func (l *Layout) Columns() []string {
	columns := make([]string, len(l.columns))
	for i, c := range l.columns {
		columns[i] = ddl.QuoteName(c.name) + " " + c.typeText
	}
	return columns
}
