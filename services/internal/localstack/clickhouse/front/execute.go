package front

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/engine"
	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/sqltext"
)

// queryIDSetting is the expression of system.processes that holds a query's id.
const queryIDSetting = "Settings['log_comment']"

func defaultSpillDir() string { return os.TempDir() }

// execute runs the work on a session of its own and watches over the client meanwhile.
func (f *Front) execute(ctx context.Context, out *answer, q *request, work *work) error {
	conn, err := f.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	q.settings = append(q.settings, outputSettings(work.statement)...)
	if err := f.prepare(conn, q); err != nil {
		return err
	}
	for _, table := range work.tables {
		if err := table.create(conn); err != nil {
			return err
		}
	}
	if q.ctx.Err() != nil { // A KILL or a leaving client that came before the engine knew the query.
		return f.interrupted(q, cancelled())
	}
	began := time.Now()
	f.metrics.running.Inc()
	stopGuard := f.guard(ctx, q)
	defer func() {
		stopGuard()
		f.metrics.running.Dec()
		f.metrics.querySeconds.WithLabelValues(work.kind).Observe(time.Since(began).Seconds())
	}()
	err = f.run(ctx, conn, out, q, work)
	if q.ctx.Err() != nil && err != nil {
		return f.interrupted(q, err)
	}
	return err
}

// interrupted names what ended a query: a KILL is told as such, whatever the engine made of it.
func (f *Front) interrupted(q *request, err error) error {
	if errors.Is(context.Cause(q.ctx), errKilled) {
		return cancelled()
	}
	return err
}

func (f *Front) run(ctx context.Context, conn *engine.Conn, out *answer, q *request, work *work) error {
	switch work.kind {
	case kindInsert:
		return f.runInsert(conn, out, q, work)
	case kindKill:
		return f.runKill(ctx, conn, out, q, work)
	}
	format := firstOf(work.statement.Format, q.format)
	if work.kind == kindSelect && !q.wait && streams(format) {
		return f.runStream(ctx, conn, out, q, work.statement.Text, format)
	}
	return f.runWhole(conn, out, q, work.statement.Text, format)
}

// prepare gives a fresh session its database and settings.
func (f *Front) prepare(conn *engine.Conn, q *request) error {
	if database := firstOf(q.database, f.config.DefaultDatabase); database != "" && database != "default" {
		if err := conn.Exec("USE " + sqltext.QuoteIdentifier(database)); err != nil {
			return err
		}
	}
	maxMemory := ""
	if f.config.MaxQueryMemory > 0 {
		maxMemory = strconv.FormatInt(f.config.MaxQueryMemory, 10)
	}
	return conn.Exec(q.setStatement(maxMemory))
}

// outputSettings are those of the statement's own SETTINGS clause that form the answer. The engine applies them to the
// query, but an answer is formed by its session.
func outputSettings(statement sqltext.Statement) []setting {
	var settings []setting
	for _, s := range statement.Settings {
		if s.FormatsOutput() {
			settings = append(settings, setting{s.Name, s.Value})
		}
	}
	return settings
}

func (f *Front) runInsert(conn *engine.Conn, out *answer, q *request, work *work) error {
	result, err := conn.Query(work.insert.FromFile(work.data.path(), "Values"), "Null", q.params)
	if err != nil {
		return err
	}
	defer result.Close()
	f.metrics.rowsWritten.Add(float64(result.Stats.RowsWritten))
	out.begin(firstOf(q.format, "Native"), result.Stats)
	return nil
}

func (f *Front) runWhole(conn *engine.Conn, out *answer, q *request, text, format string) error {
	result, err := conn.Query(text, format, q.params)
	if err != nil {
		return err
	}
	defer result.Close()
	f.metrics.rowsWritten.Add(float64(result.Stats.RowsWritten))
	out.begin(format, result.Stats)
	if len(result.Data) == 0 {
		return nil
	}
	return clientGone(out.write(result.Data))
}

// streams says whether an answer in this format can be sent in pieces: the others repeat a header in every piece.
func streams(format string) bool {
	switch format {
	case "Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow":
		return true
	}
	return false
}

func (f *Front) runStream(ctx context.Context, conn *engine.Conn, out *answer, q *request, text, format string) error {
	stream, err := conn.Stream(text, format, q.params)
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		piece, err := stream.Next()
		if err != nil {
			return err
		}
		if piece == nil {
			out.begin(format, engine.Stats{})
			return nil
		}
		out.begin(format, piece.Stats)
		err = out.write(piece.Data)
		piece.Close()
		if err != nil {
			return clientGone(err)
		}
		if ctx.Err() != nil {
			return cancelled()
		}
	}
}

func clientGone(err error) error {
	if err == nil {
		return nil
	}
	return exception(codeNetwork, "NETWORK_ERROR", "sending the answer: %v", err)
}

// runKill rewrites KILL QUERY so that it finds queries by the id that their clients know them by. Requests that the
// engine does not know yet are stopped here. With SYNC it waits until they are over.
func (f *Front) runKill(ctx context.Context, conn *engine.Conn, out *answer, q *request, work *work) error {
	text, ids := sqltext.KillByQueryID(work.statement.Text, queryIDSetting)
	found := f.running.kill(ids)
	f.metrics.killed.WithLabelValues("kill_query").Add(float64(len(found)))
	result, err := conn.Query(text, firstOf(work.statement.Format, q.format), q.params)
	if err != nil {
		return err
	}
	defer result.Close()
	// The guard of each request goes on killing it until it is over; whoever asked for a kill by id is about to act on its
	// being over, so the answer waits for that, SYNC or not, within a bound.
	waitCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	waitEnded(waitCtx, found)
	out.begin(firstOf(work.statement.Format, q.format), result.Stats)
	if len(result.Data) == 0 {
		return nil
	}
	return clientGone(out.write(result.Data))
}

// guard stops the query in the engine when its client leaves or a KILL names it. One KILL may come before the engine
// knows the query, so it is repeated until the query is over.
func (f *Front) guard(ctx context.Context, q *request) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		if !errors.Is(context.Cause(q.ctx), errKilled) {
			f.metrics.killed.WithLabelValues("client_left").Inc()
		}
		f.killUntil(over, q.id)
	}()
	return func() { close(over); <-ended }
}

func (f *Front) killUntil(over <-chan struct{}, id string) {
	const again = 50 * time.Millisecond
	kill := "KILL QUERY WHERE " + queryIDSetting + " = " + sqltext.Quote(id)
	for {
		if err := f.killOnce(kill); err != nil {
			f.log.Warn("stopping a query failed", "query_id", id, "error", err.Error())
		}
		select {
		case <-over:
			return
		case <-time.After(again):
		}
	}
}

func (f *Front) killOnce(statement string) error {
	conn, err := f.engine.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec(statement)
}
