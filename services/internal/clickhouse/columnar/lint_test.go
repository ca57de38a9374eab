package columnar

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// wildType draws any Avro type, also such as no table can hold.
func wildType(t *rapid.T, name string, depth int) any {
	if depth > 0 {
		switch rapid.IntRange(0, 8).Draw(t, "wild") {
		case 0:
			return map[string]any{"type": "array", "items": wildType(t, name+"i", depth-1)}
		case 1:
			return map[string]any{"type": "map", "values": wildType(t, name+"v", depth-1)}
		case 2:
			var fields []any
			for i := range rapid.IntRange(0, 3).Draw(t, "fields") {
				n := fmt.Sprintf("e%d", i)
				fields = append(fields, map[string]any{"name": n, "type": wildType(t, name+n, depth-1)})
			}
			return map[string]any{"type": "record", "name": "W" + name, "fields": append([]any{}, fields...)}
		case 3, 4:
			union := []any{"null"}
			for i := range rapid.SampledFrom([]int{0, 1, 1, 1, 2}).Draw(t, "branches") {
				union = append(union, wildType(t, fmt.Sprintf("%su%d", name, i), depth-1))
			}
			if n := rapid.IntRange(0, len(union)-1).Draw(t, "null at"); n > 0 {
				union[0], union[n] = union[n], union[0]
			}
			return union
		}
	}
	kind := rapid.SampledFrom([]string{"null", "boolean", "int", "long", "float", "double", "bytes", "string", "fixed", "enum"}).Draw(t, "kind")
	switch kind {
	case "fixed":
		return wildLogical(t, map[string]any{"type": kind, "name": "W" + name, "size": rapid.SampledFrom([]int{1, 8, 16}).Draw(t, "size")})
	case "enum":
		symbols := []string{}
		for i := range rapid.SampledFrom([]int{1, 2, 128, 129}).Draw(t, "symbols") {
			symbols = append(symbols, fmt.Sprintf("S%d", i))
		}
		return map[string]any{"type": kind, "name": "W" + name, "symbols": symbols}
	}
	return wildLogical(t, map[string]any{"type": kind})
}

func wildLogical(t *rapid.T, schema map[string]any) any {
	name := rapid.SampledFrom([]string{"", "", "decimal", "uuid", "date", "time-millis", "time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos", "local-timestamp-micros", "duration", "unheard-of"}).Draw(t, "logical")
	if name != "" {
		schema["logicalType"] = name
	}
	if name == "decimal" {
		schema["precision"] = rapid.IntRange(0, 80).Draw(t, "precision")
		schema["scale"] = rapid.IntRange(0, 40).Draw(t, "scale")
	}
	return schema
}

// version is one version of a product: its fields in order, and the contract's options.
type version struct {
	fields  []map[string]any
	options map[string]ddl.ColumnOptions
}

