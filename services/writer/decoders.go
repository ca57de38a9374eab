package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/streamforge/streamforge/services/internal/clickhouse"
	"github.com/streamforge/streamforge/services/internal/clickhouse/columnar"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// decoders hold the plan of every schema id seen for one table, and the layout that they fill. Safe for concurrent use.
type decoders struct {
	registry   *registry.Client
	clickhouse *clickhouse.Client
	spec       ddl.Spec
	subject    string
	patience   time.Duration // how long a denied id is waited for
	lookEvery  time.Duration
	sameClock  func(context.Context) error

	mutex  sync.Mutex
	looked time.Time // when the table, its views and the clock were last found sound
	tokens int       // that they remember
	schema string    // the subject's latest
	layout *columnar.Layout
	plans  map[int]*columnar.Plan
	denied map[int]time.Time // since when the registry says that an id does not exist
}

// badRecordError says that a record is bad whatever happens, and belongs to the dead letters.
type badRecordError struct {
	class string
	err   error
}

func (e *badRecordError) Error() string { return e.err.Error() }
func (e *badRecordError) Unwrap() error { return e.err }

// maxDenied bounds the ids remembered as denied.
const maxDenied = 10_000

// lookupTimeout bounds what one new schema id may keep the poller away.
const lookupTimeout = 5 * time.Second

// get returns the plan for a schema id. A *badRecordError means that the record is bad; any other error means to wait and
// ask again.
func (d *decoders) get(ctx context.Context, id int) (*columnar.Plan, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if plan := d.plans[id]; plan != nil {
		return plan, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	schema, err := d.registry.SchemaByID(ctx, id)
	if errors.Is(err, registry.ErrUnknownID) {
		return nil, d.deny(id, err)
	}
	if err != nil && !errors.Is(err, registry.ErrRefused) {
		return nil, err
	}
	var plan *columnar.Plan
	if err == nil {
		if plan, err = d.compile(ctx, id, schema.Text); err == nil {
			delete(d.denied, id)
			d.plans[id] = plan
			return plan, nil
		}
	}
	// A record of another topic's is no newer version of this one's, for which one would have to wait.
	if under, subjectErr := d.registry.Under(ctx, id, d.subject); subjectErr == nil && !under {
		return nil, d.deny(id, fmt.Errorf("schema id %d belongs to other subjects than %s", id, d.subject))
	}
	delete(d.denied, id)
	return nil, err
}

// deny waits until the registry has denied the id for long enough: a schema may be registered a moment after its first
// record, and a registry may come back from a restart without all it knew.
func (d *decoders) deny(id int, err error) error {
	now := time.Now()
	since, known := d.denied[id]
	if !known {
		if len(d.denied) >= maxDenied {
			clear(d.denied)
		}
		d.denied[id] = now
		since = now
	}
	if now.Sub(since) >= d.patience {
		return &badRecordError{deadletters.UnknownSchema, fmt.Errorf("the registry has denied it for %s: %w", d.patience, err)}
	}
	return fmt.Errorf("waiting %s before its records are bad: %w", d.patience-now.Sub(since).Round(time.Second), err)
}

// compile makes a plan. Where the layout does not fit (a field without a column, an enum's new symbol), table and latest
// schema are read again first: `streamforge apply` may have run.
func (d *decoders) compile(ctx context.Context, id int, text string) (*columnar.Plan, error) {
	if d.layout != nil {
		plan, err := columnar.Compile(d.layout, id, text)
		if err == nil && len(plan.Ignored) == 0 {
			return plan, nil
		}
	}
	if err := d.refresh(ctx); err != nil {
		return nil, err
	}
	plan, err := columnar.Compile(d.layout, id, text)
	if err != nil {
		return nil, fmt.Errorf("topic's schema %d and table %s.%s do not fit: %w", id, d.spec.Database, d.spec.Table, err)
	}
	return plan, nil
}

// refresh reads the subject's latest schema and the table.
func (d *decoders) refresh(ctx context.Context) error {
	versions, err := d.registry.LiveVersions(ctx, d.subject)
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return fmt.Errorf("subject %s has no schema; run `make register-schemas`", d.subject)
	}
	columns, err := ddl.ColumnsOf(versions[len(versions)-1].Text, d.spec.Columns)
	if err != nil {
		return fmt.Errorf("subject %s: %w", d.subject, err)
	}
	table, err := d.clickhouse.Table(ctx, d.spec.Database, d.spec.Table)
	if err != nil {
		return err
	}
	tokens, err := d.sound(ctx, table)
	if err != nil {
		return err
	}
	d.tokens, d.schema = tokens, versions[len(versions)-1].Text
	layout, err := columnar.NewLayout(d.spec.Database+"."+d.spec.Table, columns, table.Columns)
	if err != nil {
		return err
	}
	if d.layout == nil || !sameLayout(d.layout, layout) {
		d.layout, d.plans = layout, map[int]*columnar.Plan{}
	}
	return nil
}

