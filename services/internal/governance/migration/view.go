package migration

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// View that joins the tables of both versions: the earlier's rows in the later's columns, up to where the later takes over,
// and all of the later's.
type View struct {
	Name string
	// Select is the query; its columns are those of the later table.
	Select  string
	Columns []ddl.Column
}

// ViewName is the name of the view over a later version's table.
func ViewName(later contract.Contract) string { return later.Sink.Table + "_joined" }

// View writes the view for the two contracts, both with a sink. database is where the tables are, existing what columns they
// have already. A row of the earlier table that Up would refuse is not in the view, as it is not in the later topic.
//
// What ClickHouse cannot compute exactly, or what would need to know whether a column's value stands for null, is an error
// that names the column.
func (m *Mapping) View(from, to contract.Contract, database string, join contract.Join, existing [2][]ddl.ExistingColumn) (View, error) {
	w := viewWriter{}
	var specs [2]ddl.Spec
	for version, c := range []contract.Contract{from, to} {
		var err error
		if specs[version], err = ddl.SpecOf(c, database); err != nil {
			return View{}, err
		}
		columns, err := ddl.ColumnsOf(m.texts[version], specs[version].Columns)
		if err != nil {
			return View{}, fmt.Errorf("contract %s: %w", c.ID, err)
		}
		w.columns[version] = ddl.Altered(existing[version], columns)
	}
	w.record(m.root, [2]string{})
	if len(w.errs) > 0 {
		return View{}, fmt.Errorf("view %s: %w", ViewName(to), errors.Join(w.errs...))
	}
	v := View{Name: ViewName(to), Columns: w.columns[later]}
	var mapped, plain []string
	for _, c := range v.Columns {
		name := ddl.QuoteName(c.Name)
		expression, ok := w.expressions[c.Name]
		if !ok {
			expression = ofEarlier(c.Name) // the writer's own columns are the same everywhere
		}
		mapped = append(mapped, expression+" AS "+name)
		plain = append(plain, name)
	}
	where := append([]string{before(join)}, w.conditions...)
	v.Select = "SELECT " + strings.Join(mapped, ", ") + " FROM " + specs[earlier].Name() + " AS " + earlierTable + " WHERE " + strings.Join(where, " AND ") +
		" UNION ALL SELECT " + strings.Join(plain, ", ") + " FROM " + specs[later].Name() + " AS later" // a name, lest what follows be taken for one
	return v, nil
}

// before is the condition for rows that the later topic does not hold: those of the same topic before its offsets, and
// those of topics that had the name earlier.
func before(join contract.Join) string {
	offsets := make([]string, len(join.Offsets))
	for i, o := range join.Offsets {
		offsets[i] = strconv.FormatInt(o, 10)
	}
	return fmt.Sprintf("(%s != toUUID(%s) OR %s < arrayElement([%s], %s + 1))",
		ofEarlier(ddl.MetaTopicID), ddl.QuoteString(join.TopicID), ofEarlier(ddl.MetaOffset), strings.Join(offsets, ", "), ofEarlier(ddl.MetaPartition))
}

// earlierTable is the name of the earlier table within the query. Its columns are always named with it: a bare name would
// mean the later version's column of that name wherever there is one.
const earlierTable = "earlier"

func ofEarlier(column string) string { return earlierTable + "." + ddl.QuoteName(column) }

type viewWriter struct {
	columns     [2][]ddl.Column
	expressions map[string]string // by the later column's name
	conditions  []string
	errs        []error
	variables   int
}

func (w *viewWriter) fail(path, what string) {
	w.errs = append(w.errs, fmt.Errorf("column %s: %s", path, what))
}

func (w *viewWriter) set(name, expression string) {
	if w.expressions == nil {
		w.expressions = map[string]string{}
	}
	w.expressions[name] = expression
}

func (w *viewWriter) column(version int, name string) (ddl.Column, bool) {
	i := slices.IndexFunc(w.columns[version], func(c ddl.Column) bool { return c.Name == name })
	if i < 0 {
		return ddl.Column{}, false
	}
	return w.columns[version][i], true
}

// record goes through the fields of the later version, nested records with their columns parent.child. at are the names so
// far.
func (w *viewWriter) record(p *pair, at [2]string) {
	for j, s := range p.fields[later] {
		f := p.schema[later].Fields[j]
		name := [2]string{later: below(at[later], f.Name)}
		if s.inner == nil {
			w.constant(f.Type, name[later], s.constant)
			continue
		}
		name[earlier] = below(at[earlier], p.schema[earlier].Fields[s.index].Name)
		if inner, nested := nestedRecord(s.inner); nested {
			if inner == nil {
				w.fail(name[later], "a record that may be null in one version only has no columns that tell")
				continue
			}
			w.record(inner, name)
			continue
		}
		w.leaf(s.inner, name)
	}
}

