// Package ddl writes the SQL of ClickHouse tables from contracts and Avro schemas. It is text in, text out: no driver, no
// network, no cgo, so that a pull request's check can use it offline.
package ddl

import (
	"errors"
	"fmt"
	"strings"
)

// Spec is what a contract says about a table.
type Spec struct {
	Database, Table string
	// OrderBy and PartitionBy are lists of SQL expressions without the outer parentheses.
	OrderBy, PartitionBy string
	// TTLColumn is the time that a row's age is counted from; TTLDays after it the row may be dropped, 0 keeps for ever.
	TTLColumn string
	TTLDays   int
	// Columns are the contract's options by field path (parent.child).
	Columns map[string]ColumnOptions
	// DedupWindow is how many insert tokens the table remembers.
	DedupWindow int
	// Comment of the table.
	Comment string
}

// Options say for which kind of server the SQL is meant.
type Options struct {
	// Cluster makes the tables Replicated and the statement ON CLUSTER; empty for a single server.
	Cluster string
	// ReplicaPath is the Keeper path of a replicated table; {database}, {table} and {shard} are the server's macros.
	ReplicaPath string
}

// DefaultDedupWindow is the number of blocks whose tokens a table remembers. At the contract's greatest rate of parts it
// is the time within which a repeated insert is recognised.
const DefaultDedupWindow = 10000

// DefaultReplicaPath is where a replicated table keeps its state unless Options says otherwise.
const DefaultReplicaPath = "/clickhouse/tables/{shard}/{database}/{table}"

// Name is the table's quoted full name.
func (s Spec) Name() string { return QuoteName(s.Database) + "." + QuoteName(s.Table) }

// CreateSpec writes CREATE TABLE for a spec and a self-contained schema. The same input gives the same text.
func CreateSpec(spec Spec, schemaText string, options Options) (string, error) {
	columns, err := ColumnsOf(schemaText, spec.Columns)
	if err != nil {
		return "", fmt.Errorf("table %s.%s: %w", spec.Database, spec.Table, err)
	}
	if err := spec.check(columns); err != nil {
		return "", fmt.Errorf("table %s.%s: %w", spec.Database, spec.Table, err)
	}
	var b strings.Builder
	b.WriteString("CREATE TABLE IF NOT EXISTS " + spec.Name())
	if options.Cluster != "" {
		b.WriteString(" ON CLUSTER " + QuoteName(options.Cluster))
	}
	b.WriteString("\n(\n")
	for _, c := range columns {
		b.WriteString("    " + c.Definition() + ",\n")
	}
	b.WriteString("    CONSTRAINT " + DeadlineConstraint + " CHECK " + deadlineCheck + "\n)\n")
	spec.writeEngine(&b, options)
	return b.String(), nil
}

func (s Spec) check(columns []Column) error {
	switch {
	case s.Table == "" || s.Database == "":
		return errors.New("the contract names no database or table")
	case s.OrderBy == "":
		return errors.New("the contract gives no orderBy")
	case s.TTLDays < 0 || s.DedupWindow < 0:
		return fmt.Errorf("ttlDays %d, deduplication window %d: neither can be negative", s.TTLDays, s.DedupWindow)
	}
	if s.TTLDays == 0 {
		return nil
	}
	for _, c := range columns {
		if c.Name == s.TTLColumn {
			if c.Type.Name != "DateTime64" {
				return fmt.Errorf("TTL column %s is %s; a TTL needs a timestamp that is never null", c.Name, c.Type)
			}
			return nil
		}
	}
	return fmt.Errorf("TTL column %q is no field of the schema", s.TTLColumn)
}

func (s Spec) writeEngine(b *strings.Builder, options Options) {
	window := s.DedupWindow
	if window == 0 {
		window = DefaultDedupWindow
	}
	setting := "non_replicated_deduplication_window"
	b.WriteString("ENGINE = ")
	if options.Cluster == "" {
		b.WriteString("MergeTree\n")
	} else {
		path := options.ReplicaPath
		if path == "" {
			path = DefaultReplicaPath
		}
		b.WriteString("ReplicatedMergeTree(" + QuoteString(path) + ", '{replica}')\n")
		setting = "replicated_deduplication_window"
	}
	if s.PartitionBy != "" {
		b.WriteString("PARTITION BY " + parenthesised(s.PartitionBy) + "\n")
	}
	b.WriteString("ORDER BY " + parenthesised(s.OrderBy) + "\n")
	if s.TTLDays > 0 {
		fmt.Fprintf(b, "TTL toDateTime(%s) + INTERVAL %d DAY\n", QuoteName(s.TTLColumn), s.TTLDays)
	}
	fmt.Fprintf(b, "SETTINGS %s = %d", setting, window)
	if s.Comment != "" {
		b.WriteString("\nCOMMENT " + QuoteString(s.Comment))
	}
}

func parenthesised(expressions string) string { return "(" + strings.TrimSpace(expressions) + ")" }

// Definition is the column's line in CREATE TABLE and ADD COLUMN.
func (c Column) Definition() string {
	var b strings.Builder
	b.WriteString(QuoteName(c.Name) + " " + c.Type.String())
	if c.Default != "" {
		b.WriteString(" DEFAULT " + c.Default)
	}
	if c.Comment != "" {
		b.WriteString(" COMMENT " + QuoteString(c.Comment))
	}
	if c.Codec != "" {
		b.WriteString(" CODEC(" + c.Codec + ")")
	}
	return b.String()
}
