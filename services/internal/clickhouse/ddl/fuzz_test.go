package ddl_test

import (
	"testing"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// A type that was understood is written in one form, which reads back as the same type.
func FuzzParseType(f *testing.F) {
	for _, text := range []string{
		"LowCardinality(Nullable(String))", "DateTime64(6, 'UTC')", "Enum8('A' = -1, 'B\\'s' = 2)", "Map(String, Array(UUID))",
		"Array(Tuple(price Decimal(38, 18), `odd name` Nullable(Int64)))",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := ddl.ParseType(text)
		if err != nil {
			return
		}
		again, err := ddl.ParseType(parsed.String())
		if err != nil || !again.Equal(parsed) {
			t.Fatalf("%q is written %q, which reads as %q, %v", text, parsed, again, err)
		}
	})
}

// Whatever the text of a schema, the columns are there or refused, without a panic.
func FuzzParseSchema(f *testing.F) {
	for _, text := range []string{
		`{"type":"record","name":"Row","fields":[{"name":"f","type":["null","long"],"default":null},{"name":"g","type":{"type":"enum","name":"E","symbols":["A","B"]},"default":"A"}]}`,
		`{"type":"record","name":"Row","fields":[{"name":"p","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":18},"default":"\u0001"}]}`,
		`{"type":"record","name":"Row","fields":[{"name":"f","type":{"type":"array","items":"Row"}}]}`,
		`{"type":"map","values":"string"}`, `["null",{"type":"fixed","name":"F","size":3}]`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		if schema, err := ddl.ParseSchema(text); err == nil {
			ddl.MinSize(schema)
		}
		_, _ = ddl.ColumnsOf(text, nil)
	})
}
