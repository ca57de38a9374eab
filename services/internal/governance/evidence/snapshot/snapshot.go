// Package snapshot asks a cluster what lives on it and makes package evidence's file of the answers. It reads: it joins no
// group and commits nothing.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/evidence"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// DefaultRecords of each partition that are looked at.
const DefaultRecords = 200

// Bounds of what one product may put into the file; what is beyond them is left out, the lists say so by their length.
const (
	maxVersions  = 1000
	maxProducers = 100
	maxGroups    = 10_000
	maxGroupName = 249
)

// Config says of what a snapshot is taken.
type Config struct {
	// Cluster is the name that people call it by.
	Cluster string
	// RecordsPerPartition are looked at, the newest; 0 means DefaultRecords.
	RecordsPerPartition int
	Contracts           []contract.Contract
	// Now is the time of the snapshot.
	Now time.Time
}

// Registry is what is asked of a schema registry; *registry.Client is one.
type Registry interface {
	VersionOf(ctx context.Context, id int, subject string) (int, error)
}

// Take takes a snapshot. Products whose topic the cluster does not have, and those on which nothing lives, are left out.
func Take(ctx context.Context, client kafka.ClientConfig, versions Registry, config Config) (evidence.Snapshot, error) {
	if config.RecordsPerPartition == 0 {
		config.RecordsPerPartition = DefaultRecords
	}
	s := evidence.Snapshot{Cluster: config.Cluster, Date: day(config.Now), RecordsPerPartition: config.RecordsPerPartition}
	if config.RecordsPerPartition < 0 {
		return s, fmt.Errorf("%d records of each partition: must be at least 1", config.RecordsPerPartition)
	}
	admin, err := kafka.NewAdmin(client)
	if err != nil {
		return s, err
	}
	defer admin.Close()
	t := taking{Config: config, client: client, admin: admin, versions: versions}
	if t.groups, err = admin.Groups(ctx); err != nil {
		return s, err
	}
	topics := make([]string, len(config.Contracts))
	for i, c := range config.Contracts {
		topics[i] = c.Topic.Name
	}
	described, err := admin.Describe(ctx, topics...)
	if err != nil {
		return s, err
	}
	if err := t.readOffsets(ctx, described); err != nil {
		return s, err
	}
	for _, c := range config.Contracts {
		d, exists := described[c.Topic.Name]
		if !exists {
			continue
		}
		p, err := t.product(ctx, c, d)
		if err != nil {
			return s, fmt.Errorf("looking at what lives on %s: %w", c.ID, err)
		}
		if len(p.Groups) > 0 || len(p.Versions) > 0 {
			s.Products = append(s.Products, p)
		}
	}
	return s, nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// taking is a snapshot in the making.
type taking struct {
	Config
	client   kafka.ClientConfig
	admin    *kafka.Admin
	versions Registry
	groups   []kafka.GroupDescription
	// committed are the groups' offsets on the products' topics, without those that were never committed.
	committed map[string]map[kafka.TopicPartition]int64
}

// readOffsets asks each group once, for all topics: a cluster may have thousands of groups.
func (t *taking) readOffsets(ctx context.Context, topics map[string]kafka.TopicDescription) error {
	var parts []kafka.TopicPartition
	for _, d := range topics {
		parts = append(parts, d.TopicPartitions()...)
	}
	t.committed = map[string]map[kafka.TopicPartition]int64{}
	for _, g := range t.groups {
		if g.Group == "" || len(g.Group) > maxGroupName {
			continue
		}
		offsets, err := t.admin.GroupOffsets(ctx, g.Group, parts)
		if errors.Is(err, kafka.ErrDenied) {
			return fmt.Errorf("group %s: %w; evidence needs the right to describe every group", g.Group, err)
		}
		if err != nil {
			return err
		}
		committed := map[kafka.TopicPartition]int64{}
		for _, o := range offsets {
			if o.Offset > 0 {
				committed[o.TopicPartition] = o.Offset
			}
		}
		t.committed[g.Group] = committed
	}
	return nil
}

func (t taking) product(ctx context.Context, c contract.Contract, d kafka.TopicDescription) (evidence.Product, error) {
	p := evidence.Product{Product: c.ID}
	var err error
	if p.Versions, err = t.onTheWire(ctx, c); err != nil {
		return p, err
	}
	p.Groups, err = t.groupsOf(ctx, d)
	return p, err
}

// producerName is what a file may carry of the header: a program and its version. Whatever else somebody writes there is
// left out, since it could be a host's name or an address.
var producerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,49}@[A-Za-z0-9][A-Za-z0-9._+/-]{0,48}$`)

// onTheWire lists the schemas of the newest records.
func (t taking) onTheWire(ctx context.Context, c contract.Contract) ([]evidence.Version, error) {
	byID := map[int]*evidence.Version{}
	err := kafka.ReadLast(ctx, t.client, []string{c.Topic.Name}, int64(t.RecordsPerPartition), func(r kafka.Record) error {
		id, _, err := registry.ParseWire(r.Value)
		if err != nil {
			return nil //nolint:nilerr // a tombstone, or what no registry knows: it has no version to tell of
		}
		v := byID[id]
		if v == nil {
			if len(byID) == maxVersions {
				return nil
			}
			v = &evidence.Version{SchemaID: id}
			byID[id] = v
		}
		// A producer's clock may be ahead of ours.
		v.LastWritten = max(v.LastWritten, min(day(time.UnixMilli(max(r.TimestampMs, 0))), day(t.Now)))
		if name := producerOf(r); name != "" && len(v.Producers) < maxProducers && !slices.Contains(v.Producers, name) {
			v.Producers = append(v.Producers, name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all []evidence.Version
	for id, v := range byID {
		// A version that somebody deleted softly is still what these records are.
		if v.Version, err = t.versions.VersionOf(ctx, id, c.Subject); err != nil {
			return nil, err
		}
		all = append(all, *v)
	}
	return all, nil
}

func producerOf(r kafka.Record) string {
	for _, h := range r.Headers {
		if h.Name == "producer" && producerName.Match(h.Value) {
			return string(h.Value)
		}
	}
	return ""
}

// standing is where a group is on one topic.
type standing struct {
	group     evidence.Group
	committed map[kafka.TopicPartition]int64
}

// groupsOf lists the groups that have committed offsets on a topic, and those that read it now without committing any: where
// they stand is their own business, what they read is not.
func (t taking) groupsOf(ctx context.Context, d kafka.TopicDescription) ([]evidence.Group, error) {
	parts := d.TopicPartitions()
	var found []*standing
	for _, g := range t.groups {
		all, asked := t.committed[g.Group]
		if !asked || len(found) == maxGroups {
			continue
		}
		s := &standing{evidence.Group{Group: g.Group, Members: g.Reads(d.Name)}, map[kafka.TopicPartition]int64{}}
		for tp, offset := range all {
			if tp.Topic == d.Name {
				s.committed[tp] = offset
			}
		}
		if len(s.committed) > 0 || assigned(g, d.Name) {
			found = append(found, s)
		}
	}
	if err := t.readUpTo(ctx, parts, found); err != nil {
		return nil, err
	}
	groups := make([]evidence.Group, len(found))
	for i, s := range found {
		groups[i] = s.group
	}
	return groups, nil
}

// assigned tells whether a member of the group has a partition of the topic.
func assigned(g kafka.GroupDescription, topic string) bool {
	return slices.ContainsFunc(g.Members, func(m kafka.GroupMember) bool {
		return slices.ContainsFunc(m.Assignment, func(tp kafka.TopicPartition) bool { return tp.Topic == topic })
	})
}

// readUpTo finds the day of the newest record that each group has read. Nothing in Kafka's protocol says when a group
// committed, so that the records before its offsets have to tell.
func (t taking) readUpTo(ctx context.Context, parts []kafka.TopicPartition, groups []*standing) error {
	midnight := t.Now.UTC().Truncate(24 * time.Hour)
	for back := 0; back < evidence.DaysBack; back++ {
		var open []*standing
		for _, s := range groups {
			if s.group.ReadUpTo == "" {
				open = append(open, s)
			}
		}
		if len(open) == 0 {
			return nil
		}
		start := midnight.AddDate(0, 0, -back)
		first, err := t.admin.OffsetForTime(ctx, parts, start)
		if err != nil {
			return err
		}
		for _, s := range open {
			for tp, offset := range s.committed {
				if offset > first[tp] {
					s.group.ReadUpTo = day(start)
				}
			}
		}
	}
	return nil
}
