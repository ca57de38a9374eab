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

func (t tables) Database(ctx context.Context) (name string, err error) {
	rows, err := t.conn.Query(ctx, "SELECT currentDatabase()")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return "", errors.Join(errors.New("ClickHouse named no database"), rows.Err())
	}
	return name, rows.Scan(&name)
}

func (t tables) Columns(ctx context.Context, database, table string) (columns []ddl.ExistingColumn, err error) {
	rows, err := t.conn.Query(ctx, "SELECT name, type, default_kind FROM system.columns WHERE database = "+ddl.QuoteString(database)+
		" AND table = "+ddl.QuoteString(table)+" ORDER BY position")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var c ddl.ExistingColumn
		if err := rows.Scan(&c.Name, &c.Type, &c.DefaultKind); err != nil {
			return nil, fmt.Errorf("reading system.columns of %s.%s: %w", database, table, err)
		}
		columns = append(columns, c)
	}
	return columns, rows.Err()
}

func (t tables) Exec(ctx context.Context, statement string) error { return t.conn.Exec(ctx, statement) }
