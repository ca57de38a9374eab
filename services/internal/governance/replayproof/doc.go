// Package replayproof shows on real records what a change of a schema does: to who reads them with the new schema, to the
// declared readers of what will be written with it, and to the rows in ClickHouse. It reads no broker and no registry; who
// calls it brings the records.
package replayproof
