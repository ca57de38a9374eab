// Package completeness proves that a table holds what its topic holds: it compares the offsets that a reader of Kafka sees with
// the rows' offsets, one by one, and the views with the table, bucket by bucket. It reads only, while the pipeline runs.
package completeness

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// Product is what is verified together.
type Product struct {
	Contract contract.Contract
	Views    []contract.View
	// Group that fills the table; empty is the writer's group of the topic.
	Group string
	// Schema is the self-contained text of the value's schema.
	Schema string
}

// Deps are where topics and tables are.
type Deps struct {
	Kafka      kafka.ClientConfig
	Admin      *kafka.Admin
	ClickHouse *clickhouse.Client
	// Time reads the time of a record's field, for those that the table does not hold: they may be past its TTL. A record that
	// cannot be read has no such time.
	Time func(ctx context.Context, r kafka.Record, field string) (at time.Time, ok bool, err error)
	// Round bounds the offsets that are held in memory together; 0 is a million.
	Round int64
	// AheadKBytes bounds what is fetched ahead from Kafka, in KiB; 0 for the default.
	AheadKBytes int
	// Settings of ClickHouse for every question, as a list in SQL.
	Settings string
}

// verification of one product.
type verification struct {
	Deps
	Product
	spec   ddl.Spec
	topic  kafka.TopicDescription
	report Report
	// committed are the offsets before which everything is judged, by partition.
	committed map[int32]int64
	all       *follower
	letters   letters
	compacted bool
	// only is what is compared of views; everything when it is zero.
	only window
	// beside are rows beside a letter that was open when it was read.
	beside []Run
	// failed says why the product could not be verified.
	failed error
}

