package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

// mendTornFile cuts off the piece of an entry that kfake (v0.0.0-20260918054303) leaves at the end of a file when the disk
// is full. It logs the failed write and goes on behind the piece; but when it starts, or shortens groups.log, it reads groups.log
// and pids.log as far as the first piece only, so all that groups commit on a disk with space again would be forgotten,
// and an index with a piece in it takes every later batch for one outside of a transaction.
func (l logger) mendTornFile(arguments []any) {
	for _, argument := range arguments {
		err, isError := argument.(error)
		var failed *fs.PathError
		if !isError || !errors.As(err, &failed) || failed.Op != "write" {
			continue
		}
		// kfake writes these files from one goroutine, the one that calls this: nothing is appended meanwhile.
		cut, err := cutTornEntry(failed.Path)
		if err != nil {
			l.log.Error("a piece of an entry stays in "+failed.Path+"; what comes behind it is lost when the broker starts again", "error", err.Error())
		} else if cut > 0 {
			l.log.Warn("a piece of an entry was cut off "+failed.Path, "bytes", cut)
		}
	}
}

// cutTornEntry shortens a file to its whole entries and says by how many bytes. kfake cuts segments of records itself.
func cutTornEntry(path string) (cut int, err error) {
	var whole func([]byte) int
	switch name := filepath.Base(path); {
	case name == "groups.log", name == "pids.log":
		whole = wholeLogEntries
	case filepath.Ext(name) == ".idx":
		whole = func(raw []byte) int { return len(raw) / indexEntry * indexEntry }
	default:
		return 0, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	end := whole(raw)
	if end == len(raw) {
		return 0, nil
	}
	if err := os.Truncate(path, int64(end)); err != nil {
		return 0, fmt.Errorf("shortening it from %d to %d bytes: %w", len(raw), end, err)
	}
	return len(raw) - end, nil
}

// indexEntry is the size in bytes of a batch's entry in the index of a segment (kfake's persist.go).
const indexEntry = 15

// entryHeader is the length and the checksum before an entry of a state log, in bytes.
const entryHeader = 8

// wholeLogEntries is the length of a state log's whole entries. An entry is, little-endian, the length of what follows the checksum
// (4 bytes), a CRC-32C of that (4 bytes), and what is of that length (kfake's persist.go).
func wholeLogEntries(raw []byte) (end int) {
	const leastBody = 2
	for len(raw)-end >= entryHeader+leastBody {
		length := int64(binary.LittleEndian.Uint32(raw[end:]))
		if length < leastBody || length > int64(len(raw)-end-entryHeader) {
			break
		}
		body := raw[end+entryHeader : end+entryHeader+int(length)]
		if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(raw[end+4:]) {
			break
		}
		end += entryHeader + len(body)
	}
	return end
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendLogEntry appends an entry of a state log, whose body begins with its version (2 bytes, little-endian).
func appendLogEntry(log, body []byte) []byte {
	log = binary.LittleEndian.AppendUint32(log, uint32(len(body)))
	log = binary.LittleEndian.AppendUint32(log, crc32.Checksum(body, castagnoli))
	return append(log, body...)
}
