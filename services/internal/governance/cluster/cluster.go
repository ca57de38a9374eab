// Package cluster reaches real clusters for package governance: Kafka through the platform's own client, which needs cgo,
// and ClickHouse through clickhouse-go. It is apart so that checks without a cluster need neither.
package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// Admin is what of *kafka.Admin is needed.
type Admin interface {
	Describe(ctx context.Context, topics ...string) (map[string]kafka.TopicDescription, error)
	Create(ctx context.Context, topics []kafka.NewTopic) error
	AlterConfigs(ctx context.Context, topic string, configs map[string]string) error
}

// Topics makes an Admin governable.
func Topics(admin Admin) governance.Topics { return topics{admin} }

type topics struct{ admin Admin }

func (t topics) Describe(ctx context.Context, names ...string) (map[string]governance.Topic, error) {
	found, err := t.admin.Describe(ctx, names...)
	if err != nil {
		return nil, err
	}
	all := make(map[string]governance.Topic, len(found))
	for name, d := range found {
		all[name] = governance.Topic{Name: name, Partitions: d.Partitions, Configs: d.Configs}
	}
	return all, nil
}

func (t topics) Create(ctx context.Context, topic governance.Topic, replication int) error {
	return t.admin.Create(ctx, []kafka.NewTopic{{Name: topic.Name, Partitions: topic.Partitions, Replication: replication, Configs: topic.Configs}})
}

func (t topics) AlterConfigs(ctx context.Context, topic string, configs map[string]string) error {
	return t.admin.AlterConfigs(ctx, topic, configs)
}

// Conn is what of a clickhouse-go connection is needed.
type Conn interface {
	Exec(ctx context.Context, query string, args ...any) error
	Query(ctx context.Context, query string, args ...any) (driver.Rows, error)
}

// Tables makes a connection governable.
func Tables(conn Conn) governance.Tables { return tables{conn} }

type tables struct{ conn Conn }

func (t tables) Database(ctx context.Context) (string, error) {
	var name string
	err := t.each(ctx, "SELECT currentDatabase()", func(rows driver.Rows) error { return rows.Scan(&name) })
	return name, err
}

func (t tables) Describe(ctx context.Context, database, table string) (governance.Table, error) {
	var found governance.Table
	where := " WHERE database = " + ddl.QuoteString(database)
	err := t.each(ctx, "SELECT sorting_key, partition_key, engine_full FROM system.tables"+where+" AND name = "+ddl.QuoteString(table), func(rows driver.Rows) error {
		return rows.Scan(&found.SortingKey, &found.PartitionKey, &found.EngineFull)
	})
	if err != nil {
		return found, fmt.Errorf("reading system.tables of %s.%s: %w", database, table, err)
	}
	err = t.each(ctx, "SELECT name, type, default_kind FROM system.columns"+where+" AND table = "+ddl.QuoteString(table)+" ORDER BY position", func(rows driver.Rows) error {
		var c ddl.ExistingColumn
		err := rows.Scan(&c.Name, &c.Type, &c.DefaultKind)
		found.Columns = append(found.Columns, c)
		return err
	})
	if err != nil {
		return found, fmt.Errorf("reading system.columns of %s.%s: %w", database, table, err)
	}
	return found, nil
}

func (t tables) each(ctx context.Context, query string, scan func(driver.Rows) error) (err error) {
	rows, err := t.conn.Query(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (t tables) Exec(ctx context.Context, statement string) error { return t.conn.Exec(ctx, statement) }
