package ddl

// Setting of a MergeTree table. Value is as ClickHouse writes it.
type Setting struct{ Name, Value string }

// Tuning are the settings that make tables cheaper to fill, on servers that know them. README.md has the figures.
func Tuning() []Setting {
	return []Setting{
		// Since 26.4 a table keeps statistics of every column unless it says otherwise: a fifth of the engine's processor time for an
		// insert and the merges that follow, for queries that join many tables.
		{"auto_statistics_types", "''"},
		// A merge of fewer parts writes the same rows again sooner: with ten, a row is merged log10 of the parts often, and not log5.
		{"min_parts_to_merge_at_once", "10"},
	}
}
