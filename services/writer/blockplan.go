package main

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// blockPlan names a whole block before it is inserted, so that whoever takes over can make the same rows again and insert
// them under the same token. It is kept as the metadata of the offsets of every partition of the block.
type blockPlan struct {
	// Created is when the block was planned, in seconds since 1970: outside of the deduplication horizon its token proves
	// nothing any more.
	Created int64
	TopicID [16]byte
	Rows    int
	// Hash of the rows' records, independent of their order.
	Hash   uint64
	Ranges []planRange
}

// planRange is a part of a partition: From inclusive, To exclusive, without the Excluded offsets (bad rows, which went to
// dead letters, and tombstones, which are no rows).
type planRange struct {
	Partition int32
	From, To  int64
	Excluded  []int64
}

// planVersion stands first in the text; a plan of a version that is not known is not guessed at.
const planVersion = "sf1"

// String is the plan's text: ASCII, below kafka.MaxMetadataBytes when the block was closed in time.
//
//	sf1 <created> <topic id> <rows> <hash> <partition>:<from>+<length>[!<excluded-from>,…] …
func (p blockPlan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d %s %d %016x", planVersion, p.Created, hex.EncodeToString(p.TopicID[:]), p.Rows, p.Hash)
	for _, r := range p.Ranges {
		fmt.Fprintf(&b, " %d:%d+%d", r.Partition, r.From, r.To-r.From)
		for i, offset := range r.Excluded {
			separator := byte(',')
			if i == 0 {
				separator = '!'
			}
			b.WriteByte(separator)
			b.WriteString(strconv.FormatInt(offset-r.From, 10))
		}
	}
	return b.String()
}

// maxRangeText is the most characters that one range takes without its excluded offsets.
const maxRangeText = 1 + 10 + 1 + 19 + 1 + 10

// planHeadText is the most characters before the ranges.
const planHeadText = 96

// parsePlan reads a plan's text.
func parsePlan(text string) (blockPlan, error) {
	var p blockPlan
	words := strings.Split(text, " ")
	if len(words) < 5 || words[0] != planVersion {
		return p, fmt.Errorf("plan %.40q is not of version %s", text, planVersion)
	}
	var err error
	read := func(parse func() error) {
		if err == nil {
			err = parse()
		}
	}
	read(func() (e error) { p.Created, e = strconv.ParseInt(words[1], 10, 64); return })
	read(func() error {
		id, e := hex.DecodeString(words[2])
		if e == nil && len(id) != 16 {
			e = fmt.Errorf("topic id of %d bytes", len(id))
		}
		copy(p.TopicID[:], id)
		return e
	})
	read(func() (e error) { p.Rows, e = strconv.Atoi(words[3]); return })
	read(func() (e error) { p.Hash, e = strconv.ParseUint(words[4], 16, 64); return })
	for _, word := range words[5:] {
		read(func() error {
			r, e := parseRange(word)
			p.Ranges = append(p.Ranges, r)
			return e
		})
	}
	if err != nil {
		return blockPlan{}, fmt.Errorf("reading plan %.200q: %w", text, err)
	}
	return p, nil
}

func parseRange(word string) (planRange, error) {
	var r planRange
	word, excluded, has := strings.Cut(word, "!")
	partition, rest, _ := strings.Cut(word, ":")
	from, length, _ := strings.Cut(rest, "+")
	number, err := strconv.ParseInt(partition, 10, 32)
	if err != nil {
		return r, err
	}
	r.Partition = int32(number)
	if r.From, err = strconv.ParseInt(from, 10, 64); err != nil {
		return r, err
	}
	if number, err = strconv.ParseInt(length, 10, 64); err != nil {
		return r, err
	}
	r.To = r.From + number
	if r.Partition < 0 || r.From < 0 || r.To < r.From || number < 0 {
		return r, fmt.Errorf("range %.60q is not one of offsets", word)
	}
	if has {
		for _, text := range strings.Split(excluded, ",") {
			if number, err = strconv.ParseInt(text, 10, 64); err != nil {
				return r, err
			}
			if number < 0 || number >= r.To-r.From {
				return r, fmt.Errorf("excluded offset %d is not in range %.60q", number, word)
			}
			r.Excluded = append(r.Excluded, r.From+number)
		}
	}
	return r, nil
}

// token is what ClickHouse knows the block by. The time of planning is not part of it: the same rows are the same block.
func (p blockPlan) token(clusterID, table string) string {
	p.Created = 0
	text := clusterID + "\x00" + table + "\x00" + p.String()
	return fmt.Sprintf("%016x%016x", xxhash.Sum64String(text), xxhash.Sum64String("streamforge\x00"+text))
}

// rangeOf returns the plan's part of a partition.
func (p blockPlan) rangeOf(partition int32) (planRange, bool) {
	i := slices.IndexFunc(p.Ranges, func(r planRange) bool { return r.Partition == partition })
	if i < 0 {
		return planRange{}, false
	}
	return p.Ranges[i], true
}

// begins are the offsets to commit when the block is planned; ends when it is in the table.
func (p blockPlan) begins(topic string) []kafka.Committed {
	text := p.String()
	var offsets []kafka.Committed
	for _, r := range p.Ranges {
		offsets = append(offsets, kafka.Committed{TopicPartition: kafka.TopicPartition{Topic: topic, Partition: r.Partition}, Offset: r.From, Metadata: text})
	}
	return offsets
}

// sort puts the ranges in order, so that equal blocks have equal texts.
func (p blockPlan) sort() {
	slices.SortFunc(p.Ranges, func(a, b planRange) int { return int(a.Partition) - int(b.Partition) })
}

// age of the plan.
func (p blockPlan) age(now time.Time) time.Duration {
	return now.Sub(time.Unix(p.Created, 0))
}

// recordHash is a record's share of the plan's hash. Shares are added up, so that a partition read alone and partitions
// read in turns give the same sum.
func recordHash(partition int32, offset int64, value []byte) uint64 {
	h := xxhash.Sum64(value) ^ (uint64(partition)<<48|uint64(offset))*0x9E3779B97F4A7C15
	return h * 0xff51afd7ed558ccd
}
