package clickhouse

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// Client of one ClickHouse. It is safe for concurrent use.
type Client struct {
	target  target
	timeout time.Duration
	http    *http.Client
	db      *sql.DB
}

// New makes a Client; it does not connect.
func New(config Config) (*Client, error) {
	t, err := config.target()
	if err != nil {
		return nil, err
	}
	security, err := config.tls()
	if err != nil {
		return nil, err
	}
	options := &driver.Options{
		Protocol:    driver.HTTP,
		Addr:        []string{t.url.Host},
		Auth:        driver.Auth{Database: t.database, Username: t.username, Password: t.password.Reveal()},
		TLS:         security,
		DialTimeout: 3 * time.Second,
		ReadTimeout: config.timeout(),
	}
	if t.url.Scheme == "https" && options.TLS == nil {
		options.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	db := driver.OpenDB(options)
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(4)
	db.SetConnMaxIdleTime(10 * time.Second)
	return &Client{target: t, timeout: config.timeout(), db: db, http: &http.Client{Transport: transport(security)}}, nil
}

// Close ends the client's connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return c.db.Close()
}

// Database that the address names.
func (c *Client) Database() string { return c.target.database }

// Address without credentials, for messages.
func (c *Client) Address() string { return c.target.url.String() }

// Ping asks whether the server answers.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.target.url.String()+"/ping", nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ClickHouse at %s: %w; set CLICKHOUSE_URL or start it", c.Address(), withoutURL(err))
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ClickHouse at %s answers %s", c.Address(), response.Status)
	}
	return nil
}

// withoutURL strips the request's URL off an error of net/http: it carries settings and says nothing new.
func withoutURL(err error) error {
	if e, ok := err.(*url.Error); ok { //nolint:errorlint // http.Client wraps exactly once
		return e.Err
	}
	return err
}

// Exec runs one statement that returns nothing.
func (c *Client) Exec(ctx context.Context, statement string, args ...any) error {
	if _, err := c.db.ExecContext(ctx, statement, args...); err != nil {
		return fmt.Errorf("running %s: %w", firstLine(statement), err)
	}
	return nil
}

// Query runs one query; close the rows.
func (c *Client) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := c.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", firstLine(query), err)
	}
	return rows, nil
}

func firstLine(statement string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(statement), "\n")
	if len(line) > 120 {
		line = line[:120] + "…"
	}
	return line
}

// Table is what the server says about a table.
type Table struct {
	Exists bool
	Engine string
	// EngineFull holds the settings, too.
	EngineFull string
	// Created is the statement that would make it; constraints, indexes and projections stand nowhere else.
	Created string
	Columns []ddl.ExistingColumn
}

// Table describes a table; one that does not exist is no error.
func (c *Client) Table(ctx context.Context, database, name string) (Table, error) {
	var t Table
	rows, err := c.Query(ctx, "SELECT engine, engine_full, create_table_query FROM system.tables WHERE database = ? AND name = ?", database, name)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	for rows.Next() {
		t.Exists = true
		if err := rows.Scan(&t.Engine, &t.EngineFull, &t.Created); err != nil {
			return t, err
		}
	}
	if err := rows.Err(); err != nil || !t.Exists {
		return t, err
	}
	columns, err := c.Query(ctx, "SELECT name, type, default_kind, default_expression FROM system.columns WHERE database = ? AND table = ? ORDER BY position", database, name)
	if err != nil {
		return t, err
	}
	defer columns.Close()
	for columns.Next() {
		var column ddl.ExistingColumn
		if err := columns.Scan(&column.Name, &column.Type, &column.DefaultKind, &column.Default); err != nil {
			return t, err
		}
		t.Columns = append(t.Columns, column)
	}
	return t, columns.Err()
}
