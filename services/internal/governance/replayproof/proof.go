package replayproof

import (
	"errors"
	"fmt"
	"iter"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// Record is one real record. Body need only be valid until the next one is asked for.
type Record struct {
	Partition int32
	Offset    int64
	SchemaID  int
	// Schema is the self-contained text of the schema that wrote the body.
	Schema string
	Body   []byte
	// Bad says why there is no body or no schema; the record is then counted and named, and nothing more.
	Bad string
}

// Reader is a declared reader of the product: the version that it was written against, and what it reads of it.
type Reader struct {
	Group, Owner string
	Version      int
	// Schema is the version's self-contained text; empty when there is no such version, which makes the reader unjudged.
	Schema string
	// Fields by path, as in a consumer's declaration.
	Fields []string
}

// Config is what the records are tried against.
type Config struct {
	Topic string
	// Schema is the new schema's self-contained text.
	Schema  string
	Readers []Reader
	// Waived names the file of the waiver that holds for a change, by the change's path.
	Waived map[string]string
	// Sink tells whether the product has a table; Columns is what its contract says of the columns, by field.
	Sink    bool
	Columns map[string]ddl.ColumnOptions
}

// Prove tries every record and returns what came of it. Its memory does not grow with the number of records. An error is
// the records' own, or a new schema that is none.
func Prove(records iter.Seq2[Record, error], config Config) (Report, error) {
	p, err := newProof(config)
	if err != nil {
		return Report{}, err
	}
	for r, err := range records {
		if err != nil {
			return Report{}, err
		}
		p.try(r)
	}
	p.finish()
	return p.report, nil
}

type proof struct {
	config  Config
	report  Report
	schema  *avro.Schema
	reads   *dynamic.Reader
	readers []*readerTrial
	// writers by the text of their schema: ids may be many, versions of one subject are few.
	writers map[string]*writer
	// dull are rows of records that nothing happens to, shown when there are no others.
	dull []Row
}

func newProof(config Config) (*proof, error) {
	schema, err := avro.Parse(config.Schema, nil, avro.KeepInvalidDefaults())
	if err != nil {
		return nil, fmt.Errorf("the new schema of %s: %w", config.Topic, err)
	}
	reads, err := dynamic.NewReader(config.Schema)
	if err != nil {
		return nil, fmt.Errorf("the new schema of %s: %w", config.Topic, err)
	}
	p := &proof{config: config, report: Report{Topic: config.Topic}, schema: schema, reads: reads, writers: map[string]*writer{}}
	if config.Sink {
		p.report.Table = &Table{}
	}
	for _, r := range config.Readers {
		p.readers = append(p.readers, newReaderTrial(r, schema))
	}
	return p, nil
}

// readerTrial is a declared reader at work.
type readerTrial struct {
	ReaderResult
	fields  []string
	schema  *avro.Schema
	reads   *dynamic.Reader
	fromNew avro.Projection
	refused error
}

func newReaderTrial(r Reader, next *avro.Schema) *readerTrial {
	t := &readerTrial{ReaderResult: ReaderResult{Group: r.Group, Owner: r.Owner, Version: r.Version}}
	if r.Schema == "" {
		t.Unjudged = fmt.Sprintf("version %d, which it was written against, does not exist", r.Version)
		return t
	}
	var err error
	if t.schema, err = avro.Parse(r.Schema, nil, avro.KeepInvalidDefaults()); err == nil {
		t.reads, err = dynamic.NewReader(r.Schema)
	}
	if err != nil {
		t.Unjudged = err.Error()
		return t
	}
	for _, field := range r.Fields {
		if _, err := contract.FieldAt(t.schema, field); err != nil {
			t.Unjudged = fmt.Sprintf("version %d: %v", r.Version, err)
			return t
		}
		t.fields = append(t.fields, field)
	}
	t.fromNew, t.refused = resolution(next, t.schema)
	return t
}

// resolution reads as a plain Avro reader does: what changes the meaning alone passes, and is found in the values.
func resolution(written, read *avro.Schema) (avro.Projection, error) {
	return avro.NewProjection(written.Bare(), read.Bare())
}

// writer is one version that wrote some of the records.
type writer struct {
	schema  *avro.Schema
	reads   *dynamic.Reader
	unread  error // the schema itself is unusable
	toNew   avro.Projection
	refused error
	rewrite rewriting
	// toReaders are the projections to each reader's version, nil where it cannot read this version today.
	toReaders []avro.Projection
	columns   []ddl.Column
}

func (p *proof) writer(text string) *writer {
	if w, ok := p.writers[text]; ok {
		return w
	}
	w := &writer{}
	p.writers[text] = w
	if w.schema, w.unread = avro.Parse(text, nil, avro.KeepInvalidDefaults()); w.unread != nil {
		return w
	}
	if w.reads, w.unread = dynamic.NewReader(text); w.unread != nil {
		return w
	}
	if w.toNew, w.refused = resolution(w.schema, p.schema); w.refused == nil {
		w.rewrite, w.unread = newRewriting(w.schema, p.schema, w.toNew)
	}
	for _, r := range p.readers {
		var to avro.Projection
		if r.Unjudged == "" {
			// A pair that does not fit today is counted as such, record by record.
			to, _ = resolution(w.schema, r.schema)
		}
		w.toReaders = append(w.toReaders, to)
	}
	p.columnsOf(w, text)
	return w
}

func (p *proof) try(r Record) {
	p.report.Records++
	at := At{r.Partition, r.Offset}
	if r.Bad != "" {
		p.report.Bad.add(at, r.Bad)
		return
	}
	w := p.writer(r.Schema)
	if w.unread != nil {
		p.report.Bad.add(at, fmt.Sprintf("schema id %d: %v", r.SchemaID, w.unread))
		return
	}
	before, err := w.reads.Read(r.Body)
	if err != nil {
		p.report.Bad.add(at, fmt.Sprintf("schema id %d: %v", r.SchemaID, err))
		return
	}
	p.tryNewReader(at, w, r.Body, before)
	p.tryReaders(at, w, r.Body)
}

// tryNewReader is the first question: the record as it lies there, read with the new schema.
func (p *proof) tryNewReader(at At, w *writer, body []byte, before dynamic.Value) {
	after, err := readThrough(w.toNew, w.refused, p.reads, body)
	if err != nil {
		p.report.Read.Failed.add(at, err.Error())
		p.row(at, w, before, dynamic.Value{}, err, true)
		return
	}
	seen := map[seenField]bool{}
	c := comparison{tell: func(kind Kind, path, was, typed string, x, y dynamic.Value) {
		// A list's items are one path, and count as one difference of the record.
		if !seen[seenField{kind, path}] {
			seen[seenField{kind, path}] = true
			p.report.Read.add(at, kind, path, was, typed, x, y)
		}
	}}
	c.values(w.schema, p.schema, before, after, "")
	p.row(at, w, before, after, nil, c.differs)
}

type seenField struct {
	kind Kind
	path string
}

// tryReaders is the second question: the same values, written with the new schema, read by who reads today.
func (p *proof) tryReaders(at At, w *writer, body []byte) {
	var written []byte
	unwritable := w.refused
	if unwritable == nil {
		written, unwritable = w.rewrite(body)
	}
	if unwritable != nil {
		p.report.Unwritable.add(at, unwritable.Error())
	}
	for i, r := range p.readers {
		switch {
		case r.Unjudged != "":
		case w.toReaders[i] == nil:
			r.Today.add(at, "its version cannot read the version that wrote this")
		case r.refused != nil:
			r.Failed.add(at, r.refused.Error())
		case unwritable == nil:
			r.try(at, w.toReaders[i], body, written)
		}
	}
}

func (t *readerTrial) try(at At, today avro.Projection, body, written []byte) {
	before, err := readThrough(today, nil, t.reads, body)
	if err != nil {
		t.Today.add(at, err.Error())
		return
	}
	after, err := readThrough(t.fromNew, nil, t.reads, written)
	if err != nil {
		t.Failed.add(at, err.Error())
		return
	}
	t.Judged++
	for _, field := range t.fields {
		x, y := listOf(valuesAt(before, field)), listOf(valuesAt(after, field))
		if !sameJSON(x, y) {
			t.add(at, Differs, field, "", "", only(x), only(y))
		}
	}
}

func readThrough(projection avro.Projection, refused error, reader *dynamic.Reader, body []byte) (dynamic.Value, error) {
	if refused != nil {
		return dynamic.Value{}, refused
	}
	projected, err := projection(nil, body)
	if err != nil {
		return dynamic.Value{}, err
	}
	return reader.Read(projected)
}

func (p *proof) finish() {
	p.report.Read.finish(p.config.Waived)
	for _, r := range p.readers {
		r.finish(p.config.Waived)
		p.report.Readers = append(p.report.Readers, r.ReaderResult)
	}
	if p.report.Table != nil && len(p.report.Table.Rows) == 0 {
		p.report.Table.Rows = p.dull
	}
}

var errLossy = errors.New("the value does not fit")
