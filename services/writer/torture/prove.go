package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// found is where one record of the topic came to.
type found struct {
	number  int // of the record, -1 for a key that the producer never wrote
	rows    int
	letters int
	row     tableRow
}

// tableRow is what the table says of a record.
type tableRow struct {
	id    string
	noted bool
}

// maxShown bounds the anomalies of one kind that are told one by one.
const maxShown = 5

// prove heals what is left, waits until the writers are through, and compares.
func (c *campaign) prove(ctx context.Context) (*result, error) {
	r := &result{seed: c.seed, faults: c.faults, dir: c.dir}
	c.sink.settle()
	c.wire.settle()
	c.say("every insert that was struck has come to its end")
	flushing, cancel := context.WithTimeout(ctx, healing)
	err := c.traffic.flush(flushing)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("the producer's records are not acknowledged %s after the faults: %w", healing, err)
	}
	began := time.Now()
	err = c.settled(ctx)
	r.healed = time.Since(began)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.anomalies = append(r.anomalies, err.Error()+"; "+c.groupState(ctx))
		if c.unread, err = c.behind(ctx); err != nil {
			return nil, err
		}
		c.say("%s", r.anomalies[0])
	} else {
		c.say("lag is 0 and the writers are ready")
	}
	for _, name := range named {
		if err := c.stack.StopProgram(name); err != nil {
			r.anomalies = append(r.anomalies, "drain: "+err.Error())
		}
	}
	places, err := c.readTopic(ctx, r)
	if err != nil {
		return nil, err
	}
	old := c.oldPlaces()
	if err := c.readTable(ctx, places, old, r); err != nil {
		return nil, err
	}
	if err := c.readLetters(ctx, places, old, r); err != nil {
		return nil, err
	}
	c.compare(places, r)
	c.compareOld(old, r)
	if c.plan.Candles {
		err = c.compareCandles(ctx, r)
	} else {
		err = c.compareView(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	c.sink.mutex.Lock()
	r.inserts, r.struck = c.sink.passed, c.sink.counts
	c.sink.mutex.Unlock()
	c.wire.mutex.Lock()
	r.fetches = c.wire.asked
	c.wire.mutex.Unlock()
	return r, nil
}

// settled waits until every committed offset is the partition's end and each writer says that it is well.
func (c *campaign) settled(ctx context.Context) error {
	last := error(nil)
	for end := time.Now().Add(healing); time.Now().Before(end); {
		asking, cancel := context.WithTimeout(ctx, 20*time.Second)
		last = c.caughtUp(asking)
		cancel()
		if last == nil {
			return nil
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("not healed %s after the faults: %w", healing, last)
}

func (c *campaign) caughtUp(ctx context.Context) error {
	lags, err := c.admin.Lag(ctx, group, []string{topic})
	if err != nil {
		return err
	}
	for _, lag := range lags {
		if lag.Records > 0 {
			err = fmt.Errorf("partition %d: %d is committed and %d the end", lag.Partition, lag.Committed, lag.End)
		}
	}
	// What was committed for the topic that was there before says nothing of this one.
	var parts []kafka.TopicPartition
	for number := range int32(partitions) {
		parts = append(parts, kafka.TopicPartition{Topic: topic, Partition: number})
	}
	committed, askErr := c.admin.GroupOffsets(ctx, group, parts)
	if askErr != nil {
		return askErr
	}
	for _, at := range committed {
		if id := strings.ReplaceAll(uuidText(c.topicID), "-", ""); at.Offset >= 0 && !strings.Contains(at.Metadata, id) {
			err = fmt.Errorf("partition %d: what is committed is not of topic id %s: %.100q", at.Partition, id, at.Metadata)
		}
	}
	for _, name := range named {
		if state := ready(ctx, c.stack.HTTP(name)); state != nil {
			err = fmt.Errorf("%s: %w (lag: %v)", name, state, err)
		}
	}
	return err
}

// groupState says what the coordinator knows of the writers.
func (c *campaign) groupState(ctx context.Context) string {
	groups, err := c.admin.Groups(ctx)
	if err != nil {
		return err.Error()
	}
	for _, g := range groups {
		if g.Group == group {
			return fmt.Sprintf("the group: %+v", g)
		}
	}
	return "there is no group " + group
}

// behind is the committed offset of every partition that the writers have not read to its end: what stands from there on is
// late, and not lost.
func (c *campaign) behind(ctx context.Context) (map[int32]int64, error) {
	asking, cancel := context.WithTimeout(ctx, healing)
	defer cancel()
	lags, err := c.admin.Lag(asking, group, []string{topic})
	unread := map[int32]int64{}
	for _, lag := range lags {
		if lag.Records > 0 {
			unread[lag.Partition] = lag.Committed
		}
	}
	return unread, err
}

// late says whether a record stands where a writer that stopped reading has not been.
func (c *campaign) late(at place) bool {
	committed, behind := c.unread[at.partition]
	return behind && at.offset >= committed
}

// readTopic lists what the topic holds, which has to be all that was acknowledged, at its place.
func (c *campaign) readTopic(ctx context.Context, r *result) (map[place]*found, error) {
	places := map[place]*found{}
	err := kafka.ReadAll(ctx, c.kafka, []string{topic}, func(record kafka.Record) error {
		number, err := strconv.Atoi(string(record.Key))
		if err != nil || number >= len(c.traffic.records) {
			number = -1
		}
		places[place{record.Partition, record.Offset}] = &found{number: number}
		return nil
	})
	r.records = len(places)
	missing := anomalies{result: r, what: "an acknowledged record is not in the topic"}
	for number, record := range c.traffic.records {
		if !record.acknowledged {
			r.unanswered++
			continue
		}
		if record.old {
			continue
		}
		if at := places[record.place]; at == nil || at.number != number {
			missing.add("record %d, %s", number, record.place)
			r.lost++
		}
	}
	missing.end()
	return places, err
}

func (p place) String() string { return fmt.Sprintf("partition %d offset %d", p.partition, p.offset) }

// oldPlaces are those of the records that the topic held before it was made again.
func (c *campaign) oldPlaces() map[place]*found {
	places := map[place]*found{}
	for number, record := range c.traffic.records {
		if record.old && record.acknowledged {
			places[record.place] = &found{number: number}
		}
	}
	return places
}

// at finds a place in the topic of an id; nil when that is neither the topic's nor the old one's. Of the old one some places are not
// known, where a record was not acknowledged.
func (c *campaign) at(places, old map[place]*found, id string, at place) *found {
	switch {
	case id == uuidText(c.topicID):
		return places[at]
	case c.oldID == [16]byte{} || id != uuidText(c.oldID):
		return nil
	case old[at] == nil:
		old[at] = &found{number: -1}
	}
	return old[at]
}

func (c *campaign) readTable(ctx context.Context, places, old map[place]*found, r *result) error {
	noted := "''"
	if c.traffic.schemas[1] != 0 {
		noted = "ifNull(note, '')"
	}
	rows, err := c.clickhouse.Query(ctx, fmt.Sprintf("SELECT toString(_topic_id), _partition, _offset, trade_id, %s FROM %s", noted, table))
	if err != nil {
		return err
	}
	defer rows.Close()
	strangers := anomalies{result: r, what: "a row stands for no record of the topic"}
	for rows.Next() {
		var topicID, text string
		var at place
		var row tableRow
		if err := rows.Scan(&topicID, &at.partition, &at.offset, &row.id, &text); err != nil {
			return err
		}
		row.noted = text == "hi"
		r.rows++
		f := c.at(places, old, topicID, at)
		if f == nil {
			strangers.add("topic id %s, %s, trade %s", topicID, at, row.id)
			continue
		}
		f.rows++
		f.row = row
	}
	strangers.end()
	return rows.Err()
}

// readLetters counts dead letters by the coordinates in their keys.
func (c *campaign) readLetters(ctx context.Context, places, old map[place]*found, r *result) error {
	strangers := anomalies{result: r, what: "a dead letter stands for no record of the topic"}
	err := kafka.ReadAll(ctx, c.kafka, []string{deadletters.Topic}, func(record kafka.Record) error {
		r.letters++
		words := strings.Split(string(record.Key), "/")
		var at place
		if len(words) == 5 && words[0] == group {
			if _, err := fmt.Sscan(words[2]+" "+words[3], &at.partition, &at.offset); err == nil {
				if f := c.at(places, old, words[1], at); f != nil {
					f.letters++
					return nil
				}
			}
		}
		strangers.add("%s", record.Key)
		return nil
	})
	strangers.end()
	return err
}

// compare holds every record against where it came to.
func (c *campaign) compare(places map[place]*found, r *result) {
	lost := anomalies{result: r, what: "a record is neither in the table nor in dead letters"}
	twice := anomalies{result: r, what: "a record is there more than once"}
	wrong := anomalies{result: r, what: "a record is not what was sent"}
	judged := anomalies{result: r, what: "a record is on the wrong side"}
	for at, f := range places {
		switch {
		case f.rows+f.letters == 0 && c.late(at):
			continue
		case f.rows+f.letters == 0:
			r.lost++
			lost.add("record %d, %s", f.number, at)
			continue
		case f.rows+f.letters > 1:
			r.duplicated++
			twice.add("record %d, %s: %d rows, %d letters", f.number, at, f.rows, f.letters)
			continue
		case f.number < 0:
			wrong.add("%s has a key that nobody sent", at)
			continue
		}
		record := c.traffic.records[f.number]
		switch {
		case record.bad != (f.letters == 1):
			judged.add("record %d, %s: %d rows, %d letters, bad: %v", f.number, at, f.rows, f.letters, record.bad)
		case f.rows == 1 && (f.row.id != strconv.Itoa(f.number) || f.row.noted != record.noted):
			wrong.add("record %d, %s: the row has trade %s, note %v, not %v", f.number, at, f.row.id, f.row.noted, record.noted)
		}
	}
	for _, a := range []*anomalies{&lost, &twice, &wrong, &judged} {
		a.end()
	}
}

// compareOld holds what came from the old topic against what was in it. What the writers had not read of it is gone, and no anomaly.
func (c *campaign) compareOld(old map[place]*found, r *result) {
	twice := anomalies{result: r, what: "a record of the old topic is there more than once"}
	wrong := anomalies{result: r, what: "a record of the old topic is not what was sent"}
	for at, f := range old {
		switch {
		case f.rows+f.letters > 1:
			r.duplicated++
			twice.add("record %d, %s: %d rows, %d letters", f.number, at, f.rows, f.letters)
		case f.rows == 1:
			number, err := strconv.Atoi(f.row.id)
			if err != nil || number >= len(c.traffic.records) || f.number >= 0 && number != f.number || !c.traffic.records[number].old || c.traffic.records[number].bad {
				wrong.add("record %d, %s: the row has trade %s", f.number, at, f.row.id)
			}
		case f.letters == 1 && f.number >= 0 && !c.traffic.records[f.number].bad:
			wrong.add("record %d, %s: a dead letter, and it was good", f.number, at)
		}
	}
	twice.end()
	wrong.end()
}

// compareView holds the view's buckets against what its query says of the table.
func (c *campaign) compareView(ctx context.Context, r *result) error {
	rows, err := c.clickhouse.Query(ctx, fmt.Sprintf(`SELECT symbol, toString(minute), toInt64(sum(have)), toInt64(sum(want)), toInt64(sum(have_v * 100)), toInt64(sum(want_v * 100)), toInt64(sum(gone)) FROM (
		SELECT symbol, minute, 0 AS have, trades AS want, CAST(0, 'Decimal(38, 18)') AS have_v, volume AS want_v, 0 AS gone FROM (%s)
		UNION ALL SELECT symbol, minute, trades, 0, volume, CAST(0, 'Decimal(38, 18)'), 0 FROM %s
		UNION ALL SELECT symbol, toStartOfMinute(toDateTime(received_at)), 0, 0, CAST(0, 'Decimal(38, 18)'), CAST(0, 'Decimal(38, 18)'), 1 FROM %s WHERE _topic_id = '%s')
		GROUP BY symbol, minute`, minutesQuery, minutes, table, uuidText(c.oldID)))
	if err != nil {
		return err
	}
	defer rows.Close()
	differ := anomalies{result: r, what: "a bucket of the view is not what the table says"}
	for rows.Next() {
		var symbol, minute string
		var have, want, haveVolume, wantVolume, old int64
		if err := rows.Scan(&symbol, &minute, &have, &want, &haveVolume, &wantVolume, &old); err != nil {
			return err
		}
		r.buckets++
		if have < want && have >= want-old {
			continue // The topic was made again while a block of the old one was on its way into the view: its records are gone.
		}
		if have != want || haveVolume != wantVolume {
			differ.add("%s %s: %d trades, not %d; volume %d, not %d hundredths", symbol, minute, have, want, haveVolume, wantVolume)
		}
	}
	differ.end()
	return rows.Err()
}

// compareCandles holds every resolution of the candles against the table, by symbol and hour.
func (c *campaign) compareCandles(ctx context.Context, r *result) error {
	differ := anomalies{result: r, what: "candles are not what the table says"}
	for _, target := range c.targets {
		rows, err := c.clickhouse.Query(ctx, fmt.Sprintf(`SELECT symbol, toString(hour), toInt64(sum(have)), toInt64(sum(want)), toInt64(sum(have_v * 100)), toInt64(sum(want_v * 100)), toInt64(sum(gone)) FROM (
			SELECT symbol, toStartOfHour(time) AS hour, trades AS have, 0 AS want, volume AS have_v, CAST(0, 'Decimal(76, 18)') AS want_v, 0 AS gone FROM %s
			UNION ALL SELECT symbol, toStartOfHour(toDateTime(received_at, 'UTC')), 0, 1, CAST(0, 'Decimal(76, 18)'), CAST(quantity, 'Decimal(76, 18)'), toUInt8(_topic_id = '%s') FROM %s)
			GROUP BY symbol, hour`, target, uuidText(c.oldID), table))
		if err != nil {
			return err
		}
		for rows.Next() {
			var symbol, hour string
			var have, want, haveVolume, wantVolume, old int64
			if err := rows.Scan(&symbol, &hour, &have, &want, &haveVolume, &wantVolume, &old); err != nil {
				rows.Close()
				return err
			}
			r.buckets++
			// The topic was made again while a block of the old one was on its way into the view: its records are gone.
			if gone := have < want && have >= want-old; !gone && (have != want || haveVolume != wantVolume) {
				differ.add("%s, %s %s: %d trades, not %d; volume %d, not %d hundredths", target, symbol, hour, have, want, haveVolume, wantVolume)
			}
		}
		err = rows.Err()
		rows.Close()
		if err != nil {
			return err
		}
	}
	differ.end()
	return nil
}

// anomalies of one kind: the first few in full, the others as a number.
type anomalies struct {
	result *result
	what   string
	count  int
}

func (a *anomalies) add(format string, args ...any) {
	if a.count++; a.count <= maxShown {
		a.result.anomalies = append(a.result.anomalies, a.what+": "+fmt.Sprintf(format, args...))
	}
}

func (a *anomalies) end() {
	if more := a.count - maxShown; more > 0 {
		a.result.anomalies = append(a.result.anomalies, fmt.Sprintf("%s: %d more", a.what, more))
	}
}
