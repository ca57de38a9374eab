package front

import (
	"compress/zlib"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/engine"
)

// answer writes one response: its headers with the first byte, its data through the compressions the client asked for.
type answer struct {
	w       http.ResponseWriter
	q       *request
	tag     string
	encoder io.WriteCloser // of the transport, or nil
	blocks  *compress.Writer
	begun   bool
}

func newAnswer(w http.ResponseWriter, q *request) *answer {
	return &answer{w: w, q: q, tag: newTag()}
}

// begin sets the headers; they go out with the first byte, so that an answer without any stays without a body. format is
// that of the data.
func (a *answer) begin(format string, stats engine.Stats) {
	if a.begun {
		return
	}
	h := a.w.Header()
	h.Set("Content-Type", contentType(format))
	h.Set("X-ClickHouse-Query-Id", a.q.id)
	h.Set("X-ClickHouse-Format", format)
	h.Set("X-ClickHouse-Exception-Tag", a.tag)
	h.Set("X-ClickHouse-Summary", summary(stats))
}

// open sends the headers and opens the compressions.
func (a *answer) open() {
	if a.begun {
		return
	}
	a.begun = true
	if a.q.compress {
		method := compress.LZ4
		if a.q.networkMethod() == "ZSTD" {
			method = compress.ZSTD
		}
		a.blocks = compress.NewWriter(compress.LevelZero, method)
	} else if enabled(firstOf(a.q.setting("enable_http_compression"), "1")) {
		a.encoder = a.openEncoder(a.q.http.Header.Get("Accept-Encoding"))
	}
	a.w.WriteHeader(http.StatusOK)
}

// openEncoder picks what the client takes and costs least.
func (a *answer) openEncoder(accept string) io.WriteCloser {
	offered := map[string]bool{}
	for part := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		offered[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(weight) != "q=0"
	}
	switch {
	case offered["zstd"]:
		encoder, err := zstd.NewWriter(a.w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil
		}
		a.w.Header().Set("Content-Encoding", "zstd")
		return encoder
	case offered["gzip"]:
		encoder, err := gzip.NewWriterLevel(a.w, gzip.BestSpeed)
		if err != nil {
			return nil
		}
		a.w.Header().Set("Content-Encoding", "gzip")
		return encoder
	case offered["deflate"]:
		a.w.Header().Set("Content-Encoding", "deflate")
		return zlib.NewWriter(a.w)
	}
	return nil
}

// write sends a piece of data.
func (a *answer) write(data []byte) error {
	a.open()
	if a.blocks != nil {
		return a.writeBlocks(data)
	}
	if a.encoder != nil {
		_, err := a.encoder.Write(data)
		return err
	}
	_, err := a.w.Write(data)
	return err
}

func (a *answer) writeBlocks(data []byte) error {
	const blockBytes = 1 << 20
	for len(data) > 0 {
		n := min(len(data), blockBytes)
		if err := a.blocks.Compress(data[:n]); err != nil {
			return err
		}
		if _, err := a.w.Write(a.blocks.Data); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// finish ends a good answer.
func (a *answer) finish() {
	if a.encoder != nil {
		_ = a.encoder.Close() // A client that went away has nothing to be told.
	}
}

// fail ends the answer with an exception.
func (a *answer) fail(code int, message string) {
	if a.begun {
		frame := exceptionFrame(a.tag, message)
		if a.encoder != nil {
			_, _ = a.encoder.Write(frame)
			_ = a.encoder.Close()
			return
		}
		_, _ = a.w.Write(frame)
		return
	}
	h := a.w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("X-ClickHouse-Exception-Code", strconv.Itoa(code))
	h.Set("X-ClickHouse-Query-Id", a.q.id)
	h.Set("X-ClickHouse-Summary", summary(engine.Stats{}))
	if code == 194 || code == codeAuthFailed {
		h.Set("WWW-Authenticate", `Basic realm="ClickHouse server HTTP API"`)
	}
	a.w.WriteHeader(statusOf(code))
	_, _ = io.WriteString(a.w, message+"\n")
}

func summary(s engine.Stats) string {
	count := func(n uint64) string { return strconv.FormatUint(n, 10) }
	text, err := json.Marshal(map[string]string{
		"read_rows": count(s.RowsRead), "read_bytes": count(s.BytesRead),
		"written_rows": count(s.RowsWritten), "written_bytes": count(s.BytesWritten),
		"total_rows_to_read": "0", "result_rows": count(s.RowsRead), "result_bytes": count(s.BytesRead),
		"elapsed_ns": count(uint64(s.Seconds * 1e9)),
	})
	if err != nil {
		return "{}"
	}
	return string(text)
}

func contentType(format string) string {
	switch {
	case strings.HasPrefix(format, "TabSeparated"), strings.HasPrefix(format, "TSV"):
		return "text/tab-separated-values; charset=UTF-8"
	case strings.HasPrefix(format, "CSV"):
		return "text/csv; charset=UTF-8; header=absent"
	case format == "JSONEachRow", format == "NDJSON", format == "JSONLines":
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(format, "JSON"):
		return "application/json; charset=UTF-8"
	case format == "Native", strings.HasPrefix(format, "RowBinary"), strings.HasPrefix(format, "Parquet"), strings.HasPrefix(format, "Arrow"):
		return "application/octet-stream"
	}
	return "text/plain; charset=UTF-8"
}
