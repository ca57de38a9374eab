package clickhouse_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
	clickhousego "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/clickhousetest"
)

// post sends a statement in the URL and data in the body.
func post(t testing.TB, address string, parameters url.Values, body io.Reader, headers ...string) (int, string) {
	t.Helper()
	status, answer, err := send(t.Context(), address, parameters, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return status, answer
}

// send is post for a goroutine, which must not end its test.
func send(ctx context.Context, address string, parameters url.Values, body io.Reader, headers ...string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/?"+parameters.Encode(), body)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), err
}

// nativeStrings is a Native block of (n UInt64, s String).
func nativeStrings(t testing.TB, first int, values [][]byte) []byte {
	t.Helper()
	var n proto.ColUInt64
	var s proto.ColStr
	for i, v := range values {
		n.Append(uint64(first + i))
		s.AppendBytes(v)
	}
	var buffer proto.Buffer
	block := proto.Block{Columns: 2, Rows: len(values)}
	if err := block.EncodeRawBlock(&buffer, 0, proto.Input{{Name: "n", Data: n}, {Name: "s", Data: &s}}); err != nil {
		t.Fatal(err)
	}
	return buffer.Buf
}

func TestClickhouseGoWorksUnmodified(t *testing.T) {
	t.Parallel()
	for _, method := range []clickhousego.CompressionMethod{clickhousego.CompressionNone, clickhousego.CompressionLZ4, clickhousego.CompressionZSTD, clickhousego.CompressionGZIP, clickhousego.CompressionDeflate, clickhousego.CompressionBrotli} {
		t.Run(method.String(), func(t *testing.T) {
			address, database := clickhousetest.Start(t), clickhousetest.Database(t)
			conn, err := clickhousego.Open(&clickhousego.Options{
				Addr: []string{strings.TrimPrefix(address, "http://")}, Protocol: clickhousego.HTTP,
				Auth:        clickhousego.Auth{Database: database, Username: "default"},
				Compression: &clickhousego.Compression{Method: method, Level: 1},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			clickhouseGoRoundTrip(t, conn)
		})
	}
}

func clickhouseGoRoundTrip(t *testing.T, conn clickhousego.Conn) {
	ctx := t.Context()
	if err := conn.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(ctx, "CREATE TABLE t (n UInt64, s LowCardinality(String), d Decimal(38,18), at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY n"); err != nil {
		t.Fatal(err)
	}
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO t (n, s, d, at)")
	if err != nil {
		t.Fatal(err)
	}
	const rows = 10_000
	for i := range rows {
		if err := batch.Append(uint64(i), "a\n\nb", "1.5", time.UnixMicro(int64(i)).UTC()); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	var count, sum uint64
	var text, decimal string
	row := conn.QueryRow(ctx, "SELECT count(), sum(n), any(s), toString(any(d)) FROM t WHERE n < {most:UInt64}", clickhousego.Named("most", rows))
	if err := row.Scan(&count, &sum, &text, &decimal); err != nil {
		t.Fatal(err)
	}
	if count != rows || sum != rows*(rows-1)/2 || text != "a\n\nb" || decimal != "1.5" {
		t.Fatalf("read back %d rows, sum %d, %q, %s", count, sum, text, decimal)
	}
	err = conn.Exec(ctx, "SELECT nothing FROM nowhere")
	var exception *clickhousego.Exception
	if err == nil || !asException(err, &exception) || exception.Code != 60 {
		t.Fatalf("a missing table gave %v, expected code 60", err)
	}
}

func TestBlocksOfEveryCompressionArrive(t *testing.T) {
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	clickhousetest.Exec(t, address, "CREATE TABLE "+database+".t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
	raw := nativeStrings(t, 0, [][]byte{[]byte("x\n\ny"), nil})
	packed := func(method compress.Method) []byte {
		w := compress.NewWriter(compress.LevelZero, method)
		if err := w.Compress(raw); err != nil {
			t.Fatal(err)
		}
		return w.Data
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(raw)
	_ = w.Close()
	insert := url.Values{"query": {"INSERT INTO " + database + ".t (n, s) FORMAT Native"}}
	decompress := url.Values{"query": insert["query"], "decompress": {"1"}}
	for _, c := range []struct {
		name       string
		parameters url.Values
		body       []byte
		headers    []string
		status     int
	}{
		{"plain", insert, raw, nil, 200},
		{"lz4", decompress, packed(compress.LZ4), nil, 200},
		{"zstd", decompress, packed(compress.ZSTD), nil, 200},
		{"gzip", insert, zipped.Bytes(), []string{"Content-Encoding", "gzip"}, 200},
		{"a block cut off", decompress, packed(compress.LZ4)[:30], nil, 400},
		{"a block's header alone", decompress, packed(compress.LZ4)[:25], nil, 400},
		{"not a block", decompress, raw, nil, 400},
		{"gzip cut off", insert, zipped.Bytes()[:zipped.Len()-9], []string{"Content-Encoding", "gzip"}, 400},
		{"unknown encoding", insert, raw, []string{"Content-Encoding", "rot13"}, 500},
	} {
		if status, answer := post(t, address, c.parameters, bytes.NewReader(c.body), c.headers...); status != c.status {
			t.Errorf("%s: status %d, expected %d: %s", c.name, status, c.status, answer)
		}
	}
	if got := clickhousetest.Exec(t, address, "SELECT count(), countIf(s = 'x\\n\\ny') FROM "+database+".t"); got != "8\t4" {
		t.Errorf("rows arrived: %s, expected 8 and 4", got)
	}
}

func TestAThousandRandomBodiesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	clickhousetest.Exec(t, address, "CREATE TABLE "+database+".t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"\n\n", "\n", "\r\n", ";", "'", "\\", "\n\nCREATE DATABASE evil", "\n\nDROP TABLE " + database + ".t\n\n", "\x00", "\\.", "FORMAT", "--", "/*", "$$", "`"}
	before := clickhousetest.Exec(t, address, "SHOW DATABASES LIKE 'evil'")
	const bodies = 1000
	want := make([][]byte, bodies)
	for i := range want {
		var b []byte
		for range random.IntN(12) {
			b = append(b, pieces[random.IntN(len(pieces))]...)
			b = append(b, byte(random.Uint32()))
		}
		want[i] = b
	}
	var workers errgroup.Group
	workers.SetLimit(4)
	for i, b := range want {
		native := nativeStrings(t, i, want[i:i+1])
		workers.Go(func() error {
			parameters, body := url.Values{"query": {"INSERT INTO " + database + ".t FORMAT Native"}}, native
			if i%2 != 0 {
				parameters, body = nil, append([]byte("INSERT INTO "+database+".t (n, s) FORMAT Native\n"), native...)
			}
			if status, answer, err := send(t.Context(), address, parameters, bytes.NewReader(body)); err != nil || status != 200 {
				return fmt.Errorf("body %d (%q): status %d: %s (%w)", i, b, status, answer, err)
			}
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(clickhousetest.Exec(t, address, "SELECT n, hex(s) FROM "+database+".t ORDER BY n"), "\n")
	if len(got) != bodies {
		t.Fatalf("%d rows, expected %d", len(got), bodies)
	}
	for i, line := range got {
		if expected := fmt.Sprintf("%d\t%X", i, want[i]); line != expected {
			t.Fatalf("row %d is %q, expected %q", i, line, expected)
		}
	}
	if after := clickhousetest.Exec(t, address, "SHOW DATABASES LIKE 'evil'"); after != before {
		t.Fatalf("a body made the database %q", after)
	}
}

func TestSQLInABodyIsData(t *testing.T) {
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	clickhousetest.Exec(t, address, "CREATE TABLE "+database+".t (s String) ENGINE = MergeTree ORDER BY s")
	evil := database + "_evil"
	for _, insert := range []string{
		"INSERT INTO " + database + ".t FORMAT TSV\na\n\nCREATE DATABASE " + evil + "\n",
		"INSERT INTO " + database + ".t VALUES ('a')\n\nCREATE DATABASE " + evil,
		"INSERT INTO " + database + ".t VALUES ('a\n\nCREATE DATABASE " + evil + "')",
		"INSERT INTO " + database + ".t FORMAT CSV\n\n\n; CREATE DATABASE " + evil,
		"SELECT 1; CREATE DATABASE " + evil,
		"SELECT 1 /* ; */ -- ;\n; CREATE DATABASE " + evil,
	} {
		post(t, address, nil, strings.NewReader(insert))
		post(t, address, url.Values{"query": {insert}}, strings.NewReader("\n\nCREATE DATABASE "+evil))
	}
	if got := clickhousetest.Exec(t, address, "EXISTS DATABASE "+evil); got != "0" {
		t.Fatal("a body was run as SQL")
	}
}

func TestTheSameTokenInsertsOnceAndHealsTheView(t *testing.T) {
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	in := func(statement string) string { return strings.ReplaceAll(statement, "$", database+".") }
	for _, statement := range []string{
		"CREATE TABLE $t (n UInt64, s String) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100",
		"CREATE TABLE $sums (s String, n UInt64) ENGINE = SummingMergeTree ORDER BY s SETTINGS non_replicated_deduplication_window = 100",
	} {
		clickhousetest.Exec(t, address, in(statement))
	}
	body := nativeStrings(t, 1, [][]byte{[]byte("a"), []byte("a")})
	send := func(token string) {
		t.Helper()
		status, answer := post(t, address, url.Values{
			"query": {in("INSERT INTO $t (n, s) FORMAT Native")}, "insert_deduplication_token": {token},
			"deduplicate_blocks_in_dependent_materialized_views": {"1"}, "async_insert": {"0"},
		}, bytes.NewReader(body))
		if status != 200 {
			t.Fatalf("status %d: %s", status, answer)
		}
	}
	// The view comes after the first insert: the state that a kill between the source's part and the view's leaves.
	send("one")
	clickhousetest.Exec(t, address, in("CREATE MATERIALIZED VIEW $v TO $sums AS SELECT s, n FROM $t"))
	for range 3 {
		send("one")
	}
	if got := clickhousetest.Exec(t, address, in("SELECT (SELECT count() FROM $t), (SELECT sum(n) FROM $sums)")); got != "2\t3" {
		t.Fatalf("rows and the view's sum are %s, expected 2 and 3", got)
	}
	send("two")
	if got := clickhousetest.Exec(t, address, in("SELECT (SELECT count() FROM $t), (SELECT sum(n) FROM $sums)")); got != "4\t6" {
		t.Fatalf("after another token rows and the view's sum are %s, expected 4 and 6", got)
	}
}

func TestACutOffBodyInsertsNothing(t *testing.T) {
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	clickhousetest.Exec(t, address, "CREATE TABLE "+database+".t (s String) ENGINE = MergeTree ORDER BY s")
	path := "/?query=" + url.QueryEscape("INSERT INTO "+database+".t FORMAT TSV")
	for _, head := range []string{"Content-Length: 1000\r\n\r\nfirst\nsecond\n", "Transfer-Encoding: chunked\r\n\r\nd\r\nfirst\nsecond\n\r\n"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\n"+head); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn) // Its end says that the request is over.
		_ = conn.Close()
		if strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Errorf("a cut-off body was acknowledged: %s", answer)
		}
	}
	if got := clickhousetest.Exec(t, address, "SELECT count() FROM "+database+".t"); got != "0" {
		t.Fatalf("%s rows of cut-off bodies were inserted", got)
	}
}

const endless = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"

// waitRunning waits until the number of running queries that hold mark is as wanted.
func waitRunning(t *testing.T, address, mark, want string) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		got := clickhousetest.Exec(t, address, "SELECT count() FROM system.processes WHERE query LIKE '%"+mark+"%' AND query NOT LIKE '%processes%'")
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s queries run after 2 min, expected %s", got, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestAClientThatLeavesStopsItsQuery(t *testing.T) {
	address := clickhousetest.Start(t)
	ctx, leave := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		_, err := clickhousetest.Query(ctx, address, endless+" /* leaving */")
		over <- err
	}()
	waitRunning(t, address, "leaving", "1")
	leave()
	<-over
	waitRunning(t, address, "leaving", "0")
}

func TestKillQueryFindsTheClientsID(t *testing.T) {
	address := clickhousetest.Start(t)
	type outcome struct {
		status int
		answer string
	}
	over := make(chan outcome, 1)
	go func() {
		status, answer := post(t, address, url.Values{"query_id": {"the'id"}}, strings.NewReader(endless+" /* kill me */"))
		over <- outcome{status, answer}
	}()
	waitRunning(t, address, "kill me", "1")
	if status, answer := post(t, address, url.Values{"query_id": {"the'id"}}, strings.NewReader("SELECT 1")); status != 500 || !strings.HasPrefix(answer, "Code: 216.") {
		t.Errorf("a second query under a running id: %d %s", status, answer)
	}
	killed := clickhousetest.Exec(t, address, "KILL QUERY WHERE query_id = 'the\\'id' SYNC")
	if !strings.Contains(killed, "sipHash64") {
		t.Errorf("KILL answered %q", killed)
	}
	if o := <-over; o.status == 200 || !strings.HasPrefix(o.answer, "Code: 394.") {
		t.Errorf("the killed query ended with %d %s", o.status, o.answer)
	}
	if status, _ := post(t, address, url.Values{"query_id": {"the'id"}}, strings.NewReader("SELECT 1")); status != 200 {
		t.Error("the id is not free after the kill")
	}
}

func TestAcknowledgedInsertsSurviveKills(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Own(t, clickhousetest.Options{})
	clickhousetest.Exec(t, server.URL, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	address, acknowledged := server.URL, map[int]bool{}
	next := 0
	for range 4 {
		ctx, stop := context.WithCancel(t.Context())
		before := len(acknowledged)
		var mu sync.Mutex
		var writers sync.WaitGroup
		for range 3 {
			writers.Go(func() {
				for ctx.Err() == nil {
					mu.Lock()
					n := next
					next++
					mu.Unlock()
					if _, err := clickhousetest.Query(ctx, address, fmt.Sprintf("INSERT INTO t VALUES (%d)", n)); err != nil {
						return
					}
					mu.Lock()
					acknowledged[n] = true
					mu.Unlock()
				}
			})
		}
		// The kill is to come in the midst of inserts, at no particular one.
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
			mu.Lock()
			here := len(acknowledged) - before
			mu.Unlock()
			if here >= 10 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d inserts were acknowledged within 2 min", here)
			}
		}
		time.Sleep(300 * time.Millisecond)
		server.Kill()
		stop()
		writers.Wait()
		server.Restart(t)
	}
	there := map[string]bool{}
	for line := range strings.SplitSeq(clickhousetest.Exec(t, address, "SELECT n FROM t"), "\n") {
		there[line] = true
	}
	for n := range acknowledged {
		if !there[fmt.Sprint(n)] {
			t.Errorf("the acknowledged insert %d is missing", n)
		}
	}
	t.Logf("%d acknowledged inserts, %d rows", len(acknowledged), len(there))
	if len(acknowledged) == 0 {
		t.Error("no insert was acknowledged at all")
	}
}

func TestAHundredClientsWaitForEachOther(t *testing.T) {
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	clickhousetest.Exec(t, address, "CREATE TABLE "+database+".t (n UInt64) ENGINE = MergeTree ORDER BY n")
	var clients sync.WaitGroup
	failures := make(chan error, 100)
	for i := range 100 {
		clients.Go(func() {
			if _, err := clickhousetest.Query(t.Context(), address, fmt.Sprintf("INSERT INTO %s.t SELECT number FROM numbers(%d)", database, 1000)); err != nil {
				failures <- fmt.Errorf("client %d: %w", i, err)
			}
			if _, err := clickhousetest.Query(t.Context(), address, "SELECT uniq(n) FROM "+database+".t"); err != nil {
				failures <- fmt.Errorf("client %d: %w", i, err)
			}
		})
	}
	clients.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	if got := clickhousetest.Exec(t, address, "SELECT count() FROM "+database+".t"); got != "100000" {
		t.Errorf("%s rows, expected 100000", got)
	}
}

func TestExceptionsInTheMiddleOfAnAnswerAreFramed(t *testing.T) {
	address := clickhousetest.Start(t)
	status, answer := post(t, address, nil, strings.NewReader("SELECT throwIf(number = 2000000) FROM numbers(3000000)"))
	if status != 200 || !strings.Contains(answer, "\r\n__exception__\r\n") || !strings.Contains(answer, "Code: 395.") || !strings.HasSuffix(answer, "\r\n__exception__\r\n") {
		t.Errorf("status %d, the answer ends with %q", status, answer[max(0, len(answer)-300):])
	}
	status, answer = post(t, address, url.Values{"wait_end_of_query": {"1"}}, strings.NewReader("SELECT throwIf(number = 2000000) FROM numbers(3000000)"))
	if status == 200 || !strings.HasPrefix(answer, "Code: 395.") {
		t.Errorf("with wait_end_of_query: status %d, %.200q", status, answer)
	}
}

func TestTheSettingsOfAQueryFormItsAnswer(t *testing.T) {
	t.Parallel()
	address := clickhousetest.Start(t)
	for query, want := range map[string]string{
		"SELECT toUInt64(1) AS x FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers=1":   `{"x":"1"}`,
		"SELECT toUInt64(1) AS x SETTINGS output_format_json_quote_64bit_integers = 0 FORMAT JSONEachRow": `{"x":1}`,
		"SELECT toDateTime(0, 'UTC') AS x SETTINGS date_time_output_format = 'iso' FORMAT CSV":            `"1970-01-01T00:00:00Z"`,
		"SELECT true AS x SETTINGS bool_true_representation='yes', max_threads=1 FORMAT CSV":              "yes",
		"SELECT 'a;b', 2 SETTINGS format_csv_delimiter=';' FORMAT CSV":                                    `"a;b";2`,
	} {
		// The clause wins over the URL's parameters, as it does at a server.
		parameters := url.Values{"output_format_json_quote_64bit_integers": {"1"}}
		if strings.Contains(query, "integers=1") {
			parameters.Set("output_format_json_quote_64bit_integers", "0")
		}
		if status, answer := post(t, address, parameters, strings.NewReader(query)); status != http.StatusOK || strings.TrimSpace(answer) != want {
			t.Errorf("%s: %d, %s; want %s", query, status, answer, want)
		}
	}
	if status, answer := post(t, address, nil, strings.NewReader("SELECT 1 SETTINGS output_format_nonsense=1")); status != http.StatusNotFound || !strings.HasPrefix(answer, "Code: 115.") {
		t.Errorf("an unknown setting: %d, %s", status, answer)
	}
}

// What would last for a session is refused, rather than forgotten in silence.
func TestWhatASessionWouldKeepIsRefused(t *testing.T) {
	t.Parallel()
	address := clickhousetest.Start(t)
	for _, statement := range []string{"SET max_threads = 1", "USE system", "CREATE TEMPORARY TABLE t (n Int8)"} {
		status, answer := post(t, address, url.Values{"session_id": {"s"}}, strings.NewReader(statement))
		if status != http.StatusNotImplemented || !strings.HasPrefix(answer, "Code: 344.") || !strings.Contains(answer, "every request is a session of its own here") {
			t.Errorf("%s: %d, %s", statement, status, answer)
		}
	}
}

func TestCredentialsAndLimitsAreKept(t *testing.T) {
	server := clickhousetest.Own(t, clickhousetest.Options{Arguments: []string{"-user", "me", "-password", "secret", "-body", "1000"}})
	for _, c := range []struct {
		name    string
		body    string
		headers []string
		status  int
	}{
		{"nobody", "SELECT 1", nil, 403},
		{"a wrong key", "SELECT 1", []string{"X-ClickHouse-User", "me", "X-ClickHouse-Key", "x"}, 403},
		{"the right key", "SELECT 1", []string{"X-ClickHouse-User", "me", "X-ClickHouse-Key", "secret"}, 200},
		{"basic", "SELECT 1", []string{"Authorization", "Basic bWU6c2VjcmV0"}, 200},
		{"a long body", strings.Repeat(" ", 1001), []string{"Authorization", "Basic bWU6c2VjcmV0"}, 413},
		{"a file of the client", "SELECT 1 INTO OUTFILE '/tmp/x'", []string{"Authorization", "Basic bWU6c2VjcmV0"}, 501},
		{"a file to read", "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV", []string{"Authorization", "Basic bWU6c2VjcmV0"}, 501},
	} {
		if status, answer := post(t, server.URL, nil, strings.NewReader(c.body), c.headers...); status != c.status {
			t.Errorf("%s: status %d, expected %d: %s", c.name, status, c.status, answer)
		}
	}
}

func TestPythonsClickhouseConnectWorksUnmodified(t *testing.T) {
	t.Parallel()
	address, database := clickhousetest.Start(t), clickhousetest.Database(t)
	python := clickhouseConnect(t)
	command := exec.CommandContext(t.Context(), python, "testdata/clickhouse_connect_client.py", strings.TrimPrefix(address, "http://"), database)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	} else if !strings.Contains(string(output), "all good") {
		t.Fatalf("%s", output)
	}
}

// clickhouseConnect makes a virtual environment with the client in the cache folder, once.
func clickhouseConnect(t *testing.T) string {
	t.Helper()
	give := t.Skipf
	if os.Getenv("CI") == "true" {
		give = t.Fatalf
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		give("no cache folder: %v", err)
	}
	venv := filepath.Join(cache, "streamforge", "clickhouse-connect")
	python := filepath.Join(venv, "bin", "python")
	if exec.Command(python, "-c", "import clickhouse_connect").Run() == nil {
		return python
	}
	for _, line := range [][]string{{"python3", "-m", "venv", venv}, {python, "-m", "pip", "install", "--quiet", "clickhouse-connect"}} {
		if output, err := exec.CommandContext(t.Context(), line[0], line[1:]...).CombinedOutput(); err != nil {
			give("clickhouse-connect cannot be installed: %v: %s", err, output)
		}
	}
	return python
}

func TestCurlWorksUnmodified(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl here")
	}
	address := clickhousetest.Start(t)
	for _, c := range []struct {
		want      string
		arguments []string
	}{
		{"2\n", []string{address, "-d", "SELECT 1 + 1"}},
		{"2\n", []string{"-G", address, "--data-urlencode", "query=SELECT 1 + 1"}},
		{"Ok.\n", []string{address + "/ping"}},
		{"{\"a\":1}\n", []string{"--compressed", "-u", "default:", address + "/?default_format=JSONEachRow", "-d", "SELECT 1 AS a"}},
		{"7\n", []string{address + "/?param_x=7", "-d", "SELECT {x:UInt8}"}},
	} {
		output, err := exec.CommandContext(t.Context(), curl, append([]string{"-sS"}, c.arguments...)...).CombinedOutput()
		if err != nil || string(output) != c.want {
			t.Errorf("curl %v: %q, %v; expected %q", c.arguments, output, err, c.want)
		}
	}
}

// BenchmarkInsertNative sends Native blocks of 100,000 rows (a number and a text) over one connection.
func BenchmarkInsertNative(b *testing.B) {
	address, database := clickhousetest.Start(b), clickhousetest.Database(b)
	clickhousetest.Exec(b, address, "CREATE TABLE "+database+".t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
	const rows = 100_000
	values := make([][]byte, rows)
	for i := range values {
		values[i] = fmt.Appendf(nil, "BTC-USDT %d", i)
	}
	body := nativeStrings(b, 0, values)
	parameters := url.Values{"query": {"INSERT INTO " + database + ".t (n, s) FORMAT Native"}}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if status, answer := post(b, address, parameters, bytes.NewReader(body)); status != 200 {
			b.Fatal(answer)
		}
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}

func asException(err error, target **clickhousego.Exception) bool { return errors.As(err, target) }
