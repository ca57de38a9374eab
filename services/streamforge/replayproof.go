//go:build cgo

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/governance/replayproof"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// provenCheck is the check with a proof by real records, which needs a broker.
type provenCheck struct {
	checkCommand
	Kafka  kafka.ClientConfig `embed:""`
	Replay string             `name:"replay" placeholder:"TOPIC[:N]" help:"Also try the topic's newest N records (1000) on the change: read with the new schema, written with it for every declared reader, and as rows."`
}

// Run is the command: the check's exit status, or with --replay the worse of both.
func (c *provenCheck) Run(ctx context.Context, cli *commandLine) error {
	if c.Replay == "" {
		return c.checkCommand.Run(ctx)
	}
	topic, records, err := parseReplay(c.Replay)
	if err != nil {
		return err
	}
	cluster := clusterFlags{Kafka: c.Kafka, Registry: c.Registry}
	kind := cluster.resolve(cli)
	c.Kafka, c.Registry = cluster.Kafka, cluster.Registry
	judged, err := c.report(ctx)
	if err != nil {
		return printProblems(err)
	}
	proof, err := c.prove(ctx, topic, records, judged)
	if err != nil {
		return orNothingRuns(kind, err)
	}
	if err := c.print(judged, proof); err != nil {
		return err
	}
	// Incompatible outweighs what could not be judged, wherever it was found.
	for _, code := range []int{check.ExitIncompatible, replayproof.ExitUnjudged} {
		if judged.ExitCode() == code || proof.ExitCode() == code {
			return exitError{code}
		}
	}
	return nil
}

func (c *provenCheck) print(judged check.Report, proof replayproof.Report) error {
	if c.JSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			Check  check.Report       `json:"check"`
			Replay replayproof.Report `json:"replay"`
		}{judged, proof})
	}
	if err := judged.WriteText(os.Stdout); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout)
	return proof.WriteText(os.Stdout)
}

// The records that a replay reads: by default, and at most, so that a slip of the hand does not read a topic for hours.
const (
	defaultReplayed = 1000
	maxReplayed     = 10_000_000
)

func parseReplay(text string) (topic string, records int64, err error) {
	topic, number, given := strings.Cut(text, ":")
	records = defaultReplayed
	if given {
		records, err = strconv.ParseInt(number, 10, 64)
	}
	if err != nil || topic == "" || records < 1 || records > maxReplayed {
		return "", 0, fmt.Errorf("--replay %q: write the topic and how many records, 1 to %d: raw-trades:1000", text, maxReplayed)
	}
	return topic, records, nil
}

// prove gathers what the records are tried against and replays them.
func (c *provenCheck) prove(ctx context.Context, topic string, records int64, judged check.Report) (replayproof.Report, error) {
	client, err := registry.New(c.Registry, prometheus.NewRegistry())
	if err != nil {
		return replayproof.Report{}, err
	}
	defer client.Close()
	root := c.Root
	if root == "" {
		root = "."
	}
	repository, err := history.Open(ctx, root)
	if err != nil {
		return replayproof.Report{}, err
	}
	config, err := proofConfig(ctx, client, repository.Top, topic)
	if err != nil {
		return replayproof.Report{}, err
	}
	config.Waived = waivedPaths(judged, topic+"-value")
	last, err := newestRecords(ctx, c.Kafka, topic, records)
	if err != nil {
		return replayproof.Report{}, err
	}
	return replayproof.Prove(last.replayed(ctx, c.Kafka, client), config)
}

// proofConfig reads the new schema and the contracts from the working tree, and the versions of the declared readers from
// the registry: they are the cluster's, like the records.
func proofConfig(ctx context.Context, client *registry.Client, top, topic string) (replayproof.Config, error) {
	config := replayproof.Config{Topic: topic}
	var err error
	if config.Schema, err = schemaOf(filepath.Join(top, history.SchemasFolder), topic+"-value"); err != nil {
		return config, err
	}
	fsys := os.DirFS(filepath.Join(top, history.ContractsFolder))
	contracts, err := contract.Load(fsys)
	if err != nil {
		return config, err
	}
	i := slices.IndexFunc(contracts, func(k contract.Contract) bool { return k.Topic.Name == topic })
	if i < 0 {
		return config, nil
	}
	if contracts[i].Sink != nil {
		spec, err := ddl.SpecOf(contracts[i], "")
		if err != nil {
			return config, err
		}
		config.Sink, config.Columns = true, spec.Columns
	}
	consumers, err := contract.LoadConsumers(fsys, contracts)
	if err != nil {
		return config, err
	}
	versions, err := client.LiveVersions(ctx, topic+"-value")
	if err != nil {
		return config, err
	}
	for _, consumer := range consumers {
		for _, read := range consumer.Reads {
			if read.Product == contracts[i].ID {
				config.Readers = append(config.Readers, declaredReader(consumer, read, versions))
			}
		}
	}
	return config, nil
}

// declaredReader finds the text of the version that a reader was written against. A sink's group follows the topic: it is
// at the newest version, and reads of it what the contract names.
func declaredReader(consumer contract.Consumer, read contract.Read, versions []registry.Schema) replayproof.Reader {
	r := replayproof.Reader{Group: consumer.Group, Owner: consumer.Owner, Version: read.SchemaVersion, Fields: read.Fields}
	if consumer.File == "" && len(versions) > 0 {
		r.Version = versions[len(versions)-1].Version
	}
	for _, v := range versions {
		if v.Version == r.Version {
			r.Schema = v.Text
		}
	}
	if consumer.File != "" || r.Schema == "" {
		return r
	}
	r.Fields = nil
	if schema, err := avro.Parse(r.Schema, nil, avro.KeepInvalidDefaults()); err == nil {
		for _, f := range schema.Fields {
			r.Fields = append(r.Fields, f.Name)
		}
	}
	return r
}

