package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// maxDiverted bounds how many dead letters of a converter a comparison can take into account.
const maxDiverted = 1_000_000

// Compare compares the two versions record by record: each record of one with the one that was made from it in the other,
// found by its coordinates. It reads both topics once for each direction, in order, and keeps nothing of them.
func Compare(ctx context.Context, c Cluster, p *Pair) (Report, error) {
	l, err := openLogs(ctx, c, p)
	if err != nil {
		return Report{}, err
	}
	report := Report{From: p.From.Topic.Name, To: p.To.Topic.Name}
	for _, d := range []struct {
		direction       Direction
		origins, copies []*kafkaLog
		done            []int64
		result          *DirectionReport
	}{{Up, l.fromLog, l.toLog, l.upDone, &report.Up}, {Down, l.toLog, l.fromLog, l.downDone, &report.Down}} {
		w := &comparing{cluster: c, pair: p, direction: d.direction, result: d.result}
		d.result.Differing = map[string]int64{}
		if w.diverted, err = divertedBy(ctx, c, p, d.direction, d.origins[0].tp.Topic, d.copies[0].other.ID); err != nil {
			return report, err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(maxReaders)
		for i := range d.origins {
			group.Go(func() error { return w.partition(ctx, d.origins[i], d.copies[i], d.done[i]) })
		}
		if err := group.Wait(); err != nil {
			return report, err
		}
	}
	return report, nil
}

// at is a record's place in the topic of the origin.
type at struct {
	partition int32
	offset    int64
}

// divertedBy reads which records a converter has sent to the dead letters, from the letters' keys.
func divertedBy(ctx context.Context, c Cluster, p *Pair, d Direction, topic string, topicID [16]byte) (map[at]bool, error) {
	found := map[at]bool{}
	prefix := p.Group(d) + "/" + uuid.UUID(topicID).String() + "/"
	err := kafka.ReadAll(ctx, c.Kafka, []string{deadletters.Topic}, func(r kafka.Record) error {
		rest, ours := strings.CutPrefix(string(r.Key), prefix)
		if !ours {
			return nil
		}
		parts := strings.Split(rest, "/")
		if len(parts) != 3 {
			return fmt.Errorf("dead letter at offset %d of partition %d has the key %q; it is group/topic id/partition/offset/item", r.Offset, r.Partition, r.Key)
		}
		partition, badPartition := strconv.ParseInt(parts[0], 10, 32)
		offset, badOffset := strconv.ParseInt(parts[1], 10, 64)
		if err := errors.Join(badPartition, badOffset); err != nil {
			return fmt.Errorf("the key %q of a dead letter: %w", r.Key, err)
		}
		if len(found) == maxDiverted {
			return fmt.Errorf("group %s has more than %d dead letters of %s; mend the mapping first", p.Group(d), maxDiverted, topic)
		}
		found[at{int32(partition), offset}] = true
		return nil
	})
	return found, err
}

// comparing is one direction's comparison.
type comparing struct {
	cluster   Cluster
	pair      *Pair
	direction Direction
	diverted  map[at]bool

	mutex  sync.Mutex
	result *DirectionReport
}

// stream is one topic's records of a kind, to be pulled.
type stream struct {
	next   func() (kafka.Record, error, bool)
	wanted func(e entry) bool
	other  *kafka.TopicDescription

	record kafka.Record
	entry  entry
	open   bool
}

func (s *stream) advance() error {
	for {
		r, err, ok := s.next()
		if !ok || err != nil {
			s.open = false
			return err
		}
		e, err := entryOf(&r, s.other)
		if err != nil {
			return fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		if s.wanted(e) {
			s.record, s.entry, s.open = r, e, true
			return nil
		}
	}
}

// partition walks both topics beside one another.
func (w *comparing) partition(ctx context.Context, origins, copies *kafkaLog, done int64) error {
	open := func(l *kafkaLog, wanted func(entry) bool) (*stream, func()) {
		next, stop := iter.Pull2(kafka.Range(ctx, l.client, l.tp, l.held))
		return &stream{next: next, wanted: wanted, other: l.other}, stop
	}
	a, stopA := open(origins, func(e entry) bool { return e.source == native })
	defer stopA()
	b, stopB := open(copies, func(e entry) bool { return e.source != native })
	defer stopB()
	if err := errors.Join(a.advance(), b.advance()); err != nil {
		return err
	}
	m := merge{w: w, origins: origins, copies: copies, done: done, last: -1, judge: newJudge(w.cluster, w.pair, w.direction)}
	for a.open || b.open {
		var err error
		switch {
		case b.open && (!a.open || b.entry.source < a.entry.offset):
			m.alone(b)
			err = b.advance()
		case a.open && (!b.open || a.entry.offset < b.entry.source):
			m.without(a)
			err = a.advance()
		default:
			if err = m.both(ctx, a, b); err == nil {
				err = errors.Join(a.advance(), b.advance())
			}
		}
		if err != nil {
			return err
		}
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.result.add(m.result)
	return nil
}

// merge is where the walk is.
type merge struct {
	w               *comparing
	origins, copies *kafkaLog
	done            int64 // up to where the converter has come
	last            int64 // the newest source that was seen
	judge           *judge
	result          DirectionReport
}

// alone takes a copy whose origin is not there, or not there any more.
func (m *merge) alone(b *stream) {
	s := Sample{Partition: b.record.Partition, Offset: b.entry.source, CopyOffset: b.record.Offset}
	switch {
	case b.entry.source == foreign:
		m.result.Foreign++
		return
	case b.entry.source <= m.last:
		m.result.Extra++
		s.Kind = "doubled, or out of order"
	case b.entry.source < m.origins.held.Earliest:
		m.result.Expired++
		m.last = b.entry.source
		return
	case b.entry.source >= m.origins.held.Latest:
		// Written after the comparison began.
		return
	default:
		m.result.Extra++
		s.Kind = "without an origin"
		m.last = b.entry.source
	}
	m.result.sample(s)
}

// without takes a record that has no copy.
func (m *merge) without(a *stream) {
	r := a.record
	switch {
	case m.w.diverted[at{r.Partition, r.Offset}]:
		m.result.Diverted++
		m.result.sample(Sample{Kind: "in the dead letters", Partition: r.Partition, Offset: r.Offset})
	case r.Offset >= m.done:
		m.result.Waiting++
	case m.copies.held.Earliest > 0 && m.last < 0:
		m.result.Expired++
	default:
		m.result.Missing++
		m.result.sample(Sample{Kind: "missing", Partition: r.Partition, Offset: r.Offset})
	}
}

// both compares a record with its copy.
func (m *merge) both(ctx context.Context, a, b *stream) error {
	m.last = b.entry.source
	m.result.Compared++
	differences, err := m.judge.differences(ctx, &a.record, &b.record)
	if err != nil || len(differences) == 0 {
		return err
	}
	m.result.Different++
	if m.result.Differing == nil {
		m.result.Differing = map[string]int64{}
	}
	for _, d := range differences {
		m.result.Differing[d.Field]++
		d.Kind, d.Partition, d.Offset, d.CopyOffset = "different", a.record.Partition, a.record.Offset, b.record.Offset
		m.result.sample(d)
	}
	return nil
}

// judge says what a copy should have been.
type judge struct {
	convert          func(dst, body []byte) ([]byte, error)
	origins, copies  *subscription.Values
	text             string
	fields           *dynamic.Reader
	expected, actual []byte
}

func newJudge(c Cluster, p *Pair, d Direction) *judge {
	source, target, convert := p.sides(d)
	return &judge{
		convert: convert, text: target.Text,
		origins: subscription.NewValues(c.Registry, source.Subject, source.Text), copies: subscription.NewValues(c.Registry, target.Subject, target.Text),
	}
}

// differences between what was made of a record and what should have been. An error is not the records'.
func (j *judge) differences(ctx context.Context, a, b *kafka.Record) ([]Sample, error) {
	var found []Sample
	tell := func(field, want, got string) { found = append(found, Sample{Field: field, Want: want, Got: got}) }
	if !bytes.Equal(a.Key, b.Key) {
		tell("(key)", strconv.Quote(string(a.Key)), strconv.Quote(string(b.Key)))
	}
	if a.TimestampMs >= 0 && a.TimestampMs != b.TimestampMs {
		tell("(timestamp)", strconv.FormatInt(a.TimestampMs, 10), strconv.FormatInt(b.TimestampMs, 10))
	}
	want, errWant := j.body(ctx, j.origins, a, j.convert, &j.expected)
	got, errGot := j.body(ctx, j.copies, b, nil, &j.actual)
	for _, err := range []error{errWant, errGot} {
		var blocked *subscription.BlockedError
		if errors.As(err, &blocked) {
			return nil, err
		}
	}
	switch {
	case errWant != nil || errGot != nil:
		tell("(value)", shown(errWant), shown(errGot))
		return found, nil
	case bytes.Equal(want, got) && (want == nil) == (got == nil):
		return found, nil
	}
	return found, j.fieldwise(want, got, tell)
}

func shown(err error) string {
	if err == nil {
		return "readable"
	}
	return err.Error()
}

// body is a record's value in the target's form; nil for a tombstone.
func (j *judge) body(ctx context.Context, values *subscription.Values, r *kafka.Record, convert func(dst, body []byte) ([]byte, error), into *[]byte) ([]byte, error) {
	if r.Value == nil {
		return nil, nil
	}
	body, err := values.Body(ctx, r.Value)
	if err != nil {
		return nil, err
	}
	if convert == nil {
		*into = append((*into)[:0], body...)
	} else if *into, err = convert((*into)[:0], body); err != nil {
		return nil, err
	}
	if *into == nil {
		*into = []byte{}
	}
	return *into, nil
}

// fieldwise names the fields in which two bodies differ; bodies may differ and say the same.
func (j *judge) fieldwise(want, got []byte, tell func(field, want, got string)) error {
	if j.fields == nil {
		var err error
		if j.fields, err = dynamic.NewReader(j.text); err != nil {
			return err
		}
	}
	if want == nil || got == nil {
		tell("(value)", tombstone(want), tombstone(got))
		return nil
	}
	x, errX := j.fields.Read(want)
	y, errY := j.fields.Read(got)
	if errX != nil || errY != nil {
		tell("(value)", shown(errX), shown(errY))
		return nil
	}
	for _, path := range j.fields.Fields() {
		a, b := jsonOf(x.At(path)), jsonOf(y.At(path))
		if a != b {
			tell(path, a, b)
		}
	}
	return nil
}

func tombstone(body []byte) string {
	if body == nil {
		return "a tombstone"
	}
	return "a value"
}

func jsonOf(values []dynamic.Value) string {
	text := []byte{}
	for i, v := range values {
		if i > 0 {
			text = append(text, ", "...)
		}
		text = v.AppendJSON(text)
	}
	return string(text)
}