// nestedRecord is the pair of a record that ddl flattens; nil where only the earlier version's may be null.
func nestedRecord(p *pair) (*pair, bool) {
	if p.kind == record {
		return p, true
	}
	if p.kind != union {
		return nil, false
	}
	for _, b := range p.branches[later] {
		if b.inner == nil || b.inner.kind != record {
			continue
		}
		for _, other := range p.branches[later] {
			if other.inner == nil {
				return nil, true
			}
		}
		return b.inner, true
	}
	return nil, false
}

// constant gives a field of the later version, or the fields below it, the same value in every row.
func (w *viewWriter) constant(s *avro.Schema, name string, body []byte) {
	if s.Type == avro.Union {
		at, rest, err := long(body)
		if err == nil && s.Branches[at].Type != avro.Null {
			w.constant(s.Branches[at], name, rest)
			return
		}
		for _, b := range s.Branches {
			if b.Type == avro.Record {
				w.nulls(b, name)
				return
			}
		}
	}
	if s.Type == avro.Record {
		for _, f := range s.Fields {
			w.constant(f.Type, below(name, f.Name), body)
			body, _ = skip(f.Type, body, 0)
		}
		return
	}
	c, _ := w.column(later, name)
	value, _, err := sqlValue(s, body)
	if err != nil {
		w.fail(name, err.Error())
	}
	if value == null && c.NullAs != nil {
		value = c.Default
	}
	w.set(name, cast(value, c.Type))
}

// nulls is null in all columns of a record that is absent.
func (w *viewWriter) nulls(s *avro.Schema, name string) {
	for _, c := range w.columns[later] {
		if strings.HasPrefix(c.Name, name+".") {
			value := null
			if c.NullAs != nil {
				value = c.Default
			}
			w.set(c.Name, cast(value, c.Type))
		}
	}
}

const null = "NULL"

func cast(expression string, t ddl.Type) string {
	return "CAST(" + expression + ", " + ddl.QuoteString(t.String()) + ")"
}

// leaf maps one column to one column.
func (w *viewWriter) leaf(p *pair, name [2]string) {
	a, okA := w.column(earlier, name[earlier])
	b, okB := w.column(later, name[later])
	if !okA || !okB {
		w.fail(name[later], "BUG: no such column in one of the tables")
		return
	}
	x := ofEarlier(a.Name)
	if p.plain() && a.Type.Equal(b.Type) && string(a.NullAs) == string(b.NullAs) {
		w.set(b.Name, x)
		return
	}
	isNull, value, whenNull := "isNull("+x+")", "assumeNotNull("+x+")", null
	if a.NullAs != nil {
		isNull, value = x+" = "+cast(a.Default, a.Type), x
	}
	if b.NullAs != nil {
		whenNull = b.Default
	}
	inner := p
	nullable := a.NullAs != nil || isNullable(a.Type)
	if !nullable {
		value = x
	}
	if p.kind == union {
		var constant []byte
		if inner, constant = onlyBranch(p); inner == nil {
			w.fail(name[later], "a union has no column")
			return
		}
		if constant != nil {
			s := p.schema[later]
			text, _, err := sqlValue(s, constant)
			if err != nil {
				w.fail(name[later], err.Error())
			}
			whenNull = text
		}
	}
	expression, err := w.value(inner, value)
	condition := w.exact(inner, value)
	if inner.kind == enum {
		expression, condition = symbolSQL(inner, value), strangers(inner, value, a.Type)
	}
	if err != nil {
		w.fail(name[later], err.Error())
	}
	if nullable {
		expression = "if(" + isNull + ", " + whenNull + ", " + expression + ")"
		if condition != "" {
			condition = "(" + isNull + " OR " + condition + ")"
		}
	}
	if condition != "" {
		w.conditions = append(w.conditions, condition)
	}
	w.set(b.Name, cast(expression, b.Type))
}

func isNullable(t ddl.Type) bool {
	return t.Name == "Nullable" || t.Name == "LowCardinality" && t.Args[0].Name == "Nullable"
}

// onlyBranch is the pair of the types besides null, and what the later version gets for null if that has no null.
func onlyBranch(p *pair) (inner *pair, constant []byte) {
	for _, b := range p.branches[later] {
		switch {
		case b.inner == nil:
			constant = b.constant
		case b.inner.schema[earlier].Type == avro.Null:
		case inner != nil:
			return nil, nil
		default:
			inner = b.inner
		}
	}
	return inner, constant
}

