package ddl

import (
	"fmt"
	"strings"

	"github.com/streamforge/streamforge/services/internal/contract"
)

// SpecOf takes from a contract what its table needs. database is where the environment wants the table; the contract's
// own database is documentation and stands in when it is empty.
func SpecOf(c contract.Contract, database string) (Spec, error) {
	if c.Sink == nil {
		return Spec{}, fmt.Errorf("contract %s asks for no ClickHouse sink", c.ID)
	}
	if database == "" {
		database = c.Sink.Database
	}
	columns := map[string]ColumnOptions{}
	for path, column := range c.Sink.Columns {
		if column.LowCardinality || column.NullAs != nil {
			columns[path] = ColumnOptions{LowCardinality: column.LowCardinality, NullAs: column.NullAs}
		}
	}
	return Spec{
		Database: database, Table: c.Sink.Table,
		OrderBy: strings.Join(c.Sink.OrderBy, ", "), PartitionBy: c.Sink.PartitionBy,
		TTLColumn: c.Sink.TimeColumn, TTLDays: c.Sink.TTLDays,
		Columns: columns, DedupWindow: DefaultDedupWindow, Comment: c.Purpose,
	}, nil
}

// CreateTable writes CREATE TABLE for a contract with a sink and its self-contained Avro schema.
func CreateTable(c contract.Contract, schemaText, database string, options Options) (string, error) {
	spec, err := SpecOf(c, database)
	if err != nil {
		return "", err
	}
	return CreateSpec(spec, schemaText, options)
}

// Mappable says what of a contract with a sink and its schema no table can hold, as errors joined, a field each. It is what
// a lint of contracts asks, so that nothing is refused first by a running service.
func Mappable(c contract.Contract, schemaText string) error {
	spec, err := SpecOf(c, "")
	if err != nil {
		return err
	}
	columns, err := ColumnsOf(schemaText, spec.Columns)
	if err != nil {
		return err
	}
	return spec.check(columns)
}

// Columns lists the columns that a contract and schema make.
func Columns(c contract.Contract, schemaText string) ([]Column, error) {
	spec, err := SpecOf(c, "")
	if err != nil {
		return nil, err
	}
	return ColumnsOf(schemaText, spec.Columns)
}

// AlterAdd writes the statements that bring an existing table to a contract and schema; see Alter.
func AlterAdd(c contract.Contract, schemaText, database string, existing []ExistingColumn, options Options) ([]string, error) {
	spec, err := SpecOf(c, database)
	if err != nil {
		return nil, err
	}
	wanted, err := ColumnsOf(schemaText, spec.Columns)
	if err != nil {
		return nil, err
	}
	return Alter(spec, existing, wanted, options)
}
