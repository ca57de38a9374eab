package front

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/engine"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/sqltext"
)

// Front answers HTTP requests with the engine. It is an http.Handler.
type Front struct {
	config  Config
	engine  Engine
	log     *slog.Logger
	metrics *metrics
	hello   hello
	data    *dataFiles
	bodies  *places // requests whose body is being received
	queries *places // queries in the engine
	running running
}

// New checks the configuration and asks the engine for its version.
func New(config Config, deps Deps) (*Front, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("configuring the ClickHouse front: %w", err)
	}
	if config.SpillDir == "" {
		config.SpillDir = defaultSpillDir()
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of the ClickHouse front: %w", err)
	}
	hello, err := askHello(deps.Engine)
	if err != nil {
		return nil, err
	}
	return &Front{
		config: config, engine: deps.Engine, log: deps.Log, metrics: m, hello: hello, data: newDataFiles(config.SpillDir),
		bodies:  newPlaces(config.MaxBodies, config.MaxWaiting, m.waiting.Add),
		queries: newPlaces(config.MaxQueries, config.MaxWaiting, m.waiting.Add),
		running: running{byID: map[string]*request{}},
	}, nil
}

// ServeHTTP answers one request.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-ClickHouse-Server-Display-Name", displayName)
	w.Header().Set("X-ClickHouse-Timezone", f.hello.timezone)
	switch r.URL.Path {
	case "/ping", "/replicas_status":
		answerOk(w)
		return
	case "/health":
		f.serveHealth(w, r)
		return
	case "/":
	default:
		http.Error(w, "There is no handle "+r.URL.Path+"\n\nUse / or /ping for health checks.\n", http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodHead:
	default:
		http.Error(w, "Code: 501. only GET and POST are answered here\n", http.StatusNotImplemented)
		return
	}
	values := r.URL.Query()
	if r.Method == http.MethodGet && len(r.URL.RawQuery) == 0 && r.ContentLength <= 0 {
		answerOk(w)
		return
	}
	q := newRequest(r, values)
	defer q.cancel(nil)
	out := newAnswer(w, q)
	if err := f.authorize(r, values); err != nil {
		f.fail(out, q, err)
		return
	}
	if !f.admit(q, values) {
		f.metrics.refused.WithLabelValues("query_id").Inc()
		f.fail(out, q, exception(codeQueryIDRuns, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", "Query with id = %s is already running", q.id))
		return
	}
	defer f.running.remove(q)
	if err := f.serve(w, out, q); err != nil {
		f.fail(out, q, err)
		return
	}
	out.finish()
}

// admit enters the request under its id. With replace_running_query the older one is killed first.
func (f *Front) admit(q *request, values url.Values) bool {
	if f.running.add(q) {
		return true
	}
	if !enabled(values.Get("replace_running_query")) {
		return false
	}
	ctx, cancel := context.WithTimeout(q.ctx, 5*time.Second)
	defer cancel()
	waitEnded(ctx, f.running.kill([]string{q.id}))
	return f.running.add(q)
}

func answerOk(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	_, _ = io.WriteString(w, "Ok.\n")
}

func (f *Front) serveHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- f.Probe() }()
	select {
	case err := <-answer:
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		answerOk(w)
	case <-ctx.Done():
		http.Error(w, "the engine has not answered SELECT 1 for 5 s", http.StatusServiceUnavailable)
	}
}

// Probe asks the engine for SELECT 1.
func (f *Front) Probe() error {
	conn, err := f.engine.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec("SELECT 1")
}

// authorize compares the user and password with the configured ones; nothing configured lets everybody in.
func (f *Front) authorize(r *http.Request, values url.Values) error {
	if f.config.User == "" {
		return nil
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		user, password = r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
	}
	if user == "" {
		user, password = values.Get("user"), values.Get("password")
	}
	sameUser := subtle.ConstantTimeCompare([]byte(user), []byte(f.config.User))
	samePassword := subtle.ConstantTimeCompare([]byte(password), []byte(f.config.Password))
	if sameUser&samePassword == 1 {
		return nil
	}
	f.metrics.refused.WithLabelValues("authentication").Inc()
	return exception(codeAuthFailed, "AUTHENTICATION_FAILED", "%s: Authentication failed: password is incorrect, or there is no user with such name", firstOf(user, "default"))
}

