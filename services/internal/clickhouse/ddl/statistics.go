package ddl

// Statistics is the setting that says which statistics a table keeps of each column. Since 26.4 that is some for every column unless a table
// says otherwise: a fifth of the engine's processor time for an insert and the merges that follow, for queries that join many
// tables. README.md has the figures.
const Statistics = "auto_statistics_types"

// NoStatistics is Statistics' value for none, as ClickHouse writes it.
const NoStatistics = "''"
