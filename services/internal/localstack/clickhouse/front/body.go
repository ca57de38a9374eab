package front

import (
	"bufio"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// errCutOff says that the sender went away before the body's end.
var errCutOff = errors.New("the body was cut off before its end")

// openBody undoes the transport's encoding and ClickHouse's own block compression.
func (f *Front) openBody(w http.ResponseWriter, r *http.Request, decompress bool) (io.Reader, func(), error) {
	var source io.Reader = &watchedBody{body: r.Body, control: http.NewResponseController(w), idle: f.config.BodyIdleTimeout}
	closer := func() {}
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		zipped, err := gzip.NewReader(source)
		if err != nil {
			return nil, nil, bodyError(err)
		}
		source = zipped
	case "deflate":
		inflated, err := zlib.NewReader(source)
		if err != nil {
			return nil, nil, bodyError(err)
		}
		source = inflated
	case "zstd":
		decoder, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, nil, bodyError(err)
		}
		source, closer = decoder, decoder.Close
	case "lz4":
		source = lz4.NewReader(source)
	case "br":
		source = brotli.NewReader(source)
	default:
		return nil, nil, exception(codeUnknownCompression, "UNKNOWN_COMPRESSION_METHOD", "Content-Encoding %q is not known; use gzip, deflate, br, zstd, lz4 or none", encoding)
	}
	if decompress {
		source = &blockReader{blocks: compress.NewReader(bufio.NewReaderSize(source, 64<<10))}
	}
	return &boundedReader{source: source, left: f.config.MaxBodyBytes, most: f.config.MaxBodyBytes}, closer, nil
}

// watchedBody cuts off a sender that stopped sending, and names the end of one that went away.
type watchedBody struct {
	body    io.Reader
	control *http.ResponseController
	idle    time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	// A connection that cannot have a deadline (a test's recorder) has none.
	_ = b.control.SetReadDeadline(time.Now().Add(b.idle))
	n, err := b.body.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
		if err != io.EOF {
			err = fmt.Errorf("%w: %w", errCutOff, err)
		}
	}
	return n, err
}

// blockReader reads ClickHouse's compressed blocks. The library's reader wraps even the clean end of the stream, and
// does not tell it from an end in the middle of a block's header.
type blockReader struct {
	blocks *compress.Reader
}

func (b *blockReader) Read(p []byte) (int, error) {
	n, err := b.blocks.Read(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errCutOff):
		return n, fmt.Errorf("%w: %w", errCutOff, err)
	case errors.Is(err, io.EOF) && strings.Contains(err.Error(), "header"):
		return n, io.EOF // Nothing follows the last block.
	case errors.Is(err, io.EOF):
		return n, fmt.Errorf("%w: %w", errCutOff, err) // A header without its block.
	default:
		return n, exception(codeCannotDecompress, "CANNOT_DECOMPRESS", "the body asks for decompress=1 but holds no valid compressed block: %v", err)
	}
}

// boundedReader refuses a body that is longer than allowed.
type boundedReader struct {
	source     io.Reader
	left, most int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.source.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, exception(codeTooLarge, "TOO_MANY_BYTES", "the body is longer than %d bytes; send smaller batches", b.most)
	}
	return n, err
}

// bodyError tells a cut-off body from a wrong one.
func bodyError(err error) error {
	switch {
	case errors.Is(err, errCutOff), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return exception(codeCannotReadAll, "CANNOT_READ_ALL_DATA", "%s; nothing was inserted", errCutOff)
	case codeOf(err) != codeUnknown:
		return err
	}
	return exception(codeCannotParse, "CANNOT_PARSE_TEXT", "the body cannot be unpacked: %v", err)
}