// schemaOf reads a subject's schema from a folder, with the types that it refers to written out.
func schemaOf(folder, subject string) (string, error) {
	all, err := schemas.Load(os.DirFS(folder))
	if err != nil {
		return "", err
	}
	var before []string
	for _, s := range all {
		if s.Name != subject {
			before = append(before, s.Text)
			continue
		}
		parsed, err := avro.Parse(s.Text, before)
		if err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Join(folder, s.Path), err)
		}
		return parsed.SelfContained(), nil
	}
	return "", fmt.Errorf("%s holds no schema of subject %s; --replay takes the topic of a product, for example raw-trades", folder, subject)
}

func waivedPaths(judged check.Report, subject string) map[string]string {
	waived := map[string]string{}
	for _, s := range judged.Subjects {
		if s.Name != subject {
			continue
		}
		for _, f := range s.Findings {
			if f.WaivedBy != "" {
				waived[f.Path] = f.WaivedBy
			}
		}
	}
	return waived
}

// newest are the last records of a topic: what is read of each partition, and how many records at its beginning are too many.
type newest struct {
	ranges map[kafka.TopicPartition]kafka.OffsetRange
	skip   map[kafka.TopicPartition]int64
}

// newestRecords finds the newest wanted records of a topic, as many of each partition as there are: partitions that hold fewer
// leave their share to the others, so that every partition is seen and none has to be kept in memory to be sorted by time.
// Offsets also count the markers of transactions, and what was aborted or compacted away, so the records are counted before
// they are read.
func newestRecords(ctx context.Context, config kafka.ClientConfig, topic string, wanted int64) (newest, error) {
	admin, err := kafka.NewAdmin(config)
	if err != nil {
		return newest{}, err
	}
	defer admin.Close()
	parts, err := partitionsOf(ctx, admin, topic)
	if err != nil {
		return newest{}, err
	}
	held, err := admin.Offsets(ctx, parts, true)
	if err != nil {
		return newest{}, err
	}
	offsets := map[kafka.TopicPartition]int64{}
	for tp, r := range held {
		offsets[tp] = r.Latest - r.Earliest
	}
	for window := max(1, slices.Max(slices.Collect(maps.Values(shares(offsets, wanted))))); ; window *= 2 {
		n := newest{map[kafka.TopicPartition]kafka.OffsetRange{}, map[kafka.TopicPartition]int64{}}
		whole := true
		for tp, r := range held {
			n.ranges[tp] = kafka.OffsetRange{Earliest: max(r.Earliest, r.Latest-window), Latest: r.Latest}
			whole = whole && n.ranges[tp].Earliest == r.Earliest
		}
		records, all := map[kafka.TopicPartition]int64{}, int64(0)
		err := kafka.ReadRanges(ctx, config, n.ranges, func(r kafka.Record) error {
			records[kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}]++
			all++
			return nil
		})
		if err != nil {
			return newest{}, err
		}
		if all >= wanted || whole {
			for tp, share := range shares(records, wanted) {
				n.skip[tp] = records[tp] - share
			}
			return n, nil
		}
	}
}

// shares says how many each gives so that there are as many as wanted, or all: what some hold less than their share, the
// others give.
func shares(held map[kafka.TopicPartition]int64, wanted int64) map[kafka.TopicPartition]int64 {
	parts := slices.SortedFunc(maps.Keys(held), func(a, b kafka.TopicPartition) int {
		return cmp.Or(cmp.Compare(held[a], held[b]), cmp.Compare(a.Partition, b.Partition))
	})
	given := map[kafka.TopicPartition]int64{}
	for i, tp := range parts {
		given[tp] = min(held[tp], wanted/int64(len(parts)-i))
		wanted -= given[tp]
	}
	return given
}

var errEnough = errors.New("no more records are wanted")

// replayed reads the records with the schemas that wrote them, read committed and without a group.
func (n newest) replayed(ctx context.Context, config kafka.ClientConfig, client *registry.Client) iter.Seq2[replayproof.Record, error] {
	return func(yield func(replayproof.Record, error) bool) {
		skip := maps.Clone(n.skip)
		err := kafka.ReadRanges(ctx, config, n.ranges, func(r kafka.Record) error {
			tp := kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}
			if skip[tp]--; skip[tp] >= 0 {
				return nil
			}
			record, err := withSchema(ctx, client, r)
			if err == nil && !yield(record, nil) {
				err = errEnough
			}
			return err
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(replayproof.Record{}, err)
		}
	}
}

// withSchema finds a record's schema. An error is the registry's; what is wrong with the record itself goes with it.
func withSchema(ctx context.Context, client *registry.Client, r kafka.Record) (replayproof.Record, error) {
	record := replayproof.Record{Partition: r.Partition, Offset: r.Offset}
	if r.Value == nil {
		record.Bad = "a tombstone: the record has no value"
		return record, nil
	}
	id, body, err := registry.ParseWire(r.Value)
	if err != nil {
		record.Bad = err.Error()
		return record, nil
	}
	schema, err := client.SchemaByID(ctx, id)
	if errors.Is(err, registry.ErrUnknownID) {
		record.Bad = fmt.Sprintf("the registry does not know schema id %d", id)
		return record, nil
	}
	if err != nil {
		return record, err
	}
	record.SchemaID, record.Schema, record.Body = id, schema.Text, body
	return record, nil
}
