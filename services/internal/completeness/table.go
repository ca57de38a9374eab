package completeness

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// where restricts a question to rows of the topic, in some runs of offsets.
func (v *verification) where(runs ...Run) string {
	parts := make([]string, len(runs))
	for i, r := range runs {
		parts[i] = fmt.Sprintf("_partition = %d AND _offset >= %d AND _offset < %d", r.Partition, r.From, r.To)
	}
	ranges := parts[0]
	if len(parts) > 1 {
		ranges = "(" + strings.Join(parts, " OR ") + ")"
	}
	return fmt.Sprintf("_topic_id = toUUID('%s') AND %s", v.report.TopicID, ranges)
}

func (v *verification) showRows(r Run) string {
	return fmt.Sprintf("SELECT * FROM %s WHERE %s", v.spec.Name(), v.where(r))
}

// ask hands every row of an answer to scan.
func (v *verification) ask(ctx context.Context, query string, scan func(*sql.Rows) error) error {
	if v.Settings != "" {
		query += " SETTINGS " + v.Settings
	}
	rows, err := v.ClickHouse.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// bounds asks for the first and last row of each partition, and how many rows are of topics that had the name before: the table's
// projection answers it.
func (v *verification) bounds(ctx context.Context) (map[int32]Run, error) {
	found := map[int32]Run{}
	query := "SELECT toString(_topic_id), _partition, min(_offset), max(_offset), count() FROM " + v.spec.Name() + " GROUP BY _topic_id, _partition"
	return found, v.ask(ctx, query, func(rows *sql.Rows) error {
		var id string
		var partition int32
		var first, last int64
		var n uint64
		if err := rows.Scan(&id, &partition, &first, &last, &n); err != nil {
			return err
		}
		if id == v.report.TopicID {
			found[partition] = Run{partition, first, last + 1}
		} else {
			v.report.EarlierRows += int64(n)
		}
		return nil
	})
}

// sums asks for what tells the rows of runs apart from others, by partition.
func (v *verification) sums(ctx context.Context, runs []Run) (map[int32]sum, error) {
	found := map[int32]sum{}
	query := "SELECT _partition, count(), uniqExact(_offset), sum(intHash64(_offset)) FROM " + v.spec.Name() + " WHERE " + v.where(runs...) + " GROUP BY _partition"
	return found, v.ask(ctx, query, func(rows *sql.Rows) error {
		var partition int32
		var s sum
		err := rows.Scan(&partition, &s.rows, &s.distinct, &s.hash)
		found[partition] = s
		return err
	})
}

// doubling is an offset with more rows than one.
type doubling struct {
	Run
	copies int64
}

// rows asks for every row of a run.
func (v *verification) rows(ctx context.Context, run Run) (found offsetSet, doubled []doubling, err error) {
	found = newOffsetSet(run)
	query := "SELECT _offset, count() FROM " + v.spec.Name() + " WHERE " + v.where(run) + " GROUP BY _offset ORDER BY _offset"
	err = v.ask(ctx, query, func(rows *sql.Rows) error {
		var offset int64
		var n uint64
		if err := rows.Scan(&offset, &n); err != nil {
			return err
		}
		found.add(offset)
		if n > 1 {
			doubled = append(doubled, doubling{Run{run.Partition, offset, offset + 1}, int64(n)})
		}
		return nil
	})
	return found, doubled, err
}

func (v *verification) doubled(all []doubling) {
	for _, d := range all {
		v.report.Duplicated += d.copies - 1
		v.report.fault(Duplicated, d.Run, v.showRows(d.Run))
	}
}

// rowsOnly looks for doubles where Kafka has no records any more.
func (v *verification) rowsOnly(ctx context.Context, runs []Run) error {
	sums, err := v.sums(ctx, runs)
	if err != nil {
		return err
	}
	for _, run := range runs {
		s := sums[run.Partition]
		v.report.OnlyRows += int64(s.distinct)
		if s.rows == s.distinct {
			continue
		}
		_, copies, err := v.rows(ctx, run)
		if err != nil {
			return err
		}
		v.doubled(copies)
	}
	return nil
}

// foreign counts the rows of runs that have no record.
func (v *verification) foreign(ctx context.Context, runs []Run) error {
	for _, run := range runs {
		err := v.ask(ctx, "SELECT count() FROM "+v.spec.Name()+" WHERE "+v.where(run), func(rows *sql.Rows) error {
			var n uint64
			err := rows.Scan(&n)
			v.report.Foreign += int64(n)
			return err
		})
		if err != nil {
			return err
		}
		v.report.fault(Foreign, run, v.showRows(run))
	}
	return nil
}