func sameLayout(a, b *columnar.Layout) bool {
	return strings.Join(a.Columns(), "\n") == strings.Join(b.Columns(), "\n")
}

// lookEvery is how often a running writer looks whether somebody has made a view, changed the table, or set a clock, so that an insert
// that is repeated or comes late would double rows. Until then one may do so.
const lookEvery = time.Minute

// stillSound looks at table, views and clocks again when it is time to. The lock is not held while ClickHouse is asked: whoever polls needs it.
func (d *decoders) stillSound(ctx context.Context) error {
	d.mutex.Lock()
	due := time.Since(d.looked) >= d.lookEvery
	d.mutex.Unlock()
	if !due {
		return nil
	}
	table, err := d.clickhouse.Table(ctx, d.spec.Database, d.spec.Table)
	if err != nil {
		return err
	}
	tokens, err := d.sound(ctx, table)
	if err != nil {
		return err
	}
	if err := d.sameClock(ctx); err != nil {
		return err
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.tokens, d.looked = tokens, time.Now()
	return nil
}

// unsoundError says that a repeated insert would double rows.
type unsoundError struct{ text string }

func (e *unsoundError) Error() string { return e.text }

func unsound(format string, args ...any) error { return &unsoundError{fmt.Sprintf(format, args...)} }

// sound refuses a table on which a repeated insert would double its rows, and views into which it would go twice: ClickHouse hands
// it on to them even when the table drops it. It returns how many tokens all of them remember.
func (d *decoders) sound(ctx context.Context, t clickhouse.Table) (tokens int, err error) {
	name := d.spec.Database + "." + d.spec.Table
	switch {
	case !t.Exists:
		return 0, unsound("table %s does not exist; run `streamforge apply`", name)
	case !strings.Contains(t.Engine, "MergeTree"):
		return 0, unsound("table %s is a %s; a repeated insert is recognised by tables of the MergeTree family only", name, t.Engine)
	case !strings.Contains(t.Created, " CONSTRAINT "+ddl.DeadlineConstraint+" CHECK "):
		return 0, unsound("table %s has no constraint %s, an insert that comes late would double its rows; run `streamforge apply`", name, ddl.DeadlineConstraint)
	}
	tokens, setting := t.Window()
	if tokens == 0 {
		return 0, unsound("table %s has no deduplication window, a repeated insert would double its rows; run `ALTER TABLE %s MODIFY SETTING %s = %d`", name, name, setting, ddl.DefaultDedupWindow)
	}
	fills, err := d.clickhouse.Fills(ctx, d.spec.Database, d.spec.Table)
	if err != nil {
		return 0, err
	}
	for _, f := range fills {
		if f.Window == 0 {
			return 0, unsound("view %s fills %s, which has no deduplication window: a repeated insert would be counted twice; run `ALTER TABLE %s MODIFY SETTING %s = %d`, or drop the view",
				f.View, f.Target, f.Target, f.Setting, ddl.DefaultDedupWindow)
		}
		tokens = min(tokens, f.Window)
	}
	return tokens, nil
}

// window is how many tokens the table and the targets of its views remember.
func (d *decoders) window() int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.tokens
}

// latest is the subject's schema, for the views.
func (d *decoders) latest() string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.schema
}

// current is the layout for a new block.
func (d *decoders) current() *columnar.Layout {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.layout
}
