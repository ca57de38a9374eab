package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// The peer's three parts: the engine's own consumer, the table of the same columns, and the view that carries rows from one into
// the other.
const (
	peerQueue = "peer_queue"
	peerTable = "peer"
	peerView  = "peer_view"
)

// peer has ClickHouse read the topic itself. Its settings are the fastest of those that were tried.
func (r *run) peer(ctx context.Context, consumers int) (o outcome, err error) {
	statements, err := r.peerStatements(ctx, consumers)
	if err != nil {
		return o, err
	}
	// The view is what makes the consumer start; what stands before it waits.
	for _, statement := range statements[:len(statements)-1] {
		if err := r.store.Exec(ctx, statement); err != nil {
			return o, fmt.Errorf("%s: %w", statement, err)
		}
	}
	began := time.Now()
	last := statements[len(statements)-1]
	if err := r.store.Exec(ctx, last); err != nil {
		return o, fmt.Errorf("%s: %w", last, err)
	}
	if o, err = r.measure(ctx, peerTable, began, 0); err != nil {
		return o, errors.Join(err, r.complaints())
	}
	if err := r.check(ctx, peerTable); err != nil {
		return o, err
	}
	return o, r.store.Exec(ctx, "DROP TABLE "+peerView)
}

// complaints are what the peer's consumers say of themselves: they go on in silence when they cannot read a record.
func (r *run) complaints() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	texts, err := r.column(ctx, "SELECT DISTINCT left(arrayJoin(exceptions.text), 300) FROM system.kafka_consumers LIMIT 5")
	if err != nil {
		return err
	}
	if len(texts) == 0 {
		return nil
	}
	return fmt.Errorf("the Kafka engine says: %s", strings.Join(texts, "; "))
}

// readAs is the type in which the Kafka engine reads a column: it makes every record's columns anew, and a dictionary for each
// record costs it more than all the rest. The view turns whole blocks into the table's type.
func readAs(kind string) string {
	if inner, ok := strings.CutPrefix(kind, "LowCardinality("); ok {
		return strings.TrimSuffix(inner, ")")
	}
	return kind
}

type peerColumn struct{ name, kind, codec string }

// peerStatements makes the peer of the writer's own table: the same columns, types, codecs, order and partitions, and none of what
// the writer needs besides (index, projection, constraint, deduplication window).
func (r *run) peerStatements(ctx context.Context, consumers int) ([]string, error) {
	columns, err := r.peerColumns(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := r.column(ctx, "SELECT arrayJoin([partition_key, sorting_key]) FROM system.tables WHERE database = currentDatabase() AND name = "+ddl.QuoteString(r.what.table))
	if err != nil || len(keys) != 2 {
		return nil, fmt.Errorf("the keys of %s: %v: %w", r.what.table, keys, err)
	}
	described, err := r.admin.Describe(ctx, r.what.topic)
	if err != nil {
		return nil, err
	}
	if len(described) != 1 {
		return nil, fmt.Errorf("topic %s is not there", r.what.topic)
	}
	flush := 1000
	if r.what.paced {
		flush = 300 // As the writer's.
	}
	var stored, read, carried []string
	for _, c := range columns {
		name := ddl.QuoteName(c.name)
		if c.kind == "UUID" && !strings.HasPrefix(c.name, "_") {
			c.kind = "FixedString(16)" // AvroConfluent reads no UUID from 16 bytes; converting it would cost the peer time.
		}
		stored = append(stored, strings.TrimSpace(name+" "+c.kind+" "+c.codec))
		switch c.name {
		case ddl.MetaTopicID:
			carried = append(carried, "toUUID('00000000-0000-4000-8000-000000000001') AS "+name)
		case ddl.MetaSchemaID:
			carried = append(carried, fmt.Sprintf("toUInt32(%d) AS %s", r.schemaID, name))
		case ddl.MetaPartition:
			carried = append(carried, "toInt32(_partition) AS "+name)
		case ddl.MetaOffset:
			carried = append(carried, "toInt64(_offset) AS "+name)
		default:
			read = append(read, name+" "+readAs(c.kind))
			carried = append(carried, name)
		}
	}
	queue := fmt.Sprintf(`CREATE TABLE %s (%s) ENGINE = Kafka SETTINGS kafka_broker_list = %s, kafka_topic_list = %s, kafka_group_name = 'peer-%d', `+
		`kafka_format = 'AvroConfluent', format_avro_schema_registry_url = %s, kafka_num_consumers = %d, kafka_thread_per_consumer = 1, `+
		`kafka_max_block_size = 131072, kafka_poll_max_batch_size = 65536, kafka_flush_interval_ms = %d`,
		peerQueue, strings.Join(read, ", "), ddl.QuoteString(r.addresses.Kafka), ddl.QuoteString(r.what.topic), r.runs, ddl.QuoteString(r.addresses.Registry), consumers, flush)
	return []string{
		queue,
		fmt.Sprintf("CREATE TABLE %s (%s) ENGINE = MergeTree PARTITION BY %s ORDER BY (%s)", peerTable, strings.Join(stored, ", "), keys[0], keys[1]),
		fmt.Sprintf("CREATE MATERIALIZED VIEW %s TO %s AS SELECT %s FROM %s", peerView, peerTable, strings.Join(carried, ", "), peerQueue),
	}, nil
}

func (r *run) peerColumns(ctx context.Context) ([]peerColumn, error) {
	answer, err := r.store.Query(ctx, "SELECT name, type, compression_codec FROM system.columns WHERE database = currentDatabase() AND table = "+ddl.QuoteString(r.what.table)+" ORDER BY position")
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	var all []peerColumn
	for answer.Next() {
		var c peerColumn
		if err := answer.Scan(&c.name, &c.kind, &c.codec); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, answer.Err()
}
