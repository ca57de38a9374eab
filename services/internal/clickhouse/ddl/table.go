// Package ddl writes the SQL of ClickHouse tables from contracts and Avro schemas. It is text in, text out: no driver, no
// network, no cgo, so that a pull request's check can use it offline.
package ddl

import (
	"cmp"
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
	// Engine is MergeTree where nothing is said; a cluster's is Replicated in front of it.
	Engine string
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
	// Sharded says that the cluster has several shards: every table gets a Distributed one over it, <table>_all, to read from.
	Sharded bool
	// Tuning are settings of every table; of Tuning those that the server knows.
	Tuning []Setting
}

// DefaultDedupWindow is the number of blocks whose tokens a table remembers. At the contract's greatest rate of parts it
// is the time within which a repeated insert is recognised.
const DefaultDedupWindow = 10000

// DefaultReplicaPath is where a replicated table keeps its state unless Options says otherwise.
const DefaultReplicaPath = "/clickhouse/tables/{shard}/{database}/{table}"

// onCluster is what a statement says behind the name of a table.
func (o Options) onCluster() string {
	if o.Cluster == "" {
		return ""
	}
	return " ON CLUSTER " + QuoteName(o.Cluster)
}

// Name is the table's quoted full name.
func (s Spec) Name() string { return QuoteName(s.Database) + "." + QuoteName(s.Table) }

// alter begins every statement that changes the table.
func (s Spec) alter(options Options) string { return "ALTER TABLE " + s.Name() + options.onCluster() }

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
	b.WriteString("CREATE TABLE IF NOT EXISTS " + spec.Name() + options.onCluster() + "\n(\n")
	for _, c := range columns {
		b.WriteString("    " + c.Definition() + ",\n")
	}
	b.WriteString("    " + offsetIndex + ",\n    " + offsetProjection + ",\n")
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
	engine := cmp.Or(s.Engine, "MergeTree")
	b.WriteString("ENGINE = ")
	if options.Cluster == "" {
		b.WriteString(engine + "\n")
	} else {
		path := options.ReplicaPath
		if path == "" {
			path = DefaultReplicaPath
		}
		b.WriteString("Replicated" + engine + "(" + QuoteString(path) + ", '{replica}')\n")
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
	if s.Engine == "" {
		fmt.Fprintf(b, ", %s = '%s'", ProjectionMode, ProjectionModeValue)
	}
	for _, tuned := range options.Tuning {
		b.WriteString(", " + tuned.Name + " = " + tuned.Value)
	}
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
