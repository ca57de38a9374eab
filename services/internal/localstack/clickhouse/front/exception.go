package front

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/streamforge/streamforge/services/internal/localstack/clickhouse/engine"
)

// Codes of ClickHouse that the front itself answers with.
const (
	codeCannotParse        = 6
	codeSyntax             = 62
	codeTooLarge           = 307 // TOO_MANY_BYTES
	codeReadonly           = 164
	codeTooManyQueries     = 202
	codeQueryIDRuns        = 216
	codeCannotReadAll      = 33
	codeSupportIsDisabled  = 344
	codeQueryWasCancelled  = 394
	codeAuthFailed         = 516
	codeUnknown            = 1002
	codeCannotDecompress   = 271
	codeSessionNotFound    = 372
	codeSessionIsLocked    = 373
	codeBadArguments       = 36
	codeNetwork            = 210
	codeQueryTooLarge      = 229 // TOO_BIG query
	codeUnknownCompression = 89
	codeNotEnoughSpace     = 243
)

// exception makes an error in the engine's own form.
func exception(code int, name, format string, args ...any) error {
	return &engine.Error{Message: fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, strings.TrimSuffix(fmt.Sprintf(format, args...), "."), name)}
}

// codeOf is the code that the client is told.
func codeOf(err error) int {
	if code := engine.Code(err); code != 0 {
		return code
	}
	return codeUnknown
}

// messageOf is the text that the client is told; an error of the front's own gets the engine's form.
func messageOf(err error) string {
	var e *engine.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return fmt.Sprintf("Code: %d. DB::Exception: %s. (UNKNOWN_EXCEPTION)", codeUnknown, err)
}

// statusOf is the HTTP status that a ClickHouse server gives an exception.
func statusOf(code int) int {
	switch code {
	case codeAuthFailed, 192, 193, 497:
		return http.StatusForbidden
	case 194:
		return http.StatusUnauthorized
	case 6, 26, 27, 28, 38, 41, 43, 53, 62, 70, 72, 117, 130, 457, codeBadArguments, codeCannotReadAll, codeCannotDecompress, 131, 69, 321:
		return http.StatusBadRequest
	case 16, 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 116:
		return http.StatusNotFound
	case codeQueryTooLarge, codeTooLarge:
		return http.StatusRequestEntityTooLarge
	case 48, codeSupportIsDisabled:
		return http.StatusNotImplemented
	case 159:
		return http.StatusRequestTimeout
	case codeTooManyQueries, 209:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// exceptionFrame is how an exception ends an answer whose beginning is already on its way: the tag is announced in the
// header X-ClickHouse-Exception-Tag, so that a client can tell it from data.
func exceptionFrame(tag, message string) []byte {
	const mark = "__exception__"
	return fmt.Appendf(nil, "\r\n%s\r\n%s\r\n%s\n%d %s\r\n%s\r\n", mark, tag, message, len(message)+1, tag, mark)
}

// newTag is 16 characters that no data can foresee.
func newTag() string { return strings.ToLower(rand.Text()[:16]) }