// plain tells that the value is the same in both versions, the names of a record's fields and the order of symbols
// included.
func (p *pair) plain() bool {
	switch p.kind {
	case same:
		return true
	case list:
		return p.items.plain()
	case record:
		for j, s := range p.fields[later] {
			if !p.inOrder[later] || p.schema[earlier].Fields[j].Name != p.schema[later].Fields[j].Name || !s.inner.plain() {
				return false
			}
		}
		return true
	case enum:
		return slices.Equal(p.schema[earlier].Symbols, p.schema[later].Symbols) && inOrder(p.symbols[later])
	case union:
		inner, constant := onlyBranch(p)
		return inner != nil && constant == nil && inner.plain()
	}
	return false
}

func inOrder(positions []int) bool {
	for i, at := range positions {
		if i != at {
			return false
		}
	}
	return true
}

// value writes the later version's value of what x is in the earlier, not null.
func (w *viewWriter) value(p *pair, x string) (string, error) {
	if p.plain() {
		return x, nil
	}
	switch p.kind {
	case number:
		if product := new(big.Int).Mul(largest(p.schema[earlier]), p.factor[later].Num()); product.Cmp(power10(maxUnscaled).Num()) >= 0 {
			return "", fmt.Errorf("%s times %s has more digits than ClickHouse can compute with", describe(p.schema[earlier]), p.factor[later].RatString())
		}
		return numberSQL(p.schema[later], guarded(p, x)), nil
	case float:
		return x, nil // the cast to the column's type follows
	case enum:
		return symbolSQL(p, x), nil
	case list:
		y := w.variable()
		inner, err := w.value(p.items, y)
		if p.schema[earlier].Type == avro.Map {
			return fmt.Sprintf("mapApply((k, %s) -> (k, %s), %s)", y, inner, x), err
		}
		return fmt.Sprintf("arrayMap(%s -> %s, %s)", y, inner, x), err
	case record:
		return w.tuple(p, x)
	case union:
		inner, constant := onlyBranch(p)
		if inner == nil {
			return "", errors.New("a union has no column")
		}
		whenNull := null
		if constant != nil {
			var err error
			if whenNull, _, err = sqlValue(p.schema[later], constant); err != nil {
				return "", err
			}
		}
		value, err := w.value(inner, "assumeNotNull("+x+")")
		return "if(isNull(" + x + "), " + whenNull + ", " + value + ")", err
	}
	return "", fmt.Errorf("BUG: kind %d in a view", p.kind)
}

// symbolSQL goes through the symbols' names: the numbers that a table keeps them by are its own. What is no symbol of the
// earlier schema is left out by strangers, and only has to be something here.
func symbolSQL(p *pair, x string) string {
	from, to := make([]string, len(p.symbols[later])), make([]string, len(p.symbols[later]))
	for i, at := range p.symbols[later] {
		from[i], to[i] = ddl.QuoteString(p.schema[earlier].Symbols[i]), ddl.QuoteString(p.schema[later].Symbols[at])
	}
	return fmt.Sprintf("transform(CAST(%s, 'String'), [%s], [%s], %s)", x, strings.Join(from, ", "), strings.Join(to, ", "), to[0])
}

