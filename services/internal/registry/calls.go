package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/riferrei/srclient"
)

const contentType = "application/vnd.schemaregistry.v1+json"

// maxAnswer bounds an answer in bytes. The largest schemas known are a few MB.
const maxAnswer = 32 << 20

// library returns srclient for one call: it knows no context, so its transport carries the caller's.
func (c *Client) library(ctx context.Context) *srclient.SchemaRegistryClient {
	l := srclient.NewSchemaRegistryClient(c.config.baseURL(), srclient.WithClient(&http.Client{
		Transport: withContext{ctx, c},
		Timeout:   c.config.timeout(),
		// A redirect would take user and password to whatever host it names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))
	l.CachingEnabled(false)
	return l
}

type withContext struct {
	ctx    context.Context //nolint:containedctx // srclient's calls take none
	client *Client
}

func (t withContext) RoundTrip(r *http.Request) (*http.Response, error) {
	// The request's own context carries the time limit; ending the caller's must end it too.
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(t.ctx, cancel)
	r = r.Clone(ctx)
	response, err := t.client.send(r)
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	response.Body = &boundedBody{
		Reader: io.LimitReader(response.Body, maxAnswer),
		inner:  response.Body,
		done:   func() { stop(); cancel() },
	}
	return response, nil
}

// boundedBody ends after maxAnswer bytes, and lets go of the caller's context when it is closed.
type boundedBody struct {
	io.Reader
	inner io.Closer
	done  func()
}

func (b *boundedBody) Close() error {
	defer b.done()
	return b.inner.Close()
}

// send adds what every request carries. A registry that does not let one in is an error here, whoever asked: srclient would
// make it one like any other.
func (c *Client) send(r *http.Request) (*http.Response, error) {
	c.metrics.requests.Inc()
	r.Header.Set("Accept", contentType+", application/json")
	if c.config.Username != "" {
		r.SetBasicAuth(c.config.Username, c.config.Password.Reveal())
	}
	response, err := c.http.Transport.RoundTrip(r)
	if err == nil && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden) {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal)) // Whatever it says, the status is the answer.
		return nil, refusal(response, text)
	}
	return response, err
}

// maxRefusal bounds what is read of a refusal, in bytes.
const maxRefusal = 64 << 10

func refusal(response *http.Response, text []byte) error {
	answer := &ResponseError{Code: response.StatusCode, Message: "not allowed"}
	var said *ResponseError
	if errors.As(responseError(response, text), &said) {
		answer.Message += ": " + said.Message
	}
	answer.Message += "; check SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, and what the user may do"
	return answer
}

// call makes one request that srclient cannot make. body and answer may be nil.
func (c *Client) call(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.timeout())
	defer cancel()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.config.baseURL()+path, content)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.send(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return responseError(response, text)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("the answer is not a schema registry's (%d bytes of %s): %w", len(text), response.Header.Get("Content-Type"), err)
	}
	return nil
}

// responseError reads Confluent's error form. An answer without it does not come from a registry (a proxy's 404, say), so
// it proves nothing about the schema.
func responseError(response *http.Response, text []byte) error {
	var e struct {
		Code    int    `json:"error_code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(text, &e); err != nil || e.Code == 0 {
		return &foreignAnswer{response.Status}
	}
	return &ResponseError{Code: e.Code, Message: e.Message}
}

// foreignAnswer is a failure that is not in a schema registry's form.
type foreignAnswer struct{ status string }

func (a *foreignAnswer) Error() string {
	return "answered " + a.status + " without a schema registry's error; is this the address of a schema registry?"
}

func escape(subject string) string { return url.PathEscape(subject) }
