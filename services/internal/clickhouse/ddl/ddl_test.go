package ddl_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

var update = flag.Bool("update", false, "write the snapshots anew")

// TestTheTablesOfTheContracts compares the SQL of every sink, for a single server and for a cluster, with its snapshot:
// a change of a table is seen in a review, not in production.
func TestTheTablesOfTheContracts(t *testing.T) {
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Sink == nil {
			continue
		}
		subject, err := schemas.Get(c.Subject)
		if err != nil {
			t.Fatal(err)
		}
		text, err := schemas.SelfContained(subject)
		if err != nil {
			t.Fatal(err)
		}
		for suffix, options := range map[string]ddl.Options{"": {}, ".cluster": {Cluster: "main"}, ".sharded": {Cluster: "main", Sharded: true}} {
			got, err := ddl.CreateTable(c, text, "", options)
			if err != nil {
				t.Fatal(err)
			}
			spec, err := ddl.SpecOf(c, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, all := ddl.Distributed(spec, options); all != "" {
				got += ";\n\n" + all
			}
			compare(t, filepath.Join("testdata", c.ID+suffix+".sql"), got+"\n")
		}
	}
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if got != string(want) {
		t.Errorf("%s differs; look at it, then write it with -update\n%s", path, got)
	}
}

func TestATypeReadsBackAsItWasWritten(t *testing.T) {
	for _, text := range []string{
		"String", "LowCardinality(Nullable(String))", "Decimal(38, 18)", "DateTime64(6, 'UTC')", "FixedString(12)",
		"Enum8('A' = -1, 'B\\'s' = 2)", "Array(Tuple(price Decimal(38, 18), `odd name` Nullable(Int64)))", "Map(String, Array(UUID))",
	} {
		parsed, err := ddl.ParseType(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if parsed.String() != text {
			t.Errorf("%s reads back as %s", text, parsed)
		}
	}
	for _, text := range []string{"", "Array(", "Array(Int64", "Enum8('A' = )", "Int64)", strings.Repeat("Array(", 100)} {
		if _, err := ddl.ParseType(text); err == nil {
			t.Errorf("%q was taken for a type", text)
		}
	}
}

func TestWhatHasNoColumnIsRefusedByItsPath(t *testing.T) {
	for name, c := range map[string]struct{ field, want string }{
		"union":            {`{"name":"f","type":["int","string"]}`, "field f: a union of 2 types"},
		"null":             {`{"name":"f","type":"null"}`, "field f: type null"},
		"nullable array":   {`{"name":"f","type":["null",{"type":"array","items":"int"}]}`, `field f: ClickHouse has no Nullable(Array)`},
		"endless array":    {`{"name":"f","type":{"type":"array","items":"null"}}`, "field f: "},
		"recursion":        {`{"name":"f","type":{"type":"array","items":"Row"}}`, "contains itself"},
		"wide decimal":     {`{"name":"f","type":{"type":"bytes","logicalType":"decimal","precision":77,"scale":1}}`, "field f: decimal(77,1)"},
		"array in record":  {`{"name":"f","type":{"type":"record","name":"N","fields":[{"name":"a","type":{"type":"array","items":"int"}}]}}`, "field f.a: an array or map inside a nested record"},
		"name of a writer": {`{"name":"_offset","type":"long"}`, "field _offset: the name belongs"},
	} {
		_, err := ddl.ColumnsOf(`{"type":"record","name":"Row","fields":[`+c.field+`]}`, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAnOlderTableGrowsTowardsItsSchema(t *testing.T) {
	text := `{"type":"record","name":"Row","fields":[{"name":"a","type":"long"},{"name":"side","type":{"type":"enum","name":"S","symbols":["X","NEW","Y"]}},{"name":"b","type":"string","default":"it's"},{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"},"default":5}]}`
	columns, err := ddl.ColumnsOf(text, map[string]ddl.ColumnOptions{"b": {LowCardinality: true}})
	if err != nil {
		t.Fatal(err)
	}
	spec := ddl.Spec{Database: "d", Table: "t"}
	existing := []ddl.ExistingColumn{
		{Name: "a", Type: "Int64"},
		{Name: "side", Type: "Enum8('X' = 0, 'Y' = 1)"},
		{Name: "mine", Type: "String"},
		{Name: "_topic_id", Type: "UUID"},
		{Name: "_partition", Type: "Int32"},
		{Name: "_offset", Type: "Int64"},
		{Name: "_schema_id", Type: "UInt32"},
	}
	statements, err := ddl.Alter(spec, existing, columns, ddl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ALTER TABLE `d`.`t` MODIFY COLUMN `side` Enum8('X' = 0, 'Y' = 1, 'NEW' = 2)",
		"ALTER TABLE `d`.`t` ADD COLUMN IF NOT EXISTS `b` LowCardinality(String) DEFAULT 'it\\'s' AFTER `side`",
		"ALTER TABLE `d`.`t` ADD COLUMN IF NOT EXISTS `at` DateTime64(6, 'UTC') DEFAULT fromUnixTimestamp64Micro(5, 'UTC') CODEC(Delta(8), LZ4) AFTER `b`",
	}
	if strings.Join(statements, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(statements, "\n"), strings.Join(want, "\n"))
	}
	if same, err := ddl.Alter(spec, ddl.Existing(columns), columns, ddl.Options{}); err != nil || len(same) > 0 {
		t.Errorf("a table that is as wanted: %v %v", same, err)
	}
	existing[0].Type = "Int32"
	if _, err := ddl.Alter(spec, existing, columns, ddl.Options{}); err == nil || !strings.Contains(err.Error(), "column a is Int32") {
		t.Errorf("a narrower column: %v", err)
	}
}

// TestAChangedDefaultIsWrittenDownFirst: what older rows read as must not change with it.
func TestAChangedDefaultIsWrittenDownFirst(t *testing.T) {
	table := func(field string) []ddl.Column {
		t.Helper()
		columns, err := ddl.ColumnsOf(`{"type":"record","name":"Row","fields":[{"name":"a","type":"long"`+field+`}]}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		return columns
	}
	const prefix = "ALTER TABLE `d`.`t` "
	const materialize = prefix + "MATERIALIZE COLUMN `a` SETTINGS mutations_sync = 2"
	for name, c := range map[string]struct {
		from, to, orderBy string
		want              []string
	}{
		"changed": {`,"default":1`, `,"default":2`, "b", []string{materialize, prefix + "MODIFY COLUMN `a` DEFAULT 2"}},
		"removed": {`,"default":1`, ``, "b", []string{materialize, prefix + "MODIFY COLUMN `a` REMOVE DEFAULT"}},
		"given":   {``, `,"default":2`, "b", []string{prefix + "MODIFY COLUMN `a` DEFAULT defaultValueOfTypeName('Int64')", materialize, prefix + "MODIFY COLUMN `a` DEFAULT 2"}},
		// ClickHouse refuses to materialize what a table is sorted by; it is never absent there.
		"of a key": {``, `,"default":2`, "b, `a`", []string{prefix + "MODIFY COLUMN `a` DEFAULT 2"}},
	} {
		got, err := ddl.Alter(ddl.Spec{Database: "d", Table: "t", OrderBy: c.orderBy}, ddl.Existing(table(c.from)), table(c.to), ddl.Options{})
		if err != nil || strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s: %v\n%s", name, err, strings.Join(got, "\n"))
		}
	}
}
