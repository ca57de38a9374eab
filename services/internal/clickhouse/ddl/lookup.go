package ddl

import "strings"

// What makes the questions for offsets quick that a writer asks at a takeover and a verification all the time. README.md has what
// each costs and saves.
const (
	// OffsetIndex finds the granules of a partition's range of offsets.
	OffsetIndex = "offset_range"
	// OffsetProjection answers count, least and greatest offset by partition from a row a part.
	OffsetProjection = "offsets"
	// ProjectionMode lets DELETE FROM a table with a projection, which ClickHouse refuses by itself.
	ProjectionMode = "lightweight_mutation_projection_mode"
	// ProjectionModeValue makes the projection of a part with deleted rows again.
	ProjectionModeValue = "rebuild"
)

const (
	offsetIndex      = "INDEX " + OffsetIndex + " (" + MetaPartition + ", " + MetaOffset + ") TYPE minmax GRANULARITY 1"
	offsetProjection = "PROJECTION " + OffsetProjection + " (SELECT " + MetaTopicID + ", " + MetaPartition +
		", count(), min(" + MetaOffset + "), max(" + MetaOffset + ") GROUP BY " + MetaTopicID + ", " + MetaPartition + ")"
)

// AddLookup writes the statement that gives an existing table, with all of its parts, those that it lacks of the index and the
// projection; empty when it has both. It may be run twice.
func AddLookup(spec Spec, index, projection bool, options Options) string {
	var add, fill []string
	if !index {
		add, fill = append(add, strings.Replace(offsetIndex, "INDEX ", "ADD INDEX IF NOT EXISTS ", 1)), append(fill, "MATERIALIZE INDEX "+OffsetIndex)
	}
	if !projection {
		add, fill = append(add, strings.Replace(offsetProjection, "PROJECTION ", "ADD PROJECTION IF NOT EXISTS ", 1)), append(fill, "MATERIALIZE PROJECTION "+OffsetProjection)
	}
	if len(add) == 0 {
		return ""
	}
	return spec.alter(options) + " " + strings.Join(append(add, fill...), ", ")
}