func (v version) text() string {
	text, err := json.Marshal(map[string]any{"type": "record", "name": "Row", "fields": v.fields})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// tameField draws a field that a table can hold, as an older writer and as a newer schema have it.
func tameField(t *rapid.T, first, next version, name string) (before, after map[string]any) {
	p := product{options: first.options}
	s := p.column(t, &member{name: name}, "", name)
	before, after = map[string]any{"name": name, "type": s.reader}, map[string]any{"name": name, "type": s.reader}
	switch rapid.IntRange(0, 3).Draw(t, "changed") {
	case 0:
		before["type"] = s.writer
	case 1:
		after["name"], after["aliases"] = "new_"+name, []string{name}
	}
	if s.initial != nil && rapid.Bool().Draw(t, "default") {
		after["default"], _ = s.initial(t)
	}
	if o, ok := first.options[name]; ok {
		next.options[after["name"].(string)] = o
	}
	return before, after
}

func wildField(t *rapid.T, v version, name string) map[string]any {
	f := map[string]any{"name": name, "type": wildType(t, name, 3)}
	switch rapid.IntRange(0, 3).Draw(t, "default") {
	case 0:
		f["default"] = nil
	case 1:
		f["default"] = rapid.SampledFrom([]any{0, 7, "", "S0", "x", false, []any{}, map[string]any{}}).Draw(t, "value")
	}
	if rapid.IntRange(0, 5).Draw(t, "low") == 0 {
		v.options[name] = ddl.ColumnOptions{LowCardinality: true}
	} else if rapid.IntRange(0, 3).Draw(t, "nullAs") == 0 {
		word := rapid.SampledFrom([]string{"", "0", "1.5", "S0", "[]", "{}", "true", "00000000-0000-0000-0000-000000000000"}).Draw(t, "word")
		v.options[name] = ddl.ColumnOptions{NullAs: &word}
	}
	return f
}

// drawVersions draws a product's version and the next: fields leave, come, and change their types, names and defaults.
func drawVersions(t *rapid.T) (first, next version) {
	first, next = version{options: map[string]ddl.ColumnOptions{}}, version{options: map[string]ddl.ColumnOptions{}}
	for i := range rapid.IntRange(1, 4).Draw(t, "fields") {
		name := fmt.Sprintf("f%d", i)
		if rapid.IntRange(0, 7).Draw(t, "tame") > 0 {
			f, g := tameField(t, first, next, name)
			first.fields, next.fields = append(first.fields, f), append(next.fields, g)
			continue
		}
		f := wildField(t, first, name)
		first.fields = append(first.fields, f)
		change := rapid.IntRange(0, 7).Draw(t, "change")
		if change == 0 {
			continue
		}
		g := map[string]any{"name": name, "type": f["type"]}
		if d, ok := f["default"]; ok {
			g["default"] = d
		}
		switch change {
		case 1:
			g = wildField(t, next, name)
		case 2:
			g["name"], g["aliases"] = "new_"+name, []string{name}
		case 3:
			g["type"] = wildType(t, name, 1)
		}
		if o, ok := first.options[name]; ok && change != 1 {
			next.options[g["name"].(string)] = o
		}
		next.fields = append(next.fields, g)
	}
	if rapid.Bool().Draw(t, "new field") || len(next.fields) == 0 {
		_, g := tameField(t, next, next, "fresh")
		next.fields = append(next.fields, g)
	}
	return first, next
}

// whatTheLintAcceptsCompiles holds that no running writer refuses what the lint of contracts accepts: a version by itself, and a
// version after another, compatible one, for the table that ALTER makes of the older one's.
func whatTheLintAcceptsCompiles(t *rapid.T) {
	first, next := drawVersions(t)
	before, err := ddl.ColumnsOf(first.text(), first.options)
	if err != nil {
		return
	}
	old := mustLayout(t, before)
	if _, err := Compile(old, 1, first.text()); err != nil {
		t.Fatalf("the lint accepts, the writer does not: %v\n%s", err, first.text())
	}
	wanted, err := ddl.ColumnsOf(next.text(), next.options)
	if err != nil {
		return
	}
	if _, err := Compile(mustLayout(t, wanted), 2, next.text()); err != nil {
		t.Fatalf("the lint accepts, the writer does not: %v\n%s", err, next.text())
	}
	if _, err := ddl.Alter(ddl.Spec{Table: "t"}, ddl.Existing(before), wanted, ddl.Options{}); err != nil || !compatible(first.text(), next.text()) {
		return
	}
	altered := mustLayout(t, ddl.Altered(ddl.Existing(before), wanted))
	for id, text := range []string{first.text(), next.text()} {
		if _, err := Compile(altered, id, text); err != nil {
			t.Fatalf("the lint accepts, the writer refuses schema %d: %v\nfirst %s\n next %s", id, err, first.text(), next.text())
		}
	}
	var missing *MissingSymbolError
	if _, err := Compile(old, 2, next.text()); err != nil && !errors.As(err, &missing) {
		t.Logf("before the ALTER: %v", err) // Waits for `streamforge apply`; the test is that it does not panic.
	}
}

func mustLayout(t *rapid.T, columns []ddl.Column) *Layout {
	layout, err := NewLayout("t", columns, ddl.Existing(columns))
	if err != nil {
		t.Fatalf("the lint accepts, there is no layout: %v", err)
	}
	return layout
}

// compatible is the least that a registry asks of two versions: that the next can read what the first wrote.
func compatible(first, next string) bool {
	return avro.CanRead(next, first) == nil
}

func TestWhatTheLintAcceptsCompiles(t *testing.T) {
	rapid.Check(t, whatTheLintAcceptsCompiles)
}

// FuzzVersions lets Go's fuzzer choose the versions.
func FuzzVersions(f *testing.F) {
	seedDraws(f)
	f.Fuzz(rapid.MakeFuzz(whatTheLintAcceptsCompiles))
}
