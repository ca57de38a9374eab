package ddl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ExistingColumn is a column as system.columns reports it.
type ExistingColumn struct {
	Name string
	Type string
	// DefaultKind is empty, DEFAULT, MATERIALIZED, ALIAS or EPHEMERAL.
	DefaultKind string
	// Default is the expression, in ClickHouse's words; empty for none.
	Default string
	// Codec is CODEC(…), empty for the table's own.
	Codec   string
	Comment string
}

// Existing is what a table looks like that was made with these columns: for a comparison of two schemas without a server.
func Existing(columns []Column) []ExistingColumn {
	existing := make([]ExistingColumn, len(columns))
	for i, c := range columns {
		existing[i] = ExistingColumn{Name: c.Name, Type: c.Type.String(), Default: c.Default, Comment: c.Comment}
		if c.Codec != "" {
			existing[i].Codec = "CODEC(" + c.Codec + ")"
		}
		if c.Default != "" {
			existing[i].DefaultKind = "DEFAULT"
		}
	}
	return existing
}

// Alter writes the statements that bring an existing table to the wanted columns: ADD COLUMN for a new field, MODIFY
// COLUMN for an enum that grew, MATERIALIZE COLUMN and MODIFY COLUMN for a default that changed. A column that the schema
// does not name is left alone. Any other difference of type would lose or reinterpret rows and is refused.
func Alter(spec Spec, existing []ExistingColumn, wanted []Column, options Options) ([]string, error) {
	have := map[string]ExistingColumn{}
	for _, c := range existing {
		have[c.Name] = c
	}
	prefix := spec.alter(options)
	var statements []string
	var errs []error
	after := " FIRST"
	for _, c := range wanted {
		old, exists := have[c.Name]
		if !exists {
			statements = append(statements, prefix+" ADD COLUMN IF NOT EXISTS "+c.Definition()+after)
		} else if statement, err := modify(prefix, old, c); err != nil {
			errs = append(errs, err)
		} else {
			if statement != "" {
				statements = append(statements, statement)
			}
			statements = append(statements, changeDefault(prefix, old, c, spec.sorts(c.Name))...)
		}
		after = " AFTER " + QuoteName(c.Name)
	}
	return statements, errors.Join(errs...)
}

// Altered are the wanted columns with the types that they have once Alter's statements are done: an enum keeps the numbers
// and the symbols that its table has.
func Altered(existing []ExistingColumn, wanted []Column) []Column {
	altered := slices.Clone(wanted)
	for i, c := range wanted {
		for _, old := range existing {
			if t, err := ParseType(old.Type); err == nil && old.Name == c.Name {
				if grown, ok := growEnum(t, c.Type); ok {
					altered[i].Type = grown
				}
			}
		}
	}
	return altered
}

// changeDefault writes what a changed default takes. ClickHouse computes the value of rows from before the column when they
// are read, so they would change with the default: they get theirs written down first. A column that had no default must
// be given one for that: the empty value of its type, which is what those rows read as. Columns of the sorting key are written
// down in every part from the beginning, and ClickHouse refuses to touch them.
func changeDefault(prefix string, old ExistingColumn, c Column, sorts bool) []string {
	if old.Default == c.Default {
		return nil
	}
	name := QuoteName(c.Name)
	var statements []string
	if !sorts {
		if old.Default == "" {
			statements = append(statements, prefix+" MODIFY COLUMN "+name+" DEFAULT defaultValueOfTypeName("+QuoteString(old.Type)+")")
		}
		// Waiting on every replica: the next statement must find no row without its value.
		statements = append(statements, prefix+" MATERIALIZE COLUMN "+name+" SETTINGS mutations_sync = 2")
	}
	if c.Default == "" {
		return append(statements, prefix+" MODIFY COLUMN "+name+" REMOVE DEFAULT")
	}
	return append(statements, prefix+" MODIFY COLUMN "+name+" DEFAULT "+c.Default)
}

// sorts tells whether a column is of the sorting key.
func (s Spec) sorts(column string) bool {
	for key := range strings.SplitSeq(s.OrderBy, ",") {
		if strings.Trim(key, " `") == column {
			return true
		}
	}
	return false
}

func modify(prefix string, old ExistingColumn, c Column) (string, error) {
	if old.DefaultKind != "" && old.DefaultKind != "DEFAULT" {
		return "", fmt.Errorf("column %s is %s in the table; the writer has to insert into it: %s MODIFY COLUMN %s REMOVE %s", c.Name, old.DefaultKind, prefix, QuoteName(c.Name), old.DefaultKind)
	}
	t, err := ParseType(old.Type)
	if err != nil {
		return "", fmt.Errorf("column %s: %w", c.Name, err)
	}
	grown, ok := growEnum(t, c.Type)
	switch {
	case t.Equal(c.Type), ok && grown.Equal(t):
		return "", nil
	case ok:
		return prefix + " MODIFY COLUMN " + QuoteName(c.Name) + " " + grown.String(), nil
	}
	return "", fmt.Errorf("column %s is %s in the table and %s by the schema; changing it would rewrite or lose rows, make a new table or a new major version", c.Name, t, c.Type)
}

// growEnum adds the symbols that the table lacks behind its own, whose numbers are stored in rows and stay. A symbol
// that the schema dropped stays too: old rows have it.
func growEnum(have, want Type) (Type, bool) {
	if have.Name == "Nullable" && want.Name == "Nullable" {
		inner, ok := growEnum(have.Args[0], want.Args[0])
		return Wrap("Nullable", inner), ok
	}
	if !isEnum(have) || !isEnum(want) {
		return have, false
	}
	grown := Type{Name: have.Name, Enum: append([]EnumValue(nil), have.Enum...)}
	next := 0
	known := map[string]bool{}
	for _, v := range have.Enum {
		known[v.Name] = true
		next = max(next, v.Value+1)
	}
	for _, v := range want.Enum {
		if !known[v.Name] {
			grown.Enum = append(grown.Enum, EnumValue{v.Name, next})
			next++
		}
	}
	if next > 1<<7 {
		grown.Name = "Enum16"
	}
	return grown, true
}

func isEnum(t Type) bool { return t.Name == "Enum8" || t.Name == "Enum16" }
