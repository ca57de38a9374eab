package clickhouse

import "strconv"

// cacheOptions keep the engine's caches within its memory: their defaults are those of a big machine (5 GiB of marks and
// as much of indexes), and they would make a small bound useless.
func cacheOptions(maxMemory int64) []string {
	share := func(parts int64) string { return strconv.FormatInt(maxMemory/parts, 10) }
	return []string{
		"--mark_cache_size=" + share(16),
		"--primary_index_cache_size=" + share(16),
		"--index_mark_cache_size=" + share(32),
		"--query_condition_cache_size=" + share(64),
	}
}
