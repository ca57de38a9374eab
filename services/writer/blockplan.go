package main

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// blockPlan names a whole block before it is inserted, so that whoever takes over can make the same rows again and insert
// them under the same token. It is kept as the metadata of the offsets of every partition of the block.
type blockPlan struct {
	// Created is when the block was planned, in seconds since 1970.
	Created int64
	// Horizon is for how many seconds after that the table and the targets of its views are sure to remember the token. It
	// stands in the plan, so that every writer knows the same deadline, however it is configured.
	Horizon int64
	TopicID [16]byte
	// Number is 0, or one more than that of the plan which this one repairs: the two are never taken for each other.
	Number int
	Rows   int
	// Hash of the rows' records, independent of their order.
	Hash   uint64
	Ranges []planRange
}

// planRange is a part of a partition: From inclusive, To exclusive, without the runs in Excluded: bad rows, which went to
// dead letters, and in a repair what the table has already. What stands at Cut and behind is not in this block: when it is in
// the table, the table is asked for the rest.
type planRange struct {
	Partition     int32
	From, Cut, To int64
	Excluded      []offsetRun
}

// offsetRun is a run of offsets, From inclusive, To exclusive.
type offsetRun struct{ From, To int64 }

// exclude adds an offset, which is not before the last one added.
func exclude(runs []offsetRun, offset int64) []offsetRun {
	if n := len(runs); n > 0 && runs[n-1].To >= offset {
		runs[n-1].To = max(runs[n-1].To, offset+1)
		return runs
	}
	return append(runs, offsetRun{offset, offset + 1})
}

// excludes says whether an offset of the range is known to be no row that has to be inserted.
func (r planRange) excludes(offset int64) bool {
	i, _ := slices.BinarySearchFunc(r.Excluded, offset, func(run offsetRun, offset int64) int {
		if run.To <= offset {
			return -1
		}
		return 1
	})
	return i < len(r.Excluded) && r.Excluded[i].From <= offset
}

// planVersion stands first in the text; a plan of a version that is not known is not guessed at.
const planVersion = "sf2"

// String is the plan's text: ASCII, below kafka.MaxMetadataBytes when the block was closed in time.
//
//	sf2 <created>+<horizon> <topic id> <number> <rows> <hash> <partition>:<from>+<length>[~<cut>][!<excluded>[-<last excluded>],…] …
func (p blockPlan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d+%d %s %d %d %016x", planVersion, p.Created, p.Horizon, hex.EncodeToString(p.TopicID[:]), p.Number, p.Rows, p.Hash)
	for _, r := range p.Ranges {
		fmt.Fprintf(&b, " %d:%d+%d", r.Partition, r.From, r.To-r.From)
		if r.Cut < r.To {
			fmt.Fprintf(&b, "~%d", r.Cut-r.From)
		}
		for i, run := range r.Excluded {
			separator := byte(',')
			if i == 0 {
				separator = '!'
			}
			b.WriteByte(separator)
			b.WriteString(strconv.FormatInt(run.From-r.From, 10))
			if run.To-run.From > 1 {
				b.WriteByte('-')
				b.WriteString(strconv.FormatInt(run.To-1-r.From, 10))
			}
		}
	}
	return b.String()
}

// maxRangeText is the most characters that one range takes without its excluded offsets.
const maxRangeText = 1 + 10 + 1 + 19 + 1 + 10 + 1 + 10

// planHeadText is the most characters before the ranges.
const planHeadText = 120

