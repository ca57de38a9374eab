package clickhouse

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
)

// Block is one insert: rows as chunks of one Native block. A retry has to carry the same rows under the same token.
type Block struct {
	Database, Table string
	// Columns of the block, pinned in the statement: ClickHouse must never go by position.
	Columns []string
	// Chunks of the Native block, in order.
	Chunks [][]byte
	// Rows, for messages.
	Rows int
	// Token under which ClickHouse recognises a repetition.
	Token string
	// QueryID names the insert in the server's logs.
	QueryID string
	// MaxExecution is how long the server may work on it; 0 leaves that to the server.
	MaxExecution time.Duration
}

// pinned are the settings that the guarantee rests on. They are sent with every insert, so that no profile of the server
// changes them.
var pinned = map[string]string{
	// An asynchronous insert answers before it is safe, and its tokens are not those of the parts.
	"async_insert":       "0",
	"wait_end_of_query":  "1",
	"insert_deduplicate": "1",
	// A repetition that the table drops must reach a view that missed the first one, and only that one.
	"deduplicate_blocks_in_dependent_materialized_views": "1",
	// One request is one block: a token names the parts of one block, and a split would follow the order of rows.
	"max_insert_block_size":           "16777216",
	"min_insert_block_size_rows":      "16777216",
	"min_insert_block_size_bytes":     "0",
	"input_format_parallel_parsing":   "0",
	"max_partitions_per_insert_block": "0",
}

// Insert sends a block and returns when ClickHouse has acknowledged it. Any error that is not an *Error leaves the outcome
// unknown: insert again, with the same token.
func (c *Client) Insert(ctx context.Context, b Block) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	parameters := url.Values{"database": {b.Database}, "query": {b.statement()}, "query_id": {b.QueryID}, "insert_deduplication_token": {b.Token}}
	for name, value := range pinned {
		parameters.Set(name, value)
	}
	if b.MaxExecution > 0 {
		parameters.Set("max_execution_time", strconv.FormatFloat(b.MaxExecution.Seconds(), 'f', 3, 64))
	}
	chunks := b.Chunks
	if c.target.compress {
		parameters.Set("decompress", "1")
		chunks = compressed(chunks)
	}
	address := *c.target.url
	address.Path = "/"
	address.RawQuery = parameters.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), body(chunks))
	if err != nil {
		return err
	}
	request.ContentLength = size(chunks)
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(body(chunks)), nil }
	c.authenticate(request)
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("inserting %d rows into %s: %w", b.Rows, b.Table, withoutURL(err))
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if response.StatusCode == http.StatusOK && err == nil && response.Header.Get(exceptionHeader) == "" {
		return nil
	}
	return fmt.Errorf("inserting %d rows into %s: %w", b.Rows, b.Table, newError(response, answer))
}

const exceptionHeader = "X-ClickHouse-Exception-Code"

func (c *Client) authenticate(request *http.Request) {
	if c.target.username != "" {
		// Headers, not the URL: proxies log URLs.
		request.Header.Set("X-ClickHouse-User", c.target.username)
		request.Header.Set("X-ClickHouse-Key", c.target.password.Reveal())
	}
}

func (b Block) statement() string {
	names := make([]string, len(b.Columns))
	for i, name := range b.Columns {
		names[i] = ddl.QuoteName(name)
	}
	return "INSERT INTO " + ddl.QuoteName(b.Database) + "." + ddl.QuoteName(b.Table) + " (" + strings.Join(names, ", ") + ") FORMAT Native"
}

func body(chunks [][]byte) io.Reader {
	readers := make([]io.Reader, len(chunks))
	for i, chunk := range chunks {
		readers[i] = bytes.NewReader(chunk)
	}
	return io.MultiReader(readers...)
}

func size(chunks [][]byte) int64 {
	var total int64
	for _, chunk := range chunks {
		total += int64(len(chunk))
	}
	return total
}

// compressed packs the block in ClickHouse's own LZ4 frames of 1 MiB.
func compressed(chunks [][]byte) [][]byte {
	writer := compress.NewWriter(0, compress.LZ4)
	var out [][]byte
	for _, chunk := range chunks {
		for len(chunk) > 0 {
			n := min(len(chunk), 1<<20)
			if err := writer.Compress(chunk[:n]); err != nil {
				panic("BUG: LZ4 cannot fail: " + err.Error())
			}
			out = append(out, bytes.Clone(writer.Data))
			chunk = chunk[n:]
		}
	}
	return out
}

func newError(response *http.Response, answer []byte) error {
	code, _ := strconv.Atoi(response.Header.Get(exceptionHeader))
	text := strings.TrimSpace(string(answer))
	if code == 0 {
		if after, ok := strings.CutPrefix(text, "Code: "); ok {
			digits, _, _ := strings.Cut(after, ".")
			code, _ = strconv.Atoi(digits)
		}
	}
	if len(text) > 1000 {
		text = text[:1000] + "…"
	}
	return &Error{Code: code, Status: response.StatusCode, Text: text}
}
