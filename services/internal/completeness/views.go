package completeness

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// viewQuestion compares one resolution of a view with what the product's table gives when all of it is added up again.
type viewQuestion struct {
	tables ddl.ViewTables
	// filled adds up the source's rows in this resolution's states; sourceMark stands for the source.
	filled string
	// keys are a bucket's group and time.
	keys string
	// column of the table that tells its rows' age, and how far the view's time may be away from it.
	column string
	reach  time.Duration
	// since is the begin of the first bucket whose rows are all within every TTL.
	since time.Time
}

// sourceMark stands for the source in a text that is made once.
const sourceMark = "{source}"

// view compares every resolution of a view. One that is made from a finer one is added up from the table, too: a fault of the
// finer is not the coarser's.
func (v *verification) view(ctx context.Context, view contract.View) error {
	all, err := ddl.Views(view, v.Contract, v.Schema, v.spec.Database, ddl.Options{})
	if err != nil {
		return err
	}
	fills := map[string]string{v.spec.Table: sourceMark}
	column, reach := v.tableTime(view)
	for i, tables := range all {
		exists, err := v.ClickHouse.Table(ctx, tables.Target.Database, tables.Target.Table)
		if err != nil {
			return err
		}
		if !exists.Exists {
			return fmt.Errorf("%s does not exist; create it with `streamforge apply`", tables.Target.Name())
		}
		from := ddl.QuoteName(v.spec.Database) + "." + ddl.QuoteName(tables.From) + " AS"
		filled := strings.Replace(tables.FillSelect, "FROM "+from, "FROM ("+fills[tables.From]+") AS", 1)
		fills[tables.Target.Table] = filled
		q := viewQuestion{tables: tables, filled: filled, keys: keysOf(view), column: column, reach: reach, since: v.sinceOf(view, view.Every[i])}
		if err := v.resolution(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

func keysOf(view contract.View) string {
	var b strings.Builder
	for _, name := range view.GroupBy {
		b.WriteString(ddl.QuoteName(name) + ", ")
	}
	return b.String() + "time"
}

// sinceOf leaves out the buckets that hold a row which the table may have dropped for its age already, and those that the view may have.
func (v *verification) sinceOf(view contract.View, r contract.Resolution) time.Time {
	since := time.Unix(0, 0)
	later := func(days int, margin time.Duration) {
		if at := time.Now().AddDate(0, 0, -days).Add(margin); days > 0 && at.After(since) {
			since = at
		}
	}
	// An hour is for the time that the questions take; DateTime's TTL counts from a bucket's begin.
	later(v.spec.TTLDays, time.Duration(view.Time.WithinHours)*time.Hour+time.Hour)
	later(r.TTLDays, time.Hour)
	return since.UTC().Truncate(time.Second)
}

// resolution compares day by day, so that memory is a day's.
func (v *verification) resolution(ctx context.Context, q viewQuestion) error {
	report := View{Name: q.tables.Reader}
	windows, err := v.windows(ctx, q)
	if err != nil {
		return err
	}
	for _, part := range windows {
		found, err := v.differing(ctx, q, part)
		if err != nil {
			return err
		}
		report.Buckets += found.buckets
		if len(found.keys) == 0 {
			continue
		}
		pending, err := v.pendingBuckets(ctx, q, part)
		if err != nil {
			return err
		}
		// A replay brings a row whose offset was committed long ago: what differs has to differ again.
		again, err := v.differing(ctx, q, part)
		if err != nil {
			return err
		}
		for _, key := range again.keys {
			switch {
			case pending[key]:
				report.Pending++
			case slices.Contains(found.keys, key):
				report.Differing++
				if len(report.Faults) < maxFaults {
					report.Faults = append(report.Faults, Bucket{key, v.showBucket(q, part, key)})
				}
			}
		}
		report.Differing += again.differing - int64(len(again.keys))
	}
	v.report.Views = append(v.report.Views, report)
	return nil
}

// tableTime is the column that the table is cut up by, and from which the view's time is at most so far away.
func (v *verification) tableTime(view contract.View) (column string, reach time.Duration) {
	if view.Time.Else == "" {
		return ddl.QuoteName(view.Time.Column), 0
	}
	return ddl.QuoteName(view.Time.Else), time.Duration(view.Time.WithinHours) * time.Hour
}

// window of a view's time, from inclusive, to exclusive.
type window struct{ from, to time.Time }

// windows are the days that the table or the view may have anything of, by the view's time.
func (v *verification) windows(ctx context.Context, q viewQuestion) (all []window, err error) {
	if v.only != (window{}) {
		return []window{v.only}, nil
	}
	days := int64((q.reach + 24*time.Hour - 1) / (24 * time.Hour))
	query := fmt.Sprintf("SELECT DISTINCT day FROM (SELECT arrayJoin(arrayMap(d -> toDate(%s, 'UTC') + d, range(-%d, %d))) AS day FROM %s"+
		" UNION ALL SELECT toDate(time, 'UTC') AS day FROM %s) WHERE day >= toDate('%s') ORDER BY day",
		q.column, days, days+1, v.spec.Name(), q.tables.Target.Name(), q.since.Format(time.DateOnly))
	err = v.ask(ctx, query, func(rows *sql.Rows) error {
		var day time.Time
		err := rows.Scan(&day)
		all = append(all, window{day, day.AddDate(0, 0, 1)})
		return err
	})
	return all, err
}

// expected is what the view should show of a window, from the rows of the table that pass the condition.
func (v *verification) expected(q viewQuestion, w window, condition string) string {
	source := fmt.Sprintf("SELECT * FROM %s WHERE %s >= toDateTime('%s', 'UTC') AND %s < toDateTime('%s', 'UTC')", v.spec.Name(),
		q.column, w.from.Add(-q.reach).Format(time.DateTime), q.column, w.to.Add(q.reach).Format(time.DateTime))
	if condition != "" {
		source += " AND (" + condition + ")"
	}
	filled := strings.ReplaceAll(q.filled, sourceMark, source)
	return strings.Replace(q.tables.ReaderSelect, "FROM "+q.tables.Target.Name()+" AS s", "FROM ("+filled+") AS s", 1)
}

// within restricts to the buckets of a window that are judged.
func (q viewQuestion) within(w window) string {
	from := w.from
	if q.since.After(from) {
		from = q.since
	}
	return fmt.Sprintf("time >= toDateTime('%s', 'UTC') AND time < toDateTime('%s', 'UTC')", from.Format(time.DateTime), w.to.Format(time.DateTime))
}

// difference in one window.
type difference struct {
	buckets, differing int64
	// keys are the first of those that differ.
	keys []string
}

func (v *verification) differing(ctx context.Context, q viewQuestion, part window) (difference, error) {
	side := func(from string, number int) string {
		return fmt.Sprintf("SELECT %s, sipHash64(toString(tuple(*))) AS shown, %d AS side FROM (%s) WHERE %s", q.keys, number, from, q.within(part))
	}
	query := fmt.Sprintf("SELECT count(), countIf(differs), groupArrayIf(%d)(key, differs) FROM (SELECT toString(tuple(%s)) AS key,"+
		" count() != 2 OR uniqExact(shown) != 1 OR uniqExact(side) != 2 AS differs FROM (%s UNION ALL %s) GROUP BY %s)", maxFaults, q.keys,
		side(v.expected(q, part, ""), 0), side(q.tables.ReaderSelect, 1), q.keys)
	var found difference
	err := v.ask(ctx, query, func(rows *sql.Rows) error {
		var buckets, differing uint64
		err := rows.Scan(&buckets, &differing, &found.keys)
		found.buckets, found.differing = int64(buckets), int64(differing)
		return err
	})
	return found, err
}

// pendingBuckets are those that hold rows which are not committed yet: the view may not have them.
func (v *verification) pendingBuckets(ctx context.Context, q viewQuestion, part window) (map[string]bool, error) {
	var known, later []string
	for partition, committed := range v.committed {
		known = append(known, fmt.Sprint(partition))
		later = append(later, fmt.Sprintf("_partition = %d AND _offset >= %d", partition, committed))
	}
	condition := "_topic_id = toUUID('" + v.report.TopicID + "')"
	if len(known) > 0 {
		condition += " AND (_partition NOT IN (" + strings.Join(known, ", ") + ") OR " + strings.Join(later, " OR ") + ")"
	}
	found := map[string]bool{}
	query := fmt.Sprintf("SELECT DISTINCT toString(tuple(%s)) FROM (%s)", q.keys, v.expected(q, part, condition))
	return found, v.ask(ctx, query, func(rows *sql.Rows) error {
		var key string
		err := rows.Scan(&key)
		found[key] = true
		return err
	})
}

// showBucket writes the query that shows a bucket as the table gives it and as the view has it.
func (v *verification) showBucket(q viewQuestion, part window, key string) string {
	only := fmt.Sprintf("WHERE toString(tuple(%s)) = %s", q.keys, ddl.QuoteString(key))
	return fmt.Sprintf("SELECT 'table' AS of, * FROM (%s) %s UNION ALL SELECT 'view' AS of, * FROM (%s) %s", v.expected(q, part, ""), only, q.tables.ReaderSelect, only)
}