// Verify compares products with their tables. One that cannot be compared has an error in its report; when none can, the error is
// Verify's. What is judged was committed before anything else was asked, and is therefore in
// the table, its views and the dead letters when those are read afterwards: a pipeline that runs gives no false alarm.
func Verify(ctx context.Context, deps Deps, products []Product) ([]Report, error) {
	all, failed := make([]*verification, len(products)), 0
	letters := follow(deps, maxLetters)
	for i, product := range products {
		v := newVerification(deps, product, letters)
		if v.failed = v.begin(ctx); v.failed != nil {
			failed++
		}
		all[i] = v
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if failed < len(all) {
		if err := letters.catchUp(ctx); err != nil {
			return nil, err
		}
	}
	var reports []Report
	var faults []error
	for _, v := range all {
		if v.failed == nil {
			v.letters = letters.of[v.box()]
			v.failed = v.compare(ctx)
		}
		if v.failed != nil {
			v.report.Error = v.failed.Error()
			faults = append(faults, fmt.Errorf("product %s: %w", v.Contract.ID, v.failed))
		}
		reports = append(reports, v.report)
	}
	if len(faults) == len(all) {
		return nil, errors.Join(faults...)
	}
	return reports, ctx.Err()
}

func newVerification(deps Deps, product Product, letters *follower) *verification {
	if deps.Round <= 0 {
		deps.Round = 1_000_000
	}
	return &verification{Deps: deps, Product: product, all: letters, report: Report{Topic: product.Contract.Topic.Name}}
}

// begin asks for what is committed, and whose it is.
func (v *verification) begin(ctx context.Context) error {
	name := v.Contract.Topic.Name
	described, err := v.Admin.Describe(ctx, name)
	if err != nil {
		return err
	}
	topic, ok := described[name]
	if !ok {
		return fmt.Errorf("topic %s: %w; create it with `streamforge apply`", name, kafka.ErrUnknownTopic)
	}
	if err := v.table(ctx); err != nil {
		return err
	}
	v.topic, v.compacted = topic, strings.Contains(topic.Configs["cleanup.policy"], "compact")
	v.report = Report{Topic: name, Table: v.spec.Table, TopicID: uuid.UUID(topic.ID).String()}
	v.committed = map[int32]int64{}
	offsets, err := v.Admin.GroupOffsets(ctx, v.group(), topic.TopicPartitions())
	if err != nil {
		return err
	}
	for _, c := range offsets {
		// An offset's metadata names the topic's id: what is committed of a topic that had the name before counts for nothing.
		if c.Offset >= 0 && (c.Metadata == "" || strings.Contains(c.Metadata, hex.EncodeToString(topic.ID[:]))) {
			v.committed[c.Partition] = c.Offset
		}
	}
	return nil
}

// table finds the product's table.
func (v *verification) table(ctx context.Context) (err error) {
	if v.spec, err = ddl.SpecOf(v.Contract, v.ClickHouse.Database()); err != nil {
		return err
	}
	table, err := v.ClickHouse.Table(ctx, v.spec.Database, v.spec.Table)
	if err == nil && !table.Exists {
		err = fmt.Errorf("table %s does not exist at %s; create it with `streamforge apply`", v.spec.Name(), v.ClickHouse.Address())
	}
	return err
}

func (v *verification) compare(ctx context.Context) error {
	held, err := v.Admin.Offsets(ctx, v.topic.TopicPartitions(), true)
	if err != nil {
		return err
	}
	bounds, err := v.bounds(ctx)
	if err != nil {
		return err
	}
	var gone, judged []Run
	for _, tp := range v.topic.TopicPartitions() {
		committed, known := v.committed[tp.Partition]
		earliest := held[tp].Earliest
		if !known {
			v.report.Pending += held[tp].Latest - earliest
			continue
		}
		v.report.Pending += max(0, held[tp].Latest-max(earliest, committed))
		v.report.Unread += max(0, earliest-committed)
		judged = append(judged, Run{tp.Partition, earliest, committed})
		if b, has := bounds[tp.Partition]; has {
			gone = append(gone, Run{tp.Partition, b.From, min(earliest, committed)})
		}
	}
	for _, round := range rounds(gone, v.Round) {
		if err := v.rowsOnly(ctx, round); err != nil {
			return err
		}
	}
	if err := v.judge(ctx, judged, bounds); err != nil {
		return err
	}
	for _, view := range v.Views {
		if err := v.view(ctx, view); err != nil {
			return fmt.Errorf("view %s: %w", view.Name, err)
		}
	}
	return nil
}

// judge compares the records of runs with their rows. Rows outside of bounds are not looked for where there are none.
func (v *verification) judge(ctx context.Context, runs []Run, bounds map[int32]Run) error {
	var foreign []Run
	for _, round := range rounds(runs, v.Round) {
		found, err := v.round(ctx, round)
		if err != nil {
			return err
		}
		foreign = append(foreign, found...)
	}
	return v.end(ctx, bounds, foreign)
}

// round compares the records of some runs, one a partition, with their rows. It returns rows that have no record: their judgement
// has to wait until Kafka has been asked again where it begins.
func (v *verification) round(ctx context.Context, runs []Run) (foreign []Run, err error) {
	held := map[int32]offsetSet{}
	ranges := map[kafka.TopicPartition]kafka.OffsetRange{}
	for _, r := range runs {
		held[r.Partition] = newOffsetSet(r)
		ranges[v.partition(r)] = kafka.OffsetRange{Earliest: r.From, Latest: r.To}
	}
	err = v.read(ctx, ranges, func(r kafka.Record) error {
		v.report.Records++
		if r.Value == nil {
			v.report.Tombstones++ // It is no row, in whatever way it is read.
		} else {
			held[r.Partition].add(r.Offset)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sums, err := v.sums(ctx, runs)
	if err != nil {
		return nil, err
	}
	for _, run := range runs {
		set := held[run.Partition]
		expected := v.letters[run.Partition].apart(set, run)
		if got := sums[run.Partition]; expected.sum() == got {
			v.report.Rows += int64(got.rows)
			v.report.Letters += set.count() - expected.count()
			continue
		}
		found, err := v.exactly(ctx, run, set)
		if err != nil {
			return nil, err
		}
		foreign = append(foreign, found...)
	}
	return foreign, nil
}

func (v *verification) read(ctx context.Context, ranges map[kafka.TopicPartition]kafka.OffsetRange, read func(kafka.Record) error) error {
	return kafka.ReadRangesAhead(ctx, v.Kafka, v.AheadKBytes, ranges, read)
}

func (v *verification) partition(r Run) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: v.topic.Name, Partition: r.Partition}
}

// exactly finds the offsets of a run that are wrong.
func (v *verification) exactly(ctx context.Context, run Run, held offsetSet) (foreign []Run, err error) {
	rows, copies, err := v.rows(ctx, run)
	if err != nil {
		return nil, err
	}
	j := judgementOf(run, held, rows, v.letters[run.Partition])
	v.report.Rows += j.rows
	v.report.Letters += j.letters
	v.beside = append(v.beside, j.beside...)
	v.doubled(copies)
	return j.foreign, v.missing(ctx, j.missing)
}

// judgement of a run whose rows are not what its records let one expect.
type judgement struct {
	rows, letters int64
	// missing have neither row nor letter; foreign rows have no record; beside are rows beside an open letter.
	missing, foreign, beside []Run
}

func judgementOf(run Run, held, rows offsetSet, of partitionLetters) (j judgement) {
	held.each(func(offset int64) {
		kind := of[offset]
		switch has := rows.has(offset); {
		case has && kind == letterOpen:
			j.letters++
			j.beside = appendOffset(j.beside, run.Partition, offset)
		case has:
			j.rows++
		case kind == letterOpen || kind == letterMoving:
			j.letters++
		default:
			j.missing = appendOffset(j.missing, run.Partition, offset)
		}
	})
	j.foreign = rows.minus(held, run.Partition)
	return j
}

// missing reads the records of a partition that have no row once more, all in one reading: the table may have dropped them for
// their age.
func (v *verification) missing(ctx context.Context, runs []Run) error {
	if len(runs) == 0 {
		return nil
	}
	whole := Run{runs[0].Partition, runs[0].From, runs[len(runs)-1].To}
	wanted, lost := newOffsetSet(whole), newOffsetSet(whole)
	for _, r := range runs {
		for offset := r.From; offset < r.To; offset++ {
			wanted.add(offset)
		}
	}
	// What Kafka's retention took in between the two readings cannot be judged any more.
	v.report.Records -= wanted.count()
	ranges := map[kafka.TopicPartition]kafka.OffsetRange{v.partition(whole): {Earliest: whole.From, Latest: whole.To}}
	err := v.read(ctx, ranges, func(r kafka.Record) error {
		if !wanted.has(r.Offset) {
			return nil
		}
		old, err := v.pastTTL(ctx, r)
		if old {
			v.report.PastTTL++
		} else {
			lost.add(r.Offset)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range lost.minus(newOffsetSet(whole), whole.Partition) {
		v.report.Lost += r.To - r.From
		v.report.fault(Lost, r, v.showRows(r))
	}
	return nil
}

func (v *verification) pastTTL(ctx context.Context, r kafka.Record) (bool, error) {
	v.report.Records++
	if v.spec.TTLDays == 0 || v.Time == nil {
		return false, nil
	}
	at, ok, err := v.Time(ctx, r, v.spec.TTLColumn)
	return ok && at.AddDate(0, 0, v.spec.TTLDays).Before(time.Now()), err
}

// end asks Kafka again: the topic has to be the same, and a row without a record is none that retention or compaction took.
func (v *verification) end(ctx context.Context, bounds map[int32]Run, foreign []Run) error {
	id, err := v.Admin.TopicID(ctx, v.topic.Name)
	if err != nil {
		return err
	}
	if id != v.topic.ID {
		return fmt.Errorf("topic %s was made again meanwhile, its id was %s and is %s; verify once more", v.topic.Name, uuid.UUID(v.topic.ID), uuid.UUID(id))
	}
	held, err := v.Admin.Offsets(ctx, v.topic.TopicPartitions(), true)
	if err != nil {
		return err
	}
	var found []Run
	for _, r := range foreign {
		cut := Run{r.Partition, max(r.From, held[v.partition(r)].Earliest), r.To}
		if v.compacted || cut.From >= cut.To {
			v.report.OnlyRows += r.To - r.From
			continue
		}
		v.report.OnlyRows += cut.From - r.From
		found = append(found, cut)
	}
	for partition, b := range bounds {
		from, known := b.From, int(partition) < v.topic.Partitions
		if known {
			from = held[v.partition(b)].Latest // Nothing can stand in the table that nobody could read.
		}
		if b.To > from {
			found = append(found, Run{partition, max(from, b.From), b.To})
		}
	}
	sortRuns(found)
	if err := v.foreign(ctx, found); err != nil || len(v.beside) == 0 {
		return err
	}
	// A letter that has been replayed since it was read stands beside no row.
	err = v.all.catchUp(ctx)
	for _, run := range v.beside {
		for offset := run.From; offset < run.To; offset++ {
			if v.all.of[v.box()][run.Partition][offset] == letterOpen {
				one := Run{run.Partition, offset, offset + 1}
				v.report.Duplicated++
				v.report.fault(Duplicated, one, v.showRows(one))
			}
		}
	}
	return err
}

func (v *verification) box() letterBox { return letterBox{v.group(), v.topic.ID} }

func (p *Product) group() string {
	return cmp.Or(p.Group, contract.WriterGroup(p.Contract.Topic.Name))
}