// serve receives the body, finds out what it is, and runs it.
func (f *Front) serve(w http.ResponseWriter, out *answer, q *request) error {
	work, err := f.receive(w, q)
	if err != nil {
		return err
	}
	defer work.close()
	f.metrics.requests.WithLabelValues(work.kind).Inc()
	if work.kind == kindHello {
		return f.answerHello(out, q)
	}
	ctx, stop := context.WithCancelCause(q.ctx)
	defer stop(nil)
	if work.kind != kindKill { // A KILL must get through when every place is taken.
		if err := f.queries.take(ctx); err != nil {
			return f.waitingFailed(err)
		}
		defer f.queries.give()
	}
	return f.execute(ctx, out, q, work)
}

func (f *Front) waitingFailed(err error) error {
	switch {
	case errors.Is(err, errTooManyWaiting):
		f.metrics.refused.WithLabelValues("queue_full").Inc()
		return exception(codeTooManyQueries, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many simultaneous queries: %d run and %d wait already", f.config.MaxQueries, f.config.MaxWaiting)
	case errors.Is(err, errKilled):
		return cancelled()
	}
	return exception(codeNetwork, "NETWORK_ERROR", "the client went away while its query waited")
}

func cancelled() error {
	return exception(codeQueryWasCancelled, "QUERY_WAS_CANCELLED", "Query was cancelled")
}

// kinds of work, also the values of the metrics' label.
const (
	kindInsert = "insert"
	kindSelect = "select"
	kindOther  = "other"
	kindKill   = "kill"
	kindHello  = "hello"
)

// work is a statement that is ready for the engine.
type work struct {
	kind      string
	statement sqltext.Statement
	data      *dataFile // of an INSERT
	insert    sqltext.Insert
	tables    []externalTable
}

func (w *work) close() {
	if w.data != nil {
		w.data.close()
	}
	for _, t := range w.tables {
		t.data.close()
	}
}

// receive reads the request's body. Of an INSERT the data goes to a file; everything else is text.
func (f *Front) receive(w http.ResponseWriter, q *request) (*work, error) {
	if err := f.bodies.take(q.ctx); err != nil {
		return nil, f.waitingFailed(err)
	}
	defer f.bodies.give()
	// Whatever the body's own end, the connection must be read to the request's end and without a deadline afterwards:
	// that is how the HTTP server notices that the client leaves.
	defer func() {
		_, _ = io.Copy(io.Discard, io.LimitReader(q.http.Body, 64<<10))
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}()
	if isForm(q.http) {
		return f.receiveForm(w, q)
	}
	body, closer, err := f.openBody(w, q.http, q.decompress)
	if err != nil {
		return nil, err
	}
	defer closer()
	text := q.query
	if text != "" {
		if insert, fromFile, ok := sqltext.ParseInsert(text, true); ok {
			return f.receiveData(q, insert, []byte(text[insert.Data:]), body, true)
		} else if fromFile {
			return nil, refuseFile("INSERT … FROM INFILE")
		}
		text += "\n"
	}
	head, err := f.readHead(body, text)
	if err != nil {
		return nil, err
	}
	if q.query == "" {
		if insert, fromFile, ok := sqltext.ParseInsert(string(head), false); ok {
			return f.receiveData(q, insert, head[insert.Data:], body, false)
		} else if fromFile {
			return nil, refuseFile("INSERT … FROM INFILE")
		}
	}
	return f.statement(string(head), body)
}

func refuseFile(what string) error {
	return exception(codeSupportIsDisabled, "SUPPORT_IS_DISABLED", "%s names a file of the client, which cannot be read over HTTP: send the data in the body", what)
}

// readHead reads as much of the body as a statement may be long.
func (f *Front) readHead(body io.Reader, text string) ([]byte, error) {
	head := bytes.NewBufferString(text)
	_, err := io.Copy(head, io.LimitReader(body, f.config.MaxQueryBytes-int64(len(text))))
	if err != nil {
		return nil, bodyError(err)
	}
	return head.Bytes(), nil
}

func (f *Front) statement(text string, rest io.Reader) (*work, error) {
	var more [1]byte
	if n, _ := io.ReadFull(rest, more[:]); n > 0 {
		return nil, exception(codeQueryTooLarge, "QUERY_IS_TOO_LARGE", "the statement is longer than %d bytes", f.config.MaxQueryBytes)
	}
	if isHello(text) {
		return &work{kind: kindHello}, nil
	}
	statement, err := sqltext.Parse(text)
	if err != nil {
		return nil, exception(codeSyntax, "SYNTAX_ERROR", "%v", err)
	}
	switch {
	case statement.Verb == "":
		return nil, exception(codeSyntax, "SYNTAX_ERROR", "Empty query")
	case statement.IntoFile:
		return nil, refuseFile("INTO OUTFILE")
	case statement.KillQuery:
		return &work{kind: kindKill, statement: statement}, nil
	case statement.Readable:
		return &work{kind: kindSelect, statement: statement}, nil
	}
	if what, lasts := statement.Lasts(); lasts {
		// Doing it would look like success, and the next request would know nothing of it.
		return nil, exception(codeSupportIsDisabled, "SUPPORT_IS_DISABLED", "%s would end with this request, for every request is a session of its own here: send settings and the database as parameters of the URL, or in the query, and use a table that is not temporary", what)
	}
	if statement.Verb == "DROP" || statement.Verb == "DETACH" || statement.Verb == "TRUNCATE" {
		// The engine inside a process never runs its task that waits for the removal, so SYNC would wait for ever.
		statement.Text = sqltext.WithoutSync(statement.Text)
	}
	return &work{kind: kindOther, statement: statement}, nil
}

// receiveData collects the data of an INSERT: what stood behind the statement, then the rest of the body.
func (f *Front) receiveData(q *request, insert sqltext.Insert, first []byte, body io.Reader, fromURL bool) (*work, error) {
	source := body
	if len(first) > 0 {
		if fromURL {
			first = append(bytes.Clone(first), '\n')
		}
		source = io.MultiReader(bytes.NewReader(first), body)
	}
	data, err := f.receiveFile(source)
	if err != nil {
		return nil, err
	}
	f.metrics.bodyBytes.Add(float64(data.size))
	return &work{kind: kindInsert, insert: insert, data: data}, nil
}

func (f *Front) receiveFile(source io.Reader) (*dataFile, error) {
	data, err := f.data.open()
	if err != nil {
		return nil, err
	}
	if _, err := data.ReadFrom(source); err != nil {
		data.close()
		if errors.Is(err, errCutOff) {
			f.metrics.truncated.Inc()
		}
		return nil, bodyError(err)
	}
	if data.memory == nil {
		f.metrics.spilled.Inc()
	}
	if err := data.complete(); err != nil {
		data.close()
		return nil, fmt.Errorf("keeping the body of %d bytes: %w", data.size, err)
	}
	return data, nil
}

// fail answers with an exception, as a header and a body, or as a frame when the answer is already under way.
func (f *Front) fail(out *answer, q *request, err error) {
	code := codeOf(err)
	f.metrics.exceptions.WithLabelValues(strconv.Itoa(code)).Inc()
	message := strings.TrimSpace(messageOf(err))
	// Also when the client seems to have left: one that closed only its sending side reads on, and no answer at all would
	// look like success to it.
	out.fail(code, message+" (version "+f.hello.version+")")
}

func (f *Front) connect() (*engine.Conn, error) {
	conn, err := f.engine.Connect()
	if err != nil {
		return nil, fmt.Errorf("serving a query: %w", err)
	}
	return conn, nil
}
