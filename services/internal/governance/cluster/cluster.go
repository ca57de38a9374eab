// Package cluster reaches real clusters for package governance: Kafka through the platform's own client, which needs cgo,
// and ClickHouse through clickhouse-go. It is apart so that checks without a cluster need neither.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// Admin is what of *kafka.Admin is needed.
type Admin interface {
	ListTopics(ctx context.Context) ([]string, error)
	Describe(ctx context.Context, topics ...string) (map[string]kafka.TopicDescription, error)
	Create(ctx context.Context, topics []kafka.NewTopic) error
	AlterConfigs(ctx context.Context, topic string, configs map[string]string) error
	ACLs(ctx context.Context) ([]kafka.ACL, error)
	CreateACLs(ctx context.Context, rights ...kafka.ACL) error
	DeleteACLs(ctx context.Context, rights ...kafka.ACL) error
}

// Rights makes an Admin's access rights governable.
func Rights(admin Admin) governance.Rights { return rights{admin} }

type rights struct{ admin Admin }

func (r rights) List(ctx context.Context) ([]governance.Right, error) {
	found, err := r.admin.ACLs(ctx)
	if errors.Is(err, kafka.ErrNoAuthorizer) {
		return nil, governance.ErrNoAuthorizer
	}
	all := make([]governance.Right, len(found))
	for i, a := range found {
		all[i] = governance.Right(a)
	}
	return all, err
}

func (r rights) Grant(ctx context.Context, all ...governance.Right) error {
	return r.admin.CreateACLs(ctx, acls(all)...)
}

func (r rights) Revoke(ctx context.Context, all ...governance.Right) error {
	return r.admin.DeleteACLs(ctx, acls(all)...)
}

func acls(all []governance.Right) []kafka.ACL {
	converted := make([]kafka.ACL, len(all))
	for i, right := range all {
		converted[i] = kafka.ACL(right)
	}
	return converted
}

// Topics makes an Admin governable.
func Topics(admin Admin) governance.Topics { return topics{admin} }

type topics struct{ admin Admin }

func (t topics) List(ctx context.Context) ([]string, error) { return t.admin.ListTopics(ctx) }

func (t topics) Describe(ctx context.Context, names ...string) (map[string]governance.Topic, error) {
	found, err := t.admin.Describe(ctx, names...)
	if err != nil {
		return nil, err
	}
	all := make(map[string]governance.Topic, len(found))
	for name, d := range found {
		all[name] = governance.Topic{Name: name, Partitions: d.Partitions, Configs: d.Configs, Overrides: d.Overrides}
	}
	return all, nil
}

func (t topics) Create(ctx context.Context, topic governance.Topic, replication int) error {
	err := t.admin.Create(ctx, []kafka.NewTopic{{Name: topic.Name, Partitions: topic.Partitions, Replication: replication, Configs: topic.Configs}})
	if kafka.TopicAlreadyExists(err) {
		// Somebody applies at the same time; what the topic is like is looked at when all is done.
		return nil
	}
	return err
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

// KnowsTableSetting says whether a server has a setting of MergeTree tables, which elder ones would refuse.
func KnowsTableSetting(ctx context.Context, conn Conn, setting string) (bool, error) {
	known := false
	err := tables{conn}.each(ctx, "SELECT 1 FROM system.merge_tree_settings WHERE name = "+ddl.QuoteString(setting), func(driver.Rows) error {
		known = true
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("asking ClickHouse whether it knows the setting %s: %w", setting, err)
	}
	return known, nil
}

func (t tables) Database(ctx context.Context) (string, error) {
	var name string
	err := t.each(ctx, "SELECT currentDatabase()", func(rows driver.Rows) error { return rows.Scan(&name) })
	return name, err
}

func (t tables) List(ctx context.Context, database string) ([]string, error) {
	var all []string
	err := t.each(ctx, "SELECT name FROM system.tables WHERE database = "+ddl.QuoteString(database), func(rows driver.Rows) error {
		var name string
		err := rows.Scan(&name)
		all = append(all, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the tables of %s: %w", database, err)
	}
	return all, nil
}

func (t tables) Normal(ctx context.Context, expression string) (string, error) {
	const begin = "SELECT "
	var normal string
	err := t.each(ctx, "SELECT formatQuerySingleLine("+ddl.QuoteString(begin+expression)+")", func(rows driver.Rows) error { return rows.Scan(&normal) })
	return strings.TrimPrefix(normal, begin), err
}

func (t tables) Describe(ctx context.Context, database, table string) (governance.Table, error) {
	var found governance.Table
	where := " WHERE database = " + ddl.QuoteString(database)
	err := t.each(ctx, "SELECT sorting_key, partition_key, engine, engine_full, comment, create_table_query, as_select FROM system.tables"+where+" AND name = "+ddl.QuoteString(table), func(rows driver.Rows) error {
		return rows.Scan(&found.SortingKey, &found.PartitionKey, &found.Engine, &found.EngineFull, &found.Comment, &found.Created, &found.Select)
	})
	if err != nil {
		return found, fmt.Errorf("reading system.tables of %s.%s: %w", database, table, err)
	}
	err = t.each(ctx, "SELECT name, type, default_kind, default_expression, compression_codec, comment FROM system.columns"+where+" AND table = "+ddl.QuoteString(table)+" ORDER BY position", func(rows driver.Rows) error {
		var c ddl.ExistingColumn
		err := rows.Scan(&c.Name, &c.Type, &c.DefaultKind, &c.Default, &c.Codec, &c.Comment)
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
