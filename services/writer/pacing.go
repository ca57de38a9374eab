package main

import (
	"fmt"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// behindFactor is by how much longer a block stays open while the product is behind.
const behindFactor = 5

// flushAfter is the age at which a block closes. While more records wait at the broker, it may grow towards its greatest
// size instead: a large block costs ClickHouse half of what a small one does, and its first row is late anyway.
func (p *product) flushAfter() time.Duration {
	if p.behind {
		return behindFactor * p.config.FlushInterval
	}
	return p.config.FlushInterval
}

// fullness says whether the open block should close for its size, and whether all blocks of the writer take too much.
func (p *product) fullness() (full, crowded bool) {
	held := 0
	if p.job != nil {
		held += int(p.job.held.Load())
	}
	if p.spare != nil {
		held += p.spare.Footprint()
	}
	if p.missing != nil {
		held += int(p.missing.held.Load())
	}
	held += p.open.letterBytes + p.sorter.Footprint()
	full = p.open.letterBytes >= p.config.MaxBlockBytes
	if b := p.open.block; b != nil {
		held += b.Footprint()
		full = full || b.Rows() >= p.config.MaxBlockRows || b.Bytes() >= p.config.MaxBlockBytes
	}
	p.metrics.memory.WithLabelValues(p.topic).Set(float64(held))
	crowded = !p.budget.report(p.topic, held)
	// The plan has to fit the metadata of an offset.
	text := planHeadText + p.open.touched*maxRangeText + p.open.excluded*maxExcludedText
	return full || text > kafka.MaxMetadataBytes-planReserve, crowded
}

// smallBlocks is how many blocks a session begins with that are not full, each twice as large as the one before.
const smallBlocks = 2

// enough says that the open block is large enough for one of the first of its session: ClickHouse would be idle until a full one
// is made.
func (p *product) enough() bool {
	return p.begun < smallBlocks && p.open.block != nil && p.open.block.Rows() >= p.config.MaxBlockRows>>(smallBlocks-p.begun)
}

// planReserve is room, in bytes, for what the plans that repair this one have to say more.
const planReserve = 256

// maxExcludedText is the most characters of a run of excluded offsets: a batch closes the block long before ten digits.
const maxExcludedText = 18

// blockInterval is the least time between two blocks: the parts that all writers together make in a second stay within
// the contract, on which the horizon rests.
func (p *product) blockInterval() time.Duration {
	return time.Second * time.Duration(p.partitions) / time.Duration(p.partsPerSecond()*max(1, len(p.parts)))
}

// timeOf is how long rows take at the greatest rate that the writer is allowed.
func (p *product) timeOf(rows int) time.Duration {
	if p.config.MaxRowsPerSecond <= 0 {
		return 0
	}
	return time.Second * time.Duration(rows) / time.Duration(p.config.MaxRowsPerSecond)
}

func (p *product) partsPerSecond() int { return max(1, p.contract.Sink.MaxPartsPerSecond) }

// horizon is how long the table is sure to remember a block, in seconds: its window, at the greatest rate of blocks that
// the contract allows.
func (p *product) horizon() int64 { return int64(p.decoders.window() / p.partsPerSecond()) }

// minHorizon keeps deadline, execution and what follows apart, in seconds.
const minHorizon = 5

// checkHorizon refuses a window that is too small to insert anything within.
func (p *product) checkHorizon() error {
	if p.horizon() < minHorizon {
		return fmt.Errorf("table %s.%s remembers %d blocks, which at maxPartsPerSecond %d of contract %s are %d s; at least %d are needed: run `streamforge apply`, or lower the rate",
			p.spec.Database, p.spec.Table, p.decoders.window(), p.partsPerSecond(), p.contract.ID, p.horizon(), minHorizon)
	}
	return nil
}

// holdPatience is how long the writer stays away from polling while it has no room for more records.
const holdPatience = time.Second

// awaitRoom waits until there may be room in the open block, or until then, and says whether there may be. While it waits nothing is polled: to
// pause throws away what librdkafka (2.13.0) has fetched ahead, a quarter of the throughput of a writer that catches up, and
// nobody in the group notices a second.
func (p *product) awaitRoom(until time.Time) bool {
	now := time.Now()
	wait := until.Sub(now)
	if p.job == nil {
		// What else a block may wait for takes no time that is known.
		wait = min(wait, p.nextBlock.Sub(now))
	}
	if p.paused || wait <= 0 {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case j := <-p.done:
		p.finish(j)
		return true
	case <-timer.C:
		return p.job == nil
	}
}

// pause stops or resumes the fetching of all partitions that are not parked; polling goes on, so that the group's
// membership is kept however long ClickHouse is away.
func (p *product) pause(wanted bool) error {
	if wanted == p.paused {
		return nil
	}
	var parts []kafka.TopicPartition
	for number, part := range p.parts {
		if part.parked == "" {
			parts = append(parts, p.partitionName(number))
		}
	}
	p.paused = wanted
	if wanted {
		return p.consumer.Pause(parts)
	}
	return p.consumer.Resume(parts)
}
