package main

import (
	"context"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// framesSubject is the subject whose schemas the topic's records are written with.
const framesSubject = "raw-frames-value"

// frameReader reads values of raw-frames written with any live version of its schema.
type frameReader struct {
	values *subscription.Values
	names  *records.Names
}

// newFrameReader reads by own, the text of this build's schema, which is registered under ownID.
func newFrameReader(source subscription.SchemaSource, ownID int, own string) *frameReader {
	values := subscription.NewValues(source, framesSubject, own)
	values.Written(ownID)
	return &frameReader{values: values, names: records.NewNames()}
}

// read fills frame from a value, and returns the body that it is made of, which is valid until the next call. A
// *subscription.BadRecord blames the record; any other error is the registry's or this build's, and the record must be tried
// again.
func (f *frameReader) read(ctx context.Context, value []byte, frame *records.Frame) ([]byte, error) {
	body, err := f.values.Body(ctx, value)
	if err != nil {
		return nil, err
	}
	if err := frame.DecodeInterned(body, f.names); err != nil {
		return nil, &subscription.BadRecord{Class: deadletters.BadValue, Cause: err}
	}
	return body, nil
}
