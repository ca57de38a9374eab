//go:build cgo

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/kafka"
)

// lagMeter estimates lags from offsets alone. Admin.Lag reads the next record of every partition, which is exact and, in
// a pipeline that takes all of a machine, slow and part of the load; this asks for ends and positions only and remembers
// when a topic's end stood where a group's position stands now.
type lagMeter struct {
	admin  *kafka.Admin
	groups []meteredGroup
	parts  map[string][]kafka.TopicPartition // by topic
	ends   map[string][]endAt                // by topic, the history of the sum of its ends
}

type meteredGroup struct {
	name, topic string
	// before is the group that writes the topic: what it is behind comes on top. Empty for what the loader writes.
	before string
}

// endAt is the sum of a topic's end offsets at a moment.
type endAt struct {
	at  time.Time
	sum int64
}

func newLagMeter(ctx context.Context, admin *kafka.Admin, groups map[string][]string) (*lagMeter, error) {
	m := &lagMeter{admin: admin, parts: map[string][]kafka.TopicPartition{}, ends: map[string][]endAt{}}
	for name, topics := range groups {
		described, err := admin.Describe(ctx, topics...)
		if err != nil {
			return nil, err
		}
		for _, topic := range topics {
			d, ok := described[topic]
			if !ok {
				return nil, fmt.Errorf("topic %s of group %s does not exist; run `streamforge apply`", topic, name)
			}
			m.parts[topic] = d.TopicPartitions()
			group := meteredGroup{name: name, topic: topic}
			if topic != "raw-frames" {
				group.before = "parser"
			}
			m.groups = append(m.groups, group)
		}
	}
	// The parser first: the others' lags rest on its.
	slices.SortFunc(m.groups, func(a, b meteredGroup) int { return strings.Compare(a.before+a.name, b.before+b.name) })
	return m, nil
}

// Measure asks once for every topic's ends and every group's positions.
func (m *lagMeter) Measure(ctx context.Context) ([]GroupLag, error) {
	var all []kafka.TopicPartition
	for _, parts := range m.parts {
		all = append(all, parts...)
	}
	ends, err := m.admin.Offsets(ctx, all, true)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for topic, parts := range m.parts {
		var sum int64
		for _, tp := range parts {
			sum += ends[tp].Latest
		}
		m.ends[topic] = append(m.ends[topic], endAt{at: now, sum: sum})
	}
	seconds := map[string]float64{}
	lags := make([]GroupLag, 0, len(m.groups))
	for _, g := range m.groups {
		committed, err := m.admin.GroupOffsets(ctx, g.name, m.parts[g.topic])
		if err != nil {
			return nil, fmt.Errorf("lag of %s: %w", g.name, err)
		}
		lag := GroupLag{Group: g.name}
		var position int64
		for _, c := range committed {
			at := max(c.Offset, ends[c.TopicPartition].Earliest)
			position += at
			lag.Records += max(0, ends[c.TopicPartition].Latest-at)
		}
		if lag.Records > 0 {
			lag.Seconds = now.Sub(reached(m.ends[g.topic], position)).Seconds()
		}
		lag.Seconds += seconds[g.before]
		seconds[g.name] = lag.Seconds
		lags = append(lags, lag)
	}
	return lags, nil
}

// reached is when the end of a topic stood at position, between two looks in proportion; before the first look it is
// unknown, and the first look the best that can be said.
func reached(history []endAt, position int64) time.Time {
	i, _ := slices.BinarySearchFunc(history, position, func(e endAt, p int64) int {
		if e.sum < p {
			return -1
		}
		return 1
	})
	switch {
	case i == 0:
		return history[0].at
	case i == len(history):
		return history[i-1].at
	}
	from, to := history[i-1], history[i]
	part := float64(position-from.sum) / float64(max(1, to.sum-from.sum))
	return from.at.Add(time.Duration(part * float64(to.at.Sub(from.at))))
}
