package registry

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/riferrei/srclient"
)

// The kinds of failure that callers tell apart with errors.Is. Everything else is ErrUnavailable: the registry could not be
// asked, or did not answer as a registry does, so nothing is known.
var (
	// ErrUnknownID: the registry answered that it has no schema of that id.
	ErrUnknownID = errors.New("unknown schema id")
	// ErrNotRegistered: the registry answered that the subject does not hold exactly this schema.
	ErrNotRegistered = errors.New("schema is not registered")
	// ErrNotFound: the registry answered that it does not know the subject or version.
	ErrNotFound = errors.New("not found in the schema registry")
	// ErrIncompatible: the registry refused a schema for its compatibility level.
	ErrIncompatible = errors.New("schema is incompatible")
	// ErrRefused: the registry refused the request for another reason, which the message names.
	ErrRefused = errors.New("refused by the schema registry")
	// ErrUnavailable: the registry is away or answers with an error of its own. Try again.
	ErrUnavailable = errors.New("schema registry unavailable")
)

// Confluent's error codes that decide something here.
const (
	codeSubjectNotFound = 40401
	codeVersionNotFound = 40402
	codeSchemaNotFound  = 40403
	codeNoSubjectLevel  = 40408
	codeIncompatible    = 409
)

// ResponseError is an answer of the registry other than success.
type ResponseError struct {
	Code    int // Confluent's error code, for example 40401
	Message string
}

func (e *ResponseError) Error() string { return fmt.Sprintf("%s (error code %d)", e.Message, e.Code) }

// classify wraps err with its kind. doing says what was tried, with values.
func (c *Client) classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	var answer *ResponseError
	var foreign srclient.Error
	if errors.As(err, &foreign) && foreign.Code != 0 {
		answer = &ResponseError{Code: foreign.Code, Message: foreign.Message}
		err = answer
	}
	kind := ErrUnavailable
	if errors.As(err, &answer) {
		kind = answer.kind()
	}
	c.metrics.failures.WithLabelValues(label(kind)).Inc()
	if kind == ErrUnavailable {
		next := "check that it runs and SCHEMA_REGISTRY_URL names it"
		var untrusted *tls.CertificateVerificationError
		if errors.As(err, &untrusted) {
			next = "name its authority's certificate in SCHEMA_REGISTRY_CA_LOCATION"
		}
		return fmt.Errorf("%s: %w at %s: %w; %s", doing, kind, c.config.baseURL(), err, next)
	}
	return fmt.Errorf("%s: %w: %w", doing, kind, err)
}

func (e *ResponseError) kind() error {
	switch {
	case e.Code == codeSchemaNotFound, e.Code == codeSubjectNotFound, e.Code == codeVersionNotFound, e.Code == codeNoSubjectLevel, e.Code == 404:
		return ErrNotFound
	case e.Code == codeIncompatible, e.Code == 40901:
		return ErrIncompatible
	case e.Code == 401 || e.Code == 403 || strings.HasPrefix(fmt.Sprint(e.Code), "422"), e.Code == 400, e.Code == 413:
		return ErrRefused
	default:
		return ErrUnavailable
	}
}

func label(kind error) string {
	switch kind {
	case ErrNotFound:
		return "not_found"
	case ErrIncompatible:
		return "incompatible"
	case ErrRefused:
		return "refused"
	default:
		return "unavailable"
	}
}
