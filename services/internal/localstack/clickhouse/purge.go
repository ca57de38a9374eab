package clickhouse

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// droppedTable is the name of a dropped table's metadata: database.table.uuid.sql.
var droppedTable = regexp.MustCompile(`([0-9a-f]{3})([0-9a-f]{5}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.sql$`)

// purgeDropped removes the data of tables that were dropped in an earlier life of this directory, and returns how many.
// A server does it in the background some minutes after the drop; the engine inside a process does not. It must run
// before the engine opens the directory.
func purgeDropped(dataDir string) (int, error) {
	entries, err := os.ReadDir(filepath.Join(dataDir, "metadata_dropped"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking for dropped tables in %s: %w", dataDir, err)
	}
	purged := 0
	for _, entry := range entries {
		match := droppedTable.FindStringSubmatch(entry.Name())
		if match == nil {
			continue
		}
		// The data first: while the metadata file is there, a purge that was cut off is done again.
		if err := os.RemoveAll(filepath.Join(dataDir, "store", match[1], match[1]+match[2])); err != nil {
			return purged, fmt.Errorf("removing the data of the dropped table %s: %w", entry.Name(), err)
		}
		if err := os.Remove(filepath.Join(dataDir, "metadata_dropped", entry.Name())); err != nil {
			return purged, fmt.Errorf("removing the metadata of the dropped table %s: %w", entry.Name(), err)
		}
		purged++
	}
	return purged, nil
}