// parsePlan reads a plan's text.
func parsePlan(text string) (blockPlan, error) {
	var p blockPlan
	words := strings.Split(text, " ")
	if len(words) < 6 || words[0] != planVersion {
		return p, fmt.Errorf("plan %.40q is not of version %s", text, planVersion)
	}
	var err error
	read := func(parse func() error) {
		if err == nil {
			err = parse()
		}
	}
	created, horizon, _ := strings.Cut(words[1], "+")
	read(func() (e error) { p.Created, e = strconv.ParseInt(created, 10, 64); return })
	read(func() (e error) { p.Horizon, e = strconv.ParseInt(horizon, 10, 64); return })
	read(func() error {
		id, e := hex.DecodeString(words[2])
		if e == nil && len(id) != 16 {
			e = fmt.Errorf("topic id of %d bytes", len(id))
		}
		copy(p.TopicID[:], id)
		return e
	})
	read(func() (e error) { p.Number, e = strconv.Atoi(words[3]); return })
	read(func() (e error) { p.Rows, e = strconv.Atoi(words[4]); return })
	read(func() (e error) { p.Hash, e = strconv.ParseUint(words[5], 16, 64); return })
	for _, word := range words[6:] {
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
	from, rest, _ := strings.Cut(rest, "+")
	length, cut, isCut := strings.Cut(rest, "~")
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
	r.Cut = r.To
	if isCut {
		if r.Cut, err = strconv.ParseInt(cut, 10, 64); err != nil {
			return r, err
		}
		if r.Cut < 0 || r.Cut >= number {
			return r, fmt.Errorf("cut of range %.60q is not in it", word)
		}
		r.Cut += r.From
	}
	if r.Partition < 0 || r.From < 0 || r.To < r.From || number < 0 {
		return r, fmt.Errorf("range %.60q is not one of offsets", word)
	}
	if has {
		for text := range strings.SplitSeq(excluded, ",") {
			run, err := r.parseRun(text)
			if err != nil {
				return r, err
			}
			r.Excluded = append(r.Excluded, run)
		}
	}
	return r, nil
}

// parseRun reads the run behind the last one.
func (r planRange) parseRun(text string) (offsetRun, error) {
	first, last, several := strings.Cut(text, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return offsetRun{}, err
	}
	to := from
	if several {
		if to, err = strconv.ParseInt(last, 10, 64); err != nil {
			return offsetRun{}, err
		}
	}
	run := offsetRun{r.From + from, r.From + to + 1}
	begin := r.From
	if n := len(r.Excluded); n > 0 {
		begin = r.Excluded[n-1].To + 1
	}
	if from < 0 || to < from || to >= r.To-r.From || run.From < begin || several && to == from {
		return offsetRun{}, fmt.Errorf("excluded offsets %.40q are not in order and in range [%d, %d)", text, r.From, r.To)
	}
	return run, nil
}

// lease says that somebody began to rebuild what views have of an old plan's rows. It stands before the plan in the metadata of
// the offsets of his share. Until its horizon is past his statements may still be under way, so that nobody else begins.
type lease struct {
	// Created and Horizon are in seconds, as a plan's; both are 0 where there is none.
	Created, Horizon int64
}

// leaseVersion stands first in the text of a lease.
const leaseVersion = "sf2-lease"

// text of a lease on a plan.
//
//	sf2-lease <created>+<horizon> <plan>
func (l lease) text(plan blockPlan) string {
	return fmt.Sprintf("%s %d+%d %s", leaseVersion, l.Created, l.Horizon, plan)
}

// parseLease reads what a lease's text begins with, and returns the plan's text.
func parseLease(text string) (lease, string, error) {
	words := strings.SplitN(text, " ", 3)
	if len(words) != 3 || words[0] != leaseVersion {
		return lease{}, "", fmt.Errorf("lease %.40q is not of version %s", text, leaseVersion)
	}
	var l lease
	created, horizon, _ := strings.Cut(words[1], "+")
	var err error
	if l.Created, err = strconv.ParseInt(created, 10, 64); err == nil {
		l.Horizon, err = strconv.ParseInt(horizon, 10, 64)
	}
	if err != nil {
		return lease{}, "", fmt.Errorf("reading lease %.200q: %w", text, err)
	}
	return l, words[2], nil
}

// later is the one of two leases that is out longer.
func (l lease) later(other lease) lease {
	if other.Created+other.Horizon > l.Created+l.Horizon {
		return other
	}
	return l
}

// settled says whether no statement of the lease can be under way any more, nor begin.
func (l lease) settled(now time.Time) bool { return settled(l.Created, l.Horizon, now) }

// The share of its horizon within which a plan's insert may begin at the server, and within which the server has to end
// it. What is left keeps the clocks of writers and server apart.
const (
	deadlinePercent  = 70
	executionPercent = 20
)

// deadline after which the server refuses the plan's insert, in seconds since 1970.
func (p blockPlan) deadline() int64 { return deadline(p.Created, p.Horizon) }

// deadline of a lease's statements, the same.
func (l lease) deadline() int64 { return deadline(l.Created, l.Horizon) }

func deadline(created, horizon int64) int64 { return created + horizon*deadlinePercent/100 }

// execution is how long an insert may take at the server.
func (p blockPlan) execution() time.Duration { return execution(p.Horizon) }

// execution is how long each of a lease's statements may take, the same.
func (l lease) execution() time.Duration { return execution(l.Horizon) }

func execution(horizon int64) time.Duration {
	return max(time.Second, time.Duration(horizon)*time.Second*executionPercent/100)
}

// insertable says whether the plan's insert may still be sent.
func (p blockPlan) insertable(now time.Time) bool { return now.Unix() < p.deadline() }

// settled says whether no insert of the plan can be under way any more, nor begin.
func (p blockPlan) settled(now time.Time) bool { return settled(p.Created, p.Horizon, now) }

func settled(created, horizon int64, now time.Time) bool { return now.Unix() > created+horizon }

// token is what ClickHouse knows the block by. The table refuses it after the deadline that it names.
func (p blockPlan) token(clusterID, table string) string {
	text := clusterID + "\x00" + table + "\x00" + p.String()
	return fmt.Sprintf("%s%d-%016x%016x", ddl.TokenPrefix, p.deadline(), xxhash.Sum64String(text), xxhash.Sum64String("streamforge\x00"+text))
}

// rangeOf returns the plan's part of a partition.
func (p blockPlan) rangeOf(partition int32) (planRange, bool) {
	i := slices.IndexFunc(p.Ranges, func(r planRange) bool { return r.Partition == partition })
	if i < 0 {
		return planRange{}, false
	}
	return p.Ranges[i], true
}

// more says that the table is to be asked for the rest, once the block is in it.
func (p blockPlan) more() bool {
	return slices.ContainsFunc(p.Ranges, func(r planRange) bool { return r.Cut < r.To })
}

// rest is what a plan leaves for later, when all before is in the table.
func (p blockPlan) rest() blockPlan {
	p.Ranges = slices.Clone(p.Ranges)
	for i := range p.Ranges {
		r := &p.Ranges[i]
		r.From = r.Cut
		var excluded []offsetRun
		for _, run := range r.Excluded {
			if run.From = max(run.From, r.From); run.From < run.To {
				excluded = append(excluded, run)
			}
		}
		r.Excluded = excluded
	}
	return p
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

// of is the part of a plan that lies in some of its partitions.
func (p blockPlan) of(partitions []int32) blockPlan {
	p.Ranges = slices.DeleteFunc(slices.Clone(p.Ranges), func(r planRange) bool { return !slices.Contains(partitions, r.Partition) })
	return p
}

// leased are the offsets to commit when a lease is taken for some of the plan's partitions.
func (p blockPlan) leased(topic string, l lease, partitions map[int32]bool) []kafka.Committed {
	text := l.text(p)
	var offsets []kafka.Committed
	for _, r := range p.Ranges {
		if partitions[r.Partition] {
			offsets = append(offsets, kafka.Committed{TopicPartition: kafka.TopicPartition{Topic: topic, Partition: r.Partition}, Offset: r.From, Metadata: text})
		}
	}
	return offsets
}

// sort puts the ranges in order, so that equal blocks have equal texts.
func (p blockPlan) sort() {
	slices.SortFunc(p.Ranges, func(a, b planRange) int { return int(a.Partition) - int(b.Partition) })
}

// recordHash is a record's share of the plan's hash. Shares are added up, so that a partition read alone and partitions
// read in turns give the same sum.
func recordHash(partition int32, offset int64, value []byte) uint64 {
	h := xxhash.Sum64(value) ^ (uint64(partition)<<48|uint64(offset))*0x9E3779B97F4A7C15
	return h * 0xff51afd7ed558ccd
}
