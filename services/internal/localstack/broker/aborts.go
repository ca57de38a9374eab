package broker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// abortOpenTransactions ends, with an abort marker in every partition, the transactions that a kill has left open. kfake
// (v0.0.0-20260918054303) aborts them when it starts, but in memory: without a marker a reader with read_committed goes on leaving out
// what the same producer commits behind them, and the next kill has that commit count for them too. The producers' epochs go up, as
// kfake has it, so that who was in such a transaction is fenced.
func abortOpenTransactions(dir string) error {
	if dir == "" {
		return nil
	}
	switch _, err := os.Stat(filepath.Join(dir, "session_state.json")); {
	case err == nil:
		return nil // it ended cleanly: open transactions are in there, and go on
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	partitions, err := filepath.Glob(filepath.Join(dir, "partitions", "*"))
	if err != nil {
		return err
	}
	var logs []partitionLog
	epochs := map[int64]int16{}
	for _, partition := range partitions {
		log, err := readPartition(partition)
		if err != nil {
			return fmt.Errorf("reading %s: %w", filepath.Base(partition), err)
		}
		if len(log.open) == 0 {
			continue
		}
		logs = append(logs, log)
		for producer, epoch := range log.open {
			epochs[producer] = max(epochs[producer], epoch)
		}
	}
	// Fenced first: were it the other way round, a kill in between would leave nothing to tell whom to fence.
	if err := fence(filepath.Join(dir, "pids.log"), epochs); err != nil {
		return err
	}
	for _, log := range logs {
		if err := log.abort(); err != nil {
			return fmt.Errorf("aborting transactions in %s: %w", filepath.Base(log.dir), err)
		}
	}
	return nil
}

// partitionLog is what the segments of a partition hold: of each the batches' headers, one after the other as on the wire (base.dat),
// and an entry a batch in base.idx.
type partitionLog struct {
	dir string
	// last is the segment that is appended to, by its base offset, with its size in bytes up to the last whole batch.
	last int64
	size int64
	// index is what the segment's index has to hold.
	index []byte
	next  int64           // offset
	epoch int32           // the partition's, of its last batch
	open  map[int64]int16 // producers with an open transaction, and their epochs
}

// Positions in a batch's header, and bits of its attributes (Kafka's protocol guide, record batch).
const (
	batchHeader       = 61
	batchLength       = 8
	batchLeaderEpoch  = 12
	batchAttributes   = 21
	batchLastDelta    = 23
	batchMaxTimestamp = 35
	batchProducer     = 43
	batchEpoch        = 51

	isTransactional = 0x10
	isControl       = 0x20
)

func readPartition(dir string) (partitionLog, error) {
	log := partitionLog{dir: dir, last: -1, open: map[int64]int16{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return log, err
	}
	var bases []int64
	for _, entry := range entries {
		name, isSegment := strings.CutSuffix(entry.Name(), ".dat")
		if base, err := strconv.ParseInt(name, 10, 64); isSegment && err == nil {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	for _, base := range bases {
		if err := log.read(base); err != nil {
			return log, err
		}
	}
	return log, nil
}

func (l *partitionLog) read(base int64) error {
	segment, err := os.Open(filepath.Join(l.dir, strconv.FormatInt(base, 10)+".dat"))
	if err != nil {
		return err
	}
	defer segment.Close()
	written, err := os.ReadFile(filepath.Join(l.dir, strconv.FormatInt(base, 10)+".idx"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	end, err := segment.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	l.last, l.size, l.index = base, 0, nil
	for l.size+batchHeader <= end {
		var header [batchHeader]byte
		if _, err := segment.ReadAt(header[:], l.size); err != nil {
			return err
		}
		length := int64(binary.BigEndian.Uint32(header[batchLength:]))
		if length < batchHeader-batchLeaderEpoch || l.size+batchLeaderEpoch+length > end {
			break // a piece of a batch, which kfake cuts off
		}
		l.size += batchLeaderEpoch + length
		l.next = int64(binary.BigEndian.Uint64(header[:])) + int64(binary.BigEndian.Uint32(header[batchLastDelta:])) + 1
		l.epoch = int32(binary.BigEndian.Uint32(header[batchLeaderEpoch:]))
		producer := int64(binary.BigEndian.Uint64(header[batchProducer:]))
		attributes := binary.BigEndian.Uint16(header[batchAttributes:])
		transactional := attributes&(isTransactional|isControl) == isTransactional
		switch {
		case attributes&isControl != 0:
			delete(l.open, producer)
		case transactional:
			l.open[producer] = int16(binary.BigEndian.Uint16(header[batchEpoch:]))
		}
		if at := len(l.index); at+indexEntry <= len(written) {
			l.index = append(l.index, written[at:at+indexEntry]...)
		} else {
			// A kill between batch and entry: without it kfake would take the batch for one outside of a transaction.
			l.index = append(l.index, encodeIndexEntry(l.epoch, int64(binary.BigEndian.Uint64(header[batchMaxTimestamp:])), transactional)...)
		}
	}
	return nil
}

// encodeIndexEntry is kfake's (persist.go): version, checksum, epoch of the partition, highest timestamp until then, in a transaction.
func encodeIndexEntry(epoch int32, maxTimestamp int64, transactional bool) []byte {
	entry := make([]byte, 2, indexEntry)
	entry = binary.LittleEndian.AppendUint32(entry, uint32(epoch))
	entry = binary.LittleEndian.AppendUint64(entry, uint64(maxTimestamp))
	entry = append(entry, 0)
	if transactional {
		entry[indexEntry-1] = 1
	}
	entry[0], entry[1] = 1, byte(crc32.Checksum(entry[2:], castagnoli))
	return entry
}

// abort appends the markers. A kill in between leaves some of them, and the next start appends the others.
func (l *partitionLog) abort() error {
	var markers []byte
	for _, producer := range slices.Sorted(maps.Keys(l.open)) {
		batch := abortMarker(l.next, l.epoch, producer, l.open[producer])
		l.next++
		markers = append(markers, batch...)
		l.index = append(l.index, encodeIndexEntry(l.epoch, time.Now().UnixMilli(), false)...)
	}
	// The index goes first: kfake cuts off what it has more than the segment, and not the other way round.
	name := filepath.Join(l.dir, strconv.FormatInt(l.last, 10))
	if err := os.WriteFile(name+".idx", l.index, 0o644); err != nil {
		return err
	}
	segment, err := os.OpenFile(name+".dat", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = segment.WriteAt(markers, l.size)
	if err == nil {
		err = segment.Truncate(l.size + int64(len(markers)))
	}
	return errors.Join(err, segment.Close())
}

// abortMarker is a control batch with one record (KIP-98).
func abortMarker(offset int64, leaderEpoch int32, producer int64, epoch int16) []byte {
	key := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeAbort}
	var value kmsg.EndTxnMarker
	record := kmsg.Record{Key: key.AppendTo(nil), Value: value.AppendTo(nil)}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // its own length is one byte, as a varint
	now := time.Now().UnixMilli()
	batch := kmsg.RecordBatch{
		FirstOffset: offset, PartitionLeaderEpoch: leaderEpoch, Magic: 2, Attributes: isTransactional | isControl,
		FirstTimestamp: now, MaxTimestamp: now, ProducerID: producer, ProducerEpoch: epoch, FirstSequence: -1,
		NumRecords: 1, Records: record.AppendTo(nil),
	}
	raw := batch.AppendTo(nil)
	batch.Length = int32(len(raw) - batchLeaderEpoch)
	batch.CRC = int32(crc32.Checksum(raw[batchAttributes:], castagnoli))
	return batch.AppendTo(nil)
}

// fence raises the epochs in pids.log, in the words of a transaction that has timed out.
func fence(path string, epochs map[int64]int16) error {
	if len(epochs) == 0 {
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out := raw[:wholeLogEntries(raw)]
	for _, producer := range slices.Sorted(maps.Keys(epochs)) {
		entry, err := json.Marshal(map[string]any{"type": "timeout", "pid": producer, "epoch": epochs[producer] + 1})
		if err != nil {
			return err
		}
		out = appendLogEntry(out, append(binary.LittleEndian.AppendUint16(nil, 1), entry...))
	}
	return replaceFile(path, out)
}
