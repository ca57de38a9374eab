package front

import (
	"context"
	"net/http"
	"net/url"
	"sort"
	"strings"

	"github.com/google/uuid"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/engine"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/sqltext"
)

// request is what one HTTP request asks for, apart from its body.
type request struct {
	id       string
	ctx      context.Context // ends when the client leaves or the query is killed
	cancel   context.CancelCauseFunc
	ended    chan struct{}
	http     *http.Request
	query    string // the statement's text from the URL, or empty
	database string
	format   string // of the answer, when the statement names none
	settings []setting
	params   []engine.Param

	compress   bool // the answer goes out in ClickHouse's compressed blocks
	decompress bool // the body comes in them
	wait       bool // wait_end_of_query: the status is known before the first byte
	readonly   bool // a GET changes nothing
	revision   int  // client_protocol_version
}

type setting struct{ name, value string }

// notSettings are the names of the URL that mean something to the HTTP interface itself.
var notSettings = map[string]bool{
	"query": true, "database": true, "default_format": true, "compress": true, "decompress": true, "user": true,
	"password": true, "quota_key": true, "query_id": true, "session_id": true, "session_timeout": true,
	"session_check": true, "session_timezone": false, "close_session": true, "stacktrace": true, "wait_end_of_query": true,
	"buffer_size": true, "client_protocol_version": true, "role": true, "framing": true,
	"http_write_exception_in_output_format": true,
}

// internalSettings are this front's own; a client's value of them is dropped. The one about drops would wait for ever, as
// SYNC does.
var internalSettings = map[string]bool{"log_comment": true, "database_atomic_wait_for_drop_and_detach_synchronously": true}

// newRequest reads the URL and the headers. values are the URL's parameters and, of a form, its fields.
func newRequest(r *http.Request, values url.Values) *request {
	q := &request{
		id: values.Get("query_id"), ended: make(chan struct{}), http: r,
		query:      values.Get("query"),
		database:   firstOf(values.Get("database"), r.Header.Get("X-ClickHouse-Database")),
		format:     firstOf(values.Get("default_format"), r.Header.Get("X-ClickHouse-Format"), "TabSeparated"),
		compress:   enabled(values.Get("compress")),
		decompress: enabled(values.Get("decompress")),
		wait:       enabled(values.Get("wait_end_of_query")) || enabled(values.Get("http_wait_end_of_query")),
		readonly:   r.Method == http.MethodGet || r.Method == http.MethodHead,
		revision:   number(values.Get("client_protocol_version")),
	}
	q.ctx, q.cancel = context.WithCancelCause(r.Context())
	if q.id == "" {
		q.id = uuid.NewString()
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := values.Get(name)
		if param, ok := strings.CutPrefix(name, "param_"); ok {
			q.params = append(q.params, engine.Param{Name: param, Value: value})
			continue
		}
		if notSettings[name] || internalSettings[name] || name == "" || isExternalTable(name, values) {
			continue
		}
		q.settings = append(q.settings, setting{name, value})
	}
	return q
}

// isExternalTable recognises <table>_format, _structure and _types, which describe a table sent with the request.
func isExternalTable(name string, values url.Values) bool {
	for _, suffix := range []string{"_format", "_structure", "_types"} {
		if table, ok := strings.CutSuffix(name, suffix); ok {
			if values.Has(table+"_structure") || values.Has(table+"_types") {
				return true
			}
		}
	}
	return false
}

// setStatement gives the session the client's settings and the front's own. log_comment carries the query's id.
func (q *request) setStatement(maxMemory string) string {
	var b strings.Builder
	b.WriteString("SET implicit_select = 0, async_insert = 0, query_profiler_real_time_period_ns = 0, query_profiler_cpu_time_period_ns = 0")
	if maxMemory != "" {
		b.WriteString(", max_memory_usage = " + maxMemory)
	}
	for _, s := range q.settings {
		b.WriteString(", " + sqltext.QuoteIdentifier(s.name) + " = " + sqltext.Quote(s.value))
	}
	b.WriteString(", log_comment = " + sqltext.Quote(q.id))
	if q.readonly {
		b.WriteString(", readonly = 2")
	}
	return b.String()
}

func (q *request) networkMethod() string {
	for _, s := range q.settings {
		if s.name == "network_compression_method" {
			return strings.ToUpper(s.value)
		}
	}
	return "LZ4"
}

func (q *request) setting(name string) string {
	for _, s := range q.settings {
		if s.name == name {
			return s.value
		}
	}
	return ""
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func enabled(value string) bool { return value == "1" || strings.EqualFold(value, "true") }

func number(s string) int {
	n := 0
	for _, r := range s {
		if r < '0' || r > '9' || n > 1<<30 {
			return 0
		}
		n = n*10 + int(r-'0')
	}
	return n
}
