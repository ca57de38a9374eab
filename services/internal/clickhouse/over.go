package clickhouse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
)

// Over is a table that a question brings along, for as long as it takes.
type Over struct {
	// Name by which the question calls it.
	Name string
	// Structure are its columns and types, as in CREATE TABLE.
	Structure string
	// Chunks of one Native block; none, and the question brings no table along.
	Chunks [][]byte
}

// maxAnswer bounds the answer to a question over rows that it brings along, in bytes.
const maxAnswer = 64 << 20

// AskOver runs a query that names its FORMAT over a table that it brings along, and returns the answer as it stands. A query_id is not
// set; every error may be answered by asking again.
// https://clickhouse.com/docs/engines/table-engines/special/external-data
func (c *Client) AskOver(ctx context.Context, query string, over Over) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	parameters := url.Values{"database": {c.Database()}, "wait_end_of_query": {"1"}}
	var frame bytes.Buffer
	form := multipart.NewWriter(&frame)
	if err := form.WriteField("query", query); err != nil {
		return nil, err
	}
	head := frame.Len()
	if len(over.Chunks) > 0 {
		parameters.Set(over.Name+"_structure", over.Structure)
		parameters.Set(over.Name+"_format", "Native")
		if _, err := form.CreateFormFile(over.Name, over.Name); err != nil {
			return nil, err
		}
		head = frame.Len()
	}
	if err := form.Close(); err != nil {
		return nil, err
	}
	chunks := append([][]byte{frame.Bytes()[:head]}, over.Chunks...)
	chunks = append(chunks, frame.Bytes()[head:])
	address := *c.target.url
	address.Path, address.RawQuery = "/", parameters.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), body(chunks))
	if err != nil {
		return nil, err
	}
	request.ContentLength = size(chunks)
	request.Header.Set("Content-Type", form.FormDataContentType())
	c.authenticate(request)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking over %s: %w", over.Name, withoutURL(err))
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case response.StatusCode != http.StatusOK || response.Header.Get(exceptionHeader) != "":
		return nil, fmt.Errorf("asking over %s: %w", over.Name, newError(response, answer))
	case err != nil:
		return nil, fmt.Errorf("asking over %s: %w", over.Name, withoutURL(err))
	case len(answer) > maxAnswer:
		return nil, errors.New("asking over " + over.Name + ": the answer is longer than 64 MiB")
	}
	return answer, nil
}