// strangers is the condition that leaves out symbols that only the earlier table has: its schema had them once.
func strangers(p *pair, x string, t ddl.Type) string {
	var all []string
	for t.Name == "Nullable" {
		t = t.Args[0]
	}
	for _, v := range t.Enum {
		if !slices.Contains(p.schema[earlier].Symbols, v.Name) {
			all = append(all, ddl.QuoteString(v.Name))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("CAST(%s, 'String') NOT IN (%s)", x, strings.Join(all, ", "))
}

func (w *viewWriter) variable() string {
	w.variables++
	return "x" + strconv.Itoa(w.variables)
}

// tuple is a record inside an array or a map.
func (w *viewWriter) tuple(p *pair, x string) (string, error) {
	var parts []string
	for j, s := range p.fields[later] {
		f := p.schema[later].Fields[j]
		var part string
		var err error
		if s.inner == nil {
			part, _, err = sqlValue(f.Type, s.constant)
		} else {
			part, err = w.value(s.inner, element(p, s, x))
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", f.Name, err)
		}
		parts = append(parts, part)
	}
	return "tuple(" + strings.Join(parts, ", ") + ")", nil
}

func element(p *pair, s source, x string) string {
	return "tupleElement(" + x + ", " + ddl.QuoteString(p.schema[earlier].Fields[s.index].Name) + ")"
}

// exact is the condition that Up makes, "" for none.
func (w *viewWriter) exact(p *pair, x string) string {
	switch {
	case p.plain():
	case p.kind == number:
		return exactSQL(p, x)
	case p.kind == float && p.schema[later].Type == avro.Float:
		return fmt.Sprintf("(CAST(CAST(%s, 'Float32'), 'Float64') = %s OR isNaN(%s))", x, x, x)
	case p.kind == list:
		y := w.variable()
		if inner := w.exact(p.items, y); inner != "" {
			if p.schema[earlier].Type == avro.Map {
				x = "mapValues(" + x + ")"
			}
			return fmt.Sprintf("arrayAll(%s -> %s, %s)", y, inner, x)
		}
	case p.kind == record:
		var all []string
		for _, s := range p.fields[later] {
			if s.inner == nil {
				continue
			}
			if inner := w.exact(s.inner, element(p, s, x)); inner != "" {
				all = append(all, inner)
			}
		}
		if len(all) > 0 {
			return "(" + strings.Join(all, " AND ") + ")"
		}
	case p.kind == union:
		if inner, _ := onlyBranch(p); inner != nil {
			if condition := w.exact(inner, "assumeNotNull("+x+")"); condition != "" {
				return "(isNull(" + x + ") OR " + condition + ")"
			}
		}
	}
	return ""
}

// sqlValue writes the body of a value as an SQL expression, and returns what is left of the body.
func sqlValue(s *avro.Schema, body []byte) (string, []byte, error) {
	switch s.Type {
	case avro.Union:
		at, rest, err := long(body)
		if err != nil || at < 0 || at >= int64(len(s.Branches)) {
			return "", body, fmt.Errorf("branch %d of %d: %w", at, len(s.Branches), err)
		}
		return sqlValue(s.Branches[at], rest)
	case avro.Null:
		return null, body, nil
	case avro.Int, avro.Long:
		v, rest, err := long(body)
		kind, power := clock(s)
		switch {
		case power > 0 && strings.HasSuffix(kind, "timestamp"):
			return fmt.Sprintf("fromUnixTimestamp64%s(%d, 'UTC')", unitNames[power], v), rest, err
		case kind == "date":
			return fmt.Sprintf("CAST(%d, 'Date32')", v), rest, err
		}
		return strconv.FormatInt(v, 10), rest, err
	case avro.Record, avro.Array, avro.Map:
		return sqlCollection(s, body)
	}
	return sqlScalar(s, body)
}

// unitNames are ClickHouse's words for a second's parts, by power of ten.
var unitNames = map[int]string{3: "Milli", 6: "Micro", 9: "Nano"}

func sqlScalar(s *avro.Schema, body []byte) (string, []byte, error) {
	if isNumber(s) {
		v, rest, err := readNumber(s, body)
		if err != nil {
			return "", body, err
		}
		return numberSQL(s, "toInt256('"+v.String()+"')"), rest, nil
	}
	rest, err := skip(s, body, 0)
	if err != nil {
		return "", body, err
	}
	raw := body[:len(body)-len(rest)]
	switch s.Type {
	case avro.Boolean:
		return strconv.FormatBool(raw[0] == 1), rest, nil
	case avro.Float, avro.Double:
		return fmt.Sprintf("reinterpretAsFloat%d(unhex('%x'))", 8*len(raw), raw), rest, nil
	case avro.Enum:
		at, _, _ := long(body)
		return ddl.QuoteString(s.Symbols[at]), rest, nil
	case avro.Fixed:
		if s.LogicalType() == "uuid" && len(raw) == 16 {
			return "toUUID('" + uuid.UUID(raw).String() + "')", rest, nil
		}
		return fmt.Sprintf("unhex('%x')", raw), rest, nil
	}
	text, _, err := sized(body)
	switch {
	case s.Type == avro.Bytes:
		return fmt.Sprintf("unhex('%x')", text), rest, err
	case s.LogicalType() == "uuid":
		return "toUUID(" + ddl.QuoteString(string(text)) + ")", rest, err
	}
	return ddl.QuoteString(string(text)), rest, err
}

func sqlCollection(s *avro.Schema, body []byte) (string, []byte, error) {
	var parts []string
	if s.Type == avro.Record {
		for _, f := range s.Fields {
			part, rest, err := sqlValue(f.Type, body)
			if err != nil {
				return "", body, err
			}
			parts, body = append(parts, part), rest
		}
		return "tuple(" + strings.Join(parts, ", ") + ")", body, nil
	}
	for {
		count, rest, err := blockOf(s, body)
		if err != nil {
			return "", body, err
		}
		body = rest
		if count == 0 {
			break
		}
		for range count {
			if s.Type == avro.Map {
				key, rest, err := sized(body)
				if err != nil {
					return "", body, err
				}
				parts, body = append(parts, ddl.QuoteString(string(key))), rest
			}
			part, rest, err := sqlValue(s.Items, body)
			if err != nil {
				return "", body, err
			}
			parts, body = append(parts, part), rest
		}
	}
	if s.Type == avro.Map {
		return "map(" + strings.Join(parts, ", ") + ")", body, nil
	}
	return "[" + strings.Join(parts, ", ") + "]", body, nil
}
